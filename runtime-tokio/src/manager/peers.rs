//! The peers of a manager: who is connected, whom to dial, and whom to leave alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotstuff2_sync::ids::PeerId;
use tokio::sync::mpsc;

use super::{SyncError, SyncResult};
use crate::discovery::{BootstrapPeer, Discovery, PeerAddress};
use crate::net::{Network, NetworkEvent};

/// What a peer that is removed is told.
const REMOVED: &str = "removed by this node's operator";

/// The peers of a manager.
pub(super) struct SyncPeers {
    network: Arc<dyn Network>,
    discovery: Discovery,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    connected: BTreeMap<PeerId, SocketAddr>,
    /// Not to be used, with the address where it was.
    removed: BTreeMap<PeerId, Option<SocketAddr>>,
}

impl SyncPeers {
    pub(super) fn new(network: Arc<dyn Network>, discovery: Discovery) -> Self {
        Self { network, discovery, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing here panics while it holds the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connected peers.
    pub(super) fn connected(&self) -> Vec<PeerId> {
        self.table().connected.keys().copied().collect()
    }

    /// What finds peers.
    pub(super) fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// Keeps a connection to whoever is there.
    pub(super) fn add_address(&self, peer: BootstrapPeer) {
        if let Some(id) = peer.id() {
            self.table().removed.remove(&id);
        }
        self.discovery.add(peer);
    }

    /// Uses a peer whose address is known.
    pub(super) fn add(&self, peer: PeerId) -> SyncResult<()> {
        let mut table = self.table();
        let was = table.removed.get(&peer).copied();
        let address = was.unwrap_or_else(|| table.connected.get(&peer).copied());
        if address.is_none() && !self.discovery.knows(peer) {
            return Err(SyncError::UnknownAddress(peer));
        }
        table.removed.remove(&peer);
        drop(table);
        match address {
            Some(address) => self.add_address(PeerAddress { address, id: Some(peer) }.into()),
            None => self.discovery.rejoin(peer),
        }
        Ok(())
    }

    /// Uses a peer no more.
    pub(super) fn remove(&self, peer: PeerId) {
        let mut table = self.table();
        let at = table.connected.remove(&peer).or_else(|| table.removed.get(&peer).copied().flatten());
        table.removed.insert(peer, at);
        drop(table);
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
        let mut table = self.table();
        match *event {
            NetworkEvent::Connected { peer, address } => {
                if let Some(at) = table.removed.get_mut(&peer) {
                    *at = Some(address);
                    drop(table);
                    self.network.disconnect(peer, REMOVED);
                    return false;
                }
                table.connected.insert(peer, address);
            }
            // Also of a removed one: the driver knew it.
            NetworkEvent::Disconnected { peer, .. } => {
                table.connected.remove(&peer);
            }
        }
        true
    }
}
