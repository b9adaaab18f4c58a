//! [`LightOutput`]: everything that comes out of a light client.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::checkpoint::LightCheckpoint;
use crate::chain::native::AnchorError;
use crate::chain::{EpochRef, Fault, TipFacts};
use crate::hash::Hash;
use crate::ids::{Epoch, Height, JobId, PeerId, QueryId, RequestId};
use crate::machine::Penalty;
use crate::time::{Instant, UnixMillis};
use crate::verify::Job;
use crate::wire::Request;

/// Work for the host, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LightOutput {
    /// Send a request and bring the answer back.
    Request {
        /// The request's id.
        id: RequestId,
        /// The peer to ask.
        peer: PeerId,
        /// The question.
        request: Request,
        /// Bytes after which to stop reading: an honest answer is not longer.
        max_response_bytes: u64,
    },
    /// The answer to this request is no longer wanted.
    CancelRequest(RequestId),
    /// Run the job on any thread and bring the verdict back.
    Verify(Job),
    /// The verdict of this job is no longer wanted.
    CancelJob(JobId),
    /// Do this to a peer.
    Penalize {
        /// The peer.
        peer: PeerId,
        /// The consequence.
        penalty: Penalty,
    },
    /// A question of the user is answered; it is closed with this.
    Answer {
        /// The question.
        query: QueryId,
        /// The answer, proven and confirmed.
        result: Result<LightAnswer, LightError>,
    },
    /// A newer point to start from: keep it, in the place of the one before.
    Keep(LightCheckpoint),
    /// Something that the user may want to know.
    Event(LightEvent),
    /// Nothing more now. Wait for the next input, or until the deadline and then say that time has passed.
    Wait(Option<Instant>),
}

/// A proven block, as far as a light client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct LightBlock {
    /// The block's height.
    pub height: Height,
    /// The block's id.
    pub id: Hash,
    /// The block's time.
    pub timestamp: UnixMillis,
    /// Root of the state after the block; `None` on a chain whose blocks name none.
    pub state_root: Option<Hash>,
}

impl From<TipFacts> for LightBlock {
    fn from(facts: TipFacts) -> Self {
        let TipFacts { height, id, timestamp, state_root, .. } = facts;
        Self { height, id, timestamp, state_root }
    }
}

/// An answer to a question of the user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LightAnswer {
    /// A key's value.
    Value {
        /// The value; `None` where the key has none, which is proven too.
        value: Option<Bytes>,
        /// The block after which the key has it.
        block: LightBlock,
    },
    /// A block.
    Header(LightBlock),
    /// Payloads of consecutive blocks.
    Bodies {
        /// Height of the first of them.
        first: Height,
        /// The payloads.
        payloads: Vec<Bytes>,
    },
}

/// A question that can't be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LightError {
    /// No state has keys of this length.
    #[error("a key has at most {MAX} bytes, this one has {bytes}", MAX = crate::state::MAX_KEY_BYTES)]
    KeyTooLong {
        /// Bytes of the key.
        bytes: usize,
    },
    /// As many questions are open as may be.
    #[error("{open} questions are open, which is the most: wait for answers, or drop some")]
    TooMany {
        /// Questions that are open.
        open: usize,
    },
    /// The blocks lie above the proven tip, at or below the anchor, or in an epoch that the client doesn't know.
    #[error(
        "block {height} is out of reach: this client proves blocks above its anchor, up to the tip, in the newest epochs \
         that it knows; start from a checkpoint near that height"
    )]
    OutOfReach {
        /// The height in question.
        height: Height,
    },
    /// The range doesn't lie within one cell of the grid.
    #[error("the blocks must lie in one epoch, and between multiples of {grid}: ask for each part by itself")]
    NotOneCell {
        /// Most headers of a cell.
        grid: u64,
    },
    /// The chain proves no lengths of payloads, so that a lie about one could be blamed on an honest peer.
    #[error(
        "this chain proves no lengths of payloads, and a light client fetches payloads by proven lengths: ask a full node"
    )]
    UnprovenLengths,
    /// The payloads are larger together than one question may be.
    #[error("the payloads have {bytes} bytes and one question gets at most {MAX}: ask for fewer blocks", MAX = crate::limits::MAX_BODIES_BYTES)]
    TooLarge {
        /// Bytes of the payloads.
        bytes: u64,
    },
    /// Nobody gave it in time.
    #[error("no peer gave it in time: connect to more peers, or ask again")]
    NoAnswer,
    /// The tip was proven, but too few peers of other groups confirmed its block in time.
    #[error("only {have} of {need} witnesses confirmed the block: connect to peers of other operators, or ask again")]
    Unconfirmed {
        /// Groups that confirmed it.
        have: usize,
        /// Groups that have to.
        need: usize,
    },
    /// The client was stopped, or has halted.
    #[error("the light client does not run")]
    Stopped,
}

/// Something that the user may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LightEvent {
    /// This epoch is trusted now, by handovers.
    Epoch {
        /// The newest trusted epoch.
        epoch: Epoch,
    },
    /// An epoch further up is trusted now, without the handovers between.
    Skipped {
        /// The trusted epoch before.
        from: Epoch,
        /// The newest trusted epoch.
        to: Epoch,
    },
    /// A higher block was proven final, and confirmed by as many witnesses as are wanted.
    Tip {
        /// The block.
        block: LightBlock,
        /// Groups that confirmed it, beside the one that showed it.
        witnesses: usize,
    },
    /// No progress.
    Stalled {
        /// The reason.
        reason: LightStall,
        /// Time of the last progress.
        since: Instant,
        /// When the client tries again, at the latest.
        next: Instant,
    },
    /// Progress again after [`LightEvent::Stalled`].
    Resumed,
    /// A peer was banned for an answer.
    Banned {
        /// The peer.
        peer: PeerId,
        /// The fault.
        fault: Fault,
    },
    /// Several independent peers gave provably false answers of the same kind and nobody a true one: more likely than all
    /// of them lying is a wrong genesis document or old software here. No one is banned until a true answer comes.
    SuspectSelf {
        /// The fault.
        fault: Fault,
        /// Independent groups of peers.
        groups: usize,
    },
    /// The client has stopped for good.
    Halted(LightHalt),
}

impl fmt::Display for LightEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch { epoch } => write!(f, "epoch {epoch} is trusted"),
            Self::Skipped { from, to } => write!(f, "epoch {to} is trusted, from epoch {from} on"),
            Self::Tip { block, witnesses } => {
                write!(f, "block {} is proven, and confirmed by {witnesses} other groups of peers", block.height)
            }
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

/// Why a client makes no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LightStall {
    /// No peer is connected that may be asked.
    #[error("no peer to ask: connect to some")]
    NoPeers,
    /// Peers claim a newer epoch, and none proves it.
    #[error("peers claim epoch {claimed}, and none proves it from epoch {trusted} on")]
    EpochUnproven {
        /// The newest trusted epoch.
        trusted: Epoch,
        /// The highest epoch that a peer claims.
        claimed: Epoch,
    },
    /// No peer proves a tip.
    #[error("no peer proves a tip")]
    NoTip,
    /// A tip is proven, and too few peers of other groups confirm it.
    #[error("{have} of {need} witnesses confirm block {height}: connect to peers of other operators")]
    Witnesses {
        /// The block.
        height: Height,
        /// Groups that confirm it.
        have: usize,
        /// Groups that have to.
        need: usize,
    },
    /// The newest block that anyone proves is old: the network makes none, or no connected peer shows them.
    #[error("the newest proven block is {} s old: the network makes no blocks, or no connected peer shows them", .age.as_secs())]
    OldTip {
        /// Its age by the host's clock.
        age: Duration,
    },
    /// A trusted block is from the future: the host's clock can't tell how old anything is.
    #[error("a trusted block is {} s ahead of this machine's clock: set the clock", .ahead.as_secs())]
    ClockBehind {
        /// By how much.
        ahead: Duration,
    },
}

/// Why a client has stopped for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LightHalt {
    /// Two different blocks of one height were proven final.
    #[error(
        "two different blocks at height {height} are proven final: validators broke their promise; keep the evidence and decide by hand which chain to follow"
    )]
    ConflictingFinality {
        /// The height.
        height: Height,
        /// Both proofs, as the chain encodes them; empty where the older one was no longer at hand.
        #[serde(serialize_with = "as_bytes")]
        evidence: Bytes,
    },
    /// Nothing newer was proven within the trusting period: the trusted signatures prove nothing any more.
    #[error("{0}")]
    TrustExpired(#[serde(serialize_with = "as_words")] AnchorError),
}

fn as_bytes<S: serde::Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

fn as_words<S: serde::Serializer>(error: &AnchorError, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

/// Age of the told tip by the host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// At most [`LightConfig::freshness`](super::LightConfig::freshness).
    Fresh,
    /// Older than that.
    Old {
        /// Its age.
        age: Duration,
    },
    /// No tip was told yet, or it is from the future by more than clocks differ.
    Unknown,
}

/// Where a light client stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LightPosition {
    /// The newest trusted epoch.
    pub epoch: EpochRef,
    /// The highest block that was proven and confirmed, with its proof; what the client started from before there is one.
    pub tip: Option<(TipFacts, Bytes)>,
    /// Groups that confirmed it since the client was made, beside the one that showed it.
    pub witnesses: usize,
    /// Age of the tip.
    pub freshness: Freshness,
    /// The highest block that anyone proved, confirmed or not.
    pub proven: Option<TipFacts>,
}
