//! [`PeerEstimator`]: throughput and latency of the line to a peer, in integers.

use core::time::Duration;

use super::peer::TARGET_TIME;
use crate::time::{Instant, micros};

/// Rate that is assumed of a peer that has delivered nothing yet, in bytes a second: enough to be tried, not enough
/// to be preferred.
const ASSUMED_BYTES_PER_SECOND: u64 = 1 << 20;
/// See [`ASSUMED_BYTES_PER_SECOND`].
const ASSUMED_LATENCY_MICROS: u64 = 50_000;
/// Least that is assumed of a peer, however late it was.
const LEAST_BYTES_PER_SECOND: u64 = 1 << 10;
/// Throughput is measured over at least this time of delivery: answers that come together say nothing one by one.
const SAMPLE_TIME: Duration = Duration::from_millis(50);
/// Weight of a sample above the estimate: one in two, so that a line whose sender still gathers speed is filled soon.
const RISE: u64 = 2;
/// Weight of a sample below it: one in four.
const FALL: u64 = 4;
/// Weight of a new sample of latency: one in eight, as TCP smooths its round-trip time (RFC 6298, section 2).
const SMOOTHING: u64 = 8;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// Smoothed throughput and latency of the line to one peer. Zero stands for "no sample yet".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct PeerEstimator {
    bytes_per_second: u64,
    latency_micros: u64,
    /// Time up to which what came is measured, or at which the first of what was asked for can be here.
    since: Instant,
    /// The sample that is being taken: what came in a time in which something was always expected.
    bytes: u64,
    busy_micros: u64,
    /// Whether nothing has come yet since the line was idle.
    fresh: bool,
    /// Whether an answer took as long as answers should: only then what was measured is what the line can, and not what it
    /// was asked for.
    filled: bool,
    pub(super) last_delivery: Instant,
}

impl PeerEstimator {
    /// A large answer is expected where none was before. The sample goes on: where all that is in flight is always answered
    /// between two looks, none would ever end otherwise.
    pub(super) fn busy(&mut self, now: Instant) {
        self.since = now.after(Duration::from_micros(self.latency_micros));
        self.fresh = true;
    }

    /// Takes in a large answer of `bytes`, to a question of `sent`. Answers overlap, so throughput is what comes in a time
    /// in which something is always expected.
    pub(super) fn delivered(&mut self, now: Instant, sent: Instant, bytes: u64) {
        let since = if self.since > now { sent } else { self.since };
        let took = micros(now.since(sent));
        self.filled |= took >= micros(TARGET_TIME);
        // Latency is an estimate: what came sooner than that says little of throughput.
        let least = if core::mem::take(&mut self.fresh) { took / 4 } else { 0 };
        self.bytes = self.bytes.saturating_add(bytes);
        self.busy_micros = self.busy_micros.saturating_add(micros(now.since(since)).max(least));
        self.since = now;
        self.last_delivery = now;
        let first = self.bytes_per_second == 0;
        if self.busy_micros < micros(SAMPLE_TIME) && !first {
            return;
        }
        let elapsed = self.busy_micros.max(1);
        let sample = self.bytes.saturating_mul(MICROS_PER_SECOND).checked_div(elapsed).unwrap_or(0);
        let before = self.bytes_per_second;
        let smooth = if first {
            sample
        } else if sample > before {
            before.saturating_sub(before / RISE).saturating_add(sample / RISE)
        } else {
            before.saturating_sub(before / FALL).saturating_add(sample / FALL)
        };
        self.bytes_per_second = smooth.max(LEAST_BYTES_PER_SECOND);
        self.bytes = 0;
        self.busy_micros = 0;
    }

    /// Takes in the time of a small answer while nothing large was on its way.
    pub(super) fn echoed(&mut self, took: Duration) {
        let (old, sample) = (self.latency_micros, micros(took).max(1));
        let smooth = old.saturating_sub(old / SMOOTHING).saturating_add(sample / SMOOTHING);
        // The way is as long as the shortest time that it takes; what comes later has waited somewhere.
        self.latency_micros = if old == 0 { sample } else { smooth.min(sample.max(old / 2)).max(1) };
    }

    /// A large answer did not come in time: half the throughput is assumed from here on, so that others are preferred, and
    /// the next request is one that the peer can answer.
    pub(super) fn timed_out(&mut self) {
        self.filled = true;
        self.bytes_per_second = (self.bytes_per_second() / 2).max(LEAST_BYTES_PER_SECOND);
    }

    /// An answer of `bytes` was not here after `waited`, though nothing else came meanwhile: the line is no faster,
    /// and likely slower: half of that is assumed.
    pub(super) fn timed_out_unheard(&mut self, bytes: u64, waited: Duration) {
        self.filled = true;
        let at_most = bytes.saturating_mul(MICROS_PER_SECOND).checked_div(micros(waited)).unwrap_or(u64::MAX);
        self.bytes_per_second = self.bytes_per_second().min(at_most / 2).max(LEAST_BYTES_PER_SECOND);
    }

    /// Throughput, measured or assumed.
    pub(crate) fn bytes_per_second(&self) -> u64 {
        if self.bytes_per_second == 0 { ASSUMED_BYTES_PER_SECOND } else { self.bytes_per_second }
    }

    /// Whether it may be faster than was measured: all that it was asked for came in less time than answers should take.
    pub(super) fn may_be_faster(&self) -> bool {
        !self.filled && self.bytes_per_second > 0
    }

    /// Whether it was once asked for as much as it can give, or more: what it can is known then.
    pub(crate) fn is_known(&self) -> bool {
        self.filled
    }

    /// Throughput, if it was measured.
    pub(crate) fn measured(&self) -> Option<u64> {
        (self.bytes_per_second > 0).then_some(self.bytes_per_second)
    }

    /// Time from a small question to its answer, measured or assumed.
    pub(crate) fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_or_assumed())
    }

    /// Microseconds that an answer of `bytes` is expected to take behind `queued` bytes.
    pub(super) fn expected_micros(&self, bytes: u64, queued: u64) -> u64 {
        let transfer = bytes.saturating_add(queued).saturating_mul(MICROS_PER_SECOND);
        let transfer = transfer.checked_div(self.bytes_per_second()).unwrap_or(u64::MAX);
        self.latency_or_assumed().saturating_add(transfer)
    }

    fn latency_or_assumed(&self) -> u64 {
        if self.latency_micros == 0 { ASSUMED_LATENCY_MICROS } else { self.latency_micros }
    }

    /// Bytes that are expected to arrive in `time`.
    pub(crate) fn bytes_in(&self, time: Duration) -> u64 {
        self.bytes_per_second().saturating_mul(micros(time)) / MICROS_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn answers_that_come_together_are_measured_together() {
        let mut estimator = PeerEstimator::default();
        estimator.busy(at(0));
        for number in 1..=20 {
            // Two questions a tenth of a second, whose answers come at the same time.
            estimator.delivered(at(number * 100), at(number * 100 - 100), 50_000);
            estimator.delivered(at(number * 100), at(number * 100 - 100), 50_000);
        }
        let rate = estimator.bytes_per_second();
        assert!((900_000..=1_100_000).contains(&rate), "{rate}");
    }

    #[test]
    fn a_line_that_is_idle_between_two_looks_is_measured() {
        let mut estimator = PeerEstimator::default();
        estimator.busy(at(0));
        estimator.delivered(at(12), at(0), 12_000);
        assert_eq!(estimator.bytes_per_second(), 1_000_000);
        for number in 1..=100 {
            // All of it is here before more is asked for.
            estimator.busy(at(number * 12));
            estimator.delivered(at(number * 12 + 12), at(number * 12), 120_000);
        }
        let rate = estimator.bytes_per_second();
        assert!((9_000_000..=10_000_000).contains(&rate), "{rate}");
    }

    #[test]
    fn latency_is_no_part_of_throughput() {
        let mut estimator = PeerEstimator::default();
        estimator.echoed(Duration::from_millis(100));
        estimator.busy(at(0));
        estimator.delivered(at(200), at(0), 100_000);
        assert_eq!(estimator.bytes_per_second(), 1_000_000);
        estimator.echoed(Duration::from_millis(500));
        assert!(estimator.latency() <= Duration::from_millis(150), "{:?}", estimator.latency());
    }

    #[test]
    fn a_late_answer_bounds_the_line() {
        let mut estimator = PeerEstimator::default();
        estimator.timed_out_unheard(100_000, Duration::from_secs(1));
        assert_eq!(estimator.bytes_per_second(), 50_000);
        estimator.timed_out_unheard(1, Duration::from_secs(1000));
        assert_eq!(estimator.bytes_per_second(), LEAST_BYTES_PER_SECOND);
    }
}
