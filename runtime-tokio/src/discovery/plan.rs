//! [`Plan`]: whom to dial now. It remembers what was tried, and does nothing itself.
//!
//! There are three classes: the operator's peers, always; peers whose key has answered before, up to so many connections;
//! and addresses that were only heard of, at a rate, each host once a minute, so that nobody can make this node flood a
//! third party. Each class has places of its own, which no other takes, and a dial that nobody answers gives its place up
//! after a moment, long before it is given up itself. Within a class the one that was dialled longest ago is next, so that
//! everyone has a turn however many are dead: among those that were never dialled, one of the group with the fewest
//! connections; of hearsay any that was not dialled within the last minute.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::wire::KnownPeer;
use tokio::time::Instant;

use super::book::AddressBook;
use super::handle::DiscoverySettings;
use crate::net::PeerLink;
use crate::net::address::group_of;

/// Pause after a first failed dial; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A connection that ends sooner after its dial was of no use, and the dial counts as one that failed: whoever lets this
/// node in and then ends it would otherwise be dialled as often as handshakes can be made.
pub(super) const LASTING: Duration = Duration::from_secs(10);
/// Doublings after which any limit is reached.
const MAX_DOUBLINGS: u32 = 10;
/// How often a rest doubles.
const MAX_REST_DOUBLINGS: u32 = 6;
/// A pause is up to a quarter longer, by chance, so that nodes that lost the same peer don't come back to it all at once.
const JITTER_SHARE: u64 = 4;
/// Places of a class: the dials of it that are begun within [`PLACE_TIME`]. Eight a second find one live peer behind a
/// hundred dead ones in 13 s.
pub(super) const PLACES: usize = 8;
/// How long a dial holds its place. It goes on until its time-out, but whoever has not answered by then seldom does: a
/// handshake takes one round trip. Where handshakes take longer, a few more connections than wanted may come of it.
pub(super) const PLACE_TIME: Duration = Duration::from_secs(1);
/// Shortest time between two dials of one host that was only heard of, whatever ports it is said to have.
pub(super) const TRIAL_PAUSE: Duration = Duration::from_secs(60);
/// How much slower addresses are tried while there are enough connections.
const NO_HASTE: u32 = 10;
/// How much faster while nobody is connected: as fast as the places of the class allow.
pub(super) const ALONE_HASTE: u32 = 4;

/// A dial to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    /// The operator's peer of this number.
    Bootstrap(usize),
    /// A peer whose key has answered there.
    Known(KnownPeer),
    /// An address that was only heard of. Kept if it answers and room is left; else it is just known from then on.
    Trial { peer: KnownPeer, keep: bool },
}

/// Record of the addresses that were tried, and when.
pub(super) struct Plan {
    settings: DiscoverySettings,
    max_peers: usize,
    attempts: u32,
    rng: Rng,
    bootstrap: Vec<Bootstrap>,
    /// Peers that the operator does not want.
    left: BTreeSet<PeerId>,
    tries: HashMap<KnownPeer, Tries>,
    /// When a host was tried that was only heard of.
    trials: HashMap<Host, Instant>,
    last_trial: Option<Instant>,
    /// Dials on their way, and when they were begun.
    out: Vec<(Dial, Instant)>,
}

/// One of the operator's peers.
#[derive(Clone, Copy, Debug, Default)]
struct Bootstrap {
    /// The peer that must be there, or was there last.
    id: Option<PeerId>,
    tries: Tries,
}

/// Dials in a row after which there was no connection, or none that lasted.
#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    failures: u32,
    /// How many of them led to a connection.
    let_in: u32,
    last: Option<Instant>,
    /// From 0 to 255.
    jitter: u64,
}

/// Machines that one operator of a victim has: on this machine every port is another node.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Host {
    Here(SocketAddr),
    There(IpAddr),
}

impl Host {
    fn of(address: SocketAddr) -> Self {
        if address.ip().is_loopback() { Self::Here(address) } else { Self::There(address.ip()) }
    }
}

impl Tries {
    /// A dial has ended: it failed, or nobody knows yet whether what it led to lasts.
    fn made(&mut self, now: Instant, rng: &mut Rng) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(now);
        self.jitter = rng.below(256);
    }

    /// The pause that doubles each time, up to `most`.
    fn growing(&self, most: Duration) -> Duration {
        FIRST_PAUSE.saturating_mul(1 << self.failures.saturating_sub(1).min(MAX_DOUBLINGS)).min(most)
    }

    /// Whether the last dial led to a connection that lasts, where it led to one that is still there.
    fn has_lasted(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now >= last + LASTING)
    }

    /// Whether this pause is over.
    fn is_due(&self, now: Instant, pause: Duration) -> bool {
        let Some(last) = self.last else { return true };
        let jitter = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX) / JITTER_SHARE / 256 * self.jitter;
        now >= last + pause + Duration::from_micros(jitter)
    }
}

impl Plan {
    pub(super) fn new(
        settings: DiscoverySettings,
        max_peers: usize,
        attempts: u32,
        bootstrap: impl IntoIterator<Item = Option<PeerId>>,
        seed: u64,
    ) -> Self {
        let bootstrap = bootstrap.into_iter().map(|id| Bootstrap { id, tries: Tries::default() }).collect();
        Self {
            settings,
            max_peers,
            attempts,
            rng: Rng::new(seed),
            bootstrap,
            left: BTreeSet::new(),
            tries: HashMap::new(),
            trials: HashMap::new(),
            last_trial: None,
            out: Vec::new(),
        }
    }

    /// One more of the operator's peers, behind the others.
    pub(super) fn add(&mut self, id: Option<PeerId>) {
        self.bootstrap.push(Bootstrap { id, tries: Tries::default() });
    }

    /// Dials an operator's peer at once that is there already.
    pub(super) fn hurry(&mut self, number: usize, id: Option<PeerId>) {
        if let Some(peer) = self.bootstrap.get_mut(number) {
            *peer = Bootstrap { id, tries: Tries::default() };
        }
    }

    /// Dials this peer no more.
    pub(super) fn leave(&mut self, id: PeerId) {
        self.left.insert(id);
    }

    /// Takes that back.
    pub(super) fn rejoin(&mut self, id: PeerId) {
        self.left.remove(&id);
    }

    /// Whether the operator does not want this peer.
    pub(super) fn is_left(&self, id: PeerId) -> bool {
        self.left.contains(&id)
    }

    /// How often the operator's peer of this number was dialled in a row without a connection that lasted: which of its
    /// addresses is next.
    pub(super) fn bootstrap_failures(&self, number: usize) -> u32 {
        self.bootstrap.get(number).map_or(0, |peer| peer.tries.failures)
    }

    /// How often the operator's peer of this number let this node in since a connection to it has lasted.
    pub(super) fn bootstrap_let_in(&self, number: usize) -> u32 {
        self.bootstrap.get(number).map_or(0, |peer| peer.tries.let_in)
    }

    /// Dials in a row that may fail.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether connections are so few that there is haste.
    pub(super) fn is_short(&self, links: &[PeerLink]) -> bool {
        links.iter().filter(|link| link.dialled).count() < self.settings.min_peers.min(self.max_peers)
    }

    /// Whether dials are on their way.
    pub(super) fn is_busy(&self) -> bool {
        !self.out.is_empty()
    }

    /// Whom to dial now, if anyone. It counts as on its way until [`succeeded`](Self::succeeded) or
    /// [`failed`](Self::failed) says how it ended.
    pub(super) fn next(&mut self, own: PeerId, book: &AddressBook, links: &[PeerLink], now: Instant) -> Option<Dial> {
        let dial = self
            .next_bootstrap(links, now)
            .or_else(|| self.next_known(own, book, links, now))
            .or_else(|| self.next_trial(own, book, links, now))?;
        self.out.push((dial, now));
        Some(dial)
    }

    /// A dial ended well, with this peer. How often in a row it was dialled is forgotten when the connection has lasted.
    pub(super) fn succeeded(&mut self, dial: Dial, id: PeerId, now: Instant) {
        self.out.retain(|(out, _)| *out != dial);
        match dial {
            Dial::Bootstrap(number) => {
                if let Some(peer) = self.bootstrap.get_mut(number) {
                    peer.id = Some(id);
                    peer.tries.made(now, &mut self.rng);
                    peer.tries.let_in = peer.tries.let_in.saturating_add(1);
                }
            }
            Dial::Known(peer) | Dial::Trial { peer, keep: true } => {
                self.tries.entry(peer).or_default().made(now, &mut self.rng);
            }
            // The peer was there, which is all that was to be found out.
            Dial::Trial { peer, keep: false } => {
                self.tries.remove(&peer);
            }
        }
    }

    /// A dial failed.
    pub(super) fn failed(&mut self, dial: Dial, now: Instant) {
        self.out.retain(|(out, _)| *out != dial);
        match dial {
            Dial::Bootstrap(number) => {
                if let Some(peer) = self.bootstrap.get_mut(number) {
                    peer.tries.made(now, &mut self.rng);
                }
            }
            Dial::Known(peer) => self.tries.entry(peer).or_default().made(now, &mut self.rng),
            Dial::Trial { .. } => {}
        }
    }

    /// Forgets what is of no more use. Called now and then.
    pub(super) fn tidy(&mut self, book: &AddressBook, links: &[PeerLink], now: Instant) {
        self.trials.retain(|_, at| now < *at + TRIAL_PAUSE);
        let lasts = |id: PeerId, tries: &Tries| tries.has_lasted(now) && links.iter().any(|link| link.peer == id);
        for peer in &mut self.bootstrap {
            if peer.id.is_some_and(|id| lasts(id, &peer.tries)) {
                peer.tries = Tries::default();
            }
        }
        self.tries.retain(|peer, tries| book.peers.contains_key(&peer.id) && !lasts(peer.id, tries));
    }

    /// The dials that hold a place.
    fn fresh(&self, now: Instant) -> impl Iterator<Item = Dial> + '_ {
        self.out.iter().filter(move |(_, begun)| now < *begun + PLACE_TIME).map(|(dial, _)| *dial)
    }

    /// Whether a dial to the peer holds a place, whatever address it is of.
    fn is_out(&self, id: PeerId, now: Instant) -> bool {
        self.fresh(now).any(|dial| match dial {
            Dial::Known(peer) | Dial::Trial { peer, .. } => peer.id == id,
            Dial::Bootstrap(number) => self.bootstrap.get(number).is_some_and(|peer| peer.id == Some(id)),
        })
    }

    /// Whether a dial of this address is on its way, however long.
    fn is_dialled(&self, at: KnownPeer) -> bool {
        self.out.iter().any(|(dial, _)| matches!(dial, Dial::Known(peer) | Dial::Trial { peer, .. } if *peer == at))
    }

    fn next_bootstrap(&self, links: &[PeerLink], now: Instant) -> Option<Dial> {
        if self.fresh(now).filter(|dial| matches!(dial, Dial::Bootstrap(_))).count() >= PLACES {
            return None;
        }
        let most = self.settings.retry_interval;
        let wanted = |number: usize, peer: &Bootstrap| {
            !self.out.iter().any(|(dial, _)| *dial == Dial::Bootstrap(number))
                && !peer.id.is_some_and(|id| self.left.contains(&id))
                && !links.iter().any(|link| Some(link.peer) == peer.id)
                && peer.tries.is_due(now, peer.tries.growing(most))
        };
        let peers = self.bootstrap.iter().enumerate().filter(|&(number, peer)| wanted(number, peer));
        peers.min_by_key(|(_, peer)| peer.tries.last).map(|(number, _)| Dial::Bootstrap(number))
    }

    fn next_known(&mut self, own: PeerId, book: &AddressBook, links: &[PeerLink], now: Instant) -> Option<Dial> {
        let out = self.fresh(now).filter(|dial| matches!(dial, Dial::Known(_))).count();
        let dialled = links.iter().filter(|link| link.dialled).count();
        if out >= PLACES || dialled + out >= self.max_peers {
            return None;
        }
        let alone = dialled == 0;
        let connected: BTreeSet<PeerId> = links.iter().map(|link| link.peer).collect();
        let mut groups: HashMap<u64, usize> = HashMap::new();
        let on_their_way = self.fresh(now).filter_map(|dial| match dial {
            Dial::Known(peer) | Dial::Trial { peer, keep: true } => Some(peer.address),
            _ => None,
        });
        let there = links.iter().filter(|link| link.dialled).map(|link| link.address);
        there.chain(on_their_way).for_each(|address| *groups.entry(group_of(address)).or_default() += 1);
        let mut best = None;
        for (id, entry) in book.peers() {
            if id == own
                || connected.contains(&id)
                || self.is_out(id, now)
                || book.is_banned(id)
                || self.left.contains(&id)
            {
                continue;
            }
            for at in &entry.addresses {
                let peer = KnownPeer { id, address: at.address };
                let tries = self.tries.get(&peer).copied().unwrap_or_default();
                // One that failed often rests for long; but who has nobody tries everyone.
                let pause = if tries.failures >= self.attempts && !alone {
                    // Longer each time, up to an hour or so: most of those that were ever known are gone for good.
                    let doublings = tries.failures.saturating_sub(self.attempts).min(MAX_REST_DOUBLINGS);
                    self.settings.rest.saturating_mul(1 << doublings)
                } else {
                    tries.growing(self.settings.retry_interval)
                };
                if !tries.is_due(now, pause) || self.is_dialled(peer) {
                    continue;
                }
                let crowd = groups.get(&group_of(at.address)).copied().unwrap_or(0);
                let key = (tries.last, crowd, at.failures, self.rng.next_u64());
                if best.as_ref().is_none_or(|(least, _)| key < *least) {
                    best = Some((key, peer));
                }
            }
        }
        best.map(|(_, peer)| Dial::Known(peer))
    }

    fn next_trial(&mut self, own: PeerId, book: &AddressBook, links: &[PeerLink], now: Instant) -> Option<Dial> {
        let out = self.fresh(now).filter(|dial| matches!(dial, Dial::Trial { .. })).count();
        let kept = self.fresh(now).filter(|dial| matches!(dial, Dial::Trial { keep: true, .. })).count();
        let dialled = links.iter().filter(|link| link.dialled).count();
        let has_room = dialled + kept < self.max_peers;
        let pause = match has_room {
            // Nobody is there, so nobody names victims.
            true if links.is_empty() => self.settings.trial_interval / ALONE_HASTE,
            true => self.settings.trial_interval,
            false => self.settings.trial_interval * NO_HASTE,
        };
        if out >= PLACES || self.last_trial.is_some_and(|last| now < last + pause) {
            return None;
        }
        let connected: BTreeSet<PeerId> = links.iter().map(|link| link.peer).collect();
        let rested = |host: Host| self.trials.get(&host).is_none_or(|at| now >= *at + TRIAL_PAUSE);
        let mut rng = self.rng.clone();
        let candidate = book.candidates.choose(&mut rng, |candidate| {
            let KnownPeer { id, address } = candidate.peer;
            // Of who is banned nothing is kept.
            let fits = id != own && !self.left.contains(&id);
            fits && !self.is_out(id, now) && !self.is_dialled(candidate.peer) && rested(Host::of(address))
        })?;
        self.rng = rng;
        self.last_trial = Some(now);
        self.trials.insert(Host::of(candidate.peer.address), now);
        Some(Dial::Trial { peer: candidate.peer, keep: has_room && !connected.contains(&candidate.peer.id) })
    }
}
