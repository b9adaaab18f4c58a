//! What a peer claims to hold.

use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::ids::{Epoch, Height};

/// A peer's claims. They choose whom to ask and for nothing else: only proof moves a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The chain: the hash of its genesis document.
    pub chain_id: Hash,
    /// Lowest height whose header and payload the peer serves.
    pub earliest: Height,
    /// The peer's finalized tip.
    pub tip: Height,
    /// The tip's epoch.
    pub epoch: Epoch,
}

/// Most snapshots that a peer advertises, newest first.
pub const MAX_SNAPSHOT_CLAIMS: usize = 8;

/// A state that a peer says it serves. Sizes only guide the size of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotClaim {
    /// The state after the block at this height, a multiple of the chain's snapshot interval.
    pub height: Height,
    /// How many keys it has.
    pub keys: u64,
    /// Bytes of its keys and values.
    pub bytes: u64,
}
