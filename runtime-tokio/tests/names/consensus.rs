//! Hand-over to consensus.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hotstuff2_sync::participation::GateSettings;
use hotstuff2_sync_tokio::SyncManager as _;
use hotstuff2_sync_tokio::consensus::{ConsensusControl, ConsensusError, ConsensusMode};
use hotstuff2_sync_tokio::net::BoxFuture;

use crate::net::{Net, TIP, soon};

#[path = "../../src/no_engine.rs"]
mod no_engine;

use no_engine::NoEngine;

#[tokio::test(flavor = "multi_thread")]
async fn consensus() {
    name!("HotStuff-2Core::pause_consensus_participation", "HotStuff-2Core::start_consensus_participation");
    name!("HotStuff-2Core::transition_to_normal_mode", "HotStuff-2Core::transition_to_sync_mode");
    name!("NetworkManager::transition_to_consensus_mode");
    let net = Net::new();
    let engine = Arc::new(NoEngine::default());
    let mut sync = net.late("late");
    let consensus = sync.coordinate(Arc::clone(&engine) as _, GateSettings::default()).unwrap();
    sync.start_sync(None).await.unwrap();
    assert_eq!(soon(sync.synced()).await.unwrap().height, TIP);
    name!("HotStuff-2Core::handle_sync_completion", "ConsensusError", "ConsensusError::SyncIncomplete");
    let early = consensus.handle_sync_completion(TIP.next()).await;
    assert_eq!(early, Err(ConsensusError::SyncIncomplete { at: TIP, wanted: TIP.next() }));
    name!("HotStuff-2Core::handle_falling_behind");
    soon(consensus.handle_falling_behind(TIP.plus(900))).await.unwrap();
    assert!(matches!(*consensus.mode().borrow(), ConsensusMode::Syncing(_)));
    assert_eq!(engine.0.load(Ordering::Relaxed), 0, "who is no validator takes no part");
    soon(sync.shutdown()).await;
}
