//! `sync`: catches up with the network, and says what it took.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::native::{Genesis, NativeChain};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Bottleneck, Event, Progress, StallReason};
use hotstuff2_sync::wire::{Answer, PeerStatus, Request};
use hotstuff2_sync_tokio::net::{Identity, Network, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, OpenError, StoreAnchor};
use hotstuff2_sync_tokio::{PeerAddress, StoreHandler, SyncBuilder, SyncEvent, SyncHandle, SyncUsage};

use crate::args::{App, Strategy, SyncArgs};
use crate::error::CliError;
use crate::genesis_file::{GENESIS_FILE, read_genesis, write_genesis};
use crate::inspect::head_of;
use crate::ledger_app::LedgerApp;
use crate::progress::{ProgressLine, Snapshot};
use crate::report::{PeerReport, SyncReport, ratio, say, write_json};
use crate::serve::IDENTITY_FILE;
use crate::stop::stop_signal;
use crate::usage;

/// Time between two looks at progress.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// Time between two messages of a disk or an application that goes on failing.
const REPEAT_EVERY: Duration = Duration::from_secs(30);

/// How long a peer may take to say which chain it serves.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &SyncArgs) -> Result<(), CliError> {
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System { what: "threads can't be started", source })?;
    runtime.block_on(sync(args, begin))
}

async fn sync(args: &SyncArgs, begin: Instant) -> Result<(), CliError> {
    let stop = stop_signal(&args.parent)?;
    let genesis = read_genesis(&args.genesis)?;
    let store = Arc::new(open_or_create(&args.dir, &genesis)?);
    let start_height = store.stored().height;
    let (mut handle, network) = start(args, &genesis, &store)?;

    let mut watch = Watch::new(start_height, Duration::from_secs(args.patience), genesis.chain_id());
    let end = watch.until_end(&mut handle, &*network, stop, args.follow).await;
    let seconds = begin.elapsed();
    let (progress, usage) = handle.shutdown().await;
    let strategies = watch.finish();

    let reached = matches!(end, End::Reached) || (args.follow && progress.current >= progress.target);
    let mut report = report(&progress, usage, seconds);
    report.ok = reached;
    report.strategies = strategies;
    report.head = head_of(&store, &genesis)?;
    let json = args.json.path.as_deref();
    // A demo says it in its own words.
    if !args.parent.until_stdin_closes && (reached || report.blocks > 0) {
        say(json, format_args!("{}", report.describe()));
    }
    if let Some(path) = json {
        write_json(&report, path)?;
    }
    let (height, target) = (report.head.height, report.target_height);
    match end {
        End::Reached => Ok(()),
        End::Stopped if args.follow => Ok(()),
        End::Stopped => Err(CliError::Interrupted(height)),
        End::Failed(reason) => Err(CliError::Incomplete { height, target, reason }),
    }
}

/// Opens the store in `dir`, or creates it where there is none, with the genesis file beside it.
fn open_or_create(dir: &Path, genesis: &Genesis) -> Result<DiskStore<NativeChain>, CliError> {
    let chain = Arc::new(NativeChain::new(genesis));
    match DiskStore::open(dir, Arc::clone(&chain), Some(genesis.chain_id())) {
        Err(OpenError::Missing(_)) => {}
        opened => return Ok(opened?),
    }
    let anchor = StoreAnchor {
        chain_id: genesis.chain_id(),
        genesis: genesis.document().encode().into(),
        point: BlockPoint { height: Height::ZERO, id: genesis.id() },
        epoch: genesis.epoch().to_ref(),
    };
    let store = DiskStore::create(dir, chain, &anchor)?;
    write_genesis(genesis, &dir.join(GENESIS_FILE))?;
    Ok(store)
}

fn start(
    args: &SyncArgs,
    genesis: &Genesis,
    store: &Arc<DiskStore<NativeChain>>,
) -> Result<(SyncHandle, Arc<dyn Network>), CliError> {
    let identity = Identity::load_or_generate(args.dir.join(IDENTITY_FILE))?;
    // What the machine picks among equals need not be the same on two nodes, and must not be for peers to guess.
    let id = identity.peer_id();
    let seed = id.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let handler = Arc::new(StoreHandler::new(Arc::clone(store)));
    let (network, events) = QuicNetwork::bind(args.listen, identity, QuicLimits::default(), Some(handler))?;
    let network: Arc<dyn Network> = Arc::new(network);
    let config = SyncConfig {
        default_strategy: match args.strategy {
            Strategy::Auto => SyncStrategyType::Auto,
            Strategy::Parallel => SyncStrategyType::Parallel,
            Strategy::Incremental => SyncStrategyType::Incremental,
        },
        memory_budget: u64::from(args.budget_mib) << 20,
        full_audit: args.audit,
        ..SyncConfig::default()
    };
    let peers = args.peers.iter().map(|peer| PeerAddress { address: peer.address, id: peer.id }).collect();
    let builder =
        SyncBuilder::new(Arc::new(NativeChain::new(genesis)), Arc::clone(store) as _, Arc::clone(&network), events)
            .with_config(config)
            .with_peers(peers)
            .with_seed(seed);
    let builder = match args.app {
        App::None => builder,
        App::Ledger => builder.with_application(Box::new(LedgerApp::open(store, genesis, &args.genesis)?)),
    };
    Ok((builder.start()?, network))
}

/// How a sync ended.
enum End {
    Reached,
    Stopped,
    Failed(String),
}

/// Watches a sync and tells the user about it.
struct Watch {
    line: ProgressLine,
    strategies: Vec<String>,
    patience: Duration,
    moved: Instant,
    height: Height,
    chain_id: Hash,
    /// What a disk or an address said last: what to tell if nothing moves.
    host: Option<String>,
    /// When a disk or an application last said something to the user.
    said: Option<Instant>,
    /// Why nothing moves, by the machine.
    stall: Option<StallReason>,
}

impl Watch {
    fn new(height: Height, patience: Duration, chain_id: Hash) -> Self {
        let line = ProgressLine::new(height.get(), "syncing");
        let moved = Instant::now();
        Self { line, strategies: Vec::new(), patience, moved, height, chain_id, host: None, said: None, stall: None }
    }

    async fn until_end(
        &mut self,
        handle: &mut SyncHandle,
        network: &dyn Network,
        stop: impl Future<Output = ()>,
        follow: bool,
    ) -> End {
        let progress = handle.progress();
        let mut show = tokio::time::interval(SHOW_EVERY);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return End::Stopped,
                event = handle.next_event() => match event {
                    Some(event) => {
                        if let Some(end) = self.event(event, follow) {
                            return end;
                        }
                        if let Some(StallReason::NoPeers | StallReason::NoTarget(_)) = self.stall
                            && let Some(other) = other_chain(network, &progress.borrow().clone(), self.chain_id).await
                        {
                            let ours = self.chain_id;
                            return End::Failed(format!(
                                "the peers serve chain {other}, the genesis file is of chain {ours}; name the genesis \
                                 file of their chain, or other peers"
                            ));
                        }
                    }
                    None => return End::Failed("its own thread is gone; run it again".to_owned()),
                },
                _ = show.tick() => {
                    let progress = progress.borrow().clone();
                    if let Some(end) = self.tick(&progress, follow) {
                        return end;
                    }
                }
            }
        }
    }

    fn event(&mut self, event: SyncEvent, follow: bool) -> Option<End> {
        match event {
            SyncEvent::Dial(text) => {
                self.line.say(&text);
                self.host = Some(text);
            }
            SyncEvent::Host(text) => {
                // What fails is tried again, and says the same again.
                if self.said.is_none_or(|said| said.elapsed() >= REPEAT_EVERY) {
                    self.line.say(&text);
                    self.said = Some(Instant::now());
                }
                self.host = Some(text);
            }
            SyncEvent::Machine(Event::Reached(_)) if !follow => return Some(End::Reached),
            SyncEvent::Machine(Event::Strategy { strategy, .. }) => {
                let name = strategy.to_string();
                if self.strategies.last() != Some(&name) {
                    self.strategies.push(name);
                }
            }
            SyncEvent::Machine(Event::Banned { peer, fault }) => self.line.say(&format!("banned {peer}: {fault}")),
            SyncEvent::Machine(Event::Stalled { reason, .. }) => {
                self.line.say(&reason.to_string());
                self.stall = Some(reason);
            }
            SyncEvent::Machine(Event::Resumed) => {
                self.host = None;
                self.stall = None;
            }
            SyncEvent::Machine(Event::SuspectSelf { fault, groups }) => self.line.say(&format!(
                "{groups} independent peers give answers that look false ({fault}): check the genesis file, this \
                 program's version and this machine's memory"
            )),
            SyncEvent::Machine(Event::Halted(reason)) => {
                let cause = self.host.take().map_or_else(String::new, |cause| format!(" ({cause})"));
                return Some(End::Failed(format!("{reason}{cause}")));
            }
            _ => {}
        }
        None
    }

    fn tick(&mut self, progress: &Progress, follow: bool) -> Option<End> {
        self.line.show(&snapshot(progress));
        if progress.current > self.height {
            self.height = progress.current;
            self.moved = Instant::now();
        }
        if follow || self.patience.is_zero() || self.moved.elapsed() < self.patience {
            return None;
        }
        let why = match (self.host.take(), self.stall) {
            // What an address or a disk said is more use than that nobody answers.
            (Some(text), _) => text,
            (None, Some(reason)) => reason.to_string(),
            (None, None) => "no peer proved a higher block".to_owned(),
        };
        let waited = self.patience.as_secs();
        Some(End::Failed(format!("nothing moved for {waited} s: {why}; what is stored stays, so try again")))
    }

    /// The strategies that were used, in order.
    fn finish(self) -> Vec<String> {
        self.line.finish();
        self.strategies
    }
}

/// The chain that the connected peers serve, if it is another one.
async fn other_chain(network: &dyn Network, progress: &Progress, ours: Hash) -> Option<Hash> {
    let request = Request::Status;
    let most = usize::try_from(request.max_response_bytes()).unwrap_or(usize::MAX);
    let mut other = None;
    for peer in progress.peers.iter().filter(|peer| peer.connected) {
        let asked = network.request(peer.id, request.encode().into(), most);
        let Ok(Ok(answer)) = tokio::time::timeout(STATUS_PATIENCE, asked).await else { continue };
        let Ok(Answer::Data(data)) = Answer::decode(answer) else { continue };
        match postcard::from_bytes::<PeerStatus>(&data) {
            Ok(status) if status.chain_id == ours => return None,
            Ok(status) => other = Some(status.chain_id),
            Err(_) => {}
        }
    }
    other
}

fn snapshot(progress: &Progress) -> Snapshot {
    let blocks = progress.current.above(progress.start);
    let blocks_per_second = progress.blocks_per_second as f64;
    let bytes_per_block = ratio(progress.payload_bytes as f64, blocks as f64);
    Snapshot {
        height: progress.current.get(),
        target: progress.target.get(),
        blocks_per_second,
        bytes_per_second: blocks_per_second * bytes_per_block,
        remaining: progress.remaining,
        note: Some(format!("limited by {}", name_of(progress.bottleneck))),
    }
}

fn name_of(bottleneck: Bottleneck) -> &'static str {
    match bottleneck {
        Bottleneck::Network => "network",
        Bottleneck::Verify => "verify",
        Bottleneck::Apply => "apply",
        Bottleneck::Peers => "peers",
    }
}

fn report(progress: &Progress, usage: SyncUsage, took: Duration) -> SyncReport {
    let blocks = progress.current.above(progress.start);
    let seconds = took.as_secs_f64();
    SyncReport {
        ok: false,
        strategies: Vec::new(),
        start_height: progress.start.get(),
        target_height: progress.target.get(),
        head: Default::default(),
        blocks,
        seconds,
        blocks_per_second: ratio(blocks as f64, seconds),
        payload_bytes: progress.payload_bytes,
        useful_bytes: progress.useful_bytes,
        wire_bytes_received: usage.wire_bytes_received,
        duplicate_bytes: progress.duplicate_bytes,
        efficiency: ratio(progress.useful_bytes as f64, usage.wire_bytes_received as f64),
        quorum_checks: progress.quorum_checks,
        cpu_seconds: usage::cpu_seconds(),
        coordination_cpu_seconds: usage.coordination_cpu.as_secs_f64(),
        peak_rss_bytes: usage::peak_rss_bytes(),
        peak_buffered_bytes: progress.peak_buffered_bytes,
        budget_bytes: progress.budget_bytes,
        bottleneck: name_of(progress.bottleneck).to_owned(),
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
    }
}
