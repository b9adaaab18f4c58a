//! Who is connected, who is banned, and what each has sent: the one table of all listeners.
//!
//! Two nodes may dial each other at the same moment, and a node that restarted comes back while its old connection still
//! looks alive. So a peer may have several connections, and counts as connected while it has any. The newest live one of
//! those that this node dialled is used: another may be dialled only to see who is here, and closed at once. Where one ends
//! under a question, the question goes over another ([`Peers::link`]). Events are queued under the table's lock, so that
//! their order is the order of what happened. Pages, which only ask, are in the table too, so that bans hold for them; nobody
//! else hears of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::VarInt;
use tokio::sync::mpsc::Permit;
use tokio::time::Instant;

use super::connection::{Connection, ConnectionId};
use super::error::DisconnectReason;
use super::farewell;
use super::network::{NetworkEvent, PeerLink};
use super::stream::Received;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::session::Role;

/// Connections that one peer may have. One for each direction is what honest peers need, and one more for each that a
/// restart left behind.
pub(super) const MAX_CONNECTIONS_PER_PEER: usize = 4;
/// Bans that are remembered; beyond it, those that end first are forgotten. A key costs nothing, so they can't be endless.
const MAX_BANS: usize = 65_536;
/// Peers whose counters are kept; beyond it, those of peers that are gone are dropped.
const MAX_COUNTERS: usize = 65_536;

/// Application code of every close of ours; the reason beside it says what it means.
pub(super) const CLOSE_CODE: VarInt = VarInt::from_u32(0);

/// The last word of a node that ends.
pub(super) const SHUTTING_DOWN: &str = "shutting down";

/// The table.
#[derive(Debug, Default)]
pub(super) struct Peers {
    state: Mutex<State>,
    total: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest connection first.
    links: BTreeMap<PeerId, Vec<Link>>,
    /// Those of pages.
    pages: BTreeMap<PeerId, Vec<Link>>,
    banned: BTreeMap<PeerId, Instant>,
    received: BTreeMap<PeerId, Arc<AtomicU64>>,
    closed: bool,
}

#[derive(Debug)]
struct Link {
    connection: Connection,
    /// Whether this node dialled.
    dialled: bool,
    /// What this node said when it closed it.
    farewell: Option<String>,
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    /// The peer is banned.
    Banned,
    /// The network is closing.
    Closed,
}

impl Peers {
    /// Enters a new connection to `peer`, which is what `role` says.
    pub(super) fn admit(
        &self,
        peer: PeerId,
        role: Role,
        connection: &Connection,
        dialled: bool,
        event: Option<Permit<'_, NetworkEvent>>,
    ) -> Result<(), NotAdmitted> {
        let mut state = self.lock();
        if state.closed {
            return Err(NotAdmitted::Closed);
        }
        if state.is_banned(peer) {
            return Err(NotAdmitted::Banned);
        }
        let links = state.of(role).entry(peer).or_default();
        let first = links.is_empty();
        if links.len() >= MAX_CONNECTIONS_PER_PEER
            && let Some(oldest) = links.first_mut()
        {
            oldest.close("replaced by a newer connection");
        }
        links.push(Link { connection: connection.clone(), dialled, farewell: None });
        if first
            && role == Role::Node
            && let Some(event) = event
        {
            event.send(NetworkEvent::Connected { peer, address: connection.address() });
        }
        Ok(())
    }

    /// Takes out a connection that has ended.
    pub(super) fn remove(
        &self,
        peer: PeerId,
        role: Role,
        connection: ConnectionId,
        reason: DisconnectReason,
        event: Option<Permit<'_, NetworkEvent>>,
    ) {
        let mut state = self.lock();
        let links_of_all = state.of(role);
        let Some(links) = links_of_all.get_mut(&peer) else {
            return;
        };
        let Some(index) = links.iter().position(|link| link.connection.id() == connection) else {
            return;
        };
        let farewell = links.remove(index).farewell;
        if links.is_empty() {
            links_of_all.remove(&peer);
            if role == Role::Node
                && let Some(event) = event
            {
                let reason = farewell.map_or(reason, DisconnectReason::Local);
                event.send(NetworkEvent::Disconnected { peer, reason });
            }
        }
    }

    /// The live connection to `peer` that is used.
    pub(super) fn connection(&self, peer: PeerId) -> Option<Connection> {
        self.lock().live(peer, &[]).cloned()
    }

    /// All peers with a live connection. One counts as dialled while any of its connections is.
    pub(super) fn links(&self) -> Vec<PeerLink> {
        let state = self.lock();
        let links = state.links.iter().filter_map(|(&peer, links)| {
            let mut live = links.iter().filter(|link| link.connection.is_live());
            let dialled = live.clone().any(|link| link.dialled);
            let address = live.next_back()?.connection.address();
            Some(PeerLink { peer, address, dialled })
        });
        links.collect()
    }

    /// The live connection to `peer` that is used, with the counters of what it receives. Those that were `tried`, by
    /// their ids, are left out.
    pub(super) fn link(&self, peer: PeerId, tried: &[ConnectionId]) -> Option<(Connection, Received)> {
        let mut state = self.lock();
        let connection = state.live(peer, tried)?.clone();
        let State { links, received, .. } = &mut *state;
        if received.len() >= MAX_COUNTERS && !received.contains_key(&peer) {
            received.retain(|peer, _| links.contains_key(peer));
        }
        let peer = Arc::clone(received.entry(peer).or_default());
        Some((connection, Received { total: Arc::clone(&self.total), peer }))
    }

    /// How many connections `peer` has.
    #[cfg(test)]
    pub(super) fn connections(&self, peer: PeerId) -> usize {
        self.lock().links.get(&peer).map_or(0, Vec::len)
    }

    /// Closes all connections to `peer`.
    pub(super) fn disconnect(&self, peer: PeerId, reason: &str) {
        let mut state = self.lock();
        let State { links, pages, .. } = &mut *state;
        for links in [links, pages] {
            links.get_mut(&peer).into_iter().flatten().for_each(|link| link.close(reason));
        }
    }

    /// Refuses `peer` until then.
    pub(super) fn ban(&self, peer: PeerId, until: Instant) {
        let mut state = self.lock();
        if state.banned.len() >= MAX_BANS && !state.banned.contains_key(&peer) {
            let now = Instant::now();
            state.banned.retain(|_, end| *end > now);
            if state.banned.len() >= MAX_BANS
                && let Some(first) = state.banned.iter().min_by_key(|(_, end)| **end).map(|(peer, _)| *peer)
            {
                state.banned.remove(&first);
            }
        }
        // A ban is never shortened by a later, lesser one.
        let end = state.banned.entry(peer).or_insert(until);
        *end = (*end).max(until);
    }

    /// Ends the ban of `peer`.
    pub(super) fn lift_ban(&self, peer: PeerId) {
        self.lock().banned.remove(&peer);
    }

    /// True while `peer` is banned.
    pub(super) fn is_banned(&self, peer: PeerId) -> bool {
        self.lock().is_banned(peer)
    }

    /// Lets nobody in any more. Returns the live connections. Those of QUIC are the endpoint's to close: it sends the last
    /// words before anything that ends with a connection can stand in their way.
    pub(super) fn close(&self) -> Vec<Connection> {
        let mut state = self.lock();
        state.closed = true;
        let links = state.links.values().chain(state.pages.values()).flatten();
        let connections = links.map(|link| &link.connection).filter(|connection| connection.is_live());
        connections
            .inspect(|connection| match connection {
                Connection::Quic(connection) => farewell::open(connection),
                Connection::Tcp(line) => line.close(SHUTTING_DOWN),
            })
            .cloned()
            .collect()
    }

    /// Bytes received from everyone.
    pub(super) fn received(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Bytes received from `peer`.
    pub(super) fn received_from(&self, peer: PeerId) -> u64 {
        self.lock().received.get(&peer).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The table is whole at every point where a panic could poison it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The connections of peers that are what `role` says.
    fn of(&mut self, role: Role) -> &mut BTreeMap<PeerId, Vec<Link>> {
        match role {
            Role::Node => &mut self.links,
            Role::Page => &mut self.pages,
        }
    }

    fn live(&self, peer: PeerId, tried: &[ConnectionId]) -> Option<&Connection> {
        let links = self.links.get(&peer)?.iter().rev();
        let mut live = links.filter(|link| {
            let connection = &link.connection;
            !tried.contains(&connection.id()) && connection.is_live()
        });
        let newest = live.clone().next()?;
        Some(&live.find(|link| link.dialled).unwrap_or(newest).connection)
    }

    fn is_banned(&mut self, peer: PeerId) -> bool {
        match self.banned.get(&peer) {
            Some(end) if *end > Instant::now() => true,
            Some(_) => {
                self.banned.remove(&peer);
                false
            }
            None => false,
        }
    }
}

impl Link {
    fn close(&mut self, reason: &str) {
        self.connection.close(reason);
        self.farewell.get_or_insert_with(|| reason.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn peer(number: u32) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        PeerId::from_bytes(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_ban_lasts_and_ends() {
        let peers = Peers::default();
        peers.ban(peer(1), Instant::now() + Duration::from_secs(60));
        peers.ban(peer(1), Instant::now() + Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(peers.is_banned(peer(1)), "a lesser ban does not shorten it");
        assert!(!peers.is_banned(peer(2)));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!peers.is_banned(peer(1)));
        peers.ban(peer(1), Instant::now() + Duration::from_secs(60));
        peers.ban(peer(2), Instant::now() + Duration::from_secs(60));
        peers.lift_ban(peer(1));
        assert!(!peers.is_banned(peer(1)) && peers.is_banned(peer(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn bans_are_bounded_and_the_one_that_ends_first_goes() {
        let peers = Peers::default();
        let long = Instant::now() + Duration::from_secs(100);
        peers.ban(peer(7), Instant::now() + Duration::from_secs(50));
        let last = u32::try_from(MAX_BANS).unwrap() + 100;
        for number in 100..last {
            peers.ban(peer(number), long);
        }
        assert_eq!(peers.lock().banned.len(), MAX_BANS);
        assert!(!peers.is_banned(peer(7)));
        assert!(peers.is_banned(peer(100)) && peers.is_banned(peer(last - 1)));
    }
}
