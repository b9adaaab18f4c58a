//! The network: peers known by Ed25519 key, requests and answers as opaque bytes.
//!
//! [`Network`] and [`Handler`] are the seam: a node with a network of its own implements the first over it.
//! [`QuicNetwork`] is the default, over QUIC and TCP. Nothing here knows what the bytes mean; whoever asks checks what comes back.

pub(crate) mod address;
mod common;
mod congestion;
mod connection;
mod datagrams;
mod error;
mod families;
mod farewell;
mod identity;
mod inbound;
mod limits;
mod meter;
mod network;
mod peers;
mod quic;
mod reader;
mod service;
mod stream;
mod streams;
mod tcp;
mod tls;

#[cfg(test)]
mod tests;

pub use congestion::{Westwood, WestwoodConfig};
pub use error::{BindError, ConnectError, DisconnectReason, ResponseError, StreamCode};
pub use identity::{Identity, IdentityError};
pub use limits::{MAX_REQUEST_BYTES, QuicLimits};
pub use network::{BoxFuture, Handler, HandlerFn, Network, NetworkEvent, PeerLink};
pub use quic::QuicNetwork;
pub use tcp::{ParseTcpNameError, TcpName};
