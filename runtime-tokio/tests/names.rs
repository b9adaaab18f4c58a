//! Every name of `docs/names.md`, used. Beside each use stands `name!` with the name as it was asked for; a test compares
//! those with the table, both ways, and looks for what the table says stands for them.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::bandwidth::BandwidthAllocator;
use hotstuff2_sync::calls::Apply;
use hotstuff2_sync::chain::HeaderFacts;
use hotstuff2_sync::chain::native::{
    Block, BlockHeader, BlockValidator, ConsensusValidator, NativeChain, SignatureValidator, StateValidator,
};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::downloads::{
    BlockRange, DownloadCoordinator, DownloadProgress, DownloadStatistics, DownloadTask, TaskId,
};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{CallId, Epoch, Height, PeerId};
use hotstuff2_sync::machine::RequestKind;
use hotstuff2_sync::participation::{GateSettings, PauseReason, Permit, VoteRecord};
use hotstuff2_sync::peers::{
    BlacklistReason, PeerHealth, PeerInfo, PeerOutcome, PeerPerformance, PeerQuality, PeerSettings, SyncPeerManager,
};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::{KeyValueState, Record, SnapshotId, StateDelta, StateProof};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::sim::{
    BenchmarkResults, NetworkScenario, NetworkSimulator, SyncTestFramework, TestSyncManager,
};
use hotstuff2_sync_testkit::test_utils::{
    assert_sync_consistency, create_blockchain_with_gaps, create_test_sync_manager, simulate_network_partition_scenario,
};
use hotstuff2_sync_testkit::world::World;
use hotstuff2_sync_tokio::consensus::{ConsensusControl, ConsensusError, ConsensusMode};
use hotstuff2_sync_tokio::manager::{
    BlockDownloader, BlockProcessingPipeline, BlockRequester, DependencyResolver, FastSyncStrategy,
    IncrementalSyncStrategy, ParallelSyncStrategy, SnapshotDownloader, StateApplier, StateVerifier, SyncBlockValidator,
    SyncStrategy,
};
use hotstuff2_sync_tokio::monitor::PrometheusMetrics;
use hotstuff2_sync_tokio::net::{BoxFuture, Identity, Network as _, NetworkEvent, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::state_validator::StateSnapshot;
use hotstuff2_sync_tokio::store::{BlockStore as _, DiskStore, StateSpace, StateStore as _, StoreAnchor};
use hotstuff2_sync_tokio::{
    MetricsCollector, NoApplication, PeerAddress, PeerFailureType, ProgressTrend, StateManager, StoreHandler,
    SyncErrorType, SyncManager, SyncManagerBuilder, SyncPerformanceMonitor, SyncProgress, SyncProgressTracker,
    SyncResult, SyncStateValidator, SyncStatus, TokioSyncManager, ValidationResult,
};

/// Says that the name is used here.
macro_rules! name {
    ($($name:literal),+ $(,)?) => {};
}

const TIP: Height = Height::new(300);
/// The snapshot.
const HEIGHT: Height = Height::new(240);

/// A small chain, a server of it, and a late node.
struct Net {
    chain: TestChain,
    store: Arc<DiskStore<NativeChain>>,
    server: QuicNetwork,
    _news: tokio::sync::mpsc::Receiver<NetworkEvent>,
    folder: tempfile::TempDir,
}

impl Net {
    fn new() -> Self {
        let spec = ChainSpec { blocks: TIP.get(), snapshot_interval: 80, ..ChainSpec::default() };
        let chain = TestChain::with_ledger(spec, 500, 100).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let anchor = StoreAnchor::from(chain.genesis());
        let store = DiskStore::create(&folder.path().join("full"), Arc::new(chain.chain()), &anchor).unwrap();
        store.put_handovers(chain.handovers()).unwrap();
        store.append(&Apply { id: CallId::FIRST, parts: chain.parts().to_vec(), tip: None }).unwrap();
        let state = chain.state(HEIGHT).unwrap();
        let values = state.records().map(|(key, row)| (StateSpace::Values, key.as_bytes().to_vec(), row.clone()));
        let pages = state.pages().map(|(key, row)| (StateSpace::Pages, key.to_bytes().to_vec(), row.clone()));
        let rows: Vec<_> = values.chain(pages).collect();
        let mut rows = rows.into_iter().map(|(space, key, row)| (space, Bytes::from(key), Some(row)));
        store.commit(HEIGHT, &mut rows).unwrap();
        let store = Arc::new(store);
        let handler = Arc::new(StoreHandler::new(Arc::clone(&store)));
        let address = "127.0.0.1:0".parse().unwrap();
        let identity = Identity::generate().unwrap();
        let (server, news) = QuicNetwork::bind(address, identity, QuicLimits::default(), Some(handler)).unwrap();
        Self { chain, store, server, _news: news, folder }
    }

    /// A late node whose application keeps its state in the store.
    fn late(&self, name: &str) -> TokioSyncManager {
        let builder = SyncManagerBuilder::open(self.chain.genesis(), self.folder.path().join(name)).unwrap();
        let application = NoApplication::new(builder.store().stored().height);
        builder
            .with_config(SyncConfig { strategy_switch_threshold: 0, ..SyncConfig::default() })
            .with_listen("127.0.0.1:0".parse().unwrap())
            .with_peers([PeerAddress { address: self.server.local_addr().unwrap(), id: None }])
            .with_stored_application(Box::new(application))
            .build()
            .unwrap()
    }

    fn facts(&self, height: Height) -> HeaderFacts {
        let header: &BlockHeader = self.chain.header(height).unwrap();
        HeaderFacts { id: header.id(), state_root: header.state_root, timestamp: header.timestamp }
    }

    fn snapshot(&self) -> SnapshotId {
        SnapshotId::of(HEIGHT, &self.facts(HEIGHT))
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it should take no minute")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interface_of_a_node() {
    name!("SyncManager", "SyncResult", "SyncStatus", "Block", "BlockHeader", "PeerId", "SnapshotId");
    let net = Net::new();
    let mut sync: Box<dyn SyncManager> = Box::new(net.late("late"));
    name!("SyncManager::get_sync_status", "SyncManager::start_sync", "SyncManager::stop_sync");
    let status: SyncResult<SyncStatus> = sync.get_sync_status().await;
    assert_eq!(status.unwrap(), SyncStatus::Stopped);
    sync.start_sync(Some(Height::new(40))).await.unwrap();
    sync.stop_sync().await.unwrap();
    assert_eq!(sync.get_sync_status().await.unwrap(), SyncStatus::Stopped);
    name!("SyncManager::sync_state_to_height", "SyncManager::download_state_snapshot");
    name!("SyncManager::verify_state_consistency");
    soon(sync.sync_state_to_height(HEIGHT)).await.unwrap();
    let fetched = soon(sync.download_state_snapshot(&net.snapshot())).await;
    // Where blocks led there, this node has no state: its application keeps none.
    let kept = sync.verify_state_consistency(HEIGHT).await;
    assert_eq!(fetched.is_ok(), kept.is_ok_and(|kept| kept));
    name!("SyncManager::sync_blocks", "SyncManager::verify_block_chain", "SyncManager::sync_single_block");
    let blocks: Vec<Block> = soon(sync.sync_blocks(Height::new(250), Height::new(260))).await.unwrap();
    assert!(blocks.len() == 11 && sync.verify_block_chain(&blocks).await.unwrap());
    assert!(!sync.verify_block_chain(&[blocks[0].clone(), blocks[2].clone()]).await.unwrap());
    let one = soon(sync.sync_single_block(Height::new(3))).await.unwrap().unwrap();
    assert_eq!(Some(&one.header), net.chain.header(Height::new(3)));
    name!("SyncManager::get_sync_progress", "SyncManager::estimate_sync_completion");
    soon(sync.sync_state_to_height(TIP)).await.unwrap();
    assert_eq!(sync.get_sync_progress().await.unwrap().current_height, TIP.get());
    while sync.get_sync_status().await.unwrap() == SyncStatus::Syncing {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(sync.estimate_sync_completion().await.unwrap(), Duration::ZERO);
    name!("SyncManager::get_sync_peers", "SyncManager::remove_sync_peer", "SyncManager::add_sync_peer");
    let peer: PeerId = net.server.local_peer();
    assert_eq!(sync.get_sync_peers().await.unwrap(), [peer]);
    sync.remove_sync_peer(&peer).await.unwrap();
    assert!(sync.get_sync_peers().await.unwrap().is_empty());
    sync.add_sync_peer(peer).await.unwrap();
    soon(async {
        while sync.get_sync_peers().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strategies() {
    name!("SyncStrategy", "SyncStrategy::execute_sync");
    let net = Net::new();
    {
        name!("FastSyncStrategy", "SnapshotDownloader", "BlockDownloader", "StateVerifier");
        let sync = net.late("fast");
        let mut fast = FastSyncStrategy::new(&sync);
        let strategy: &mut dyn SyncStrategy = &mut fast;
        soon(strategy.execute_sync(TIP)).await.unwrap();
        name!("FastSyncStrategy::find_latest_snapshot", "FastSyncStrategy::download_and_verify_snapshot");
        let snapshots: &SnapshotDownloader = fast.snapshot_downloader();
        soon(snapshots.download(&net.snapshot())).await.unwrap();
        assert_eq!(soon(snapshots.download_to(HEIGHT)).await.unwrap(), None, "it is there");
        name!("FastSyncStrategy::sync_blocks_from_height", "FastSyncStrategy::verify_final_state");
        let blocks: &BlockDownloader = fast.block_downloader();
        soon(blocks.download_to(TIP)).await.unwrap();
        fast.verify_final_state(HEIGHT).await.unwrap();
        let states: &StateVerifier = fast.state_verifier();
        assert!(states.is_consistent(HEIGHT).await.unwrap());
        soon(sync.shutdown()).await;
    }
    {
        name!("IncrementalSyncStrategy", "BlockRequester", "BlockValidator", "StateApplier");
        let sync = net.late("incremental");
        let mut incremental = IncrementalSyncStrategy::new(&sync);
        soon(incremental.execute_sync(Height::new(120))).await.unwrap();
        name!("IncrementalSyncStrategy::request_block", "IncrementalSyncStrategy::validate_block");
        let requester: &BlockRequester = incremental.block_requester();
        let block = soon(requester.request_block(Height::new(99))).await.unwrap();
        incremental.block_validator().fast_validate_block(&block).await.unwrap();
        name!("IncrementalSyncStrategy::apply_block", "IncrementalSyncStrategy::get_current_height");
        let applier: &StateApplier = incremental.state_applier();
        assert_eq!(applier.applied_to(Height::new(120)).await.unwrap(), applier.applied());
        soon(sync.shutdown()).await;
    }
    {
        name!("ParallelSyncStrategy", "BlockProcessingPipeline", "DependencyResolver");
        let sync = net.late("parallel");
        let mut parallel = ParallelSyncStrategy::new(&sync);
        let mut pipeline: BlockProcessingPipeline = parallel.block_pipeline().clone();
        soon(parallel.execute_sync(TIP)).await.unwrap();
        name!("ParallelSyncStrategy::receive_downloaded_block", "ParallelSyncStrategy::plan_download_ranges");
        assert_eq!(pipeline.next_processed().await.unwrap(), HeightRange::new(Height::new(1), TIP).unwrap());
        let resolver: &DependencyResolver = parallel.dependency_resolver();
        let planned = resolver.plan(HeightRange::new(Height::new(1), TIP).unwrap(), 10).await.unwrap();
        assert_eq!(
            planned.len(),
            net.chain.epochs().iter().filter(|epoch| epoch.info().range().first() <= TIP).count()
        );
        soon(sync.shutdown()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_of_blocks() {
    name!("SyncBlockValidator", "ConsensusValidator", "SignatureValidator", "StateValidator", "ValidationResult");
    let net = Net::new();
    let mut sync = net.late("late");
    let blocks = soon(sync.sync_blocks(Height::new(60), Height::new(70))).await.unwrap();
    let (first, second, last) = (&blocks[0], &blocks[1], blocks.last().unwrap());
    let mut bent = second.clone();
    bent.payload = Bytes::new();
    let validator: SyncBlockValidator = sync.block_validator();
    name!("SyncBlockValidator::validate_block_structure", "SyncBlockValidator::validate_block_signatures");
    let result: ValidationResult<_> = validator.validate_block_structure(second).await;
    assert!(result.is_ok() && validator.validate_block_structure(&bent).await.is_err());
    assert!(validator.validate_block_signatures(last).await.is_ok());
    assert!(validator.validate_block_signatures(second).await.is_err(), "it has none of its own");
    name!("SyncBlockValidator::validate_consensus_rules", "SyncBlockValidator::fast_validate_block");
    assert!(validator.validate_consensus_rules(second, first).await.is_ok());
    assert!(validator.validate_consensus_rules(first, second).await.is_err());
    assert!(validator.fast_validate_block(second).await.is_ok() && validator.fast_validate_block(&bent).await.is_err());
    name!("SyncBlockValidator::validate_block_sequence", "SyncBlockValidator::validate_block_chain");
    assert!(validator.validate_block_sequence(&blocks).await.iter().all(Result::is_ok));
    assert!(validator.validate_block_chain(&blocks).await.is_ok());
    assert!(validator.validate_block_chain(&blocks[..4]).await.is_err(), "nothing proves the last of these");
    name!("SyncBlockValidator::validate_block_headers_only");
    let headers: Vec<BlockHeader> = blocks.iter().map(|block| block.header.clone()).collect();
    assert_eq!(
        validator.validate_block_headers_only(&headers).await.iter().filter(|result| result.is_ok()).count(),
        11
    );
    // The same in the core, stage by stage.
    let core = BlockValidator::new(net.chain.context(first.header.epoch));
    let (rules, signatures, state): (&ConsensusValidator, &SignatureValidator, &StateValidator) =
        (core.consensus(), core.signatures(), core.state());
    assert!(rules.validate_child(&second.header, &first.header).is_ok() && signatures.validate_proof(last).is_ok());
    assert!(state.validate_payload(&bent).is_err());
    soon(sync.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_of_states() {
    name!("SyncStateValidator", "StateManager", "StateSnapshot", "StateDelta", "MerkleVerifier", "Hash");
    let net = Net::new();
    let states: Arc<dyn StateManager> = Arc::clone(&net.store) as _;
    let validator = SyncStateValidator::new(Arc::clone(&states));
    let (facts, other) = (net.facts(HEIGHT), net.facts(Height::new(80)));
    name!("SyncStateValidator::validate_state_root", "SyncStateValidator::validate_snapshot_integrity");
    assert!(validator.validate_state_root(&facts, &facts.state_root).await.is_ok());
    assert!(validator.validate_state_root(&facts, &Hash::ZERO).await.is_err());
    assert!(validator.validate_snapshot_integrity(&net.snapshot()).await.is_ok());
    name!("SyncStateValidator::validate_snapshot");
    let state = states.state_at(HEIGHT).unwrap().unwrap();
    let snapshot = StateSnapshot { id: net.snapshot(), state };
    assert!(validator.validate_snapshot(&snapshot).await.is_ok());
    name!("SyncStateValidator::validate_state_transition", "SyncStateValidator::validate_state_delta");
    let delta = delta(&net, HEIGHT, Height::new(80));
    assert!(validator.validate_state_transition(&facts, &other, &delta).await.is_ok());
    assert!(validator.validate_state_transition(&other, &facts, &delta).await.is_err());
    assert!(validator.validate_state_delta(&delta, &facts.state_root).await.is_ok());
    // One key, with its proof.
    let (_, record) = net.chain.state(HEIGHT).unwrap().records().next().unwrap();
    let record = Record::decode(record.clone()).unwrap();
    let proof: StateProof = KeyValueState::load(&snapshot.state).unwrap().prove(record.key()).unwrap();
    assert!(proof.verify(&facts.state_root, record.key(), Some(record.value())).is_ok());
    assert!(proof.verify(&facts.state_root, record.key(), None).is_err());
}

/// An engine of a node that is no validator, and counts what it is told.
#[derive(Default)]
struct Engine(AtomicU32);

impl Engine {
    fn note(&self) -> BoxFuture<'_, ()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }
}

impl ConsensusControl for Engine {
    fn validator(&self, _: Epoch) -> Option<(Hash, u64)> {
        None
    }

    fn vote_record(&self) -> VoteRecord {
        VoteRecord::Never
    }

    fn advert(&self, _: Hash) -> Option<Bytes> {
        None
    }

    fn pause_consensus_participation(&self, _: PauseReason) -> BoxFuture<'_, ()> {
        self.note()
    }

    fn start_consensus_participation(&self, _: Permit) -> BoxFuture<'_, ()> {
        self.note()
    }

    fn transition_to_sync_mode(&self) -> BoxFuture<'_, ()> {
        self.note()
    }

    fn transition_to_normal_mode(&self) -> BoxFuture<'_, ()> {
        self.note()
    }

    fn transition_to_consensus_mode(&self) -> BoxFuture<'_, ()> {
        self.note()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consensus() {
    name!("HotStuff-2Core::pause_consensus_participation", "HotStuff-2Core::start_consensus_participation");
    name!("HotStuff-2Core::transition_to_normal_mode", "HotStuff-2Core::transition_to_sync_mode");
    name!("NetworkManager::transition_to_consensus_mode");
    let net = Net::new();
    let engine = Arc::new(Engine::default());
    let mut sync = net.late("late");
    let consensus = sync.coordinate(Arc::clone(&engine) as _, GateSettings::default()).unwrap();
    sync.start_sync(None).await.unwrap();
    assert_eq!(soon(sync.synced()).await.unwrap().height, TIP);
    name!("HotStuff-2Core::handle_sync_completion", "ConsensusError", "ConsensusError::SyncIncomplete");
    let early = consensus.handle_sync_completion(TIP.next()).await;
    assert_eq!(early, Err(ConsensusError::SyncIncomplete { at: TIP, wanted: TIP.next() }));
    name!("HotStuff-2Core::handle_falling_behind");
    soon(consensus.handle_falling_behind(TIP.plus(900))).await.unwrap();
    assert!(matches!(*consensus.mode().borrow(), ConsensusMode::Syncing(_)));
    assert_eq!(engine.0.load(Ordering::Relaxed), 0, "who is no validator takes no part");
    soon(sync.shutdown()).await;
}

/// The changes between the states at two heights.
fn delta(net: &Net, from: Height, to: Height) -> StateDelta {
    let pairs = |height| -> BTreeMap<Vec<u8>, Vec<u8>> {
        let records = net.chain.state(height).unwrap().records();
        let decoded = records.map(|(_, bytes)| Record::decode(bytes.clone()).unwrap());
        decoded.map(|record| (record.key().to_vec(), record.value().to_vec())).collect()
    };
    let (old, new) = (pairs(from), pairs(to));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let changed = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    let changes = changed.map(|key| (key.clone(), new.get(key).cloned())).collect();
    StateDelta { from: net.facts(from).state_root, to: net.facts(to).state_root, changes }
}

#[test]
fn settings() {
    name!("SyncConfig", "SyncStrategyType");
    let second = Duration::from_secs(1);
    let bend = |change: fn(&mut SyncConfig), field: &str| {
        let mut config = SyncConfig::default();
        change(&mut config);
        assert_eq!(config.validate().unwrap_err().field, field);
    };
    name!("SyncConfig::max_behind_blocks", "SyncConfig::max_sync_peers", "SyncConfig::parallel_download_limit");
    bend(|config| config.max_behind_blocks = 0, "max_behind_blocks");
    bend(|config| config.max_sync_peers = 0, "max_sync_peers");
    bend(|config| config.parallel_download_limit = 0, "parallel_download_limit");
    name!("SyncConfig::block_batch_size", "SyncConfig::validation_pipeline_size", "SyncConfig::retry_attempts");
    bend(|config| config.block_batch_size = 0, "block_batch_size");
    bend(|config| config.validation_pipeline_size = 0, "validation_pipeline_size");
    bend(|config| config.retry_attempts = 0, "retry_attempts");
    name!("SyncConfig::max_download_bandwidth", "SyncConfig::peer_rotation_interval", "SyncConfig::peer_timeout");
    bend(|config| config.max_download_bandwidth = 1, "max_download_bandwidth");
    bend(|config| config.peer_rotation_interval = Duration::ZERO, "peer_rotation_interval");
    bend(|config| config.peer_timeout = Duration::ZERO, "peer_timeout");
    name!("SyncConfig::connection_timeout", "SyncConfig::progress_report_interval");
    bend(|config| config.connection_timeout = Duration::ZERO, "connection_timeout");
    bend(|config| config.progress_report_interval = Duration::ZERO, "progress_report_interval");
    name!("SyncConfig::default_strategy", "SyncConfig::strategy_switch_threshold");
    name!("SyncConfig::performance_monitoring");
    let config = SyncConfig {
        default_strategy: SyncStrategyType::Parallel,
        strategy_switch_threshold: 7,
        performance_monitoring: false,
        peer_timeout: second,
        ..SyncConfig::default()
    };
    config.validate().unwrap();
    assert_ne!(config, SyncConfig::default());
}

/// One peer that has answered once, of two.
fn peers(now: Instant) -> (SyncPeerManager, PeerId, PeerId) {
    let settings = PeerSettings {
        max_active: 1,
        rotation_interval: Duration::from_secs(60),
        ban_duration: Duration::from_secs(3600),
        suspect_self_groups: 3,
    };
    let (one, other) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));
    let mut peers = SyncPeerManager::new(settings);
    peers.connected(now, one, 1);
    peers.connected(now, other, 2);
    (peers, one, other)
}

#[test]
fn coordination_of_peers() {
    name!("SyncPeerManager", "SyncPeerManager::discover_sync_peers", "SyncPeerManager::select_optimal_peers");
    let now = Instant::from_micros(1_000_000);
    let (mut peers, one, other) = peers(now);
    peers.discover_sync_peers(now);
    assert_eq!(peers.active_ids().count(), 1, "one is asked, the other stands by");
    let asked = peers.active_ids().next().unwrap();
    assert_eq!(peers.select_optimal_peers(5), [asked]);
    name!("SyncPeerManager::record_peer_performance", "PeerPerformance", "SyncPeerManager::get_peer_bandwidth");
    name!("SyncPeerManager::get_peer_reliability", "SyncPeerManager::evaluate_peer_quality", "PeerQuality");
    assert_eq!((peers.get_peer_bandwidth(&asked), peers.get_peer_reliability(&asked)), (None, None));
    let later = now.after(Duration::from_millis(100));
    let delivered = PeerPerformance {
        kind: RequestKind::Bodies,
        sent: now,
        due: later,
        bytes: 1 << 20,
        outcome: PeerOutcome::Delivered,
    };
    peers.record_peer_performance(later, &asked, &delivered);
    let verified = PeerOutcome::Verified { took: Duration::from_millis(1) };
    peers.record_peer_performance(later, &asked, &PeerPerformance { outcome: verified, ..delivered });
    assert_eq!(peers.get_peer_reliability(&asked), Some(1_000_000));
    let quality: PeerQuality = peers.evaluate_peer_quality(&asked);
    assert!(quality.measured && Some(quality.bytes_per_second) == peers.get_peer_bandwidth(&asked), "{quality:?}");
    name!("SyncPeerManager::check_peer_health", "PeerHealth", "PeerInfo", "SyncPeerManager::rotate_sync_peers");
    assert_eq!(peers.check_peer_health(later, &asked), PeerHealth::Healthy);
    let info: PeerInfo = peers.info(later, &asked).unwrap();
    assert!(info.active && info.quality == quality);
    let standing_by = if asked == one { other } else { one };
    assert_eq!(peers.check_peer_health(later, &standing_by), PeerHealth::StandingBy);
    let changed = peers.rotate_sync_peers(later.after(Duration::from_secs(120)));
    assert_eq!(changed, [(asked, standing_by)], "the other has its turn");
    name!("SyncPeerManager::blacklist_unreliable_peer", "BlacklistReason");
    let until = peers.blacklist_unreliable_peer(later, &asked, BlacklistReason::ByHand);
    assert_eq!(peers.check_peer_health(later, &asked), PeerHealth::Banned { until });
}

#[test]
fn coordination_of_downloads() {
    name!("DownloadCoordinator", "DownloadCoordinator::assign_block_range", "BlockRange", "TaskId", "DownloadTask");
    let now = Instant::from_micros(1_000_000);
    let (mut peers, one, _) = peers(now);
    peers.discover_sync_peers(now);
    let mut downloads = DownloadCoordinator::default();
    let range: BlockRange = HeightRange::new(Height::new(1), Height::new(64)).unwrap();
    let task: TaskId = downloads.assign_block_range(now, one, range, 65_536, now.after(Duration::from_millis(50)), 0);
    let tasks: Vec<DownloadTask> = downloads.tasks().collect();
    assert_eq!(
        tasks.iter().map(|task| (task.id, task.peer, task.range)).collect::<Vec<_>>(),
        [(task, one, Some(range))]
    );
    name!("DownloadCoordinator::get_download_progress", "DownloadProgress");
    let progress: DownloadProgress = downloads.get_download_progress();
    assert_eq!((progress.active, progress.bytes_in_flight), (1, 65_536));
    name!("DownloadCoordinator::estimate_completion_time", "DownloadCoordinator::balance_download_load");
    assert_eq!(downloads.estimate_completion_time(), None, "nothing has come yet");
    assert_eq!(downloads.balance_download_load(now, &peers), [], "nothing is late yet");
    name!("DownloadCoordinator::reassign_failed_download", "DownloadCoordinator::get_download_statistics");
    name!("DownloadStatistics");
    assert_eq!(downloads.reassign_failed_download(task).map(|task| task.range), Some(Some(range)));
    assert_eq!(downloads.reassign_failed_download(task), None);
    let statistics: DownloadStatistics = downloads.get_download_statistics();
    assert_eq!((statistics.assigned, statistics.reassigned), (1, 1));
    name!("BandwidthAllocator");
    let mut bandwidth = BandwidthAllocator::new(1 << 20, now);
    assert_eq!((bandwidth.limit(), bandwidth.ready_at(now)), (Some(1 << 20), None));
    bandwidth.charge(now, 4 << 20);
    assert!(bandwidth.ready_at(now).is_some_and(|at| at > now), "what was asked for must be paid off first");
}

#[test]
fn progress() {
    name!("SyncProgress", "SyncProgressTracker", "SyncProgressTracker::update_progress", "ProgressTrend");
    name!("SyncProgressTracker::calculate_download_rate", "SyncProgressTracker::estimate_completion_time");
    name!("SyncProgressTracker::get_progress_trend");
    let mut tracker = SyncProgressTracker::new();
    assert_eq!(tracker.get_progress_trend(), ProgressTrend::Unknown);
    tracker.update_progress(0, 100);
    tracker.update_progress(100, 100);
    assert_eq!(tracker.get_progress_trend(), ProgressTrend::Done);
    assert_eq!(tracker.estimate_completion_time(), Duration::ZERO);
    assert!(tracker.calculate_download_rate() >= 0.0);
    let world = World::new(TestChain::new(ChainSpec::default()).unwrap(), SyncConfig::default()).unwrap();
    name!("SyncProgress::current_height", "SyncProgress::target_height", "SyncProgress::synced_blocks");
    name!("SyncProgress::remaining_blocks", "SyncProgress::sync_percentage", "SyncProgress::estimated_completion");
    name!("SyncProgress::download_rate", "SyncProgress::current_strategy");
    let SyncProgress {
        current_height,
        target_height,
        synced_blocks,
        remaining_blocks,
        sync_percentage,
        estimated_completion: _,
        download_rate,
        current_strategy,
        ..
    } = SyncProgress::from(&world.machine.progress());
    assert_eq!((current_height, target_height, synced_blocks, remaining_blocks), (0, 0, 0, 0));
    assert!((0.0..=100.0).contains(&sync_percentage) && download_rate == 0.0, "{sync_percentage} {download_rate}");
    assert_eq!(current_strategy, SyncStrategyType::Auto);
}

#[test]
fn monitoring() {
    name!("SyncPerformanceMonitor", "MetricsCollector", "SyncErrorType", "PeerFailureType");
    let metrics = Arc::new(PrometheusMetrics::new());
    let collector: Arc<dyn MetricsCollector> = Arc::clone(&metrics) as _;
    let monitor = SyncPerformanceMonitor::new(collector);
    let (peer, ms) = (PeerId::from_bytes([7; 32]), Duration::from_millis(3));
    let before = metrics.render();
    name!("SyncPerformanceMonitor::record_block_download_time", "SyncPerformanceMonitor::record_block_validation_time");
    monitor.record_block_download_time(1, ms);
    monitor.record_block_validation_time(1, ms);
    name!("SyncPerformanceMonitor::record_state_application_time", "SyncPerformanceMonitor::record_bandwidth_usage");
    monitor.record_state_application_time(1, ms);
    monitor.record_bandwidth_usage(&peer, 1000, ms);
    name!("SyncPerformanceMonitor::record_peer_latency", "SyncPerformanceMonitor::record_sync_error");
    monitor.record_peer_latency(&peer, ms);
    monitor.record_sync_error(SyncErrorType::Stall, Some(&peer));
    name!("SyncPerformanceMonitor::record_peer_failure");
    monitor.record_peer_failure(&peer, PeerFailureType::Banned);
    let after = metrics.render();
    assert_ne!(before, after);
    for word in ["stall", "banned"] {
        assert!(after.contains(word), "{word} is missing in\n{after}");
    }
}

#[test]
fn testing() {
    name!("create_test_sync_manager", "TestSyncManager", "assert_sync_consistency", "create_blockchain_with_gaps");
    let mut manager: TestSyncManager = create_test_sync_manager();
    manager.start_sync(None);
    manager.wait_for(TIP).unwrap();
    assert_sync_consistency(&mut manager, TIP.get());
    assert_eq!(create_blockchain_with_gaps(&[1, 5]).len(), 2);
    name!("simulate_network_partition_scenario", "NetworkScenario", "NetworkSimulator", "SyncTestFramework");
    let scenario: NetworkScenario = simulate_network_partition_scenario(Duration::from_secs(5));
    assert!(scenario.run().unwrap().took > Duration::ZERO);
    let simulator: &mut NetworkSimulator = manager.simulator();
    assert!(simulator.now() > Instant::ZERO);
    let framework = SyncTestFramework::new(1, SyncConfig::default());
    name!("SyncTestFramework::test_fast_sync_scenario", "SyncTestFramework::test_incremental_sync_scenario");
    assert_eq!(framework.test_fast_sync_scenario(0, 300).unwrap().blocks, 300);
    assert_eq!(framework.test_incremental_sync_scenario(10).unwrap().blocks, 10);
    name!("SyncTestFramework::test_parallel_sync_performance", "SyncTestFramework::test_peer_failure_recovery");
    assert!(framework.test_parallel_sync_performance(3).unwrap().blocks > 0);
    assert!(framework.test_peer_failure_recovery(0.2).unwrap().banned.is_empty());
    name!("SyncTestFramework::test_network_partition_recovery", "SyncTestFramework::test_malicious_peer_detection");
    assert!(framework.test_network_partition_recovery(Duration::from_secs(5)).unwrap().blocks > 0);
    let liars = framework.peers(4).unwrap();
    let found = framework.test_malicious_peer_detection(&liars[..1]).unwrap();
    assert!(found.banned.iter().all(|banned| *banned == liars[0]));
    name!(
        "SyncTestFramework::benchmark_sync_strategies",
        "BenchmarkResults",
        "SyncTestFramework::test_large_scale_sync"
    );
    let results: BenchmarkResults = framework.benchmark_sync_strategies(&[60]).unwrap();
    assert_eq!(results.rows.len(), 4);
    assert_eq!(framework.test_large_scale_sync(2000, 10).unwrap().blocks, 2000);
}

/// A row of the table: the name, and what stands for it.
fn rows() -> Vec<(String, String)> {
    let table = include_str!("../../docs/names.md");
    let cells = |line: &str| -> Option<(String, String)> {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    };
    table.lines().filter_map(cells).collect()
}

/// This file's names, and what is left of it without them.
fn source() -> (BTreeSet<&'static str>, String) {
    let mut parts = include_str!("names.rs").split(concat!("name", "!("));
    let mut rest = parts.next().unwrap_or_default().to_owned();
    let mut names = BTreeSet::new();
    for part in parts {
        let (literals, after) = part.split_once(");").unwrap_or((part, ""));
        names.extend(literals.split('"').skip(1).step_by(2));
        rest.push_str(after);
    }
    (names, rest)
}

#[test]
fn the_table_and_this_file_have_the_same_names() {
    let (used, _) = source();
    let rows = rows();
    let named: BTreeSet<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(named.len(), rows.len(), "a name stands twice in the table");
    assert_eq!(used, named);
}

#[test]
fn what_the_table_says_is_what_this_file_uses() {
    let (_, source) = source();
    let words: BTreeSet<&str> = source.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    for (name, stands_for) in rows() {
        let path = stands_for.split('`').nth(1).unwrap_or_else(|| panic!("{name}: no path in {stands_for}"));
        let last = path.rsplit("::").next().unwrap_or(path);
        assert!(words.contains(last), "{name}: `{path}` is not used");
    }
}
