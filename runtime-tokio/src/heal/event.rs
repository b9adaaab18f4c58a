//! Words of a healer to the operator, and reasons why it can't heal yet.

use std::fmt;
use std::time::Duration;

use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::ids::PeerId;

use crate::store::{Damage, StoreFailure, StorePart};

/// Why a damaged part is not whole yet.
#[derive(Debug, thiserror::Error)]
pub enum HealError {
    /// Nobody can be asked.
    #[error("no peer is connected; name one that has it with --peer, or put the file back from a backup")]
    NoPeers,
    /// All that could be asked don't have it, are busy or don't answer.
    #[error("none of {asked} peers gives it; name one that has it with --peer, or put the file back from a backup")]
    NotAvailable {
        /// How many were asked.
        asked: usize,
    },
    /// A peer's answer was false, and no other has it.
    #[error("peer {peer} gave a false answer ({fault}) and no other gives it; name another peer with --peer")]
    False {
        /// The peer.
        peer: PeerId,
        /// The fault.
        fault: Fault,
    },
    /// The store can't take it.
    #[error(transparent)]
    Store(#[from] StoreFailure),
    /// The damaged part is written by this node alone.
    #[error("it can't be fetched in its place; move the data directory away and sync again")]
    NotInPlace,
    /// The damaged state is the application's, which runs.
    #[error("the state can't be exchanged while blocks are executed; stop this node and run `repair` on its folder")]
    InUse,
    /// The state that was put together has another root than the block's header.
    #[error("what was put together is another state than the block's header says; it is tried again")]
    OtherState,
    /// A part of this program broke.
    #[error("a task of the healer ended early; report this as a defect")]
    Broken,
}

/// Fate of a damaged part. Each is told once.
#[derive(Debug)]
pub enum HealEvent {
    /// Something can't be read.
    Found(Damage),
    /// The part is whole again.
    Mended {
        /// The part.
        part: StorePart,
        /// The peers that gave something of it.
        from: Vec<PeerId>,
        /// The time since the attempt began.
        took: Duration,
    },
    /// The part can't be mended now. It is tried again.
    Waiting {
        /// The part.
        part: StorePart,
        /// The reason.
        why: HealError,
    },
}

impl fmt::Display for HealEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(Damage { part, what }) => write!(f, "{part} is damaged and not claimed any more: {what}"),
            Self::Mended { part, from, took } => {
                write!(f, "{part} is whole again after {:.1} s, from ", took.as_secs_f64())?;
                write!(f, "{}", from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            Self::Waiting { part, why } => write!(f, "{part} stays damaged for now: {why}"),
        }
    }
}
