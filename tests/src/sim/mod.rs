//! A deterministic world: a network of nodes on virtual time, adversaries, disks that crash, and oracles.
//!
//! Start with [`NetworkSimulator`]. [`VirtualNetwork`] is the network alone, for messages of any type.

mod adversary;
mod chains;
mod disk;
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
pub use network::{CHUNK_BYTES, Happening, Line, Link, NodeId, TransferId, VirtualNetwork};
pub use node::{JoinerSpec, ServerSpec};
pub use oracle::{Law, Oracle, Violation};
pub use queue::Queue;
pub use scenario::{Run, Scenario, Theme};
pub use shelf::Shelf;
pub use simulator::{NetworkSimulator, Step};
pub use source::{CachedChain, Holdings, LeanChain, LeanChainError, Source};
pub use trace::Trace;
