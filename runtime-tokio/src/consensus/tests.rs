//! The hand-over over real QUIC: a validator comes back to a network that stands still, with its record of votes and without.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::native::{Advert, AdvertClaim, ValidatorKey};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, View};
use hotstuff2_sync::participation::{GateSettings, PauseReason, Permit, VoteRecord, WaitReason};
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync_testkit::chain::TestChain;
use tokio::sync::mpsc::Receiver;

use super::{ConsensusControl, ConsensusCoordinator, ConsensusError, ConsensusHandler, ConsensusMode};
use crate::net::{BoxFuture, Identity, Network as _, NetworkEvent, QuicLimits, QuicNetwork};
use crate::test_world::{Store, World};
use crate::{PeerAddress, StoreHandler, SyncBuilder, SyncHandle};

const SOON: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq)]
enum Order {
    Pause(PauseReason),
    SyncMode,
    NormalMode,
    Start(Box<Permit>),
    ConsensusMode,
}

/// An engine that votes for nothing and remembers what it was told.
struct Engine {
    chain: TestChain,
    validator: usize,
    view: View,
    head: Height,
    record: VoteRecord,
    /// How often the record was read.
    reads: AtomicUsize,
    orders: Mutex<Vec<Order>>,
}

impl Engine {
    fn new(world: &World, validator: usize, view: u64, record: VoteRecord) -> Arc<Self> {
        let chain = world.chain.clone();
        let head = chain.tip_height();
        let (reads, orders) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { chain, validator, view: View::new(view), head, record, reads, orders })
    }

    fn note(&self, order: Order) -> BoxFuture<'_, ()> {
        self.orders.lock().unwrap().push(order);
        Box::pin(std::future::ready(()))
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    fn take(&self) -> Vec<Order> {
        std::mem::take(&mut self.orders.lock().unwrap())
    }
}

impl ConsensusControl for Engine {
    fn validator(&self, epoch: Epoch) -> Option<(Hash, u64)> {
        let epoch = self.chain.epochs().iter().find(|signing| signing.info().epoch() == epoch)?;
        let validator = epoch.info().validators().validators()[self.validator];
        Some((Hash::from_bytes(*validator.key.as_bytes()), validator.power))
    }

    fn vote_record(&self) -> VoteRecord {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.record
    }

    fn advert(&self, challenge: Hash) -> Option<Bytes> {
        // The newest epoch decides over what comes next.
        let key = &self.chain.epochs().last()?.keys()[self.validator];
        assert!(self.chain.epochs().last()?.info().validators().index_of(&ValidatorKey::from(key)).is_some());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let claim = AdvertClaim {
            height: self.head,
            block: self.chain.id(self.head)?,
            view: self.view,
            timestamp: UnixMillis::new(now.as_millis() as u64),
            challenge,
        };
        Some(Advert::sign(key, self.chain.genesis().chain_id(), claim).encode().into())
    }

    fn pause_consensus_participation(&self, reason: PauseReason) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // As where a vote is being written.
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.note(Order::Pause(reason)).await;
        })
    }

    fn start_consensus_participation(&self, permit: Permit) -> BoxFuture<'_, ()> {
        self.note(Order::Start(Box::new(permit)))
    }

    fn transition_to_sync_mode(&self) -> BoxFuture<'_, ()> {
        self.note(Order::SyncMode)
    }

    fn transition_to_normal_mode(&self) -> BoxFuture<'_, ()> {
        self.note(Order::NormalMode)
    }

    fn transition_to_consensus_mode(&self) -> BoxFuture<'_, ()> {
        self.note(Order::ConsensusMode)
    }
}

fn bind(store: &Arc<Store>, engine: &Arc<Engine>) -> (Arc<QuicNetwork>, Receiver<NetworkEvent>) {
    let control: Arc<dyn ConsensusControl> = Arc::clone(engine) as _;
    let handler = Arc::new(ConsensusHandler::new(Arc::new(StoreHandler::new(Arc::clone(store))), control));
    let address = "127.0.0.1:0".parse().unwrap();
    let identity = Identity::generate().unwrap();
    let (network, events) = QuicNetwork::bind(address, identity, QuicLimits::default(), Some(handler)).unwrap();
    (Arc::new(network), events)
}

/// Validators of a network that stands still, whose tip is years old: one that synchronizes, and all others.
struct Net {
    others: Vec<(Arc<QuicNetwork>, Receiver<NetworkEvent>)>,
    sync: SyncHandle,
    engine: Arc<Engine>,
    consensus: ConsensusCoordinator,
    world: World,
}

impl Net {
    fn new(record: VoteRecord) -> Self {
        let world = World::new();
        let full = Arc::new(world.full());
        let validators = world.chain.epochs().last().unwrap().keys().len();
        let others: Vec<_> = (1..validators)
            .map(|validator| bind(&full, &Engine::new(&world, validator, 400 + validator as u64, VoteRecord::Never)))
            .collect();
        let store = Arc::new(world.create("late"));
        let engine = Engine::new(&world, 0, 0, record);
        let (network, events) = bind(&store, &engine);
        let chain = Arc::new(world.chain.chain());
        let peer = |server: &Arc<QuicNetwork>| PeerAddress { address: server.local_addr().unwrap(), id: None };
        let sync = SyncBuilder::new(Arc::clone(&chain), Arc::clone(&store) as _, network, events)
            .with_peers(others.iter().map(|(server, _)| peer(server)).collect())
            .start()
            .unwrap();
        let control: Arc<dyn ConsensusControl> = Arc::clone(&engine) as _;
        let consensus = ConsensusCoordinator::start(&sync, chain, control, GateSettings::default()).unwrap();
        Self { others, sync, engine, consensus, world }
    }

    /// Waits for this mode.
    async fn reaches(&self, wanted: ConsensusMode) {
        let mut mode = self.consensus.mode();
        let reached = mode.wait_for(|mode| *mode == wanted);
        tokio::time::timeout(SOON, reached).await.unwrap_or_else(|_| panic!("{wanted:?} comes")).unwrap();
    }

    async fn close(self) {
        drop(self.consensus);
        self.sync.shutdown().await;
        for (server, _) in self.others {
            server.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_comes_back_to_a_network_that_stands_still() {
    let net = Net::new(VoteRecord::Last(View::new(300)));
    let (consensus, engine) = (&net.consensus, &net.engine);
    let tip = net.world.chain.tip_height();
    net.reaches(ConsensusMode::Participating).await;

    tokio::time::timeout(SOON, consensus.handle_sync_completion(tip)).await.unwrap().unwrap();
    let early = consensus.handle_sync_completion(tip.next()).await;
    assert_eq!(early, Err(ConsensusError::SyncIncomplete { at: tip, wanted: tip.next() }));
    let mut orders = engine.take();
    let Order::Start(permit) = orders.remove(1) else { panic!("{orders:?}") };
    assert_eq!(orders, [Order::NormalMode, Order::ConsensusMode]);
    assert_eq!(permit.head.height, tip);
    assert_eq!(Some(permit.head.id), net.world.chain.id(tip));
    assert_eq!(permit.vote_above, View::new(300), "what its own record says");
    assert_eq!(engine.reads(), 1);

    // A few blocks are no reason to leave; many are.
    consensus.handle_falling_behind(tip.plus(64)).await.unwrap();
    assert_eq!(*consensus.mode().borrow(), ConsensusMode::Participating);
    consensus.handle_falling_behind(tip.plus(900)).await.unwrap();
    // The engine takes its time to stop, and until then nobody is told that no vote leaves any more.
    assert_eq!(engine.take(), [Order::Pause(PauseReason::Behind { gap: 900 }), Order::SyncMode]);
    let proven = tip.plus(900);
    assert_eq!(*consensus.mode().borrow(), ConsensusMode::Syncing(WaitReason::Applying { proven }));
    assert_eq!(engine.reads(), 2, "what was voted since is in a newer record");
    net.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_stop_where_the_sync_ends() {
    let net = Net::new(VoteRecord::Last(View::new(300)));
    net.reaches(ConsensusMode::Participating).await;
    net.engine.take();
    let Net { others, sync, engine, consensus, .. } = net;
    sync.shutdown().await;
    let mut mode = consensus.mode();
    // The coordinator ends with the sync, and its mode with it.
    let ended = async { while mode.changed().await.is_ok() {} };
    tokio::time::timeout(SOON, ended).await.expect("it ends");
    assert_eq!(engine.take(), [Order::Pause(PauseReason::Asked), Order::SyncMode]);
    for (server, _) in others {
        server.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_without_its_record_takes_no_part() {
    let net = Net::new(VoteRecord::Lost);
    net.reaches(ConsensusMode::Syncing(WaitReason::VoteRecordLost)).await;
    // It synchronizes all the same.
    let tip = net.world.chain.tip_height();
    let mut position = net.sync.position();
    let applied = position.wait_for(|position| position.applied.is_some_and(|head| head.height == tip));
    drop(tokio::time::timeout(SOON, applied).await.expect("the tip is applied").unwrap());
    let completed = tokio::time::timeout(SOON, net.consensus.handle_sync_completion(tip)).await;
    assert_eq!(completed.expect("it says so instead of waiting for ever"), Err(ConsensusError::VoteRecordLost));
    assert_eq!(*net.consensus.mode().borrow(), ConsensusMode::Syncing(WaitReason::VoteRecordLost));
    assert_eq!(net.engine.take(), []);
    net.close().await;
}
