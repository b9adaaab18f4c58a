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
//! * *Never twice*: a permit names the view above which votes may be cast. That is the last view of the validator's own
//!   record of votes. Where the record is lost, it comes from the other validators' words on the views they are in.
//!
//! # Why the words of others are enough
//! A validator votes in view v, or gives up on it, only after it saw that a quorum finished view v − 1. Take the views that
//! validators with more than two thirds of the power, this one not counted, say they are in, each after it was asked. Such
//! a set and that quorum share more than a third of the power, so an honest one, which was in view v − 1 or above and never
//! goes back. So v is at most one above the highest view that the set says. This holds for every such set, and the one
//! with the lowest views is taken, so that less than a third of the power can't delay a permit by naming high ones.

mod gate;
mod permit;
mod roll_call;

#[cfg(test)]
mod tests;

pub use gate::{GateOutput, GateSettings, ParticipationGate, PauseReason, SyncFacts, WaitReason};
pub use permit::{Permit, VoteRecord};
pub use roll_call::RollCall;
