//! How a connection's other side takes its answers: [`Watch`] finds those that don't read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant as Clock;

use super::limits::QuicLimits;

/// How a connection's other side takes its answers.
#[derive(Default)]
pub(super) struct Reader {
    /// Answers that are on their way.
    owed: AtomicUsize,
    /// How often there were none.
    rests: AtomicUsize,
    pub(super) given_up: Notify,
}

impl Reader {
    pub(super) fn owe(&self) -> Owed<'_> {
        self.owed.fetch_add(1, Ordering::Relaxed);
        Owed(self)
    }
}

/// An answer that is on its way.
pub(super) struct Owed<'a>(&'a Reader);

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        if self.0.owed.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.rests.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Measures whether answers are received at the least rate.
pub(super) struct Watch {
    window: Duration,
    least_bytes: u64,
    pub(super) next: Clock,
    /// How often nothing had been owed when the window began, and what had been sent.
    since: (usize, u64),
}

impl Watch {
    pub(super) fn new(limits: &QuicLimits) -> Self {
        let window = limits.slow_window;
        let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let least_bytes = limits.min_answer_rate.saturating_mul(millis) / 1000;
        Self { window, least_bytes, next: Clock::now() + window, since: (usize::MAX, 0) }
    }

    /// The end of a window, up to which so much was sent. True where something was owed all the time and too little was
    /// sent, which is as much as the other side has acknowledged and what is allowed to be on the way.
    pub(super) fn look(&mut self, sent: u64, reader: &Reader) -> bool {
        self.next = Clock::now() + self.window;
        if reader.owed.load(Ordering::Relaxed) == 0 {
            self.since = (usize::MAX, 0);
            return false;
        }
        let now = (reader.rests.load(Ordering::Relaxed), sent);
        let before = std::mem::replace(&mut self.since, now);
        before.0 == now.0 && sent.saturating_sub(before.1) < self.least_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_owed_something_only_since_a_moment_ago_is_not_slow() {
        let limits = QuicLimits { slow_window: Duration::from_secs(1), min_answer_rate: 1000, ..QuicLimits::default() };
        let (mut watch, reader) = (Watch::new(&limits), Reader::default());
        // The first answer may be due since the end of the window before this one, or since a moment ago.
        let owed = reader.owe();
        assert!(!watch.look(0, &reader));
        assert!(!watch.look(1000, &reader), "quick enough");
        assert!(watch.look(1999, &reader), "a whole window with too little");
        drop(owed);
        assert!(!watch.look(1999, &reader), "nothing is owed");
        let owed = reader.owe();
        assert!(!watch.look(1999, &reader), "it may have been asked for just now");
        drop(owed);
        let _owed = reader.owe();
        assert!(!watch.look(1999, &reader), "all was received in between");
        assert!(watch.look(1999, &reader));
    }
}
