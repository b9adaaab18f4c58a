//! Qualities of nodes and of the ways between them: [`Line`] and [`Link`].

use std::time::Duration;

/// A node's own line, in bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// From the node.
    pub up: u64,
    /// To the node.
    pub down: u64,
}

impl Line {
    /// A line that holds nothing up.
    pub const UNLIMITED: Self = Self { up: u64::MAX, down: u64::MAX };

    /// As fast in both directions.
    pub const fn symmetric(rate: u64) -> Self {
        Self { up: rate, down: rate }
    }
}

/// The way between two nodes, in one direction. Probabilities are in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Time that a packet takes at least.
    pub latency: Duration,
    /// Time that it may take beside that.
    pub jitter: Duration,
    /// Bytes a second.
    pub rate: u64,
    /// How many packets are lost.
    pub loss_ppm: u32,
    /// How many messages are held back, so that later ones overtake them.
    pub reorder_ppm: u32,
    /// For how long, at most.
    pub reorder_by: Duration,
    /// How many messages come twice.
    pub duplicate_ppm: u32,
    /// How many streams break instead of coming to their end.
    pub break_ppm: u32,
}

impl Link {
    /// A link without faults.
    pub const fn with_latency(latency: Duration) -> Self {
        Self {
            latency,
            jitter: Duration::ZERO,
            rate: u64::MAX,
            loss_ppm: 0,
            reorder_ppm: 0,
            reorder_by: Duration::ZERO,
            duplicate_ppm: 0,
            break_ppm: 0,
        }
    }
}
