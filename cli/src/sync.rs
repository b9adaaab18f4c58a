//! `sync`: catches up with the network, and says what it took.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotstuff2_sync::chain::native::{Genesis, NativeChain};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::LightCheckpoint;
use hotstuff2_sync::machine::Progress;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync_tokio::checkpoint::{NativeStore, read_checkpoint};
use hotstuff2_sync_tokio::genesis_file::{GENESIS_FILE, read_genesis};
use hotstuff2_sync_tokio::net::{Identity, Network, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, OpenError};
use hotstuff2_sync_tokio::{
    DiscoverySettings, Healer, SyncBuilder, SyncEnd, SyncHandle, SyncPerformanceMonitor, SyncUsage, wall_clock,
};
use tokio::task::JoinSet;

use crate::args::{App, SyncArgs, name_of};
use crate::error::CliError;
use crate::node::{
    IDENTITY_FILE, Pages, ShownMetrics, Stop, StopCause, answering, counted, discovery, head_of, keep_tcp, open_ledger,
    open_or_create, say_families, serve_pages, show_kept, show_metrics, stored_genesis, take_orders, threads,
};
use crate::report::{Head, PeerReport, StateReport, SyncReport, conclude, ratio, say};
use crate::screen::tell;
use crate::settings::Settings;
use crate::tip::OldTip;
use crate::usage;
use crate::watch::{End, Seen, Watch};

pub(crate) fn run(args: &SyncArgs) -> Result<(), CliError> {
    let begin = Instant::now();
    threads()?.block_on(sync(args, begin))
}

async fn sync(args: &SyncArgs, begin: Instant) -> Result<(), CliError> {
    let mut stop = Stop::of_node(&args.parent)?;
    let Settings { mut config, store: store_config, .. } = Settings::load(&args.settings, std::env::vars_os())?;
    if !args.patience().is_zero() {
        // Whoever waits for less is told sooner.
        config.stall_after = config.stall_after.min(args.patience());
    }
    let max_tip_age = config.max_tip_age;
    if args.fresh && max_tip_age.is_zero() {
        return Err(CliError::Options(
            "--fresh needs an age to go by: set max_tip_age to more than 0s, or leave --fresh out",
        ));
    }
    let (genesis, genesis_file) = genesis_of(args)?;
    let named = args.checkpoint.as_deref().map(read_checkpoint).transpose()?;
    let opened = open_or_create(&args.dir, &genesis, named.as_ref())?;
    let lacks_state = args.app == App::Ledger && opened.lacks_state()?;
    let NativeStore { store, checkpoint, trust, .. } = opened;
    let store = Arc::new(store);
    let trust = trust.filter(|_| !args.accept_long_range);
    let begin_from = BeginFrom { checkpoint, trust, lacks_state };
    store.configure(store_config);
    let start_height = store.stored().height;
    let start_rss_bytes = usage::rss_bytes();
    // Figures are shown as long as the sync runs.
    let metrics = show_metrics(args.metrics).await?;
    if let Some((metrics, _)) = &metrics {
        metrics.set_max_tip_age(max_tip_age);
    }
    let (mut handle, network, _pages) =
        start(args, config, (&genesis, &genesis_file), &store, begin_from, metrics.as_ref()).await?;
    // Ends with this function.
    let mut beside = JoinSet::new();
    if let Some((metrics, _)) = &metrics {
        let (metrics, store) = (Arc::clone(metrics), Arc::clone(&store));
        beside.spawn(async move { show_kept(&metrics, &store).await });
    }
    beside.spawn(take_orders(args.dir.clone(), Arc::clone(&store)));
    // A sync that doesn't follow is over soon.
    if args.follow {
        let healer = Healer::new(Arc::clone(&store), Arc::new(NativeChain::new(&genesis)), Arc::clone(&network))
            .without_states();
        beside.spawn(healer.run(tell));
    }

    // What opening the store took counts too; the handle counts from where it was started, to the last durable commit.
    let set_up = begin.elapsed().saturating_sub(handle.usage().running);

    let mut watch = Watch::new(args, max_tip_age, start_height, genesis.chain_id());
    let end = watch.until_end(&mut handle, &*network, &mut stop).await;
    beside.shutdown().await;
    let SyncEnd { progress, usage, events } = handle.shutdown().await;
    let Seen { strategies, base, end } = watch.finish(&progress, events, end);

    let reached = matches!(end, End::Reached) || (args.follow && progress.current >= progress.target);
    let head = head_of(&store, &genesis)?;
    // Blocks are stored from where this node stood, or from above the state that was fetched.
    let begins = base.map_or(start_height, |base| base.max(start_height));
    // At the tip there was nothing to do: a night there says nothing of how fast blocks were taken.
    let took = set_up.saturating_add(usage.running).saturating_sub(progress.idle);
    let mut report = report(&progress, usage, begins, head, took);
    report.start_height = start_height.get();
    report.start_rss_bytes = start_rss_bytes;
    let tip_age = progress.tip_age(wall_clock());
    report.tip_age_seconds = tip_age.map(|age| age.as_secs_f64());
    report.ok = reached;
    report.app = name_of(&args.app);
    report.strategies = strategies;
    let json = args.json.path.as_deref();
    // A demo says it in its own words.
    if !args.parent.until_stdin_closes && (reached || report.blocks > 0 || report.state.is_some()) {
        say(json, format_args!("{}", report.describe()));
    }
    let (height, target) = (report.head.height, report.target_height);
    let result = match end {
        End::Reached => check_tip(args.fresh, height, tip_age, max_tip_age),
        End::Stopped(_) if args.follow && args.fresh => check_tip(true, height, tip_age, max_tip_age),
        End::Stopped(_) if args.follow => Ok(()),
        // A supervisor that ends it wants to hear that nothing is lost, a person that it is not done.
        End::Stopped(StopCause::Terminated) => {
            tell(CliError::Interrupted(height));
            Ok(())
        }
        End::Stopped(_) => Err(CliError::Interrupted(height)),
        End::Failed(reason) => Err(CliError::Incomplete { height, target, reason }),
    };
    conclude(&report, json, result)
}

/// Says where the tip that was reached is old, and makes that a failure where it must be fresh.
fn check_tip(fresh: bool, height: u64, age: Option<Duration>, most: Duration) -> Result<(), CliError> {
    if fresh && let Some(old) = OldTip::unless_shown_fresh(age, most) {
        return Err(CliError::OldTip { height, old });
    }
    if let Some(old) = OldTip::of(age, most) {
        tell(format_args!("caught up at height {height}, but {old}"));
    }
    Ok(())
}

/// The chain's genesis: from the file that is named, or from what an earlier sync left in the node's folder.
fn genesis_of(args: &SyncArgs) -> Result<(Genesis, PathBuf), CliError> {
    let beside = args.dir.join(GENESIS_FILE);
    match &args.genesis {
        Some(file) => Ok((read_genesis(file)?, file.clone())),
        None if beside.exists() => Ok((read_genesis(&beside)?, beside)),
        None => match stored_genesis(&args.dir) {
            Ok(genesis) => Ok((genesis, beside)),
            Err(CliError::Open(OpenError::Missing(_))) => Err(CliError::NoGenesis(args.dir.clone())),
            Err(error) => Err(error),
        },
    }
}

/// The trust that a node begins with.
struct BeginFrom {
    checkpoint: Option<LightCheckpoint>,
    /// The trusting period, unless any age will do, and the time of the block that the store begins above.
    trust: Option<(Duration, UnixMillis)>,
    /// Whether the state must be fetched before a block is executed.
    lacks_state: bool,
}

async fn start(
    args: &SyncArgs,
    config: SyncConfig,
    (genesis, genesis_file): (&Genesis, &Path),
    store: &Arc<DiskStore<NativeChain>>,
    begin_from: BeginFrom,
    metrics: Option<&ShownMetrics>,
) -> Result<(SyncHandle, Arc<dyn Network>, Pages), CliError> {
    let identity_file = args.identity.clone().unwrap_or_else(|| args.dir.join(IDENTITY_FILE));
    let identity = Identity::load_or_generate(identity_file)?;
    // What the machine picks among equals need not be the same on two nodes, and must not be for peers to guess.
    let seed = identity.seed();
    let discovery = discovery(&args.peers, &args.dir, seed, DiscoverySettings::default().min_peers)?;
    if args.peers.named.is_empty() && discovery.snapshot().is_empty() {
        return Err(CliError::Options(
            "no peer is known yet: name one with --peer HOST:PORT; those that it leads to are remembered",
        ));
    }
    let handler = Arc::new(discovery.handler(counted(Arc::new(answering(store, metrics)), metrics)));
    let (network, events) = QuicNetwork::bind(args.listen, identity, QuicLimits::default(), Some(handler))?;
    say_families(&network, args.listen);
    let pages = serve_pages(&network, genesis, &args.pages).await?;
    if pages.ws.is_some() {
        tell(format_args!("serving as {}{pages}", network.local_peer()));
    }
    keep_tcp(&network, &args.peers, genesis.chain_id());
    let network: Arc<dyn Network> = Arc::new(network);
    let builder =
        SyncBuilder::new(Arc::new(NativeChain::new(genesis)), Arc::clone(store) as _, Arc::clone(&network), events)
            .with_config(config)
            .with_history(Arc::clone(store) as _)
            .with_pruning(Arc::clone(store) as _)
            .with_discovery(discovery)
            .with_seed(seed);
    let BeginFrom { checkpoint, trust, lacks_state } = begin_from;
    let builder = match trust {
        Some((period, anchor)) => builder.with_trusting_period(period, anchor),
        None => builder,
    };
    let builder = match checkpoint {
        Some(checkpoint) => builder.with_checkpoint(checkpoint),
        None => builder,
    };
    let builder = if lacks_state { builder.fetching_state_first() } else { builder };
    let builder = match metrics {
        Some((metrics, _)) => builder.with_monitor(SyncPerformanceMonitor::new(Arc::clone(metrics) as _)),
        None => builder,
    };
    let builder = match &args.record {
        Some(path) => builder.with_recording(path),
        None => builder,
    };
    let builder = match args.app {
        App::None => builder,
        App::Ledger => {
            let ledger = open_ledger(store, genesis, genesis_file, lacks_state)?;
            builder.with_application(Box::new(ledger)).with_staging(Arc::clone(store) as _)
        }
    };
    Ok((builder.start()?, network, pages))
}

fn report(progress: &Progress, usage: SyncUsage, begins: Height, head: Head, took: Duration) -> SyncReport {
    // What was stored before and only had to be executed again is not this run's.
    let blocks = head.height.saturating_sub(begins.get());
    let seconds = took.as_secs_f64();
    SyncReport {
        ok: false,
        app: String::new(),
        strategies: Vec::new(),
        start_height: begins.get(),
        target_height: progress.target.get(),
        head,
        tip_age_seconds: None,
        blocks,
        seconds,
        idle_seconds: progress.idle.as_secs_f64(),
        blocks_per_second: ratio(blocks as f64, seconds),
        payload_bytes: progress.payload_bytes,
        useful_bytes: progress.useful_bytes,
        wire_bytes_received: usage.wire_bytes_received,
        duplicate_bytes: progress.duplicate_bytes,
        efficiency: ratio(progress.useful_bytes as f64, usage.wire_bytes_received as f64),
        quorum_checks: progress.quorum_checks,
        cpu_seconds: usage::cpu_seconds(),
        coordination_cpu_seconds: usage.coordination_cpu.as_secs_f64(),
        start_rss_bytes: None,
        peak_rss_bytes: usage::peak_rss_bytes(),
        peak_buffered_bytes: progress.peak_buffered_bytes,
        budget_bytes: progress.budget_bytes,
        bottleneck: progress.bottleneck.name().to_owned(),
        state: progress.state.as_ref().map(StateReport::new),
        peers: progress
            .peers
            .iter()
            .map(|peer| PeerReport {
                id: peer.id.to_string(),
                role: None,
                blocks: peer.blocks,
                bytes: peer.bytes,
                false_answers: peer.false_answers,
                unanswered: peer.unanswered,
                banned: peer.banned.map(|fault| fault.to_string()),
            })
            .collect(),
    }
}
