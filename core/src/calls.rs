//! What the machine asks of the host's execution and store, and what it is told at the start.
//!
//! Durable before acknowledged: a call is answered only when what it asked for survives a crash. The machine advances on
//! answers alone.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::chain::{EpochRef, Finalized, SegmentRef};
use crate::hash::Hash;
use crate::ids::{CallId, Height};
use crate::ranges::HeightRange;
use crate::verify::HandoverLink;
use crate::wire::BodyFrame;

/// A block's place and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct BlockPoint {
    /// The height.
    pub height: Height,
    /// The id.
    pub id: Hash,
}

/// Where the host stands when the machine is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Start {
    /// The chain: the hash of its genesis document. Peers of other chains are left alone.
    pub chain_id: Hash,
    /// The highest block that is stored durably: the anchor itself on a new node.
    pub stored: BlockPoint,
    /// Proof that `stored` is final, as the host kept it. Needed only as evidence, should the network contradict it.
    pub stored_proof: Option<Finalized>,
    /// The height that the application has executed durably. Blocks above it and up to `stored` are replayed locally.
    pub applied: Height,
    /// Trusted epochs, consecutive: from the one that `stored` belongs to, up to the newest whose handover is stored.
    pub epochs: Vec<EpochRef>,
}

/// Blocks to store and execute: final, verified, consecutive and in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Apply {
    /// The call, as the answer must name it.
    pub id: CallId,
    /// The blocks. Never empty; each part continues where the one before ends.
    pub parts: Vec<ApplyPart>,
    /// The message that proves the last block final, where the last part's segment doesn't.
    pub tip: Option<Bytes>,
}

/// Blocks of one segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApplyPart {
    /// The headers, of which this part may hold the bodies of some only.
    pub segment: SegmentRef,
    /// Consecutive frames of payloads. Never empty.
    pub frames: Vec<BodyFrame>,
}

impl ApplyPart {
    /// The heights whose payloads the part holds; `None` for a part without frames, which the machine never makes.
    pub fn range(&self) -> Option<HeightRange> {
        HeightRange::new(self.frames.first()?.range.first(), self.frames.last()?.range.last())
    }
}

impl Apply {
    /// All heights of the call; `None` for a call without frames, which the machine never makes.
    pub fn range(&self) -> Option<HeightRange> {
        HeightRange::new(self.parts.first()?.range()?.first(), self.parts.last()?.range()?.last())
    }

    /// Payload bytes of the call, decompressed.
    pub fn payload_bytes(&self) -> u64 {
        let frames = self.parts.iter().flat_map(|part| &part.frames);
        frames.fold(0, |sum, frame| sum.saturating_add(u64::try_from(frame.raw.len()).unwrap_or(u64::MAX)))
    }
}

/// Blocks that the store holds and the application has not executed: to execute from the host's own disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Replay {
    /// The call, as the answer must name it.
    pub id: CallId,
    /// The heights.
    pub range: HeightRange,
}

/// The answer to [`Apply`] or [`Replay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Applied {
    /// The call.
    pub id: CallId,
    /// The highest height that is stored and executed, whether or not the call succeeded.
    pub through: Height,
    /// Why the call stopped early.
    pub error: Option<ApplyError>,
}

/// Why blocks were not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ApplyError {
    /// It may work later (a busy or full disk): tried again, with growing pauses.
    #[error("the store or the application can't take blocks now")]
    Transient,
    /// It will not work without help.
    #[error("the store or the application refuses blocks")]
    Permanent,
    /// The application's state root differs from the one in a proven header: no peer is to blame.
    #[error("the state root after block {0} differs from the one that the network agreed on")]
    StateMismatch(Height),
}

/// Handovers to store, before any block of the epochs that they begin is applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreCall {
    /// The call, as the answer must name it.
    pub id: CallId,
    /// Consecutive handovers. Never empty.
    pub handovers: Vec<HandoverLink>,
}

/// Why a store call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoreError {
    /// It may work later: tried again, with growing pauses.
    #[error("the store can't write now")]
    Transient,
    /// It will not work without help.
    #[error("the store refuses to write")]
    Permanent,
}
