//! Every bound of the QUIC network in one place, each with its unit and its reason, and the QUIC parameters that follow
//! from them.

use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::{EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;

use super::congestion::WestwoodConfig;
use super::farewell::Heard;
use super::identity::Identity;
use super::tcp::{MAX_MESSAGE_BYTES, MAX_WAITING_BYTES, READ_BYTES, WRITE_BYTES};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::limits::{MAX_BODIES_BYTES, MAX_SEGMENT_BYTES};
use hotstuff2_sync::serve::{ServeLimits, ServeLimitsError};
use hotstuff2_sync::session::{Role, SessionConfig};

/// Longest request in bytes. Requests name ranges and prefixes; a batch of prefixes is the longest.
pub const MAX_REQUEST_BYTES: usize = hotstuff2_sync::limits::MAX_REQUEST_BYTES;

/// Bounds of a [`QuicNetwork`](super::QuicNetwork). The defaults suit a node with two cores and 1 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuicLimits {
    /// Connections that peers may open to this node; further ones are refused. Own dials are not counted.
    pub max_inbound_connections: usize,
    /// Connections that may come from one address prefix (/24 of IPv4, /48 of IPv6, a single address of a private
    /// network), so that one host can't take all that are accepted. Those from this machine are not counted.
    pub max_inbound_per_prefix: usize,
    /// Requests that one peer may have open on one connection. Further ones wait at the asker.
    pub max_streams_per_connection: u32,
    /// What is given to those who ask: requests, bytes, CPU time and memory, of each peer and of all together.
    pub serve: ServeLimits,
    /// How long a peer may take to send a request whole.
    pub request_timeout: Duration,
    /// How long a peer may take to receive an answer whole, before it is reset to free its memory.
    pub answer_timeout: Duration,
    /// Bytes a second that a peer must take of its answers, over any whole [`slow_window`](Self::slow_window) in which it
    /// is owed some; else they are given up. Little enough for a modem, so that what is left is no reader.
    pub min_answer_rate: u64,
    /// See [`min_answer_rate`](Self::min_answer_rate). Long enough for a lost connection to come back.
    pub slow_window: Duration,
    /// How long a dial and its handshake may take.
    pub connect_timeout: Duration,
    /// A connection that is silent for this long is dead. Keep-alives are sent three times as often: three lost in a row
    /// are a line that is gone.
    pub idle_timeout: Duration,
    /// How long [`close`](super::Network::close) waits at most until all connected peers are told, and for a round trip
    /// more. Half a second: told late, or not at all, a peer finds out by [`idle_timeout`](Self::idle_timeout).
    pub close_timeout: Duration,
}

impl Default for QuicLimits {
    fn default() -> Self {
        Self {
            max_inbound_connections: 256,
            max_inbound_per_prefix: 64,
            max_streams_per_connection: 32,
            // Half of two cores.
            serve: ServeLimits::with_work(1_000_000),
            request_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            min_answer_rate: 4 << 10,
            slow_window: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_millis(500),
        }
    }
}

/// Bytes on the way on one stream, unread: 12 MB/s of one answer at 100 ms of round trip.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// Bytes on the way on one connection: 160 MB/s at 100 ms of round trip. It also bounds what a peer can make this node
/// buffer, since what is unread counts.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// The same on a connection that a peer has opened, as long as this node asks nothing of it: a few requests.
const REQUESTS_WINDOW_BYTES: u32 = 64 << 10;
/// Bytes handed to a connection that the peer has not acknowledged yet.
const SEND_WINDOW_BYTES: u64 = 16 << 20;
/// Largest datagram that is sent and taken: what an Ethernet frame holds over IPv4. In larger ones a hostile peer could
/// have pieces whose cost grows with the square of the size.
pub(super) const MAX_DATAGRAM_BYTES: u16 = 1_472;
/// The same from a peer on this machine that this node has dialled, where one datagram of this size costs less than a
/// batch: half the CPU time per byte.
const MAX_LOOPBACK_DATAGRAM_BYTES: u16 = 65_527;
/// Kernel buffers of the socket, in bytes, as far as the system grants them: a burst must fit while the node computes.
pub(super) const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// What waits while a handshake is accepted: the first packets of one, and of all of them.
pub(super) const INCOMING_BUFFER_BYTES: u64 = 64 << 10;
/// See [`INCOMING_BUFFER_BYTES`].
pub(super) const INCOMING_BUFFERS_BYTES: u64 = 4 << 20;
/// State of a connection, with keys and timers: an estimate on the safe side, not a measurement.
const CONNECTION_STATE_BYTES: u64 = 96 << 10;
/// State of a stream and of the task that serves it, beside the request.
const STREAM_STATE_BYTES: u64 = 2 << 10;
/// What [`Session::poll_bytes`](hotstuff2_sync::session::Session::poll_bytes) may give beyond what it is asked for.
const WRITE_AHEAD_BYTES: usize = 17 << 10;
/// State of a session's task and of its socket, beside the session: an estimate on the safe side, not a measurement.
const SESSION_TASK_BYTES: u64 = 16 << 10;
/// Most questions that a page may have open: it follows one chain and reads a few values. So the buffers of a WebSocket
/// cost a node no more than a session over TCP.
const MAX_PAGE_ASKS: u16 = 16;
/// Largest answer that is made whole in memory, but for audits, which may have twice that.
const LARGEST_ANSWER_BYTES: u64 = MAX_BODIES_BYTES as u64 + MAX_SEGMENT_BYTES as u64;

impl QuicLimits {
    /// Checks the bounds on serving.
    ///
    /// # Errors
    /// The first that is out of range.
    pub fn validate(&self) -> Result<(), ServeLimitsError> {
        self.serve.validate()
    }

    /// The most memory in bytes that those who connect to this node can make it use, whatever they do, beside what the
    /// store and the handler have for themselves:
    ///
    /// ```text
    /// max_inbound_connections × (state of a connection + unread requests
    ///                            + max_streams_per_connection × (state of a stream + longest request),
    ///                            or what a session over TCP takes, if that is more)
    /// + serve.memory + serve.max_running × largest answer
    /// + serve.max_peers × state of an account + first packets of handshakes + socket buffers
    /// ```
    pub fn memory_bound(&self) -> u64 {
        const ACCOUNT_BYTES: u64 = 1 << 10;
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let stream = STREAM_STATE_BYTES.saturating_add(count(MAX_REQUEST_BYTES));
        let connection = CONNECTION_STATE_BYTES
            .saturating_add(u64::from(REQUESTS_WINDOW_BYTES))
            .saturating_add(u64::from(self.max_streams_per_connection).saturating_mul(stream))
            .max(self.session_bound());
        let handshakes = INCOMING_BUFFERS_BYTES.saturating_add(count(SOCKET_BUFFER_BYTES).saturating_mul(2));
        count(self.max_inbound_connections)
            .saturating_mul(connection)
            .saturating_add(self.serve.memory)
            .saturating_add(count(self.serve.max_running).saturating_mul(LARGEST_ANSWER_BYTES))
            .saturating_add(count(self.serve.max_peers).saturating_mul(ACCOUNT_BYTES))
            .saturating_add(handshakes)
    }

    /// The same of one session over TCP or in a WebSocket: what its [`SessionConfig`] says, its buffers beside the socket, and
    /// the tasks that answer. What the kernel holds of the connection is the kernel's.
    pub(super) fn session_bound(&self) -> u64 {
        const BUFFERS: u64 = (READ_BYTES + WRITE_BYTES + WRITE_AHEAD_BYTES) as u64;
        // Bytes that are read ahead, a message in parts and whole, and bytes that wait to be written.
        const WEB_SOCKET: u64 = (READ_BYTES + 2 * MAX_MESSAGE_BYTES + MAX_WAITING_BYTES) as u64;
        let bound = |max_asks: u16, buffers: u64| {
            SessionConfig { chain: Hash::ZERO, role: Role::Node, max_asks }
                .memory_bound()
                .saturating_add(buffers)
                .saturating_add(SESSION_TASK_BYTES)
                .saturating_add(u64::from(max_asks).saturating_mul(STREAM_STATE_BYTES))
        };
        bound(self.session_asks(), BUFFERS).max(bound(self.page_asks(), BUFFERS.saturating_add(WEB_SOCKET)))
    }

    /// Questions that a node may have open in a session.
    pub(super) fn session_asks(&self) -> u16 {
        u16::try_from(self.max_streams_per_connection).unwrap_or(u16::MAX)
    }

    /// The same for a page.
    pub(super) fn page_asks(&self) -> u16 {
        self.session_asks().min(MAX_PAGE_ASKS)
    }

    /// The parameters of a connection that a peer opens. It takes large datagrams, where it is on this machine.
    pub(super) fn accepted(&self, loopback: bool) -> Arc<TransportConfig> {
        let mut transport = self.parameters(loopback, loopback);
        transport.receive_window(REQUESTS_WINDOW_BYTES.into());
        Arc::new(transport)
    }

    /// The parameters of a connection that this node opens. The other side takes no large datagrams of whoever dials it.
    pub(super) fn dialled(&self, loopback: bool) -> Arc<TransportConfig> {
        Arc::new(self.parameters(loopback, false))
    }

    /// The parameters of a connection, which differ where the peer is on this machine, and where it takes `large`
    /// datagrams.
    fn parameters(&self, loopback: bool, large: bool) -> TransportConfig {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(if large { MAX_LOOPBACK_DATAGRAM_BYTES } else { MAX_DATAGRAM_BYTES });
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(self.max_streams_per_connection.into())
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .stream_receive_window(STREAM_WINDOW_BYTES.into())
            .receive_window(CONNECTION_WINDOW_BYTES.into())
            .send_window(SEND_WINDOW_BYTES)
            .mtu_discovery_config(Some(discovery))
            .enable_segmentation_offload(!large)
            // One answer after the other, so that the first asked for is the first whole.
            .send_fairness(false)
            // What does not fit QUIC's integer is longer than any connection: no time-out then.
            .max_idle_timeout(self.idle_timeout.try_into().ok())
            .keep_alive_interval(Some(self.idle_timeout / 3));
        if loopback {
            // Nothing is lost on this machine but by a full buffer, which is what this one is made for. But a probe for large
            // datagrams would fill its first window.
            let mut cubic = CubicConfig::default();
            cubic.initial_window(4 * u64::from(MAX_LOOPBACK_DATAGRAM_BYTES));
            transport.congestion_controller_factory(Arc::new(Heard(Arc::new(cubic))));
        } else {
            transport.congestion_controller_factory(Arc::new(Heard(Arc::new(WestwoodConfig::default()))));
        }
        transport
    }

    pub(super) fn endpoint(&self, identity: &Identity) -> EndpointConfig {
        // Derived from the identity, so that a node that was killed and came back can tell its peers at once that their
        // connections are dead. It must know the connection ids of its earlier runs for that, by their hash.
        let (reset_key, id_key) = identity.endpoint_keys();
        let mut endpoint = EndpointConfig::new(Arc::new(reset_key));
        endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
        if let Err(error) = endpoint.max_udp_payload_size(MAX_LOOPBACK_DATAGRAM_BYTES) {
            tracing::warn!(%error, "datagrams stay at the default size");
        }
        endpoint
    }
}
