//! A reference replica: chained HotStuff-2 (Malkhi and Nayak, eprint 2023/397) over the types of the native chain.
//!
//! The chains of the tests come out of real agreement: [`Replica`] keeps promises 1 to 7 that
//! [`hotstuff2_sync::chain::native`] lists, [`Agreement`] lets many of them agree over a bad network in virtual time with some of
//! them lying, and what they agree on becomes a [`TestChain`](crate::chain::TestChain) with the certificates that they really
//! made. A node that runs one brings what it needs of an application ([`Execution`]), makes its [`Record`] durable before it
//! sends anything, hands what is final to its sync, and tells it what the sync has brought
//! ([`handle_final`](Replica::handle_final)).
//!
//! Sans-IO, with the names of the machine: `handle_*` in, `poll_output` out until [`Output::Wait`].
//!
//! Messages come over channels that know their sender. What a message says is checked: certificates by the chain's own
//! rules, proposals by [`EpochContext::check_proposal`](hotstuff2_sync::chain::native::EpochContext::check_proposal).

mod agreement;
mod committee;
mod execution;
mod message;
mod monitor;
mod record;
#[allow(clippy::module_inception, reason = "the file is named after its type")]
mod replica;
mod tree;

pub use agreement::{Agreement, Faults, Stalled};
pub use committee::Committee;
pub use execution::{Execution, Next, Noise};
pub use message::{Block, GiveUp, Message, SignedVote};
pub use monitor::{Monitor, Violation};
pub use record::Record;
pub use replica::{Final, Laws, Output, Replica, Settings};
pub use tree::Tree;
