//! Rates, estimates and trends from counts and times.

use alloc::vec::Vec;

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
fn memory_is_bounded_even_and_reaches_back_two_minutes() {
    let mut window = RateWindow::new();
    let count = |second: u64| second + second.saturating_sub(9_000);
    for second in 0..10_000 {
        window.note(at(second * 1000), count(second));
        assert!(window.samples.len() <= SAMPLES);
    }
    let times: Vec<Instant> = window.samples.iter().map(|&(at, _)| at).collect();
    assert!(times.last().unwrap().since(times[0]) > MEMORY * 3 / 4, "{times:?}");
    // As far apart as the memory allows, or its parts would be too short to even out batches.
    assert!(times.windows(2).all(|times| times[1].since(times[0]) > MEMORY / 2 / SAMPLES as u32), "{times:?}");
    // What was before the last two minutes says nothing.
    assert_eq!(window.rates(at(10_000_000), count(10_000)).unwrap().mean, 2 * MILLION);
}

#[test]
fn a_count_that_falls_begins_anew() {
    let mut window = RateWindow::new();
    window.note(at(0), 1_000);
    window.note(at(1_000), 0);
    assert_eq!(window.rates(at(2_000), 10).map(|rates| rates.mean), Some(10 * MILLION));
    assert_eq!(RateWindow::new().rates(at(5), 5), None);
    let mut window = RateWindow::new();
    window.note(at(0), 7);
    assert_eq!(window.rates(at(1_000), 7), None, "nothing was counted yet");
}

/// A window with so many samples, one every 250 ms, at 40 a second.
fn even(samples: u64) -> RateWindow {
    let mut window = RateWindow::new();
    (0..samples).for_each(|number| window.note(at(number * 250), number * 10));
    window
}

#[test]
fn too_few_samples_say_nothing_of_how_even_the_pace_is() {
    let known = Rates { slow: 40 * MILLION, mean: 40 * MILLION, fast: 40 * MILLION };
    let guessed = Rates { slow: 20 * MILLION, fast: 80 * MILLION, ..known };
    assert_eq!(even(3).rates(at(750), 30), Some(guessed));
    assert_eq!(even(4).rates(at(1000), 40), Some(known));
}

#[test]
fn a_batch_that_came_a_moment_ago_is_no_pace() {
    // Ten seconds of blocks a millisecond after the last sample.
    let rates = even(41).rates(at(10_001), 800).unwrap();
    assert!(rates.fast < rates.mean * 3 / 2, "{rates:?}");
    // What is in no part yet still belongs between the ends.
    let rates = even(4).rates(at(760), 1_000).unwrap();
    assert_eq!((rates.slow, rates.fast), (40 * MILLION, rates.mean));
    let rates = even(4).rates(at(990), 30).unwrap();
    assert_eq!((rates.slow, rates.fast), (rates.mean, 40 * MILLION));
}

#[test]
fn where_nothing_is_left_nothing_is_left_however_fast_the_goal_goes() {
    let rates = Rates { slow: 0, mean: MILLION, fast: 2 * MILLION };
    assert_eq!(rates.eta(0, 5 * MILLION), Some(Eta::DONE));
    assert_eq!(rates.eta(1, 5 * MILLION), None);
}

#[test]
fn a_goal_is_watched_for_two_minutes_and_believed_only_where_its_blocks_say_their_times() {
    let unknown = UnixMillis::default();
    let pace = |raises: &[(u64, u64, u64)], now: u64| {
        let mut goal = GoalPace::default();
        raises.iter().for_each(|&(second, height, made)| {
            goal.note(at(second * 1000), Height::new(height), UnixMillis::new(made));
        });
        goal.growth(at(now * 1000))
    };
    let none = unknown.get();
    assert_eq!(pace(&[(0, 0, none), (200, 1000, none), (215, 1030, none)], 220), 3 * MILLION / 2, "long ago");
    assert_eq!(pace(&[(0, 0, none), (20, 40, 1_700_000_000_000)], 20), 2 * MILLION, "one time isn't known");
    assert_eq!(pace(&[(0, 0, 5_000), (20, 40, 5_000)], 20), 2 * MILLION, "all of one moment");
    let mut goal = GoalPace::default();
    (0..1_000).for_each(|second| goal.note(at(second * 1000), Height::new(second), unknown));
    assert_eq!(goal.raises.len(), SAMPLES);
}

#[test]
fn a_tracker_begins_with_its_first_update_and_time_stands_still_where_it_runs_back() {
    let mut tracker = ProgressTracker::default();
    tracker.update(at(100_000), Height::ZERO, Height::new(100));
    assert_eq!(tracker.trend(), ProgressTrend::Unknown, "it has not stood still for that long");
    tracker.update(at(100_300), Height::new(1), Height::new(100));
    tracker.update(at(100_600), Height::new(2), Height::new(100));
    assert_eq!(tracker.trend(), ProgressTrend::Unknown, "halves of three samples say nothing");
    let mut tracker = tracked(60, |tick| tick * 20, |_| 16_000);
    tracker.update(at(0), Height::new(6_000), Height::new(16_000));
    assert_eq!(tracker.rate(), 100 * MILLION);
}

#[test]
fn a_little_faster_or_slower_is_steady() {
    for after in [90, 110] {
        let current = |tick: u64| tick.min(50) * 100 + tick.saturating_sub(50) * after;
        assert_eq!(tracked(20, current, |_| 1_000_000).trend(), ProgressTrend::Steady, "{after}");
    }
}
