//! [`SyncTestFramework`]: scenarios and measurements with one call each, for users of the library.

use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::time::Instant;

use super::adversary::{Adversary, Lie, Nuisance, Sometimes};
use super::manager::{TestSyncError, TestSyncManager};
use super::network::Line;
use super::node::ServerSpec;
use super::simulator::Step;
use super::source::{CachedChain, Holdings, Source};
use crate::chain::{ChainSpec, TestChain, TestChainError};

/// Accounts of chains that have a state.
const ACCOUNTS: u32 = 1000;
/// Peers of a scenario that doesn't say how many.
const PEERS: usize = 4;
/// Blocks of a scenario that doesn't say how many.
const BLOCKS: u64 = 3000;
/// Upload of a peer in bytes a second, so that more peers are faster.
const UPLOAD: u64 = 500_000;

/// How a scenario went. Times are virtual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioReport {
    /// Blocks that were applied or skipped by state.
    pub blocks: u64,
    /// Time from the start to the tip.
    pub took: Duration,
    /// Requests that were sent.
    pub requests: u64,
    /// Bytes that came.
    pub received_bytes: u64,
    /// Bytes of answers that were accepted, each piece once.
    pub useful_bytes: u64,
    /// Bytes of answers that had come already.
    pub duplicate_bytes: u64,
    /// Most bytes of the memory budget in use.
    pub peak_buffered_bytes: u64,
    /// Peers that were banned.
    pub banned: Vec<PeerId>,
}

/// One measurement of [`SyncTestFramework::benchmark_sync_strategies`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchmarkRow {
    /// Blocks of the chain.
    pub blocks: u64,
    /// The strategy.
    pub strategy: SyncStrategyType,
    /// How it went.
    pub report: ScenarioReport,
}

/// Measurements of [`SyncTestFramework::benchmark_sync_strategies`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchmarkResults {
    /// All measurements, by size and strategy.
    pub rows: Vec<BenchmarkRow>,
}

impl BenchmarkResults {
    /// The fastest strategy for a chain of `blocks`.
    pub fn fastest(&self, blocks: u64) -> Option<SyncStrategyType> {
        let rows = self.rows.iter().filter(|row| row.blocks == blocks);
        rows.min_by_key(|row| row.report.took).map(|row| row.strategy)
    }
}

/// Why a scenario failed.
#[derive(Debug, thiserror::Error)]
pub enum FrameworkError {
    /// The chain can't be made.
    #[error(transparent)]
    Chain(#[from] TestChainError),
    /// The sync failed, or broke a law.
    #[error(transparent)]
    Sync(#[from] TestSyncError),
    /// A peer that said nothing false was banned, or one that did was not found out although it was asked.
    #[error("banned were {banned:?}, and malicious {malicious:?}")]
    Blame {
        /// Peers that were banned.
        banned: Vec<PeerId>,
        /// Peers that lied.
        malicious: Vec<PeerId>,
    },
}

type Outcome = Result<ScenarioReport, FrameworkError>;

/// Plays scenarios in a [`NetworkSimulator`](super::NetworkSimulator), every one of them watched by the oracles.
#[derive(Clone, Debug)]
pub struct SyncTestFramework {
    seed: u64,
    config: SyncConfig,
}

impl SyncTestFramework {
    /// Scenarios that follow from `seed`, for nodes with these settings.
    pub fn new(seed: u64, config: SyncConfig) -> Self {
        Self { seed, config }
    }

    fn chain(&self, blocks: u64, with_state: bool) -> Result<Arc<dyn Source>, TestChainError> {
        let interval = (blocks / 3).max(1);
        let spec = ChainSpec { blocks, seed: self.seed, snapshot_interval: interval, ..ChainSpec::default() };
        let spec = ChainSpec { epochs: spec.epochs.min(blocks), ..spec };
        Ok(Arc::new(if with_state {
            CachedChain::new(TestChain::with_ledger(spec, ACCOUNTS, 100)?, Some(ACCOUNTS))
        } else {
            CachedChain::new(TestChain::new(spec)?, None)
        }))
    }

    fn manager(&self, source: Arc<dyn Source>, strategy: SyncStrategyType) -> TestSyncManager {
        let config = SyncConfig { default_strategy: strategy, ..self.config.clone() };
        TestSyncManager::new(self.seed, source, config)
    }

    fn server() -> ServerSpec {
        ServerSpec { line: Line { up: UPLOAD, down: u64::MAX }, ..ServerSpec::default() }
    }

    /// The ids that the first `count` peers of a scenario have.
    pub fn peers(&self, count: usize) -> Result<Vec<PeerId>, FrameworkError> {
        let mut manager = self.manager(self.chain(1, false)?, SyncStrategyType::Auto);
        Ok((0..count).map(|_| manager.add_server(Self::server())).collect())
    }

    /// Goes to the tip, checks everything, and says how it went.
    fn finish(mut manager: TestSyncManager, from: Height) -> Outcome {
        let (begin, tip) = (manager.elapsed(), manager.simulator().source().tip_height());
        manager.start_sync(None);
        manager.wait_for(tip)?;
        manager.check_consistency(tip).map_err(TestSyncError::from)?;
        let (node, took) = (manager.node(), manager.elapsed() - begin);
        let sim = manager.simulator();
        let banned = sim.banned(node);
        let progress = sim.progress(node);
        let count = |field: fn(&hotstuff2_sync::machine::Progress) -> u64| progress.as_ref().map_or(0, field);
        Ok(ScenarioReport {
            blocks: tip.above(from),
            took,
            requests: sim.work(node).0,
            received_bytes: sim.traffic(node).1,
            useful_bytes: count(|progress| progress.useful_bytes),
            duplicate_bytes: count(|progress| progress.duplicate_bytes),
            peak_buffered_bytes: count(|progress| progress.peak_buffered_bytes),
            banned,
        })
    }

    /// A node at `initial_height` fetches the state near `target_height`, and blocks from there on.
    ///
    /// # Errors
    /// Where it doesn't arrive, or a law is broken.
    pub fn test_fast_sync_scenario(&self, initial_height: u64, target_height: u64) -> Outcome {
        let source = self.chain(target_height.max(1), true)?;
        let mut manager = self.manager(source, SyncStrategyType::Fast);
        let from = Self::stand_at(&mut manager, initial_height)?;
        for _ in 0..PEERS {
            manager.add_server(Self::server());
        }
        Self::finish(manager, from)
    }

    /// A node that is `block_gap` blocks behind follows to the tip.
    ///
    /// # Errors
    /// Where it doesn't arrive, or a law is broken.
    pub fn test_incremental_sync_scenario(&self, block_gap: u64) -> Outcome {
        let initial = 100;
        let source = self.chain(initial + block_gap.max(1), false)?;
        let mut manager = self.manager(source, SyncStrategyType::Incremental);
        let from = Self::stand_at(&mut manager, initial)?;
        for _ in 0..PEERS {
            manager.add_server(Self::server());
        }
        Self::finish(manager, from)
    }

    /// Brings a node to a height: by a server that has nothing above, and goes away.
    fn stand_at(manager: &mut TestSyncManager, height: u64) -> Result<Height, FrameworkError> {
        let height = Height::new(height);
        if height == Height::ZERO {
            return Ok(height);
        }
        let tip = height.min(manager.simulator().source().tip_height());
        let held = Holdings { tip, states: None, ..ServerSpec::default().held };
        let early = manager.add_server(ServerSpec { held, ..ServerSpec::default() });
        // Nobody offers a state so far down: blocks are what there is.
        manager.start_sync(Some(tip));
        manager.wait_for(tip)?;
        manager.remove_sync_peer(&early)?;
        Ok(tip)
    }

    /// A new node downloads from `peer_count` peers, each of 4 Mbit/s.
    ///
    /// # Errors
    /// Where it doesn't arrive, or a law is broken.
    pub fn test_parallel_sync_performance(&self, peer_count: usize) -> Outcome {
        self.test_large_scale_sync(BLOCKS, peer_count)
    }

    /// Peers break off, say nothing or have nothing, at a share of `failure_rate` of their answers.
    ///
    /// # Errors
    /// Where the node doesn't arrive, or a law is broken.
    pub fn test_peer_failure_recovery(&self, failure_rate: f64) -> Outcome {
        let mut manager = self.manager(self.chain(BLOCKS, false)?, SyncStrategyType::Auto);
        // One answer in so many fails; at a share of one every answer does, and one peer has to stay.
        let one_in = if failure_rate > 0.0 { (1.0 / failure_rate).round().max(1.0) as u64 } else { u64::MAX };
        manager.add_server(Self::server());
        for nuisance in [Nuisance::Breaks, Nuisance::Silent, Nuisance::Empty] {
            let adversaries: Vec<Box<dyn Adversary>> = vec![Box::new(Sometimes(one_in, nuisance))];
            manager.add_server(ServerSpec { adversaries, ..Self::server() });
        }
        Self::finish(manager, Height::ZERO)
    }

    /// The node is cut off from everyone for a while in the middle of its download.
    ///
    /// # Errors
    /// Where the node doesn't arrive, or a law is broken.
    pub fn test_network_partition_recovery(&self, partition_duration: Duration) -> Outcome {
        let mut scenario = NetworkScenario::partition(self, partition_duration)?;
        scenario.plan();
        Self::finish(scenario.manager, Height::ZERO)
    }

    /// Of eight peers, those that are listed ([`peers`](Self::peers) says their ids) give false payloads. All that were
    /// asked must be banned, and nobody else.
    ///
    /// # Errors
    /// Where the node doesn't arrive, a law is broken, or the wrong peers are banned.
    pub fn test_malicious_peer_detection(&self, malicious_peers: &[PeerId]) -> Outcome {
        let mut manager = self.manager(self.chain(BLOCKS, false)?, SyncStrategyType::Auto);
        for peer in self.peers(8)? {
            let lies = malicious_peers.contains(&peer);
            let adversaries: Vec<Box<dyn Adversary>> = if lies { vec![Box::new(Lie::LastBit)] } else { Vec::new() };
            manager.add_server(ServerSpec { adversaries, ..Self::server() });
        }
        let report = Self::finish(manager, Height::ZERO)?;
        let found = !report.banned.is_empty() || malicious_peers.is_empty();
        if found && report.banned.iter().all(|peer| malicious_peers.contains(peer)) {
            Ok(report)
        } else {
            Err(FrameworkError::Blame { banned: report.banned, malicious: malicious_peers.to_vec() })
        }
    }

    /// Every strategy on chains of these sizes, with the same peers.
    ///
    /// # Errors
    /// Where a node doesn't arrive, or a law is broken.
    pub fn benchmark_sync_strategies(&self, blockchain_sizes: &[u64]) -> Result<BenchmarkResults, FrameworkError> {
        use SyncStrategyType::{Auto, Fast, Incremental, Parallel};
        let mut rows = Vec::new();
        for &blocks in blockchain_sizes {
            let source = self.chain(blocks.max(1), true)?;
            for strategy in [Incremental, Parallel, Fast, Auto] {
                let mut manager = self.manager(Arc::clone(&source), strategy);
                for _ in 0..PEERS {
                    manager.add_server(Self::server());
                }
                let report = Self::finish(manager, Height::ZERO)?;
                rows.push(BenchmarkRow { blocks, strategy, report });
            }
        }
        Ok(BenchmarkResults { rows })
    }

    /// A new node syncs `target_height` blocks from `peer_count` peers.
    ///
    /// # Errors
    /// Where it doesn't arrive, or a law is broken.
    pub fn test_large_scale_sync(&self, target_height: u64, peer_count: usize) -> Outcome {
        let mut manager = self.manager(self.chain(target_height.max(1), false)?, SyncStrategyType::Parallel);
        for _ in 0..peer_count.max(1) {
            manager.add_server(Self::server());
        }
        Self::finish(manager, Height::ZERO)
    }
}

/// A network that is going to be cut in two for a while, and a node in it that has not started.
pub struct NetworkScenario {
    /// The node, with peers on the other side of the cut.
    pub manager: TestSyncManager,
    /// When the cut begins, after the start of the network. In the middle of the download.
    pub begins: Duration,
    /// How long it lasts.
    pub lasts: Duration,
}

impl NetworkScenario {
    fn partition(framework: &SyncTestFramework, lasts: Duration) -> Result<Self, FrameworkError> {
        let mut manager = framework.manager(framework.chain(BLOCKS, false)?, SyncStrategyType::Auto);
        for _ in 0..PEERS {
            // Slow enough that there is something left to do when the cut comes.
            let line = Line { up: UPLOAD / 10, down: u64::MAX };
            manager.add_server(ServerSpec { line, ..ServerSpec::default() });
        }
        Ok(Self { manager, begins: Duration::from_millis(400), lasts })
    }

    /// The scenario that [`test_utils`](crate::test_utils) makes.
    pub(crate) fn of(lasts: Duration) -> Result<Self, FrameworkError> {
        Self::partition(&SyncTestFramework::new(1, SyncConfig::default()), lasts)
    }

    fn plan(&mut self) {
        let (node, from) = (self.manager.node(), Instant::ZERO.after(self.begins));
        let sim = self.manager.simulator();
        sim.schedule(from, Step::Side(node, 1));
        sim.schedule(from.after(self.lasts), Step::Heal);
    }

    /// Plays it until the node stands at the tip.
    ///
    /// # Errors
    /// Where it doesn't arrive, or a law is broken.
    pub fn run(mut self) -> Result<ScenarioReport, FrameworkError> {
        self.plan();
        SyncTestFramework::finish(self.manager, Height::ZERO)
    }
}
