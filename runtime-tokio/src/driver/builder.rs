//! Putting a sync together.

use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant as Clock};

use hotstuff2_sync::calls::{Start, TrustingPeriod};
use hotstuff2_sync::chain::{Chain, Finalized};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::LightCheckpoint;
use hotstuff2_sync::limits::MAX_PAYLOAD_BYTES;
use hotstuff2_sync::machine::{Machine, NewMachineError};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::{Instant, UnixMillis};
use hotstuff2_sync::trace::{TraceError, TraceHeader};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::apply::{Appliers, Stores};
use super::cost::Cost;
use super::decided::Submitted;
use super::handle::{Events, SyncEvent, SyncHandle};
use super::machine_thread::MachineThread;
use super::pool::Pool;
use super::record::Recording;
use super::{Input, Inputs};
use crate::application::{Application, NoApplication};
use crate::discovery::{AddressBook, BootstrapPeer, Discovery, DiscoverySettings};
use crate::monitor::SyncPerformanceMonitor;
use crate::net::{Network, NetworkEvent};
use crate::store::{BlockStore, HistoryStore, PruningStore, StateStaging, StoreFailure};
use crate::wall_clock;

/// News of peers that are passed on together.
const MOST_NEWS: usize = 256;

/// Why a sync can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store can't say where it stands.
    #[error(transparent)]
    Store(#[from] StoreFailure),
    /// Store, application and settings don't fit together.
    #[error(transparent)]
    Machine(#[from] NewMachineError),
    /// States are to be fetched, and the chain's headers name none.
    #[error(
        "this chain's headers name no state of this library's tree, so that none can be fetched; use the strategy auto or parallel, and no staging"
    )]
    NoStateRoots,
    /// The operating system gives no thread.
    #[error("a thread can't be started: {0}; free memory or raise the limit on threads")]
    Thread(#[from] io::Error),
    /// The file for the trace can't be written.
    #[error("the trace can't be written to {}: {source}; name a new file, in a folder that can be written to", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The head of the trace is more than a trace can hold.
    #[error("the trace can't begin: {0}")]
    Trace(#[from] TraceError),
}

/// A sync to be started: chain, store and network, and what is optional.
pub struct SyncBuilder<C> {
    chain: Arc<C>,
    stores: Stores,
    network: Arc<dyn Network>,
    network_events: mpsc::Receiver<NetworkEvent>,
    application: Option<Box<dyn Application>>,
    config: SyncConfig,
    peers: Vec<BootstrapPeer>,
    discovery: Option<Discovery>,
    record: Option<PathBuf>,
    monitor: Option<SyncPerformanceMonitor>,
    trust: Option<(Duration, UnixMillis)>,
    checkpoint: Option<LightCheckpoint>,
    lacks_state: bool,
    seed: u64,
    verify_threads: usize,
}

impl<C: Chain> SyncBuilder<C> {
    /// A sync of `chain` into `store` over `network`, with default settings and no application.
    pub fn new(
        chain: Arc<C>,
        store: Arc<dyn BlockStore>,
        network: Arc<dyn Network>,
        network_events: mpsc::Receiver<NetworkEvent>,
    ) -> Self {
        Self {
            chain,
            stores: Stores { blocks: store, staging: None, history: None, pruning: None },
            network,
            network_events,
            application: None,
            config: SyncConfig::default(),
            peers: Vec::new(),
            discovery: None,
            record: None,
            monitor: None,
            trust: None,
            checkpoint: None,
            lacks_state: false,
            seed: 0,
            verify_threads: thread::available_parallelism().map_or(1, NonZero::get),
        }
    }

    /// Executes blocks with `application`.
    pub fn with_application(mut self, application: Box<dyn Application>) -> Self {
        self.application = Some(application);
        self
    }

    /// Lets the sync fetch a state instead of executing all blocks, and put it together here: the store that the
    /// application keeps its state in. Without it only blocks are fetched.
    pub fn with_staging(mut self, staging: Arc<dyn StateStaging>) -> Self {
        self.stores.staging = Some(staging);
        self
    }

    /// Adds the blocks below a fetched state to this store, once the tip is reached, as far as
    /// [`SyncConfig::history`] says.
    pub fn with_history(mut self, history: Arc<dyn HistoryStore>) -> Self {
        self.stores.history = Some(history);
        self
    }

    /// Takes old blocks away from this store while the sync runs, as far as the store's own settings say
    /// ([`DiskStore::configure`](crate::store::DiskStore::configure)) and the application has executed them durably.
    pub fn with_pruning(mut self, pruning: Arc<dyn PruningStore>) -> Self {
        self.stores.pruning = Some(pruning);
        self
    }

    /// Uses these settings.
    pub fn with_config(mut self, config: SyncConfig) -> Self {
        self.config = config;
        self
    }

    /// Dials these peers and keeps the connections.
    pub fn with_peers(mut self, peers: Vec<impl Into<BootstrapPeer>>) -> Self {
        self.peers = peers.into_iter().map(Into::into).collect();
        self
    }

    /// Finds peers with `discovery`, which has its own bootstrap peers and perhaps an address book with a file. Without
    /// it, peers are found all the same and forgotten at the end.
    pub fn with_discovery(mut self, discovery: Discovery) -> Self {
        self.discovery = Some(discovery);
        self
    }

    /// Writes a trace of the run to the file at `path`, to be replayed later: see [`hotstuff2_sync::trace`]. A
    /// file that is there is not replaced: the sync can't be started then.
    pub fn with_recording(mut self, path: impl Into<PathBuf>) -> Self {
        self.record = Some(path.into());
        self
    }

    /// Feeds `monitor` with durations, bytes and failures, unless
    /// [`SyncConfig::performance_monitoring`] is off.
    pub fn with_monitor(mut self, monitor: SyncPerformanceMonitor) -> Self {
        self.monitor = Some(monitor);
        self
    }

    /// Trusts what a validator set has signed for `period` only, a chain's trusting period: where the youngest proven block is
    /// older by this machine's clock, the sync can't be started, and ends while it runs. `anchor` is the time of the block that
    /// the store begins above. Without this any age will do.
    pub fn with_trusting_period(mut self, period: Duration, anchor: UnixMillis) -> Self {
        self.trust = Some((period, anchor));
        self
    }

    /// Says which checkpoint the store begins above ([`NativeStore`](crate::checkpoint::NativeStore)): a network with another block
    /// there is shown its proof, as evidence.
    pub fn with_checkpoint(mut self, checkpoint: LightCheckpoint) -> Self {
        self.checkpoint = Some(checkpoint);
        self
    }

    /// Fetches a state before any block is executed, whatever the strategy: for an application that keeps its state in a store which
    /// begins above a checkpoint. Needs [`with_staging`](Self::with_staging).
    pub fn fetching_state_first(mut self) -> Self {
        self.lacks_state = true;
        self
    }

    /// Feeds the machine's choices. Two syncs with the same seed and the same inputs do the same.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Runs verification jobs on so many threads; as many as there are cores by default.
    pub fn with_verify_threads(mut self, threads: usize) -> Self {
        self.verify_threads = threads;
        self
    }

    /// Starts everything. Must be called within a tokio runtime.
    pub fn start(self) -> Result<SyncHandle, StartError> {
        let handle = self.spawn()?;
        handle.start(None);
        Ok(handle)
    }

    pub(crate) fn chain(&self) -> &Arc<C> {
        &self.chain
    }

    pub(crate) fn store(&self) -> &Arc<dyn BlockStore> {
        &self.stores.blocks
    }

    pub(crate) fn network(&self) -> &Arc<dyn Network> {
        &self.network
    }

    pub(crate) fn config(&self) -> &SyncConfig {
        &self.config
    }

    pub(crate) fn stages_state(&self) -> bool {
        self.stores.staging.is_some()
    }

    /// Puts another source of news in the place of the network's own, which the caller passes on from here on.
    pub(crate) fn replace_events(&mut self, events: mpsc::Receiver<NetworkEvent>) -> mpsc::Receiver<NetworkEvent> {
        std::mem::replace(&mut self.network_events, events)
    }

    /// Starts all threads, and downloads nothing yet.
    pub(crate) fn spawn(self) -> Result<SyncHandle, StartError> {
        let wants_state = self.stores.staging.is_some() || self.config.default_strategy == SyncStrategyType::Fast;
        if wants_state && !self.chain.has_state_roots() {
            return Err(StartError::NoStateRoots);
        }
        let stored = self.stores.blocks.stored();
        let application = self.application.unwrap_or_else(|| Box::new(NoApplication::new(stored.height)));
        let (epoch, handovers) = self.stores.blocks.epochs()?;
        let (event_sender, events) = mpsc::unbounded_channel();
        let event_sender = Events(event_sender);
        let history_gap = self.stores.history.as_ref().map_or(Ok(None), |history| history.history_gap());
        let begins = |it: &LightCheckpoint| it.tip.height == stored.height && it.tip.id == stored.id;
        let begins = self.checkpoint.filter(begins);
        let stored_proof = self.stores.blocks.stored_proof()?;
        let stored_time = match &begins {
            Some(checkpoint) => checkpoint.tip.timestamp,
            None => time_of(&*self.chain, &*self.stores.blocks, stored.height, stored_proof.as_ref()),
        };
        let stored_proof = stored_proof.or(begins.map(|checkpoint| Finalized::Tip(checkpoint.proof)));
        let trust = self.trust.map(|(period, anchor_time)| TrustingPeriod {
            period_ms: u64::try_from(period.as_millis()).unwrap_or(u64::MAX),
            anchor_time,
            wall: wall_clock(),
        });
        let start = Start {
            chain_id: self.stores.blocks.chain_id(),
            profile: self.chain.profile(),
            stored,
            stored_time,
            stored_proof,
            applied: application.applied(),
            stages_state: self.stores.staging.is_some(),
            lacks_state: self.lacks_state,
            epoch,
            handovers,
            // A sync goes on without older blocks.
            history_gap: history_gap.unwrap_or_else(|failure| {
                event_sender.send(SyncEvent::Host(failure.to_string()));
                None
            }),
            trust,
        };
        let clock = Clock::now();
        let dialling = self.config.clone();
        let monitor = self.monitor.filter(|_| self.config.performance_monitoring);
        let publish_every = self.config.progress_report_interval;
        let header = self.record.as_ref().map(|_| TraceHeader::new(&self.config, &start, self.seed, Instant::ZERO));
        let machine = Machine::new(self.config, start, self.seed, Instant::ZERO)?;
        let (inputs, work) = Inputs::new();
        let recording = match (self.record, header) {
            (Some(path), Some(header)) => Some(Recording::start(path, &header, &event_sender)?),
            _ => None,
        };
        let (progress_sender, progress) = watch::channel(machine.progress());
        let (position_sender, position) = watch::channel(machine.position());
        let cost = Arc::new(Cost::default());
        let pool = Pool::start(&self.chain, self.verify_threads, &inputs, monitor.as_ref())?;
        let appliers =
            Appliers::start(&self.chain, self.stores, application, &inputs, &event_sender, monitor.as_ref())?;
        let seed = self.seed;
        let discovery =
            self.discovery.unwrap_or_else(|| Discovery::new(AddressBook::new(seed), DiscoverySettings::default()));
        let tell = event_sender.clone();
        let dialer =
            discovery.start(&self.network, &dialling, self.peers, move |text| tell.send(SyncEvent::Dial(text)));
        let known = discovery.clone();
        forward(self.network_events, inputs.clone(), discovery.clone(), Arc::clone(&cost));
        let thread = MachineThread {
            machine,
            recording,
            until: None,
            clock,
            says_time: trust.is_some(),
            runtime: Handle::current(),
            network: Arc::clone(&self.network),
            discovery,
            pool,
            appliers,
            inputs: inputs.clone(),
            events: event_sender,
            progress: progress_sender,
            position: position_sender,
            cost: Arc::clone(&cost),
            publish_every,
            monitor,
            requests: std::collections::HashMap::new(),
            submitted: Submitted::default(),
            applies: std::collections::HashMap::new(),
            link: None,
        };
        let thread = thread::Builder::new().name("hs2-machine".to_owned()).spawn(move || thread.run(&work))?;
        Ok(SyncHandle {
            inputs,
            progress,
            position,
            events,
            cost,
            network: self.network,
            thread: Some(thread),
            dialer,
            discovery: known,
            begin: clock,
            ended: None,
        })
    }
}

/// The time in the header of the stored block at `height`, or of the one that the store begins above, which `proof` proves. Zero
/// where neither is at hand.
fn time_of<C: Chain>(chain: &C, store: &dyn BlockStore, height: Height, proof: Option<&Finalized>) -> UnixMillis {
    let stored = || {
        // That it can't be read is said where it matters.
        let part = store.read(HeightRange::new(height, height)?, u64::from(MAX_PAYLOAD_BYTES)).ok()??;
        let decoded = part.segment.decoded(chain).ok()?;
        chain.header(decoded, height)
    };
    let proven = || chain.header(&chain.decode_segment(proof?.parts().0).ok()?, height);
    stored().or_else(proven).map_or(UnixMillis::default(), |header| header.timestamp)
}

/// Brings news of peers to the machine's thread until either end is gone.
fn forward(mut network: mpsc::Receiver<NetworkEvent>, inputs: Inputs, discovery: Discovery, cost: Arc<Cost>) {
    tokio::spawn(async move {
        let mut news = Vec::new();
        while network.recv_many(&mut news, MOST_NEWS).await > 0 {
            let is_heard = cost.count(|| {
                discovery.wake();
                news.drain(..).all(|event| {
                    let input = match event {
                        NetworkEvent::Connected { peer, address } => Input::Connected(peer, address),
                        NetworkEvent::Disconnected { peer, .. } => Input::Disconnected(peer),
                    };
                    inputs.send(input)
                })
            });
            if !is_heard {
                return;
            }
        }
    });
}
