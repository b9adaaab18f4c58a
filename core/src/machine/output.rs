//! What comes out of the machine.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::calls::{Apply, ApplyError, BlockPoint, HistoryCall, Replay, StateCall, StoreCall, StoreError};
use crate::chain::{EpochRef, Fault, Finalized, TipFacts};
use crate::config::SyncStrategyType;
use crate::hash::Hash;
use crate::ids::{Epoch, Height, JobId, PeerId, RequestId};
use crate::machine::reason::{Stall, StallReason, StallStep};
use crate::peers::{BlacklistReason, PeerHealth};
use crate::progress::Eta;
use crate::strategy::Costs;
use crate::time::{Instant, UnixMillis};
use crate::verify::Job;
use crate::wire::Request;

/// Work for the host, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Output {
    /// Send a request and bring the answer to [`handle_response`](super::Machine::handle_response).
    Request {
        /// The request's id.
        id: RequestId,
        /// Whom to ask.
        peer: PeerId,
        /// What to ask.
        request: Request,
        /// Bytes after which to stop reading: an honest answer is not longer.
        max_response_bytes: u64,
    },
    /// The answer to this request is no longer wanted. The machine has forgotten it.
    CancelRequest(RequestId),
    /// Run the job on any thread and bring the verdict to [`handle_verdict`](super::Machine::handle_verdict).
    Verify(Job),
    /// The verdict of this job is no longer wanted. The machine has forgotten it.
    CancelJob(JobId),
    /// Store and execute blocks, then call [`handle_applied`](super::Machine::handle_applied). A call may come again
    /// with the same id, if it took long or failed for a while: skip what is done.
    Apply(Apply),
    /// Execute blocks that the store holds already, then call [`handle_applied`](super::Machine::handle_applied).
    Replay(Replay),
    /// Store handovers, then call [`handle_stored`](super::Machine::handle_stored).
    Store(StoreCall),
    /// Work on the staging area, then call [`handle_state`](super::Machine::handle_state). Such calls are carried out in
    /// their order.
    State(StateCall),
    /// Store a piece of history below the stored blocks, then call
    /// [`handle_history`](super::Machine::handle_history).
    History(HistoryCall),
    /// Do this to a peer.
    Penalize {
        /// The peer.
        peer: PeerId,
        /// What to do.
        penalty: Penalty,
    },
    /// Something that the user may want to know.
    Event(Event),
    /// Nothing more now. Wait for the next input, or until the deadline and then call
    /// [`handle_timeout`](super::Machine::handle_timeout).
    Wait(Option<Instant>),
}

/// A consequence for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Penalty {
    /// It gave a provably false answer: disconnect, and refuse it until then.
    Ban {
        /// What was false.
        fault: Fault,
        /// When it may come back.
        until: Instant,
    },
    /// The host excluded it: disconnect, and refuse it until then.
    Exclude {
        /// Why.
        reason: BlacklistReason,
        /// When it may come back.
        until: Instant,
    },
}

/// Something that the user may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[non_exhaustive]
pub enum Event {
    /// A higher block was proven final.
    Target {
        /// The block.
        height: Height,
        /// Its epoch.
        epoch: Epoch,
    },
    /// A strategy was chosen.
    Strategy {
        /// The strategy.
        strategy: SyncStrategyType,
        /// Blocks to the target when it was chosen.
        gap: u64,
        /// What it was chosen by, where it was not fixed.
        costs: Costs,
    },
    /// The state after this block is fetched: its header is proven.
    StateTarget {
        /// The block.
        height: Height,
        /// The root of its state.
        root: Hash,
        /// How often the target has moved.
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
        /// Since when.
        since: Instant,
        /// What the machine does next.
        step: StallStep,
        /// When it does so, at the latest.
        next: Instant,
    },
    /// Progress again after [`Event::Stalled`].
    Resumed,
    /// A peer was banned for what it answered.
    Banned {
        /// The peer.
        peer: PeerId,
        /// What was false.
        fault: Fault,
    },
    /// Several independent peers gave provably false answers of the same kind and nobody a true one. More likely than all
    /// of them lying: a wrong anchor, old software or a broken disk here. No one is banned until a true answer comes; then
    /// those are that gave false ones of its kind.
    SuspectSelf {
        /// What was false.
        fault: Fault,
        /// How many independent groups of peers.
        groups: usize,
    },
    /// The sync has stopped for good.
    Halted(HaltReason),
}

/// Why the sync has stopped for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize)]
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
        #[serde(serialize_with = "as_bytes")]
        evidence: Bytes,
    },
    /// The host refuses blocks.
    #[error("applying blocks above {through} failed: {error}")]
    Apply {
        /// The highest height that was applied.
        through: Height,
        /// Why.
        error: ApplyError,
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
    /// The host refuses handovers or a state.
    #[error("storing handovers or a state failed: {0}")]
    Store(StoreError),
}

fn as_bytes<S: serde::Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// What the sync waits for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bottleneck {
    /// Answers on their way.
    Network,
    /// Verification.
    Verify,
    /// Execution and the store.
    Apply,
    /// Somebody to ask.
    Peers,
}

/// Where the node stands, for whoever decides by it: a consensus engine, a light client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The highest block that is stored and executed; `None` while stored blocks wait for their execution.
    pub applied: Option<BlockPoint>,
    /// The highest block that was proven final, with its proof; `None` before there is one.
    pub proven: Option<(TipFacts, Finalized)>,
    /// The epoch of the next block, as far as it is known.
    pub epoch: EpochRef,
}

/// How far the sync is. Counts since the machine was made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// Height at the start.
    pub start: Height,
    /// Height that is stored and executed.
    pub current: Height,
    /// Highest proven height; the current one where nothing is proven above it.
    pub target: Height,
    /// The time in the header of the target. `None` where the chain has no time, or only the end of an epoch was proven,
    /// which doesn't say it.
    pub tip_time: Option<UnixMillis>,
    /// Highest height that a usable peer claims. Proves nothing.
    pub claimed: Option<Height>,
    /// The strategy in use.
    pub strategy: SyncStrategyType,
    /// The state, if one is or was fetched.
    pub state: Option<StateProgress>,
    /// Blocks a second over the last seconds in which there was something to do, and since the start where that is
    /// shorter. It falls while nothing moves.
    pub blocks_per_second: u64,
    /// The likely time that is left: [`Eta::likely`].
    pub remaining: Option<Duration>,
    /// Time that is left, a state that is fetched included. `None` while there is no rate, while the target moves away as
    /// fast as it is approached, while a complete state is hashed, and while nothing moves.
    pub eta: Option<Eta>,
    /// Why nothing moves, once nothing has moved for [`stall_after`](crate::config::SyncConfig::stall_after).
    pub stall: Option<Stall>,
    /// What it waits for most, over the whole time so far.
    pub bottleneck: Bottleneck,
    /// Time in which there was nothing to do: at the goal, or stopped.
    pub idle: Duration,
    /// Payload bytes applied.
    pub payload_bytes: u64,
    /// Bytes of answers that were accepted, each piece once.
    pub useful_bytes: u64,
    /// Bytes of answers that came although the same had been accepted already.
    pub duplicate_bytes: u64,
    /// Answers and verdicts that came too late, twice or for nothing.
    pub strays: u64,
    /// Certificates that were checked against a quorum.
    pub quorum_checks: u64,
    /// Bytes of the memory budget in use.
    pub buffered_bytes: u64,
    /// Most bytes of the memory budget ever in use.
    pub peak_buffered_bytes: u64,
    /// The memory budget.
    pub budget_bytes: u64,
    /// Peers that are connected and not asked, because enough others are.
    pub standing_by: usize,
    /// The peers, in the order of their ids: all that are asked, and others up to 128 in all. See
    /// [`Machine::peers`](super::Machine::peers) for everyone.
    pub peers: Vec<PeerReport>,
}

impl Progress {
    /// Age of the highest proven block at `wall`, the host's time of day; zero where that block is from the future. `None`
    /// where its time is not known. An old tip means that the network makes no blocks, or that no connected peer shows
    /// its newest ones; no proof tells the two apart.
    pub fn tip_age(&self, wall: UnixMillis) -> Option<Duration> {
        self.tip_time.map(|time| wall.since(time))
    }
}

/// How far a state is. Counts since the machine was made, over all targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateProgress {
    /// The block whose state it is.
    pub height: Height,
    /// Its root.
    pub root: Hash,
    /// Share that is staged, in millionths.
    pub done_ppm: u64,
    /// Keys that were fetched and staged.
    pub keys: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Subtrees that were fetched and staged.
    pub prefixes: u64,
    /// Subtrees that were there already.
    pub held: u64,
    /// Bytes of answers with what had come already.
    pub refetched_bytes: u64,
    /// How often the target has moved.
    pub moves: u64,
    /// Time since the first target.
    pub elapsed: Duration,
    /// Time to the end at the pace so far; `None` before there is one, and while there is no estimate of the whole.
    pub remaining: Option<Duration>,
}

/// What a peer did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerReport {
    /// The peer.
    pub id: PeerId,
    /// What it shares with others that may be one operator, as the host said.
    pub group: u64,
    /// Whether it is connected.
    pub connected: bool,
    /// Whether it is among those that are asked; else it stands by, or can't be asked.
    pub active: bool,
    /// Large answers that it is being asked for.
    pub in_flight: u32,
    /// Bytes a second that it delivers, once that was measured.
    pub bytes_per_second: Option<u64>,
    /// Time to a small answer, measured or assumed.
    pub latency: Duration,
    /// Requests that it answers with something true, in millionths.
    pub reliability_ppm: u32,
    /// How it is.
    pub health: PeerHealth,
    /// Blocks whose payloads it delivered first.
    pub blocks: u64,
    /// Accepted bytes.
    pub bytes: u64,
    /// Provably false answers that it gave.
    pub false_answers: u64,
    /// Requests that it did not answer: not in time, or its stream broke.
    pub unanswered: u64,
    /// What was provably false, if it is banned for that.
    pub banned: Option<Fault>,
}
