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
//!   the validator's own record of votes, which stands for the lock that is kept with it.
//! * *One instance*: a word under this validator's own key that its record doesn't know of was given by another one, or after
//!   the backup that the record is from. There is no permit then.
//!
//! # A lost record
//! To know which views are over is not enough. A block may be final by a certificate that this validator signed for and a faulty
//! leader kept back: no honest peer has it, the proven tip is below, and the lock of this validator is one of those that keep
//! another block at that height from getting a quorum. Without the lock it votes for the other one, and two blocks are final
//! though no more validators are faulty than may be. So there is no permit, unless all hosts of the chain keep promise 7 of
//! [its voters](crate::chain::native), which [`GateSettings`] says. Then the others restore both, the views and the lock:
//! validators with more than two thirds of the power, this one not counted, answer this very question, show their highest
//! certificates and those by which they entered their views, and have left all views behind in which this one can have voted
//! ([`RollCall::restored`]).
//!
//! * A view in a word counts for no more than the certificates beside it, so nobody is kept from voting by made-up ones: the
//!   view above which votes may be cast is one that a quorum has left.
//! * What is restored is restored for one epoch. In the next, the gate asks again.
//! * With as many silent validators as may be faulty, of n = 3 f + 1 equal ones, 2 f others are left, and a quorum is more:
//!   nothing is restored until one of them speaks. The chain stands still meanwhile, as it does without the one that lost its
//!   record. The same with liars, who can always be silent instead. `WaitReason::RestoringVotes` says so.

mod gate;
mod permit;
mod roll_call;

#[cfg(test)]
mod lost_tests;
#[cfg(test)]
mod tests;

pub use gate::{GateOutput, GateSettings, ParticipationGate, PauseReason, SyncFacts, WaitReason};
pub use permit::{HighCertificate, Permit, VoteRecord};
pub use roll_call::{Restored, RollCall};
