//! What the machine asks of the host's execution and store, and what it is told at the start.
//!
//! Durable before acknowledged: a call is answered only when what it asked for survives a crash. The machine advances on
//! answers alone.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::chain::{EpochRef, Finalized, SegmentRef};
use crate::hash::Hash;
use crate::ids::{CallId, Height};
use crate::ranges::HeightRange;
use crate::state::{StateItem, StateLeaves};
use crate::time::UnixMillis;
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
    /// The time in that block's header; zero where it is not known. Only the age that is told of the tip rests on it.
    pub stored_time: UnixMillis,
    /// Proof that `stored` is final, as the host kept it. Needed only as evidence, should the network contradict it.
    pub stored_proof: Option<Finalized>,
    /// The height that the application has executed durably. Blocks above it and up to `stored` are replayed locally.
    pub applied: Height,
    /// Whether the host has a staging area for states. Without one no state is fetched.
    pub stages_state: bool,
    /// The trusted epoch that `stored` belongs to, or where that is a genesis outside of all epochs, the one right above.
    pub epoch: EpochRef,
    /// The stored handovers from that epoch's end on, in order: the epochs that follow are trusted too, and a network that
    /// contradicts them is given evidence against.
    pub handovers: Vec<HandoverLink>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Replay {
    /// The call, as the answer must name it.
    pub id: CallId,
    /// The heights.
    pub range: HeightRange,
}

/// The answer to [`Apply`] or [`Replay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Applied {
    /// The call.
    pub id: CallId,
    /// The highest height that is stored and executed, whether or not the call succeeded.
    pub through: Height,
    /// Why the call stopped early.
    pub error: Option<ApplyError>,
}

/// Why blocks were not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum ApplyError {
    /// It may work later (a busy disk): tried again, with growing pauses.
    #[error("the store or the application can't take blocks now")]
    Transient,
    /// It will not work without help.
    #[error("the store or the application refuses blocks")]
    Permanent,
    /// The application's state root differs from the one in a proven header: no peer is to blame.
    #[error("the state root after block {0} differs from the one that the network agreed on")]
    StateMismatch(Height),
    /// There is no room left to write: tried again, with growing pauses.
    #[error("the disk of the store or the application is full")]
    NoSpace,
}

impl ApplyError {
    /// Whether the same call may work later, with nothing done to it.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Transient | Self::NoSpace)
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum StoreError {
    /// It may work later: tried again, with growing pauses.
    #[error("the store can't write now")]
    Transient,
    /// It will not work without help.
    #[error("the store refuses to write")]
    Permanent,
    /// There is no room left to write: tried again, with growing pauses.
    #[error("the store's disk is full")]
    NoSpace,
}

impl StoreError {
    /// Whether the same call may work later, with nothing done to it.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Transient | Self::NoSpace)
    }
}

/// Work on the staging area, where a state is put together beside the live one. At most one such call is out at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StateCall {
    /// The call, as the answer must name it.
    pub id: CallId,
    /// What to do.
    pub work: StateWork,
}

/// What to do with the staging area.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StateWork {
    /// Say what of these subtrees is there already, one [`Holding`] for each. What the live state holds with the same
    /// hash is copied, and counts as staged.
    Survey(Vec<StateItem>),
    /// Keep these subtrees: each replaces everything that is staged under its place, and what was known of places above
    /// and below it. One atomic batch; what was acknowledged survives a crash.
    Stage(Arc<Vec<StateLeaves>>),
    /// The staged state is complete: hash all of it again, and if its root is `base.state_root`, make it the live state,
    /// at the height of `base.point`, and let the stored blocks begin above that block. All of it or nothing.
    Activate(SnapshotBase),
}

/// The block whose state was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotBase {
    /// The block.
    pub point: BlockPoint,
    /// The state after it, from its header.
    pub state_root: Hash,
    /// Verified headers that begin with the block's own.
    pub segment: SegmentRef,
    /// The tip message that proves the last of them, where the segment has no certificate.
    pub tip: Option<Bytes>,
}

/// What the staging area holds of a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Holding {
    /// All of it, with this very hash. An empty subtree is always held once what was there is deleted.
    Held,
    /// Something else or something that was not compared, here or in the live state: about so many keys. Worth
    /// comparing further down.
    Differs {
        /// Keys under the place.
        keys: u64,
    },
    /// Nothing.
    Absent,
}

/// Blocks that are missing right below the stored ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HistoryGap {
    /// The next heights to add: within one grid cell and epoch.
    pub range: HeightRange,
    /// The id of the block at the last of them.
    pub last_id: Hash,
    /// Their epoch, from a stored handover.
    pub epoch: EpochRef,
}

/// A piece of history to store: the answer brings the next gap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HistoryCall {
    /// The call, as the answer must name it.
    pub id: CallId,
    /// The headers of a [`HistoryGap`].
    pub segment: SegmentRef,
    /// The bodies of all of them, if bodies are wanted.
    pub frames: Option<Vec<BodyFrame>>,
}

/// The answer to a [`HistoryCall`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HistoryDone {
    /// The call.
    pub id: CallId,
    /// What is missing below, now that this piece is stored durably; `None` where nothing is.
    pub result: Result<Option<HistoryGap>, StoreError>,
}

/// The answer to a [`StateCall`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StateDone {
    /// The call.
    pub id: CallId,
    /// What came of it.
    pub result: Result<StateReply, StoreError>,
}

/// What came of a [`StateCall`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum StateReply {
    /// To [`StateWork::Survey`]: one for each item, in order.
    Surveyed(Vec<Holding>),
    /// To [`StateWork::Stage`]: kept.
    Staged,
    /// To [`StateWork::Activate`]: the state is live.
    Activated,
    /// To [`StateWork::Activate`]: the staged state has another root, though every part of it was verified: what the
    /// disk returns is not what was written. What doesn't match has been forgotten and will be found missing.
    RootMismatch {
        /// The root that was found.
        found: Hash,
    },
}
