//! [`TestSyncManager`]: one synchronizing node with the functions of a sync manager, in virtual time.
//!
//! Its functions have the names of the `SyncManager` of `hotstuff2-sync-tokio`, and no `async`: time is virtual, so a call
//! that takes an hour there returns at once. What they do is done by a real machine in a [`NetworkSimulator`].

use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::native::{
    Block, BlockError, BlockValidator, EpochContext, EpochInfo, FinalityProof, FinalizedHeader,
};
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::{Event, HaltReason, Progress, StallReason};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::SnapshotId;
use hotstuff2_sync::time::Instant;

use super::network::{Link, NodeId};
use super::node::{JoinerSpec, ServerSpec};
use super::oracle::{Law, Violation};
use super::simulator::{NetworkSimulator, Step};
use super::source::Source;

/// Virtual time that a call may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TestSyncError {
    /// A law was broken: what tests look for.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The sync stopped for good.
    #[error("the sync has halted: {0}")]
    Halted(HaltReason),
    /// The height was not reached in an hour of virtual time.
    #[error("{0} was not reached within an hour of virtual time")]
    TooLate(Height),
    /// The node doesn't hold these blocks.
    #[error("blocks {0} are not stored")]
    NotStored(HeightRange),
    /// From above to.
    #[error("a range from {from} to {to} is empty")]
    EmptyRange {
        /// The first height.
        from: Height,
        /// The last height.
        to: Height,
    },
    /// There is no such peer.
    #[error("peer {0} is none of this network")]
    UnknownPeer(PeerId),
    /// The chain has no snapshot of that name.
    #[error("the chain has another block or state at {0}")]
    OtherSnapshot(Height),
}

/// State of a [`TestSyncManager`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestSyncStatus {
    /// Nothing: it was not started yet, or was stopped.
    Stopped,
    /// The node catches up.
    Syncing,
    /// The node catches up, and nothing has moved for a while.
    Stalled(StallReason),
    /// The node has reached what can be proven, or what it was to reach, and follows from there.
    Reached(BlockPoint),
    /// The node has stopped for good.
    Halted(HaltReason),
}

/// One synchronizing node, its peers and its network.
pub struct TestSyncManager {
    sim: NetworkSimulator,
    node: NodeId,
    peers: Vec<NodeId>,
    running: bool,
    started: bool,
}

impl TestSyncManager {
    /// A node without peers that is to synchronize `source`, over links of 20 ms.
    pub fn new(seed: u64, source: Arc<dyn Source>, config: SyncConfig) -> Self {
        let mut sim = NetworkSimulator::new(seed, source, Link::with_latency(Duration::from_millis(20)));
        let node = sim.add_joiner(JoinerSpec { config, ..JoinerSpec::default() });
        Self { sim, node, peers: Vec::new(), running: false, started: false }
    }

    /// Puts a serving node into the network, and uses it as a peer.
    pub fn add_server(&mut self, spec: ServerSpec) -> PeerId {
        let server = self.sim.add_server(spec);
        self.peers.push(server);
        self.sim.add_contacts(self.node, [server]);
        self.sim.peer(server)
    }

    /// The simulation, for steps and measurements that have no function here.
    pub fn simulator(&mut self) -> &mut NetworkSimulator {
        &mut self.sim
    }

    /// The node in the simulation.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The nodes that were added as servers.
    pub fn servers(&self) -> &[NodeId] {
        &self.peers
    }

    /// Starts, or goes on after a stop. With a target downloads end with the first proven segment that holds it.
    pub fn start_sync(&mut self, target_height: Option<Height>) {
        if !self.started {
            self.started = true;
            self.sim.step(Step::Start(self.node));
        }
        self.running = true;
        self.sim.go_on(self.node, target_height);
    }

    /// Stops downloading.
    pub fn stop_sync(&mut self) {
        self.running = false;
        self.sim.step(Step::Pause(self.node));
    }

    /// The current state.
    pub fn get_sync_status(&self) -> TestSyncStatus {
        if !self.running {
            return TestSyncStatus::Stopped;
        }
        // After a stall the node goes on with what it did before.
        let mut resumed = false;
        let told = self.sim.told(self.node).iter().rev().find_map(|(_, event)| match event {
            Event::Halted(reason) => Some(TestSyncStatus::Halted(reason.clone())),
            Event::Reached(point) => Some(TestSyncStatus::Reached(*point)),
            Event::Resumed => {
                resumed = true;
                None
            }
            Event::Stalled { reason, .. } if !resumed => Some(TestSyncStatus::Stalled(*reason)),
            Event::Target { .. } | Event::Strategy { .. } => Some(TestSyncStatus::Syncing),
            _ => None,
        });
        told.unwrap_or(TestSyncStatus::Syncing)
    }

    /// Runs until all blocks up to `height` are stored and executed.
    ///
    /// # Errors
    /// Where that doesn't happen within an hour of virtual time, or a law is broken on the way.
    pub fn wait_for(&mut self, height: Height) -> Result<(), TestSyncError> {
        let node = self.node;
        let applied = |sim: &NetworkSimulator| sim.machine(node).is_some_and(|machine| machine.applied() >= height);
        let there = self.sim.run_until(PATIENCE, |sim| applied(sim) || sim.halted(node))?;
        match self.get_sync_status() {
            TestSyncStatus::Halted(reason) => Err(TestSyncError::Halted(reason)),
            _ if there => self.sim.account().map_err(TestSyncError::from),
            _ => Err(TestSyncError::TooLate(height)),
        }
    }

    /// Syncs to `to_height`, and returns the blocks from `from_height` on. The last is proven by its certificate where the
    /// node has one, and else by being the one that is stored.
    ///
    /// # Errors
    /// Where that height isn't reached, or the blocks begin above the first.
    pub fn sync_blocks(&mut self, from_height: Height, to_height: Height) -> Result<Vec<Block>, TestSyncError> {
        let empty = TestSyncError::EmptyRange { from: from_height, to: to_height };
        let range = HeightRange::new(from_height, to_height).ok_or(empty)?;
        if self.sim.applied(self.node) < to_height {
            self.start_sync(Some(to_height));
            self.wait_for(to_height)?;
        }
        let blocks = self.sim.disk(self.node).shelf.blocks(range);
        if blocks.len() as u64 == range.count() { Ok(blocks) } else { Err(TestSyncError::NotStored(range)) }
    }

    /// One block; `None` where it isn't stored and can't be got.
    ///
    /// # Errors
    /// As [`sync_blocks`](Self::sync_blocks), but for a height that nobody proves.
    pub fn sync_single_block(&mut self, height: Height) -> Result<Option<Block>, TestSyncError> {
        match self.sync_blocks(height, height) {
            Ok(blocks) => Ok(blocks.into_iter().next()),
            Err(TestSyncError::TooLate(_) | TestSyncError::NotStored(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether these consecutive blocks keep the rules and are final: by the certificate of the last, or because that one
    /// is stored.
    ///
    /// # Errors
    /// What is wrong with which block.
    pub fn verify_block_chain(&mut self, blocks: &[Block]) -> Result<(), BlockError> {
        let genesis = self.sim.source().genesis().clone();
        let shelf = &self.sim.disk(self.node).shelf;
        let infos = shelf.all_epochs().iter().filter_map(|epoch| EpochInfo::decode(epoch.bytes()).ok());
        let validator = BlockValidator::new(infos.map(|info| EpochContext::new(&genesis, info)));
        let last = blocks.last().map(|block| HeightRange::single(block.height()));
        let stored: Option<Hash> = last.and_then(|last| shelf.blocks(last).first().map(Block::id));
        match (stored, blocks.last()) {
            (Some(stored), Some(last)) if stored == last.id() => validator.validate_block_chain_to(blocks, &stored),
            _ => validator.validate_block_chain(blocks),
        }
    }

    /// Goes on until the state stands at `height` or above.
    ///
    /// # Errors
    /// Where it doesn't get there.
    pub fn sync_state_to_height(&mut self, height: Height) -> Result<(), TestSyncError> {
        self.start_sync(None);
        self.wait_for(height)
    }

    /// Goes on until the state after the named block was live, and compares what is live now.
    ///
    /// # Errors
    /// Where the chain has another block or state there, or the node doesn't get there.
    pub fn download_state_snapshot(&mut self, snapshot_id: &SnapshotId) -> Result<(), TestSyncError> {
        let source = Arc::clone(self.sim.source());
        let header = source.test_chain().and_then(|chain| chain.header(snapshot_id.height));
        let named = header.map(|header| (header.id(), header.state_root));
        if named != Some((snapshot_id.block, snapshot_id.state_root)) {
            return Err(TestSyncError::OtherSnapshot(snapshot_id.height));
        }
        self.sync_state_to_height(snapshot_id.height)?;
        let height = self.sim.applied(self.node);
        if self.verify_state_consistency(height) { Ok(()) } else { Err(TestSyncError::OtherSnapshot(height)) }
    }

    /// Whether the live state stands at `height` and is, hashed again, the one that the true chain has there.
    pub fn verify_state_consistency(&mut self, height: Height) -> bool {
        let source = Arc::clone(self.sim.source());
        let named = source.test_chain().and_then(|chain| chain.header(height)).map(|header| header.state_root);
        let disk = self.sim.disk(self.node);
        disk.applied() == height && disk.state().map(crate::world::StateHost::root) == named
    }

    /// Uses a server as a peer again.
    ///
    /// # Errors
    /// Where there is no such server.
    pub fn add_sync_peer(&mut self, peer: PeerId) -> Result<(), TestSyncError> {
        let server = self.server(&peer)?;
        self.sim.add_contacts(self.node, [server]);
        Ok(())
    }

    /// Disconnects a peer, and uses it no more until it is added again.
    ///
    /// # Errors
    /// Where there is no such server.
    pub fn remove_sync_peer(&mut self, peer: &PeerId) -> Result<(), TestSyncError> {
        let server = self.server(peer)?;
        self.sim.remove_contact(self.node, server);
        Ok(())
    }

    fn server(&self, peer: &PeerId) -> Result<NodeId, TestSyncError> {
        let found = self.peers.iter().copied().find(|&server| self.sim.peer(server) == *peer);
        found.ok_or(TestSyncError::UnknownPeer(*peer))
    }

    /// The peers that are connected.
    pub fn get_sync_peers(&self) -> Vec<PeerId> {
        self.sim.connections(self.node)
    }

    /// How far it is; `None` before the first start and while it is down.
    pub fn get_sync_progress(&self) -> Option<Progress> {
        self.sim.progress(self.node)
    }

    /// Time to the target at the pace of the last seconds; `None` while there is no pace.
    pub fn estimate_sync_completion(&self) -> Option<Duration> {
        let progress = self.get_sync_progress()?;
        if progress.current >= progress.target { Some(Duration::ZERO) } else { progress.remaining }
    }

    /// Checks that the node stands at `expected` or above and holds the true chain, block for block.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check_consistency(&mut self, expected: Height) -> Result<(), Violation> {
        let at = self.sim.now();
        let broken = |law, what: String| Err(Violation { law, at, what });
        let source = Arc::clone(self.sim.source());
        let disk = self.sim.disk(self.node);
        let (applied, stored) = (disk.applied(), disk.stored());
        if applied < expected {
            return broken(Law::Arrival, format!("{applied} is applied; expected was {expected}"));
        }
        let Some(range) = HeightRange::new(disk.shelf.earliest(), stored) else { return Ok(()) };
        let mut parent: Option<Hash> = None;
        let blocks = disk.shelf.blocks(range);
        if blocks.len() as u64 != range.count() {
            return broken(Law::Order, format!("{} blocks are stored of {range}", blocks.len()));
        }
        for block in blocks {
            let (height, id) = (block.height(), block.id());
            if parent.is_some_and(|parent| parent != block.header.parent) {
                return broken(Law::Order, format!("the block at {height} has another parent"));
            }
            let truth = source.id(height).is_none_or(|known| known == id);
            let payload = source.payload(height).is_none_or(|known| known == block.payload);
            if !truth || !payload {
                return broken(Law::Truth, format!("another block is stored at {height}"));
            }
            parent = Some(id);
        }
        match disk.state().is_some() && !self.verify_state_consistency(applied) {
            true => broken(Law::Truth, format!("the state after {applied} is another")),
            false => Ok(()),
        }
    }

    /// Virtual time since the start of the network.
    pub fn elapsed(&self) -> Duration {
        self.sim.now().since(Instant::ZERO)
    }
}

/// The blocks of a chain at some heights, each with a certificate of its own.
pub(crate) fn certified_blocks(chain: &crate::chain::TestChain, heights: &[u64]) -> Vec<Block> {
    let block = |&height: &u64| {
        let height = Height::new(height);
        let tip = FinalizedHeader::decode(&chain.tip(height)?).ok()?;
        let proof: FinalityProof = tip.proof;
        Some(Block { header: tip.header, payload: chain.payload(height)?, proof })
    };
    heights.iter().filter_map(block).collect()
}
