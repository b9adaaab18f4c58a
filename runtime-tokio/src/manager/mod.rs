//! [`SyncManager`]: what a node calls. [`TokioSyncManager`] implements it over one running sync of any chain;
//! [`SyncManagerBuilder`] puts that together from a genesis document, or another chain and its anchor, and a folder.
//!
//! A manager is a handle: its clones share one sync, and any of them may start, stop or ask at any moment. The sync is
//! the driver's, which is also there by itself ([`SyncBuilder`](crate::SyncBuilder)).
//!
//! # What it trusts
//! The genesis document and the store that belongs to it. Blocks that peers give for a single request are proven here as
//! those of a sync are.

mod any_chain;
mod blocks;
mod builder;
mod error;
mod peers;
mod pump;
mod requester;
mod status;
mod strategies;
mod sync_manager;
mod tokio_manager;
mod validator;

#[cfg(test)]
mod checkpoint_tests;
#[cfg(test)]
pub(crate) mod decided_tests;
#[cfg(test)]
mod requester_tests;
#[cfg(test)]
mod strategies_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trust_tests;

pub use builder::{BuildError, SyncManagerBuilder};
pub use error::{SyncError, SyncResult};
pub use pump::SyncEvents;
pub use requester::BlockRequester;
pub use status::SyncStatus;
pub use strategies::{
    BlockDownloader, BlockProcessingPipeline, DependencyResolver, FastSyncStrategy, IncrementalSyncStrategy,
    ParallelSyncStrategy, PlannedRange, SnapshotDownloader, StateApplier, StateVerifier, SyncStrategy,
};
pub use sync_manager::SyncManager;
pub use tokio_manager::{MAX_BLOCKS_PER_CALL, MAX_BYTES_PER_CALL, TokioSyncManager};
pub use validator::{BlockCheckError, SyncBlockValidator};
