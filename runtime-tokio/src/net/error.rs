//! Failures of the network, one type for each operation.
//!
//! Reasons that peers give are their words: they are cut to a length, stripped of control characters, and never acted on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use quinn::ConnectionError;

use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::machine::RequestFailure;
pub use hotstuff2_sync::session::StreamCode;
use hotstuff2_sync::session::{SessionError, reason_of};

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
        /// Error of the operating system.
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
        /// Code that it gave.
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

impl From<ResponseError> for RequestFailure {
    /// Only an answer that is too long is the peer's fault.
    fn from(error: ResponseError) -> Self {
        match error {
            ResponseError::Oversize { .. } => Self::Oversize,
            _ => Self::Broken,
        }
    }
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
    /// The connection broke without a word: the network between, or the process at the other end.
    #[error("the connection broke")]
    Broken,
    /// The other side does not speak this protocol, or its version, or it broke the rules of QUIC, TLS or sessions.
    #[error("protocol error: {0}")]
    Protocol(String),
}

impl From<&SessionError> for DisconnectReason {
    fn from(error: &SessionError) -> Self {
        match error {
            SessionError::ByPeer(reason) => Self::ByPeer(reason.clone()),
            SessionError::Closed(reason) => Self::Local(reason.clone()),
            other => Self::Protocol(other.to_string()),
        }
    }
}

impl From<&ConnectionError> for DisconnectReason {
    fn from(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::ByPeer(reason_of(&close.reason)),
            ConnectionError::ConnectionClosed(close) if close.reason.is_empty() => {
                Self::ByPeer(close.error_code.to_string())
            }
            ConnectionError::ConnectionClosed(close) => Self::ByPeer(reason_of(&close.reason)),
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::Reset => Self::Restarted,
            ConnectionError::LocallyClosed => Self::Local("closed".into()),
            ConnectionError::VersionMismatch | ConnectionError::TransportError(_) | ConnectionError::CidsExhausted => {
                Self::Protocol(error.to_string())
            }
        }
    }
}
