//! [`Dialer`]: the task that dials whom the [`Plan`] names, asks peers for others, and keeps the book's file.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::wire::KnownPeer;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::Instant;

use super::bootstrap::BootstrapPeer;
use super::exchange;
use super::file::BookError;
use super::handle::{Order, Shared, unix_now};
use super::named::{DialError, connect_named, within};
use super::plan::{ALONE_HASTE, Dial, Plan};
use crate::net::{ConnectError, Network, PeerLink};

/// Longest time between two looks at what there is to do; [`ALONE_HASTE`] times as often while nobody is connected.
const CHECK: Duration = Duration::from_millis(500);
/// Requests for peers on their way at a time.
const MAX_ASKS: usize = 4;
/// Most peers that are asked for others where somebody waits for it.
const MAX_ASKED: usize = 16;
/// Below the least number of connections, peers are asked so many times as often.
const HASTE: u32 = 6;
/// How often the book is saved, if it has changed.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// How often a peer lets this node in and hangs up before the operator is told.
const TOLD_AFTER: u32 = 3;

/// Receiver of words for the operator, one line each.
type Tell = Box<dyn Fn(String) + Send + Sync>;

pub(super) struct Dialer {
    shared: Arc<Shared>,
    network: Arc<dyn Network>,
    bootstrap: Vec<Named>,
    plan: Plan,
    rng: Rng,
    connect_timeout: Duration,
    ban_duration: Duration,
    tell: Tell,
    dials: JoinSet<(Dial, SocketAddr, Result<PeerId, DialError>)>,
    asks: JoinSet<(PeerLink, Result<Vec<KnownPeer>, Fault>)>,
    /// When peers were asked that are still connected.
    asked: HashMap<PeerId, Instant>,
    last_ask: Option<Instant>,
    saved_at: Option<Instant>,
    save: JoinSet<Result<(), BookError>>,
    /// Whether the operator knows already that the book can't be saved.
    complained: bool,
}

/// One of the operator's peers.
struct Named {
    peer: BootstrapPeer,
    /// Whether the operator knows already that it can't be reached.
    complained: bool,
}

impl Dialer {
    pub(super) fn new(
        shared: Arc<Shared>,
        network: Arc<dyn Network>,
        config: &SyncConfig,
        more: Vec<BootstrapPeer>,
        tell: Tell,
    ) -> Self {
        let mut peers = shared.settings.bootstrap.clone();
        peers.extend(more);
        let mut book = shared.book();
        if peers.is_empty() {
            peers = book.named().to_vec();
        } else {
            book.set_named(&peers);
        }
        let mut seeds = book.fork();
        drop(book);
        let ids: Vec<Option<PeerId>> = peers.iter().map(BootstrapPeer::id).collect();
        let attempts = config.retry_attempts;
        let plan = Plan::new(shared.settings.clone(), config.max_sync_peers, attempts, ids, seeds.next_u64());
        Self {
            shared,
            network,
            bootstrap: peers.into_iter().map(|peer| Named { peer, complained: false }).collect(),
            plan,
            rng: seeds,
            connect_timeout: config.connection_timeout,
            ban_duration: config.ban_duration,
            tell,
            dials: JoinSet::new(),
            asks: JoinSet::new(),
            asked: HashMap::new(),
            last_ask: None,
            saved_at: None,
            save: JoinSet::new(),
            complained: false,
        }
    }

    /// Runs until it is dropped, or the network is closed.
    pub(super) async fn run(mut self) {
        loop {
            let wanted = self.shared.wanted.load(Ordering::Relaxed);
            self.obey();
            let now = Instant::now();
            let links = self.network.links();
            self.dial(&links, now);
            let is_wanted = wanted > self.shared.done.borrow().0;
            self.ask(&links, now, is_wanted);
            let busy = self.plan.is_busy() || !self.asks.is_empty();
            self.shared.done.send_replace((wanted, busy));
            self.save(now);
            let shared = Arc::clone(&self.shared);
            let check = if links.is_empty() { CHECK / ALONE_HASTE } else { CHECK };
            tokio::select! {
                Some(ended) = self.dials.join_next() => {
                    if !self.take_dial(ended) {
                        return;
                    }
                }
                Some(ended) = self.asks.join_next() => self.take_answer(ended),
                Some(ended) = self.save.join_next() => self.take_saved(ended),
                () = shared.wake.notified() => {}
                () = tokio::time::sleep(check) => {}
            }
        }
    }

    /// Takes in what the operator has said.
    fn obey(&mut self) {
        let orders = std::mem::take(&mut *self.shared.orders.lock().unwrap_or_else(PoisonError::into_inner));
        if orders.is_empty() {
            return;
        }
        for order in orders {
            match order {
                Order::Add(peer) => {
                    let id = peer.id();
                    if let Some(id) = id {
                        self.plan.rejoin(id);
                    }
                    match self.bootstrap.iter().position(|named| named.peer.is_at_the_place_of(&peer)) {
                        Some(number) => {
                            self.bootstrap[number] = Named { peer, complained: false };
                            self.plan.hurry(number, id);
                        }
                        None => {
                            self.bootstrap.push(Named { peer, complained: false });
                            self.plan.add(id);
                        }
                    }
                }
                Order::Leave(id) => self.plan.leave(id),
                Order::Rejoin(id) => self.plan.rejoin(id),
            }
        }
        let named: Vec<BootstrapPeer> = self.bootstrap.iter().map(|named| named.peer.clone()).collect();
        self.shared.book().set_named(&named);
    }

    fn dial(&mut self, links: &[PeerLink], now: Instant) {
        let own = self.network.local_peer();
        let mut book = self.shared.book();
        book.lift_expired(unix_now());
        self.plan.tidy(&book, links, now);
        while let Some(dial) = self.plan.next(own, &book, links, now) {
            let network = Arc::clone(&self.network);
            let after = self.connect_timeout;
            let found: BoxDial = match dial {
                Dial::Bootstrap(number) => {
                    let Some(named) = self.bootstrap.get(number) else { break };
                    let failures = self.plan.bootstrap_failures(number);
                    let peer = named.peer.clone();
                    Box::pin(async move { connect_named(network, &peer, || peer.resolve(), failures, after).await })
                }
                Dial::Known(peer) | Dial::Trial { peer, keep: true } => Box::pin(async move {
                    let connected = within(after, peer.address, network.connect(peer.address, Some(peer.id))).await;
                    (peer.address, connected.map_err(DialError::from))
                }),
                Dial::Trial { peer, keep: false } => Box::pin(async move {
                    let found = within(after, peer.address, network.verify(peer.address, peer.id)).await;
                    (peer.address, found.map(|()| peer.id).map_err(DialError::from))
                }),
            };
            self.dials.spawn(async move {
                let (address, result) = found.await;
                (dial, address, result)
            });
        }
    }

    /// False where the network is closed.
    fn take_dial(&mut self, ended: Result<(Dial, SocketAddr, Result<PeerId, DialError>), JoinError>) -> bool {
        let Ok((dial, address, result)) = ended else { return true };
        match result {
            Ok(id) => self.found(dial, KnownPeer { id, address }),
            Err(DialError::Connect(ConnectError::Closed)) => return false,
            Err(error) => self.not_found(dial, &error),
        }
        true
    }

    fn found(&mut self, dial: Dial, peer: KnownPeer) {
        self.plan.succeeded(dial, peer.id, Instant::now());
        // Found out only now, by an address without an id; or left meanwhile.
        if self.plan.is_left(peer.id) {
            self.network.disconnect(peer.id, "not wanted by this node's operator");
            return;
        }
        // A dial is not made where the peer has connected by itself meanwhile, which says nothing about the address.
        let verified = matches!(dial, Dial::Trial { keep: false, .. });
        let is_there = |link: &PeerLink| link.peer == peer.id && link.address == peer.address;
        let mut book = self.shared.book();
        if verified || self.network.links().iter().any(is_there) {
            book.answered(peer, unix_now());
        }
        if let Dial::Bootstrap(number) = dial {
            book.set_bootstrap(peer.id);
            if let Some(named) = self.bootstrap.get_mut(number) {
                named.complained = false;
                if self.plan.bootstrap_let_in(number) == TOLD_AFTER {
                    (self.tell)(format!(
                        "{} lets this node in and hangs up again: it may have banned this node, or have no room; it is \
                         tried again",
                        named.peer
                    ));
                }
            }
        }
    }

    fn not_found(&mut self, dial: Dial, error: &DialError) {
        self.plan.failed(dial, Instant::now());
        match dial {
            Dial::Bootstrap(number) => {
                // A ban was reported when it was made.
                if let Some(named) = self.bootstrap.get_mut(number)
                    && !matches!(error, DialError::Connect(ConnectError::Banned { .. }))
                    && !std::mem::replace(&mut named.complained, true)
                {
                    (self.tell)(error.to_string());
                }
            }
            Dial::Known(peer) | Dial::Trial { peer, .. } => {
                let DialError::Connect(error) = error else { return };
                let other_key = matches!(error, ConnectError::WrongPeer { .. } | ConnectError::OwnKey { .. });
                self.shared.book().failed(peer, other_key, self.plan.attempts());
            }
        }
    }

    /// Asks peers for others: each that this node dialled once, and then one of them now and then; those that dialled
    /// this node too while there are few. Where somebody waits for it, everyone, up to a bound.
    fn ask(&mut self, links: &[PeerLink], now: Instant, everyone: bool) {
        self.asked.retain(|peer, _| links.iter().any(|link| link.peer == *peer));
        let is_short = self.plan.is_short(links);
        let pause = self.shared.settings.exchange_interval / if is_short { HASTE } else { 1 };
        let mut ask: Vec<PeerLink> = Vec::new();
        if everyone {
            ask.extend(links.iter().take(MAX_ASKED));
        } else {
            let room = MAX_ASKS.saturating_sub(self.asks.len());
            ask.extend(links.iter().filter(|link| link.dialled && !self.asked.contains_key(&link.peer)).take(room));
        }
        if ask.is_empty() && self.asks.is_empty() && self.last_ask.is_none_or(|last| now >= last + pause) {
            let rested = |link: &&PeerLink| self.asked.get(&link.peer).is_none_or(|last| now >= *last + pause);
            let fit: Vec<&PeerLink> = links.iter().filter(|link| link.dialled || is_short).filter(rested).collect();
            ask.extend(super::candidates::pick(&mut self.rng, fit.into_iter()));
        }
        let port = self.shared.settings.port.or_else(|| self.network.port()).unwrap_or(0);
        for link in ask {
            self.asked.insert(link.peer, now);
            self.last_ask = Some(now);
            let asked = exchange::ask(Arc::clone(&self.network), link.peer, port);
            self.asks.spawn(async move { (link, asked.await) });
        }
    }

    fn take_answer(&mut self, ended: Result<(PeerLink, Result<Vec<KnownPeer>, Fault>), JoinError>) {
        let Ok((link, answer)) = ended else { return };
        let own = self.network.local_peer();
        let mut book = self.shared.book();
        match answer {
            Ok(peers) => peers.into_iter().filter(|peer| peer.id != own).for_each(|peer| {
                book.hear(link.peer, link.address, peer);
            }),
            Err(fault) => {
                drop(book);
                self.network.ban(link.peer, self.ban_duration, &fault.to_string());
                self.shared.ban(link.peer, self.ban_duration);
                (self.tell)(format!("peer {} is banned: its list of peers is false ({fault})", link.peer));
            }
        }
    }

    fn save(&mut self, now: Instant) {
        let rests = self.saved_at.is_some_and(|at| now < at + SAVE_EVERY);
        if self.shared.settings.file.is_none() || !self.save.is_empty() || rests {
            return;
        }
        self.saved_at = Some(now);
        if self.shared.book().take_changed() {
            let shared = Arc::clone(&self.shared);
            self.save.spawn(async move {
                // A thread that is gone has told why.
                spawn_blocking(move || shared.save()).await.unwrap_or(Ok(()))
            });
        }
    }

    fn take_saved(&mut self, ended: Result<Result<(), BookError>, JoinError>) {
        let Ok(Err(error)) = ended else { return };
        if !std::mem::replace(&mut self.complained, true) {
            (self.tell)(error.to_string());
        }
    }
}

/// Addresses that were found are kept when the task ends, however it ends.
impl Drop for Dialer {
    fn drop(&mut self) {
        if let Err(error) = self.shared.save() {
            (self.tell)(error.to_string());
        }
    }
}

type BoxDial = std::pin::Pin<Box<dyn Future<Output = (SocketAddr, Result<PeerId, DialError>)> + Send>>;
