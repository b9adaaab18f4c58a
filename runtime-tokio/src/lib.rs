//! Tokio runtime for `hotstuff2-sync`: a node's network, store and application around the core's state machine.
//!
//! [`SyncBuilder`] puts them together and starts the [`driver`]; each of the three is a trait that a node may implement
//! for its own, and each has a default: [`net::QuicNetwork`], [`store::DiskStore`], [`NoApplication`].
//!
//! # What it trusts
//! The operating system, the disk as far as checksums go, and the genesis document that the store was created from.
//! Nothing that comes over the network.

pub mod application;
pub mod checkpoint;
pub mod conformance;
pub mod consensus;
pub mod discovery;
pub mod driver;
pub mod executor;
mod fence;
mod files;
pub mod genesis_file;
pub mod heal;
pub mod http;
mod key_value;
pub mod light;
mod light_read;
pub mod manager;
pub mod monitor;
pub mod net;
mod penalty;
mod progress;
pub mod serve;
pub mod snapshot_file;
pub mod speculation;
pub mod state_validator;
pub mod store;
mod wall_clock;

#[cfg(test)]
mod test_network;
#[cfg(test)]
mod test_world;
#[cfg(test)]
mod wrapper_tests;

pub use application::{AppBlock, Application, ExecuteError, NoApplication};
pub use discovery::{AddressBook, BootstrapPeer, Discovery, DiscoverySettings, PeerAddress};
pub use driver::{
    DecidedBlocks, StartError, StateSync, StateSyncError, SubmitError, SyncBuilder, SyncEnd, SyncEvent, SyncHandle,
    SyncUsage,
};
pub use executor::Executor;
pub use heal::{HealError, HealEvent, Healer};
pub use key_value::{BlockState, KeyValueApplication};
pub use light::LightNode;
pub use light_read::{ReadError, read_state};
pub use manager::{SyncError, SyncManager, SyncManagerBuilder, SyncResult, SyncStatus, TokioSyncManager};
pub use monitor::{MetricsCollector, PeerFailureType, SyncErrorType, SyncPerformanceMonitor};
pub use progress::{ProgressTrend, SyncProgress, SyncProgressTracker};
pub use serve::StoreHandler;
pub use speculation::{BranchBlock, SpeculativeApplication};
pub use state_validator::{StateManager, SyncStateValidator, ValidationResult};
pub use wall_clock::wall_clock;

/// The packages whose types stand in signatures here, in the versions that fit.
pub use {bytes, hotstuff2_sync};

/// The example in the README, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The examples of the guide for other chains.
#[cfg(doctest)]
#[doc = include_str!("../../docs/your-chain.md")]
struct YourChain;
