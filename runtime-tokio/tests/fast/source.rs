//! A chain whose state is made by its first stretch of blocks and changed by each of the others, served from stores as
//! far as they were told about it; and a node that fetches it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, Holding, SnapshotBase};
use hotstuff2_sync::chain::native::{Genesis, NativeChain};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::serve::{Cost, ServeLimits};
use hotstuff2_sync::state::{MemoryStateStore, StateAnswer, StateItem, StateLeaves, Tree, decode_state};
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::{Answer, Request, split_payloads};
use hotstuff2_sync_testkit::chain::{ChainGenerator, ChainSpec, Entries, EntryPayloads, Piece};
use hotstuff2_sync_testkit::ledger::Ledger;
use hotstuff2_sync_tokio::net::{BoxFuture, Handler, Identity, Network, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{
    Activation, BlockStore as _, DiskStore, StateStaging, StateStore as _, StateWrite, StoreAnchor, StoreFailure,
    state_rows,
};
use hotstuff2_sync_tokio::{AppBlock, Application, ExecuteError, PeerAddress, StoreHandler, SyncBuilder, SyncHandle};

#[path = "../../src/telltale.rs"]
mod telltale;

use telltale::assert_forwards;

pub(crate) type Store = DiskStore<NativeChain>;

/// A chain, and the stores that it was told to so far.
pub(crate) struct Source {
    generator: ChainGenerator,
    ledger: Ledger<MemoryStateStore>,
    pub(crate) stores: Vec<Arc<Store>>,
    pub(crate) height: Height,
    pub(crate) root: Hash,
}

impl Source {
    /// `stretches` stretches of as many blocks as make the state. Nothing is told yet.
    pub(crate) fn new(dir: &Path, servers: usize, stretches: u64, entries: Entries) -> Self {
        let blocks = entries.filling_blocks();
        let spec = ChainSpec {
            blocks: blocks * stretches,
            epochs: stretches,
            ends_epoch: true,
            snapshot_interval: blocks,
            last_timestamp: UnixMillis::new(u64::MAX / 2),
            ..ChainSpec::default()
        };
        let payloads = EntryPayloads::new(spec.seed, entries, 0).unwrap();
        let generator = ChainGenerator::new(spec, Box::new(payloads)).unwrap();
        let genesis = generator.genesis();
        let stores = (0..servers).map(|number| Arc::new(create(&dir.join(format!("server-{number}")), genesis)));
        let ledger = Ledger::genesis(MemoryStateStore::default(), 0).unwrap();
        let (height, root) = (Height::ZERO, genesis.header().state_root);
        let stores = stores.collect();
        Self { generator, ledger, stores, height, root }
    }

    pub(crate) fn genesis(&self) -> Genesis {
        self.generator.genesis().clone()
    }

    /// Tells the stores the next stretch, at the end of which they have a snapshot.
    pub(crate) fn advance(&mut self) {
        loop {
            match self.generator.next_piece().unwrap().expect("stretches are left") {
                Piece::Blocks(blocks) => {
                    for frame in &blocks.part.frames {
                        let lens = blocks.part.segment.payload_lens_of(frame.range).unwrap();
                        for payload in split_payloads(&frame.raw, lens) {
                            self.root = self.ledger.execute(payload).unwrap();
                        }
                    }
                    self.height = blocks.part.segment.range().last();
                    assert_eq!(blocks.headers.last().unwrap().state_root, self.root);
                    let apply = Apply { target: Height::ZERO, parts: vec![blocks.part], tip: None };
                    self.stores.iter().for_each(|store| assert!(store.append(&apply).is_ok()));
                }
                Piece::Handover(link) => {
                    let writes = self.ledger.take_writes();
                    self.ledger.store_mut().write(writes.clone());
                    let writes: Vec<StateWrite> = state_rows(writes).collect();
                    for store in &self.stores {
                        store.put_handovers(std::slice::from_ref(&link)).unwrap();
                        store.commit(self.height, &mut writes.iter().cloned()).unwrap();
                    }
                    return;
                }
                Piece::Tip(_) => {}
            }
        }
    }
}

pub(crate) fn create(dir: &Path, genesis: &Genesis) -> Store {
    DiskStore::create(dir, Arc::new(NativeChain::new(genesis)), &StoreAnchor::from(genesis)).unwrap()
}

pub(crate) fn open(dir: &Path, genesis: &Genesis) -> Store {
    DiskStore::open(dir, Arc::new(NativeChain::new(genesis)), Some(genesis.chain_id())).unwrap()
}

/// The root of the live state.
pub(crate) fn live_root(store: &Store) -> Hash {
    Tree::load(&store.live_state().unwrap()).unwrap().root()
}

/// A server that sends so many bytes a second, and counts what it gives.
pub(crate) struct Counting {
    inner: Arc<dyn Handler>,
    bytes_per_second: u64,
    given: Arc<Mutex<Vec<(PeerId, StateItem)>>>,
}

impl Handler for Counting {
    fn ready(&self, peer: PeerId, request: &Bytes) -> BoxFuture<'_, ()> {
        self.inner.ready(peer, request)
    }

    fn cost(&self, request: &Bytes) -> Cost {
        self.inner.cost(request)
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        self.inner.busy(retry_after_ms)
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        let answer = self.inner.handle(peer, request.clone());
        if let Ok(Request::State { form, items, .. }) = Request::decode(&request)
            && let Ok(Answer::Data(data)) = Answer::decode(answer.clone())
        {
            let answers = decode_state(form, &items, &data).unwrap();
            let leaves = answers.iter().filter(|answer| matches!(answer, StateAnswer::Leaves(_)));
            self.given.lock().unwrap().extend(leaves.map(|answer| (peer, answer.item())));
            let micros = answer.len() as u64 * 1_000_000 / self.bytes_per_second;
            std::thread::sleep(Duration::from_micros(micros));
        }
        answer
    }
}

#[tokio::test]
async fn wrappers_forward_everything() {
    assert_forwards(|inner| Counting { inner, bytes_per_second: u64::MAX, given: Arc::default() }).await;
}

/// Serves `stores`, one answer after the other from each.
pub(crate) struct Servers {
    pub(crate) addresses: Vec<String>,
    /// Subtrees that were given with all of their keys, by whichever server, and to whom.
    pub(crate) given: Arc<Mutex<Vec<(PeerId, StateItem)>>>,
    _networks: Vec<QuicNetwork>,
}

impl Servers {
    pub(crate) fn start(stores: &[Arc<Store>], bytes_per_second: u64) -> Self {
        let given = Arc::new(Mutex::new(Vec::new()));
        let serve = ServeLimits { max_running: 1, ..ServeLimits::default() };
        let limits = QuicLimits { serve, ..QuicLimits::default() };
        let networks: Vec<QuicNetwork> = stores
            .iter()
            .map(|store| {
                let inner = Arc::new(StoreHandler::new(Arc::clone(store)));
                let handler = Counting { inner, bytes_per_second, given: Arc::clone(&given) };
                let identity = Identity::generate().unwrap();
                let any = "127.0.0.1:0".parse().unwrap();
                let (network, mut events) = QuicNetwork::bind(any, identity, limits, Some(Arc::new(handler))).unwrap();
                tokio::spawn(async move { while events.recv().await.is_some() {} });
                network
            })
            .collect();
        let address = |network: &QuicNetwork| network.local_addr().unwrap().to_string();
        Self { addresses: networks.iter().map(address).collect(), given, _networks: networks }
    }
}

/// Starts a node that fetches the state into `store`, staging it with `staging`.
pub(crate) fn node(
    genesis: &Genesis,
    store: &Arc<Store>,
    staging: Arc<dyn StateStaging>,
    addresses: &[String],
) -> SyncHandle {
    let any = "127.0.0.1:0".parse().unwrap();
    let (network, events) = QuicNetwork::bind(any, Identity::generate().unwrap(), QuicLimits::default(), None).unwrap();
    let network: Arc<dyn Network> = Arc::new(network);
    let config = SyncConfig {
        default_strategy: SyncStrategyType::Fast,
        // However short the chain is.
        strategy_switch_threshold: 1,
        status_interval: Duration::from_millis(100),
        memory_budget: 8 << 20,
        ..SyncConfig::default()
    };
    let peers = addresses.iter().map(|address| PeerAddress { address: address.parse().unwrap(), id: None });
    SyncBuilder::new(Arc::new(NativeChain::new(genesis)), Arc::clone(store) as _, network, events)
        .with_config(config)
        .with_peers(peers.collect())
        .with_application(Box::new(Blind(store.stored().height)))
        .with_staging(staging)
        .start()
        .unwrap()
}

/// An application that believes what it is given: the tests look at the state itself.
struct Blind(Height);

impl Application for Blind {
    fn applied(&self) -> Height {
        self.0
    }

    fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.0 = blocks.last().map_or(self.0, |block| block.height);
        Ok(())
    }

    fn adopt(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.execute(blocks)
    }

    fn uncommitted(&self) -> usize {
        0
    }

    fn commit(&mut self) -> Result<(), ExecuteError> {
        self.persist()
    }

    fn persist(&mut self) -> Result<(), ExecuteError> {
        Ok(())
    }

    fn restore(&mut self, height: Height) -> Result<(), ExecuteError> {
        self.0 = height;
        Ok(())
    }
}

/// A store that says what it has acknowledged.
pub(crate) struct Telling<F> {
    pub(crate) store: Arc<Store>,
    pub(crate) acknowledged: F,
}

impl<F: Fn(&[StateLeaves]) + Send + Sync + 'static> StateStaging for Telling<F> {
    fn survey(&self, items: &[StateItem]) -> Result<Vec<Holding>, StoreFailure> {
        self.store.survey(items)
    }

    fn stage(&self, subtrees: &[StateLeaves]) -> Result<(), StoreFailure> {
        self.store.stage(subtrees)?;
        (self.acknowledged)(subtrees);
        Ok(())
    }

    fn activate(&self, base: &SnapshotBase) -> Result<Activation, StoreFailure> {
        self.store.activate(base)
    }
}
