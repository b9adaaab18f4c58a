//! Tokio runtime for `hotstuff2-sync`: a node's network, store and application around the core's state machine.
//!
//! [`SyncBuilder`] puts them together and starts the [`driver`]; each of the three is a trait that a node may implement
//! for its own, and each has a default: [`net::QuicNetwork`], [`store::DiskStore`], [`NoApplication`].
//!
//! # What it trusts
//! The operating system, the disk as far as checksums go, and the genesis document that the store was created from.
//! Nothing that comes over the network.

pub mod application;
pub mod driver;
pub mod net;
pub mod serve;
pub mod snapshot_file;
pub mod store;

pub use application::{AppBlock, Application, ExecuteError, NoApplication};
pub use driver::{PeerAddress, StartError, SyncBuilder, SyncEnd, SyncEvent, SyncHandle, SyncUsage};
pub use serve::StoreHandler;

/// The example in the README, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
