//! [`NoEngine`]: the engine of a node that is no validator. Included by tests, which bring `BoxFuture` and `ConsensusControl`.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Epoch;
use hotstuff2_sync::participation::{PauseReason, Permit, VoteRecord};

use super::{BoxFuture, ConsensusControl};

/// The engine of a node that is no validator. Counts what it is told.
#[derive(Default)]
pub(crate) struct NoEngine(pub(crate) AtomicU32);

impl NoEngine {
    fn note(&self) -> BoxFuture<'_, ()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }
}

impl ConsensusControl for NoEngine {
    fn validator(&self, _: Epoch) -> Option<(Hash, u64)> {
        None
    }

    fn vote_record(&self) -> VoteRecord {
        VoteRecord::Never
    }

    fn advert(&self, _: Hash, _: bool) -> Option<Bytes> {
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
