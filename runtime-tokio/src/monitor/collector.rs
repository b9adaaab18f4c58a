//! [`MetricsCollector`]: where figures go.

use std::time::Duration;

use hotstuff2_sync::machine::Progress;

/// A stage on a block's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncStage {
    /// From the request to the last byte of its answer.
    Download,
    /// A verification job, on its thread.
    Validation,
    /// Executing a batch.
    Application,
}

impl SyncStage {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Download, Self::Validation, Self::Application];

    /// Name as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Validation => "validation",
            Self::Application => "application",
        }
    }
}

/// Kind of thing that stops or delays a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyncErrorType {
    /// An answer that doesn't prove what it must.
    InvalidAnswer,
    /// A verification job panicked.
    Verification,
    /// The store failed.
    Store,
    /// The application failed.
    Application,
    /// No progress for a while.
    Stall,
    /// This node suspects itself: its anchor, its software or its disk.
    SuspectSelf,
    /// The sync has stopped for good.
    Halt,
}

impl SyncErrorType {
    /// All of them.
    pub(super) const ALL: [Self; 7] = [
        Self::InvalidAnswer,
        Self::Verification,
        Self::Store,
        Self::Application,
        Self::Stall,
        Self::SuspectSelf,
        Self::Halt,
    ];

    /// Name as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidAnswer => "invalid_answer",
            Self::Verification => "verification",
            Self::Store => "store",
            Self::Application => "application",
            Self::Stall => "stall",
            Self::SuspectSelf => "suspect_self",
            Self::Halt => "halt",
        }
    }
}

/// Failure of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerFailureType {
    /// The connection or a stream broke.
    Broken,
    /// The peer sent more than an honest answer can have.
    Oversize,
    /// A request to it was given up: late, or answered elsewhere before.
    GivenUp,
    /// The connection ended.
    Disconnected,
    /// The peer was banned for a provably false answer.
    Banned,
}

impl PeerFailureType {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::Broken, Self::Oversize, Self::GivenUp, Self::Disconnected, Self::Banned];

    /// Name as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Oversize => "oversize",
            Self::GivenUp => "given_up",
            Self::Disconnected => "disconnected",
            Self::Banned => "banned",
        }
    }
}

/// Takes figures. Called from several threads, often, and on the way of the data: it must be quick and never block.
///
/// Peers come as labels, of which there are never more than a bounded number: see
/// [`MAX_PEER_LABELS`](super::MAX_PEER_LABELS).
pub trait MetricsCollector: Send + Sync + 'static {
    /// A stage took `took` for the blocks at or from `height` on.
    fn duration(&self, stage: SyncStage, height: u64, took: Duration);

    /// A peer's answer of `bytes` took `took`.
    fn bandwidth(&self, peer: &str, bytes: u64, took: Duration);

    /// A small question to a peer was answered after `latency`.
    fn latency(&self, peer: &str, latency: Duration);

    /// Something went wrong.
    fn error(&self, error: SyncErrorType, peer: Option<&str>);

    /// A peer failed.
    fn peer_failure(&self, peer: &str, failure: PeerFailureType);

    /// Takes in the progress of the sync, each time that it is published.
    fn progress(&self, progress: &Progress);

    /// Another peer gets a label of its own in the place of this one, whose figures may go.
    fn forget_peer(&self, peer: &str);
}
