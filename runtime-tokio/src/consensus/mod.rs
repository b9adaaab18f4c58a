//! The hand-over between a sync and a consensus engine.
//!
//! A validator's engine implements [`ConsensusControl`]. [`ConsensusCoordinator`] watches the sync, drives the
//! [`ParticipationGate`](hotstuff2_sync::participation::ParticipationGate), asks other validators for their word where
//! that is needed, and tells the engine when to take part and when to stop. [`ConsensusHandler`] answers what others ask.
//!
//! The sync keeps following the tip all the time: final blocks reach store and application through it, in consensus mode
//! too, so that there is one writer of the chain. The engine works above the final head, with the state that it executes
//! for its own proposals and votes.

mod control;
mod coordinator;
mod handler;
mod rounds;

#[cfg(test)]
mod tests;

pub use control::ConsensusControl;
pub use coordinator::{ConsensusCoordinator, ConsensusError, ConsensusMode};
pub use handler::ConsensusHandler;
