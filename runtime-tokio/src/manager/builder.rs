//! [`SyncManagerBuilder`]: a manager from a genesis document and a folder, with a default for everything else.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::chain::native::{Genesis, NativeChain};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::LightCheckpoint;
use hotstuff2_sync::time::UnixMillis;

use super::TokioSyncManager;
use crate::application::Application;
use crate::checkpoint::{CheckpointError, NativeStore, lacks_state};
use crate::consensus::{ConsensusControl, ConsensusHandler};
use crate::discovery::{AddressBook, BOOK_FILE, BookError, BootstrapPeer, Discovery, DiscoverySettings};
use crate::driver::{StartError, SyncBuilder};
use crate::net::{BindError, Handler, Identity, IdentityError, Network, QuicLimits, QuicNetwork};
use crate::serve::StoreHandler;
use crate::store::{DiskStore, OpenError, StoreAnchor, StoreConfig, StoreFound};

/// Name of the file with a node's key, in its folder.
const IDENTITY_FILE: &str = "identity.key";

/// Why a manager can't be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store can't be opened or made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The checkpoint is not one to begin from, or not one of this store's chain.
    #[error(transparent)]
    Checkpoint(CheckpointError),
    /// The application has its state elsewhere, and stands below the block that the store begins above.
    #[error(
        "the application stands at block {applied}, and the store begins above block {begins}; bring its state there first, or keep it in the store (`with_stored_application`)"
    )]
    ApplicationBehind {
        /// The application's height.
        applied: Height,
        /// The block that the store begins above.
        begins: Height,
    },
    /// The node's key can't be read or made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The address can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The address book can't be had.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The sync can't be started.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl From<CheckpointError> for BuildError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Open(error) => Self::Open(error),
            error => Self::Checkpoint(error),
        }
    }
}

/// Puts a manager together: a durable store and a key in one folder, QUIC, and a server for what was verified, so that a
/// node gives while it takes. For a network or a store of another kind there is
/// [`SyncBuilder::manage`](crate::SyncBuilder::manage).
pub struct SyncManagerBuilder<C: Chain = NativeChain> {
    store: Arc<DiskStore<C>>,
    dir: PathBuf,
    config: SyncConfig,
    peers: Vec<BootstrapPeer>,
    listen: SocketAddr,
    limits: QuicLimits,
    application: Option<Box<dyn Application>>,
    stages_state: bool,
    consensus: Option<Arc<dyn ConsensusControl>>,
    /// The chain's trusting period, and the time of the block that the store begins above.
    trust: Option<(Duration, UnixMillis)>,
    /// The checkpoint that the store begins above.
    checkpoint: Option<LightCheckpoint>,
}

impl SyncManagerBuilder {
    /// Opens the store of a native chain in the folder `dir`, or makes it where there is none: above the checkpoint that
    /// [`open_from`](Self::open_from) left there, or above the genesis block. Waits for the disk. The chain's trusting period is
    /// kept: see [`with_trusting_period`](Self::with_trusting_period).
    ///
    /// # Errors
    /// Where that can't be done, or the store is of another chain.
    pub fn open(genesis: &Genesis, dir: impl AsRef<Path>) -> Result<Self, BuildError> {
        Self::native(genesis, None, dir.as_ref())
    }

    /// The same from a checkpoint, whose source is trusted as that of the genesis document is: a store that is made begins above it,
    /// so nothing is taken from validators that left before; one that is there must hold its block. An application that keeps its
    /// state in the store gets the state of a later block first, by whatever strategy.
    ///
    /// # Errors
    /// Where that can't be done, or store and checkpoint are of different chains.
    pub fn open_from(
        genesis: &Genesis,
        checkpoint: &LightCheckpoint,
        dir: impl AsRef<Path>,
    ) -> Result<Self, BuildError> {
        Self::native(genesis, Some(checkpoint), dir.as_ref())
    }

    fn native(genesis: &Genesis, named: Option<&LightCheckpoint>, dir: &Path) -> Result<Self, BuildError> {
        let NativeStore { store, found, checkpoint, trust } = NativeStore::open(genesis, dir, named)?;
        warn_of(found, dir);
        Ok(Self { checkpoint, trust, ..Self::over(Arc::new(store), dir) })
    }
}

impl<C: Chain> SyncManagerBuilder<C> {
    /// Opens the store of `chain` in the folder `dir`, or makes it from `anchor` where there is none. Waits for the disk.
    ///
    /// # Errors
    /// Where that can't be done, or the store is of another chain.
    pub fn open_chain(chain: Arc<C>, anchor: &StoreAnchor, dir: impl AsRef<Path>) -> Result<Self, BuildError> {
        let dir = dir.as_ref();
        let (store, found) = DiskStore::open_or_create(dir, chain, anchor)?;
        warn_of(found, dir);
        Ok(Self::over(Arc::new(store), dir))
    }

    /// The same over a store that is open already; the node's key is in the folder `dir`.
    pub fn over(store: Arc<DiskStore<C>>, dir: impl Into<PathBuf>) -> Self {
        Self {
            store,
            dir: dir.into(),
            config: SyncConfig::default(),
            peers: Vec::new(),
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            limits: QuicLimits::default(),
            application: None,
            stages_state: false,
            consensus: None,
            trust: None,
            checkpoint: None,
        }
    }

    /// Trusts what a validator set has signed for `period` only. Where the youngest proven block is older by this machine's clock,
    /// [`build`](Self::build) refuses, and a sync that runs halts
    /// ([`TrustExpired`](hotstuff2_sync::machine::HaltReason::TrustExpired)). `anchor` is the time of the block that the store begins
    /// above. [`open`](SyncManagerBuilder::open) says it for a native chain that has such a period.
    #[must_use]
    pub fn with_trusting_period(mut self, period: Duration, anchor: UnixMillis) -> Self {
        self.trust = Some((period, anchor));
        self
    }

    /// Takes blocks and proofs of any age, though validators that left long ago could have signed them for another history.
    #[must_use]
    pub fn accept_long_range(mut self) -> Self {
        self.trust = None;
        self
    }

    /// The store: for an application that keeps its state in it, and for whoever reads blocks.
    pub fn store(&self) -> &Arc<DiskStore<C>> {
        &self.store
    }

    /// Dials these peers and keeps the connections. Those that they lead to are remembered in the folder.
    #[must_use]
    pub fn with_peers(mut self, peers: impl IntoIterator<Item = impl Into<BootstrapPeer>>) -> Self {
        self.peers.extend(peers.into_iter().map(Into::into));
        self
    }

    /// Uses these settings.
    #[must_use]
    pub fn with_config(mut self, config: SyncConfig) -> Self {
        self.config = config;
        self
    }

    /// Has the store keep so much of blocks, and leave so much of its disk: [`StoreConfig`]. By default every block is kept.
    #[must_use]
    pub fn with_store_config(self, config: StoreConfig) -> Self {
        self.store.configure(config);
        self
    }

    /// Answers peers at this address, while catching up too. By default `[::]:0`, any free port on all interfaces, by IPv4
    /// and IPv6 as far as the machine has them. Peers of a family that the address leaves out can't be dialled.
    #[must_use]
    pub fn with_listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Uses these limits of the network.
    #[must_use]
    pub fn with_limits(mut self, limits: QuicLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Executes blocks with `application`, whose state is its own: all blocks are fetched.
    #[must_use]
    pub fn with_application(mut self, application: Box<dyn Application>) -> Self {
        self.application = Some(application);
        self
    }

    /// Executes blocks with `application`, whose state is in [`store`](Self::store): a state may be fetched instead of
    /// executing all blocks. For chains whose headers name states of our tree
    /// ([`Chain::has_state_roots`]); [`build`](Self::build) refuses others.
    #[must_use]
    pub fn with_stored_application(mut self, application: Box<dyn Application>) -> Self {
        self.application = Some(application);
        self.stages_state = true;
        self
    }

    /// Gives this validator's word to those who ask for it; [`TokioSyncManager::coordinate`] does the rest.
    #[must_use]
    pub fn with_consensus(mut self, control: Arc<dyn ConsensusControl>) -> Self {
        self.consensus = Some(control);
        self
    }

    /// Opens the network and puts everything together, stopped. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Where the key, the address or a setting can't be used.
    pub fn build(self) -> Result<TokioSyncManager, BuildError> {
        let begins = self.store.anchor().height;
        let applied = self.application.as_ref().map(|application| application.applied());
        if let Some(applied) = applied.filter(|&applied| applied < begins) {
            return Err(BuildError::ApplicationBehind { applied, begins });
        }
        let lacks_state =
            self.stages_state && lacks_state(&self.store, self.checkpoint.as_ref()).map_err(OpenError::from)?;
        let identity = Identity::load_or_generate(self.dir.join(IDENTITY_FILE))?;
        // What the machine picks among equals need not be the same on two nodes, and must not be for peers to guess.
        let seed = identity.seed();
        let file = self.dir.join(BOOK_FILE);
        let (book, found) = AddressBook::open(&file, seed)?;
        tracing::info!(file = %file.display(), ?found, "address book");
        let settings = DiscoverySettings { bootstrap: self.peers, file: Some(file), ..DiscoverySettings::default() };
        let discovery = Discovery::new(book, settings);
        let handler: Arc<dyn Handler> = Arc::new(StoreHandler::new(Arc::clone(&self.store)));
        let handler = match self.consensus {
            Some(control) => Arc::new(ConsensusHandler::new(handler, control)),
            None => handler,
        };
        let handler = Arc::new(discovery.handler(handler));
        let (network, events) = QuicNetwork::bind(self.listen, identity, self.limits, Some(handler))?;
        let network: Arc<dyn Network> = Arc::new(network);
        let mut builder =
            SyncBuilder::new(Arc::clone(self.store.chain()), Arc::clone(&self.store) as _, network, events)
                .with_config(self.config)
                .with_history(Arc::clone(&self.store) as _)
                .with_pruning(Arc::clone(&self.store) as _)
                .with_discovery(discovery)
                .with_seed(seed);
        if let Some(checkpoint) = self.checkpoint {
            builder = builder.with_checkpoint(checkpoint);
        }
        if lacks_state {
            builder = builder.fetching_state_first();
        }
        if let Some((period, anchor)) = self.trust {
            builder = builder.with_trusting_period(period, anchor);
        }
        if let Some(application) = self.application {
            builder = builder.with_application(application);
        }
        if self.stages_state {
            builder = builder.with_staging(Arc::clone(&self.store) as _);
        }
        Ok(builder.manage(self.store)?)
    }
}

/// Says where a store had lost something.
fn warn_of(found: StoreFound, dir: &Path) {
    if found == StoreFound::WithoutGenesis {
        tracing::warn!(dir = %dir.display(), "the store had lost its genesis document; it was written again");
    }
}

impl<C: Chain> std::fmt::Debug for SyncManagerBuilder<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncManagerBuilder").field("dir", &self.dir).finish_non_exhaustive()
    }
}
