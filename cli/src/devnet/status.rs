//! [`MemberStatus`]: what a node of a devnet says of itself.

use serde::{Deserialize, Serialize};

/// A node, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct MemberStatus {
    /// Height that is stored and executed.
    pub(super) height: u64,
    /// The view that its replica is in.
    pub(super) view: u64,
    /// Epoch of the next block.
    pub(super) epoch: u64,
    /// Whether its key is in the set of that epoch.
    pub(super) validator: bool,
    /// Whether it may vote.
    pub(super) votes: bool,
    /// Why not.
    pub(super) waits_for: String,
    /// Peers that are connected.
    pub(super) peers: usize,
    /// The strategy of its sync.
    pub(super) strategy: String,
    /// Age of the highest proven block, in ms.
    pub(super) tip_age_ms: Option<u64>,
    /// Blocks that were executed before they were final, and taken back.
    pub(super) taken_back: u64,
    /// Sum of the milliseconds from the times of blocks until they were executed here, and how many blocks they are of, while it
    /// followed.
    pub(super) latencies: (u64, u64),
    /// Peers that it has banned.
    pub(super) banned: Vec<String>,
    /// The root of the state after block [`height`](Self::height), computed; where it was asked for.
    pub(super) root: Option<String>,
    /// Id of that block.
    pub(super) id: String,
    /// Why the node can't go on.
    pub(super) failed: Option<String>,
}

/// What a node is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Say how it is.
    Status,
    /// Hear and reach these nodes no more.
    Cut(Vec<u64>),
    /// Hear and reach all again.
    Heal,
    /// Take so many milliseconds for each message and answer.
    Slow(u64),
    /// Put these transactions into blocks.
    Pay(Vec<u8>),
    /// Decide nothing any more.
    Rest,
    /// Say the root of the state, computed.
    Root,
}
