//! The peers of a manager: who is connected, whom to dial, and whom to leave alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotstuff2_sync::ids::PeerId;
use tokio::sync::{broadcast, mpsc};
use tokio::task::AbortHandle;

use super::{SyncError, SyncResult};
use crate::driver::{PeerAddress, SyncEvent, dialer};
use crate::net::{Network, NetworkEvent};

/// What a peer that is removed is told.
const REMOVED: &str = "removed by this node's operator";

/// The peers of a manager.
pub(super) struct SyncPeers {
    network: Arc<dyn Network>,
    events: broadcast::WeakSender<SyncEvent>,
    runtime: tokio::runtime::Handle,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    connected: BTreeMap<PeerId, SocketAddr>,
    /// Not to be used, with the address where it was.
    removed: BTreeMap<PeerId, Option<SocketAddr>>,
    /// Whom to keep a connection to: the peer that must be there, if any will not do, and what keeps it.
    dialled: BTreeMap<SocketAddr, (Option<PeerId>, AbortHandle)>,
}

impl Table {
    fn stop_dialling(&mut self, stop: impl Fn(SocketAddr, Option<PeerId>) -> bool) {
        self.dialled.retain(|&address, (id, task)| {
            let stops = stop(address, *id);
            if stops {
                task.abort();
            }
            !stops
        });
    }
}

impl SyncPeers {
    /// Must be called within a tokio runtime.
    pub(super) fn new(network: Arc<dyn Network>, events: broadcast::WeakSender<SyncEvent>) -> Self {
        Self { network, events, runtime: tokio::runtime::Handle::current(), table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing here panics while it holds the lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connected peers.
    pub(super) fn connected(&self) -> Vec<PeerId> {
        self.table().connected.keys().copied().collect()
    }

    /// Keeps a connection to whoever is at this address.
    pub(super) fn add_address(&self, peer: PeerAddress) {
        let mut table = self.table();
        if let Some(id) = peer.id {
            table.removed.remove(&id);
        }
        table.stop_dialling(|address, _| address == peer.address);
        let events = self.events.clone();
        let complain = move |text| {
            if let Some(events) = events.upgrade() {
                let _ = events.send(SyncEvent::Dial(text));
            }
        };
        let task = self.runtime.spawn(dialer::keep(Arc::clone(&self.network), peer, complain));
        table.dialled.insert(peer.address, (peer.id, task.abort_handle()));
    }

    /// Uses a peer whose address is known.
    pub(super) fn add(&self, peer: PeerId) -> SyncResult<()> {
        let mut table = self.table();
        let was = table.removed.get(&peer).copied();
        let address = match was {
            Some(address) => address,
            None => table.connected.get(&peer).copied(),
        };
        if let Some(address) = address {
            table.removed.remove(&peer);
            drop(table);
            self.add_address(PeerAddress { address, id: Some(peer) });
            return Ok(());
        }
        if table.dialled.values().any(|(id, _)| *id == Some(peer)) {
            return Ok(());
        }
        Err(SyncError::UnknownAddress(peer))
    }

    /// Uses a peer no more.
    pub(super) fn remove(&self, peer: PeerId) {
        let mut table = self.table();
        let dialled = table.dialled.iter().find(|(_, (id, _))| *id == Some(peer)).map(|(&address, _)| address);
        let at = table.connected.remove(&peer).or(dialled);
        let at = at.or_else(|| table.removed.get(&peer).copied().flatten());
        table.removed.insert(peer, at);
        table.stop_dialling(|address, id| id == Some(peer) || Some(address) == at);
        drop(table);
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
                    table.stop_dialling(|dialled, _| dialled == address);
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

impl Drop for SyncPeers {
    fn drop(&mut self) {
        self.table().stop_dialling(|_, _| true);
    }
}
