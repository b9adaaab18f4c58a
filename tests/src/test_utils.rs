//! Functions that tests begin with.

use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::chain::native::Block;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::Height;

use crate::chain::{ChainSpec, TestChain};
use crate::sim::{CachedChain, NetworkScenario, ServerSpec, TestSyncManager, certified_blocks};

/// A node that has not started, in a network with three honest peers and a chain of 300 blocks.
///
/// # Panics
/// Never: the chain is one that can be made.
pub fn create_test_sync_manager() -> TestSyncManager {
    let chain = TestChain::new(ChainSpec { blocks: 300, ..ChainSpec::default() }).expect("a chain of 300 blocks");
    let mut manager = TestSyncManager::new(1, Arc::new(CachedChain::new(chain, None)), SyncConfig::default());
    for _ in 0..3 {
        manager.add_server(ServerSpec::default());
    }
    manager
}

/// The blocks of one chain at `heights`, each with a certificate of its own; those between are missing.
///
/// # Panics
/// Where a height is 0 or above 10,000.
pub fn create_blockchain_with_gaps(heights: &[u64]) -> Vec<Block> {
    let blocks = heights.iter().copied().max().unwrap_or(1);
    assert!(heights.iter().all(|height| (1..=10_000).contains(height)), "heights are from 1 to 10,000: {heights:?}");
    let epochs = 3.min(blocks);
    let chain = TestChain::new(ChainSpec { blocks, epochs, ..ChainSpec::default() }).expect("a chain of these blocks");
    certified_blocks(&chain, heights)
}

/// A node that is going to be cut off from its peers for `duration` in the middle of its download.
///
/// # Panics
/// Never: the chain is one that can be made.
pub fn simulate_network_partition_scenario(duration: Duration) -> NetworkScenario {
    NetworkScenario::of(duration).expect("a chain of some blocks")
}

/// Checks that a node stands at `expected_height` or above, and holds the true chain block for block, and its state.
///
/// # Panics
/// Where it doesn't, with what is wrong.
pub fn assert_sync_consistency(sync_manager: &mut TestSyncManager, expected_height: u64) {
    if let Err(violation) = sync_manager.check_consistency(Height::new(expected_height)) {
        panic!("{violation}");
    }
}
