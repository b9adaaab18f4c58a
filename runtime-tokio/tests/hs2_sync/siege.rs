//! A short form of the siege: what a server gives to attackers, and that an honest node gets through.

use crate::common::report;

/// Fifty attackers, each with 64 requests at a time for what costs most.
#[test]
fn attackers_get_no_more_than_configured_and_an_honest_node_gets_through() {
    let siege = ["bench", "siege", "--connections", "50", "--seconds", "1", "--blocks", "2000", "--runs", "1"];
    // Each sync of it must reach the tip, or this fails.
    let report = report(&siege);
    let number =
        |path: &str| report.pointer(path).and_then(serde_json::Value::as_f64).unwrap_or_else(|| panic!("{path}"));
    assert_eq!(number("/connections"), 50.0);
    // They ask for more than they get, whether they are told so or wait for their turn.
    let answers = number("/attackers/answers");
    assert!(answers > 0.0 && number("/attackers/requests") > answers, "{report}");
    // What comes back in the time, and what a full allowance holds.
    let most = |rate: f64| rate * (number("/server/seconds") + 1.0);
    assert!(number("/server/served/work") <= most(number("/work_per_second")), "{report}");
    assert!(number("/server/served/bytes") <= most(number("/bytes_per_second")), "{report}");
    assert!(number("/peak_rss_bytes") <= number("/memory_bound_bytes"), "{report}");
    assert!(number("/server/cache/hits") > 0.0, "{report}");
}
