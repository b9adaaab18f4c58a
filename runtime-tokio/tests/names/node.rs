//! The interface of a node, and its strategies.

use std::time::Duration;

use hotstuff2_sync::chain::{Block, native};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync_tokio::manager::{
    BlockDownloader, BlockProcessingPipeline, BlockRequester, DependencyResolver, FastSyncStrategy,
    IncrementalSyncStrategy, ParallelSyncStrategy, SnapshotDownloader, StateApplier, StateVerifier, SyncStrategy,
};
use hotstuff2_sync_tokio::net::Network as _;
use hotstuff2_sync_tokio::{SyncManager, SyncResult, SyncStatus};

use crate::net::{HEIGHT, Net, TIP, soon};

#[tokio::test(flavor = "multi_thread")]
async fn the_interface_of_a_node() {
    name!("SyncManager", "SyncResult", "SyncStatus", "Block", "BlockHeader", "PeerId", "SnapshotId");
    let net = Net::new();
    let mut sync: Box<dyn SyncManager> = Box::new(net.late("late"));
    name!("SyncManager::get_sync_status", "SyncManager::start_sync", "SyncManager::stop_sync");
    let status: SyncResult<SyncStatus> = sync.get_sync_status().await;
    assert_eq!(status.unwrap(), SyncStatus::Stopped);
    sync.start_sync(Some(Height::new(40))).await.unwrap();
    sync.stop_sync().await.unwrap();
    assert_eq!(sync.get_sync_status().await.unwrap(), SyncStatus::Stopped);
    name!("SyncManager::sync_state_to_height", "SyncManager::download_state_snapshot");
    name!("SyncManager::verify_state_consistency");
    soon(sync.sync_state_to_height(HEIGHT)).await.unwrap();
    let fetched = soon(sync.download_state_snapshot(&net.snapshot())).await;
    // Where blocks led there, this node has no state: its application keeps none.
    let kept = sync.verify_state_consistency(HEIGHT).await;
    assert_eq!(fetched.is_ok(), kept.is_ok_and(|kept| kept));
    name!("SyncManager::sync_blocks", "SyncManager::verify_block_chain", "SyncManager::sync_single_block");
    let blocks: Vec<Block> = soon(sync.sync_blocks(Height::new(250), Height::new(260))).await.unwrap();
    assert!(blocks.len() == 11 && sync.verify_block_chain(&blocks).await.unwrap());
    assert!(!sync.verify_block_chain(&[blocks[0].clone(), blocks[2].clone()]).await.unwrap());
    let one = soon(sync.sync_single_block(Height::new(3))).await.unwrap().unwrap();
    let typed = native::Block::try_from(&one).unwrap();
    assert_eq!(Some(&typed.header), net.chain.header(Height::new(3)));
    name!("SyncManager::get_sync_progress", "SyncManager::estimate_sync_completion");
    soon(sync.sync_state_to_height(TIP)).await.unwrap();
    assert_eq!(sync.get_sync_progress().await.unwrap().current_height, TIP.get());
    while sync.get_sync_status().await.unwrap() == SyncStatus::Syncing {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(sync.estimate_sync_completion().await.unwrap(), Duration::ZERO);
    name!("SyncManager::get_sync_peers", "SyncManager::remove_sync_peer", "SyncManager::add_sync_peer");
    let peer: PeerId = net.server.local_peer();
    assert_eq!(sync.get_sync_peers().await.unwrap(), [peer]);
    sync.remove_sync_peer(&peer).await.unwrap();
    assert!(sync.get_sync_peers().await.unwrap().is_empty());
    sync.add_sync_peer(peer).await.unwrap();
    soon(async {
        while sync.get_sync_peers().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strategies() {
    name!("SyncStrategy", "SyncStrategy::execute_sync");
    let net = Net::new();
    {
        name!("FastSyncStrategy", "SnapshotDownloader", "BlockDownloader", "StateVerifier");
        let sync = net.late("fast");
        let mut fast = FastSyncStrategy::new(&sync);
        let strategy: &mut dyn SyncStrategy = &mut fast;
        soon(strategy.execute_sync(TIP)).await.unwrap();
        name!("FastSyncStrategy::find_latest_snapshot", "FastSyncStrategy::download_and_verify_snapshot");
        let snapshots: &SnapshotDownloader = fast.snapshot_downloader();
        soon(snapshots.download(&net.snapshot())).await.unwrap();
        assert_eq!(soon(snapshots.download_to(HEIGHT)).await.unwrap(), None, "it is there");
        name!("FastSyncStrategy::sync_blocks_from_height", "FastSyncStrategy::verify_final_state");
        let blocks: &BlockDownloader = fast.block_downloader();
        soon(blocks.download_to(TIP)).await.unwrap();
        fast.verify_final_state(HEIGHT).await.unwrap();
        let states: &StateVerifier = fast.state_verifier();
        assert!(states.is_consistent(HEIGHT).await.unwrap());
        soon(sync.shutdown()).await;
    }
    {
        name!("IncrementalSyncStrategy", "BlockRequester", "BlockValidator", "StateApplier");
        let sync = net.late("incremental");
        let mut incremental = IncrementalSyncStrategy::new(&sync);
        soon(incremental.execute_sync(Height::new(120))).await.unwrap();
        name!("IncrementalSyncStrategy::request_block", "IncrementalSyncStrategy::validate_block");
        let requester: &BlockRequester = incremental.block_requester();
        let block = soon(requester.request_block(Height::new(99))).await.unwrap();
        incremental.block_validator().fast_validate_block(&block).await.unwrap();
        name!("IncrementalSyncStrategy::apply_block", "IncrementalSyncStrategy::get_current_height");
        let applier: &StateApplier = incremental.state_applier();
        assert_eq!(applier.applied_to(Height::new(120)).await.unwrap(), applier.applied());
        soon(sync.shutdown()).await;
    }
    {
        name!("ParallelSyncStrategy", "BlockProcessingPipeline", "DependencyResolver");
        let sync = net.late("parallel");
        let mut parallel = ParallelSyncStrategy::new(&sync);
        let mut pipeline: BlockProcessingPipeline = parallel.block_pipeline().clone();
        soon(parallel.execute_sync(TIP)).await.unwrap();
        name!("ParallelSyncStrategy::receive_downloaded_block", "ParallelSyncStrategy::plan_download_ranges");
        assert_eq!(pipeline.next_processed().await.unwrap(), HeightRange::new(Height::new(1), TIP).unwrap());
        let resolver: &DependencyResolver = parallel.dependency_resolver();
        let planned = resolver.plan(HeightRange::new(Height::new(1), TIP).unwrap(), 10).await.unwrap();
        assert_eq!(
            planned.len(),
            net.chain.epochs().iter().filter(|epoch| epoch.info().range().first() <= TIP).count()
        );
        soon(sync.shutdown()).await;
    }
}
