//! Work that the machine asks of the host, the host's replies, and where the host stands at the start.
//!
//! Durable before acknowledged: a call is answered only when what it asked for survives a crash. The machine advances on
//! answers alone.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::chain::native::codec::{bounded, plain};
use crate::chain::{Chain, ChainProfile, CheckError, EpochRef, Fault, Finalized, SegmentRef};
use crate::hash::Hash;
use crate::ids::{CallId, Height};
use crate::limits::GRID;
use crate::ranges::HeightRange;
use crate::state::{MAX_TREE_DEPTH, StateItem, StateLeaves};
use crate::time::UnixMillis;
pub use crate::trust::TrustingPeriod;
use crate::verify::HandoverLink;
use crate::wire::{BodyFrame, split_payloads};

/// A block's place and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockPoint {
    /// The height.
    pub height: Height,
    /// The id.
    pub id: Hash,
}

plain!(Start, HostCall, CallDone, SnapshotBase, HistoryGap);

/// Start of a machine: where the host stands when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Start {
    /// The chain: the hash of its genesis document. Peers of other chains are left alone.
    pub chain_id: Hash,
    /// Sizes that the chain states: [`Chain::profile`].
    pub profile: ChainProfile,
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
    /// Whether the application has no state at `applied` yet, as where a store begins above a checkpoint: then one is fetched
    /// first, whatever the strategy, and no block is executed before. Needs a staging area.
    pub lacks_state: bool,
    /// The trusted epoch that `stored` belongs to, or where that is a genesis outside of all epochs, the one right above.
    pub epoch: EpochRef,
    /// The stored handovers from that epoch's end on, in order: the epochs that follow are trusted too, and a network that
    /// contradicts them is given evidence against.
    pub handovers: Vec<HandoverLink>,
    /// The blocks that are missing right below the stored ones; `None` where nothing is, or where the host adds no
    /// history.
    pub history_gap: Option<HistoryGap>,
    /// The chain's trusting period: what is trusted must be younger, or no machine is made. `None` on a chain without one, and for
    /// a host that accepts long-range attacks.
    pub trust: Option<TrustingPeriod>,
}

/// One piece of work for the host, from [`Output::Call`](crate::machine::Output::Call) until a [`CallDone`] with its id.
///
/// * **How many.** At most [`MAX_CALLS`](Self::MAX_CALLS) calls are out at a time, and of each kind of work at most
///   [`HostWork::most`].
/// * **Order.** The host carries calls out in the order in which it gets them, or does what comes to the same. Answers may
///   come in any order.
/// * **Again.** A call that takes long, or that failed and may work later, comes again with the same id: what is done of
///   it is skipped. A call that needs one before it which failed, as blocks do that don't continue what is stored, fails
///   with [`HostError::Transient`] and comes again too.
/// * **Holding.** A call may be held as long as the host likes, on any thread: the bytes in it are reference counted, and
///   a clone copies none of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostCall {
    /// The call, as the answer must name it.
    pub id: CallId,
    /// The work.
    pub work: HostWork,
}

impl HostCall {
    /// Calls that are out at a time at most: 16, the sum of [`HostWork::most`] over all kinds.
    pub const MAX_CALLS: usize = APPLIES + REPLAYS + HANDOVERS + SURVEYS + STAGES + ACTIVATIONS + HISTORY_PIECES;
}

/// [`HostWork::Apply`] calls that are out at once: one is stored while the one before is executed.
pub(crate) const APPLIES: usize = 2;
/// The same of [`HostWork::Replay`].
pub(crate) const REPLAYS: usize = 1;
/// The same of [`HostWork::StoreHandovers`]. What is verified beyond them waits, and goes with the next call.
pub(crate) const HANDOVERS: usize = 7;
/// The same of [`HostWork::Survey`]: one of a state that is no longer wanted may still be out.
pub(crate) const SURVEYS: usize = 2;
/// The same of [`HostWork::Stage`]: one is written while the next waits.
pub(crate) const STAGES: usize = 2;
/// The same of [`HostWork::Activate`].
pub(crate) const ACTIVATIONS: usize = 1;
/// The same of [`HostWork::AddHistory`].
pub(crate) const HISTORY_PIECES: usize = 1;

/// Work of the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum HostWork {
    /// Store blocks, then execute them.
    Apply(Apply),
    /// Execute blocks that the store holds and the application has not executed, from the host's own disk.
    Replay(HeightRange),
    /// Store consecutive handovers, before any block of the epochs that they begin is stored. Never empty.
    StoreHandovers(Vec<HandoverLink>),
    /// Say what the staging area, where a state is put together beside the live one, holds of these subtrees: one
    /// [`Holding`] for each. What the live state holds with the same hash is copied, and counts as staged.
    Survey(#[serde(deserialize_with = "bounded::<_, _, { 1 << MAX_TREE_DEPTH }>")] Vec<StateItem>),
    /// Keep these subtrees in the staging area: each replaces everything that is staged under its place, and what was
    /// known of places above and below it. One atomic batch; what was acknowledged survives a crash.
    Stage(#[serde(with = "shared")] Arc<Vec<StateLeaves>>),
    /// The staged state is complete: hash all of it again, and if its root is `state_root`, make it the live state, at
    /// the height of `point`, and let the stored blocks begin above that block. All of it or nothing.
    Activate(SnapshotBase),
    /// Store a piece of history below the stored blocks.
    AddHistory(HistoryPiece),
}

impl HostWork {
    /// Calls with work of this kind that are out at a time at most.
    pub const fn most(&self) -> usize {
        match self {
            Self::Apply(_) => APPLIES,
            Self::Replay(_) => REPLAYS,
            Self::StoreHandovers(_) => HANDOVERS,
            Self::Survey(_) => SURVEYS,
            Self::Stage(_) => STAGES,
            Self::Activate(_) => ACTIVATIONS,
            Self::AddHistory(_) => HISTORY_PIECES,
        }
    }

    /// Whether `reply` answers this work.
    pub(crate) fn fits(&self, reply: &HostReply) -> bool {
        let below = |gap: &Option<HistoryGap>, floor: Height| gap.as_ref().is_none_or(|gap| gap.range.last() < floor);
        match (self, reply) {
            (Self::Apply(_) | Self::Replay(_), HostReply::Applied { .. })
            | (Self::StoreHandovers(_), HostReply::HandoversStored)
            | (Self::Stage(_), HostReply::Staged)
            | (Self::Activate(_), HostReply::RootMismatch { .. }) => true,
            (Self::Survey(items), HostReply::Surveyed(holdings)) => items.len() == holdings.len(),
            // The stored blocks begin above that block, so it is missing itself.
            (Self::Activate(base), HostReply::Activated { history_gap }) => {
                below(history_gap, base.point.height.next())
            }
            (Self::AddHistory(piece), HostReply::HistoryAdded { history_gap }) => {
                below(history_gap, piece.segment.range().first())
            }
            _ => false,
        }
    }
}

/// A shared list, encoded as a list.
mod shared {
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(list: &Arc<Vec<T>>, serializer: S) -> Result<S::Ok, S::Error> {
        list.as_slice().serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<Vec<T>>, D::Error> {
        Vec::deserialize(deserializer).map(Arc::new)
    }
}

/// Blocks to store and execute: final, verified, consecutive and in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Apply {
    /// The blocks. Never empty; each part continues where the one before ends.
    pub parts: Vec<ApplyPart>,
    /// The message that proves the last block final, where the last part's segment doesn't.
    pub tip: Option<Bytes>,
    /// The highest height that was proven when the call was made: what would be superseded before that, as snapshots for
    /// others, needn't be made.
    pub target: Height,
}

/// Blocks of one segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ApplyPart {
    /// The headers, of which this part may hold the bodies of some only.
    pub segment: SegmentRef,
    /// Consecutive frames of payloads. Never empty.
    #[serde(deserialize_with = "bounded::<_, _, { GRID as usize }>")]
    pub frames: Vec<BodyFrame>,
    /// Whether this node's own engine has executed the blocks already, as it said when it
    /// [handed them in](crate::machine::Decided::executed): the application only takes over what came of them. Blocks that
    /// come from a peer, or again from the store after a crash, are executed.
    pub executed: bool,
}

/// A block of an [`Apply`], for execution: final and verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppBlock<'a> {
    /// The block's height.
    pub height: Height,
    /// The block's id.
    pub id: Hash,
    /// The block's timestamp.
    pub timestamp: UnixMillis,
    /// The root that the state must have after this block: the network agreed on it.
    pub state_root: Hash,
    /// The payload.
    pub payload: &'a [u8],
}

impl ApplyPart {
    /// The blocks of the part that lie above a height, lowest first. An error is the host's own: what was verified can
    /// be read again, unless the chain fails or memory is bad.
    pub fn blocks<'a, C: Chain>(
        &'a self,
        chain: &'a C,
        above: Height,
    ) -> impl Iterator<Item = Result<AppBlock<'a>, CheckError>> {
        let decoded = self.segment.decoded(chain);
        let frames = self.frames.iter().filter(move |frame| frame.range.last() > above);
        frames.flat_map(move |frame| {
            let lens = self.segment.payload_lens_of(frame.range).unwrap_or_default();
            // A height without a payload is an error and doesn't pass in silence.
            let payloads = split_payloads(&frame.raw, lens).map(Some).chain(core::iter::repeat(None));
            let heights = (0..frame.range.count()).map(|index| frame.range.first().plus(index));
            heights.zip(payloads).filter(move |&(height, _)| height > above).map(move |(height, payload)| {
                let payload = payload.ok_or(Fault::BadFrame)?;
                let header = chain.header(decoded?, height).ok_or(Fault::WrongRange)?;
                Ok(AppBlock {
                    height,
                    id: header.id,
                    timestamp: header.timestamp,
                    state_root: header.state_root,
                    payload,
                })
            })
        })
    }

    /// The heights whose payloads the part holds; `None` for a part without frames, which the machine never makes.
    pub fn range(&self) -> Option<HeightRange> {
        HeightRange::new(self.frames.first()?.range.first(), self.frames.last()?.range.last())
    }
}

impl Apply {
    /// The blocks of the call that lie above a height, lowest first: [`ApplyPart::blocks`] of each part.
    pub fn blocks<'a, C: Chain>(
        &'a self,
        chain: &'a C,
        above: Height,
    ) -> impl Iterator<Item = Result<AppBlock<'a>, CheckError>> {
        self.parts.iter().flat_map(move |part| part.blocks(chain, above))
    }

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

/// The block whose state was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// A piece of history.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HistoryPiece {
    /// The headers of a [`HistoryGap`].
    pub segment: SegmentRef,
    /// The bodies of all of them, if bodies are wanted.
    pub frames: Option<Vec<BodyFrame>>,
}

/// Blocks that are missing right below the stored ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HistoryGap {
    /// The next heights to add: within one grid cell and epoch.
    pub range: HeightRange,
    /// The id of the block at the last of them.
    pub last_id: Hash,
    /// Their epoch, from a stored handover.
    pub epoch: EpochRef,
}

/// The staging area's part of a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// The answer to a [`HostCall`], for [`Input::Done`](crate::machine::Input::Done).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CallDone {
    /// The call.
    pub id: CallId,
    /// Outcome of the call. An error says that nothing is known to have come of it.
    pub result: Result<HostReply, HostError>,
}

impl CallDone {
    /// Blocks were applied or replayed up to `through`, and `stopped` says why no further.
    pub const fn applied(id: CallId, through: Height, stopped: Option<HostError>) -> Self {
        Self { id, result: Ok(HostReply::Applied { through, stopped }) }
    }
}

/// Outcome of a [`HostCall`]. One that doesn't fit the call is counted as a stray and moves nothing: the call is
/// still out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum HostReply {
    /// To [`HostWork::Apply`] and [`HostWork::Replay`], also where they failed on the way.
    Applied {
        /// The highest height that is stored and executed.
        through: Height,
        /// Why it is not the last height of the call.
        stopped: Option<HostError>,
    },
    /// To [`HostWork::StoreHandovers`].
    HandoversStored,
    /// To [`HostWork::Survey`]: one for each item, in order.
    Surveyed(#[serde(deserialize_with = "bounded::<_, _, { 1 << MAX_TREE_DEPTH }>")] Vec<Holding>),
    /// To [`HostWork::Stage`]: kept.
    Staged,
    /// To [`HostWork::Activate`]: the state is live.
    Activated {
        /// The highest gap below the stored blocks now; `None` where nothing is missing, or where the host adds no
        /// history.
        history_gap: Option<HistoryGap>,
    },
    /// To [`HostWork::Activate`]: the staged state has another root, though every part of it was verified: what the
    /// disk returns is not what was written. What doesn't match has been forgotten and will be found missing.
    RootMismatch {
        /// The root that was found.
        found: Hash,
    },
    /// To [`HostWork::AddHistory`]: the piece is stored.
    HistoryAdded {
        /// The highest gap below it; `None` where nothing is missing.
        history_gap: Option<HistoryGap>,
    },
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HostError {
    /// The work may succeed later (a busy disk): it is tried again, with growing pauses.
    #[error("the store or the application can't do it now")]
    Transient,
    /// The work will not succeed without help.
    #[error("the store or the application refuses")]
    Permanent,
    /// The application's state root differs from the one in a proven header: no peer is to blame.
    #[error("the state root after block {0} differs from the one that the network agreed on")]
    StateMismatch(Height),
    /// There is no room left to write: tried again, with growing pauses.
    #[error("the disk of the store or the application is full")]
    NoSpace,
}

impl HostError {
    /// Whether the same call may work later, with nothing done to it.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Transient | Self::NoSpace)
    }
}
