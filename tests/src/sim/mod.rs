//! A deterministic network of nodes on virtual time.

mod network;
mod queue;

pub use network::{CHUNK_BYTES, Happening, Line, Link, NodeId, TransferId, VirtualNetwork};
pub use queue::Queue;
