//! [`QuicNetwork`]: the default [`Network`], one QUIC endpoint that dials, accepts, asks and answers.
//!
//! Anyone may connect who proves an Ed25519 key; how many, how much and how long is bounded by [`QuicLimits`].

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::udp::{UdpSockRef, UdpSocketState};
use quinn::{ClientConfig, ConnectionError, Endpoint, Incoming, ServerConfig, TransportConfig};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::address::{canonical, group_of};
use super::common::Common;
use super::connection::Connection;
use super::datagrams::{LargeSenders, is_here};
use super::error::{BindError, ConnectError, DisconnectReason, ResponseError};
use super::families;
use super::farewell;
use super::identity::Identity;
use super::inbound::Slot;
use super::limits::{INCOMING_BUFFER_BYTES, INCOMING_BUFFERS_BYTES, QuicLimits, SOCKET_BUFFER_BYTES};
use super::meter::{Meter, MeteredRuntime};
use super::network::{BoxFuture, Handler, Network, NetworkEvent, PeerLink};
use super::peers::{CLOSE_CODE, MAX_CONNECTIONS_PER_PEER, SHUTTING_DOWN};
use super::tcp::{Tcp, TcpName};
use super::tls::{self, SERVER_NAME, ServerKey};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::{Handshake, ServeStats};
use hotstuff2_sync::session::Role;

/// Events that wait for the driver. Where it lags further, new connections wait to be let in.
const EVENT_QUEUE: usize = 1024;

/// Longest ban, so that adding it to a clock can't overflow: ten years.
const MAX_BAN: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Why a connection is closed whose datagrams cost too much.
const OVERSPENT: &str = "cost too much";

/// A QUIC endpoint: TLS 1.3, both sides known by Ed25519 key, one stream for each request; and sessions over TCP beside it,
/// for peers that have no QUIC. Dropping it closes it.
#[derive(Debug)]
pub struct QuicNetwork {
    shared: Arc<Shared>,
    /// The other way to the same peers.
    tcp: Tcp,
}

struct Shared {
    endpoint: Endpoint,
    common: Arc<Common>,
    /// For peers elsewhere.
    remote: Transport,
    /// For peers on this machine.
    loopback: Transport,
    large_senders: Arc<LargeSenders>,
}

/// QUIC parameters of both kinds of connection.
struct Transport {
    dialled: Arc<TransportConfig>,
    accepted: Arc<ServerConfig>,
}

impl Transport {
    fn new(limits: &QuicLimits, loopback: bool, server: &ServerConfig) -> Self {
        let mut accepted = server.clone();
        accepted.transport_config(limits.accepted(loopback));
        Self { dialled: limits.dialled(loopback), accepted: Arc::new(accepted) }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("common", &self.common).finish_non_exhaustive()
    }
}

impl QuicNetwork {
    /// Opens an endpoint at `address` (port 0 takes any free one) that answers through `handler`; without one it serves
    /// nobody. `[::]` is IPv4 and IPv6, or IPv4 alone where the machine has no IPv6, which [`local_addr`](Self::local_addr)
    /// shows. The receiver tells who comes and goes and should be drained: connections wait while its queue is full.
    /// To be called within a tokio runtime.
    ///
    /// # Errors
    /// Where the port is in use or not permitted, or the address is none of this machine's.
    pub fn bind(
        address: SocketAddr,
        identity: Identity,
        limits: QuicLimits,
        handler: Option<Arc<dyn Handler>>,
    ) -> Result<(Self, mpsc::Receiver<NetworkEvent>), BindError> {
        let mut server = ServerConfig::with_crypto(Arc::new(tls::server_config(&identity)?));
        server
            .max_incoming(limits.max_inbound_connections)
            .incoming_buffer_size(INCOMING_BUFFER_BYTES)
            .incoming_buffer_size_total(INCOMING_BUFFERS_BYTES);
        let remote = Transport::new(&limits, false, &server);
        let loopback = Transport::new(&limits, true, &server);
        let large_senders = Arc::<LargeSenders>::default();
        let runtime = Arc::new(MeteredRuntime { senders: Arc::clone(&large_senders) });
        let endpoint = open_socket(address)
            .and_then(|socket| Endpoint::new(limits.endpoint(&identity), Some(server), socket, runtime))
            .map_err(|source| BindError::new(address, source))?;
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let common = Arc::new(Common::new(identity, limits, handler, events));
        let tcp = Tcp::new(Arc::clone(&common));
        let shared = Arc::new(Shared { endpoint, common, remote, loopback, large_senders });
        tokio::spawn(Arc::clone(&shared).accept());
        Ok((Self { shared, tcp }, receiver))
    }

    /// Listens for sessions over TCP as well, of peers of `chain` (the hash of its genesis document): port 0 takes any free
    /// one; the address is returned. Who comes by TCP is the same peer with the same rights and bans as by QUIC, and counts
    /// among the same inbound connections. To be called within a tokio runtime.
    ///
    /// # Errors
    /// Where the port is in use or not permitted, or the address is none of this machine's.
    pub fn listen_tcp(&self, address: SocketAddr, chain: Hash) -> Result<SocketAddr, BindError> {
        self.tcp.listen(address, chain)
    }

    /// Listens for the same sessions in WebSockets, which is how pages in browsers connect. Pages of `origins` alone may, or
    /// of all where there are none: an origin is what browsers say of a page, and nobody else has to. Whoever asks has the
    /// limits of any peer. To be called within a tokio runtime.
    ///
    /// # Errors
    /// Where the port is in use or not permitted, or the address is none of this machine's.
    pub fn listen_ws(&self, address: SocketAddr, chain: Hash, origins: Vec<String>) -> Result<SocketAddr, BindError> {
        self.tcp.listen_ws(address, chain, origins)
    }

    /// Connects to a peer of `chain` that listens for sessions at `address`, and says who is there. Where `expected` is
    /// given, anyone else is an error, and one that is connected already is not dialled again.
    ///
    /// # Errors
    /// Where nobody answers, or not the one who should.
    pub async fn connect_tcp(
        &self,
        address: SocketAddr,
        expected: Option<PeerId>,
        chain: Hash,
    ) -> Result<PeerId, ConnectError> {
        self.tcp.connect(address, expected, chain).await
    }

    /// Keeps a connection over TCP to the peer at `name`, of `chain`: dialled at once, and again whenever it has ended, as
    /// long as the network is open. To be called within a tokio runtime.
    pub fn keep_tcp(&self, name: TcpName, chain: Hash) {
        self.tcp.keep(name, chain);
    }

    /// What was given to those who asked, and what was not.
    pub fn serve_stats(&self) -> ServeStats {
        self.shared.common.service.stats()
    }

    /// Where the endpoint listens, with the port that the system chose.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.shared.endpoint.local_addr()
    }
}

#[cfg(test)]
impl QuicNetwork {
    /// How many connections `peer` has, and the id of the one that is used.
    pub(super) fn connections(&self, peer: PeerId) -> (usize, Option<super::connection::ConnectionId>) {
        let used = self.shared.common.peers.connection(peer);
        (self.shared.common.peers.connections(peer), used.map(|connection| connection.id()))
    }

    /// Dials `address`, whoever is connected already.
    pub(super) async fn dial_again(&self, address: SocketAddr) -> Result<PeerId, ConnectError> {
        let (connection, meter) = self.shared.dial(address, None).await?;
        Arc::clone(&self.shared).establish(connection, meter, None).await
    }

    /// Ends the connection to `peer` that is used.
    pub(super) fn end_used(&self, peer: PeerId) {
        if let Some(connection) = self.shared.common.peers.connection(peer) {
            connection.close("for a test");
        }
    }
}

impl Drop for QuicNetwork {
    fn drop(&mut self) {
        self.tcp.stop();
        self.shared.close();
    }
}

impl Network for QuicNetwork {
    fn local_peer(&self) -> PeerId {
        self.shared.common.identity.peer_id()
    }

    fn connect(
        &self,
        address: SocketAddr,
        expected: Option<PeerId>,
    ) -> BoxFuture<'static, Result<PeerId, ConnectError>> {
        Box::pin(Arc::clone(&self.shared).connect(address, expected))
    }

    fn verify(&self, address: SocketAddr, expected: PeerId) -> BoxFuture<'static, Result<(), ConnectError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let (connection, _) = shared.dial(address, Some(expected)).await?;
            farewell::close(&connection, "found");
            Ok(())
        })
    }

    fn links(&self) -> Vec<PeerLink> {
        self.shared.common.peers.links()
    }

    fn port(&self) -> Option<u16> {
        let serves = self.shared.common.service.serves();
        self.local_addr().ok().filter(|_| serves).map(|address| address.port())
    }

    fn request(
        &self,
        peer: PeerId,
        request: Bytes,
        max_response_bytes: usize,
    ) -> BoxFuture<'static, Result<Bytes, ResponseError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let mut tried = Vec::new();
            let mut outcome = Err(ResponseError::NotConnected { peer });
            while tried.len() < MAX_CONNECTIONS_PER_PEER
                && let Some((connection, received)) = shared.common.peers.link(peer, &tried)
            {
                tried.push(connection.id());
                outcome = connection.ask(peer, request.clone(), max_response_bytes, received).await;
                // Questions change nothing, so one whose connection ends is asked over another that the peer has.
                if !matches!(outcome, Err(ResponseError::Disconnected { .. })) {
                    break;
                }
            }
            outcome
        })
    }

    fn disconnect(&self, peer: PeerId, reason: &str) {
        self.shared.common.peers.disconnect(peer, reason);
    }

    fn ban(&self, peer: PeerId, duration: Duration, reason: &str) {
        // Banned first, so that the peer can't be back before it is gone.
        self.shared.common.peers.ban(peer, Instant::now() + duration.min(MAX_BAN));
        self.shared.common.peers.disconnect(peer, reason);
    }

    fn lift_ban(&self, peer: PeerId) {
        self.shared.common.peers.lift_ban(peer);
    }

    fn set_serving_percent(&self, percent: u8) {
        self.shared.common.service.set_percent(percent);
    }

    fn wire_bytes_received(&self) -> u64 {
        self.shared.common.peers.received()
    }

    fn wire_bytes_received_from(&self, peer: PeerId) -> u64 {
        self.shared.common.peers.received_from(peer)
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let shared = Arc::clone(&self.shared);
        self.tcp.stop();
        Box::pin(async move {
            let open = shared.close();
            // Not until the endpoint is idle: handshakes that nobody answers keep it busy for seconds.
            let told = async {
                for connection in &open {
                    connection.closed().await;
                }
                // For one more round trip whatever comes is from a peer that has not heard it yet, and is told again.
                sleep(open.iter().map(Connection::rtt).max().unwrap_or_default()).await;
            };
            if timeout(shared.common.limits.close_timeout, told).await.is_err() {
                tracing::debug!("closed before every peer was told");
            }
        })
    }
}

impl Shared {
    async fn accept(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            let Some(slot) = self.common.inbound.take(incoming.remote_address().ip()) else {
                incoming.refuse();
                continue;
            };
            let proven = incoming.remote_address_validated();
            // While room is scarce, a handshake is not begun for an address that may be forged.
            let scarce = slot.is_scarce() && !proven;
            let group = group_of(incoming.remote_address());
            let next = if scarce { Handshake::Prove } else { self.common.service.handshake(group, proven) };
            match next {
                Handshake::Begin => {}
                Handshake::Prove if incoming.may_retry() => {
                    // It is one that may be retried, as just checked.
                    let _ = incoming.retry();
                    continue;
                }
                Handshake::Prove | Handshake::Ignore => {
                    incoming.ignore();
                    continue;
                }
            }
            tokio::spawn(Arc::clone(&self).welcome(incoming, slot));
        }
    }

    fn transport(&self, address: SocketAddr) -> &Transport {
        if is_here(address.ip()) { &self.loopback } else { &self.remote }
    }

    async fn welcome(self: Arc<Self>, incoming: Incoming, slot: Slot) {
        let address = canonical(incoming.remote_address());
        let proven = incoming.remote_address_validated();
        let config = Arc::clone(&self.transport(address).accepted);
        let meter = Meter::new(None);
        let connecting = match meter.count(|| incoming.accept_with(config)) {
            Ok(connecting) => connecting,
            Err(error) => {
                tracing::debug!(%address, %error, "a handshake failed at once");
                return;
            }
        };
        let connected = tokio::select! {
            connected = timeout(self.common.limits.connect_timeout, connecting) => connected,
            work = meter.handshake_overspent() => {
                self.common.service.overspent(group_of(address), proven, work);
                tracing::debug!(%address, work, "a handshake cost too much");
                return;
            }
        };
        match connected {
            Ok(Ok(connection)) => {
                if let Err(error) = self.establish(connection, meter, Some(slot)).await {
                    tracing::debug!(%error, "a peer was turned away");
                }
            }
            Ok(Err(error)) => tracing::debug!(%address, %error, "a handshake failed"),
            Err(_) => tracing::debug!(%address, "a handshake took too long"),
        }
    }

    async fn connect(self: Arc<Self>, address: SocketAddr, expected: Option<PeerId>) -> Result<PeerId, ConnectError> {
        if let Some(peer) = expected
            && self.common.is_there(address, peer)?
        {
            return Ok(peer);
        }
        let (connection, meter) = self.dial(address, expected).await?;
        self.establish(connection, meter, None).await
    }

    /// Connects to `address`, where `expected` must be, and proves that somebody's key is there.
    async fn dial(
        &self,
        address: SocketAddr,
        expected: Option<PeerId>,
    ) -> Result<(quinn::Connection, Arc<Meter>), ConnectError> {
        let own = self.common.identity.peer_id();
        let key = Arc::new(ServerKey::new(own, expected));
        let bad = |reason: String| ConnectError::BadAddress { address, reason };
        let from = self.endpoint.local_addr().map_err(|error| bad(error.to_string()))?;
        if let Some(reason) = families::no_way(from, address) {
            return Err(bad(reason));
        }
        let crypto =
            tls::client_config(&self.common.identity, Arc::clone(&key)).map_err(|error| bad(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport(address).dialled));
        let meter = Meter::new(self.large_senders.add(address));
        let connecting =
            meter.count(|| self.endpoint.connect_with(config, address, SERVER_NAME)).map_err(|error| match error {
                quinn::ConnectError::EndpointStopping => ConnectError::Closed,
                other => bad(other.to_string()),
            })?;
        let after = self.common.limits.connect_timeout;
        let connected = tokio::select! {
            connected = timeout(after, connecting) => connected,
            _ = meter.handshake_overspent() => {
                return Err(ConnectError::Refused { address, reason: DisconnectReason::Local(OVERSPENT.into()) });
            }
        };
        match connected {
            Ok(Ok(connection)) => Ok((connection, meter)),
            Err(_) | Ok(Err(ConnectionError::TimedOut)) => Err(ConnectError::Timeout { address, after }),
            Ok(Err(ConnectionError::LocallyClosed)) => Err(ConnectError::Closed),
            Ok(Err(error)) => Err(match (key.found(), expected) {
                (Some(found), _) if found == own => ConnectError::OwnKey { address },
                (Some(found), Some(expected)) if found != expected => {
                    ConnectError::WrongPeer { address, expected, found }
                }
                _ => ConnectError::Refused { address, reason: (&error).into() },
            }),
        }
    }

    /// Enters a connection whose handshake is done, and serves it from then on.
    async fn establish(
        self: Arc<Self>,
        connection: quinn::Connection,
        meter: Arc<Meter>,
        slot: Option<Slot>,
    ) -> Result<PeerId, ConnectError> {
        let address = canonical(connection.remote_address());
        let Some(peer) = tls::peer_of(&connection) else {
            farewell::close(&connection, "another protocol");
            let reason = DisconnectReason::Protocol("another protocol".into());
            return Err(ConnectError::Refused { address, reason });
        };
        let dialled = slot.is_none();
        self.common.admit(peer, Role::Node, &Connection::Quic(connection.clone()), dialled).await?;
        tokio::spawn(async move {
            let group = group_of(address);
            let error = tokio::select! {
                error = Arc::clone(&self.common.service).serve(connection.clone(), peer, group) => error,
                work = meter.overspent(&connection) => {
                    if !dialled {
                        self.common.service.overspent(group, true, work);
                    }
                    tracing::debug!(%peer, work, "a connection cost too much");
                    farewell::close(&connection, OVERSPENT);
                    connection.closed().await
                }
            };
            // The slot is free as soon as the connection is, whether or not the driver keeps up.
            drop(slot);
            let id = Connection::Quic(connection).id();
            self.common.remove(peer, Role::Node, id, DisconnectReason::from(&error)).await;
        });
        Ok(peer)
    }

    /// Closes everything. Returns the connections that were open.
    fn close(&self) -> Vec<Connection> {
        let open = self.common.peers.close();
        self.endpoint.close(CLOSE_CODE, SHUTTING_DOWN.as_bytes());
        open
    }
}

/// A socket with room for bursts. The system may grant less than asked for, which costs speed and nothing else.
fn open_socket(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = families::bind(address)?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    let grown = state
        .set_recv_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER_BYTES)
        .and_then(|()| state.set_send_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER_BYTES));
    if let Err(error) = grown {
        tracing::debug!(%error, "socket buffers stay at their default");
    }
    Ok(socket)
}
