//! `sync`: catches up with the network.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::native::{Genesis, NativeChain};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Bottleneck, Event, HaltReason, Progress};
use hotstuff2_sync_tokio::net::{Identity, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{BlockStore, DiskStore, StateStore, StoreAnchor, read_genesis as stored_genesis};
use hotstuff2_sync_tokio::{
    Application, NoApplication, PeerAddress, StoreHandler, SyncBuilder, SyncEvent, SyncHandle, SyncUsage,
};

use crate::args::{App, Strategy, SyncArgs};
use crate::error::CliError;
use crate::genesis_file::read_genesis;
use crate::inspect::head_of;
use crate::ledger_app::LedgerApp;
use crate::progress::{ProgressLine, Snapshot};
use crate::report::{PeerReport, SyncReport, ratio, say, write_json};
use crate::serve::IDENTITY_FILE;
use crate::stop::stop_signal;
use crate::usage::{cpu_seconds, peak_rss_bytes};

/// Time between two looks at the progress.
const TICK: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &SyncArgs) -> Result<(), CliError> {
    let genesis = read_genesis(&args.genesis)?;
    let store = Arc::new(open_or_create(&args.dir, &genesis)?);
    let application = application(args, &genesis, &store)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System { what: "threads can't be started", source })?;
    runtime.block_on(sync(args, &genesis, store, application))
}

/// Opens the store in `dir`, or makes one there that begins with `genesis`.
fn open_or_create(dir: &Path, genesis: &Genesis) -> Result<DiskStore<NativeChain>, CliError> {
    let chain = Arc::new(NativeChain::new(genesis));
    if stored_genesis(dir).is_ok() {
        return Ok(DiskStore::open(dir, chain, Some(genesis.chain_id()))?);
    }
    fs::create_dir_all(dir).map_err(CliError::file("created", dir))?;
    let anchor = StoreAnchor {
        chain_id: genesis.chain_id(),
        genesis: genesis.document().encode().into(),
        point: BlockPoint { height: Height::ZERO, id: genesis.id() },
        epoch: genesis.epoch().to_ref(),
    };
    Ok(DiskStore::create(dir, chain, &anchor)?)
}

fn application(
    args: &SyncArgs,
    genesis: &Genesis,
    store: &Arc<DiskStore<NativeChain>>,
) -> Result<Box<dyn Application>, CliError> {
    match args.app {
        App::None => Ok(Box::new(NoApplication::new(store.stored().height))),
        App::Ledger => {
            let state: Arc<dyn StateStore> = Arc::<DiskStore<NativeChain>>::clone(store);
            let ledger = LedgerApp::open(state)?;
            let fits = ledger.applied() > Height::ZERO || ledger.root() == genesis.header().state_root;
            if !fits {
                let path = args.genesis.clone();
                return Err(CliError::OtherApp { path, app: "ledger", other: "none" });
            }
            Ok(Box::new(ledger))
        }
    }
}

async fn sync(
    args: &SyncArgs,
    genesis: &Genesis,
    store: Arc<DiskStore<NativeChain>>,
    application: Box<dyn Application>,
) -> Result<(), CliError> {
    let stop = stop_signal(&args.parent)?;
    let identity = Identity::load_or_generate(args.dir.join(IDENTITY_FILE))?;
    let handler = Arc::new(StoreHandler::new(Arc::clone(&store)));
    let (network, network_events) =
        QuicNetwork::bind(bind_address(args), identity, QuicLimits::default(), Some(handler))?;
    let blocks: Arc<dyn BlockStore> = Arc::<DiskStore<NativeChain>>::clone(&store);
    let begin = Instant::now();
    let mut handle = SyncBuilder::new(Arc::new(NativeChain::new(genesis)), blocks, Arc::new(network), network_events)
        .with_application(application)
        .with_config(config(args))
        .with_peers(args.peers.iter().map(|peer| PeerAddress { address: peer.address, id: peer.id }).collect())
        .with_seed(RandomState::new().build_hasher().finish())
        .start()?;
    let mut watch = Watch::new(args, handle.progress().borrow().current);
    let end = watch.run(&mut handle, stop).await;
    let (progress, usage) = handle.shutdown().await;
    watch.line.finish();
    let seconds = begin.elapsed().min(usage.running).as_secs_f64();
    let report = report(&watch.strategies, &progress, usage, seconds, &store, genesis, matches!(end, End::Reached))?;
    let json = args.json.path.as_deref();
    say(json, format_args!("{}", report.describe()));
    if let Some(path) = json {
        write_json(&report, path)?;
    }
    match end {
        End::Reached => Ok(()),
        End::Stopped => Err(CliError::Interrupted(progress.current.get())),
        End::Halted(reason) => {
            keep_evidence(&args.dir, &reason)?;
            Err(incomplete(&progress, reason.to_string()))
        }
        End::GaveUp(reason) => Err(incomplete(&progress, reason)),
    }
}

fn incomplete(progress: &Progress, reason: String) -> CliError {
    CliError::Incomplete { height: progress.current.get(), target: progress.target.get(), reason }
}

/// Any port, on the family of addresses that the peers have.
fn bind_address(args: &SyncArgs) -> SocketAddr {
    if args.peers.iter().any(|peer| peer.address.is_ipv6()) {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    }
}

fn config(args: &SyncArgs) -> SyncConfig {
    SyncConfig {
        default_strategy: match args.strategy {
            Strategy::Auto => SyncStrategyType::Auto,
            Strategy::Parallel => SyncStrategyType::Parallel,
            Strategy::Incremental => SyncStrategyType::Incremental,
        },
        memory_budget: u64::from(args.budget_mib) << 20,
        full_audit: args.audit,
        ..SyncConfig::default()
    }
}

/// Evidence against validators must outlive this process.
fn keep_evidence(dir: &Path, reason: &HaltReason) -> Result<(), CliError> {
    let HaltReason::ConflictingFinality { height, evidence } = reason else { return Ok(()) };
    let path = dir.join(format!("evidence-{height}"));
    fs::write(&path, evidence).map_err(CliError::file("written", &path))?;
    eprintln!("hs2-sync: the evidence is in {}", path.display());
    Ok(())
}

/// How a sync ended.
enum End {
    Reached,
    Stopped,
    Halted(HaltReason),
    GaveUp(String),
}

/// What is shown and noted while the sync runs.
struct Watch {
    line: ProgressLine,
    strategies: Vec<String>,
    follow: bool,
    patience: Duration,
    note: Option<String>,
    moved: Instant,
    last: (Height, Height, u64),
}

impl Watch {
    fn new(args: &SyncArgs, start: Height) -> Self {
        Self {
            line: ProgressLine::new(start.get(), "syncing"),
            strategies: Vec::new(),
            follow: args.follow,
            patience: Duration::from_secs(args.patience),
            note: None,
            moved: Instant::now(),
            last: (start, start, 0),
        }
    }

    async fn run(&mut self, handle: &mut SyncHandle, stop: impl Future<Output = ()>) -> End {
        let mut stop = std::pin::pin!(stop);
        let mut tick = tokio::time::interval(TICK);
        let progress = handle.progress();
        loop {
            tokio::select! {
                () = &mut stop => return End::Stopped,
                _ = tick.tick() => {
                    let now = progress.borrow().clone();
                    if let Some(end) = self.tick(&now) {
                        return end;
                    }
                }
                event = handle.next_event() => match event {
                    Some(event) => {
                        if let Some(end) = self.take(event) {
                            return end;
                        }
                    }
                    None => return End::GaveUp("the machine's thread ended; its message is above".to_owned()),
                },
            }
        }
    }

    fn tick(&mut self, now: &Progress) -> Option<End> {
        let here = (now.current, now.target, now.useful_bytes);
        if here != self.last {
            self.last = here;
            self.moved = Instant::now();
        }
        let rate = now.blocks_per_second as f64;
        let payload = ratio(now.payload_bytes as f64, now.current.above(now.start) as f64);
        self.line.show(&Snapshot {
            height: now.current.get(),
            target: now.target.get(),
            blocks_per_second: rate,
            bytes_per_second: rate * payload,
            remaining: now.remaining,
            note: self.note.clone(),
        });
        let stuck = !self.follow && self.moved.elapsed() >= self.patience;
        let reason = || self.note.clone().unwrap_or_else(|| "no peer answers".to_owned());
        stuck.then(|| End::GaveUp(format!("no progress for {} s: {}", self.patience.as_secs(), reason())))
    }

    fn take(&mut self, event: SyncEvent) -> Option<End> {
        match event {
            SyncEvent::Machine(Event::Reached(_)) if !self.follow => return Some(End::Reached),
            SyncEvent::Machine(Event::Halted(reason)) => return Some(End::Halted(reason)),
            SyncEvent::Machine(Event::Strategy { strategy, .. }) => {
                let name = strategy.to_string();
                if self.strategies.last() != Some(&name) {
                    self.strategies.push(name);
                }
            }
            SyncEvent::Machine(Event::Stalled { reason, .. }) => {
                self.note = Some(reason.to_string());
                self.line.say(&reason.to_string());
            }
            SyncEvent::Machine(Event::Resumed) => self.note = None,
            SyncEvent::Machine(Event::Banned { peer, fault }) => {
                self.line.say(&format!("banned peer {peer}: {fault}"));
            }
            SyncEvent::Machine(Event::SuspectSelf { fault, groups }) => self.line.say(&format!(
                "{groups} independent peers gave the same false answer ({fault}): check this node's genesis file, its version and its disk"
            )),
            SyncEvent::Dial(text) | SyncEvent::Host(text) => {
                self.note = Some(text.clone());
                self.line.say(&text);
            }
            _ => {}
        }
        None
    }
}

fn report(
    strategies: &[String],
    progress: &Progress,
    usage: SyncUsage,
    seconds: f64,
    store: &DiskStore<NativeChain>,
    genesis: &Genesis,
    reached: bool,
) -> Result<SyncReport, CliError> {
    let head = head_of(store, genesis)?;
    let blocks = progress.current.above(progress.start);
    Ok(SyncReport {
        ok: reached && head.height == progress.target.get(),
        strategies: strategies.to_vec(),
        start_height: progress.start.get(),
        target_height: progress.target.get(),
        head,
        blocks,
        seconds,
        blocks_per_second: ratio(blocks as f64, seconds),
        payload_bytes: progress.payload_bytes,
        useful_bytes: progress.useful_bytes,
        wire_bytes_received: usage.wire_bytes_received,
        duplicate_bytes: progress.duplicate_bytes,
        efficiency: ratio(progress.useful_bytes as f64, usage.wire_bytes_received as f64),
        quorum_checks: progress.quorum_checks,
        cpu_seconds: cpu_seconds(),
        coordination_cpu_seconds: usage.coordination_cpu.as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
        peak_buffered_bytes: progress.peak_buffered_bytes,
        budget_bytes: progress.budget_bytes,
        bottleneck: Some(name_of(progress.bottleneck).to_owned()),
        peers: progress
            .peers
            .iter()
            .map(|peer| PeerReport {
                id: peer.id.to_string(),
                role: None,
                blocks: peer.blocks,
                bytes: peer.bytes,
                banned: peer.banned.map(|fault| fault.to_string()),
            })
            .collect(),
    })
}

fn name_of(bottleneck: Bottleneck) -> &'static str {
    match bottleneck {
        Bottleneck::Network => "network",
        Bottleneck::Verify => "verify",
        Bottleneck::Apply => "apply",
        Bottleneck::Peers => "peers",
    }
}
