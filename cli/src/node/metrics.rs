//! The figures of a node, where its operator wants to see them, and what in it counts them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::chain::native::{Genesis, NativeChain};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync_tokio::StoreHandler;
use hotstuff2_sync_tokio::http::HttpServer;
use hotstuff2_sync_tokio::monitor::{MeteredHandler, PrometheusMetrics, serve_metrics};
use hotstuff2_sync_tokio::net::{Handler, Network};
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore};

use super::files::header_at;
use crate::error::CliError;
use crate::screen::tell;

/// Figures, and where they are shown.
pub(crate) type ShownMetrics = (Arc<PrometheusMetrics>, HttpServer);

/// Shows figures at `address`, if there is one, and says where.
pub(crate) async fn show_metrics(address: Option<SocketAddr>) -> Result<Option<ShownMetrics>, CliError> {
    let Some(address) = address else { return Ok(None) };
    let metrics = Arc::new(PrometheusMetrics::new());
    let server =
        serve_metrics(address, Arc::clone(&metrics)).await.map_err(|source| CliError::Metrics { address, source })?;
    tell(format_args!("metrics at http://{}/metrics", server.local_addr()));
    Ok(Some((metrics, server)))
}

/// Time between two looks at what a node has.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shows, for ever, what a node that only serves has: its highest block, and its peers.
pub(crate) async fn show_served(
    metrics: Option<&ShownMetrics>,
    store: &DiskStore<NativeChain>,
    genesis: &Genesis,
    network: &dyn Network,
) {
    let Some((metrics, _)) = metrics else { return std::future::pending().await };
    let mut head: Option<(Height, Option<UnixMillis>)> = None;
    loop {
        let height = store.stored().height;
        if head.is_none_or(|(known, _)| known != height) {
            let header = header_at(store, genesis, height).ok();
            head = Some((height, header.map(|header| header.timestamp)));
        }
        metrics.serves(height, head.and_then(|(_, time)| time), network.links().len());
        keeps(metrics, store);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Shows, for ever, from which height on a node has blocks, and how much room its disk has.
pub(crate) async fn show_kept(metrics: &PrometheusMetrics, store: &DiskStore<NativeChain>) {
    loop {
        keeps(metrics, store);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn keeps(metrics: &PrometheusMetrics, store: &DiskStore<NativeChain>) {
    metrics.keeps(store.status().earliest, store.free_disk().ok(), store.config().min_free_disk);
}

/// `handler`, with all that it answers among the figures, where there are any.
pub(crate) fn counted(handler: Arc<dyn Handler>, metrics: Option<&ShownMetrics>) -> Arc<dyn Handler> {
    match metrics {
        Some((metrics, _)) => Arc::new(MeteredHandler::new(handler, Arc::clone(metrics))),
        None => handler,
    }
}

/// Answers peers from `store`, and counts where it can't be read.
pub(crate) fn answering(
    store: &Arc<DiskStore<NativeChain>>,
    metrics: Option<&ShownMetrics>,
) -> StoreHandler<Arc<DiskStore<NativeChain>>> {
    let handler = StoreHandler::new(Arc::clone(store));
    match metrics.map(|(metrics, _)| Arc::clone(metrics)) {
        Some(metrics) => handler.counting_failures(move || metrics.store_read_failed()),
        None => handler,
    }
}
