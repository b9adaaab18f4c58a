//! How fast something goes, and how long it may still take: in integers, from counts and times that the caller brings.
//!
//! An estimate is an interval. Its middle is what the mean rate gives; its ends are what the fastest and the slowest
//! parts of the recent past would give. A goal that moves away is taken into account: what counts is how fast the gap
//! closes, and where it doesn't, there is no estimate rather than a wrong one.

use alloc::collections::VecDeque;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::Height;
use crate::time::{Instant, UnixMillis, micros};

/// Samples that a rate is taken from.
const SAMPLES: usize = 32;
/// Time between two samples, at first. It doubles when there are too many, so that a long run has a long memory.
const INTERVAL: Duration = Duration::from_millis(250);
/// Longest time that a rate is taken over: what was two minutes ago says nothing of what will be.
const MEMORY: Duration = Duration::from_secs(120);
/// A part of the past is this share of it: long enough to even out batches, short enough to differ from the mean.
const PART: usize = 4;
/// How much faster and slower it may go than the mean, before there are enough samples to tell.
const UNKNOWN_SPREAD: u64 = 2;
/// A goal's own pace is measured over this time at least; proofs of it come every few seconds.
const GROWTH_TIME: Duration = Duration::from_secs(10);
/// Rates whose halves differ by less than one in so many count as steady.
const STEADY: u64 = 5;

const MILLION: u64 = 1_000_000;

/// A rate in millionths of a unit a second: slow ones count too.
pub type MicroRate = u64;

fn rate_of(count: u64, time: Duration) -> MicroRate {
    let wide = u128::from(count).saturating_mul(u128::from(MILLION)).saturating_mul(u128::from(MILLION));
    wide.checked_div(u128::from(micros(time))).map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
}

fn time_for(count: u64, rate: MicroRate) -> Option<Duration> {
    let wide = u128::from(count).saturating_mul(u128::from(MILLION)).saturating_mul(u128::from(MILLION));
    let time = wide.checked_div(u128::from(rate))?;
    Some(Duration::from_micros(u64::try_from(time).unwrap_or(u64::MAX)))
}

/// How long it may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Eta {
    /// If it goes on as fast as in the fastest part of the recent past.
    pub low: Duration,
    /// At the mean rate.
    pub likely: Duration,
    /// If it goes on as slowly as in the slowest part; `None` where it would never end then.
    pub high: Option<Duration>,
}

impl Eta {
    /// Nothing is left.
    pub const DONE: Self = Self { low: Duration::ZERO, likely: Duration::ZERO, high: Some(Duration::ZERO) };

    /// This one, and the other after it.
    pub fn then(self, other: Self) -> Self {
        Self {
            low: self.low.saturating_add(other.low),
            likely: self.likely.saturating_add(other.likely),
            high: self.high.zip(other.high).map(|(one, other)| one.saturating_add(other)),
        }
    }
}

/// The rates of the recent past, in millionths a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rates {
    /// Of the slowest part.
    pub slow: MicroRate,
    /// Of all of it.
    pub mean: MicroRate,
    /// Of the fastest part.
    pub fast: MicroRate,
}

impl Rates {
    /// Time to close a gap of `left` while the goal moves away at `growth`. `None` where it doesn't close.
    pub fn eta(&self, left: u64, growth: MicroRate) -> Option<Eta> {
        if left == 0 {
            return Some(Eta::DONE);
        }
        let at = |rate: MicroRate| time_for(left, rate.saturating_sub(growth));
        let likely = at(self.mean)?;
        Some(Eta { low: at(self.fast).unwrap_or(likely), likely, high: at(self.slow) })
    }
}

/// Counts over time, and the rates between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RateWindow {
    samples: VecDeque<(Instant, u64)>,
    interval: Duration,
}

impl Default for RateWindow {
    fn default() -> Self {
        Self::new()
    }
}

impl RateWindow {
    /// No samples yet.
    pub const fn new() -> Self {
        Self { samples: VecDeque::new(), interval: INTERVAL }
    }

    /// Notes that the count stands at `count`. A count that fell begins anew: it is another one.
    pub fn note(&mut self, now: Instant, count: u64) {
        match self.samples.back() {
            Some(&(_, before)) if count < before => *self = Self::new(),
            Some(&(at, _)) if now.since(at) < self.interval => return,
            _ => {}
        }
        self.samples.push_back((now, count));
        while self.samples.front().is_some_and(|&(at, _)| now.since(at) > MEMORY) {
            self.samples.pop_front();
        }
        if self.samples.len() > SAMPLES {
            // Every other one goes, of the last ones none that would be missed.
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.interval = self.interval.saturating_mul(2);
        }
    }

    /// The rates up to now, where the count stands at `count`. `None` before anything was counted over any time.
    pub fn rates(&self, now: Instant, count: u64) -> Option<Rates> {
        let &(since, first) = self.samples.front()?;
        let elapsed = now.since(since);
        let mean = rate_of(count.saturating_sub(first), elapsed);
        if elapsed.is_zero() || count <= first {
            return None;
        }
        let part = (self.samples.len() / PART).max(1);
        let ends = self.samples.iter().skip(part).copied().chain(core::iter::once((now, count)));
        let shortest = self.interval.saturating_mul(u32::try_from(part).unwrap_or(1));
        let parts = self.samples.iter().zip(ends).filter_map(|(&(from, before), (to, after))| {
            let time = to.since(from);
            (time >= shortest).then(|| rate_of(after.saturating_sub(before), time))
        });
        let spread = parts.fold(None, |spread: Option<(u64, u64)>, rate| {
            let (slow, fast) = spread.unwrap_or((rate, rate));
            Some((slow.min(rate), fast.max(rate)))
        });
        let (slow, fast) = match spread {
            Some(spread) if self.samples.len() >= PART => spread,
            _ => (mean / UNKNOWN_SPREAD, mean.saturating_mul(UNKNOWN_SPREAD)),
        };
        Some(Rates { slow: slow.min(mean), mean, fast: fast.max(mean) })
    }

    /// The rates of the older half and of the newer half.
    fn halves(&self, now: Instant, count: u64) -> Option<(MicroRate, MicroRate)> {
        let &(since, first) = self.samples.front()?;
        let &(middle, between) = self.samples.get(self.samples.len() / 2)?;
        let (older, newer) = (middle.since(since), now.since(middle));
        if self.samples.len() < PART || older.is_zero() || newer.is_zero() {
            return None;
        }
        Some((rate_of(between.saturating_sub(first), older), rate_of(count.saturating_sub(between), newer)))
    }
}

/// How fast the goal moves away: of the heights that were proven, and of the times in their blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GoalPace {
    raises: VecDeque<(Instant, Height, UnixMillis)>,
}

impl GoalPace {
    /// The goal was raised to a block of this height and time; [`UnixMillis::default`] where the time isn't known.
    pub fn note(&mut self, now: Instant, height: Height, timestamp: UnixMillis) {
        self.raises.push_back((now, height, timestamp));
        while self.raises.len() > SAMPLES {
            self.raises.pop_front();
        }
    }

    /// The goal's pace, zero where it was not watched long enough.
    ///
    /// A goal that is found in steps (first an old tip, then a newer one) only seems to grow by them; so where the blocks
    /// say their times, it grows no faster than they were made.
    pub fn growth(&self, now: Instant) -> MicroRate {
        let Some(&(_, last, made)) = self.raises.back() else { return 0 };
        let recent = |&&(at, _, _): &&(Instant, Height, UnixMillis)| now.since(at) <= MEMORY;
        let Some(&(since, first, begun)) = self.raises.iter().find(recent) else { return 0 };
        let watched = now.since(since);
        if watched < GROWTH_TIME {
            return 0;
        }
        let seen = rate_of(last.above(first), watched);
        match made.get().checked_sub(begun.get()) {
            Some(span) if span > 0 && begun != UnixMillis::default() => {
                seen.min(rate_of(last.above(first), Duration::from_millis(span)))
            }
            _ => seen,
        }
    }
}

/// Where it is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressTrend {
    /// Too little was seen.
    Unknown,
    /// Nothing is left.
    Done,
    /// Nothing moves.
    Stalled,
    /// It moves, and the target moves away as fast or faster.
    FallingBehind,
    /// Faster than before.
    Accelerating,
    /// As fast as before.
    Steady,
    /// Slower than before.
    Slowing,
}

/// Follows a height on its way to a target that may move.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProgressTracker {
    pace: RateWindow,
    goal: GoalPace,
    current: Height,
    target: Height,
    /// When the height moved last.
    moved: Instant,
    now: Instant,
}

/// Time without a step after which nothing moves.
const STALLED_AFTER: Duration = Duration::from_secs(5);

impl ProgressTracker {
    /// Notes where it stands.
    pub fn update(&mut self, now: Instant, current: Height, target: Height) {
        self.now = self.now.max(now);
        if current != self.current || self.pace.samples.is_empty() {
            self.moved = self.now;
        }
        if target > self.target {
            self.goal.note(self.now, target, UnixMillis::default());
        }
        (self.current, self.target) = (current, target);
        self.pace.note(self.now, current.get());
    }

    /// Blocks a second, in millionths, as of the last update.
    pub fn rate(&self) -> MicroRate {
        self.pace.rates(self.now, self.current.get()).map_or(0, |rates| rates.mean)
    }

    /// Time that is left, as of the last update. `None` where there is no rate, or the gap doesn't close.
    pub fn eta(&self) -> Option<Eta> {
        let left = self.target.above(self.current);
        if left == 0 {
            return Some(Eta::DONE);
        }
        self.pace.rates(self.now, self.current.get())?.eta(left, self.goal.growth(self.now))
    }

    /// Where it is going, as of the last update.
    pub fn trend(&self) -> ProgressTrend {
        if self.target <= self.current && !self.pace.samples.is_empty() {
            return ProgressTrend::Done;
        }
        if self.now.since(self.moved) >= STALLED_AFTER {
            return ProgressTrend::Stalled;
        }
        let Some((older, newer)) = self.pace.halves(self.now, self.current.get()) else {
            return ProgressTrend::Unknown;
        };
        if newer <= self.goal.growth(self.now) {
            return ProgressTrend::FallingBehind;
        }
        let slack = older / STEADY;
        if newer > older.saturating_add(slack) {
            ProgressTrend::Accelerating
        } else if newer < older.saturating_sub(slack) {
            ProgressTrend::Slowing
        } else {
            ProgressTrend::Steady
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// A tracker after `seconds` in which height and target were what the functions say, five times a second.
    fn tracked(seconds: u64, current: impl Fn(u64) -> u64, target: impl Fn(u64) -> u64) -> ProgressTracker {
        let mut tracker = ProgressTracker::default();
        for tick in 0..=seconds * 5 {
            tracker.update(at(tick * 200), Height::new(current(tick)), Height::new(target(tick)));
        }
        tracker
    }

    #[test]
    fn an_even_pace_gives_a_narrow_estimate() {
        let tracker = tracked(60, |tick| tick * 20, |_| 16_000);
        assert_eq!(tracker.rate(), 100 * MILLION);
        let eta = tracker.eta().unwrap();
        assert_eq!(eta.likely, Duration::from_secs(100));
        assert!(eta.low > Duration::from_secs(95) && eta.high.unwrap() < Duration::from_secs(105), "{eta:?}");
        assert_eq!(tracker.trend(), ProgressTrend::Steady);
    }

    #[test]
    fn an_uneven_pace_gives_a_wide_one_with_the_mean_inside() {
        // Ten seconds fast, ten slow, and so on.
        let current = |tick: u64| (0..tick).map(|tick| if tick / 50 % 2 == 0 { 30 } else { 5 }).sum();
        let eta = tracked(60, current, |_| 100_000).eta().unwrap();
        assert!(eta.low < eta.likely * 3 / 4 && eta.high.unwrap() > eta.likely * 4 / 3, "{eta:?}");
    }

    #[test]
    fn what_moves_away_is_reached_later_or_never() {
        // 100 blocks a second, while the chain grows by 50 a second, in steps of three seconds.
        let moving = |tick: u64| 10_000 + tick / 15 * 150;
        let tracker = tracked(60, |tick| tick * 20, moving);
        let left = moving(300) - 6_000;
        let eta = tracker.eta().unwrap();
        let honest = Duration::from_secs(left / 50);
        assert!(eta.likely > honest * 9 / 10 && eta.likely < honest * 11 / 10, "{eta:?} for {honest:?}");

        let never = tracked(60, |tick| tick * 20, |tick| 10_000 + tick / 15 * 330);
        assert_eq!(never.eta(), None);
        assert_eq!(never.trend(), ProgressTrend::FallingBehind);
    }

    #[test]
    fn a_target_that_was_found_in_steps_does_not_count_as_growing() {
        let mut goal = GoalPace::default();
        // An old tip first, then the newest: ten minutes of blocks, one a second.
        goal.note(at(0), Height::new(1_000), UnixMillis::new(1_000_000));
        goal.note(at(3_000), Height::new(1_600), UnixMillis::new(1_600_000));
        assert_eq!(goal.growth(at(5_000)), 0);
        assert_eq!(goal.growth(at(20_000)), MILLION);
    }

    #[test]
    fn trends_are_told_apart() {
        let trend = |current: &dyn Fn(u64) -> u64| tracked(20, current, |_| 1_000_000).trend();
        assert_eq!(trend(&|tick| tick * tick), ProgressTrend::Accelerating);
        assert_eq!(trend(&|tick| 20_000 - (100 - tick) * (100 - tick)), ProgressTrend::Slowing);
        assert_eq!(trend(&|tick| tick.min(50) * 100), ProgressTrend::Stalled);
        assert_eq!(tracked(20, |tick| tick, |_| 0).trend(), ProgressTrend::Done);
        assert_eq!(ProgressTracker::default().trend(), ProgressTrend::Unknown);
        assert_eq!(ProgressTracker::default().eta(), Some(Eta::DONE));
    }

    #[test]
    fn memory_is_bounded_and_reaches_back_two_minutes() {
        let mut window = RateWindow::new();
        for second in 0..10_000 {
            window.note(at(second * 1000), second * if second < 9_000 { 1 } else { 2 });
            assert!(window.samples.len() <= SAMPLES);
        }
        let rates = window.rates(at(10_000_000), 20_000).unwrap();
        assert!(rates.mean > 19 * MILLION / 10, "{rates:?}");
    }

    #[test]
    fn a_count_that_falls_begins_anew() {
        let mut window = RateWindow::new();
        window.note(at(0), 1_000);
        window.note(at(1_000), 0);
        assert_eq!(window.rates(at(2_000), 10).map(|rates| rates.mean), Some(10 * MILLION));
        assert_eq!(RateWindow::new().rates(at(5), 5), None);
    }
}
