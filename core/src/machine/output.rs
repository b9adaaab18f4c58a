//! Outputs of the machine: [`Output`], and the figures that it shows.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::calls::{BlockPoint, HostCall};
use crate::chain::{EpochRef, Fault, Finalized, TipFacts};
use crate::config::SyncStrategyType;
use crate::hash::Hash;
use crate::ids::{DecidedId, Height, JobId, PeerId, RequestId};
use crate::machine::decided::DecidedError;
use crate::machine::event::Event;
use crate::machine::reason::Stall;
use crate::peers::{BlacklistReason, PeerHealth};
use crate::progress::Eta;
use crate::time::{Instant, UnixMillis};
use crate::verify::Job;
use crate::wire::Request;

/// Work for the host, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Output {
    /// Send a request and bring the answer back as [`Input::Response`](super::Input::Response).
    Request {
        /// The request's id.
        id: RequestId,
        /// Whom to ask.
        peer: PeerId,
        /// The request.
        request: Request,
        /// Bytes after which to stop reading: an honest answer is not longer.
        max_response_bytes: u64,
    },
    /// The answer to this request is no longer wanted. The machine has forgotten it.
    CancelRequest(RequestId),
    /// Run the job on any thread, of those that are out the one with the lowest [`Job::height`] first. Say
    /// [`Input::Begun`](super::Input::Begun) when a thread begins it, and bring the verdict back as
    /// [`Input::Verdict`](super::Input::Verdict). A job whose time has run out comes again with the same id: a thread that
    /// is still at it goes on.
    Verify(Job),
    /// The verdict of this job is no longer wanted. The machine has forgotten it.
    CancelJob(JobId),
    /// Do this in the store or the application, and say what came of it as [`Input::Done`](super::Input::Done).
    Call(HostCall),
    /// Do this to a peer.
    Penalize {
        /// The peer.
        peer: PeerId,
        /// The penalty.
        penalty: Penalty,
    },
    /// The answer to [`Input::Decided`](super::Input::Decided): the blocks are stored and executed, as all are up to this
    /// height; or why not.
    Decided {
        /// The submission.
        id: DecidedId,
        /// The last height, once it is stored and executed, or the reason why it is not.
        result: Result<Height, DecidedError>,
    },
    /// Something that the user may want to know. Nothing has to be done about it.
    Event(Event),
    /// Nothing more now. Wait for the next input, or until the deadline and then say so with
    /// [`Input::Timeout`](super::Input::Timeout).
    Wait(Option<Instant>),
}

/// A consequence for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Penalty {
    /// The peer gave a provably false answer: disconnect, and refuse it until then.
    Ban {
        /// Fault of the answer.
        fault: Fault,
        /// Time from which on it may come back.
        until: Instant,
    },
    /// The host excluded it: disconnect, and refuse it until then.
    Exclude {
        /// Why.
        reason: BlacklistReason,
        /// Time from which on it may come back.
        until: Instant,
    },
    /// The reason to ban or exclude the peer counts no longer: let it come back at once.
    Lift,
}

impl Penalty {
    /// The consequence of being left out for `reason` until then.
    pub(crate) const fn of(reason: BlacklistReason, until: Instant) -> Self {
        match reason.fault() {
            Some(fault) => Self::Ban { fault, until },
            None => Self::Exclude { reason, until },
        }
    }
}

impl fmt::Display for Penalty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ban { fault, .. } => write!(f, "banned: {fault}"),
            Self::Exclude { reason, .. } => write!(f, "left out: {reason}"),
            Self::Lift => f.write_str("may come back"),
        }
    }
}

/// Bottleneck: the thing that the sync waits for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
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

impl fmt::Display for Bottleneck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Position of the node, for whoever decides by it: a consensus engine, a light client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The highest block that is stored and executed; `None` while stored blocks wait for their execution.
    pub applied: Option<BlockPoint>,
    /// The highest block that was proven final, with its proof; `None` before there is one.
    pub proven: Option<(TipFacts, Finalized)>,
    /// The highest block that was proven out of what this node's own engine has decided; zero before there is one. It is
    /// not ahead of this node, though it may not be applied yet.
    pub decided: Height,
    /// The epoch of the next block, as far as it is known.
    pub epoch: EpochRef,
}

/// Progress of the sync. Counts since the machine was made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// Height at the start.
    pub start: Height,
    /// Height that is stored and executed.
    pub current: Height,
    /// Highest proven height; the current one where nothing is proven above it.
    pub target: Height,
    /// The time in the header of the target. `None` where the chain has no time.
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
    /// Bottleneck over the whole time so far.
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

/// Progress of a state. Counts since the machine was made, over all targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateProgress {
    /// The block whose state it is.
    pub height: Height,
    /// Root of the state.
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
    /// Times that the target has moved.
    pub moves: u64,
    /// Time since the first target.
    pub elapsed: Duration,
    /// Time to the end at the pace so far; `None` before there is one, and while there is no estimate of the whole.
    pub remaining: Option<Duration>,
}

/// Report on one peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerReport {
    /// The peer.
    pub id: PeerId,
    /// Group of peers that may be one operator, as the host said.
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
    /// Health of the peer.
    pub health: PeerHealth,
    /// Blocks whose payloads it delivered first.
    pub blocks: u64,
    /// Accepted bytes.
    pub bytes: u64,
    /// Provably false answers that it gave.
    pub false_answers: u64,
    /// Requests that it did not answer: not in time, or its stream broke.
    pub unanswered: u64,
    /// Fault of a provably false answer, if it is banned for that.
    pub banned: Option<Fault>,
}
