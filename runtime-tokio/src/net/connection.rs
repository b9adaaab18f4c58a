//! [`Connection`]: a connection to a peer, whichever way it goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;

use super::address::canonical;
use super::error::ResponseError;
use super::farewell;
use super::stream::{Received, ask};
use super::tcp::Line;

/// A QUIC connection, or a session over TCP.
#[derive(Clone, Debug)]
pub(super) enum Connection {
    Quic(quinn::Connection),
    Tcp(Arc<Line>),
}

/// Tells connections of a table apart. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionId {
    Quic(usize),
    Tcp(u64),
}

impl Connection {
    pub(super) fn id(&self) -> ConnectionId {
        match self {
            Self::Quic(connection) => ConnectionId::Quic(connection.stable_id()),
            Self::Tcp(line) => ConnectionId::Tcp(line.id()),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Quic(connection) => canonical(connection.remote_address()),
            Self::Tcp(line) => line.address(),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        match self {
            Self::Quic(connection) => connection.close_reason().is_none(),
            Self::Tcp(line) => line.is_live(),
        }
    }

    /// Closes it, and says why.
    pub(super) fn close(&self, reason: &str) {
        match self {
            Self::Quic(connection) => farewell::close(connection, reason),
            Self::Tcp(line) => line.close(reason),
        }
    }

    /// Ends when the connection has.
    pub(super) async fn closed(&self) {
        match self {
            Self::Quic(connection) => drop(connection.closed().await),
            Self::Tcp(line) => line.closed().await,
        }
    }

    /// The time that one more round trip takes, as far as it matters: a session has said its last word when it has ended.
    pub(super) fn rtt(&self) -> Duration {
        match self {
            Self::Quic(connection) => connection.rtt(),
            Self::Tcp(_) => Duration::ZERO,
        }
    }

    /// Asks `peer` at the other end. Waits while as much is open as that takes.
    pub(super) async fn ask(
        self,
        peer: PeerId,
        request: Bytes,
        limit: usize,
        received: Received,
    ) -> Result<Bytes, ResponseError> {
        match self {
            Self::Quic(connection) => ask(connection, peer, request, limit, received).await,
            Self::Tcp(line) => line.ask(peer, request, limit, received).await,
        }
    }
}
