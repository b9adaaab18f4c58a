//! Every bound of the QUIC network in one place, each with its unit and its reason, and the QUIC parameters that follow
//! from them.

use std::sync::Arc;
use std::time::Duration;

use quinn::{EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;

use super::congestion::WestwoodConfig;
use super::identity::Identity;

/// Longest request in bytes. Requests name ranges and prefixes; a batch of prefixes is the longest.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

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
    /// Answers that are made or sent to one connection at a time, so that one slow reader can't hold all of
    /// [`max_answer_bytes`](Self::max_answer_bytes).
    pub max_answers_per_connection: usize,
    /// Answers that are made at a time over all connections: threads that read the disk.
    pub max_handlers: usize,
    /// Bytes of finished answers that wait for slow readers, over all connections. At most
    /// [`max_handlers`](Self::max_handlers) answers come on top of it.
    pub max_answer_bytes: usize,
    /// How long a peer may take to send a request whole.
    pub request_timeout: Duration,
    /// How long a peer may take to receive an answer whole, before it is reset to free its memory.
    pub answer_timeout: Duration,
    /// How long a dial and its handshake may take.
    pub connect_timeout: Duration,
    /// A connection that is silent for this long is dead. Keep-alives are sent three times as often: three lost in a row
    /// are a line that is gone.
    pub idle_timeout: Duration,
    /// How long [`close`](super::Network::close) waits for peers to acknowledge.
    pub close_timeout: Duration,
}

impl Default for QuicLimits {
    fn default() -> Self {
        Self {
            max_inbound_connections: 256,
            max_inbound_per_prefix: 64,
            max_streams_per_connection: 64,
            max_answers_per_connection: 16,
            max_handlers: 4,
            max_answer_bytes: 64 << 20,
            request_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(3),
        }
    }
}

/// Bytes on the way on one stream, unread: 12 MB/s of one answer at 100 ms of round trip.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// Bytes on the way on one connection: 160 MB/s at 100 ms of round trip. It also bounds what a peer can make this node
/// buffer, since what is unread counts.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Bytes handed to a connection that the peer has not acknowledged yet.
const SEND_WINDOW_BYTES: u64 = 16 << 20;
/// Largest datagram that path discovery tries: quinn hands the kernel ten of a size at once, and such a batch must stay
/// below 64 KiB or none of it is sent. Ethernet ends at 1,472 anyway.
const MAX_DATAGRAM_BYTES: u16 = 6_500;
/// The same on loopback, where one datagram of this size costs less than a batch: half the CPU time per byte.
const MAX_LOOPBACK_DATAGRAM_BYTES: u16 = 65_527;
/// Kernel buffers of the socket, in bytes, as far as the system grants them: a burst must fit while the node computes.
pub(super) const SOCKET_BUFFER_BYTES: usize = 4 << 20;

impl QuicLimits {
    /// The parameters of a connection, which differ where the peer is on this machine.
    pub(super) fn transport(&self, loopback: bool) -> Arc<TransportConfig> {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(if loopback { MAX_LOOPBACK_DATAGRAM_BYTES } else { MAX_DATAGRAM_BYTES });
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(self.max_streams_per_connection.into())
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .stream_receive_window(STREAM_WINDOW_BYTES.into())
            .receive_window(CONNECTION_WINDOW_BYTES.into())
            .send_window(SEND_WINDOW_BYTES)
            .mtu_discovery_config(Some(discovery))
            .enable_segmentation_offload(!loopback)
            // One answer after the other, so that the first asked for is the first whole.
            .send_fairness(false)
            // What does not fit QUIC's integer is longer than any connection: no time-out then.
            .max_idle_timeout(self.idle_timeout.try_into().ok())
            .keep_alive_interval(Some(self.idle_timeout / 3));
        if !loopback {
            // Nothing is lost on this machine but by a full buffer, which is what quinn's default is made for.
            transport.congestion_controller_factory(Arc::new(WestwoodConfig::default()));
        }
        Arc::new(transport)
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
