//! Whether an implementation of [`Chain`](hotstuff2_sync::chain::Chain) keeps its contract: an implementor brings honest
//! bytes and ways to bend them ([`Specimen`]), and [`check`] plays every rule.
//!
//! Rules are played against the chain's functions themselves, and not through a job, which checks some of them a second
//! time: what breaks here may only show later, as an honest peer that is banned. What a whole node makes of the chain is
//! played by `hotstuff2_sync_tokio::conformance`.

mod epochs;
mod native;
mod part;
mod rules;
mod serving;
mod specimen;

#[cfg(test)]
mod tests;

pub use native::NativeSpecimen;
pub use part::whole_part;
pub use specimen::{Bend, Specimen};

/// A rule that an implementation breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rule `{rule}` is broken: {what}")]
pub struct Broken {
    /// The rule; for one of the specimen's own, `bent: ` and the name of the bend.
    pub rule: String,
    /// How it showed.
    pub what: String,
}

/// The result of one rule.
pub(crate) type Kept = Result<(), Broken>;

fn demand(rule: &str, holds: bool, what: impl FnOnce() -> String) -> Kept {
    if holds { Ok(()) } else { Err(Broken { rule: rule.into(), what: what() }) }
}

/// Plays every rule. The first that is broken is the error.
pub fn check<S: Specimen>(specimen: &S) -> Result<(), Broken> {
    rules::sizes(specimen)?;
    rules::honest(specimen)?;
    rules::claims(specimen)?;
    rules::audits(specimen)?;
    rules::encoding(specimen)?;
    rules::bends(specimen)?;
    rules::payloads(specimen)?;
    serving::tips(specimen)?;
    serving::assembled(specimen)?;
    serving::evidence(specimen)?;
    epochs::epochs(specimen)?;
    epochs::ends(specimen)?;
    rules::flips(specimen)
}
