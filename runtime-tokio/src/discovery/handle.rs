//! [`Discovery`]: the handle that the parts of a node share, its settings, and the handler that tells peers of others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::{KnownPeer, Refusal, Request, encode_peers, encode_refusal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::book::AddressBook;
use super::bootstrap::BootstrapPeer;
use super::dialer::Dialer;
use super::file::BookError;
use crate::net::{BoxFuture, Handler, Network};
pub(super) use crate::wall_clock as unix_now;

/// Longest request for peers, in bytes: version, kind, a number and a port.
const MAX_PEERS_REQUEST: usize = 10;

/// Longest time that [`Discovery::discover_sync_peers`] takes.
const DISCOVER_PATIENCE: Duration = Duration::from_secs(10);

/// Settings of discovery. How many connections are kept, how long a dial may take and how often it is tried again are
/// [`SyncConfig`]'s: `max_sync_peers`, `connection_timeout` and `retry_attempts`.
#[derive(Clone, Debug)]
pub struct DiscoverySettings {
    /// Peers that are named by the operator: always dialled, and remembered in the address book. Where there are none, those
    /// that were named last are dialled.
    pub bootstrap: Vec<BootstrapPeer>,
    /// Where the address book is kept; nowhere by default.
    pub file: Option<PathBuf>,
    /// The port that peers are told, where it is another than the network's own, as behind a router that forwards it; 0
    /// tells none.
    pub port: Option<u16>,
    /// Connections of this node's making below which it looks for peers with more haste. 8: as many as Bitcoin keeps, for
    /// the same reason; an attacker has to be all of them.
    pub min_peers: usize,
    /// Longest pause between two dials of an address of the operator's, and of any that has answered before while this
    /// node has no connection of its own making. 5 s: a network that comes back is found within that, and where a dial of
    /// an address that is no name was on its way, the rest of it.
    pub retry_interval: Duration,
    /// How long an address rests that failed [`SyncConfig::retry_attempts`] times in a row, while there are others. A
    /// minute.
    pub rest: Duration,
    /// How often some peer is asked for others; six times as often below `min_peers`. A minute.
    pub exchange_interval: Duration,
    /// Shortest time between two dials of addresses that have not answered yet, whoever named them; ten times as long
    /// while there are enough connections, and a quarter while nobody is connected. Half a second: an unanswered dial
    /// costs its target about 7 KiB, so that is 14 KiB a second at most, over all targets; 56 while nobody is there who
    /// could name more of them.
    pub trial_interval: Duration,
}

impl Default for DiscoverySettings {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            file: None,
            port: None,
            min_peers: 8,
            retry_interval: Duration::from_secs(5),
            rest: Duration::from_secs(60),
            exchange_interval: Duration::from_secs(60),
            trial_interval: Duration::from_millis(500),
        }
    }
}

/// Finds peers and keeps connections to them. Clones are the same discovery.
#[derive(Clone)]
pub struct Discovery(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) book: Mutex<AddressBook>,
    pub(super) settings: DiscoverySettings,
    /// Held while the book's file is written.
    file: Mutex<()>,
    /// The network, once the task has started. It may hold the handler below, so it isn't held here.
    network: Mutex<Option<Weak<dyn Network>>>,
    /// Orders of the operator since the task last looked, oldest first.
    pub(super) orders: Mutex<Vec<Order>>,
    pub(super) wake: Notify,
    /// How often somebody wanted everyone to be asked.
    pub(super) wanted: AtomicU64,
    /// Which of those has been carried out, and whether something is still on its way.
    pub(super) done: watch::Sender<(u64, bool)>,
}

/// An order of the operator to a running node.
pub(super) enum Order {
    /// Keep a connection to this peer.
    Add(BootstrapPeer),
    /// Dial it no more, whoever names it.
    Leave(PeerId),
    /// The peer may be dialled again.
    Rejoin(PeerId),
}

/// Runs a discovery until it is dropped; [`stop`](Self::stop) does so and waits until the address book is saved.
#[derive(Debug)]
pub struct DiscoveryTask(JoinSet<()>);

impl DiscoveryTask {
    /// Stops dialling and saves the address book. Connections stay.
    pub async fn stop(&mut self) {
        self.0.shutdown().await;
    }
}

impl Discovery {
    /// A discovery that begins with what `book` knows.
    pub fn new(book: AddressBook, settings: DiscoverySettings) -> Self {
        Self(Arc::new(Shared {
            book: Mutex::new(book),
            settings,
            file: Mutex::new(()),
            network: Mutex::new(None),
            orders: Mutex::default(),
            wake: Notify::new(),
            wanted: AtomicU64::new(0),
            done: watch::Sender::new((0, false)),
        }))
    }

    /// Handler for peers: requests for peers are answered from the address book, all others by `inner`.
    pub fn handler(&self, inner: Arc<dyn Handler>) -> DiscoveryHandler {
        DiscoveryHandler { inner, discovery: self.clone() }
    }

    /// Begins to dial over `network`, which is one with this discovery's [`handler`](Self::handler) if peers are to be
    /// told of others. `config` was validated; `bootstrap` comes on top of the settings' peers. What the operator should
    /// know goes to `tell`, in one line each. To be called within a tokio runtime.
    pub fn start(
        &self,
        network: &Arc<dyn Network>,
        config: &SyncConfig,
        bootstrap: Vec<BootstrapPeer>,
        tell: impl Fn(String) + Send + Sync + 'static,
    ) -> DiscoveryTask {
        *self.0.network.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(network));
        let now = unix_now();
        let mut book = self.book();
        book.lift_expired(now);
        for (peer, until) in book.bans() {
            let left = Duration::from_millis(until.get().saturating_sub(now.get()));
            network.ban(peer, left, "banned before this node restarted");
        }
        drop(book);
        let dialer = Dialer::new(Arc::clone(&self.0), Arc::clone(network), config, bootstrap, Box::new(tell));
        let mut task = JoinSet::new();
        task.spawn(dialer.run());
        DiscoveryTask(task)
    }

    /// Asks connected peers for others now, tries what they name as far as limits allow, and returns the peers that are
    /// connected then. Takes ten seconds at most, and needs to be [started](Self::start).
    pub async fn discover_sync_peers(&self) -> Vec<PeerId> {
        let wanted = self.0.wanted.fetch_add(1, Ordering::Relaxed) + 1;
        self.wake();
        let mut done = self.0.done.subscribe();
        // A peer that is late is found later.
        let waited = done.wait_for(|&(carried_out, busy)| carried_out >= wanted && !busy);
        let _ = tokio::time::timeout(DISCOVER_PATIENCE, waited).await;
        self.network().map_or_else(Vec::new, |network| network.links().iter().map(|link| link.peer).collect())
    }

    /// Keeps a connection to this peer from now on, as to those of [`DiscoverySettings::bootstrap`].
    pub fn add(&self, peer: BootstrapPeer) {
        self.order(Order::Add(peer));
    }

    /// Dials `peer` no more, whoever names it, until [`rejoin`](Self::rejoin). A connection that is there stays.
    pub fn leave(&self, peer: PeerId) {
        self.order(Order::Leave(peer));
    }

    /// Takes [`leave`](Self::leave) back.
    pub fn rejoin(&self, peer: PeerId) {
        self.order(Order::Rejoin(peer));
    }

    fn order(&self, order: Order) {
        self.0.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        self.wake();
    }

    /// Whether an address of `peer` is known that has answered, or that the operator named.
    pub fn knows(&self, peer: PeerId) -> bool {
        self.book().peers.contains_key(&peer)
            || self.0.settings.bootstrap.iter().any(|named| named.id() == Some(peer))
            || self
                .0
                .orders
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .any(|order| matches!(order, Order::Add(named) if named.id() == Some(peer)))
    }

    /// The address book, as it is now.
    pub fn snapshot(&self) -> AddressBook {
        self.book().clone()
    }

    /// Remembers that `peer` is banned, so that it still is after a restart. The network is told by whoever bans.
    pub fn ban(&self, peer: PeerId, duration: Duration) {
        self.0.ban(peer, duration);
    }

    /// Forgets the ban of `peer`. The network is told by whoever lifts it.
    pub fn lift_ban(&self, peer: PeerId) {
        self.book().lift_ban(peer);
    }

    /// A peer came or went: looks at once what there is to do.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    pub(super) fn book(&self) -> MutexGuard<'_, AddressBook> {
        self.0.book()
    }

    fn network(&self) -> Option<Arc<dyn Network>> {
        self.0.network.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }

    /// Answer to `peer`, which asks for `max` others and says that it can be connected to at `port`.
    fn answer(&self, peer: PeerId, max: u32, port: u16) -> Bytes {
        let links = self.network().map(|network| network.links()).unwrap_or_default();
        let Some(link) = links.iter().find(|link| link.peer == peer) else {
            return encode_refusal(Refusal::NotAvailable);
        };
        // No more than an answer may hold are encoded, whatever was asked for.
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let mut book = self.book();
        let address = SocketAddr::new(link.address.ip().to_canonical(), port);
        let is_new = port != 0 && book.hear(peer, link.address, KnownPeer { id: peer, address });
        let others = book.sample(peer, link.address, max);
        drop(book);
        if is_new {
            self.wake();
        }
        encode_peers(others)
    }
}

/// Longest ban that is kept: ten years, as in the network.
const MAX_BAN_MILLIS: u64 = 10 * 365 * 24 * 3600 * 1000;

impl Shared {
    pub(super) fn ban(&self, peer: PeerId, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(MAX_BAN_MILLIS);
        self.book().ban(peer, UnixMillis::new(unix_now().get().saturating_add(millis)));
    }

    /// Writes the book to its file, if it has one. Two that do so at a time come one after the other, each with the book as
    /// it is then, so that the last one on the disk is the newest.
    pub(super) fn save(&self) -> Result<(), BookError> {
        let Some(path) = &self.settings.file else { return Ok(()) };
        let _alone = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let book: AddressBook = self.book().clone();
        book.save(path)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, AddressBook> {
        // The book is whole at every point where a panic could poison it.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discovery").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// Answers requests for peers, and lets another handler answer the rest.
pub struct DiscoveryHandler {
    inner: Arc<dyn Handler>,
    discovery: Discovery,
}

impl Handler for DiscoveryHandler {
    fn ready(&self, peer: PeerId, request: &Bytes) -> BoxFuture<'_, ()> {
        self.inner.ready(peer, request)
    }

    fn cost(&self, request: &Bytes) -> Cost {
        self.inner.cost(request)
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        self.inner.busy(retry_after_ms)
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        if request.len() <= MAX_PEERS_REQUEST
            && let Ok(Request::Peers { max, port }) = Request::decode(&request)
        {
            return self.discovery.answer(peer, max, port);
        }
        self.inner.handle(peer, request)
    }
}

impl std::fmt::Debug for DiscoveryHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiscoveryHandler").field("discovery", &self.discovery).finish_non_exhaustive()
    }
}
