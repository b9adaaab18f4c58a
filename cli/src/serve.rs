//! `serve`: answers peers from a store.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::serve::{ServeLimits, ServeRates};
use hotstuff2_sync_tokio::Healer;
use hotstuff2_sync_tokio::net::{Handler, Identity, Network, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, SnapshotRetention};

use crate::args::ServeArgs;
use crate::error::CliError;
use crate::live::grow;
use crate::node::{
    IDENTITY_FILE, Stop, answering, beside_peers, counted, discovery, keep_tcp, open_store, say_families, serve_pages,
    show_metrics, show_served, take_orders, threads,
};
use crate::report::{ServeReport, ServedReport, say, write_json};
use crate::screen::{complain, tell};

/// Most connections that a serving node makes by itself: enough to hear of others and to tell of them.
const OWN_CONNECTIONS: usize = 8;

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

type Store = Arc<DiskStore<NativeChain>>;

/// A handler that may play a part, and the number of its answers so far that an honest one would not have given.
pub(crate) type Played = (Arc<dyn Handler>, Arc<AtomicU64>);

/// Serves until stopped, with the handler that `play` makes of the honest one.
pub(crate) fn run(args: ServeArgs, play: impl FnOnce(Arc<dyn Handler>, &Store) -> Played) -> Result<(), CliError> {
    threads()?.block_on(serve(args, play))
}

async fn serve(args: ServeArgs, play: impl FnOnce(Arc<dyn Handler>, &Store) -> Played) -> Result<(), CliError> {
    let mut stop = Stop::of_node(&args.parent)?;
    let (genesis, store) = open_store(&args.dir)?;
    if let Err(failure) = store.set_snapshot_retention(SnapshotRetention { count: args.snapshots, max_age: None }) {
        // A damaged state is healed beside everything else.
        tell(format_args!("the snapshots stay as they are for now: {failure}"));
    }
    let identity_file: PathBuf = args.identity.clone().unwrap_or_else(|| args.dir.join(IDENTITY_FILE));
    let identity = Identity::load_or_generate(identity_file)?;
    let discovery = discovery(&args.peers, &args.dir, identity.seed(), 0)?;
    let height = store.stored().height.get();
    let store = Arc::new(store);
    let metrics = show_metrics(args.metrics).await?;
    let answers = Arc::new(answering(&store, metrics.as_ref()));
    let (handler, unlike) = play(Arc::clone(&answers) as _, &store);
    let handler = Arc::new(discovery.handler(counted(handler, metrics.as_ref())));
    let limits = limits(args.serve_cpu, args.serve_mib, args.max_connections);
    let (network, events) = QuicNetwork::bind(args.listen, identity, limits, Some(handler))?;
    say_families(&network, args.listen);
    let tcp = args.tcp.map(|at| network.listen_tcp(at, genesis.chain_id())).transpose()?;
    let pages = serve_pages(&network, &genesis, &args.pages).await?;
    keep_tcp(&network, &args.peers, genesis.chain_id());
    let begin = Instant::now();
    let report = ServeReport {
        address: network
            .local_addr()
            .map_err(|source| CliError::System { what: "the listening address can't be read", source })?,
        tcp,
        ws: pages.ws,
        web: pages.web(),
        peer_id: network.local_peer().to_string(),
        height,
        work_per_second: limits.serve.total.work,
        bytes_per_second: limits.serve.total.bytes,
        memory_bound_bytes: limits.memory_bound().saturating_add(NODE_BYTES),
    };
    // A demo says it in its own words.
    if !args.parent.until_stdin_closes {
        let ServeReport { address, peer_id, .. } = &report;
        let over_tcp = tcp.map(|at| format!(", and at tcp://{at}/{peer_id}")).unwrap_or_default();
        let json = args.json.as_deref();
        say(json, format_args!("serving blocks up to {height} at {address}/{peer_id}{over_tcp}{pages}; Ctrl-C stops"));
    }
    if let Some(path) = &args.json {
        write_json(&report, path)?;
    }
    let quic = Arc::new(network);
    let network: Arc<dyn Network> = Arc::clone(&quic) as _;
    let config = SyncConfig { max_sync_peers: OWN_CONNECTIONS, ..SyncConfig::default() };
    let healer = Healer::new(Arc::clone(&store), Arc::new(NativeChain::new(&genesis)), Arc::clone(&network));
    let asked = stop.clone();
    let work = async {
        let orders = take_orders(args.dir.clone(), Arc::clone(&store));
        let growth = async {
            match grow(args.grow, &args.dir, &store, &genesis, &asked).await {
                Ok(()) | Err(CliError::Stopped) => {}
                Err(failure) => complain(format_args!("the chain grows no further: {failure}")),
            }
        };
        let shown = show_served(metrics.as_ref(), &store, &genesis, &*network);
        tokio::join!(healer.run(tell), shown, orders, growth);
    };
    beside_peers(&mut stop, work, &discovery, &network, events, &config).await;
    let served = ServedReport {
        seconds: begin.elapsed().as_secs_f64(),
        served: quic.serve_stats(),
        cache: answers.cache_stats(),
        unlike: unlike.load(Ordering::Relaxed),
    };
    args.stats.map_or(Ok(()), |path| write_json(&served, &path))
}
