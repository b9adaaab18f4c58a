//! Measurements of a line, and conclusions from lateness.

use super::*;
use crate::peers::estimator::PeerEstimator;

/// A line that was measured at a million bytes a second.
fn measured() -> PeerEstimator {
    let mut estimator = PeerEstimator::default();
    estimator.busy(at(0));
    estimator.delivered(at(60), at(0), 60_000);
    assert_eq!(estimator.bytes_per_second(), 1_000_000);
    estimator
}

#[test]
fn an_answer_that_is_sooner_than_the_latency_is_measured_whole() {
    let mut estimator = PeerEstimator::default();
    estimator.echoed(Duration::from_millis(100));
    estimator.busy(at(0));
    estimator.delivered(at(50), at(0), 50_000);
    assert_eq!(estimator.bytes_per_second(), 1_000_000);
}

#[test]
fn latency_explains_no_more_than_three_quarters_of_a_wait() {
    let mut estimator = measured();
    estimator.echoed(Duration::from_millis(100));
    for start in [1000, 2000] {
        // Beside the latency four milliseconds are left: a quarter of the wait is taken instead.
        estimator.busy(at(start));
        estimator.delivered(at(start + 104), at(start), 52_000);
    }
    assert_eq!(estimator.bytes_per_second(), 1_500_000, "two times 52 kB in two times 26 ms are two million a second");
}

#[test]
fn a_rise_is_believed_sooner_than_a_fall() {
    let mut estimator = measured();
    estimator.busy(at(1000));
    estimator.delivered(at(1100), at(1000), 200_000);
    assert_eq!(estimator.bytes_per_second(), 1_500_000);
    estimator.busy(at(2000));
    estimator.delivered(at(2100), at(2000), 50_000);
    assert_eq!(estimator.bytes_per_second(), 1_250_000);
}

#[test]
fn a_line_is_never_taken_for_dead() {
    let mut estimator = measured();
    estimator.busy(at(1000));
    for _ in 0..100 {
        estimator.timed_out();
    }
    assert_eq!(estimator.bytes_per_second(), 1 << 10);
    estimator.delivered(at(9_000_000), at(1000), 1);
    assert_eq!(estimator.bytes_per_second(), 1 << 10);
    let mut estimator = measured();
    estimator.timed_out();
    assert_eq!(estimator.bytes_per_second(), 500_000);
}

#[test]
fn the_way_is_as_long_as_the_shortest_time_that_it_takes() {
    let mut estimator = PeerEstimator::default();
    estimator.echoed(Duration::from_millis(100));
    estimator.echoed(Duration::from_millis(80));
    assert_eq!(estimator.latency(), Duration::from_millis(80));
    estimator.echoed(Duration::from_millis(10));
    assert_eq!(estimator.latency(), Duration::from_millis(40), "but one sample halves it at most");
}

#[test]
fn a_line_that_was_filled_or_late_is_known() {
    assert!(!PeerEstimator::default().may_be_faster(), "nothing is known of it at all");
    let known: [fn(&mut PeerEstimator); 3] = [
        |estimator| estimator.delivered(at(1100), at(1000), 1),
        PeerEstimator::timed_out,
        |estimator| estimator.timed_out_unheard(1 << 30, Duration::from_secs(1)),
    ];
    for known in known {
        let mut estimator = measured();
        assert!(estimator.may_be_faster(), "all of it came in less than a tenth of a second");
        known(&mut estimator);
        assert!(!estimator.may_be_faster());
    }
}
