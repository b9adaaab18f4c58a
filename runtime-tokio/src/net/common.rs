//! [`Common`]: what all ways to the peers of a node share, so that whoever comes by one of them is the same peer on the
//! others: one identity, one table of peers and bans, one service with one admission, one count of inbound connections.

use std::net::SocketAddr;
use std::sync::Arc;

use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::session::Role;
use tokio::sync::mpsc;

use super::connection::{Connection, ConnectionId};
use super::error::{ConnectError, DisconnectReason};
use super::identity::Identity;
use super::inbound::Inbound;
use super::limits::QuicLimits;
use super::network::{Handler, NetworkEvent};
use super::peers::{NotAdmitted, Peers};
use super::service::Service;

/// What listeners and diallers of a node share.
pub(super) struct Common {
    pub(super) identity: Identity,
    pub(super) limits: QuicLimits,
    pub(super) peers: Peers,
    pub(super) service: Arc<Service>,
    pub(super) inbound: Arc<Inbound>,
    events: mpsc::Sender<NetworkEvent>,
}

impl Common {
    pub(super) fn new(
        identity: Identity,
        limits: QuicLimits,
        handler: Option<Arc<dyn Handler>>,
        events: mpsc::Sender<NetworkEvent>,
    ) -> Self {
        let inbound = Arc::new(Inbound::new(limits.max_inbound_connections, limits.max_inbound_per_prefix));
        let service = Arc::new(Service::new(handler, limits));
        Self { identity, limits, peers: Peers::default(), service, inbound, events }
    }

    /// Whether `peer`, which is said to be at `address`, is connected already.
    pub(super) fn is_there(&self, address: SocketAddr, peer: PeerId) -> Result<bool, ConnectError> {
        if peer == self.identity.peer_id() {
            return Err(ConnectError::OwnKey { address });
        }
        if self.peers.is_banned(peer) {
            return Err(ConnectError::Banned { address, peer });
        }
        Ok(self.peers.connection(peer).is_some())
    }

    /// Enters a connection whose handshake is done, or closes it.
    pub(super) async fn admit(
        &self,
        peer: PeerId,
        role: Role,
        connection: &Connection,
        dialled: bool,
    ) -> Result<(), ConnectError> {
        // An error means that nobody listens to events any more.
        let event = self.events.reserve().await.ok();
        self.peers.admit(peer, role, connection, dialled, event).map_err(|refusal| {
            let (words, error) = match refusal {
                NotAdmitted::Banned => ("banned", ConnectError::Banned { address: connection.address(), peer }),
                NotAdmitted::Closed => ("closing", ConnectError::Closed),
            };
            connection.close(words);
            error
        })
    }

    /// Takes out a connection that has ended.
    pub(super) async fn remove(&self, peer: PeerId, role: Role, connection: ConnectionId, reason: DisconnectReason) {
        let event = self.events.reserve().await.ok();
        self.peers.remove(peer, role, connection, reason, event);
    }
}

impl std::fmt::Debug for Common {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Common").field("identity", &self.identity).field("peers", &self.peers).finish_non_exhaustive()
    }
}
