//! `serve`: answers peers from a store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync::state::{StateItem, subtree};
use hotstuff2_sync_tokio::StoreHandler;
use hotstuff2_sync_tokio::monitor::MeteredHandler;
use hotstuff2_sync_tokio::net::{Handler, Identity, Network as _, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{DiskStore, SnapshotRetention};

use crate::args::ServeArgs;
use crate::error::CliError;
use crate::inspect::open_store;
use crate::lie::Staged;
use crate::nuisance::Nuisant;
use crate::report::{ServeReport, say, write_json};
use crate::stop::stop_signal;
use crate::sync::show_metrics;

/// Name of the key file in a node's folder.
pub(crate) const IDENTITY_FILE: &str = "identity.key";

pub(crate) fn run(args: ServeArgs) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System { what: "threads can't be started", source })?;
    runtime.block_on(serve(args))
}

/// What stands in the place of `item` in the oldest state that is kept.
fn older_subtree(store: &DiskStore<NativeChain>, item: StateItem) -> Option<StateItem> {
    let oldest = store.snapshots().into_iter().map(|snapshot| snapshot.height).min()?;
    let state = store.states(oldest).ok()?.into_iter().next()?;
    let (hash, _) = subtree(&state, &item.prefix).ok()?;
    Some(StateItem { hash, ..item })
}

async fn serve(args: ServeArgs) -> Result<(), CliError> {
    let stop = stop_signal(&args.parent)?;
    let (_, store) = open_store(&args.dir)?;
    store.set_snapshot_retention(SnapshotRetention { count: args.snapshots, max_age: None })?;
    let identity_file: PathBuf = args.identity.unwrap_or_else(|| args.dir.join(IDENTITY_FILE));
    let identity = Identity::load_or_generate(identity_file)?;
    let height = store.status().tip.get();
    let store = Arc::new(store);
    let staged = Staged {
        inner: Arc::new(StoreHandler::new(Arc::clone(&store))),
        older: Some(Box::new(move |item| older_subtree(&store, item))),
        lie: args.lie,
        delay: Duration::from_millis(args.delay_ms),
        rate: args.rate,
    };
    let staged: Arc<dyn Handler> = Arc::new(staged);
    let handler = match args.nuisance {
        Some(kind) => Arc::new(Nuisant::new(staged, kind)),
        None => staged,
    };
    let metrics = show_metrics(args.metrics).await?;
    let handler: Arc<dyn Handler> = match &metrics {
        Some((metrics, _)) => Arc::new(MeteredHandler::new(handler, Arc::clone(metrics))),
        None => handler,
    };
    let (network, mut events) = QuicNetwork::bind(args.listen, identity, QuicLimits::default(), Some(handler))?;
    let report = ServeReport {
        address: network
            .local_addr()
            .map_err(|source| CliError::System { what: "the listening address can't be read", source })?,
        peer_id: network.local_peer().to_string(),
        height,
    };
    // A demo says it in its own words.
    if !args.parent.until_stdin_closes {
        let ServeReport { address, peer_id, .. } = &report;
        say(args.json.as_deref(), format_args!("serving blocks up to {height} at {address}/{peer_id}; Ctrl-C stops"));
    }
    if let Some(path) = &args.json {
        write_json(&report, path)?;
    }
    // Whoever comes and goes is of no interest, but the queue must not fill up.
    tokio::select! {
        () = stop => {}
        () = async { while events.recv().await.is_some() {} } => {}
    }
    network.close().await;
    Ok(())
}
