//! Hand-over to consensus.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Epoch;
use hotstuff2_sync::participation::{GateSettings, PauseReason, Permit, VoteRecord};
use hotstuff2_sync_tokio::SyncManager as _;
use hotstuff2_sync_tokio::consensus::{ConsensusControl, ConsensusError, ConsensusMode};
use hotstuff2_sync_tokio::net::BoxFuture;

use crate::net::{Net, TIP, soon};

/// An engine of a node that is no validator, and counts what it is told.
#[derive(Default)]
struct Engine(AtomicU32);

impl Engine {
    fn note(&self) -> BoxFuture<'_, ()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }
}

impl ConsensusControl for Engine {
    fn validator(&self, _: Epoch) -> Option<(Hash, u64)> {
        None
    }

    fn vote_record(&self) -> VoteRecord {
        VoteRecord::Never
    }

    fn advert(&self, _: Hash) -> Option<Bytes> {
        None
    }

    fn pause_consensus_participation(&self, _: PauseReason) -> BoxFuture<'_, ()> {
        self.note()
    }

    fn start_consensus_participation(&self, _: Permit) -> BoxFuture<'_, ()> {
        self.note()
    }

    fn transition_to_sync_mode(&self) -> BoxFuture<'_, ()> {
        self.note()
    }

    fn transition_to_normal_mode(&self) -> BoxFuture<'_, ()> {
        self.note()
    }

    fn transition_to_consensus_mode(&self) -> BoxFuture<'_, ()> {
        self.note()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consensus() {
    name!("HotStuff-2Core::pause_consensus_participation", "HotStuff-2Core::start_consensus_participation");
    name!("HotStuff-2Core::transition_to_normal_mode", "HotStuff-2Core::transition_to_sync_mode");
    name!("NetworkManager::transition_to_consensus_mode");
    let net = Net::new();
    let engine = Arc::new(Engine::default());
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
