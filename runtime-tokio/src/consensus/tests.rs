//! The hand-over over real QUIC: a validator that has lost its record of votes comes back to a network that stands still.

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
use crate::{PeerAddress, StoreHandler, SyncBuilder};

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
    orders: Mutex<Vec<Order>>,
}

impl Engine {
    fn new(world: &World, validator: usize, view: u64, record: VoteRecord) -> Arc<Self> {
        let chain = world.chain.clone();
        let head = chain.tip_height();
        Arc::new(Self { chain, validator, view: View::new(view), head, record, orders: Mutex::default() })
    }

    fn note(&self, order: Order) -> BoxFuture<'_, ()> {
        self.orders.lock().unwrap().push(order);
        Box::pin(std::future::ready(()))
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
        self.note(Order::Pause(reason))
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

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_without_its_record_comes_back_to_a_network_that_stands_still() {
    let world = World::new();
    let full = Arc::new(world.full());
    let tip = world.chain.tip_height();
    let validators = world.chain.epochs().last().unwrap().keys().len();
    // All of the others are there; the tip is years old.
    let others: Vec<_> = (1..validators)
        .map(|validator| bind(&full, &Engine::new(&world, validator, 400 + validator as u64, VoteRecord::Never)))
        .collect();
    let store = Arc::new(world.create("late"));
    let engine = Engine::new(&world, 0, 0, VoteRecord::Lost);
    let (network, events) = bind(&store, &engine);
    let chain = Arc::new(world.chain.chain());
    let peer = |server: &Arc<QuicNetwork>| PeerAddress { address: server.local_addr().unwrap(), id: None };
    let sync = SyncBuilder::new(Arc::clone(&chain), Arc::clone(&store) as _, network, events)
        .with_peers(others.iter().map(|(server, _)| peer(server)).collect())
        .start()
        .unwrap();
    let control: Arc<dyn ConsensusControl> = Arc::clone(&engine) as _;
    let consensus = ConsensusCoordinator::start(&sync, chain, control, GateSettings::default()).unwrap();
    let mut mode = consensus.mode();
    let participating = mode.wait_for(|mode| *mode == ConsensusMode::Participating);
    tokio::time::timeout(SOON, participating).await.expect("it takes part again").unwrap();

    tokio::time::timeout(SOON, consensus.handle_sync_completion(tip)).await.unwrap().unwrap();
    let early = consensus.handle_sync_completion(tip.next()).await;
    assert_eq!(early, Err(ConsensusError::SyncIncomplete { at: tip, wanted: tip.next() }));
    let mut orders = engine.take();
    let Order::Start(permit) = orders.remove(1) else { panic!("{orders:?}") };
    assert_eq!(orders, [Order::NormalMode, Order::ConsensusMode]);
    assert_eq!(permit.head.height, tip);
    assert_eq!(Some(permit.head.id), world.chain.id(tip));
    assert!(permit.vote_above > View::new(401), "{:?}", permit.vote_above);
    let highest = View::new(400 + validators as u64);
    assert!(permit.vote_above <= highest, "one above the highest view of a quorum, {:?}", permit.vote_above);

    // A few blocks are no reason to leave; many are.
    consensus.handle_falling_behind(tip.plus(64)).await.unwrap();
    assert_eq!(*mode.borrow_and_update(), ConsensusMode::Participating);
    consensus.handle_falling_behind(tip.plus(900)).await.unwrap();
    assert_eq!(engine.take(), [Order::Pause(PauseReason::Behind { gap: 900 }), Order::SyncMode]);
    let proven = tip.plus(900);
    assert_eq!(*mode.borrow(), ConsensusMode::Syncing(WaitReason::Applying { proven }));

    drop(consensus);
    sync.shutdown().await;
    for (server, _) in others {
        server.close().await;
    }
}
