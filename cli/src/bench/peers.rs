//! `bench peers`: what the coordination of many peers costs a node that catches up. A process serves one chain from a
//! thousand identities, each at an address of its own; this one connects to all of them over QUIC, syncs, and counts its CPU
//! time and that of coordination.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::machine::Event;
use hotstuff2_sync_tokio::genesis_file::{GENESIS_FILE, read_genesis};
use hotstuff2_sync_tokio::net::{Identity, Network, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::DiskStore;
use hotstuff2_sync_tokio::{StoreHandler, SyncBuilder, SyncEvent, wall_clock};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::args::{BenchPeersArgs, CrowdArgs};
use crate::args::{App, ChainArgs, Parent};
use crate::attack::besiege::from;
use crate::cluster::{Child, Folder};
use crate::error::CliError;
use crate::generate::{GenPlan, generate};
use crate::node::{Stop, open_or_create, open_store, threads};
use crate::report::{ratio, say, write_json};
use crate::usage;

/// How long the serving process may take for its identities.
const CROWD_PATIENCE: Duration = Duration::from_secs(120);
/// Connections that are made at a time.
const AT_A_TIME: usize = 32;
/// How often a peer is dialled at most.
const DIALS: usize = 5;
/// Networks (an IPv4 /16 each) that the peers are spread over.
const NETWORKS: u8 = 250;
/// News of connections that wait for the sync to begin.
const WAITING_NEWS: usize = 1 << 16;
/// What coordination may cost of the CPU time of the whole process, in percent.
const MOST_PERCENT: f64 = 1.0;

/// Addresses of the serving identities.
#[derive(Debug, Serialize, Deserialize)]
struct CrowdReport {
    addresses: Vec<std::net::SocketAddr>,
}

/// Report of the measurement.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether the tip was reached with all peers connected, and coordination cost less than one percent.
    ok: bool,
    /// Peers that were connected when the sync began, and when it ended.
    connected: usize,
    connected_at_end: usize,
    /// Most peers that are asked at a time.
    max_sync_peers: usize,
    /// To connect to all of them; none of it is in the figures below.
    connect_seconds: f64,
    connect_cpu_seconds: f64,
    runs: Vec<Run>,
    /// The median of the runs.
    coordination_percent: f64,
    peak_rss_bytes: Option<u64>,
}

/// One sync.
#[derive(Debug, Serialize)]
struct Run {
    blocks: u64,
    seconds: f64,
    blocks_per_second: f64,
    /// Of this process, from the start of the sync until all was durable.
    cpu_seconds: f64,
    /// Of the machine, its thread and what brings it news, in the same time.
    coordination_cpu_seconds: f64,
    coordination_percent: f64,
    coordination_micros_per_block: f64,
    duplicate_bytes: u64,
}

/// `crowd`: serves the chain from so many identities, each with an endpoint and a key of its own.
pub(crate) fn crowd(args: &CrowdArgs) -> Result<(), CliError> {
    threads()?.block_on(async {
        let mut stop = Stop::of_tool(&args.parent)?;
        let (_, store) = open_store(&args.dir)?;
        let handler = Arc::new(StoreHandler::new(Arc::new(store)));
        let mut networks = Vec::new();
        let mut addresses = Vec::new();
        for number in 0..args.identities {
            let at = std::net::SocketAddr::new(from(number, NETWORKS), 0);
            let handler = Some(Arc::clone(&handler) as _);
            let (network, mut events) = QuicNetwork::bind(at, Identity::generate()?, QuicLimits::default(), handler)?;
            tokio::spawn(async move { while events.recv().await.is_some() {} });
            let unknown = |source| CliError::System { what: "the listening address can't be read", source };
            addresses.push(network.local_addr().map_err(unknown)?);
            networks.push(network);
        }
        write_json(&CrowdReport { addresses }, Path::new("-"))?;
        stop.asked().await;
        Ok(())
    })
}

pub(crate) async fn measure(args: &BenchPeersArgs) -> Result<(), CliError> {
    let mut stop = Stop::of_tool(&Parent { until_stdin_closes: false })?;
    let json = args.json.path.as_deref();
    let folder = Folder::prepare(args.kept.dir.as_deref())?;
    let dir = folder.entry("peers")?;
    let chain = dir.join("chain");
    say(json, format_args!("generating {} blocks", args.blocks));
    generate(&chain, &GenPlan::new(&chain_of(args), wall_clock()), &stop)?;
    let identities = args.peers.to_string();
    let served = chain.display().to_string();
    let arguments = ["crowd", "--dir", &served, "--identities", &identities].map(str::to_owned);
    let mut servers = Child::start("the serving process", &arguments)?;
    let CrowdReport { addresses } = servers.first_line(CROWD_PATIENCE)?;

    let mut report = Report {
        ok: false,
        connected: 0,
        connected_at_end: 0,
        max_sync_peers: SyncConfig::default().max_sync_peers,
        connect_seconds: 0.0,
        connect_cpu_seconds: 0.0,
        runs: Vec::new(),
        coordination_percent: 0.0,
        peak_rss_bytes: None,
    };
    for number in 0..args.runs {
        let run = sync(args, &chain, &dir.join(format!("late-{number}")), &addresses, &mut report, &mut stop).await?;
        say(json, format_args!("{}", run.describe()));
        report.runs.push(run);
    }
    servers.stop();
    let mut percents: Vec<f64> = report.runs.iter().map(|run| run.coordination_percent).collect();
    percents.sort_by(f64::total_cmp);
    report.coordination_percent = percents.get(percents.len() / 2).copied().unwrap_or_default();
    report.peak_rss_bytes = usage::peak_rss_bytes();
    report.ok = report.connected == usize::from(args.peers) && report.coordination_percent < MOST_PERCENT;
    say(
        json,
        format_args!("coordination of {} peers: {:.2} % of CPU time", report.connected, report.coordination_percent),
    );
    json.map_or(Ok(()), |path| write_json(&report, path))
}

/// Connects to everyone, and only then syncs a new node in `dir`.
async fn sync(
    args: &BenchPeersArgs,
    chain: &Path,
    dir: &Path,
    addresses: &[std::net::SocketAddr],
    report: &mut Report,
    stop: &mut Stop,
) -> Result<Run, CliError> {
    let (begin, cpu) = (Instant::now(), usage::cpu_seconds());
    let genesis = read_genesis(&chain.join(GENESIS_FILE))?;
    let store: Arc<DiskStore<NativeChain>> = Arc::new(open_or_create(dir, &genesis, None)?.store);
    let at = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let (network, mut events) = QuicNetwork::bind(at, Identity::generate()?, QuicLimits::default(), None)?;
    // The network's own channel is short; all that happens before the sync begins waits here.
    let (news, waiting) = mpsc::channel(WAITING_NEWS);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if news.send(event).await.is_err() {
                break;
            }
        }
    });
    let network: Arc<dyn Network> = Arc::new(network);
    let mut dials = JoinSet::new();
    for &address in addresses {
        while dials.len() >= AT_A_TIME {
            dials.join_next().await;
        }
        let network = Arc::clone(&network);
        // A busy machine may let a handshake time out.
        dials.spawn(async move {
            for _ in 0..DIALS {
                if network.connect(address, None).await.is_ok() {
                    break;
                }
            }
        });
    }
    while dials.join_next().await.is_some() {}
    report.connected = network.links().len();
    report.connect_seconds = begin.elapsed().as_secs_f64();
    report.connect_cpu_seconds = usage::cpu_seconds() - cpu;

    let cpu = usage::cpu_seconds();
    let builder =
        SyncBuilder::new(Arc::new(NativeChain::new(&genesis)), Arc::clone(&store) as _, Arc::clone(&network), waiting);
    let mut handle = builder.start()?;
    let reached = loop {
        tokio::select! {
            _ = stop.asked() => return Err(CliError::Stopped),
            event = handle.next_event() => match event {
                Some(SyncEvent::Machine(Event::Reached(_))) => break true,
                Some(_) => {}
                None => break false,
            },
        }
    };
    report.connected_at_end = network.links().len();
    let end = handle.shutdown().await;
    let cpu_seconds = usage::cpu_seconds() - cpu;
    let (blocks, target) = (end.progress.current.get(), end.progress.target.get());
    if !reached || blocks < args.blocks {
        let reason = "it ended early; run it again".to_owned();
        return Err(CliError::Incomplete { height: blocks, target, reason });
    }
    let coordination = end.usage.coordination_cpu.as_secs_f64();
    let seconds = end.usage.running.as_secs_f64();
    Ok(Run {
        blocks,
        seconds,
        blocks_per_second: ratio(blocks as f64, seconds),
        cpu_seconds,
        coordination_cpu_seconds: coordination,
        coordination_percent: ratio(coordination, cpu_seconds) * 100.0,
        coordination_micros_per_block: ratio(coordination * 1e6, blocks as f64),
        duplicate_bytes: end.progress.duplicate_bytes,
    })
}

impl Run {
    fn describe(&self) -> String {
        format!(
            "{:.0} blocks/s, {:.2} CPU seconds, {:.4} of them for coordination: {:.2} %",
            self.blocks_per_second, self.cpu_seconds, self.coordination_cpu_seconds, self.coordination_percent
        )
    }
}

fn chain_of(args: &BenchPeersArgs) -> ChainArgs {
    ChainArgs {
        blocks: Some(args.blocks),
        payload_bytes: 1024,
        validators: 100,
        epochs: 4,
        app: Some(App::None),
        from: None,
        snapshot_interval: 1,
        entries: 0,
        value_bytes: 0,
        changes: 0,
        seed: 1,
    }
}
