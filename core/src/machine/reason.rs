//! [`Stall`]: why there is no progress, in words for people, and what happens next.

use core::fmt;

use crate::ids::{Epoch, Height};
use crate::ranges::HeightRange;
use crate::time::Instant;

/// Stall of the sync: what it waits for, since when, and what it does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Stall {
    /// Why there is no progress.
    pub reason: StallReason,
    /// Time of the last progress.
    pub since: Instant,
    /// The machine's next step.
    pub step: StallStep,
    /// Time of that step, at the latest: unless something comes before.
    pub deadline: Instant,
}

/// Next step of the machine where there is no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StallStep {
    /// Says again that it needs a peer; one that comes is asked at once.
    #[error("needs a peer")]
    AwaitPeer,
    /// Asks peers what they have, and whoever can help for what is missing.
    #[error("asks peers what they have")]
    AskPeers,
    /// Gives up requests that are late, and asks others.
    #[error("asks other peers")]
    AskOthers,
    /// Gives out a verification job again.
    #[error("verifies again")]
    VerifyAgain,
    /// Gives out a call into the store or the application again.
    #[error("calls the store or the application again")]
    CallAgain,
}

/// Why there is no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StallReason {
    /// Nobody to ask.
    #[error("no peer is connected that may be asked; waiting for one")]
    NoPeers,
    /// Nobody has proven a block above ours.
    #[error("no peer has proven a block above {0}; asking for tips again")]
    NoTarget(Height),
    /// Nobody gives the handover that ends this epoch.
    #[error("no peer gives the handover that ends epoch {0}; asking again")]
    HandoverMissing(Epoch),
    /// Nobody gives these blocks.
    #[error("no peer gives blocks {0}; asking again")]
    BlocksMissing(HeightRange),
    /// Nobody claims to have the next block any more.
    #[error(
        "no peer has block {next} (of {}, the earliest block is {earliest}); choose the strategy fast, or name an archive: a peer that keeps all blocks",
        Counted(*.peers)
    )]
    HistoryMissing {
        /// The next block.
        next: Height,
        /// The lowest block that any of the peers claims to have.
        earliest: Height,
        /// Peers that are asked and have said what they have.
        peers: u32,
    },
    /// Nobody serves a state above ours.
    #[error(
        "no peer serves a state above {above} (of {}, {}); waiting for one, or choose the strategy parallel or auto",
        Counted(*.peers), Newest(*.newest)
    )]
    NoSnapshot {
        /// The height of this node.
        above: Height,
        /// The newest state that any of the peers claims to serve.
        newest: Option<Height>,
        /// Peers that are asked and have said what they have.
        peers: u32,
    },
    /// Nobody gives what is missing of this state.
    #[error("no peer gives the rest of the state after block {0}; asking again")]
    StateMissing(Height),
    /// An answer is awaited.
    #[error("waiting for peers to answer; late ones are asked elsewhere")]
    PeersSlow,
    /// A verification job has not come back, and no thread is known to be at it.
    #[error("a verification job is late; it is given out again at its deadline")]
    VerifyLate,
    /// Threads verify answers. That is told as a stall only after
    /// [`job_timeout`](crate::config::SyncConfig::job_timeout) more than any other reason.
    #[error("answers are being verified, and take long; a job whose time runs out is given out again")]
    Verifying,
    /// The host could not check an answer, for a reason of its chain with this code.
    #[error(
        "answers can't be checked here: the chain of this node fails (code {0}); nobody is blamed, and it is tried again after a pause"
    )]
    VerifyFails(u32),
    /// A call into the host has not come back.
    #[error("the store or the application is late; the call is given out again at its deadline")]
    HostLate,
    /// The host said that it can't take blocks now.
    #[error("the store or the application can't take blocks now; tried again after a pause")]
    HostBusy,
    /// The host said that its disk is full, or that less is free than it is to leave.
    #[error("the disk is full, or nearly so; free space: nothing is lost, and writing goes on by itself")]
    DiskFull,
}

/// Number of peers, in words.
struct Counted(u32);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "peer" } else { "peers" })
    }
}

/// The newest state that is claimed, in words.
struct Newest(Option<Height>);

impl fmt::Display for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(height) => write!(f, "the newest is that of block {height}"),
            None => f.write_str("none serves any"),
        }
    }
}
