//! [`Bucket`]: tokens that come back at a rate. Integers only; fractions of a token are kept.

use core::time::Duration;

use crate::time::{Instant, micros};

/// Parts of a token that are counted: at a rate of so many tokens a second, one part comes back each microsecond.
const PARTS: i128 = 1_000_000;

/// How fast tokens come back, and how many there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Tokens a second.
    pub(super) per_second: u64,
    /// Most tokens.
    pub(super) burst: u64,
}

impl Rate {
    /// A rate of so much a second, of which as much as comes back within `burst` can be taken at once.
    pub(super) fn over(per_second: u64, burst: Duration) -> Self {
        let parts = u128::from(per_second).saturating_mul(u128::from(micros(burst)));
        let burst = u64::try_from(parts / 1_000_000).unwrap_or(u64::MAX);
        Self { per_second, burst: burst.max(1) }
    }
}

/// Missing from a full bucket, so that a new one is full at any rate. A bucket may owe more than it holds: the real
/// cost of something is known afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bucket {
    missing: i128,
    at: Instant,
}

impl Bucket {
    /// Lets tokens come back.
    pub(super) fn refill(&mut self, now: Instant, rate: Rate) {
        let back = i128::from(micros(now.since(self.at))).saturating_mul(i128::from(rate.per_second));
        self.missing = self.missing.saturating_sub(back).max(0);
        self.at = self.at.max(now);
    }

    /// How long until `amount` can be taken; zero where it can be now. More than a full bucket is never waited for.
    pub(super) fn wait(&self, amount: u64, rate: Rate) -> Duration {
        let over = self.missing.saturating_sub(room(amount, rate));
        if over <= 0 {
            return Duration::ZERO;
        }
        let per_second = i128::from(rate.per_second.max(1));
        let time = over.saturating_add(per_second.saturating_sub(1)).checked_div(per_second);
        Duration::from_micros(time.and_then(|time| u64::try_from(time).ok()).unwrap_or(u64::MAX))
    }

    /// Takes `amount`, whether or not it is there.
    pub(super) fn take(&mut self, amount: u64) {
        self.missing = self.missing.saturating_add(i128::from(amount).saturating_mul(PARTS));
    }

    /// Takes of `amount` so much that no more than `most` is missing.
    pub(super) fn take_until(&mut self, amount: u64, most: u64) {
        let most = i128::from(most).saturating_mul(PARTS);
        let before = self.missing;
        self.take(amount);
        self.missing = self.missing.min(most.max(before));
    }

    /// Gives back what was not used.
    pub(super) fn give(&mut self, amount: u64) {
        self.missing = self.missing.saturating_sub(i128::from(amount).saturating_mul(PARTS)).max(0);
    }

    /// Takes what something cost beyond what was taken for it, or gives back what it didn't cost.
    pub(super) fn settle(&mut self, taken: u64, real: u64) {
        self.take(real.saturating_sub(taken));
        self.give(taken.saturating_sub(real));
    }

    /// Whether less than half is left.
    pub(super) fn is_low(&self, rate: Rate) -> bool {
        self.missing.saturating_mul(2) > i128::from(rate.burst).saturating_mul(PARTS)
    }

    /// Whether nothing was taken lately.
    pub(super) fn is_full(&self) -> bool {
        self.missing == 0
    }
}

/// The most that may be missing where `amount` can be taken.
fn room(amount: u64, rate: Rate) -> i128 {
    i128::from(rate.burst.saturating_sub(amount)).saturating_mul(PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 5 };

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn tokens_come_back_at_the_rate_and_no_further_than_the_burst() {
        let mut bucket = Bucket::default();
        bucket.refill(at(1000), RATE);
        assert_eq!(bucket.wait(5, RATE), Duration::ZERO);
        bucket.take(5);
        assert_eq!(bucket.wait(1, RATE), Duration::from_millis(100));
        bucket.refill(at(1050), RATE);
        assert_eq!(bucket.wait(1, RATE), Duration::from_millis(50), "half a token is kept");
        bucket.refill(at(1100), RATE);
        assert_eq!((bucket.wait(1, RATE), bucket.wait(2, RATE)), (Duration::ZERO, Duration::from_millis(100)));
        bucket.refill(at(99_000), RATE);
        bucket.take(5);
        assert_eq!(bucket.wait(1, RATE), Duration::from_millis(100));
    }

    #[test]
    fn what_is_larger_than_the_burst_waits_for_a_full_bucket_and_is_owed() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.wait(50, RATE), Duration::ZERO);
        bucket.take(50);
        assert_eq!(bucket.wait(1, RATE), Duration::from_millis(4600));
        bucket.settle(50, 7);
        assert_eq!(bucket.wait(1, RATE), Duration::from_millis(300));
        bucket.settle(7, 8);
        assert_eq!(bucket.wait(1, RATE), Duration::from_millis(400));
    }

    #[test]
    fn no_clock_and_no_amount_overflows_it() {
        let mut bucket = Bucket::default();
        let rate = Rate { per_second: u64::MAX, burst: u64::MAX };
        bucket.take(u64::MAX);
        bucket.take(u64::MAX);
        assert!(bucket.wait(u64::MAX, rate) > Duration::ZERO);
        bucket.refill(Instant::from_micros(u64::MAX), rate);
        assert!(bucket.is_full());
        bucket.refill(Instant::ZERO, rate);
        bucket.take(1);
        assert_eq!(bucket.wait(1, Rate { per_second: 0, burst: 0 }), Duration::from_secs(1));
    }
}
