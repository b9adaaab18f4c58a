//! The strategies as types: each fixes how one run of the sync catches up, and waits for it. There is one machine behind
//! all of them, which downloads, verifies and hands on; the parts here are doors to what it does.

use async_trait::async_trait;
use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::Block;
use hotstuff2_sync::config::SyncStrategyType;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Event, Progress};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::{Prefix, SnapshotId, StateError, ValidationError, subtree, validate_state_root};
use tokio::sync::watch;

use super::blocks::StoredBlocks;
use super::requester::BlockRequester;
use super::tokio_manager::blocking;
use super::validator::SyncBlockValidator;
use super::{SyncError, SyncManager as _, SyncResult, TokioSyncManager};
use crate::driver::SyncEvent;
use crate::state_validator::SyncStateValidator;

/// A way to catch up.
#[async_trait]
pub trait SyncStrategy: Send + Sync {
    /// Catches up to `target_height` this way, and waits until that is stored and executed. Goes on for as long as the
    /// sync does; the sync stands still when it returns.
    async fn execute_sync(&mut self, target_height: Height) -> SyncResult<()>;
}

/// Fetches states.
#[derive(Clone, Debug)]
pub struct SnapshotDownloader(TokioSyncManager);

impl SnapshotDownloader {
    /// Fetches the state at the newest height that peers serve, and makes it live; waits until the sync stands at `height`
    /// or above. The block whose state that was; `None` where blocks alone led there.
    pub async fn download_to(&self, height: Height) -> SyncResult<Option<BlockPoint>> {
        let mut events = self.0.events();
        self.0.start_with(SyncStrategyType::Fast, None).await?;
        let mut base = None;
        let reached = self.0.applied_to(height);
        tokio::pin!(reached);
        loop {
            tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(SyncEvent::Machine(Event::StateActive(point))) => base = Some(point),
                    Some(_) => {}
                    None => return Err(SyncError::ShutDown),
                },
                done = &mut reached => return done.map(|_| base),
            }
        }
    }

    /// Fetches this very snapshot, and hashes all of it again.
    pub async fn download(&self, snapshot: &SnapshotId) -> SyncResult<()> {
        self.0.clone().download_state_snapshot(snapshot).await
    }
}

/// Fetches blocks.
#[derive(Clone, Debug)]
pub struct BlockDownloader(TokioSyncManager);

impl BlockDownloader {
    /// Syncs blocks up to `height`, however that is fastest, and waits until they are applied.
    pub async fn download_to(&self, height: Height) -> SyncResult<()> {
        self.0.run_to(SyncStrategyType::Auto, height).await
    }

    /// The blocks of a range, verified.
    pub async fn download(&self, from: Height, to: Height) -> SyncResult<Vec<Block>> {
        self.0.clone().sync_blocks(from, to).await
    }
}

/// Compares states with what blocks name.
pub type StateVerifier = SyncStateValidator;

/// The state near the tip, then blocks.
#[derive(Clone, Debug)]
pub struct FastSyncStrategy {
    manager: TokioSyncManager,
    snapshot_downloader: SnapshotDownloader,
    block_downloader: BlockDownloader,
    state_verifier: StateVerifier,
}

impl FastSyncStrategy {
    /// Over this sync, whose application keeps its state in the store.
    pub fn new(manager: &TokioSyncManager) -> Self {
        Self {
            manager: manager.clone(),
            snapshot_downloader: SnapshotDownloader(manager.clone()),
            block_downloader: BlockDownloader(manager.clone()),
            state_verifier: manager.state_validator(),
        }
    }

    /// Part that fetches the state.
    pub fn snapshot_downloader(&self) -> &SnapshotDownloader {
        &self.snapshot_downloader
    }

    /// Part that fetches the blocks above it.
    pub fn block_downloader(&self) -> &BlockDownloader {
        &self.block_downloader
    }

    /// Part that compares states with headers.
    pub fn state_verifier(&self) -> &StateVerifier {
        &self.state_verifier
    }

    /// Compares the root of the state that is kept for `height` with the one in the block's header; where none is kept
    /// for that height, or no header, there is nothing to compare. All records were hashed when the state became live.
    pub async fn verify_final_state(&self, height: Height) -> SyncResult<()> {
        let checked = self.state_verifier.blocking(move |states| {
            let store = |failure| ValidationError::from(StateError::Store(failure));
            let header = states.header(height).map_err(store)?;
            let (Some(header), Some(state)) = (header, states.state_at(height).map_err(store)?) else { return Ok(()) };
            let (root, _) = subtree(&state, &Prefix::ROOT).map_err(StateError::Tree)?;
            validate_state_root(&header, &root)
        });
        checked.await.map_err(|source| SyncError::State { height, source })
    }
}

#[async_trait]
impl SyncStrategy for FastSyncStrategy {
    async fn execute_sync(&mut self, target_height: Height) -> SyncResult<()> {
        let base = self.snapshot_downloader.download_to(target_height).await?;
        if let Some(base) = base {
            self.verify_final_state(base.height).await?;
        }
        self.manager.clone().stop_sync().await?;
        self.verify_final_state(self.manager.applied()).await
    }
}

/// Stores and executes blocks.
#[derive(Clone, Debug)]
pub struct StateApplier(TokioSyncManager);

impl StateApplier {
    /// Waits until the blocks up to `height` are stored and executed, and says how far that is by then.
    pub async fn applied_to(&self, height: Height) -> SyncResult<Height> {
        self.0.applied_to(height).await
    }

    /// Height up to which blocks are stored and executed.
    pub fn applied(&self) -> Height {
        self.0.applied()
    }
}

/// One answer after the other from the tip on.
#[derive(Clone, Debug)]
pub struct IncrementalSyncStrategy {
    manager: TokioSyncManager,
    block_requester: BlockRequester,
    block_validator: SyncBlockValidator,
    state_applier: StateApplier,
}

impl IncrementalSyncStrategy {
    /// Over this sync.
    pub fn new(manager: &TokioSyncManager) -> Self {
        Self {
            manager: manager.clone(),
            block_requester: manager.block_requester(),
            block_validator: manager.block_validator(),
            state_applier: StateApplier(manager.clone()),
        }
    }

    /// Part that asks for single blocks.
    pub fn block_requester(&self) -> &BlockRequester {
        &self.block_requester
    }

    /// Part that checks blocks.
    pub fn block_validator(&self) -> &SyncBlockValidator {
        &self.block_validator
    }

    /// Part that stores and executes blocks.
    pub fn state_applier(&self) -> &StateApplier {
        &self.state_applier
    }
}

#[async_trait]
impl SyncStrategy for IncrementalSyncStrategy {
    async fn execute_sync(&mut self, target_height: Height) -> SyncResult<()> {
        self.manager.run_to(SyncStrategyType::Incremental, target_height).await
    }
}

/// Ranges of blocks that the pipeline has finished, as it does.
#[derive(Clone, Debug)]
pub struct BlockProcessingPipeline {
    manager: TokioSyncManager,
    progress: watch::Receiver<Progress>,
    through: Height,
}

impl BlockProcessingPipeline {
    fn new(manager: &TokioSyncManager) -> Self {
        Self { manager: manager.clone(), progress: manager.watch_progress(), through: manager.applied() }
    }

    /// The next blocks that were verified, stored and executed, in order and without a gap. An error where the sync ends.
    pub async fn next_processed(&mut self) -> SyncResult<HeightRange> {
        let at = self.manager.applied_to(self.through.next()).await?;
        let range = HeightRange::new(self.through.next(), at).ok_or(SyncError::ShutDown)?;
        self.through = at;
        Ok(range)
    }

    /// Bytes that are in flight, waiting, being verified or being applied.
    pub fn buffered_bytes(&self) -> u64 {
        self.progress.borrow().buffered_bytes
    }
}

/// Heights that are fetched and verified by themselves, in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedRange {
    /// The heights.
    pub range: HeightRange,
    /// Whether the epoch's validators are known here, so that headers of the range can be verified. Where they aren't, the
    /// handovers up to that epoch come first.
    pub epoch_is_known: bool,
}

/// Dependencies of downloads: headers on the handover of their epoch, bodies on their headers, execution on the parent.
#[derive(Clone)]
pub struct DependencyResolver(StoredBlocks);

impl DependencyResolver {
    /// Cuts the heights of `range` where they can be verified by themselves: at the cells of the segment grid and at the
    /// ends of epochs. Execution depends on their order, verification doesn't. Heights of epochs that aren't known yet
    /// come as one range, the last. At most `most` ranges.
    pub async fn plan(&self, range: HeightRange, most: usize) -> SyncResult<Vec<PlannedRange>> {
        let blocks = self.0.clone();
        blocking(move || {
            let mut planned = Vec::new();
            let mut rest = Some(range);
            while let Some(range) = rest.filter(|_| planned.len() < most) {
                let epoch = blocks.store.epoch_of(range.first())?;
                let cell = epoch.and_then(|epoch| blocks.chain.stated().cell(range.first(), epoch.range()));
                let epoch_is_known = cell.is_some();
                let range = cell.and_then(|cell| cell.intersection(range)).unwrap_or(range);
                planned.push(PlannedRange { range, epoch_is_known });
                rest = rest.and_then(|all| HeightRange::new(range.last().next(), all.last()));
                if range.last() == Height::MAX {
                    break;
                }
            }
            Ok(planned)
        })
        .await
    }
}

impl std::fmt::Debug for DependencyResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DependencyResolver").finish_non_exhaustive()
    }
}

/// Segments and bodies from many peers at once.
#[derive(Clone, Debug)]
pub struct ParallelSyncStrategy {
    manager: TokioSyncManager,
    block_pipeline: BlockProcessingPipeline,
    dependency_resolver: DependencyResolver,
}

impl ParallelSyncStrategy {
    /// Over this sync.
    pub fn new(manager: &TokioSyncManager) -> Self {
        Self {
            manager: manager.clone(),
            block_pipeline: BlockProcessingPipeline::new(manager),
            dependency_resolver: DependencyResolver(manager.block_requester().blocks),
        }
    }

    /// Part that verifies, stores and executes blocks.
    pub fn block_pipeline(&mut self) -> &mut BlockProcessingPipeline {
        &mut self.block_pipeline
    }

    /// Part that cuts heights into ranges.
    pub fn dependency_resolver(&self) -> &DependencyResolver {
        &self.dependency_resolver
    }
}

#[async_trait]
impl SyncStrategy for ParallelSyncStrategy {
    async fn execute_sync(&mut self, target_height: Height) -> SyncResult<()> {
        self.block_pipeline = BlockProcessingPipeline::new(&self.manager);
        self.manager.start_with(SyncStrategyType::Parallel, Some(target_height)).await?;
        while self.block_pipeline.through < target_height {
            self.block_pipeline.next_processed().await?;
        }
        self.manager.synced().await.map(drop)
    }
}
