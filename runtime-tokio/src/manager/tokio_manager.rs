//! [`TokioSyncManager`]: the trait over one running sync.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::native::Genesis;
use hotstuff2_sync::chain::{Block, Chain};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::Progress;
use hotstuff2_sync::participation::GateSettings;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::SnapshotId;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;

use super::any_chain::AnyChain;
use super::blocks::{Gathered, StoredBlocks};
use super::peers::SyncPeers;
use super::pump::{EVENTS_KEPT, Pump, SyncEvents};
use super::requester::BlockRequester;
use super::status::Seen;
use super::validator::{BlockCheckError, SyncBlockValidator};
use super::{SyncError, SyncManager, SyncManagerBuilder, SyncResult, SyncStatus};
use crate::consensus::{ConsensusControl, ConsensusCoordinator, ConsensusError};
use crate::discovery::BootstrapPeer;
use crate::driver::{StartCall, StartError, SyncBuilder, SyncEnd, SyncEvent, SyncHandle, SyncUsage};
use crate::state_validator::{StateManager, SyncStateValidator};
use crate::{DecidedBlocks, SyncProgress};

/// Most blocks that [`SyncManager::sync_blocks`] returns at once: headers of about 350 bytes each come with them.
pub const MAX_BLOCKS_PER_CALL: u64 = 8192;

/// Most payload bytes that [`SyncManager::sync_blocks`] returns at once: what a caller surely has room for.
pub const MAX_BYTES_PER_CALL: u64 = 64 << 20;

/// News of the network that wait for the driver, which takes them at once.
const NEWS: usize = 64;

/// One sync of any chain, shared by all clones of this handle. When the last clone is dropped, the sync stops by
/// itself, in the background; [`shutdown`](Self::shutdown) waits for that.
///
/// ```no_run
/// # async fn catch_up(genesis: hotstuff2_sync::chain::native::Genesis, peers: Vec<hotstuff2_sync_tokio::PeerAddress>)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use hotstuff2_sync_tokio::{SyncManager as _, SyncManagerBuilder};
///
/// let mut sync = SyncManagerBuilder::open(&genesis, "node")?.with_peers(peers).build()?;
/// sync.start_sync(None).await?;
/// println!("caught up at {:?}", sync.synced().await?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TokioSyncManager(Arc<Inner>);

struct Inner {
    running: Mutex<Running>,
    seen: watch::Receiver<Seen>,
    status: watch::Receiver<SyncStatus>,
    progress: watch::Receiver<Progress>,
    events: broadcast::WeakSender<SyncEvent>,
    end: watch::Sender<Option<SyncEnd>>,
    peers: Arc<SyncPeers>,
    requester: BlockRequester,
    states: Arc<dyn StateManager>,
    config: Arc<SyncConfig>,
    stages_state: bool,
    /// Passes news of the network on for as long as there is a manager.
    _news: JoinSet<()>,
}

struct Running {
    /// None once it was shut down.
    handle: Option<SyncHandle>,
    /// Calls so far; each has a number, so that its event is known.
    calls: u64,
}

impl<C: Chain> SyncBuilder<C> {
    /// Puts the sync into a manager's hands, stopped: for nodes that bring a network or a store of their own, where
    /// [`SyncManagerBuilder`] is not enough. `states` is what verifies states: the same store, as a rule. Must be called
    /// within a tokio runtime.
    pub fn manage(mut self, states: Arc<dyn StateManager>) -> Result<TokioSyncManager, StartError> {
        let chain: Arc<dyn AnyChain> = Arc::clone(self.chain()) as _;
        let blocks = StoredBlocks { store: Arc::clone(self.store()), chain };
        let network = Arc::clone(self.network());
        let config = Arc::new(self.config().clone());
        let stages_state = self.stages_state();
        let (to, from) = mpsc::channel(NEWS);
        let news = self.replace_events(from);
        let mut handle = self.spawn()?;

        let (event_sender, _) = broadcast::channel(EVENTS_KEPT);
        let events = event_sender.downgrade();
        let (seen_sender, seen) = watch::channel(Seen::new());
        let (status_sender, status) = watch::channel(SyncStatus::Stopped);
        let pump = Pump { events: event_sender, seen: seen_sender, status: status_sender };
        let progress = handle.progress();
        tokio::spawn(pump.run(handle.take_events(), progress.clone()));

        let peers = Arc::new(SyncPeers::new(Arc::clone(&network), handle.discovery().clone()));
        let mut watching = JoinSet::new();
        watching.spawn(Arc::clone(&peers).watch(news, to));
        let requester = BlockRequester { network, peers: Arc::clone(&peers), blocks, config: Arc::clone(&config) };
        Ok(TokioSyncManager(Arc::new(Inner {
            running: Mutex::new(Running { handle: Some(handle), calls: 0 }),
            seen,
            status,
            progress,
            events,
            end: watch::channel(None).0,
            peers,
            requester,
            states,
            config,
            stages_state,
            _news: watching,
        })))
    }
}

impl TokioSyncManager {
    /// A manager of the chain that begins with `genesis`, over the store in the folder `dir`. See [`SyncManagerBuilder`].
    ///
    /// # Errors
    /// Where the store can't be opened or made.
    pub fn builder(
        genesis: &Genesis,
        dir: impl AsRef<std::path::Path>,
    ) -> Result<SyncManagerBuilder, super::BuildError> {
        SyncManagerBuilder::open(genesis, dir)
    }

    /// Starts like [`SyncManager::start_sync`], with another strategy than the configured one until the next start.
    pub async fn start_with(&self, strategy: SyncStrategyType, target_height: Option<Height>) -> SyncResult<()> {
        if strategy == SyncStrategyType::Fast {
            self.require_state_roots()?;
            if !self.0.stages_state {
                return Err(SyncError::NoStaging);
            }
        }
        self.command(|handle, call| {
            handle.send_start(StartCall { call, until: target_height, strategy: Some(strategy) });
        })
        .await
    }

    /// Waits until the sync has caught up, or has reached its target, and says where it stands.
    pub async fn synced(&self) -> SyncResult<BlockPoint> {
        let mut seen = self.0.seen.clone();
        let status = match seen.wait_for(|seen| !seen.status.is_syncing()).await {
            Ok(seen) => seen.status.clone(),
            Err(_) => SyncStatus::ShutDown,
        };
        match status {
            SyncStatus::Following { at } | SyncStatus::Done { at } => Ok(at),
            status => Err(self.not_running(status)),
        }
    }

    /// The status, as it changes.
    pub fn watch_status(&self) -> watch::Receiver<SyncStatus> {
        self.0.status.clone()
    }

    /// Progress, as it changes.
    pub fn watch_progress(&self) -> watch::Receiver<Progress> {
        self.0.progress.clone()
    }

    /// Subscribes to events. There may be any number of subscribers; none holds up the sync or another.
    pub fn events(&self) -> SyncEvents {
        // A closed channel where the sync is shut down.
        let closed = || broadcast::channel(1).1;
        SyncEvents::new(self.0.events.upgrade().map_or_else(closed, |events| events.subscribe()))
    }

    /// Keeps a connection to whoever is at this address, and uses that peer. An address that is kept already is taken
    /// anew.
    pub fn add_peer_address(&self, peer: impl Into<BootstrapPeer>) {
        self.0.peers.add_address(peer.into());
    }

    /// Asks connected peers for others, tries what they name, and says who is connected then. Takes ten seconds at most.
    pub async fn discover_sync_peers(&self) -> Vec<PeerId> {
        self.0.peers.discovery().discover_sync_peers().await
    }

    /// Asks peers for single blocks.
    pub fn block_requester(&self) -> BlockRequester {
        self.0.requester.clone()
    }

    /// Checks whole blocks with the epochs that are proven here.
    pub fn block_validator(&self) -> SyncBlockValidator {
        SyncBlockValidator::new(self.0.requester.blocks.clone())
    }

    /// Checks states that are kept here.
    pub fn state_validator(&self) -> SyncStateValidator {
        SyncStateValidator::new(Arc::clone(&self.0.states))
    }

    /// Lets `control` take part in consensus by where this sync stands. Others ask it for its word if the manager was built
    /// with it ([`SyncManagerBuilder::with_consensus`]).
    ///
    /// # Errors
    /// Where the sync is shut down, or the system gives no random numbers.
    pub fn coordinate(
        &self,
        control: Arc<dyn ConsensusControl>,
        settings: GateSettings,
    ) -> Result<ConsensusCoordinator, ConsensusError> {
        let running = self.running();
        let handle = running.handle.as_ref().ok_or(ConsensusError::Ended)?;
        Arc::clone(&self.0.requester.blocks.chain).coordinate(handle, control, settings)
    }

    /// Usage of the sync so far; `None` once it is shut down.
    pub fn usage(&self) -> Option<SyncUsage> {
        self.running().handle.as_ref().map(SyncHandle::usage)
    }

    /// Stops, and waits until everything that was handed on is stored and everything executed is durable, and the network
    /// is closed. All clones of this handle are of no use from then on. Called twice, both wait. To be dropped at any
    /// moment: what it began goes on.
    pub async fn shutdown(&self) -> SyncEnd {
        let taken = self.running().handle.take();
        if let Some(handle) = taken {
            let end = self.0.end.clone();
            tokio::spawn(async move {
                end.send_replace(Some(handle.shutdown().await));
            });
        }
        let mut end = self.0.end.subscribe();
        // The sender is in `self`.
        let end = end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        // So that nobody sees another status after this.
        let mut seen = self.0.seen.clone();
        let _ = seen.wait_for(|seen| seen.status == SyncStatus::ShutDown).await;
        end.unwrap_or_else(|| SyncEnd {
            progress: self.0.progress.borrow().clone(),
            usage: SyncUsage::default(),
            events: Vec::new(),
        })
    }

    /// Syncs to `height` with `strategy`, and waits until that is applied and the sync stands still.
    pub(super) async fn run_to(&self, strategy: SyncStrategyType, height: Height) -> SyncResult<()> {
        self.start_with(strategy, Some(height)).await?;
        self.applied_to(height).await?;
        self.synced().await.map(drop)
    }

    /// Waits until blocks up to `height` are stored and executed.
    pub(super) async fn applied_to(&self, height: Height) -> SyncResult<Height> {
        let mut progress = self.0.progress.clone();
        let mut seen = self.0.seen.clone();
        loop {
            // The status first: it is never ahead of the progress that goes with it.
            let status = seen.borrow_and_update().status.clone();
            let at = progress.borrow_and_update().current;
            if at >= height {
                return Ok(at);
            }
            match status {
                SyncStatus::Syncing | SyncStatus::Stalled { .. } => {}
                SyncStatus::Following { .. } => return Err(SyncError::AboveTip { wanted: height, tip: at }),
                SyncStatus::Done { .. } => return Err(SyncError::Ended { at, wanted: height }),
                status => return Err(self.not_running(status)),
            }
            tokio::select! {
                _ = seen.changed() => {}
                moved = progress.changed() => if moved.is_err() {
                    let at = progress.borrow().current;
                    return if at >= height { Ok(at) } else { Err(SyncError::ShutDown) };
                },
            }
        }
    }

    /// Height that is stored and executed.
    pub(super) fn applied(&self) -> Height {
        self.0.progress.borrow().current
    }

    /// Lets the sync go on at least to `height`, and waits until that is applied.
    async fn sync_to(&self, height: Height) -> SyncResult<()> {
        if self.applied() >= height {
            return Ok(());
        }
        let goes_there = {
            let seen = self.0.seen.borrow();
            seen.status.is_syncing() && seen.until.is_none_or(|until| until >= height)
        };
        if !goes_there {
            self.start_with(self.0.config.default_strategy, Some(height)).await?;
        }
        self.applied_to(height).await.map(drop)
    }

    /// Sends a command, and waits until it is carried out.
    async fn command(&self, send: impl FnOnce(&SyncHandle, u64)) -> SyncResult<()> {
        let call = {
            let mut running = self.running();
            if let SyncStatus::Halted(reason) = &self.0.seen.borrow().status {
                return Err(SyncError::Halted(reason.clone()));
            }
            running.calls += 1;
            // Numbers go out in their order, as long as the lock is held.
            send(running.handle.as_ref().ok_or(SyncError::ShutDown)?, running.calls);
            running.calls
        };
        let mut seen = self.0.seen.clone();
        let done = |seen: &Seen| seen.call >= call || seen.status == SyncStatus::ShutDown;
        match seen.wait_for(done).await {
            Ok(seen) => match &seen.status {
                SyncStatus::Halted(reason) => Err(SyncError::Halted(reason.clone())),
                SyncStatus::ShutDown => Err(SyncError::ShutDown),
                _ => Ok(()),
            },
            Err(_) => Err(SyncError::ShutDown),
        }
    }

    /// Fails where the chain's headers name no states.
    fn require_state_roots(&self) -> SyncResult<()> {
        if self.0.requester.blocks.chain.names_states() { Ok(()) } else { Err(SyncError::NoStateRoots) }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // Nothing panics while it holds the lock.
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_running(&self, status: SyncStatus) -> SyncError {
        match status {
            SyncStatus::Halted(reason) => SyncError::Halted(reason),
            SyncStatus::ShutDown => SyncError::ShutDown,
            _ => SyncError::Stopped { at: self.applied() },
        }
    }
}

#[async_trait]
impl SyncManager for TokioSyncManager {
    async fn start_sync(&mut self, target_height: Option<Height>) -> SyncResult<()> {
        self.start_with(self.0.config.default_strategy, target_height).await
    }

    async fn stop_sync(&mut self) -> SyncResult<()> {
        match self.command(SyncHandle::send_stop).await {
            // It does nothing any more, which is what was wanted.
            Ok(()) | Err(SyncError::Halted(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn get_sync_status(&self) -> SyncResult<SyncStatus> {
        Ok(self.0.seen.borrow().status.clone())
    }

    async fn sync_blocks(&mut self, from_height: Height, to_height: Height) -> SyncResult<Vec<Block>> {
        let none = SyncError::NoRange { from: from_height, to: to_height };
        let range =
            HeightRange::new(from_height, to_height).filter(|range| range.first() > Height::ZERO).ok_or(none)?;
        let asked = to_height.above(from_height).saturating_add(1);
        if asked > MAX_BLOCKS_PER_CALL {
            return Err(SyncError::TooManyBlocks { asked });
        }
        self.sync_to(to_height).await?;
        let blocks = self.0.requester.blocks.clone();
        if let Some(blocks) = blocking(move || blocks.read_all(range, MAX_BYTES_PER_CALL)).await? {
            return Ok(blocks);
        }
        // Some lie below what is stored: one by one.
        let mut found = Gathered::new(from_height, MAX_BYTES_PER_CALL);
        for height in (from_height.get()..=to_height.get()).map(Height::new) {
            let block = self.sync_single_block(height).await?.ok_or(SyncError::NotGiven { height, asked: 0 })?;
            found.push(block)?;
        }
        Ok(found.into_blocks())
    }

    async fn sync_single_block(&mut self, height: Height) -> SyncResult<Option<Block>> {
        if height == Height::ZERO {
            return Err(SyncError::NoRange { from: height, to: height });
        }
        let blocks = self.0.requester.blocks.clone();
        if let Some(block) = blocking(move || blocks.block(height)).await? {
            return Ok(Some(block));
        }
        let known = {
            let progress = self.0.progress.borrow();
            progress.target.max(progress.claimed.unwrap_or(Height::ZERO))
        };
        match self.0.requester.request_block(height).await {
            Ok(block) => Ok(Some(block)),
            // Nobody says that there is one; where nobody was asked, that says nothing.
            Err(SyncError::NotGiven { asked: 1.., .. } | SyncError::UnknownEpoch(_)) if height > known => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn submit(&self, blocks: DecidedBlocks) -> SyncResult<Height> {
        let submitted = self.running().handle.as_ref().ok_or(SyncError::ShutDown)?.submit(blocks);
        Ok(submitted.await?)
    }

    async fn verify_block_chain(&self, blocks: &[Block]) -> SyncResult<bool> {
        match self.block_validator().validate_stored_chain(blocks).await {
            Ok(()) => Ok(true),
            Err(BlockCheckError::UnknownEpoch(height)) => Err(SyncError::UnknownEpoch(height)),
            Err(BlockCheckError::Store(failure)) => Err(failure.into()),
            Err(_) => Ok(false),
        }
    }

    async fn sync_state_to_height(&mut self, height: Height) -> SyncResult<()> {
        if self.applied() >= height {
            return Ok(());
        }
        let goes_on = {
            let seen = self.0.seen.borrow();
            seen.status.is_syncing() && seen.until.is_none()
        };
        if !goes_on {
            // Without an end: where it would have one, no state is fetched.
            self.start_sync(None).await?;
        }
        self.applied_to(height).await.map(drop)
    }

    async fn download_state_snapshot(&mut self, snapshot_id: &SnapshotId) -> SyncResult<()> {
        let height = snapshot_id.height;
        self.require_state_roots()?;
        self.sync_state_to_height(height).await?;
        let checked = self.state_validator().validate_snapshot_integrity(snapshot_id).await;
        checked.map_err(|source| SyncError::State { height, source })
    }

    async fn verify_state_consistency(&self, height: Height) -> SyncResult<bool> {
        self.require_state_roots()?;
        let consistent = self.state_validator().is_consistent(height).await;
        consistent.map_err(|source| SyncError::State { height, source })
    }

    async fn add_sync_peer(&mut self, peer: PeerId) -> SyncResult<()> {
        self.0.peers.add(peer)
    }

    async fn remove_sync_peer(&mut self, peer: &PeerId) -> SyncResult<()> {
        self.0.peers.remove(*peer);
        Ok(())
    }

    async fn get_sync_peers(&self) -> SyncResult<Vec<PeerId>> {
        Ok(self.0.peers.connected())
    }

    async fn get_sync_progress(&self) -> SyncResult<SyncProgress> {
        Ok(SyncProgress::from(&*self.0.progress.borrow()))
    }

    async fn estimate_sync_completion(&self) -> SyncResult<Duration> {
        let status = self.0.seen.borrow().status.clone();
        match status {
            SyncStatus::Following { .. } | SyncStatus::Done { .. } => Ok(Duration::ZERO),
            SyncStatus::Syncing | SyncStatus::Stalled { .. } => {
                let progress = self.0.progress.borrow();
                progress.eta.map(|eta| eta.likely).ok_or(SyncError::NoEstimate)
            }
            status => Err(self.not_running(status)),
        }
    }
}

impl std::fmt::Debug for TokioSyncManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seen = self.0.seen.borrow();
        f.debug_struct("TokioSyncManager").field("status", &seen.status).finish_non_exhaustive()
    }
}

/// Runs what may wait for the disk, or takes long, on a thread for that.
pub(super) async fn blocking<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and drops this future too.
            Err(_) => std::future::pending().await,
        },
    }
}
