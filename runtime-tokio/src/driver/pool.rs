//! The verification pool: jobs on threads, as many as there are cores.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant as Clock;

use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::ids::JobId;
use hotstuff2_sync::verify::Job;

use super::{Input, Inputs, observe};
use crate::monitor::SyncPerformanceMonitor;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Threads that wait for one and were not woken yet.
    idle: usize,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Threads that run jobs in the order in which they come.
pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `threads` threads that send verdicts to `verdicts`.
    pub(super) fn start<C: Chain>(
        chain: &Arc<C>,
        threads: usize,
        verdicts: &Inputs,
        monitor: Option<&SyncPerformanceMonitor>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let mut pool = Self { shared: Arc::clone(&shared), threads: Vec::new() };
        for number in 0..threads.max(1) {
            let (shared, chain, verdicts) = (Arc::clone(&shared), Arc::clone(chain), verdicts.clone());
            let monitor = monitor.cloned();
            let thread = thread::Builder::new()
                .name(format!("hs2-verify-{number}"))
                .spawn(move || work(&shared, &*chain, &verdicts, monitor.as_ref()))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    pub(super) fn push(&self, job: Job) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.jobs.push_back(job);
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
        queue.jobs.retain(|job| job.id() != id);
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

fn work<C: Chain>(shared: &Shared, chain: &C, verdicts: &Inputs, monitor: Option<&SyncPerformanceMonitor>) {
    loop {
        let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let job = loop {
            if let Some(job) = queue.jobs.pop_front() {
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
        // A chain must not panic. Should one do it all the same, the job is given out again at its deadline, and this
        // thread lives on for the others.
        let begin = Clock::now();
        let verdict = {
            let _span = tracing::debug_span!("verify", job = %job.id(), bytes = job.input_bytes()).entered();
            catch_unwind(AssertUnwindSafe(|| job.run(chain)))
        };
        if let Some(monitor) = monitor {
            observe::job(monitor, &job, begin.elapsed(), verdict.is_ok());
        }
        match verdict {
            Ok(verdict) => {
                if !verdicts.send(Input::Verdict(Box::new(verdict))) {
                    return;
                }
            }
            Err(_) => tracing::error!(job = %job.id(), "a verification job panicked; it will be given out again"),
        }
    }
}
