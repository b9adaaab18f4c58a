//! Handlers that wrap another pass on all that they don't answer themselves: a node's limits and figures are those of the
//! innermost, however many stand around it.

use std::sync::Arc;

use crate::consensus::{ConsensusControl, ConsensusHandler};
use crate::discovery::{AddressBook, Discovery, DiscoverySettings};
use crate::monitor::{MeteredHandler, PrometheusMetrics};
use crate::net::{BoxFuture, Handler};

#[path = "telltale.rs"]
pub(crate) mod telltale;

#[path = "no_engine.rs"]
mod no_engine;

use no_engine::NoEngine;
use telltale::assert_forwards;

#[tokio::test]
async fn wrappers_forward_everything() {
    let discovery = || Discovery::new(AddressBook::new(1), DiscoverySettings::default());
    let metrics = || Arc::new(PrometheusMetrics::new());
    assert_forwards(|inner| discovery().handler(inner)).await;
    assert_forwards(|inner| ConsensusHandler::new(inner, Arc::new(NoEngine::default()))).await;
    assert_forwards(|inner| MeteredHandler::new(inner, metrics())).await;
    // As a validator has them.
    assert_forwards(|inner| {
        let counted = Arc::new(MeteredHandler::new(inner, metrics()));
        discovery().handler(Arc::new(ConsensusHandler::new(counted, Arc::new(NoEngine::default()))))
    })
    .await;
}
