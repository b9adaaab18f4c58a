//! A chain of another kind than the native one, as small as it can be: one notary signs what is final. It has headers of
//! its own, one epoch that begins at height 1, and no views, no clock, no state roots, no handovers, no audits and no
//! adverts. The guide `docs/your-chain.md` names it.
//!
//! [`NotaryChain`] is all that a node needs to synchronize it; [`Notary`] makes blocks.

mod chain;
mod maker;

#[cfg(test)]
mod tests;

pub use chain::{NotaryChain, NotaryHeader, NotarySegment};
pub use maker::Notary;
