//! [`Pipe`]: one direction of a host's line, as arithmetic. Time comes in, the time of departure goes out.

use std::time::Duration;

/// A host's line to the rest of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Bits a second in each direction; 0 is no limit.
    pub(crate) rate: u64,
    /// One way, from the host to the middle. A packet between two hosts takes the delay of both.
    pub(crate) delay: Duration,
    /// Packets in a million that are lost on their way to the middle.
    pub(crate) loss_ppm: u32,
    /// Bytes that may wait for the line in each direction; what comes on top is dropped.
    pub(crate) queue: u64,
}

impl Link {
    /// A line without limit, delay and loss.
    pub(crate) const FREE: Self = Self { rate: 0, delay: Duration::ZERO, loss_ppm: 0, queue: u64::MAX };
}

/// One direction of a line: packets leave one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipe {
    rate: u64,
    queue: u64,
    /// When the last packet that was let in has left.
    free_at: Duration,
}

impl Pipe {
    pub(crate) fn new(link: &Link) -> Self {
        Self { rate: link.rate, queue: link.queue, free_at: Duration::ZERO }
    }

    /// When a packet of `bytes` that comes at `now` has left; `None` where the queue is full.
    pub(crate) fn pass(&mut self, now: Duration, bytes: u64) -> Option<Duration> {
        if self.rate == 0 {
            return Some(now);
        }
        let begin = self.free_at.max(now);
        let waiting = (begin - now).as_nanos() * u128::from(self.rate) / 8_000_000_000;
        if waiting + u128::from(bytes) > u128::from(self.queue) {
            return None;
        }
        self.free_at = begin + Duration::from_nanos(bytes * 8_000_000_000 / self.rate);
        Some(self.free_at)
    }
}

/// Which packets are lost: the same ones for the same seed (xorshift64, Marsaglia 2003).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// True in `ppm` of a million cases.
    pub(crate) fn falls(&mut self, ppm: u32) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % 1_000_000 < u64::from(ppm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Link = Link { rate: 8_000_000, delay: Duration::ZERO, loss_ppm: 0, queue: 3000 };

    #[test]
    fn packets_leave_at_the_rate_of_the_line() {
        let mut pipe = Pipe::new(&LINE);
        let ms = Duration::from_millis;
        assert_eq!(pipe.pass(ms(5), 1000), Some(ms(6)));
        assert_eq!(pipe.pass(ms(5), 1000), Some(ms(7)));
        assert_eq!(pipe.pass(ms(20), 1000), Some(ms(21)), "an idle line saves nothing up");
    }

    #[test]
    fn a_full_queue_drops() {
        let mut pipe = Pipe::new(&LINE);
        let passed = (0..5).filter(|_| pipe.pass(Duration::ZERO, 1000).is_some()).count();
        assert_eq!(passed, 3);
        assert!(pipe.pass(Duration::from_millis(1), 1000).is_some(), "one has left since");
    }

    #[test]
    fn losses_are_as_frequent_as_said() {
        let mut dice = Dice::new(7);
        let lost = (0..1_000_000).filter(|_| dice.falls(1000)).count();
        assert!((900..1100).contains(&lost), "{lost}");
        assert!(!(0..100_000).any(|_| dice.falls(0)));
    }
}
