//! The hand-over over real QUIC: a validator comes back to a network that stands still, with its record of votes and without.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, ApplyPart};
use hotstuff2_sync::chain::native::{Advert, AdvertClaim, Phase, TimeoutCertificate, ValidatorKey};
use hotstuff2_sync::chain::{SegmentClaim, SegmentEnd};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, View};
use hotstuff2_sync::participation::{GateSettings, PauseReason, Permit, VoteRecord, WaitReason};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::verify::{Outcome, Task};
use hotstuff2_sync_testkit::chain::TestChain;
use hotstuff2_sync_testkit::replica::GiveUp;
use tokio::sync::mpsc::Receiver;

use super::{ConsensusControl, ConsensusCoordinator, ConsensusError, ConsensusHandler, ConsensusMode};
use crate::manager::decided_tests::decided;
use crate::net::{BoxFuture, Identity, Network as _, NetworkEvent, QuicLimits, QuicNetwork};
use crate::store::BlockStore as _;
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
    /// The view that it is in: it goes on with each word that needs certificates.
    view: AtomicU64,
    head: Height,
    record: VoteRecord,
    /// How often the record was read.
    reads: AtomicUsize,
    orders: Mutex<Vec<Order>>,
}

impl Engine {
    fn new(world: &World, validator: usize, view: u64, record: VoteRecord, head: Height) -> Arc<Self> {
        let chain = world.chain.clone();
        let (reads, orders) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { chain, validator, view: AtomicU64::new(view), head, record, reads, orders })
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

    fn advert(&self, challenge: Hash, certificates: bool) -> Option<Bytes> {
        let epoch = self.chain.epoch_of(self.head.next())?;
        let key = &epoch.keys()[self.validator];
        let set = epoch.info().validators();
        assert!(set.index_of(&ValidatorKey::from(key)).is_some());
        let view = self.view.fetch_add(u64::from(certificates), Ordering::Relaxed);
        let header = self.chain.header(self.head)?;
        let (chain_id, number) = (self.chain.genesis().chain_id(), epoch.info().epoch());
        let high = (certificates && header.epoch == number).then(|| epoch.certify(Phase::One, header));
        let entered_by = certificates.then(|| {
            let before = View::new(view - 1);
            let quits = epoch.keys().iter().map(|key| GiveUp::sign(key, chain_id, number, before));
            let signatures = quits.map(|quit| (quit.key, quit.signature));
            TimeoutCertificate::collect(number, before, set, signatures)
        });
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let claim = AdvertClaim {
            epoch: number,
            lock: high.as_ref().map_or(View::ZERO, |high| high.view),
            height: self.head,
            block: self.chain.id(self.head)?,
            view: View::new(view),
            timestamp: UnixMillis::new(now.as_millis() as u64),
            challenge,
        };
        Some(Advert::sign(key, chain_id, claim).backed(high, entered_by).encode().into())
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

/// A store with the blocks up to `tip`, in the first of the chain's parts.
fn up_to(world: &World, tip: Height) -> Store {
    let store = world.create("up to");
    let decided = world.chain.decided(HeightRange::new(Height::new(1), tip).unwrap()).unwrap();
    let (epoch, range) = (world.chain.epoch_ref(Epoch::ZERO).unwrap(), HeightRange::new(decided.first, tip).unwrap());
    let claim = SegmentClaim { range, parent: None, end: SegmentEnd::CertifiedUpTo, audit: false };
    let proven = Task::Follow { epoch, claim, bytes: decided.bytes }.prove(&world.chain.chain()).unwrap();
    let Outcome::Follow { segment, frames } = proven else { panic!("another job") };
    let part = ApplyPart { segment, frames, executed: false };
    store.append(&Apply { target: tip, parts: vec![part], tip: None }).unwrap();
    store
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
        Self::with(World::new(), 0, record, GateSettings::default(), Height::MAX)
    }

    /// The network in which the validator at this place is late, and all others stand at `tip`.
    fn with(world: World, own: usize, record: VoteRecord, settings: GateSettings, tip: Height) -> Self {
        let tip = tip.min(world.chain.tip_height());
        let full = if tip < world.chain.tip_height() { up_to(&world, tip) } else { world.full() };
        let full = Arc::new(full);
        let validators = world.chain.epochs().last().unwrap().keys().len();
        let others: Vec<_> = (0..validators)
            .filter(|&validator| validator != own)
            .map(|validator| {
                bind(&full, &Engine::new(&world, validator, 400 + validator as u64, VoteRecord::Never, tip))
            })
            .collect();
        let store = Arc::new(world.create("late"));
        let engine = Engine::new(&world, own, 0, record, tip);
        let (network, events) = bind(&store, &engine);
        let chain = Arc::new(world.chain.chain());
        let peer = |server: &Arc<QuicNetwork>| PeerAddress { address: server.local_addr().unwrap(), id: None };
        let sync = SyncBuilder::new(Arc::clone(&chain), Arc::clone(&store) as _, network, events)
            .with_peers(others.iter().map(|(server, _)| peer(server)).collect())
            .start()
            .unwrap();
        let control: Arc<dyn ConsensusControl> = Arc::clone(&engine) as _;
        let consensus = ConsensusCoordinator::start(&sync, chain, control, settings).unwrap();
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
    assert_eq!(
        completed.expect("it says so instead of waiting for ever"),
        Err(ConsensusError::Barred(WaitReason::VoteRecordLost))
    );
    assert_eq!(*net.consensus.mode().borrow(), ConsensusMode::Syncing(WaitReason::VoteRecordLost));
    assert_eq!(net.engine.take(), []);
    net.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_decides_is_never_paused_by_its_own_blocks() {
    // One proven block ahead is too many here; its own are on their way to the disk all the time.
    let settings = GateSettings { max_behind_blocks: 0, ..GateSettings::default() };
    let net = Net::with(World::new(), 0, VoteRecord::Last(View::new(300)), settings, Height::new(50));
    net.reaches(ConsensusMode::Participating).await;
    net.engine.take();
    let chain = &net.world.chain;
    let answers: Vec<_> = (51..=110).map(|height| net.sync.submit(decided(chain, height))).collect();
    for (answer, height) in answers.into_iter().zip(51..) {
        let at = tokio::time::timeout(SOON, answer).await.unwrap().unwrap();
        assert!(at >= Height::new(height));
    }
    // Nor where the engine says that the network stands where it has brought it itself.
    net.consensus.handle_falling_behind(Height::new(110)).await.unwrap();
    assert_eq!(net.engine.take(), [], "it votes on");
    assert_eq!(*net.consensus.mode().borrow(), ConsensusMode::Participating);
    // Blocks that the node has not decided are another matter.
    net.consensus.handle_falling_behind(Height::new(111)).await.unwrap();
    assert_eq!(net.engine.take(), [Order::Pause(PauseReason::Behind { gap: 1 }), Order::SyncMode]);
    net.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_without_its_record_is_restored_by_the_others() {
    // Words are asked for each third of the time for which they count: the second ones say that the views have been left.
    let settings = GateSettings { views_are_certified: true, fresh_word_ms: 3_000, ..GateSettings::default() };
    let world = World::new();
    let validators = world.chain.epochs().last().unwrap().info().validators().validators().to_vec();
    // Without the one with the least power the others are a quorum.
    let own = (0..validators.len()).min_by_key(|&place| validators[place].power).unwrap();
    let net = Net::with(world, own, VoteRecord::Lost, settings, Height::MAX);
    net.reaches(ConsensusMode::Participating).await;
    let orders = net.engine.take();
    let permit = orders.iter().find_map(|order| match order {
        Order::Start(permit) => Some(permit),
        _ => None,
    });
    let permit = permit.expect("it was told to start");
    let tip = net.world.chain.header(net.world.chain.tip_height()).unwrap();
    let floor = permit.vote_above.get();
    let floors = 401..=400 + validators.len() as u64;
    assert!(floors.contains(&floor), "the view above one of those of the first words: {floor}");
    assert_eq!(permit.lock.as_ref().map(|lock| lock.view), Some(tip.view));
    net.close().await;
}
