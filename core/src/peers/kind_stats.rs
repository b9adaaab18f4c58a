//! [`KindStats`]: measured history of a peer's answers to one kind of request, in integers.

use core::time::Duration;

use crate::time::micros;

/// Weight of a new sample: one in eight, as TCP smooths its round-trip time (RFC 6298, section 2).
const SMOOTHING: u32 = 8;
/// All of something, in millionths.
pub(super) const MILLION: u32 = 1_000_000;
/// Answers are expected to fail at most so often, in millionths: a peer that always fails is tried now and then too.
const LEAST_SUCCESS: u32 = MILLION / 16;

/// Smoothed figures of one kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KindStats {
    /// Answers and failures.
    pub(super) answers: u64,
    /// Share of requests that were answered with something true, in millionths.
    pub(super) success_ppm: u32,
    /// Time that checking takes for a MiB of useful bytes.
    pub(super) verify_micros_per_mib: u64,
    /// Times in a row that the peer said that it doesn't have what it was asked for.
    pub(super) refused_in_a_row: u32,
}

impl Default for KindStats {
    fn default() -> Self {
        Self { answers: 0, success_ppm: MILLION, verify_micros_per_mib: 0, refused_in_a_row: 0 }
    }
}

fn smooth(old: u64, sample: u64) -> u64 {
    const WEIGHT: u64 = SMOOTHING as u64;
    if old == 0 { sample } else { old.saturating_sub(old / WEIGHT).saturating_add(sample / WEIGHT).max(1) }
}

impl KindStats {
    pub(super) fn succeeded(&mut self) {
        self.refused_in_a_row = 0;
        self.answers = self.answers.saturating_add(1);
        let missing = MILLION.saturating_sub(self.success_ppm);
        self.success_ppm = self.success_ppm.saturating_add(missing.div_ceil(SMOOTHING)).min(MILLION);
    }

    pub(super) fn failed(&mut self) {
        self.answers = self.answers.saturating_add(1);
        self.success_ppm = self.success_ppm.saturating_sub(self.success_ppm / SMOOTHING);
    }

    /// Checking an answer with `useful` bytes took so long.
    pub(super) fn verified(&mut self, useful: u64, took: Duration) {
        let per_mib = micros(took).saturating_mul(1 << 20).checked_div(useful.max(1)).unwrap_or(0);
        self.verify_micros_per_mib = smooth(self.verify_micros_per_mib, per_mib.max(1));
    }

    /// Expected cost of a wait, in microseconds: the wait and the time to check `bytes`, divided by the share of such
    /// waits that were not in vain.
    pub(super) fn weighted(&self, micros: u64, bytes: u64) -> u64 {
        let verify = self.verify_micros_per_mib.saturating_mul(bytes) >> 20;
        let whole = micros.saturating_add(verify);
        if self.success_ppm == MILLION {
            return whole;
        }
        let weighted = whole.saturating_mul(MILLION.into());
        weighted.checked_div(self.success_ppm.max(LEAST_SUCCESS).into()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_weigh_and_fade() {
        let mut stats = KindStats::default();
        let second = 1_000_000;
        assert_eq!(stats.weighted(second, 0), second);
        for _ in 0..8 {
            stats.failed();
        }
        assert!((300_000..400_000).contains(&stats.success_ppm), "{}", stats.success_ppm);
        assert!(stats.weighted(second, 0) > second * 2);
        for _ in 0..200 {
            stats.succeeded();
        }
        assert_eq!(stats.success_ppm, MILLION);
        for _ in 0..200 {
            stats.failed();
        }
        assert_eq!(stats.weighted(second, 0), second * 16);
    }

    #[test]
    fn answers_that_are_costly_to_check_weigh_more() {
        let mut stats = KindStats::default();
        stats.verified(1024, Duration::from_millis(2));
        assert_eq!(stats.weighted(0, 1 << 20), 2_048_000);
        stats.verified(1 << 20, Duration::ZERO);
        assert_eq!(stats.weighted(0, 1 << 20), 1_792_000, "one sample is an eighth");
    }
}
