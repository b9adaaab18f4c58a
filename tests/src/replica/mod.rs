//! A reference replica: chained HotStuff-2 (Malkhi and Nayak, eprint 2023/397) over the types of the native chain.
//!
//! The replica exists so that the chains of the tests come out of real agreement: [`Replica`] keeps promises 1 to 6
//! that [`hotstuff2_sync::chain::native`] lists, and not 7 (it enters an epoch right above the certificate that ended the one
//! before, and forgets in a crash why it is in its view), [`Agreement`] lets many of them agree over a bad network in virtual time
//! with some of them lying, and what they agree on becomes a [`TestChain`](crate::chain::TestChain) with the
//! certificates that they really made. It is no node: execution is a constant and payloads are noise.
//!
//! Sans-IO, with the names of the machine: `handle_*` in, `poll_output` out until [`Output::Wait`].
//!
//! Messages come over channels that know their sender. What a message says is checked: certificates by the chain's own
//! rules, proposals by [`EpochContext::check_proposal`](hotstuff2_sync::chain::native::EpochContext::check_proposal).

mod agreement;
mod committee;
mod message;
mod monitor;
#[allow(clippy::module_inception, reason = "the file is named after its type")]
mod replica;
mod tree;

pub use agreement::{Agreement, Faults, Stalled};
pub use committee::Committee;
pub use message::{Block, GiveUp, Message, SignedVote};
pub use monitor::{Monitor, Violation};
pub use replica::{Laws, Output, Replica, Settings};
pub use tree::Tree;
