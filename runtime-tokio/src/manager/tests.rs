//! A manager over real QUIC and a store on disk: every call, alone and beside others.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hotstuff2_sync::chain::Block;
use hotstuff2_sync::chain::native::{self, BlockHeader};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::HaltReason;
use hotstuff2_sync::state::SnapshotId;

use super::*;
use crate::driver::{PeerAddress, SyncEvent};
use crate::net::{Handler, HandlerFn, Identity, Network as _, QuicLimits, QuicNetwork};
use crate::store::BlockStore as _;
use crate::test_world::{Broken, HEIGHT, World};
use crate::{AppBlock, Application, ExecuteError, NoApplication, StoreHandler};

pub(super) const TIP: Height = Height::new(300);

pub(super) struct Server {
    pub(super) network: QuicNetwork,
    _news: tokio::sync::mpsc::Receiver<crate::net::NetworkEvent>,
}

pub(super) fn serve(handler: Arc<dyn Handler>) -> Server {
    let address = "127.0.0.1:0".parse().unwrap();
    let (network, news) =
        QuicNetwork::bind(address, Identity::generate().unwrap(), QuicLimits::default(), Some(handler)).unwrap();
    Server { network, _news: news }
}

impl Server {
    pub(super) fn address(&self) -> PeerAddress {
        PeerAddress { address: self.network.local_addr().unwrap(), id: None }
    }

    fn id(&self) -> PeerId {
        self.network.local_peer()
    }
}

use std::sync::Arc;

pub(super) fn full(world: &World) -> Server {
    serve(Arc::new(StoreHandler::new(Arc::new(world.full()))))
}

pub(super) fn builder(world: &World, name: &str) -> SyncManagerBuilder {
    let builder = SyncManagerBuilder::open(world.chain.genesis(), world.path(name)).unwrap();
    builder.with_listen("127.0.0.1:0".parse().unwrap())
}

/// The header as the native chain has it.
fn header(block: &Block) -> BlockHeader {
    native::Block::try_from(block).unwrap().header
}

pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it should take no minute")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_stops_and_starts_again() {
    let world = World::new();
    let server = full(&world);
    let mut sync = builder(&world, "late").with_peers([server.address()]).build().unwrap();
    let mut events = sync.events();
    assert_eq!(sync.get_sync_status().await.unwrap(), SyncStatus::Stopped);
    assert!(matches!(sync.synced().await, Err(SyncError::Stopped { at: Height::ZERO })));
    assert!(matches!(sync.estimate_sync_completion().await, Err(SyncError::Stopped { .. })));

    // To a height, which is in the first of three epochs, and no further than its segment.
    soon(sync.start_sync(Some(Height::new(50)))).await.unwrap();
    let at = soon(sync.synced()).await.unwrap();
    assert!(at.height >= Height::new(50) && at.height < TIP, "{at:?}");
    assert_eq!(sync.get_sync_status().await.unwrap(), SyncStatus::Done { at });
    assert_eq!(sync.estimate_sync_completion().await.unwrap(), Duration::ZERO);
    assert_eq!(sync.get_sync_progress().await.unwrap().current_height, at.height.get());

    // Stopped, and asked to start by two at once while a third stops.
    sync.stop_sync().await.unwrap();
    assert_eq!(sync.get_sync_status().await.unwrap(), SyncStatus::Stopped);
    let (mut one, mut two, mut three) = (sync.clone(), sync.clone(), sync.clone());
    let (one, two, three) =
        soon(async { tokio::join!(one.start_sync(None), three.stop_sync(), two.start_sync(Some(TIP))) }).await;
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    soon(sync.start_sync(None)).await.unwrap();
    let at = soon(sync.synced()).await.unwrap();
    assert_eq!(at.height, TIP);
    assert_eq!(sync.get_sync_status().await.unwrap(), SyncStatus::Following { at });

    let end = soon(sync.shutdown()).await;
    assert_eq!(end.progress.current, TIP);
    assert_eq!(sync.get_sync_status().await.unwrap(), SyncStatus::ShutDown);
    assert!(matches!(sync.start_sync(None).await, Err(SyncError::ShutDown)));
    assert!(matches!(sync.stop_sync().await, Err(SyncError::ShutDown)));
    assert!(matches!(sync.synced().await, Err(SyncError::ShutDown)));
    soon(sync.shutdown()).await;
    let mut starts = 0;
    while let Some(event) = events.next().await {
        starts += u32::from(matches!(event, SyncEvent::Started { .. }));
    }
    assert_eq!(starts, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_ends_whoever_waits() {
    let world = World::new();
    // Nobody to sync from: it would wait for ever.
    let mut sync = builder(&world, "late").build().unwrap();
    sync.start_sync(None).await.unwrap();
    let waiting = sync.clone();
    let waiting = tokio::spawn(async move { waiting.synced().await });
    let mut blocks = sync.clone();
    let blocks = tokio::spawn(async move { blocks.sync_blocks(Height::new(1), Height::new(2)).await });
    tokio::task::yield_now().await;
    // Both wait, or will.
    sync.start_sync(None).await.unwrap();
    sync.stop_sync().await.unwrap();
    assert!(matches!(soon(waiting).await.unwrap(), Err(SyncError::Stopped { .. })));
    // The call may have come after the stop, and have started again what it needs.
    soon(sync.shutdown()).await;
    assert!(matches!(soon(blocks).await.unwrap(), Err(SyncError::Stopped { .. } | SyncError::ShutDown)));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_come_verified_and_within_limits() {
    let world = World::new();
    let server = full(&world);
    let mut sync = builder(&world, "late").with_peers([server.address()]).build().unwrap();
    let range = |from, to| (Height::new(from), Height::new(to));
    let (from, to) = range(30, 250);
    let blocks = soon(sync.sync_blocks(from, to)).await.unwrap();
    assert_eq!(blocks.len(), 221);
    for block in &blocks {
        assert_eq!(Some(&header(block)), world.chain.header(block.height));
        assert_eq!(Some(&block.payload), world.chain.payload(block.height).as_ref());
    }
    assert!(sync.verify_block_chain(&blocks).await.unwrap());
    assert!(sync.verify_block_chain(&blocks[..100]).await.unwrap(), "the last of them is the stored one");
    assert!(!sync.verify_block_chain(&[]).await.unwrap());
    let mut bent = blocks.clone();
    bent[7].payload = vec![1; bent[7].payload.len()].into();
    assert!(!sync.verify_block_chain(&bent).await.unwrap());
    // Another history that nobody has proven: not even where its links are right.
    let fork = world.chain.fork(Height::new(40)).unwrap();
    let other: Vec<_> = (30..=60)
        .map(Height::new)
        .map(|at| {
            let block = native::Block::anchored(fork.header(at).unwrap().clone(), fork.payload(at).unwrap());
            block.to_bytes(fork.header(at.prev().unwrap()).unwrap()).unwrap()
        })
        .collect();
    assert!(!sync.verify_block_chain(&other).await.unwrap());
    assert!(sync.verify_block_chain(&other[..10]).await.unwrap(), "below the fork they are ours");

    let validator = sync.block_validator();
    validator.validate_block_chain(&blocks).await.unwrap();
    assert!(validator.validate_block_sequence(&blocks).await.iter().all(Result::is_ok));
    validator.validate_block_structure(&blocks[3]).await.unwrap();
    validator.validate_consensus_rules(&blocks[4], &blocks[3]).await.unwrap();
    validator.fast_validate_block(&blocks[4]).await.unwrap();
    validator.validate_block_signatures(blocks.last().unwrap()).await.unwrap();
    assert!(validator.validate_block_headers_only(&blocks).await.iter().all(Result::is_ok));

    let refused = sync.sync_blocks(to, from).await;
    assert!(matches!(refused, Err(SyncError::NoRange { .. })), "{refused:?}");
    let refused = sync.sync_blocks(Height::ZERO, to).await;
    assert!(matches!(refused, Err(SyncError::NoRange { .. })), "{refused:?}");
    let refused = sync.sync_blocks(from, from.plus(MAX_BLOCKS_PER_CALL)).await;
    assert!(matches!(refused, Err(SyncError::TooManyBlocks { asked }) if asked == MAX_BLOCKS_PER_CALL + 1));
    let refused = soon(sync.sync_blocks(TIP, TIP.next())).await;
    assert!(matches!(refused, Err(SyncError::AboveTip { tip: TIP, .. })), "{refused:?}");
    soon(sync.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_block_below_a_fetched_state_comes_from_a_peer_and_is_proven() {
    let world = World::new();
    let server = full(&world);
    let builder = builder(&world, "late").with_peers([server.address()]);
    let application = NoApplication::new(builder.store().stored().height);
    let config = SyncConfig { strategy_switch_threshold: 0, ..SyncConfig::default() };
    let mut sync = builder.with_config(config).with_stored_application(Box::new(application)).build().unwrap();
    sync.start_with(SyncStrategyType::Fast, None).await.unwrap();
    assert_eq!(soon(sync.synced()).await.unwrap().height, TIP);
    let id = SnapshotId::of(HEIGHT, &world.header(HEIGHT));
    soon(sync.download_state_snapshot(&id)).await.unwrap();
    assert!(sync.verify_state_consistency(HEIGHT).await.unwrap());
    assert!(matches!(sync.verify_state_consistency(Height::new(5)).await, Err(SyncError::State { .. })));
    soon(sync.sync_state_to_height(TIP)).await.unwrap();

    // Also while nothing is synced.
    sync.stop_sync().await.unwrap();
    for height in [1, 77, 100, 101, 239, 240, 241, 300].map(Height::new) {
        let block = soon(sync.sync_single_block(height)).await.unwrap().unwrap();
        assert_eq!(Some(&header(&block)), world.chain.header(height));
        assert_eq!(Some(&block.payload), world.chain.payload(height).as_ref());
        let validator = sync.block_validator();
        validator.fast_validate_block(&block).await.unwrap();
        if block.proof.is_some() {
            validator.validate_block_signatures(&block).await.unwrap();
        }
    }
    let blocks = soon(sync.sync_blocks(Height::new(95), Height::new(105))).await.unwrap();
    assert_eq!(blocks.len(), 11);
    assert_eq!(soon(sync.sync_single_block(TIP.next())).await.unwrap(), None);
    assert!(matches!(sync.sync_single_block(Height::ZERO).await, Err(SyncError::NoRange { .. })));

    // Without peers the old ones are not to be had.
    sync.remove_sync_peer(&server.id()).await.unwrap();
    let none = soon(sync.sync_single_block(Height::new(77))).await;
    assert!(matches!(none, Err(SyncError::NotGiven { asked: 0, .. })), "{none:?}");
    // That there is no later one can't be said either, within the last epoch that is known and above.
    for height in [TIP.next(), TIP.plus(1_000_000)] {
        let nobody = soon(sync.sync_single_block(height)).await.unwrap_err();
        assert!(matches!(nobody, SyncError::NotGiven { asked: 0, .. }), "{nobody:?}");
        assert!(nobody.to_string().starts_with("no peer is connected that could give block"), "{nobody}");
    }
    soon(sync.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_block_bans_its_giver_and_another_is_asked() {
    let world = World::new();
    let store = Arc::new(world.full());
    let honest = Arc::new(StoreHandler::new(store));
    let told = Arc::clone(&honest);
    // Gives another payload with every block that is followed.
    let liar = serve(Arc::new(HandlerFn::new(move |peer, request| {
        let mut answer = told.handle(peer, request).to_vec();
        *answer.last_mut().unwrap() ^= 1;
        answer.into()
    })));
    let honest = serve(honest);
    let mut sync = builder(&world, "late").with_peers([liar.address()]).build().unwrap();
    soon(peers(&sync, 1)).await;
    let refused = soon(sync.sync_single_block(Height::new(9))).await;
    assert!(refused.is_ok_and(|block| block.is_none()), "nobody that tells the truth knows of it");
    soon(peers(&sync, 0)).await;
    sync.add_peer_address(honest.address());
    soon(peers(&sync, 1)).await;
    let block = soon(sync.sync_single_block(Height::new(9))).await.unwrap().unwrap();
    assert_eq!(Some(&block.payload), world.chain.payload(Height::new(9)).as_ref());
    soon(sync.shutdown()).await;
}

/// Waits until so many peers are connected.
async fn peers(sync: &TokioSyncManager, count: usize) {
    while sync.get_sync_peers().await.unwrap().len() != count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_added_and_removed() {
    let world = World::new();
    let store = Arc::new(world.full());
    let servers = [0, 1].map(|_| serve(Arc::new(StoreHandler::new(Arc::clone(&store)))));
    let mut sync = builder(&world, "late").with_peers([servers[0].address()]).build().unwrap();
    let unknown = sync.add_sync_peer(servers[1].id()).await;
    assert!(matches!(unknown, Err(SyncError::UnknownAddress(peer)) if peer == servers[1].id()));
    sync.add_peer_address(servers[1].address());
    soon(peers(&sync, 2)).await;
    sync.remove_sync_peer(&servers[0].id()).await.unwrap();
    soon(peers(&sync, 1)).await;
    assert_eq!(sync.get_sync_peers().await.unwrap(), [servers[1].id()]);
    // It comes by itself, and is not used.
    let us = servers[1].network.local_peer();
    assert_ne!(us, servers[0].id());
    sync.start_sync(None).await.unwrap();
    assert_eq!(soon(sync.synced()).await.unwrap().height, TIP);
    assert_eq!(sync.get_sync_peers().await.unwrap(), [servers[1].id()]);
    // Where it was is still known.
    sync.add_sync_peer(servers[0].id()).await.unwrap();
    soon(peers(&sync, 2)).await;
    soon(sync.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_clone_that_goes_ends_the_sync_and_all_is_durable() {
    let world = World::new();
    let server = full(&world);
    let mut sync = builder(&world, "late").with_peers([server.address()]).build().unwrap();
    let (mut events, status) = (sync.events(), sync.watch_status());
    sync.start_sync(None).await.unwrap();
    let other = sync.clone();
    drop(sync);
    assert_eq!(soon(other.synced()).await.unwrap().height, TIP);
    drop(other);
    // Whoever listens is told.
    soon(async { while events.next().await.is_some() {} }).await;
    assert_eq!(*status.borrow(), SyncStatus::ShutDown);
    let store = soon(async {
        loop {
            match SyncManagerBuilder::open(world.chain.genesis(), world.path("late")) {
                Ok(builder) => return Arc::clone(builder.store()),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    assert_eq!(store.await.stored().height, TIP);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_halt_every_call_says_why() {
    let world = World::new();
    let server = full(&world);
    let mut sync =
        builder(&world, "late").with_peers([server.address()]).with_application(Box::new(Broken)).build().unwrap();
    sync.start_sync(None).await.unwrap();
    let halted = soon(sync.synced()).await;
    assert!(matches!(halted, Err(SyncError::Halted(HaltReason::Apply { .. }))), "{halted:?}");
    assert!(matches!(sync.start_sync(None).await, Err(SyncError::Halted(_))));
    assert!(matches!(sync.sync_blocks(Height::new(1), Height::new(2)).await, Err(SyncError::Halted(_))));
    assert!(sync.stop_sync().await.is_ok());
    assert!(matches!(sync.get_sync_status().await.unwrap(), SyncStatus::Halted(_)));
    let message = sync.start_sync(None).await.unwrap_err().to_string();
    assert!(message.contains("build a new manager"), "{message}");
    soon(sync.shutdown()).await;
}

/// Executes nothing, and does what a test says beside it.
struct Scripted<E, P> {
    inner: NoApplication,
    /// Done before blocks are executed.
    execute: E,
    /// Outcome of a commit.
    persist: P,
}

impl<E, P> Application for Scripted<E, P>
where
    E: FnMut(&[AppBlock<'_>]) + Send + 'static,
    P: FnMut() -> Result<(), ExecuteError> + Send + 'static,
{
    fn applied(&self) -> Height {
        self.inner.applied()
    }

    fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        (self.execute)(blocks);
        self.inner.execute(blocks)
    }

    fn adopt(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.execute(blocks)
    }

    fn uncommitted(&self) -> usize {
        0
    }

    fn commit(&mut self) -> Result<(), ExecuteError> {
        Ok(())
    }

    fn persist(&mut self) -> Result<(), ExecuteError> {
        (self.persist)()
    }

    fn restore(&mut self, height: Height) -> Result<(), ExecuteError> {
        self.inner.restore(height)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_panics_ends_the_sync_with_that_reason() {
    let world = World::new();
    let server = full(&world);
    let at_60 = |blocks: &[AppBlock<'_>]| {
        assert!(blocks.iter().all(|block| block.height != Height::new(60)), "no idea what to do with block 60");
    };
    let inner = NoApplication::new(Height::ZERO);
    let application = Box::new(Scripted { inner, execute: at_60, persist: || Ok(()) });
    let mut sync =
        builder(&world, "late").with_peers([server.address()]).with_application(application).build().unwrap();
    let mut events = sync.events();
    sync.start_sync(None).await.unwrap();
    let halted = soon(sync.synced()).await;
    assert!(matches!(halted, Err(SyncError::Halted(HaltReason::Apply { .. }))), "{halted:?}");
    let said = soon(async {
        loop {
            match events.next().await {
                Some(SyncEvent::Host(text)) => return text,
                Some(_) => {}
                None => panic!("nothing was said"),
            }
        }
    });
    let said = said.await;
    assert!(said.contains("panicked") && said.contains("no idea what to do with block 60"), "{said}");
    soon(sync.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_commit_that_meets_what_a_full_disk_left_is_tried_again() {
    let world = World::new();
    let server = full(&world);
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    // What a full disk left.
    let persist = move || match counted.fetch_add(1, Ordering::Relaxed) {
        0 => Err(ExecuteError::Transient("the database broke before".into())),
        _ => Ok(()),
    };
    let inner = NoApplication::new(Height::ZERO);
    let application = Box::new(Scripted { inner, execute: |_: &[AppBlock<'_>]| {}, persist });
    let mut sync =
        builder(&world, "late").with_peers([server.address()]).with_application(application).build().unwrap();
    let mut events = sync.events();
    sync.start_sync(None).await.unwrap();
    soon(sync.synced()).await.unwrap();
    soon(sync.shutdown()).await;
    while let Some(event) = soon(events.next()).await {
        assert!(!matches!(event, SyncEvent::Host(_)), "{event:?}");
    }
    assert!(tries.load(Ordering::Relaxed) >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_is_told_what_it_missed_and_holds_nobody_up() {
    let world = World::new();
    let mut sync = builder(&world, "late").build().unwrap();
    let (mut slow, mut fast) = (sync.events(), sync.events());
    let rounds = super::pump::EVENTS_KEPT as u64;
    for _ in 0..rounds {
        sync.start_sync(None).await.unwrap();
        assert!(matches!(soon(fast.next()).await, Some(SyncEvent::Started { until: None, .. })));
        sync.stop_sync().await.unwrap();
        assert!(matches!(soon(fast.next()).await, Some(SyncEvent::Stopped { .. })));
    }
    assert!(matches!(soon(slow.next()).await, Some(SyncEvent::Missed(count)) if count == rounds));
    assert!(matches!(soon(slow.next()).await, Some(SyncEvent::Started { call, .. }) if call == rounds + 1));
    soon(sync.shutdown()).await;
    let late = sync.events().next().await;
    assert!(late.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_is_used_through_the_trait_alone() {
    let world = World::new();
    let server = full(&world);
    let mut sync: Box<dyn SyncManager> =
        Box::new(builder(&world, "late").with_peers([server.address()]).build().unwrap());
    assert_eq!(soon(sync.sync_blocks(Height::new(1), Height::new(3))).await.unwrap().len(), 3);
    assert!(sync.get_sync_status().await.is_ok());
}
