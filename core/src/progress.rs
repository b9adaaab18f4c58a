//! How fast something goes, and how long it may still take: in integers, from counts and times that the caller brings.
//!
//! An estimate is an interval. Its middle is what the mean rate gives; its ends are what the fastest and the slowest
//! parts of the recent past would give. A goal that moves away is taken into account: what counts is how fast the gap
//! closes, and where it doesn't, there is no estimate rather than a wrong one.

use core::time::Duration;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::config::STALL_AFTER;
use crate::ids::Height;
use crate::time::{Instant, UnixMillis, micros};

/// Most samples that a rate is taken from.
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
    /// The oldest first.
    samples: Vec<(Instant, u64), { SAMPLES + 1 }>,
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
        Self { samples: Vec::new(), interval: INTERVAL }
    }

    /// Notes that the count stands at `count`. A count that fell begins anew: it is another one.
    pub fn note(&mut self, now: Instant, count: u64) {
        match self.samples.last() {
            Some(&(_, before)) if count < before => *self = Self::new(),
            Some(&(at, _)) if now.since(at) < self.interval => return,
            _ => {}
        }
        // There is room: whatever fills the window thins it out below.
        let _ = self.samples.push((now, count));
        self.samples.retain(|&(at, _)| now.since(at) <= MEMORY);
        if self.samples.is_full() {
            // Every other one goes; the newest stays.
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
        let &(since, first) = self.samples.first()?;
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
        let &(since, first) = self.samples.first()?;
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
    /// The oldest first.
    raises: Vec<(Instant, Height, UnixMillis), SAMPLES>,
}

impl GoalPace {
    /// The goal was raised to a block of this height and time; [`UnixMillis::default`] where the time isn't known.
    pub fn note(&mut self, now: Instant, height: Height, timestamp: UnixMillis) {
        if self.raises.is_full() {
            self.raises.remove(0);
        }
        // There is room now.
        let _ = self.raises.push((now, height, timestamp));
    }

    /// The goal's pace, zero where it was not watched long enough.
    ///
    /// A goal that is found in steps (first an old tip, then a newer one) only seems to grow by them; so where the blocks
    /// say their times, it grows no faster than they were made.
    pub fn growth(&self, now: Instant) -> MicroRate {
        let Some(&(_, last, made)) = self.raises.last() else { return 0 };
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
    /// Applied heights move, and the target moves away as fast or faster.
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

    /// Whether the height has not moved for as long as the machine takes, by default, to say that it is stalled.
    fn is_stalled(&self) -> bool {
        self.now.since(self.moved) >= STALL_AFTER
    }

    /// Time that is left, as of the last update. `None` where there is no rate, nothing moves, or the gap doesn't close.
    pub fn eta(&self) -> Option<Eta> {
        let left = self.target.above(self.current);
        if left == 0 {
            return Some(Eta::DONE);
        }
        if self.is_stalled() {
            return None;
        }
        self.pace.rates(self.now, self.current.get())?.eta(left, self.goal.growth(self.now))
    }

    /// Where it is going, as of the last update.
    pub fn trend(&self) -> ProgressTrend {
        if self.target <= self.current && !self.pace.samples.is_empty() {
            return ProgressTrend::Done;
        }
        if self.is_stalled() {
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
#[path = "progress_tests.rs"]
mod tests;
