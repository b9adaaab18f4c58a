//! Handlers that wrap another pass on all that they don't answer themselves: a node's limits and figures are those of the
//! innermost, however many stand around it.

use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Epoch;
use hotstuff2_sync::participation::{PauseReason, Permit, VoteRecord};

use crate::consensus::{ConsensusControl, ConsensusHandler};
use crate::discovery::{AddressBook, Discovery, DiscoverySettings};
use crate::monitor::{MeteredHandler, PrometheusMetrics};
use crate::net::{BoxFuture, Handler};

#[path = "telltale.rs"]
pub(crate) mod telltale;

use telltale::assert_forwards;

/// The engine of a node that is no validator.
struct NoEngine;

impl ConsensusControl for NoEngine {
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
        Box::pin(std::future::ready(()))
    }

    fn start_consensus_participation(&self, _: Permit) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn transition_to_sync_mode(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn transition_to_normal_mode(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn transition_to_consensus_mode(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn wrappers_forward_everything() {
    let discovery = || Discovery::new(AddressBook::new(1), DiscoverySettings::default());
    let metrics = || Arc::new(PrometheusMetrics::new());
    assert_forwards(|inner| discovery().handler(inner)).await;
    assert_forwards(|inner| ConsensusHandler::new(inner, Arc::new(NoEngine))).await;
    assert_forwards(|inner| MeteredHandler::new(inner, metrics())).await;
    // As a validator has them.
    assert_forwards(|inner| {
        let counted = Arc::new(MeteredHandler::new(inner, metrics()));
        discovery().handler(Arc::new(ConsensusHandler::new(counted, Arc::new(NoEngine))))
    })
    .await;
}
