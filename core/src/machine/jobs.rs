//! Jobs: verification that waits for a place, is given out, or rests, and how long each may take.
//!
//! The lowest heights go first, so that headers far ahead never make bodies wait which could be applied. A job's time
//! counts from when a thread begins it, which the host says ([`Input::Begun`](super::Input::Begun)); in the queue of a busy host it
//! may wait for as long as it takes. A job whose time has run out is given out again under its old id: a verdict that
//! comes late is used, and a thread that is still at work goes on.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::chain::CheckError;
use crate::ids::{Height, JobId, PeerId};
use crate::machine::output::Output;
use crate::machine::patience::pause_after;
use crate::machine::state::{Machine, Timer};
use crate::requests::Purpose;
use crate::time::Instant;
use crate::verify::{Job, Task, Verdict};

/// A job that no thread was said to have begun is given out again after so many times its time-out: it may wait behind
/// others, or the host never says when a thread begins.
const UNBEGUN_FACTOR: u32 = 10;
/// Doublings of a job's time, one for each time that it ran out. A job that takes longer than its time-out is not lost,
/// and must not be given out again and again by a host that runs every copy.
const MAX_DOUBLINGS: u32 = 5;

/// Time for which threads that were heard of count as at work. Between the end of one job and the news of the next they are
/// no less so.
pub(super) const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// A job that is not done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PendingJob {
    /// A copy, should it be lost.
    pub(super) job: Job,
    /// Whose answer it checks, and what for. `None` where that is no peer's: a conflict, or blocks that this node's own
    /// engine has decided.
    pub(super) origin: Option<(PeerId, Purpose)>,
    /// Size of the answer.
    pub(super) bytes: u64,
    /// Bytes of the memory budget that go back when it ends.
    pub(super) reserved: u64,
    /// Peers that gave the very same tip, and its size: they share the verdict.
    pub(super) shared: Vec<(PeerId, u64)>,
    stage: Stage,
    /// Times that its time ran out.
    timeouts: u32,
    /// Times that the host could not check it.
    failures: u32,
}

/// Stage of a job between its answer and its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Waits for a place among those that are given out.
    Waiting,
    /// Given out at this time. Perhaps no thread has begun it.
    Out(Instant),
    /// A thread has begun it at this time.
    Begun(Instant),
    /// The host could not check it, for a reason with this code: it is given out again after a pause.
    Resting(u32),
}

/// State of verification, for the watch on progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verification {
    /// Nothing to verify.
    Idle,
    /// Threads are at it, within their time.
    Works,
    /// No thread is known to be at it, and none was heard of for a while.
    Late,
    /// The host could not check something, for a reason with this code.
    Fails(u32),
}

/// All jobs that are not done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Jobs {
    pending: BTreeMap<JobId, PendingJob>,
    /// Those that wait for a place, in the order in which they go out.
    waiting: BTreeSet<(Height, JobId)>,
    /// Number of jobs that are given out.
    out: usize,
    /// Time at which a thread began a job or was done with one last, or the first was given out to threads that had
    /// none.
    heard: Instant,
    next: JobId,
    /// Time that the job took whose verdict is being taken in.
    took: Duration,
}

impl PendingJob {
    fn is_out(&self) -> bool {
        matches!(self.stage, Stage::Out(_) | Stage::Begun(_))
    }
}

impl Jobs {
    /// No job yet.
    pub(super) fn new(now: Instant) -> Self {
        let (pending, waiting) = (BTreeMap::new(), BTreeSet::new());
        Self { pending, waiting, out: 0, heard: now, next: JobId::FIRST, took: Duration::ZERO }
    }

    /// The id of the next job.
    pub(super) fn upcoming(&self) -> JobId {
        self.next
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn get(&self, id: JobId) -> Option<&PendingJob> {
        self.pending.get(&id)
    }

    /// The jobs that are not done, in the order in which they were made.
    pub(super) fn iter(&self) -> impl Iterator<Item = &PendingJob> {
        self.pending.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut PendingJob> {
        self.pending.values_mut()
    }

    /// Their ids.
    pub(super) fn ids(&self) -> impl Iterator<Item = JobId> + '_ {
        self.pending.keys().copied()
    }

    /// Time that the job took whose verdict is being taken in.
    pub(super) fn took(&self) -> Duration {
        self.took
    }

    /// State of verification.
    pub(super) fn verification(&self, now: Instant) -> Verification {
        let resting = self.iter().find_map(|pending| match pending.stage {
            Stage::Resting(code) => Some(code),
            _ => None,
        });
        match resting {
            Some(code) => Verification::Fails(code),
            None if self.is_empty() => Verification::Idle,
            None if now.since(self.heard) < HEARD_WITHIN => Verification::Works,
            None if self.iter().any(|pending| matches!(pending.stage, Stage::Begun(_))) => Verification::Works,
            None => Verification::Late,
        }
    }

    fn insert(&mut self, task: Task, origin: Option<(PeerId, Purpose)>, bytes: u64, reserved: u64) -> JobId {
        let id = self.next;
        self.next = id.next();
        let job = Job::new(id, task);
        self.waiting.insert((job.height(), id));
        let (stage, shared) = (Stage::Waiting, Vec::new());
        self.pending.insert(id, PendingJob { job, origin, bytes, reserved, shared, stage, timeouts: 0, failures: 0 });
        id
    }

    /// Takes a job out, whatever it is at.
    pub(super) fn remove(&mut self, id: JobId) -> Option<PendingJob> {
        self.set_stage(id, Stage::Waiting);
        let pending = self.pending.remove(&id)?;
        self.waiting.remove(&(pending.job.height(), id));
        Some(pending)
    }

    fn set_stage(&mut self, id: JobId, stage: Stage) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        let was_out = pending.is_out();
        pending.stage = stage;
        let place = (pending.job.height(), id);
        match (was_out, pending.is_out()) {
            (true, false) => self.out = self.out.saturating_sub(1),
            (false, true) => self.out = self.out.saturating_add(1),
            _ => {}
        }
        match stage {
            Stage::Waiting => self.waiting.insert(place),
            _ => self.waiting.remove(&place),
        };
    }
}

impl Machine {
    /// Has something verified.
    pub(super) fn send_job(
        &mut self,
        task: Task,
        origin: Option<(PeerId, Purpose)>,
        bytes: u64,
        reserved: u64,
    ) -> JobId {
        if let Some((peer, purpose)) = origin {
            self.peers.under_check(peer, purpose);
        }
        let id = self.jobs.insert(task, origin, bytes, reserved);
        self.issue_jobs();
        id
    }

    /// Gives out jobs that wait, as many as the pipeline takes.
    pub(super) fn issue_jobs(&mut self) {
        while self.jobs.out < self.config.validation_pipeline_size
            && let Some(&(_, id)) = self.jobs.waiting.first()
        {
            if self.jobs.out == 0 {
                self.jobs.heard = self.now;
            }
            self.jobs.set_stage(id, Stage::Out(self.now));
            let Some(pending) = self.jobs.get(id) else { return };
            let limit = self.config.job_timeout.saturating_mul(UNBEGUN_FACTOR);
            self.timers.set(Timer::Job(id), self.now.after(doubled(limit, pending.timeouts)));
            self.outputs.push_back(Output::Verify(pending.job.clone()));
        }
    }

    /// A thread has begun a job: its time counts from now. A host that never says so still gets lost jobs back, only later.
    pub(super) fn on_begun(&mut self, id: JobId) {
        // A job whose time has run out already is about to be given out again, and begins anew.
        let Some(pending) = self.jobs.get(id).filter(|pending| pending.is_out()) else { return };
        let limit = doubled(self.config.job_timeout, pending.timeouts);
        self.jobs.heard = self.now;
        self.jobs.set_stage(id, Stage::Begun(self.now));
        self.timers.set(Timer::Job(id), self.now.after(limit));
    }

    /// A job is done. Verdicts of jobs that the machine has forgotten, or that answer another question, are counted and
    /// ignored.
    pub(super) fn on_verdict(&mut self, verdict: Verdict) {
        self.unplanned = true;
        let id = verdict.job();
        // One that answers another question must not end the job: its own may still come.
        if self.jobs.get(id).is_none_or(|pending| pending.job.statement() != verdict.statement()) {
            self.counters.strays = self.counters.strays.saturating_add(1);
            return;
        }
        if !self.trust_holds() {
            return;
        }
        self.jobs.heard = self.now;
        if let Err(CheckError::Unable(code)) = *verdict.outcome() {
            self.rest_job(id, code);
            return;
        }
        let Some(pending) = self.jobs.remove(id) else { return };
        self.timers.cancel(Timer::Job(id));
        self.jobs.took = match pending.stage {
            Stage::Out(since) | Stage::Begun(since) => self.now.since(since),
            Stage::Waiting | Stage::Resting(_) => Duration::ZERO,
        };
        self.judged(&pending);
        let checks = u64::from(verdict.quorum_checks());
        self.counters.quorum_checks = self.counters.quorum_checks.saturating_add(checks);
        self.take_verdict(pending, verdict);
    }

    /// The host could not check something: nobody is to blame, and it is given out again after a pause, which doubles.
    fn rest_job(&mut self, id: JobId, code: u32) {
        self.jobs.set_stage(id, Stage::Resting(code));
        let Some(pending) = self.jobs.pending.get_mut(&id) else { return };
        self.timers.set(Timer::Job(id), self.now.after(pause_after(pending.failures)));
        pending.failures = pending.failures.saturating_add(1);
    }

    /// A job did not come back in time, or its rest is over: it takes its place among those that wait. A thread that is
    /// still at it is told nothing, so that what it has done counts.
    pub(super) fn job_timed_out(&mut self, id: JobId) {
        let Some(pending) = self.jobs.pending.get_mut(&id) else { return };
        if pending.is_out() {
            pending.timeouts = pending.timeouts.saturating_add(1);
        }
        self.jobs.set_stage(id, Stage::Waiting);
    }

    /// Ends a job whose verdict nobody needs.
    pub(super) fn drop_job(&mut self, id: JobId) -> Option<PendingJob> {
        let given_out = self.jobs.get(id)?.is_out() || self.jobs.get(id)?.timeouts > 0;
        let pending = self.jobs.remove(id)?;
        self.timers.cancel(Timer::Job(id));
        self.budget.release(pending.reserved);
        self.judged(&pending);
        if given_out {
            self.outputs.push_back(Output::CancelJob(id));
        }
        Some(pending)
    }

    /// Ends all jobs.
    pub(super) fn drop_jobs(&mut self) {
        let ids: Vec<JobId> = self.jobs.ids().collect();
        for id in ids {
            self.drop_job(id);
        }
    }
}

/// A job's time after it ran out so often.
fn doubled(limit: Duration, timeouts: u32) -> Duration {
    limit.saturating_mul(1 << timeouts.min(MAX_DOUBLINGS))
}
