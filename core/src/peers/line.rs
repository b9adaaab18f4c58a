//! How fast a peer's line is, in integers.

use core::time::Duration;

use crate::time::{Instant, micros};

/// What is assumed of a peer that has delivered nothing yet: enough to be tried, not enough to be preferred.
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

/// Smoothed throughput and latency of one peer's line. Zero stands for "no sample yet".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    bytes_per_second: u64,
    latency_micros: u64,
    /// Since when `bytes` have come: from then on something was always expected.
    since: Instant,
    bytes: u64,
    pub(super) last_delivery: Instant,
}

impl Line {
    /// A large answer is expected where none was before.
    pub(super) fn busy(&mut self, now: Instant) {
        self.since = now.after(Duration::from_micros(self.latency_micros));
        self.bytes = 0;
    }

    /// Takes in a large answer of `bytes`, to a question of `sent`. Answers overlap, so throughput is what comes in a time
    /// in which something is always expected.
    pub(super) fn delivered(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.last_delivery = now;
        let first = self.bytes_per_second == 0;
        let since = if self.since > now { sent } else { self.since };
        let elapsed = now.since(since);
        if elapsed < SAMPLE_TIME && !first {
            return;
        }
        // Latency is an estimate: what came sooner than that says little of throughput.
        let elapsed = micros(elapsed).max(micros(now.since(sent)) / 4).max(1);
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
        self.since = now;
        self.bytes = 0;
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
        self.bytes_per_second = (self.bytes_per_second() / 2).max(LEAST_BYTES_PER_SECOND);
    }

    /// An answer of `bytes` was not here after `waited`, though nothing else came meanwhile: the line is no faster.
    pub(super) fn outlasted(&mut self, bytes: u64, waited: Duration) {
        let at_most = bytes.saturating_mul(MICROS_PER_SECOND).checked_div(micros(waited)).unwrap_or(u64::MAX);
        self.bytes_per_second = self.bytes_per_second().min(at_most).max(LEAST_BYTES_PER_SECOND);
    }

    /// Throughput, measured or assumed.
    pub(crate) fn bytes_per_second(&self) -> u64 {
        if self.bytes_per_second == 0 { ASSUMED_BYTES_PER_SECOND } else { self.bytes_per_second }
    }

    /// Throughput, if it was measured.
    pub(crate) fn measured(&self) -> Option<u64> {
        (self.bytes_per_second > 0).then_some(self.bytes_per_second)
    }

    /// Time from a small question to its answer, measured or assumed.
    pub(crate) fn latency(&self) -> Duration {
        Duration::from_micros(if self.latency_micros == 0 { ASSUMED_LATENCY_MICROS } else { self.latency_micros })
    }

    /// Time that an answer of `bytes` is expected to take behind `queued` bytes.
    pub(crate) fn expected(&self, bytes: u64, queued: u64) -> Duration {
        let transfer = bytes.saturating_add(queued).saturating_mul(MICROS_PER_SECOND);
        let transfer = transfer.checked_div(self.bytes_per_second()).unwrap_or(u64::MAX);
        self.latency().saturating_add(Duration::from_micros(transfer))
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
        let mut line = Line::default();
        line.busy(at(0));
        for number in 1..=20 {
            // Two questions a tenth of a second, whose answers come at the same time.
            line.delivered(at(number * 100), at(number * 100 - 100), 50_000);
            line.delivered(at(number * 100), at(number * 100 - 100), 50_000);
        }
        let rate = line.bytes_per_second();
        assert!((900_000..=1_100_000).contains(&rate), "{rate}");
    }

    #[test]
    fn latency_is_no_part_of_throughput() {
        let mut line = Line::default();
        line.echoed(Duration::from_millis(100));
        line.busy(at(0));
        line.delivered(at(200), at(0), 100_000);
        assert_eq!(line.bytes_per_second(), 1_000_000);
        line.echoed(Duration::from_millis(500));
        assert!(line.latency() <= Duration::from_millis(150), "{:?}", line.latency());
    }

    #[test]
    fn a_late_answer_bounds_the_line() {
        let mut line = Line::default();
        line.outlasted(100_000, Duration::from_secs(1));
        assert_eq!(line.bytes_per_second(), 100_000);
        line.outlasted(1, Duration::from_secs(1000));
        assert_eq!(line.bytes_per_second(), LEAST_BYTES_PER_SECOND);
    }
}
