//! Reports of `sync` and `demo`.

use std::time::Duration;

use hotstuff2_sync::machine::StateProgress;
use hotstuff2_sync::state::EMPTY_ROOT;
use serde::{Deserialize, Serialize};

use super::{Head, ratio};
use crate::tip::words;

/// Report of `sync` and `demo`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SyncReport {
    /// Whether the network's tip was reached, and nothing was found that should not be.
    pub(crate) ok: bool,
    /// Application that executed the blocks: "none" where nothing did, and no state was computed.
    #[serde(default)]
    pub(crate) app: String,
    /// The strategies used, in order.
    pub(crate) strategies: Vec<String>,
    /// Height of the store at the start.
    pub(crate) start_height: u64,
    /// Highest height that was proven final.
    pub(crate) target_height: u64,
    pub(crate) head: Head,
    /// Age of the highest proven block by this machine's clock; `None` where its time is not known.
    pub(crate) tip_age_seconds: Option<f64>,
    /// Blocks made durable by this run: those above its start, and above the state where one was fetched.
    pub(crate) blocks: u64,
    /// The whole catch-up, from the start of the node to the last durable commit, the application's included, without
    /// `idle_seconds`.
    pub(crate) seconds: f64,
    /// Time at the tip in which there was nothing to do.
    pub(crate) idle_seconds: f64,
    pub(crate) blocks_per_second: f64,
    /// Payload bytes of those blocks.
    pub(crate) payload_bytes: u64,
    /// Bytes of first-copy accepted frames.
    pub(crate) useful_bytes: u64,
    /// Bytes that the streams of this process received.
    pub(crate) wire_bytes_received: u64,
    pub(crate) duplicate_bytes: u64,
    /// Useful bytes over received ones.
    pub(crate) efficiency: f64,
    pub(crate) quorum_checks: u64,
    pub(crate) cpu_seconds: f64,
    /// CPU time of machine and driver.
    pub(crate) coordination_cpu_seconds: f64,
    /// Resident memory when the store was open and nothing had begun yet; `None` where the operating system doesn't say.
    pub(crate) start_rss_bytes: Option<u64>,
    /// `None` where the operating system doesn't say.
    pub(crate) peak_rss_bytes: Option<u64>,
    pub(crate) peak_buffered_bytes: u64,
    pub(crate) budget_bytes: u64,
    pub(crate) bottleneck: String,
    /// `None` where no state was fetched.
    pub(crate) state: Option<StateReport>,
    pub(crate) peers: Vec<PeerReport>,
}

impl SyncReport {
    /// The report for people, without the peers.
    pub(crate) fn describe(&self) -> String {
        let Head { height, id, state_root } = &self.head;
        let rss = self.peak_rss_bytes.map_or_else(|| "unknown".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
        let state = self.state.as_ref().map_or_else(String::new, |state| format!("{}\n", state.describe()));
        let tip = self
            .tip_age_seconds
            .map_or_else(String::new, |age| format!("\nthe tip is {} old", words(Duration::from_secs_f64(age))));
        let has_state = *state_root != EMPTY_ROOT.to_string();
        let computed = if self.app == "none" && has_state {
            "\nthat state was neither fetched nor computed here: no application ran (--app none)"
        } else {
            ""
        };
        format!(
            "{state}{} blocks in {:.2} s: {:.0} blocks/s, {:.1} MB/s of payload\n\
             {:.1} % of received bytes useful, {} quorum checks, peak memory {rss}\n\
             {:.2} CPU seconds, {:.3} of them for coordination\n\
             head {height} {id}\nstate root in its header {state_root}{computed}{tip}",
            self.blocks,
            self.seconds,
            self.blocks_per_second,
            ratio(self.payload_bytes as f64 / 1e6, self.seconds),
            self.efficiency * 100.0,
            self.quorum_checks,
            self.cpu_seconds,
            self.coordination_cpu_seconds,
        )
    }
}

/// Cost of fetching a state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StateReport {
    /// Keys that were fetched. What was there already is not among them.
    pub(crate) keys: u64,
    /// Bytes of their keys and values, as they are stored.
    pub(crate) bytes: u64,
    /// From the first proven block whose state is fetched until that state is live.
    pub(crate) seconds: f64,
    pub(crate) keys_per_second: f64,
    /// Bytes that came although the same had come already.
    pub(crate) refetched_bytes: u64,
    /// Subtrees that were fetched.
    pub(crate) prefixes: u64,
    /// Times that another block's state was taken, because nobody served the one before any more.
    pub(crate) moves: u64,
}

impl StateReport {
    pub(crate) fn new(state: &StateProgress) -> Self {
        let seconds = state.elapsed.as_secs_f64();
        Self {
            keys: state.keys,
            bytes: state.bytes,
            seconds,
            keys_per_second: ratio(state.keys as f64, seconds),
            refetched_bytes: state.refetched_bytes,
            prefixes: state.prefixes,
            moves: state.moves,
        }
    }

    fn describe(&self) -> String {
        format!(
            "state of {} keys, {:.1} MB, in {:.2} s: {:.0} keys/s",
            self.keys,
            self.bytes as f64 / 1e6,
            self.seconds,
            self.keys_per_second
        )
    }
}

/// One peer's part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PeerReport {
    pub(crate) id: String,
    /// As the demo set it up; a `sync` alone doesn't know.
    pub(crate) role: Option<Role>,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    /// Provably false answers that it gave.
    pub(crate) false_answers: u64,
    /// Requests that it did not answer.
    pub(crate) unanswered: u64,
    /// The reason.
    pub(crate) banned: Option<String>,
}

/// Role that the demo gave a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Honest,
    Liar,
    Slow,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Liar => "liar",
            Self::Slow => "slow",
        }
    }
}
