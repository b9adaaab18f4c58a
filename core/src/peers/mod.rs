//! The peers: their claims, their measured performance and their bans; and the choice of whom to ask.
//!
//! Four kinds of outcome are never mixed. A *proven* fault bans at once. A *suspected* one (slow, silent, needlessly small
//! answers) makes the peer be used less and tried again later, unless everybody is slow at the same time: then it is our
//! own link. *Unsupported* (another version, another chain) and *not available* or *busy* are no faults at all.
//!
//! At most [`max_sync_peers`](crate::config::SyncConfig::max_sync_peers) peers are asked at a time; the others stand by and
//! take the slots of those that fail or that deliver least. Choices look at the peers that are asked and at nobody else,
//! so their cost doesn't grow with the number of connections.

mod active_set;
mod choice;
mod estimator;
mod kind_stats;
mod local_link;
mod manager;
mod peer;
mod performance;
mod quality;
mod slots;
mod table;
mod trust;

#[cfg(test)]
mod tests;

pub(crate) use choice::Ask;
pub use manager::{PeerSettings, SyncPeerManager};
pub(crate) use peer::{BanState, Peer};
pub use quality::{BlacklistReason, PeerHealth, PeerInfo, PeerOutcome, PeerPerformance, PeerQuality};
pub(crate) use trust::Consequence;
