//! Reports of the coordinator on downloads.

use core::time::Duration;

use crate::ids::{PeerId, RequestId};
use crate::ranges::HeightRange;
use crate::requests::RequestKind;
use crate::time::Instant;

/// Heights of blocks that one task is to bring.
pub type BlockRange = HeightRange;

/// Names a download: it is the request that carries it out.
pub type TaskId = RequestId;

/// A download in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DownloadTask {
    /// Name of the task.
    pub id: TaskId,
    /// The peer that was asked.
    pub peer: PeerId,
    /// Kind of the request.
    pub kind: RequestKind,
    /// The blocks; `None` for headers of a whole cell, and for states.
    pub range: Option<BlockRange>,
    /// Bytes that the answer is expected to have.
    pub bytes: u64,
    /// Time at which it was asked for.
    pub sent: Instant,
    /// Time at which the answer is expected, by what is known of the peer.
    pub due: Instant,
}

/// Progress of downloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DownloadProgress {
    /// Downloads in flight.
    pub active: usize,
    /// Peers that are asked for something.
    pub peers: usize,
    /// Bytes that are expected of the downloads in flight.
    pub bytes_in_flight: u64,
    /// Bytes of downloads that came.
    pub bytes_received: u64,
    /// Bytes that are still to be asked for, as far as is known.
    pub bytes_missing: u64,
    /// Bytes a second that come, over the last seconds.
    pub bytes_per_second: u64,
}

/// Totals of downloads, since the machine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DownloadStatistics {
    /// Downloads that were asked for.
    pub assigned: u64,
    /// Those that were answered with data.
    pub completed: u64,
    /// Those that failed or were late, and were asked for again elsewhere.
    pub reassigned: u64,
    /// Those that a second peer was asked for, because the first was late.
    pub hedged: u64,
    /// Those that were given up because they were no longer wanted.
    pub cancelled: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Time from question to answer, smoothed.
    pub latency: Duration,
}
