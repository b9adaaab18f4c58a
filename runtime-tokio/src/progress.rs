//! Progress for people and user interfaces: percentages and rates as floating-point numbers, from the machine's integers.

use std::collections::VecDeque;
use std::time::{Duration, Instant as Clock};

use hotstuff2_sync::config::SyncStrategyType;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Bottleneck, Progress, Stall};
pub use hotstuff2_sync::progress::ProgressTrend;
use hotstuff2_sync::progress::{Eta, MicroRate, ProgressTracker};
use hotstuff2_sync::time::Instant;
use serde::{Deserialize, Serialize};

use crate::wall_clock;

/// Steps that a tracker remembers for [`SyncProgressTracker::history`].
const HISTORY: usize = 64;

/// How far a sync is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncProgress {
    /// Height that is stored and executed.
    pub current_height: u64,
    /// Highest proven height; the current one where nothing is proven above it.
    pub target_height: u64,
    /// Blocks from the start to the current height.
    pub synced_blocks: u64,
    /// Blocks from the current height to the target.
    pub remaining_blocks: u64,
    /// How much of the way is done, 0 to 100. While a state is fetched the way to its block counts by the share of the
    /// state that is there.
    pub sync_percentage: f64,
    /// The likely time that is left; [`Duration::MAX`] where there is no estimate.
    pub estimated_completion: Duration,
    /// The same as an interval, where there is an estimate.
    pub eta: Option<Eta>,
    /// Blocks a second.
    pub download_rate: f64,
    /// The strategy in use.
    pub current_strategy: SyncStrategyType,
    /// What the sync waits for most.
    pub bottleneck: Bottleneck,
    /// Why nothing moves, what happens next and by when, if nothing moves. Times are the machine's: since its start.
    pub stall: Option<Stall>,
    /// Age of the highest proven block by this machine's clock, when this was made; `None` where the block's time is not
    /// known. See [`Progress::tip_age`].
    pub tip_age: Option<Duration>,
}

fn percentage(done: u64, left: u64) -> f64 {
    let whole = done.saturating_add(left);
    if whole == 0 { 100.0 } else { done as f64 * 100.0 / whole as f64 }
}

fn per_second(rate: MicroRate) -> f64 {
    rate as f64 / 1e6
}

impl From<&Progress> for SyncProgress {
    fn from(progress: &Progress) -> Self {
        let synced = progress.current.above(progress.start);
        let left = progress.target.above(progress.current);
        // A state on its way brings the node to its block at once.
        let by_state = progress.state.filter(|state| state.height > progress.current).map_or(0.0, |state| {
            let blocks = state.height.above(progress.current);
            percentage(blocks, synced.saturating_add(left).saturating_sub(blocks)) * state.done_ppm as f64 / 1e6
        });
        Self {
            current_height: progress.current.get(),
            target_height: progress.target.get(),
            synced_blocks: synced,
            remaining_blocks: left,
            sync_percentage: (percentage(synced, left) + by_state).min(100.0),
            estimated_completion: progress.eta.map_or(Duration::MAX, |eta| eta.likely),
            eta: progress.eta,
            download_rate: progress.blocks_per_second as f64,
            current_strategy: progress.strategy,
            bottleneck: progress.bottleneck,
            stall: progress.stall,
            tip_age: progress.tip_age(wall_clock()),
        }
    }
}

/// Follows heights that are told to it, from any source: for hosts that show progress of their own.
///
/// ```
/// use hotstuff2_sync_tokio::{ProgressTrend, SyncProgressTracker};
///
/// let mut tracker = SyncProgressTracker::new();
/// tracker.update_progress(0, 1_000);
/// tracker.update_progress(1_000, 1_000);
/// assert_eq!(tracker.get_progress_trend(), ProgressTrend::Done);
/// ```
#[derive(Clone, Debug)]
pub struct SyncProgressTracker {
    start: Clock,
    tracker: ProgressTracker,
    history: VecDeque<(Duration, u64, u64)>,
}

impl Default for SyncProgressTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl SyncProgressTracker {
    /// Begins now.
    pub fn new() -> Self {
        Self { start: Clock::now(), tracker: ProgressTracker::default(), history: VecDeque::new() }
    }

    /// Notes where the sync stands.
    pub fn update_progress(&mut self, current_height: u64, target_height: u64) {
        self.update_at(self.start.elapsed(), current_height, target_height);
    }

    /// The same, `since_start` after the tracker was made.
    fn update_at(&mut self, since_start: Duration, current: u64, target: u64) {
        let now = Instant::ZERO.after(since_start);
        self.tracker.update(now, Height::new(current), Height::new(target));
        self.history.push_back((since_start, current, target));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    /// Blocks a second over the recent past.
    pub fn calculate_download_rate(&self) -> f64 {
        per_second(self.tracker.rate())
    }

    /// The likely time that is left; [`Duration::MAX`] where there is no estimate, as where the target moves away as fast
    /// as it is approached.
    pub fn estimate_completion_time(&self) -> Duration {
        self.estimate_completion_interval().map_or(Duration::MAX, |eta| eta.likely)
    }

    /// The same as an interval.
    pub fn estimate_completion_interval(&self) -> Option<Eta> {
        self.tracker.eta()
    }

    /// Whether it becomes faster or slower, stands, or falls behind.
    pub fn get_progress_trend(&self) -> ProgressTrend {
        self.tracker.trend()
    }

    /// The last updates: time since the start, height, target. Oldest first.
    pub fn history(&self) -> impl Iterator<Item = (Duration, u64, u64)> {
        self.history.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracker_gives_rate_time_and_trend() {
        let mut tracker = SyncProgressTracker::new();
        assert_eq!(tracker.estimate_completion_time(), Duration::ZERO, "nothing is to do");
        for tick in 0..200u64 {
            tracker.update_at(Duration::from_millis(tick * 100), tick * 10, 10_000);
        }
        assert!((tracker.calculate_download_rate() - 100.0).abs() < 1.0, "{}", tracker.calculate_download_rate());
        assert_eq!(tracker.estimate_completion_time().as_secs(), 80);
        assert_eq!(tracker.get_progress_trend(), ProgressTrend::Steady);
        assert_eq!(tracker.history().count(), HISTORY);
        assert_eq!(tracker.history().last(), Some((Duration::from_millis(19_900), 1_990, 10_000)));
    }

    #[test]
    fn shares_of_nothing_are_whole() {
        assert!((percentage(0, 0) - 100.0).abs() < f64::EPSILON);
        assert!((percentage(1, 3) - 25.0).abs() < f64::EPSILON);
    }
}
