//! [`ServeLimits`]: what a node gives to those who ask it, each bound with its unit and its reason.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::bucket::Rate;

/// Cost of a request for the node that answers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cost {
    /// Bytes of the answer.
    pub bytes: u64,
    /// CPU time in microseconds, reads of the disk included, as far as it goes into making the answer.
    pub work: u64,
}

/// Rates that may be spent, a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServeRates {
    /// Requests that are answered with data.
    pub requests: u64,
    /// Bytes of answers.
    pub bytes: u64,
    /// Microseconds of CPU time.
    pub work: u64,
}

/// Bounds of what a node serves. [`Admission`](super::Admission) keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeLimits {
    /// Rates for everyone together.
    pub total: ServeRates,
    /// Rates for the peers of one network (an IPv4 /16, an IPv6 /32) together: three quarters of the total by
    /// default, since one network can be a single attacker, and also all of an honest testbed.
    pub group: ServeRates,
    /// Rates for one peer: half of the total by default. Keys cost nothing, so this is for fairness among honest
    /// ones.
    pub peer: ServeRates,
    /// How much of a rate can be taken at once, as the time in which it comes back. Range 100 ms..=1 min. A second
    /// lets requests come in batches.
    pub burst: Duration,
    /// CPU microseconds that any answered request costs beside the making of its answer: stream, tasks, packets.
    pub request_work: u64,
    /// CPU microseconds to send a MiB: encryption and the kernel's share.
    pub mib_work: u64,
    /// CPU microseconds that a refusal costs.
    pub refusal_work: u64,
    /// Refusals a second over all peers, before those who cause them are read from more slowly. At least 1.
    pub refusals: u64,
    /// Refusals that one peer gets at once: what was in flight when the node became busy. At least 1.
    pub peer_refusals: u64,
    /// Bytes of answers that are made or wait to be received, over all peers. At least 1 MiB.
    pub memory: u64,
    /// The same over the peers of one network: half by default, so that nobody's unread answers take all.
    pub group_memory: u64,
    /// The same for one peer: as much as a fast one has on its way at 100 ms of round trip and 160 MB/s.
    pub peer_memory: u64,
    /// Answers that are made at a time: threads that read the disk. At least 1.
    pub max_running: usize,
    /// Requests that wait for their turn, over all peers. At least 1.
    pub max_waiting: usize,
    /// Longest wait for a turn, before the answer is that the node is busy. Less than the asker's time-out, which is ten
    /// seconds by default.
    pub max_wait: Duration,
    /// Peers, and networks, that are kept account of. At least 1. A peer that does nothing gives way to a new one.
    pub max_peers: usize,
    /// Handshakes a second that are begun; one network gets half of them. At least 2. One costs about half a millisecond.
    pub handshakes: u64,
}

impl Default for ServeLimits {
    /// Half of one core.
    fn default() -> Self {
        Self::with_work(500_000)
    }
}

/// A bound that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is out of range: {range}")]
pub struct ServeLimitsError {
    /// The field.
    pub field: &'static str,
    /// Range of its values.
    pub range: &'static str,
}

impl ServeLimits {
    /// Spends so many microseconds of CPU time a second, 1,000,000 for each core that is given to serving.
    pub const fn with_work(work: u64) -> Self {
        let total = ServeRates { requests: 8000, bytes: 512 << 20, work };
        Self {
            total,
            group: total.part(3, 4),
            peer: total.part(1, 2),
            burst: Duration::from_secs(1),
            request_work: 60,
            mib_work: 1000,
            refusal_work: 40,
            refusals: 1000,
            peer_refusals: 64,
            memory: 64 << 20,
            group_memory: 32 << 20,
            peer_memory: 16 << 20,
            max_running: 4,
            max_waiting: 4096,
            max_wait: Duration::from_secs(5),
            max_peers: 4096,
            handshakes: 200,
        }
    }

    /// Checks every field.
    pub fn validate(&self) -> Result<(), ServeLimitsError> {
        const RATES: &str = "at least 1 of each";
        let rates = |rates: &ServeRates| rates.requests > 0 && rates.bytes > 0 && rates.work > 0;
        let checks = [
            ("total", RATES, rates(&self.total)),
            ("group", RATES, rates(&self.group)),
            ("peer", RATES, rates(&self.peer)),
            ("burst", "100 ms..=1 min", (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.burst)),
            ("refusals", "at least 1", self.refusals > 0),
            ("peer_refusals", "at least 1", self.peer_refusals > 0),
            ("memory", "at least 1 MiB", self.memory >= 1 << 20),
            ("group_memory", "1 MiB..=memory", (1 << 20..=self.memory).contains(&self.group_memory)),
            ("peer_memory", "1 MiB..=group_memory", (1 << 20..=self.group_memory).contains(&self.peer_memory)),
            ("max_running", "at least 1", self.max_running > 0),
            ("max_waiting", "at least 1", self.max_waiting > 0),
            (
                "max_wait",
                "10 ms..=1 min",
                (Duration::from_millis(10)..=Duration::from_secs(60)).contains(&self.max_wait),
            ),
            ("max_peers", "at least 1", self.max_peers > 0),
            ("handshakes", "at least 2", self.handshakes >= 2),
        ];
        match checks.iter().find(|(_, _, holds)| !holds) {
            Some(&(field, range, _)) => Err(ServeLimitsError { field, range }),
            None => Ok(()),
        }
    }

    /// CPU time of a request of this cost, with all that comes with it.
    pub fn work_of(&self, cost: Cost) -> u64 {
        let sending = cost.bytes.saturating_mul(self.mib_work) >> 20;
        self.request_work.saturating_add(cost.work).saturating_add(sending)
    }

    /// Handshakes of everyone, and of one network.
    pub(super) fn handshake_rates(&self) -> (Rate, Rate) {
        (Rate::over(self.handshakes, self.burst), Rate::over((self.handshakes / 2).max(1), self.burst))
    }

    /// Refusals of everyone.
    pub(super) fn refusal_rate(&self) -> Rate {
        Rate::over(self.refusals, self.burst)
    }

    /// Refusals of one peer: its burst, and two a second after that, which is as often as a peer asks that waits as long
    /// as it is told.
    pub(super) fn peer_refusal_rate(&self) -> Rate {
        Rate { per_second: 2, burst: self.peer_refusals }
    }
}

impl ServeRates {
    /// A part of each.
    pub const fn part(self, part: u64, of: u64) -> Self {
        const fn share(rate: u64, part: u64, of: u64) -> u64 {
            match rate.checked_div(of) {
                // Divided first, so that no rate is too large.
                Some(share) if share.saturating_mul(part) > 0 => share.saturating_mul(part),
                _ => 1,
            }
        }
        Self {
            requests: share(self.requests, part, of),
            bytes: share(self.bytes, part, of),
            work: share(self.work, part, of),
        }
    }
}
