//! The light client: the chain's proven tip, and values of its state, for whoever stores and executes no blocks.
//!
//! A state machine of its own beside [`Machine`](crate::machine::Machine), with the same contract: after every input,
//! call [`LightClient::poll_output`] until it returns [`LightOutput::Wait`]; every input carries the host's monotonic
//! time; jobs run on any thread; same inputs, same outputs. It checks no signature and hashes nothing but the keys that
//! it is asked for.
//!
//! # Trust
//! The client believes its [`LightStart`] (the genesis document or a checkpoint), the host's clock, and the verdicts of
//! jobs. A block counts as final where a quorum of a trusted epoch signed it. An epoch is trusted where the one before
//! handed over to it, or, with [`LightWay::Skipping`], where validators with more than a third of the power of a trusted
//! one signed its last block. Signatures of a set prove nothing once the trusting period is over: the client then halts,
//! at its start and while it runs.
//!
//! # Witnesses
//! A quorum that breaks its promise can sign two chains, and a peer can show the one to this client alone. So nothing is
//! told before [`LightConfig::witnesses`] peers of other groups than the one that showed it have proven the same block at
//! its height. Two proofs that differ are verified again, and the client halts with evidence that anyone can check. Peers
//! of one group count as one: somebody who holds all groups that this client can reach decides what it sees, and can
//! still forge nothing that a quorum did not sign.
//!
//! # Bounds
//! At most [`LightConfig::max_peers`] peers are asked, [`MAX_QUERIES`] questions of the user are open, and
//! sixteen epochs are remembered. Answers have the limits of the protocol.

mod answers;
mod checkpoint;
mod client;
mod climb;
mod config;
mod input;
mod output;
mod peers;
mod queries;
mod requests;
mod tips;
mod watch;
mod witnesses;

pub use checkpoint::{LightCheckpoint, LightStart, MAX_LIGHT_CHECKPOINT_BYTES};
pub use client::{LightClient, NewLightError};
pub use config::{LightConfig, LightWay};
pub use input::{At, LightInput, Query};
pub use output::{
    Freshness, LightAnswer, LightBlock, LightError, LightEvent, LightHalt, LightOutput, LightPosition, LightStall,
};
pub use queries::MAX_QUERIES;
