//! What the testkit gives to users with one call: managers, scenarios and measurements.

use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync_testkit::sim::{SyncTestFramework, TestSyncStatus};
use hotstuff2_sync_testkit::test_utils::{
    assert_sync_consistency, create_blockchain_with_gaps, create_test_sync_manager, simulate_network_partition_scenario,
};

fn framework() -> SyncTestFramework {
    SyncTestFramework::new(1, SyncConfig::default())
}

#[test]
fn a_test_manager_does_what_a_manager_does() {
    let mut manager = create_test_sync_manager();
    assert_eq!(manager.get_sync_status(), TestSyncStatus::Stopped);
    let blocks = manager.sync_blocks(Height::new(10), Height::new(120)).unwrap();
    assert_eq!((blocks.len(), blocks[0].height()), (111, Height::new(10)));
    manager.verify_block_chain(&blocks).unwrap();
    let mut bent = blocks;
    bent[50].payload = bent[51].payload.clone();
    manager.verify_block_chain(&bent).unwrap_err();
    manager.start_sync(None);
    manager.wait_for(Height::new(300)).unwrap();
    assert_sync_consistency(&mut manager, 300);
    assert_eq!(manager.estimate_sync_completion(), Some(Duration::ZERO));
    assert_eq!(manager.sync_single_block(Height::new(7)).unwrap().map(|block| block.height()), Some(Height::new(7)));
    assert_eq!(manager.sync_single_block(Height::new(301)).unwrap(), None);
    let peers = manager.get_sync_peers();
    assert_eq!(peers.len(), 3);
    manager.remove_sync_peer(&peers[0]).unwrap();
    assert_eq!(manager.get_sync_peers(), peers[1..]);
    manager.add_sync_peer(peers[0]).unwrap();
    assert_eq!(manager.get_sync_peers().len(), 3);
    manager.stop_sync();
    assert_eq!(manager.get_sync_status(), TestSyncStatus::Stopped);
}

#[test]
#[should_panic(expected = "expected was 300")]
fn who_is_behind_is_not_consistent() {
    assert_sync_consistency(&mut create_test_sync_manager(), 300);
}

#[test]
fn blocks_with_gaps_are_blocks_of_one_chain() {
    let blocks = create_blockchain_with_gaps(&[1, 2, 5, 9]);
    assert_eq!(blocks.iter().map(|block| block.height().get()).collect::<Vec<_>>(), [1, 2, 5, 9]);
    assert_eq!(blocks[1].header.parent, blocks[0].id());
}

#[test]
fn a_partition_heals() {
    let whole = simulate_network_partition_scenario(Duration::ZERO).run().unwrap();
    let cut = simulate_network_partition_scenario(Duration::from_secs(60)).run().unwrap();
    assert!(whole.took < Duration::from_secs(30), "{whole:?}");
    assert!(cut.took > Duration::from_secs(60) && cut.took < Duration::from_secs(90), "{cut:?}");
    let recovered = framework().test_network_partition_recovery(Duration::from_secs(20)).unwrap();
    assert!(recovered.took > Duration::from_secs(20), "{recovered:?}");
}

#[test]
fn scenarios_arrive() {
    let framework = framework();
    let fast = framework.test_fast_sync_scenario(0, 900).unwrap();
    assert_eq!(fast.blocks, 900);
    let caught_up = framework.test_fast_sync_scenario(200, 900).unwrap();
    assert_eq!(caught_up.blocks, 700);
    assert_eq!(framework.test_incremental_sync_scenario(30).unwrap().blocks, 30);
    let failing = framework.test_peer_failure_recovery(0.5).unwrap();
    assert_eq!((failing.blocks, failing.banned), (3000, vec![]));
}

#[test]
fn more_peers_are_faster_and_large_chains_arrive() {
    let (one, four) = (
        framework().test_parallel_sync_performance(1).unwrap(),
        framework().test_parallel_sync_performance(4).unwrap(),
    );
    assert!(four.took < one.took, "{one:?} {four:?}");
    let large = framework().test_large_scale_sync(10_000, 50).unwrap();
    assert_eq!(large.blocks, 10_000);
}

#[test]
fn malicious_peers_are_found_and_nobody_else() {
    let framework = framework();
    let peers = framework.peers(8).unwrap();
    let report = framework.test_malicious_peer_detection(&peers[..2]).unwrap();
    assert!(report.banned.iter().all(|peer| peers[..2].contains(peer)) && !report.banned.is_empty());
    assert_eq!(framework.test_malicious_peer_detection(&[]).unwrap().banned, []);
}

#[test]
fn strategies_are_measured() {
    let results = framework().benchmark_sync_strategies(&[60, 1200]).unwrap();
    assert_eq!(results.rows.len(), 8);
    assert!(results.fastest(1200).is_some_and(|fastest| fastest != SyncStrategyType::Incremental), "{results:?}");
}
