//! What a peer claims to hold.

use serde::{Deserialize, Serialize};

use crate::chain::native::codec;
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
    /// The states that the peer serves; `None` where it serves none.
    pub snapshots: Option<AdvertisedSnapshots>,
}

/// The states that a peer says it serves, each with the headers that prove it: those after the blocks at the multiples of the chain's snapshot interval from
/// `oldest` to `newest`. The sizes are the newest one's and only guide the size of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AdvertisedSnapshots {
    /// The lowest height.
    pub oldest: Height,
    /// The highest height.
    pub newest: Height,
    /// How many keys it has.
    pub keys: u64,
    /// Bytes of its keys and values.
    pub bytes: u64,
}

/// Room for a peer's claims as they are encoded: a hash, a tag, and seven numbers of at most ten bytes each.
const MAX_STATUS_BYTES: usize = 128;

impl PeerStatus {
    /// Reads claims in their one canonical form; `None` for anything else.
    pub fn decode(data: &[u8]) -> Option<Self> {
        codec::decode(data, MAX_STATUS_BYTES).ok()
    }
}

impl AdvertisedSnapshots {
    /// Whether a state at `height` is among them, by what the peer says.
    pub fn holds(&self, height: Height) -> bool {
        self.oldest <= height && height <= self.newest
    }
}
