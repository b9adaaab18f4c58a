//! Each strategy by itself, over real QUIC.

use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

use super::tests::{TIP, builder, full, soon};
use super::*;
use crate::NoApplication;
use crate::store::BlockStore as _;
use crate::test_world::{HEIGHT, World};

#[tokio::test(flavor = "multi_thread")]
async fn blocks_one_after_the_other() {
    let world = World::new();
    let server = full(&world);
    let sync = builder(&world, "late").with_peers([server.address()]).build().unwrap();
    let mut strategy = IncrementalSyncStrategy::new(&sync);
    soon(strategy.execute_sync(Height::new(120))).await.unwrap();
    assert!(strategy.state_applier().applied() >= Height::new(120));
    assert_eq!(
        sync.get_sync_progress().await.unwrap().current_strategy,
        hotstuff2_sync::config::SyncStrategyType::Incremental
    );
    assert!(matches!(sync.get_sync_status().await.unwrap(), SyncStatus::Done { .. }));
    let block = soon(strategy.block_requester().request_block(Height::new(7))).await.unwrap();
    strategy.block_validator().fast_validate_block(&block).await.unwrap();
    soon(sync.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_in_order() {
    let world = World::new();
    let server = full(&world);
    let sync = builder(&world, "late").with_peers([server.address()]).build().unwrap();
    let mut strategy = ParallelSyncStrategy::new(&sync);
    let mut pipeline = strategy.block_pipeline().clone();
    let seen = tokio::spawn(async move {
        let mut through = Height::ZERO;
        while through < TIP {
            let range = pipeline.next_processed().await.unwrap();
            assert_eq!(range.first(), through.next(), "in order and without a gap");
            through = range.last();
        }
    });
    // It waits for blocks of a sync that goes on.
    let whole = HeightRange::new(Height::new(1), TIP).unwrap();
    let before = strategy.dependency_resolver().plan(whole, 100).await.unwrap();
    assert!(!before.last().unwrap().epoch_is_known && before[0].epoch_is_known, "{before:?}");
    soon(strategy.execute_sync(TIP)).await.unwrap();
    let after = strategy.dependency_resolver().plan(whole, 100).await.unwrap();
    assert!(after.iter().all(|range| range.epoch_is_known) && after.len() == 3, "one for each epoch: {after:?}");
    assert!(after.windows(2).all(|pair| pair[1].range.first() == pair[0].range.last().next()));
    assert_eq!(strategy.dependency_resolver().plan(whole, 2).await.unwrap().len(), 2);
    assert_eq!(strategy.block_pipeline().buffered_bytes(), 0);
    let _ = soon(seen).await;
    soon(sync.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_first() {
    let world = World::new();
    let server = full(&world);
    let none = builder(&world, "none").build().unwrap();
    let refused = FastSyncStrategy::new(&none).execute_sync(TIP).await;
    assert!(matches!(refused, Err(SyncError::NoStaging)), "{refused:?}");
    soon(none.shutdown()).await;

    let builder = builder(&world, "late").with_peers([server.address()]);
    let application = NoApplication::new(builder.store().stored().height);
    let config = SyncConfig { strategy_switch_threshold: 0, ..SyncConfig::default() };
    let sync = builder.with_config(config).with_stored_application(Box::new(application)).build().unwrap();
    let mut strategy = FastSyncStrategy::new(&sync);
    soon(strategy.execute_sync(TIP)).await.unwrap();
    assert_eq!(sync.get_sync_status().await.unwrap(), SyncStatus::Stopped);
    assert!(sync.verify_state_consistency(HEIGHT).await.unwrap());
    strategy.verify_final_state(HEIGHT).await.unwrap();
    let blocks = soon(strategy.block_downloader().download(Height::new(250), Height::new(260))).await.unwrap();
    assert_eq!(blocks.len(), 11);
    strategy.state_verifier().validate_state_at(HEIGHT).await.unwrap();
    soon(sync.shutdown()).await;
}
