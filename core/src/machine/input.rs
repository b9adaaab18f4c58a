//! [`Input`]: everything that can happen to a machine, as one value, so that it can be queued, recorded and replayed.

use bytes::Bytes;

use crate::calls::CallDone;
use crate::config::SyncStrategyType;
use crate::ids::{Height, JobId, PeerId, RequestId};
use crate::machine::decided::Decided;
use crate::machine::state::Machine;
use crate::peers::BlacklistReason;
use crate::requests::Purpose;
use crate::time::{Instant, UnixMillis};
use crate::verify::{Statement, Verdict};

/// One input of the machine, for [`Machine::handle`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// News of a peer.
    Peer(PeerEvent),
    /// A request was answered, or won't be. Answers to requests that the machine has forgotten are counted and ignored.
    Response(RequestId, Result<Bytes, RequestFailure>),
    /// A job is done. Verdicts of jobs that the machine has forgotten, or that answer another question, are counted and
    /// ignored.
    Verdict(Verdict),
    /// A thread has begun a job: its time counts from now. A host that never says so still gets lost jobs back, only later.
    Begun(JobId),
    /// A call into the host is done, or can't be.
    Done(CallDone),
    /// The host's time of day, on a chain with a trusting period. The machine counts on from it by its monotonic time; a host whose
    /// monotonic clock stands still while it sleeps says it now and then.
    Wall(UnixMillis),
    /// Time has passed. Early or for nothing it does no harm.
    Timeout,
    /// Start, or go on after [`Stop`](Self::Stop). With a height, downloads end with the first proven segment that holds
    /// it.
    Start(Option<Height>),
    /// Stop: requests and jobs are cancelled. Calls into the host that are out are still to be answered.
    Stop,
    /// Catch up with this strategy from here on, whether or not the machine runs: in the place of
    /// [`SyncConfig::default_strategy`](crate::config::SyncConfig::default_strategy). What is verified or staged stays.
    /// Where [`Machine::can_use`] says that the host can't do it everything stays as it is.
    Strategy(SyncStrategyType),
    /// This node's own consensus engine has decided blocks. Answered by one [`Output::Decided`](super::Output::Decided).
    Decided(Decided),
}

/// News of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerEvent {
    /// A connection to the peer stands.
    Connected {
        /// The peer.
        peer: PeerId,
        /// Group of peers that may be the same operator: an address prefix, an autonomous system. Peers with
        /// the same number count as one where independence matters.
        group: u64,
    },
    /// The connection is gone. Its requests are asked elsewhere at once.
    Disconnected {
        /// The peer.
        peer: PeerId,
    },
    /// The host leaves the peer out, connected or not, for [`ban_duration`](crate::config::SyncConfig::ban_duration).
    Excluded {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: BlacklistReason,
    },
    /// The host lifts a ban, whatever it is for. The peer is asked once it connects again, or at once where it never went.
    Pardoned {
        /// The peer.
        peer: PeerId,
    },
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RequestFailure {
    /// The answer passes the size that an honest answer can have. Provably false.
    #[error("the answer is longer than an honest one can be")]
    Oversize,
    /// The transport gave up: the stream or the connection broke.
    #[error("the connection or its stream broke")]
    Broken,
}

impl Machine {
    /// Takes one input at `now`, the host's monotonic time. Then call [`poll_output`](Self::poll_output) until it says to
    /// wait.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.advance(now);
        match input {
            Input::Peer(event) => self.on_peer(event),
            Input::Response(id, answer) => self.on_response(id, answer),
            Input::Verdict(verdict) => self.on_verdict(verdict),
            Input::Begun(id) => self.on_begun(id),
            Input::Done(done) => self.on_done(done),
            Input::Wall(wall) => self.on_wall(wall),
            Input::Timeout => self.unplanned = true,
            Input::Start(until) => self.on_start(until),
            Input::Stop => self.on_stop(),
            Input::Strategy(strategy) => self.on_strategy(strategy),
            Input::Decided(decided) => self.on_decided(decided),
        }
    }

    /// Whether the host can do what `strategy` needs: [`Fast`](SyncStrategyType::Fast) needs a staging area.
    pub fn can_use(&self, strategy: SyncStrategyType) -> bool {
        strategy != SyncStrategyType::Fast || self.state_sync.is_possible()
    }

    /// Whether the machine itself reads the data in the answer to this request. All other data it only counts and hands
    /// to jobs, which read it elsewhere.
    pub(crate) fn reads_answer(&self, id: RequestId) -> bool {
        self.requests.get(id).is_some_and(|request| match request.purpose {
            // Claims are read, tips compared with each other, and the other side of a dispute taken out of its envelope.
            Purpose::Status | Purpose::Tip(_) | Purpose::Dispute(_) => true,
            Purpose::Handovers(_)
            | Purpose::Segment { .. }
            | Purpose::Bodies(_)
            | Purpose::Follow(_)
            | Purpose::Base
            | Purpose::State(_) => false,
        })
    }

    /// Statement that the verdict of this job must have, while the job is out.
    pub(crate) fn statement_of(&self, job: JobId) -> Option<Statement> {
        self.jobs.get(job).map(|pending| pending.job.statement())
    }
}
