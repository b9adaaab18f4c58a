//! [`DevnetReport`]: what a devnet came to.

use serde::Serialize;

use crate::report::ratio;

/// Result of a run.
#[derive(Debug, Serialize)]
pub(super) struct DevnetReport {
    /// Whether all nodes that ran at the end came to one block and one state, each in its role.
    pub(super) ok: bool,
    /// Seconds from the first block to the end.
    pub(super) seconds: f64,
    /// The height that all came to.
    pub(super) height: u64,
    /// Id of the block there.
    pub(super) id: String,
    /// The root of the state after it, computed by each node.
    pub(super) computed_state_root: String,
    pub(super) blocks_per_second: f64,
    /// Changes of epoch.
    pub(super) epochs: u64,
    /// Milliseconds from a block's own time until it was executed, on average over nodes and blocks.
    pub(super) executed_after_ms: f64,
    /// Transactions that were sent.
    pub(super) transactions: u64,
    /// What was done to the network.
    pub(super) events: Vec<String>,
    /// Nodes that came back into their roles.
    pub(super) recoveries: Vec<Recovery>,
    /// The median of their times in seconds, the one below which 99 of 100 lie, and the longest.
    pub(super) recovery_seconds: Option<[f64; 3]>,
    /// What was wrong.
    pub(super) faults: Vec<String>,
    /// Nodes at the end.
    pub(super) nodes: Vec<NodeReport>,
}

/// A node that was disturbed, and came back.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Recovery {
    pub(super) node: u64,
    /// What had happened to it.
    pub(super) after: &'static str,
    /// Blocks that it was behind when it could go on.
    pub(super) behind: u64,
    /// Seconds until it was in its role again, with a block that is newer than the disturbance.
    pub(super) seconds: f64,
}

/// A node at the end.
#[derive(Clone, Debug, Serialize)]
pub(super) struct NodeReport {
    pub(super) node: u64,
    pub(super) height: u64,
    pub(super) id: String,
    pub(super) computed_state_root: Option<String>,
    pub(super) validator: bool,
    pub(super) votes: bool,
    /// Blocks that it had executed before they were final, and took back.
    pub(super) taken_back: u64,
    /// Peers that it has banned.
    pub(super) banned: Vec<String>,
}

/// Median, 99th percentile and maximum.
pub(super) fn spread(recoveries: &[Recovery]) -> Option<[f64; 3]> {
    let mut times: Vec<f64> = recoveries.iter().map(|recovery| recovery.seconds).collect();
    times.sort_by(f64::total_cmp);
    let last = times.len().checked_sub(1)?;
    let at = |percent: usize| times.get((last * percent).div_ceil(100)).copied();
    Some([at(50)?, at(99)?, at(100)?])
}

impl DevnetReport {
    pub(super) fn describe(&self) -> String {
        let Self { height, seconds, blocks_per_second, executed_after_ms, epochs, .. } = self;
        let mut text = format!(
            "{} nodes at block {height}, one state: {}\n{height} blocks in {seconds:.1} s ({blocks_per_second:.1}/s), executed {executed_after_ms:.0} ms after their time, {epochs} changes of epoch",
            self.nodes.len(),
            self.computed_state_root,
        );
        if let Some([median, most, longest]) = self.recovery_seconds {
            text.push_str(&format!(
                "\n{} times a node came back into its role: {median:.2} s median, {most:.2} s p99, {longest:.2} s at most",
                self.recoveries.len()
            ));
        }
        text
    }

    pub(super) fn rate(height: u64, seconds: f64) -> f64 {
        ratio(height as f64, seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_some_times() {
        let of = |seconds| Recovery { node: 0, after: "", behind: 0, seconds };
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[of(2.0)]), Some([2.0; 3]));
        assert_eq!(spread(&[of(3.0), of(1.0), of(2.0)]), Some([2.0, 3.0, 3.0]));
    }
}
