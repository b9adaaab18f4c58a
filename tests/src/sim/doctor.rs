//! [`Doctor`]: breaks what a node does, to see that the oracles see it.

use hotstuff2_sync::calls::Start;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::machine::Output;
use hotstuff2_sync::verify::{Job, Verdict};

/// Stands between a machine and its host and changes what passes, as a defect of either would. An oracle that reports
/// nothing of what a doctor does is worth nothing. By default everything passes as it is.
pub trait Doctor {
    /// Settings that the machine gets in the place of the node's.
    fn config(&mut self, config: SyncConfig) -> SyncConfig {
        config
    }

    /// Where the machine is told that the node stands.
    fn start(&mut self, start: Start) -> Start {
        start
    }

    /// The verdict that the machine is given for a job.
    fn verdict(&mut self, job: &Job, verdict: Verdict) -> Verdict {
        let _ = job;
        verdict
    }

    /// The output that the node is given; none where it is `None`, and in the place of a deadline no deadline.
    fn output(&mut self, output: Output) -> Option<Output> {
        Some(output)
    }
}
