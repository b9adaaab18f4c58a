//! [`Event`]: what the machine tells people, and in which words.

use core::fmt;

use bytes::Bytes;

use crate::calls::{BlockPoint, HostError};
use crate::chain::Fault;
use crate::config::SyncStrategyType;
use crate::hash::Hash;
use crate::ids::{Epoch, Height, PeerId};
use crate::machine::reason::{StallReason, StallStep};
use crate::strategy::Costs;
use crate::time::Instant;

/// Something that the user may want to know. A host may drop every event: nothing has to be done about one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A higher block was proven final.
    Target {
        /// The block.
        height: Height,
        /// The tip's epoch.
        epoch: Epoch,
    },
    /// A strategy was chosen.
    Strategy {
        /// The strategy.
        strategy: SyncStrategyType,
        /// Blocks to the target when it was chosen.
        gap: u64,
        /// Costs by which it was chosen, where it was not fixed.
        costs: Costs,
    },
    /// The state after this block is fetched: its header is proven.
    StateTarget {
        /// The block.
        height: Height,
        /// The root of its state.
        root: Hash,
        /// Times that the target has moved.
        moves: u64,
    },
    /// Nobody gives the rest of this state any more: another height is looked for, and what was staged stays.
    StateLost {
        /// The block.
        height: Height,
    },
    /// The staged state has another root than what was staged: the disk returns something else than was written. What
    /// doesn't match is fetched again.
    StateMismatch {
        /// The block.
        height: Height,
        /// The root in its header.
        expected: Hash,
        /// The root of what is staged.
        found: Hash,
    },
    /// The state after this block is live; blocks go on from there.
    StateActive(BlockPoint),
    /// The blocks below the fetched state are stored, down to the anchor.
    HistoryComplete,
    /// Everything proven is applied, and no peer that can be asked claims more without having failed to prove it.
    Reached(BlockPoint),
    /// No progress.
    Stalled {
        /// Why.
        reason: StallReason,
        /// Time since which there is none.
        since: Instant,
        /// The machine's next step.
        step: StallStep,
        /// Time of that step, at the latest.
        next: Instant,
    },
    /// Progress again after [`Event::Stalled`].
    Resumed,
    /// A peer was banned for what it answered.
    Banned {
        /// The peer.
        peer: PeerId,
        /// Fault of the answer.
        fault: Fault,
    },
    /// Several independent peers gave provably false answers of the same kind and nobody a true one. More likely than all
    /// of them lying: a wrong anchor, old software or a broken disk here. No one is banned until a true answer comes; then
    /// those are that gave false ones of its kind. Those that were banned before it was noticed may come back, which
    /// [`Penalty::Lift`](super::Penalty::Lift) says of each.
    SuspectSelf {
        /// Fault of the answer.
        fault: Fault,
        /// Number of independent groups of peers.
        groups: usize,
    },
    /// The sync has stopped for good.
    Halted(HaltReason),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target { height, epoch } => write!(f, "block {height} of epoch {epoch} is proven"),
            Self::Strategy { strategy, gap, .. } => write!(f, "strategy {strategy} for {gap} blocks"),
            Self::StateTarget { height, moves: 0, .. } => write!(f, "fetching the state after block {height}"),
            Self::StateTarget { height, .. } => {
                write!(f, "fetching the state after block {height} instead; what is there and unchanged stays")
            }
            Self::StateLost { height } => write!(
                f,
                "nobody serves the rest of the state after block {height} any more; looking for another block's"
            ),
            Self::StateMismatch { height, expected, found } => write!(
                f,
                "the state after block {height} has the root {found} on this disk and not {expected}, though every part \
                 of it was verified: what doesn't match is fetched again; check the disk if this comes again"
            ),
            Self::StateActive(point) => {
                write!(f, "the state after block {} is live; blocks go on from there", point.height)
            }
            Self::HistoryComplete => f.write_str("the blocks below the fetched state are stored"),
            Self::Reached(point) => write!(f, "caught up at height {}", point.height),
            Self::Stalled { reason, .. } => reason.fmt(f),
            Self::Resumed => f.write_str("goes on"),
            Self::Banned { peer, fault } => write!(f, "banned {peer}: {fault}"),
            Self::SuspectSelf { fault, groups } => write!(
                f,
                "{groups} independent peers give answers that look false ({fault}): check the genesis file, this \
                 program's version and this machine's memory"
            ),
            Self::Halted(reason) => reason.fmt(f),
        }
    }
}

/// Why the sync has stopped for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HaltReason {
    /// Two different blocks of one height were proven final: more than a third of the power broke its promise. The
    /// evidence can be checked by anyone. Decide by hand which chain is yours.
    #[error(
        "two different blocks at height {height} are proven final: validators broke their promise; keep the evidence and decide by hand which chain to follow"
    )]
    ConflictingFinality {
        /// The height.
        height: Height,
        /// Both proofs, as the chain encodes them; empty where the older one was no longer at hand.
        evidence: Bytes,
    },
    /// The host refuses blocks.
    #[error("applying blocks above {through} failed: {error}")]
    Apply {
        /// The highest height that was applied.
        through: Height,
        /// Why.
        error: HostError,
    },
    /// The staged state has another root each time, though every part of it was verified.
    #[error(
        "the state staged for block {height} has the root {found} and not {expected}, though every part of it was verified: the disk does not return what was written; check it, then delete the store and synchronize again"
    )]
    StateRoot {
        /// The block.
        height: Height,
        /// The root in its header.
        expected: Hash,
        /// The root of what is staged.
        found: Hash,
    },
    /// Nothing newer was proven within the chain's trusting period: what the trusted validators sign proves nothing any more.
    #[error(
        "the newest proven block is {age_ms} ms old, and the chain trusts a validator set for {trusting_period_ms} ms only: begin again with a newer checkpoint from a source you trust, or accept long-range attacks explicitly (AcceptLongRange)"
    )]
    TrustExpired {
        /// Age of the youngest block that trust rests on by the host's clock, in milliseconds.
        age_ms: u64,
        /// The chain's trusting period, in milliseconds.
        trusting_period_ms: u64,
    },
    /// The host refuses handovers, a state or history.
    #[error("storing handovers, a state or history failed: {0}")]
    Store(HostError),
}
