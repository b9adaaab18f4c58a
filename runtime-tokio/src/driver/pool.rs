//! The verification pool: jobs on threads, as many as there are cores.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant as Clock;

use hotstuff2_sync::chain::{Chain, CheckError};
use hotstuff2_sync::ids::{Height, JobId};
use hotstuff2_sync::verify::{Job, Verdict};

use super::{Input, Inputs, observe};
use crate::monitor::SyncPerformanceMonitor;

/// Code with which the pool says that the chain panicked over a job.
const PANICKED: u32 = u32::MAX;

#[derive(Default)]
struct Queue {
    /// In the order in which they are run: the lowest heights first, and of equal ones the oldest.
    jobs: BTreeMap<(Height, JobId), Job>,
    /// Those that threads are at.
    begun: BTreeSet<JobId>,
    /// Threads that wait for one and were not woken yet.
    idle: usize,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Threads that run jobs, the lowest heights first, and say when they begin one.
pub(super) struct Pool {
    shared: Arc<Shared>,
    inputs: Inputs,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `threads` threads that send verdicts to `inputs`.
    pub(super) fn start<C: Chain>(
        chain: &Arc<C>,
        threads: usize,
        inputs: &Inputs,
        monitor: Option<&SyncPerformanceMonitor>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let mut pool = Self { shared: Arc::clone(&shared), inputs: inputs.clone(), threads: Vec::new() };
        for number in 0..threads.max(1) {
            let (shared, chain, inputs) = (Arc::clone(&shared), Arc::clone(chain), inputs.clone());
            let monitor = monitor.cloned();
            let thread = thread::Builder::new()
                .name(format!("hs2-verify-{number}"))
                .spawn(move || work(&shared, &*chain, &inputs, monitor.as_ref()))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Has a job run. One that comes again while a thread is at it is not run twice: its time only counts anew.
    pub(super) fn push(&self, job: Job) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.begun.contains(&job.id()) {
            drop(queue);
            self.inputs.send(Input::Begun(job.id()));
            return;
        }
        queue.jobs.insert((job.height(), job.id()), job);
        let is_awaited = queue.idle > 0;
        queue.idle = queue.idle.saturating_sub(1);
        drop(queue);
        // Waking somebody takes a call into the system, whether or not there is anybody.
        if is_awaited {
            self.shared.changed.notify_one();
        }
    }

    /// Takes a job back, if no thread has begun with it. A verdict that comes all the same is ignored by the machine.
    pub(super) fn cancel(&self, id: JobId) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.jobs.retain(|&(_, queued), _| queued != id);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.closed = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

fn work<C: Chain>(shared: &Shared, chain: &C, inputs: &Inputs, monitor: Option<&SyncPerformanceMonitor>) {
    loop {
        let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let job = loop {
            if let Some((_, job)) = queue.jobs.pop_first() {
                queue.begun.insert(job.id());
                break job;
            }
            if queue.closed {
                return;
            }
            queue.idle += 1;
            // Who wakes it counts it out. Should it wake by itself it counts twice, and somebody is woken in vain.
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        };
        drop(queue);
        inputs.send(Input::Begun(job.id()));
        // A chain must not panic. Should one do it all the same, nobody is blamed, the job comes again after a pause, and
        // this thread lives on for the others.
        let begin = Clock::now();
        let verdict = {
            let _span = tracing::debug_span!("verify", job = %job.id(), bytes = job.input_bytes()).entered();
            catch_unwind(AssertUnwindSafe(|| job.run(chain)))
        };
        if let Some(monitor) = monitor {
            observe::job(monitor, &job, begin.elapsed(), verdict.is_ok());
        }
        let verdict = verdict.unwrap_or_else(|_| {
            tracing::error!(job = %job.id(), "a verification job panicked; it is tried again after a pause");
            Verdict::from_host(&job, Err(CheckError::Unable(PANICKED)), 0)
        });
        shared.queue.lock().unwrap_or_else(PoisonError::into_inner).begun.remove(&job.id());
        if !inputs.send(Input::Verdict(Box::new(verdict))) {
            return;
        }
    }
}
