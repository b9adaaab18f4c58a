//! A deterministic world: a network of nodes on virtual time, adversaries, disks that crash, and oracles.
//!
//! Start with [`SyncTestFramework`] for ready scenarios, with [`NetworkSimulator`] for worlds of your own. [`VirtualNetwork`] is the network alone, for messages of any type.

mod adversary;
mod chains;
mod disk;
mod doctor;
mod framework;
mod golden;
mod manager;
mod network;
mod node;
mod oracle;
mod queue;
mod scenario;
mod shelf;
mod simulator;
mod source;
mod trace;

pub use adversary::{
    Adversary, After, Answering, Ask, Equivocation, Forgery, Kinds, Lie, Minority, Nuisance, Only, Says, Sometimes,
};
pub use disk::{Crash, Crashed, Disk};
pub use doctor::Doctor;
pub use framework::{
    BenchmarkResults, BenchmarkRow, FrameworkError, NetworkScenario, ScenarioReport, SyncTestFramework,
};
pub use golden::{GOLDEN, golden_line, golden_seeds};
pub(crate) use manager::certified_blocks;
pub use manager::{TestSyncError, TestSyncManager, TestSyncStatus};
pub use network::{CHUNK_BYTES, Happening, Line, Link, NodeId, TransferId, VirtualNetwork};
pub use node::{JoinerSpec, ServerSpec};
pub use oracle::{Law, Oracle, Violation};
pub use queue::Queue;
pub use scenario::{Run, Scenario, Theme};
pub use shelf::Shelf;
pub use simulator::{NetworkSimulator, Step};
pub use source::{CachedChain, Holdings, LeanChain, LeanChainError, Source};
pub use trace::Trace;
