//! Sessions over TCP, bare or in a WebSocket: the second way to the peers of a [`QuicNetwork`](super::QuicNetwork), for
//! nodes and pages that have no QUIC.
//!
//! The bytes and their rules are [`hotstuff2_sync::session`]'s. Here are sockets, clocks and tasks: `listener` accepts and
//! dials, `websocket` is the stream of a page, `line` is a connection as the rest of the network sees it, `task` drives it,
//! `named` keeps the operator's peers connected.

mod line;
mod listener;
mod named;
mod task;
mod websocket;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::PeerId;
use tokio::task::JoinSet;

use super::common::Common;
use super::error::{BindError, ConnectError};
pub(super) use line::Line;
use listener::Form;
pub use named::{ParseTcpNameError, TcpName};
pub(super) use task::{READ_BYTES, WRITE_BYTES};
pub(super) use websocket::{MAX_MESSAGE_BYTES, MAX_WAITING_BYTES};

/// What a network has for TCP: nothing, until somebody listens or dials.
#[derive(Debug)]
pub(super) struct Tcp {
    common: Arc<Common>,
    /// Listeners, and those that keep named peers connected.
    tasks: Mutex<JoinSet<()>>,
}

impl Tcp {
    pub(super) fn new(common: Arc<Common>) -> Self {
        Self { common, tasks: Mutex::default() }
    }

    /// Accepts and dials nobody any more.
    pub(super) fn stop(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Listens at `address` for peers of `chain`, and says where.
    pub(super) fn listen(&self, address: SocketAddr, chain: Hash) -> Result<SocketAddr, BindError> {
        self.listen_for(address, chain, Form::Plain)
    }

    /// The same for pages of these origins, or of all where there are none.
    pub(super) fn listen_ws(
        &self,
        address: SocketAddr,
        chain: Hash,
        origins: Vec<String>,
    ) -> Result<SocketAddr, BindError> {
        self.listen_for(address, chain, Form::WebSocket(origins.into()))
    }

    fn listen_for(&self, address: SocketAddr, chain: Hash, form: Form) -> Result<SocketAddr, BindError> {
        let failed = |source| BindError::new(address, source);
        let listener = listener::bind(address).map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        self.spawn(listener::accept(Arc::clone(&self.common), listener, chain, form));
        Ok(at)
    }

    /// Connects to `address`, and says who is there.
    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        expected: Option<PeerId>,
        chain: Hash,
    ) -> Result<PeerId, ConnectError> {
        let (peer, _) = listener::connect(Arc::clone(&self.common), address, expected, chain).await?;
        Ok(peer)
    }

    /// Keeps `name` connected.
    pub(super) fn keep(&self, name: TcpName, chain: Hash) {
        self.spawn(named::keep(Arc::clone(&self.common), name, chain));
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }
}
