//! Reports of `serve`.

use hotstuff2_sync::serve::{CacheStats, ServeStats};
use serde::{Deserialize, Serialize};

/// Report of `serve` as soon as it serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ServeReport {
    pub(crate) address: std::net::SocketAddr,
    /// Address at which it listens over TCP, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tcp: Option<std::net::SocketAddr>,
    /// Address at which it listens for WebSockets, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ws: Option<std::net::SocketAddr>,
    /// Address at which it shows the page, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) web: Option<std::net::SocketAddr>,
    pub(crate) peer_id: String,
    pub(crate) height: u64,
    /// Microseconds of CPU time a second that may be spent on serving.
    pub(crate) work_per_second: u64,
    /// Bytes of answers a second.
    pub(crate) bytes_per_second: u64,
    /// The most memory that this process should ever have resident, whoever connects.
    pub(crate) memory_bound_bytes: u64,
}

/// Counts of `serve`, as it says when it stops.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ServedReport {
    pub(crate) seconds: f64,
    pub(crate) served: ServeStats,
    pub(crate) cache: CacheStats,
    /// Answers that an honest node would not have given.
    pub(crate) unlike: u64,
}
