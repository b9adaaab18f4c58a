//! What can go wrong on the network, one type for each operation.
//!
//! Reasons that peers give are their words: they are cut to a length, stripped of control characters, and never acted on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use quinn::{ConnectionError, VarInt};

use hotstuff2_sync::ids::PeerId;

/// Longest reason of a peer that is kept, in characters.
const MAX_REASON_CHARS: usize = 120;

/// Why the endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has the port.
    #[error("port {port} is in use on {ip}: stop the process that has it, or choose another port (0 takes any free one)", port = address.port(), ip = address.ip())]
    PortInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The port is one that needs privileges.
    #[error("port {port} on {ip} needs privileges: choose one of 1024 and above (0 takes any free one)", port = address.port(), ip = address.ip())]
    NotPermitted {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address is none of this machine's, or the system refused otherwise.
    #[error("can't listen on {address}: {source}; check that the address is one of this machine's")]
    Io {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The identity can't be used for TLS.
    #[error("the identity can't be used for TLS: {0}; generate a new one")]
    Tls(#[from] rustls::Error),
}

impl BindError {
    pub(super) fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortInUse { address },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { address },
            _ => Self::Io { address, source },
        }
    }
}

/// Why a peer could not be connected to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Another key answered at the address.
    #[error(
        "{address} is peer {found}, not {expected}: check the address, or that the peer still has its identity file"
    )]
    WrongPeer {
        /// The address dialled.
        address: SocketAddr,
        /// The peer that was expected there.
        expected: PeerId,
        /// The key shown there.
        found: PeerId,
    },
    /// The address is this node itself.
    #[error("{address} is this node itself: leave it out of the peers, or give one of the nodes a key of its own")]
    OwnKey {
        /// The address dialled.
        address: SocketAddr,
    },
    /// The peer is banned at present.
    #[error("peer {peer} at {address} is banned at present")]
    Banned {
        /// The address dialled.
        address: SocketAddr,
        /// The peer.
        peer: PeerId,
    },
    /// Nobody answered.
    #[error("{address} did not answer within {} s: check the address, that the node runs, and that UDP gets there", after.as_secs())]
    Timeout {
        /// The address dialled.
        address: SocketAddr,
        /// How long it was waited for.
        after: Duration,
    },
    /// The other side turned the connection down, or it broke off in the handshake.
    #[error("{address} turned the connection down: {reason}")]
    Refused {
        /// The address dialled.
        address: SocketAddr,
        /// Why.
        reason: DisconnectReason,
    },
    /// The address can't be dialled from this endpoint.
    #[error("{address} can't be dialled: {reason}")]
    BadAddress {
        /// The address.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// The network was closed.
    #[error("the network is closed")]
    Closed,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// There is no connection to the peer.
    #[error("peer {peer} is not connected")]
    NotConnected {
        /// The peer.
        peer: PeerId,
    },
    /// The request is longer than any peer accepts. Nothing was sent.
    #[error("a request of {bytes} bytes is longer than the {limit} that peers accept: ask for less at a time")]
    RequestTooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The answer was longer than asked for, and was cut off there. That is the peer's fault.
    #[error("peer {peer} sent more than the {limit} bytes it was asked for")]
    Oversize {
        /// The peer.
        peer: PeerId,
        /// The limit of the request.
        limit: usize,
    },
    /// The peer gave up on the request.
    #[error("peer {peer} gave up on the request: {code}")]
    Reset {
        /// The peer.
        peer: PeerId,
        /// What it said.
        code: StreamCode,
    },
    /// The connection broke before the answer was whole.
    #[error("peer {peer} is gone: {reason}")]
    Disconnected {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: DisconnectReason,
    },
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DisconnectReason {
    /// This node closed it, and said this.
    #[error("closed by this node: {0}")]
    Local(String),
    /// The peer closed it, and said this.
    #[error("closed by the peer: {0:?}")]
    ByPeer(String),
    /// The peer was silent too long.
    #[error("no sign of life")]
    TimedOut,
    /// The peer has forgotten the connection: it restarted.
    #[error("the peer restarted")]
    Restarted,
    /// The other side does not speak this protocol, or its version, or it broke the rules of QUIC or TLS.
    #[error("protocol error: {0}")]
    Protocol(String),
}

impl From<&ConnectionError> for DisconnectReason {
    fn from(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::ByPeer(printable(&close.reason)),
            ConnectionError::ConnectionClosed(close) if close.reason.is_empty() => {
                Self::ByPeer(close.error_code.to_string())
            }
            ConnectionError::ConnectionClosed(close) => Self::ByPeer(printable(&close.reason)),
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::Reset => Self::Restarted,
            ConnectionError::LocallyClosed => Self::Local("closed".into()),
            ConnectionError::VersionMismatch | ConnectionError::TransportError(_) | ConnectionError::CidsExhausted => {
                Self::Protocol(error.to_string())
            }
        }
    }
}

/// What a side says when it gives up on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamCode {
    /// The asker no longer wants the answer.
    Cancelled,
    /// The request or answer is longer than allowed.
    Oversize,
    /// The node does not serve.
    NotServing,
    /// The other side was too slow.
    TooSlow,
    /// Something failed that is not the other side's fault.
    Failed,
    /// A code of another version.
    Unknown(u64),
}

impl StreamCode {
    pub(super) fn to_wire(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Cancelled => 1,
            Self::Oversize => 2,
            Self::NotServing => 3,
            Self::TooSlow => 4,
            Self::Failed | Self::Unknown(_) => 5,
        })
    }

    pub(super) fn from_wire(code: VarInt) -> Self {
        match code.into_inner() {
            1 => Self::Cancelled,
            2 => Self::Oversize,
            3 => Self::NotServing,
            4 => Self::TooSlow,
            5 => Self::Failed,
            other => Self::Unknown(other),
        }
    }
}

impl std::fmt::Display for StreamCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cancelled => f.write_str("it was cancelled"),
            Self::Oversize => f.write_str("it was too long"),
            Self::NotServing => f.write_str("the node does not serve"),
            Self::TooSlow => f.write_str("it was received too slowly"),
            Self::Failed => f.write_str("the node failed to answer"),
            Self::Unknown(code) => write!(f, "code {code}"),
        }
    }
}

/// A peer's words, safe for a log.
fn printable(words: &[u8]) -> String {
    String::from_utf8_lossy(words).chars().filter(|char| !char.is_control()).take(MAX_REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_codes_round_trip() {
        for code in [
            StreamCode::Cancelled,
            StreamCode::Oversize,
            StreamCode::NotServing,
            StreamCode::TooSlow,
            StreamCode::Failed,
            StreamCode::Unknown(77),
        ] {
            let wire =
                if let StreamCode::Unknown(code) = code { VarInt::try_from(code).unwrap() } else { code.to_wire() };
            assert_eq!(StreamCode::from_wire(wire), code);
        }
    }

    #[test]
    fn a_peers_words_are_tamed() {
        let words = printable("\u{1b}[31mred\r\n".as_bytes());
        assert_eq!(words, "[31mred");
        assert_eq!(printable(&vec![b'x'; 5000]).len(), MAX_REASON_CHARS);
        assert_eq!(printable(&[0xff, b'a']), "\u{fffd}a");
    }
}
