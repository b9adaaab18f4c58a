//! [`BandwidthAllocator`]: a token bucket over everything that is asked for, and what each peer may take of it.
//!
//! What is asked for is charged before it is sent, by estimate, and corrected by what came: the limit is kept over bytes
//! received. The bucket may go into debt by one request, which is then waited for, since a request can't be asked for in
//! parts.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::ids::PeerId;
use crate::time::{Instant, micros};

/// Time whose share of the limit may be asked for at once after a pause: 20 ms, so that over any second the limit is kept
/// within 2 %.
const BURST: Duration = Duration::from_millis(20);
/// Time whose share a single request may take.
const REQUEST_TIME: Duration = Duration::from_millis(50);
/// Smallest size that requests shrink to, in bytes: below it, questions cost more than answers.
const MIN_REQUEST_BYTES: u64 = 16 << 10;
/// Time for which a peer may have its share in flight.
const SHARE_TIME: Duration = Duration::from_secs(1);
const MICROS_PER_SECOND: u64 = 1_000_000;

/// Tokens are bytes, kept in millionths: a second at the limit fills them without a rounding error.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BandwidthAllocator {
    /// Bytes a second; zero for no limit.
    limit: u64,
    /// Millionths of bytes; negative while in debt.
    tokens: i128,
    filled: Instant,
    /// Rate of each peer in bytes a second, and their sum.
    weights: BTreeMap<PeerId, u64>,
    total: u64,
}

impl BandwidthAllocator {
    /// A bucket for `limit` bytes a second, or for any number if that is zero.
    pub fn new(limit: u64, now: Instant) -> Self {
        let mut allocator = Self { limit, tokens: 0, filled: now, weights: BTreeMap::new(), total: 0 };
        allocator.tokens = allocator.burst();
        allocator
    }

    /// The limit in bytes a second; `None` if there is none.
    pub fn limit(&self) -> Option<u64> {
        (self.limit > 0).then_some(self.limit)
    }

    fn burst(&self) -> i128 {
        i128::from(self.limit).saturating_mul(i128::from(micros(BURST)))
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = i128::from(micros(now.since(self.filled)));
        let fresh = i128::from(self.limit).saturating_mul(elapsed);
        self.tokens = self.tokens.saturating_add(fresh).min(self.burst());
        self.filled = self.filled.max(now);
    }

    /// Whether something may be asked for now; else when.
    pub fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        if self.limit == 0 {
            return None;
        }
        self.fill(now);
        if self.tokens > 0 {
            return None;
        }
        let missing = self.tokens.saturating_neg().saturating_add(1).unsigned_abs();
        let wait = missing.div_ceil(u128::from(self.limit));
        let wait = u64::try_from(wait).unwrap_or(u64::MAX).max(1);
        Some(now.after(Duration::from_micros(wait)))
    }

    /// Charges `bytes` that are asked for.
    pub fn charge(&mut self, now: Instant, bytes: u64) {
        if self.limit > 0 {
            self.fill(now);
            self.tokens = self.tokens.saturating_sub(scaled(bytes));
        }
    }

    /// Corrects a charge: `charged` bytes were estimated and `received` came.
    pub fn settle(&mut self, now: Instant, charged: u64, received: u64) {
        if self.limit > 0 {
            self.fill(now);
            // Overcharged bytes come back whole: they were taken from the bucket before it could fill.
            self.tokens = self.tokens.saturating_add(scaled(charged)).saturating_sub(scaled(received));
        }
    }

    /// Most bytes that one request should ask for: `wanted`, or what the limit lets through in a moment.
    pub fn request_bytes(&self, wanted: u64) -> u64 {
        if self.limit == 0 {
            return wanted;
        }
        let share = self.limit.saturating_mul(micros(REQUEST_TIME)) / MICROS_PER_SECOND;
        wanted.min(share.max(MIN_REQUEST_BYTES))
    }

    /// Notes what a peer delivers, in bytes a second; zero forgets it.
    pub fn set_weight(&mut self, peer: PeerId, bytes_per_second: u64) {
        if self.limit == 0 {
            return;
        }
        let before = if bytes_per_second == 0 {
            self.weights.remove(&peer)
        } else {
            self.weights.insert(peer, bytes_per_second)
        };
        self.total = self.total.saturating_sub(before.unwrap_or(0)).saturating_add(bytes_per_second);
    }

    /// The peer's share of the limit in bytes a second, by what it delivers; `None` where there is no limit.
    pub fn share_of(&self, peer: PeerId) -> Option<u64> {
        let weight = self.weights.get(&peer).copied();
        // A peer of which nothing is known yet gets an equal part.
        let equal = u64::try_from(self.weights.len()).unwrap_or(u64::MAX).saturating_add(1);
        let share = match weight {
            Some(weight) => u128::from(self.limit).saturating_mul(weight.into()).checked_div(self.total.into()),
            None => u128::from(self.limit).checked_div(equal.into()),
        };
        self.limit()?;
        Some(share.and_then(|share| u64::try_from(share).ok()).unwrap_or(self.limit))
    }

    /// Whether a peer with `queued` bytes in flight may be asked for more: it has not its share in flight already.
    pub fn has_share(&self, peer: PeerId, queued: u64) -> bool {
        let Some(share) = self.share_of(peer) else { return true };
        queued == 0 || queued < share.saturating_mul(micros(SHARE_TIME)) / MICROS_PER_SECOND
    }
}

fn scaled(bytes: u64) -> i128 {
    i128::from(bytes).saturating_mul(i128::from(MICROS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn the_limit_is_kept_over_what_came() {
        let mut bucket = BandwidthAllocator::new(1_000_000, at(0));
        let (mut now, mut received) = (at(0), 0u64);
        // Answers are half of what was asked for, or a little more.
        for number in 0.. {
            if let Some(ready) = bucket.ready_at(now) {
                now = ready;
            }
            if now >= at(5000) {
                break;
            }
            assert_eq!(bucket.ready_at(now), None, "it said when tokens are back");
            let came = if number % 2 == 0 { 15_000 } else { 31_000 };
            bucket.charge(now, 30_000);
            bucket.settle(now, 30_000, came);
            received += came;
        }
        assert!((4_900_000..=5_100_000).contains(&received), "{received} bytes in five seconds at a million a second");
    }

    #[test]
    fn no_burst_after_a_pause() {
        let mut bucket = BandwidthAllocator::new(1_000_000, at(0));
        let now = at(60_000);
        bucket.charge(now, 20_000);
        assert!(bucket.ready_at(now).is_some(), "a minute of silence is not saved up");
    }

    #[test]
    fn no_limit_is_no_limit() {
        let mut bucket = BandwidthAllocator::new(0, at(0));
        bucket.charge(at(0), u64::MAX);
        assert_eq!((bucket.ready_at(at(0)), bucket.limit()), (None, None));
        assert!(bucket.has_share(PeerId::from_bytes([1; 32]), u64::MAX));
    }

    #[test]
    fn shares_follow_what_peers_deliver() {
        let (fast, slow, new) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]), PeerId::from_bytes([3; 32]));
        let mut bucket = BandwidthAllocator::new(1_000_000, at(0));
        bucket.set_weight(fast, 900);
        bucket.set_weight(slow, 100);
        assert_eq!((bucket.share_of(fast), bucket.share_of(slow)), (Some(900_000), Some(100_000)));
        assert_eq!(bucket.share_of(new), Some(333_333));
        assert!(bucket.has_share(slow, 99_999) && !bucket.has_share(slow, 100_000));
        bucket.set_weight(slow, 0);
        assert_eq!(bucket.share_of(fast), Some(1_000_000));
    }

    #[test]
    fn requests_shrink_to_what_the_limit_lets_through_in_a_moment() {
        let bucket = |limit| BandwidthAllocator::new(limit, at(0));
        assert_eq!(bucket(0).request_bytes(5_000_000), 5_000_000);
        assert_eq!(bucket(4_000_000).request_bytes(5_000_000), 200_000);
        assert_eq!(bucket(4_000_000).request_bytes(100_000), 100_000);
        assert_eq!(bucket(1000).request_bytes(5_000_000), MIN_REQUEST_BYTES, "but not to crumbs");
    }

    #[test]
    fn whoever_has_nothing_in_flight_may_be_asked() {
        let mut bucket = BandwidthAllocator::new(1_000_000, at(0));
        let (fast, hopeless) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));
        bucket.set_weight(fast, u64::MAX);
        bucket.set_weight(hopeless, 1);
        assert!(bucket.has_share(hopeless, 0) && !bucket.has_share(hopeless, 1));
        // A peer that is gone takes no part, not even one of nothing.
        bucket.set_weight(fast, 0);
        bucket.set_weight(hopeless, 0);
        let new = PeerId::from_bytes([3; 32]);
        assert_eq!((bucket.share_of(fast), bucket.share_of(new)), (Some(1_000_000), Some(1_000_000)));
    }
}
