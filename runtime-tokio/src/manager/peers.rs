//! The peers of a manager: who is connected, whom to dial, and whom to leave alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotstuff2_sync::ids::PeerId;
use tokio::sync::mpsc;

use super::{SyncError, SyncResult};
use crate::discovery::{BootstrapPeer, Discovery, PeerAddress};
use crate::net::{Network, NetworkEvent};

/// Reason that a peer is told when it is removed.
const REMOVED: &str = "removed by this node's operator";

/// The peers of a manager. Who is connected is the network's to say: a peer that is removed and added again at once may
/// have a new connection before the old one has ended, which is no news.
pub(super) struct SyncPeers {
    network: Arc<dyn Network>,
    discovery: Discovery,
    /// Not to be used, with the address where it was.
    removed: Mutex<BTreeMap<PeerId, Option<SocketAddr>>>,
}

impl SyncPeers {
    pub(super) fn new(network: Arc<dyn Network>, discovery: Discovery) -> Self {
        Self { network, discovery, removed: Mutex::default() }
    }

    fn removed(&self) -> MutexGuard<'_, BTreeMap<PeerId, Option<SocketAddr>>> {
        // Nothing here panics while it holds the lock.
        self.removed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connected peers, in the order of their ids.
    pub(super) fn connected(&self) -> Vec<PeerId> {
        let links = self.network.links();
        let removed = self.removed();
        let mut peers: Vec<PeerId> =
            links.into_iter().map(|link| link.peer).filter(|peer| !removed.contains_key(peer)).collect();
        peers.sort_unstable();
        peers
    }

    /// Address that a peer is connected from.
    fn address(&self, peer: PeerId) -> Option<SocketAddr> {
        self.network.links().into_iter().find(|link| link.peer == peer).map(|link| link.address)
    }

    /// Discovery, which finds peers.
    pub(super) fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// Keeps a connection to whoever is there.
    pub(super) fn add_address(&self, peer: BootstrapPeer) {
        if let Some(id) = peer.id() {
            self.removed().remove(&id);
        }
        self.discovery.add(peer);
    }

    /// Uses a peer whose address is known.
    pub(super) fn add(&self, peer: PeerId) -> SyncResult<()> {
        let connected = self.address(peer);
        let mut removed = self.removed();
        let address = removed.get(&peer).copied().unwrap_or(connected);
        if address.is_none() && !self.discovery.knows(peer) {
            return Err(SyncError::UnknownAddress(peer));
        }
        removed.remove(&peer);
        drop(removed);
        match address {
            Some(address) => self.add_address(PeerAddress { address, id: Some(peer) }.into()),
            None => self.discovery.rejoin(peer),
        }
        Ok(())
    }

    /// Uses a peer no more.
    pub(super) fn remove(&self, peer: PeerId) {
        let connected = self.address(peer);
        let mut removed = self.removed();
        let at = connected.or_else(|| removed.get(&peer).copied().flatten());
        removed.insert(peer, at);
        drop(removed);
        self.discovery.leave(peer);
        self.network.disconnect(peer, REMOVED);
    }

    /// Passes news of the network on to the driver, but for what removed peers do.
    pub(super) async fn watch(self: Arc<Self>, mut news: mpsc::Receiver<NetworkEvent>, to: mpsc::Sender<NetworkEvent>) {
        while let Some(event) = news.recv().await {
            if self.admit(&event) && to.send(event).await.is_err() {
                return;
            }
        }
    }

    fn admit(&self, event: &NetworkEvent) -> bool {
        // That a removed one has gone is news too: the driver knew it.
        let NetworkEvent::Connected { peer, address } = *event else { return true };
        let mut removed = self.removed();
        let Some(at) = removed.get_mut(&peer) else { return true };
        *at = Some(address);
        drop(removed);
        self.network.disconnect(peer, REMOVED);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::{AddressBook, DiscoverySettings};
    use crate::net::PeerLink;
    use crate::test_network::TestNetwork;

    #[test]
    fn who_comes_back_before_it_is_gone_is_connected() {
        let network = Arc::new(TestNetwork::new(|_, _, _| None));
        let link = |number| {
            let peer = PeerId::from_bytes([number; 32]);
            PeerLink { peer, address: SocketAddr::from(([127, 0, 0, 1], 9)), dialled: true }
        };
        let (one, other) = (link(1), link(2));
        network.links.lock().unwrap().extend([other, one]);
        let discovery = Discovery::new(AddressBook::new(1), DiscoverySettings::default());
        let peers = SyncPeers::new(Arc::clone(&network) as Arc<dyn Network>, discovery);
        assert_eq!(peers.connected(), [one.peer, other.peer]);
        peers.remove(one.peer);
        assert_eq!(peers.connected(), [other.peer]);
        // Its new connection comes while the old one is closing: the network has nothing to tell.
        peers.add(one.peer).unwrap();
        network.links.lock().unwrap().push(one);
        assert_eq!(peers.connected(), [one.peer, other.peer]);
    }
}
