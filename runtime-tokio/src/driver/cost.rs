//! Cost of coordination: the CPU time of the machine's thread, and of what brings it news from elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// CPU time by where it was spent, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Cost {
    /// By the machine's thread, since it began.
    machine: AtomicU64,
    /// By tasks of the runtime, for the machine.
    elsewhere: AtomicU64,
}

impl Cost {
    /// Takes in what the calling thread, the machine's own, has used so far.
    pub(super) fn note_machine(&self) {
        self.machine.store(used_by_thread(), Ordering::Relaxed);
    }

    /// Runs something for the machine on another thread.
    pub(super) fn count<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = used_by_thread();
        let result = work();
        self.elsewhere.fetch_add(used_by_thread().saturating_sub(before), Ordering::Relaxed);
        result
    }

    /// All of it.
    pub(super) fn total(&self) -> Duration {
        let nanos = self.machine.load(Ordering::Relaxed).saturating_add(self.elsewhere.load(Ordering::Relaxed));
        Duration::from_nanos(nanos)
    }
}

/// Nanoseconds of CPU time that the calling thread has used.
fn used_by_thread() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() {
        let begin = used_by_thread();
        let mut sum = 0u64;
        while used_by_thread() - begin < 2_000_000 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }

    #[test]
    fn work_of_all_threads_is_summed() {
        let cost = Cost::default();
        cost.count(work);
        let elsewhere = cost.total();
        assert!(elsewhere >= Duration::from_millis(2), "{elsewhere:?}");
        cost.note_machine();
        cost.note_machine();
        // The thread's own time holds that too, and counts once.
        let used = Duration::from_nanos(used_by_thread());
        assert!((elsewhere * 2..=elsewhere + used).contains(&cost.total()), "{:?} {used:?}", cost.total());
    }
}
