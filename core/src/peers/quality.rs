//! Reports of a peer and of its requests, as values.

use core::time::Duration;

use crate::chain::Fault;
use crate::ids::{Height, PeerId};
use crate::requests::RequestKind;
use crate::time::Instant;

/// Why a peer is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlacklistReason {
    /// The peer gave a provably false answer.
    #[error("{0}")]
    Proven(Fault),
    /// The host's own accounts say that it isn't worth asking.
    #[error("unreliable by the host's accounts")]
    Unreliable,
    /// An operator said so.
    #[error("excluded by hand")]
    ByHand,
}

impl BlacklistReason {
    /// The provable fault, if that is the reason.
    pub const fn fault(self) -> Option<Fault> {
        match self {
            Self::Proven(fault) => Some(fault),
            Self::Unreliable | Self::ByHand => None,
        }
    }
}

/// Health of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerHealth {
    /// Nothing is known of such a peer.
    Unknown,
    /// Not connected.
    Disconnected,
    /// Asked.
    Healthy,
    /// Connected and not asked: enough others are.
    StandingBy,
    /// Slow, silent or needlessly sparing: used less, and for something it was asked in vain for not before then.
    Suspected {
        /// Time from which on it is asked for everything again.
        until: Instant,
    },
    /// Said that it is busy, and is left alone until then.
    Busy {
        /// Time from which on it is asked again.
        until: Instant,
    },
    /// Left out until then.
    Banned {
        /// Time from which on it may come back.
        until: Instant,
    },
    /// Speaks another version or follows another chain; left alone until then.
    Unsupported {
        /// Time from which on it is tried again.
        until: Instant,
    },
}

/// Outcome of one request, for [`record_peer_performance`](super::SyncPeerManager::record_peer_performance).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerOutcome {
    /// The request was answered with data, which is still to be checked.
    Delivered,
    /// The data was true; checking took so long.
    Verified {
        /// From the job to its verdict.
        took: Duration,
    },
    /// The request was not answered in time, or the connection or its stream broke.
    NoAnswer,
    /// The answer was true and needlessly small.
    Sparing,
}

/// One thing that a peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerPerformance {
    /// Kind of the request.
    pub kind: RequestKind,
    /// Time at which it was asked.
    pub sent: Instant,
    /// Time at which the answer was expected by what was known then.
    pub due: Instant,
    /// Bytes of the answer, or those that it was expected to have where there is none.
    pub bytes: u64,
    /// Outcome of the request.
    pub outcome: PeerOutcome,
}

/// Quality of a peer: all figures are smoothed, and those of a peer that has done nothing yet are what is assumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerQuality {
    /// Whether it has delivered anything that these figures rest on.
    pub measured: bool,
    /// Bytes a second that its line gives.
    pub bytes_per_second: u64,
    /// Time to a small answer.
    pub latency: Duration,
    /// Requests that it answers with something true, in millionths.
    pub reliability_ppm: u32,
    /// Time that checking takes for a MiB of its useful bytes.
    pub verify_per_mib: Duration,
    /// Requests that may be in flight to it.
    pub window: u32,
    /// Bytes that it is asked for at once.
    pub request_bytes: u64,
    /// Time in which it is expected to bring 256 KiB of payload, with all of the above and what it is asked for already:
    /// what choices go by. [`Duration::MAX`] where it can't be asked.
    pub expected: Duration,
}

/// A peer, as the machine knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerInfo {
    /// The peer.
    pub id: PeerId,
    /// Group of peers that may be one operator.
    pub group: u64,
    /// Whether it is connected.
    pub connected: bool,
    /// Whether it is among those that are asked.
    pub active: bool,
    /// The highest height that it claims. Proves nothing.
    pub claimed: Option<Height>,
    /// Large answers that it is being asked for.
    pub in_flight: u32,
    /// Bytes that those are expected to have.
    pub queued_bytes: u64,
    /// Blocks whose payloads it delivered first.
    pub blocks: u64,
    /// Accepted bytes.
    pub bytes: u64,
    /// Provably false answers that it gave.
    pub false_answers: u64,
    /// Requests that it did not answer: not in time, or its stream broke.
    pub unanswered: u64,
    /// Quality of the peer.
    pub quality: PeerQuality,
    /// Health of the peer.
    pub health: PeerHealth,
    /// Why it is banned, if it is.
    pub banned: Option<BlacklistReason>,
}
