//! Progress and monitoring.

use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::World;
use hotstuff2_sync_tokio::monitor::PrometheusMetrics;
use hotstuff2_sync_tokio::{
    MetricsCollector, PeerFailureType, ProgressTrend, SyncErrorType, SyncPerformanceMonitor, SyncProgress,
    SyncProgressTracker,
};

#[test]
fn progress() {
    name!("SyncProgress", "SyncProgressTracker", "SyncProgressTracker::update_progress", "ProgressTrend");
    name!("SyncProgressTracker::calculate_download_rate", "SyncProgressTracker::estimate_completion_time");
    name!("SyncProgressTracker::get_progress_trend");
    let mut tracker = SyncProgressTracker::new();
    assert_eq!(tracker.get_progress_trend(), ProgressTrend::Unknown);
    tracker.update_progress(0, 100);
    tracker.update_progress(100, 100);
    assert_eq!(tracker.get_progress_trend(), ProgressTrend::Done);
    assert_eq!(tracker.estimate_completion_time(), Duration::ZERO);
    assert!(tracker.calculate_download_rate() >= 0.0);
    let world = World::new(TestChain::new(ChainSpec::default()).unwrap(), SyncConfig::default()).unwrap();
    name!("SyncProgress::current_height", "SyncProgress::target_height", "SyncProgress::synced_blocks");
    name!("SyncProgress::remaining_blocks", "SyncProgress::sync_percentage", "SyncProgress::estimated_completion");
    name!("SyncProgress::download_rate", "SyncProgress::current_strategy");
    let SyncProgress {
        current_height,
        target_height,
        synced_blocks,
        remaining_blocks,
        sync_percentage,
        estimated_completion: _,
        download_rate,
        current_strategy,
        ..
    } = SyncProgress::from(&world.machine.progress());
    assert_eq!((current_height, target_height, synced_blocks, remaining_blocks), (0, 0, 0, 0));
    assert!((0.0..=100.0).contains(&sync_percentage) && download_rate == 0.0, "{sync_percentage} {download_rate}");
    assert_eq!(current_strategy, SyncStrategyType::Auto);
}

#[test]
fn monitoring() {
    name!("SyncPerformanceMonitor", "MetricsCollector", "SyncErrorType", "PeerFailureType");
    let metrics = Arc::new(PrometheusMetrics::new());
    let collector: Arc<dyn MetricsCollector> = Arc::clone(&metrics) as _;
    let monitor = SyncPerformanceMonitor::new(collector);
    let (peer, ms) = (PeerId::from_bytes([7; 32]), Duration::from_millis(3));
    let before = metrics.render();
    name!("SyncPerformanceMonitor::record_block_download_time", "SyncPerformanceMonitor::record_block_validation_time");
    monitor.record_block_download_time(1, ms);
    monitor.record_block_validation_time(1, ms);
    name!("SyncPerformanceMonitor::record_state_application_time", "SyncPerformanceMonitor::record_bandwidth_usage");
    monitor.record_state_application_time(1, ms);
    monitor.record_bandwidth_usage(&peer, 1000, ms);
    name!("SyncPerformanceMonitor::record_peer_latency", "SyncPerformanceMonitor::record_sync_error");
    monitor.record_peer_latency(&peer, ms);
    monitor.record_sync_error(SyncErrorType::Stall, Some(&peer));
    name!("SyncPerformanceMonitor::record_peer_failure");
    monitor.record_peer_failure(&peer, PeerFailureType::Banned);
    let after = metrics.render();
    assert_ne!(before, after);
    for word in ["stall", "banned"] {
        assert!(after.contains(word), "{word} is missing in\n{after}");
    }
}
