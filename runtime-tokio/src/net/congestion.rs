//! [`Westwood`]: congestion control for lines that lose a packet now and then without being full.
//!
//! Cubic takes every loss for a full line: with 0.1 % of random loss and 100 ms of round trip it gets a quarter of 20
//! Mbit/s. Quinn's BBR fills the line and goes on: its window is twice what the line holds, and half of what it sends is
//! thrown away where the queue is short. The example `congestion` measures both.
//!
//! This one follows TCP Westwood (Mascolo et al., *TCP Westwood: Bandwidth Estimation for Enhanced Transport over Wireless
//! Links*, MobiCom 2001): where the line is full, the window becomes what the line was seen to carry in its shortest round
//! trip, which empties the queue and keeps the line busy. A loss counts only if it comes with a sign of a full line: a
//! round trip that has grown, or losses of more than 2 %. Without one, the path loses packets by itself.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

/// Bytes in flight at the start: ten packets of Ethernet size (RFC 6928), at least two of any size.
const INITIAL_WINDOW: u64 = 14_720;
/// Least packets in flight (RFC 9002).
const MIN_WINDOW_PACKETS: u64 = 2;
/// Share of a round's bytes that may be lost while nothing else says that the line is full: one in so many. BBRv2 takes 2 %
/// too.
const TOLERATED_SHARE: u64 = 50;
/// Losses of a round that are tolerated whatever their share: a round near the start has few packets.
const TOLERATED_PACKETS: u64 = 3;
/// Part of the shortest round trip by which one must be longer to be a sign of a queue (HyStart++, RFC 9406, has an eighth
/// and these bounds).
const QUEUE_SHARE: u32 = 8;
const MIN_QUEUE: Duration = Duration::from_millis(4);
const MAX_QUEUE: Duration = Duration::from_millis(16);
/// The window grows by one in so many each round, once the line was full, and by a packet at least: 1.6 %, so that it
/// doubles within 45 rounds when others leave the line, and overshoots by little.
const GROWTH_SHARE: u64 = 64;
/// Rounds over which the best rate counts.
const RATE_ROUNDS: usize = 10;
/// How long the shortest round trip counts: after a change of path it is forgotten.
const RTT_PERIOD: Duration = Duration::from_secs(20);

/// Makes [`Westwood`] for connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct WestwoodConfig(());

impl ControllerFactory for WestwoodConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Westwood::new(now, current_mtu.into()))
    }
}

/// The state of one connection's way.
#[derive(Clone, Debug)]
pub struct Westwood {
    mtu: u64,
    window: u64,
    /// Below it the window doubles each round.
    threshold: u64,
    /// Shortest round trips of this period and of the one before.
    shortest: [Option<Duration>; 2],
    period_began: Instant,
    /// Bytes a second that arrived, of the last rounds.
    rates: VecDeque<u64>,
    round: Round,
    last_sent: u64,
    /// Losses of what was sent before this are of what was answered already.
    answered: Option<Instant>,
}

/// Measurements of one round trip.
#[derive(Clone, Copy, Debug)]
struct Round {
    began: Instant,
    /// The round ends when a later packet than this is acknowledged.
    last: u64,
    acked: u64,
    lost: u64,
    shortest: Option<Duration>,
    /// Whether the line, and not what there was to send, was the limit.
    is_full: bool,
}

impl Round {
    fn new(now: Instant, last: u64) -> Self {
        Self { began: now, last, acked: 0, lost: 0, shortest: None, is_full: true }
    }
}

impl Westwood {
    fn new(now: Instant, mtu: u64) -> Self {
        Self {
            mtu,
            window: INITIAL_WINDOW.max(MIN_WINDOW_PACKETS * mtu),
            threshold: u64::MAX,
            shortest: [None; 2],
            period_began: now,
            rates: VecDeque::with_capacity(RATE_ROUNDS),
            round: Round::new(now, 0),
            last_sent: 0,
            answered: None,
        }
    }

    fn shortest(&self) -> Option<Duration> {
        self.shortest.iter().flatten().min().copied()
    }

    /// Bytes that the line holds when its queue is empty.
    fn capacity(&self) -> Option<u64> {
        let rate = self.rates.iter().max().copied()?;
        let micros = u64::try_from(self.shortest()?.as_micros()).unwrap_or(u64::MAX);
        Some(rate.saturating_mul(micros) / 1_000_000)
    }

    /// Whether packets wait on the way.
    fn is_queueing(&self) -> bool {
        let (Some(shortest), Some(now)) = (self.shortest(), self.round.shortest) else { return false };
        now > shortest + (shortest / QUEUE_SHARE).clamp(MIN_QUEUE, MAX_QUEUE)
    }

    fn is_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    fn shrink_to(&mut self, window: u64) {
        self.window = window.max(MIN_WINDOW_PACKETS * self.mtu);
        self.threshold = self.window;
    }

    fn acked(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool) {
        let rtt = now.saturating_duration_since(sent);
        let shorter = |known: Option<Duration>| Some(known.map_or(rtt, |known| known.min(rtt)));
        if now.saturating_duration_since(self.period_began) > RTT_PERIOD {
            self.period_began = now;
            self.shortest = [None, self.shortest[0]];
        }
        self.shortest[0] = shorter(self.shortest[0]);
        self.round.shortest = shorter(self.round.shortest);
        self.round.acked += bytes;
        self.round.is_full &= !app_limited;
        if app_limited {
            return;
        }
        if self.is_slow_start() {
            self.window += bytes;
        } else {
            self.window += (bytes / GROWTH_SHARE).max(self.mtu * bytes / self.window);
        }
    }

    fn end_round(&mut self, now: Instant) {
        let took = u64::try_from(now.saturating_duration_since(self.round.began).as_micros()).unwrap_or(u64::MAX);
        let rate = self.round.acked.saturating_mul(1_000_000) / took.max(1);
        // A rate at which there was nothing more to send says nothing about the line, unless it is more than was
        // known.
        if self.round.is_full || self.rates.iter().all(|&known| rate > known) {
            if self.rates.len() == RATE_ROUNDS {
                self.rates.pop_front();
            }
            self.rates.push_back(rate);
        }
        if self.is_slow_start() && self.is_queueing() {
            // The line is full, and nothing was lost yet.
            let window = self.capacity().unwrap_or(self.window).clamp(self.window / 2, self.window);
            self.shrink_to(window);
        }
        self.round = Round::new(now, self.last_sent);
    }
}

impl Controller for Westwood {
    fn on_sent(&mut self, _: Instant, _: u64, last_packet_number: u64) {
        self.last_sent = last_packet_number;
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, _: &RttEstimator) {
        self.acked(now, sent, bytes, app_limited);
    }

    fn on_end_acks(&mut self, now: Instant, _: u64, _: bool, largest_packet_num_acked: Option<u64>) {
        if largest_packet_num_acked.is_some_and(|largest| largest > self.round.last) {
            self.end_round(now);
        }
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.round.lost += lost_bytes;
        if is_persistent_congestion {
            self.answered = Some(now);
            self.shrink_to(0);
            return;
        }
        // One answer for each round: what is lost of what was sent before it was lost with the rest.
        if self.answered.is_some_and(|answered| sent <= answered) {
            return;
        }
        let all = self.round.lost + self.round.acked;
        let is_heavy = self.round.lost > (all / TOLERATED_SHARE).max(TOLERATED_PACKETS * self.mtu);
        // Marks say that the line is full and lose nothing.
        let is_marked = lost_bytes == 0;
        if !is_heavy && !is_marked && !self.is_queueing() {
            return;
        }
        self.answered = Some(now);
        let capacity = self.capacity().unwrap_or(self.window / 2);
        // Where much is lost, the capacity may be one of before: then the window shrinks all the same.
        let most = if is_heavy { self.window / 10 * 7 } else { self.window };
        self.shrink_to(capacity.clamp(self.window / 2, most));
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu.into();
        self.window = self.window.max(MIN_WINDOW_PACKETS * self.mtu);
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        INITIAL_WINDOW
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u64 = 1_200;

    /// A line of 1,000 packets a second, a round trip of 100 ms, and a queue.
    struct Line {
        control: Westwood,
        now: Instant,
        sent: u64,
        /// Packets that fit in the queue.
        queue: u64,
        random: hotstuff2_sync::rng::Rng,
        loss_ppm: u64,
        lost: u64,
    }

    const CAPACITY: u64 = 100;

    impl Line {
        fn new(queue: u64, loss_ppm: u64) -> Self {
            let now = Instant::now();
            let control = Westwood::new(now, MTU);
            Self { control, now, sent: 0, queue, random: hotstuff2_sync::rng::Rng::new(1), loss_ppm, lost: 0 }
        }

        /// A round trip: a window is sent, and what the line takes of it arrives. Returns how many packets did.
        fn round(&mut self) -> u64 {
            let (window, begin) = (self.control.window() / MTU, self.now + Duration::from_millis(1));
            let first = self.sent + 1;
            self.sent += window;
            self.control.on_sent(begin, window * MTU, self.sent);
            let carried = window.min(CAPACITY + self.queue);
            let waits = carried.saturating_sub(CAPACITY);
            self.now = begin + Duration::from_millis(100 + waits);
            let mut arrived = 0;
            for packet in 0..window {
                let is_lost = packet >= carried || self.random.below(1_000_000) < self.loss_ppm;
                if is_lost {
                    self.control.on_congestion_event(self.now, begin, false, MTU);
                    self.lost += 1;
                } else {
                    self.control.acked(self.now, begin, MTU, false);
                    arrived += 1;
                }
            }
            self.control.on_end_acks(self.now, 0, false, Some(first + window.saturating_sub(1)));
            arrived
        }

        /// Share of the line that is used, in hundredths, over so many rounds.
        fn used(&mut self, rounds: u64) -> u64 {
            let (begin, arrived) = (self.now, (0..rounds).map(|_| self.round()).sum::<u64>());
            let millis = u64::try_from((self.now - begin).as_millis()).unwrap();
            arrived * 100 / millis
        }
    }

    #[test]
    fn random_loss_costs_what_is_lost_and_no_more() {
        for (queue, loss_ppm) in [(20, 0), (20, 1_000), (50, 1_000), (500, 1_000), (50, 5_000)] {
            let mut line = Line::new(queue, loss_ppm);
            line.used(20);
            let used = line.used(1000);
            assert!(used >= 95, "queue {queue}, {loss_ppm} in a million: {used} %");
        }
    }

    #[test]
    fn a_full_line_is_noticed_before_much_is_thrown_away() {
        for queue in [10, 20, 50] {
            let mut line = Line::new(queue, 0);
            line.used(1000);
            let share = line.lost * 1000 / line.sent;
            assert!(share <= 10, "queue {queue}: {share} in a thousand lost");
            assert!(line.control.window() / MTU <= CAPACITY + queue + 10);
        }
    }

    #[test]
    fn many_losses_shrink_the_window_to_nearly_nothing() {
        let mut line = Line::new(50, 0);
        line.used(50);
        line.loss_ppm = 300_000;
        line.used(100);
        assert!(line.control.window() / MTU < CAPACITY / 4, "{}", line.control.window() / MTU);
        line.control.on_congestion_event(line.now, line.now, true, MTU);
        assert_eq!(line.control.window(), MIN_WINDOW_PACKETS * MTU);
    }
}
