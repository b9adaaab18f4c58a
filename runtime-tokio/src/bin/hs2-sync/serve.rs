//! `serve`: answers peers from a store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::serve::{ChainReader as _, ServeLimits, ServeRates};
use hotstuff2_sync::state::{StateItem, subtree};
use hotstuff2_sync_tokio::net::{Handler, Identity, Network, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, SnapshotRetention};
use hotstuff2_sync_tokio::{Healer, StoreHandler};

use crate::args::ServeArgs;
use crate::bench_siege::ServedReport;
use crate::error::CliError;
use crate::inspect::open_store;
use crate::lie::Staged;
use crate::nuisance::Nuisant;
use crate::peers::{discovery, say_families};
use crate::report::{ServeReport, say, write_json};
use crate::stop::stop_node;
use crate::sync::{ShownMetrics, counted, show_metrics};
use crate::unlike::Compared;

/// Most connections that a serving node makes by itself: enough to hear of others and to tell of them.
const OWN_CONNECTIONS: usize = 8;

/// Name of the key file in a node's folder.
pub(crate) const IDENTITY_FILE: &str = "identity.key";

/// What a process takes that serves nobody: program, threads, database, open files, and the cache of answers.
const NODE_BYTES: u64 = 80 << 20;

/// Connections that may come from one address prefix, as a part of all: a server is for many, of which some share one.
const PREFIX_PART: usize = 4;

/// Bounds for so much of one core in percent, so many MiB a second, and so many connections.
fn limits(cpu: Option<u64>, mib: Option<u64>, connections: usize) -> QuicLimits {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let mut serve = ServeLimits::with_work(cpu.unwrap_or(cores.saturating_mul(50)).saturating_mul(10_000));
    if let Some(mib) = mib {
        let total = ServeRates { bytes: mib.saturating_mul(1 << 20), ..serve.total };
        serve = ServeLimits { total, group: total.part(3, 4), peer: total.part(1, 2), ..serve };
    }
    let default = QuicLimits::default();
    let per_prefix = default.max_inbound_per_prefix.max(connections / PREFIX_PART);
    QuicLimits { serve, max_inbound_connections: connections, max_inbound_per_prefix: per_prefix, ..default }
}

pub(crate) fn run(args: ServeArgs) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System { what: "threads can't be started", source })?;
    runtime.block_on(serve(args))
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

/// What stands in the place of `item` in the oldest state that is kept.
fn older_subtree(store: &DiskStore<NativeChain>, item: StateItem) -> Option<StateItem> {
    let oldest = store.snapshots().into_iter().map(|snapshot| snapshot.height).min()?;
    let state = store.states(oldest).ok()?.into_iter().next()?;
    let (hash, _) = subtree(&state, &item.prefix).ok()?;
    Some(StateItem { hash, ..item })
}

async fn serve(args: ServeArgs) -> Result<(), CliError> {
    let stop = stop_node(&args.parent)?;
    let (genesis, store) = open_store(&args.dir)?;
    if let Err(failure) = store.set_snapshot_retention(SnapshotRetention { count: args.snapshots, max_age: None }) {
        // A damaged state is healed beside everything else.
        eprintln!("the snapshots stay as they are for now: {failure}");
    }
    let identity_file: PathBuf = args.identity.unwrap_or_else(|| args.dir.join(IDENTITY_FILE));
    let identity = Identity::load_or_generate(identity_file)?;
    let discovery = discovery(&args.peers, &args.dir, identity.seed(), 0)?;
    let height = store.stored().height.get();
    let store = Arc::new(store);
    let metrics = show_metrics(args.metrics).await?;
    let answers = Arc::new(answering(&store, metrics.as_ref()));
    let healed = Arc::clone(&store);
    let staged = Staged {
        inner: Arc::clone(&answers) as _,
        older: Some(Box::new(move |item| older_subtree(&store, item))),
        lie: args.lie,
        delay: Duration::from_millis(args.delay_ms),
        rate: args.rate,
    };
    let staged: Arc<dyn Handler> = Arc::new(staged);
    let played = match args.nuisance {
        Some(kind) => Arc::new(Nuisant::new(staged, kind)),
        None => staged,
    };
    let plays = args.lie.is_some() || args.nuisance.is_some();
    let compared = plays.then(|| Arc::new(Compared::new(Arc::clone(&answers) as _, Arc::clone(&played))));
    let handler: Arc<dyn Handler> = match &compared {
        Some(compared) => Arc::clone(compared) as _,
        None => played,
    };
    let handler = Arc::new(discovery.handler(counted(handler, metrics.as_ref())));
    let limits = limits(args.serve_cpu, args.serve_mib, args.max_connections);
    let (network, mut events) = QuicNetwork::bind(args.listen, identity, limits, Some(handler))?;
    say_families(&network, args.listen);
    let begin = Instant::now();
    let report = ServeReport {
        address: network
            .local_addr()
            .map_err(|source| CliError::System { what: "the listening address can't be read", source })?,
        peer_id: network.local_peer().to_string(),
        height,
        work_per_second: limits.serve.total.work,
        bytes_per_second: limits.serve.total.bytes,
        memory_bound_bytes: limits.memory_bound().saturating_add(NODE_BYTES),
    };
    // A demo says it in its own words.
    if !args.parent.until_stdin_closes {
        let ServeReport { address, peer_id, .. } = &report;
        say(args.json.as_deref(), format_args!("serving blocks up to {height} at {address}/{peer_id}; Ctrl-C stops"));
    }
    if let Some(path) = &args.json {
        write_json(&report, path)?;
    }
    let quic = Arc::new(network);
    let network: Arc<dyn Network> = Arc::clone(&quic) as _;
    let config = SyncConfig { max_sync_peers: OWN_CONNECTIONS, ..SyncConfig::default() };
    let healer = Healer::new(healed, Arc::new(NativeChain::new(&genesis)), Arc::clone(&network));
    let mut finding = discovery.start(&network, &config, Vec::new(), |text| eprintln!("{text}"));
    tokio::select! {
        () = stop => {}
        () = healer.run(|event| eprintln!("{event}")) => {}
        () = async {
            while events.recv().await.is_some() {
                discovery.wake();
            }
        } => {}
    }
    finding.stop().await;
    network.close().await;
    let served = ServedReport {
        seconds: begin.elapsed().as_secs_f64(),
        served: quic.serve_stats(),
        cache: answers.cache_stats(),
        unlike: compared.map_or(0, |compared| compared.unlike()),
    };
    args.stats.map_or(Ok(()), |path| write_json(&served, &path))
}
