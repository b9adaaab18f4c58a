//! Requests and jobs on their way: who is asked for what, and what becomes of it when it ends.

use alloc::vec::Vec;
use core::time::Duration;

use super::client::LightClient;
use super::output::LightOutput;
use crate::chain::SegmentClaim;
use crate::ids::{Epoch, Height, JobId, PeerId, QueryId, RequestId};
use crate::requests::{Capability, InFlight, Kind};
use crate::time::Instant;
use crate::verify::{Job, Task};
use crate::wire::Request;

/// Time after which an answer is late, and another peer is asked for the same: several round trips around the world.
const LATE_AFTER: Duration = Duration::from_secs(1);
/// Most peers that are asked for the same at a time because the others are late.
const MAX_SOURCES: usize = 4;
/// Pause before a job is given out again that could not be done here.
const UNABLE_PAUSE: Duration = Duration::from_secs(1);
/// Share of the time-out that a status or a tip gets: they are small.
const SMALL_TIMEOUT_SHARE: u32 = 2;

/// The reason of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// The peer's claims.
    Status,
    /// Handovers from the end of this epoch on.
    Handovers(Epoch),
    /// The two handovers that prove this epoch from further below.
    Skip(Epoch),
    /// The peer's tip.
    Tip,
    /// The peer's own proof of its block at this height.
    Witness(Height, SegmentClaim),
    /// Headers that a question of the user begins with.
    Base(QueryId, SegmentClaim),
    /// The rest of a question: a value or payloads.
    Answer(QueryId, Kind),
}

impl Purpose {
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Status => Kind::Status,
            Self::Handovers(_) | Self::Skip(_) => Kind::Handovers,
            Self::Tip => Kind::Tip,
            Self::Witness(..) | Self::Base(..) => Kind::Segment,
            Self::Answer(_, kind) => kind,
        }
    }

    /// The question of the user that it is for.
    pub(super) const fn query(self) -> Option<QueryId> {
        match self {
            Self::Base(id, _) | Self::Answer(id, _) => Some(id),
            Self::Status | Self::Handovers(_) | Self::Skip(_) | Self::Tip | Self::Witness(..) => None,
        }
    }
}

impl From<Purpose> for Capability {
    fn from(purpose: Purpose) -> Self {
        purpose.kind().into()
    }
}

/// Deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    Request(RequestId),
    Late(RequestId),
    Job(JobId),
    /// The peer is to be asked for its status.
    Status(PeerId),
    /// A rest or a ban of the peer is over.
    Peer(PeerId),
    Query(QueryId),
    Rotate,
    Stall,
    Trust,
}

/// A job that is out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PendingJob {
    pub(super) job: Job,
    /// The peer whose answer is checked, and what it was asked for; nobody's for a conflict.
    pub(super) origin: Option<(PeerId, Purpose)>,
    /// Others that gave the very same bytes.
    pub(super) shared: Vec<PeerId>,
    pub(super) issued: Instant,
    /// Bytes of the answer.
    pub(super) bytes: u64,
}

impl LightClient {
    /// Sends a request whose answer is expected to have `size` bytes.
    pub(super) fn send(&mut self, peer: PeerId, purpose: Purpose, request: Request, size: u64) {
        let id = self.last_request.map_or(RequestId::FIRST, RequestId::next);
        self.last_request = Some(id);
        let due = self.peers.due(peer, purpose.kind(), size, self.now);
        self.peers.sent(peer, purpose, size, due, self.now);
        self.requests.insert(id, InFlight { peer, purpose, sent: self.now, due, size, reserved: 0 });
        let timeout = match purpose.kind() {
            Kind::Status | Kind::Tip => self.config.peer_timeout.checked_div(SMALL_TIMEOUT_SHARE).unwrap_or_default(),
            _ => self.config.peer_timeout,
        };
        self.timers.set(Timer::Request(id), self.now.after(timeout));
        if LATE_AFTER < timeout {
            self.timers.set(Timer::Late(id), self.now.after(LATE_AFTER));
        }
        let max_response_bytes = u64::from(request.max_response_bytes());
        self.outputs.push_back(LightOutput::Request { id, peer, request, max_response_bytes });
    }

    /// Takes out a request that ended, for every account that knows of it.
    pub(super) fn take_request(&mut self, id: RequestId) -> Option<InFlight<Purpose>> {
        let request = self.requests.remove(&id)?;
        self.timers.cancel(Timer::Request(id));
        self.timers.cancel(Timer::Late(id));
        self.peers.ended(&request);
        // The probation begins again where the answer is to be checked.
        self.peers.end_probation(request.peer, request.purpose);
        Some(request)
    }

    /// Takes back a request that is in flight.
    pub(super) fn cancel_request(&mut self, id: RequestId) -> Option<InFlight<Purpose>> {
        let request = self.take_request(id)?;
        self.outputs.push_back(LightOutput::CancelRequest(id));
        Some(request)
    }

    /// Takes back the requests that are meant.
    pub(super) fn cancel_requests(&mut self, meant: &dyn Fn(&InFlight<Purpose>) -> bool) {
        let ids: Vec<RequestId> =
            self.requests.iter().filter(|(_, request)| meant(request)).map(|(&id, _)| id).collect();
        for id in ids {
            self.cancel_request(id);
        }
    }

    /// How many more peers may be asked for something that `base` peers are asked for at a time, and one more for each
    /// that is late.
    pub(super) fn room(&self, base: usize, meant: &dyn Fn(Purpose) -> bool) -> usize {
        let (mut asked, mut late) = (0usize, 0usize);
        for request in self.requests.values().filter(|request| meant(request.purpose)) {
            asked = asked.saturating_add(1);
            late = late.saturating_add(usize::from(self.now.since(request.sent) >= LATE_AFTER));
        }
        // An answer that is being checked was not late.
        let checked = self.jobs.values().filter_map(|pending| pending.origin).filter(|&(_, purpose)| meant(purpose));
        asked = asked.saturating_add(checked.count());
        base.saturating_add(late).min(MAX_SOURCES.max(base)).saturating_sub(asked)
    }

    /// Whether `peer` is being asked for this, or its answer is being checked.
    pub(super) fn is_asked(&self, peer: PeerId, meant: &dyn Fn(Purpose) -> bool) -> bool {
        self.requests.values().any(|request| request.peer == peer && meant(request.purpose))
            || self.jobs.values().any(|pending| match pending.origin {
                Some((asked, purpose)) => (asked == peer || pending.shared.contains(&peer)) && meant(purpose),
                None => false,
            })
    }

    /// Hands an answer, or a conflict, to a job.
    pub(super) fn send_job(&mut self, task: Task, origin: Option<(PeerId, Purpose)>, bytes: u64) -> JobId {
        let id = self.next_job;
        self.next_job = id.next();
        if let Some((peer, purpose)) = origin {
            self.peers.under_check(peer, purpose);
        }
        let job = Job::new(id, task);
        self.outputs.push_back(LightOutput::Verify(job.clone()));
        self.timers.set(Timer::Job(id), self.now.after(self.config.job_timeout));
        self.jobs.insert(id, PendingJob { job, origin, shared: Vec::new(), issued: self.now, bytes });
        id
    }

    /// Takes out a job that ended, with a verdict or without.
    pub(super) fn take_job(&mut self, id: JobId) -> Option<PendingJob> {
        let pending = self.jobs.remove(&id)?;
        self.timers.cancel(Timer::Job(id));
        if let Some((peer, purpose)) = pending.origin {
            self.peers.end_probation(peer, purpose);
            for &peer in &pending.shared {
                self.peers.end_probation(peer, purpose);
            }
        }
        Some(pending)
    }

    /// A job did not come back: its worker may have died. It is given out again, and the first verdict counts.
    fn job_timed_out(&mut self, id: JobId) {
        let Some(pending) = self.jobs.get_mut(&id) else { return };
        pending.issued = self.now;
        self.outputs.push_back(LightOutput::Verify(pending.job.clone()));
        self.timers.set(Timer::Job(id), self.now.after(self.config.job_timeout));
    }

    /// A job could not be done here: it is given out again after a pause.
    pub(super) fn rest_job(&mut self, id: JobId) {
        self.timers.set(Timer::Job(id), self.now.after(UNABLE_PAUSE));
    }

    /// Ends a job whose verdict nobody needs.
    pub(super) fn cancel_job(&mut self, id: JobId) {
        if self.take_job(id).is_some() {
            self.outputs.push_back(LightOutput::CancelJob(id));
        }
    }

    /// Cancels all requests and jobs; questions of the user are answered that nothing comes any more.
    pub(super) fn cancel_everything(&mut self) {
        self.cancel_requests(&|_| true);
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in jobs {
            self.cancel_job(id);
        }
        self.forget_waiting_handovers(&|_| true);
        self.epochs.check = None;
        self.confirmations.drop_conflict();
        self.close_queries();
        self.timers.cancel(Timer::Stall);
        self.timers.cancel(Timer::Trust);
    }

    pub(super) fn run_timers(&mut self) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Request(id) => self.request_timed_out(id),
                Timer::Job(id) => self.job_timed_out(id),
                Timer::Status(peer) => self.ask_status(peer),
                Timer::Peer(peer) => self.rested(peer),
                Timer::Query(id) => self.query_timed_out(id),
                Timer::Rotate => self.rotate(),
                // The plan that follows looks at these.
                Timer::Late(_) | Timer::Stall | Timer::Trust => {}
            }
        }
    }

    fn request_timed_out(&mut self, id: RequestId) {
        if let Some(request) = self.cancel_request(id) {
            self.no_answer(&request);
        }
    }
}
