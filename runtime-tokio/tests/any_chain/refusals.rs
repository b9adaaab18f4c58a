//! What a chain without state roots can't have is refused by name.

use std::sync::Arc;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::SnapshotId;
use hotstuff2_sync_tokio::manager::{BuildError, FastSyncStrategy, SyncStrategy as _};
use hotstuff2_sync_tokio::snapshot_file::{
    Existing, ExportError, ImportError, SnapshotFileError, export, import, verify,
};
use hotstuff2_sync_tokio::{NoApplication, StartError, SyncError, SyncManager as _};

use crate::net::{Net, TIP, soon};

#[tokio::test(flavor = "multi_thread")]
async fn states_of_a_chain_without_roots_are_refused_by_name() {
    let net = Net::new();
    let staged = net.builder("staged").with_stored_application(Box::new(NoApplication::new(Height::ZERO))).build();
    assert!(matches!(staged, Err(BuildError::Start(StartError::NoStateRoots))), "{staged:?}");
    let fast = SyncConfig { default_strategy: SyncStrategyType::Fast, ..SyncConfig::default() };
    let fast = net.builder("fast").with_config(fast).build();
    assert!(matches!(fast, Err(BuildError::Start(StartError::NoStateRoots))), "{fast:?}");

    let mut sync = net.builder("late").build().unwrap();
    let refused = sync.start_with(SyncStrategyType::Fast, None).await;
    assert!(matches!(refused, Err(SyncError::NoStateRoots)), "{refused:?}");
    let refused = FastSyncStrategy::new(&sync).execute_sync(TIP).await;
    assert!(matches!(refused, Err(SyncError::NoStateRoots)), "{refused:?}");
    let refused = sync.verify_state_consistency(TIP).await;
    assert!(matches!(refused, Err(SyncError::NoStateRoots)), "{refused:?}");
    let id = SnapshotId { height: TIP, block: net.notary.id(TIP), state_root: Default::default() };
    let refused = sync.download_state_snapshot(&id).await;
    assert!(matches!(refused, Err(SyncError::NoStateRoots)), "{refused:?}");
    soon(sync.shutdown()).await;
}

#[test]
fn snapshot_files_of_a_chain_without_roots_are_refused_by_name() {
    let net = Net::new();
    let (full, file) = (net.full(), net.path("state.snap"));
    let made = export(&full, None, &file, Existing::Keep, &mut |_, _| {});
    assert!(matches!(made, Err(ExportError::NoStateRoots)), "{made:?}");
    let (chain, anchor) = (Arc::clone(full.chain()), net.anchor());
    let read = verify(&*chain, &anchor, &file, &mut |_, _| {});
    assert!(matches!(read, Err(SnapshotFileError::NoStateRoots)), "{read:?}");
    let taken = import(&full, &*chain, &anchor, &file, &mut |_, _| {});
    assert!(matches!(taken, Err(ImportError::File(SnapshotFileError::NoStateRoots))), "{taken:?}");
}
