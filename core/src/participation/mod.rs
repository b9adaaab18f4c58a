//! When a validator may take part in consensus, and with what: the hand-over between a sync and the votes.
//!
//! A validator that votes on an old chain, or twice in one view, harms everyone. [`ParticipationGate`] decides, from facts
//! that its host brings, when there is a [`Permit`] to vote and when it is withdrawn. It is a state machine like the
//! [`Machine`](crate::machine::Machine): facts in, orders out, no clock and no I/O.
//!
//! # What it rests on
//! * *Caught up* is proven, never claimed: everything proven is applied, and either the proven tip is fresh by the host's
//!   clock, or validators with more than two thirds of the power have signed lately that they know of nothing higher
//!   ([`RollCall`]). The second is what lets a network go on in which all validators were stopped at once: its tip is old
//!   and nobody can make a fresher one before somebody votes.
//! * *Never twice, never against the lock*: a permit names the view above which votes may be cast. That is the last view of
//!   the validator's own record of votes, which stands for the lock that is kept with it. Where the record is lost there is
//!   no permit.
//!
//! # Why a lost record gives none
//! Others could say which views are over, so that this validator would not vote twice in one. They don't say what it was
//! locked on. A block may be final by a certificate that this validator signed for and a faulty leader kept back: no honest
//! peer has it, the proven tip is below, and the lock of this validator is one of those that keep another block at that
//! height from getting a quorum. Without the lock it votes for the other one, and two blocks are final though no more
//! validators are faulty than may be.

mod gate;
mod permit;
mod roll_call;

#[cfg(test)]
mod tests;

pub use gate::{GateOutput, GateSettings, ParticipationGate, PauseReason, SyncFacts, WaitReason};
pub use permit::{Permit, VoteRecord};
pub use roll_call::RollCall;
