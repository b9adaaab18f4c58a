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
