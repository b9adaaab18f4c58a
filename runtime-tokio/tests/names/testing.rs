//! Helpers for tests of a node.

use std::time::Duration;

use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync_testkit::sim::{
    BenchmarkResults, NetworkScenario, NetworkSimulator, SyncTestFramework, TestSyncManager,
};
use hotstuff2_sync_testkit::test_utils::{
    assert_sync_consistency, create_blockchain_with_gaps, create_test_sync_manager, simulate_network_partition_scenario,
};

use crate::net::TIP;

#[test]
fn testing() {
    name!("create_test_sync_manager", "TestSyncManager", "assert_sync_consistency", "create_blockchain_with_gaps");
    let mut manager: TestSyncManager = create_test_sync_manager();
    manager.start_sync(None);
    manager.wait_for(TIP).unwrap();
    assert_sync_consistency(&mut manager, TIP.get());
    assert_eq!(create_blockchain_with_gaps(&[1, 5]).len(), 2);
    name!("simulate_network_partition_scenario", "NetworkScenario", "NetworkSimulator", "SyncTestFramework");
    let scenario: NetworkScenario = simulate_network_partition_scenario(Duration::from_secs(5));
    assert!(scenario.run().unwrap().took > Duration::ZERO);
    let simulator: &mut NetworkSimulator = manager.simulator();
    assert!(simulator.now() > Instant::ZERO);
    let framework = SyncTestFramework::new(1, SyncConfig::default());
    name!("SyncTestFramework::test_fast_sync_scenario", "SyncTestFramework::test_incremental_sync_scenario");
    assert_eq!(framework.test_fast_sync_scenario(0, 300).unwrap().blocks, 300);
    assert_eq!(framework.test_incremental_sync_scenario(10).unwrap().blocks, 10);
    name!("SyncTestFramework::test_parallel_sync_performance", "SyncTestFramework::test_peer_failure_recovery");
    assert!(framework.test_parallel_sync_performance(3).unwrap().blocks > 0);
    assert!(framework.test_peer_failure_recovery(0.2).unwrap().banned.is_empty());
    name!("SyncTestFramework::test_network_partition_recovery", "SyncTestFramework::test_malicious_peer_detection");
    assert!(framework.test_network_partition_recovery(Duration::from_secs(5)).unwrap().blocks > 0);
    let liars = framework.peers(4).unwrap();
    let found = framework.test_malicious_peer_detection(&liars[..1]).unwrap();
    assert!(found.banned.iter().all(|banned| *banned == liars[0]));
    name!(
        "SyncTestFramework::benchmark_sync_strategies",
        "BenchmarkResults",
        "SyncTestFramework::test_large_scale_sync"
    );
    let results: BenchmarkResults = framework.benchmark_sync_strategies(&[60]).unwrap();
    assert_eq!(results.rows.len(), 4);
    assert_eq!(framework.test_large_scale_sync(2000, 10).unwrap().blocks, 2000);
}
