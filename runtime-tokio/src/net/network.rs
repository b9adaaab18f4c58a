//! What a node needs of a network: [`Network`] to ask peers, [`Handler`] to answer them, and events that say who is
//! there. QUIC is the default; a node with a network of its own implements [`Network`] over it.
//!
//! A network moves opaque bytes and vouches for one thing: that whoever answers holds the key that is the peer's id.

use std::future::{self, Future};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::error::{ConnectError, DisconnectReason, ResponseError};
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::wire::{Refusal, encode_refusal};

/// A future on the heap, so that the traits here can be used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The way to the peers. Which peers are there is told by the [`NetworkEvent`]s that the implementation hands out beside
/// itself, in the order in which it happened.
pub trait Network: Send + Sync + 'static {
    /// This node's own name.
    fn local_peer(&self) -> PeerId;

    /// Connects to `address` and says who is there. Where `expected` is given, anyone else is an error. A peer that is
    /// connected already is not dialled again.
    fn connect(
        &self,
        address: SocketAddr,
        expected: Option<PeerId>,
    ) -> BoxFuture<'static, Result<PeerId, ConnectError>>;

    /// Finds out whether `expected` answers at `address`, by a handshake and no more, also where that peer is connected
    /// already.
    fn verify(&self, address: SocketAddr, expected: PeerId) -> BoxFuture<'static, Result<(), ConnectError>>;

    /// The connected peers.
    fn links(&self) -> Vec<PeerLink>;

    /// The port at which peers can connect to this node and are answered, where there is one.
    fn port(&self) -> Option<u16>;

    /// Asks a connected peer. An answer longer than `max_response_bytes` is cut off. The request is sent when the future
    /// is first polled; dropping the future cancels it on both sides. There is no time-out but the connection's.
    fn request(
        &self,
        peer: PeerId,
        request: Bytes,
        max_response_bytes: usize,
    ) -> BoxFuture<'static, Result<Bytes, ResponseError>>;

    /// Closes all connections to `peer`, telling it `reason`. It may come back.
    fn disconnect(&self, peer: PeerId, reason: &str);

    /// Closes all connections to `peer`, telling it `reason`, and refuses it for `duration` in both directions.
    fn ban(&self, peer: PeerId, duration: Duration, reason: &str);

    /// Lets a banned peer come back at once.
    fn lift_ban(&self, peer: PeerId);

    /// Spends only so much of what it may spend on answers from now on: 100 is all. A node that catches up needs its disk
    /// and its CPUs more urgently than those who ask it. Networks without such a limit do nothing.
    fn set_serving_percent(&self, percent: u8);

    /// Bytes that the streams of answers have received from all peers, those cut off or cancelled included.
    fn wire_bytes_received(&self) -> u64;

    /// The same of one peer, connected or not.
    fn wire_bytes_received_from(&self, peer: PeerId) -> u64;

    /// Stops accepting, closes every connection, and waits until the connected peers are told, for a bounded time. Dials
    /// that nobody has answered are not waited for.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// A connected peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLink {
    /// Its key, proven.
    pub peer: PeerId,
    /// Where it is now.
    pub address: SocketAddr,
    /// Whether this node dialled it. Anyone can make connections to this node; those that it has made itself are its own
    /// choice.
    pub dialled: bool,
}

/// Answers requests of peers. [`HandlerFn`] makes one of a function.
///
/// Handlers wrap each other. No method has a default, so that a wrapper can't swallow one of the wrapped handler's.
pub trait Handler: Send + Sync + 'static {
    /// Waits until `request` can be answered, which is how long polls wait without a thread. The future is dropped when
    /// the peer cancels. It must end by itself some time: a request that waits holds one of the peer's streams.
    fn ready(&self, peer: PeerId, request: &Bytes) -> BoxFuture<'_, ()>;

    /// What the answer may cost, before anything is read for it. What it really costs is measured and settled.
    fn cost(&self, request: &Bytes) -> Cost;

    /// The answer that says: this node is busy, ask again after so many milliseconds.
    fn busy(&self, retry_after_ms: u32) -> Bytes;

    /// Makes the answer. Called on a thread that may block, for a bounded number of requests at a time.
    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes;
}

/// A function as a [`Handler`]: every request can be answered at once, none is estimated to cost anything beforehand, and
/// busy is said as the wire says it.
#[derive(Clone, Copy, Debug)]
pub struct HandlerFn<F>(F);

impl<F: Fn(PeerId, Bytes) -> Bytes + Send + Sync + 'static> HandlerFn<F> {
    /// A handler that answers with `answer`.
    pub fn new(answer: F) -> Self {
        Self(answer)
    }
}

impl<F: Fn(PeerId, Bytes) -> Bytes + Send + Sync + 'static> Handler for HandlerFn<F> {
    fn ready(&self, _: PeerId, _: &Bytes) -> BoxFuture<'_, ()> {
        Box::pin(future::ready(()))
    }

    fn cost(&self, _: &Bytes) -> Cost {
        Cost::default()
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        encode_refusal(Refusal::Busy { retry_after_ms })
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        (self.0)(peer, request)
    }
}

/// What the driver must know of the peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkEvent {
    /// A peer is there. It dialled, or was dialled.
    Connected {
        /// Its key, proven.
        peer: PeerId,
        /// Where it is now.
        address: SocketAddr,
    },
    /// The last connection to a peer is gone; its requests in flight fail.
    Disconnected {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: DisconnectReason,
    },
}
