//! [`SyncManager`]: the trait.

use std::time::Duration;

use async_trait::async_trait;
use hotstuff2_sync::chain::Block;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::state::SnapshotId;

use super::{SyncResult, SyncStatus};
use crate::{DecidedBlocks, SyncProgress};

/// Synchronization of a node, as the node sees it. Object-safe, so that a node can hold it without naming the
/// implementation.
///
/// Calls that wait do so as long as the sync goes on, because what is late may still come: give them a time-out where
/// that matters, and watch the status for what it waits for. All of them may be dropped at any moment.
#[async_trait]
pub trait SyncManager: Send + Sync {
    /// Starts, or goes on after a stop. With a target the sync ends with the first proven segment that holds that height;
    /// without one it follows the network once it has caught up. Returns when it is under way. Called again, it changes
    /// the target.
    async fn start_sync(&mut self, target_height: Option<Height>) -> SyncResult<()>;

    /// Stops downloading. What was verified and handed on is still stored and executed.
    async fn stop_sync(&mut self) -> SyncResult<()>;

    /// Status of the sync: what it is doing.
    async fn get_sync_status(&self) -> SyncResult<SyncStatus>;

    /// Syncs to `to_height`, and returns the verified blocks from `from_height` on. A range is limited in blocks and
    /// bytes. Its last block, and the last of each epoch, come with a certificate where one is at hand.
    async fn sync_blocks(&mut self, from_height: Height, to_height: Height) -> SyncResult<Vec<Block>>;

    /// One block: from the store, or where that begins above it, from a peer, proven. `None` where there is no such block
    /// yet, as far as is known. Does not need a running sync, but connected peers.
    async fn sync_single_block(&mut self, height: Height) -> SyncResult<Option<Block>>;

    /// Hands in blocks that this node's own consensus engine has decided. They are proven as a peer's are, stored, executed
    /// and served. Says up to which height blocks are stored, so that they survive a crash, and executed: at least the last
    /// of these. More may be handed in before one is answered; calls are taken in their order.
    async fn submit(&self, blocks: DecidedBlocks) -> SyncResult<Height>;

    /// Whether all of these consecutive blocks keep the rules and are final: by the certificate of the last, or because
    /// that block is the stored one. An error where nothing can be said.
    async fn verify_block_chain(&self, blocks: &[Block]) -> SyncResult<bool>;

    /// Lets the sync go on until the state stands at `height` or above.
    async fn sync_state_to_height(&mut self, height: Height) -> SyncResult<()>;

    /// Goes on until the named snapshot is kept here, and reads and hashes all of it. An error where the network went on to
    /// another block there, or the state came by at another height and this one is not kept.
    async fn download_state_snapshot(&mut self, snapshot_id: &SnapshotId) -> SyncResult<()>;

    /// Whether the state that is kept for `height` is, record for record, the one that the block's header names.
    async fn verify_state_consistency(&self, height: Height) -> SyncResult<bool>;

    /// Uses a peer: one that is connected, or was. One that never was needs its address
    /// ([`TokioSyncManager::add_peer_address`](super::TokioSyncManager::add_peer_address)).
    async fn add_sync_peer(&mut self, peer: PeerId) -> SyncResult<()>;

    /// Disconnects a peer, and uses it no more until it is added again, even where it connects by itself.
    async fn remove_sync_peer(&mut self, peer: &PeerId) -> SyncResult<()>;

    /// The peers that are connected.
    async fn get_sync_peers(&self) -> SyncResult<Vec<PeerId>>;

    /// Progress of the sync; at most some milliseconds old.
    async fn get_sync_progress(&self) -> SyncResult<SyncProgress>;

    /// Time to the target at the pace of the last seconds; zero once it is reached.
    async fn estimate_sync_completion(&self) -> SyncResult<Duration>;
}
