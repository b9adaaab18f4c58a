//! How fast a peer delivers, in integers.

use core::time::Duration;

use crate::time::{Instant, micros};

/// Weight of a new sample: one in eight, as TCP smooths its round-trip time (RFC 6298, section 2).
const SMOOTHING: u64 = 8;
/// What is assumed of a peer that has delivered nothing yet: enough to be tried, not enough to be preferred.
const ASSUMED_BYTES_PER_SECOND: u64 = 8 << 20;
/// See [`ASSUMED_BYTES_PER_SECOND`].
const ASSUMED_LATENCY_MICROS: u64 = 50_000;
/// Answers smaller than this say something of latency and nothing of throughput.
const SMALL_ANSWER_BYTES: u64 = 4096;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// Smoothed throughput and latency of one peer. Zero stands for "no sample yet".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    latency_micros: u64,
    last_delivery: Instant,
}

fn smooth(old: u64, sample: u64) -> u64 {
    if old == 0 { sample } else { old.saturating_sub(old / SMOOTHING).saturating_add(sample / SMOOTHING).max(1) }
}

impl Pace {
    /// Takes in an answer of `bytes` to a request sent at `sent`. Requests to one peer overlap, so the time that an
    /// answer took is counted from the delivery before it.
    pub(crate) fn delivered(&mut self, now: Instant, sent: Instant, bytes: u64) {
        if bytes < SMALL_ANSWER_BYTES {
            self.latency_micros = smooth(self.latency_micros, micros(now.since(sent)).max(1));
        } else {
            let busy = micros(now.since(sent.max(self.last_delivery))).max(1);
            let sample = bytes.saturating_mul(MICROS_PER_SECOND).checked_div(busy).unwrap_or(0);
            self.bytes_per_second = smooth(self.bytes_per_second, sample.max(1));
        }
        self.last_delivery = now;
    }

    /// A large answer did not come in time: half the throughput is assumed from here on, so that others are preferred, and
    /// the next request is one that the peer can answer.
    pub(crate) fn timed_out(&mut self) {
        self.bytes_per_second = (self.bytes_per_second() / 2).max(1);
    }

    /// Throughput, measured or assumed.
    pub(crate) fn bytes_per_second(&self) -> u64 {
        if self.bytes_per_second == 0 { ASSUMED_BYTES_PER_SECOND } else { self.bytes_per_second }
    }

    /// Time that an answer of `bytes` is expected to take behind `queued` bytes.
    pub(crate) fn expected(&self, bytes: u64, queued: u64) -> Duration {
        let latency = if self.latency_micros == 0 { ASSUMED_LATENCY_MICROS } else { self.latency_micros };
        let transfer = bytes.saturating_add(queued).saturating_mul(MICROS_PER_SECOND);
        let transfer = transfer.checked_div(self.bytes_per_second()).unwrap_or(u64::MAX);
        Duration::from_micros(latency.saturating_add(transfer))
    }

    /// Bytes that are expected to arrive in `time`.
    pub(crate) fn bytes_in(&self, time: Duration) -> u64 {
        self.bytes_per_second().saturating_mul(micros(time)) / MICROS_PER_SECOND
    }
}
