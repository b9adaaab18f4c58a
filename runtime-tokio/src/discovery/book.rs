//! [`AddressBook`]: which peers there are and where, who is banned, and what was heard and not tried yet.
//!
//! An address counts as a peer's when the peer's key answered there to a connection of this node's making, and for no
//! other reason. What others say is a candidate, kept apart and within bounds ([`candidates`](super::candidates)).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::KnownPeer;

use super::bootstrap::BootstrapPeer;
use super::candidates::{Candidate, Candidates, Secret, Source, pick};
use crate::net::address::{canonical, group_of, is_reachable_from};

/// Peers whose addresses are known. Many times those that are ever connected; with their addresses, 400 KiB at most.
pub(super) const MAX_PEERS: usize = 1024;
/// Addresses of one peer: IPv4 and IPv6, here and where it was before.
pub(super) const MAX_ADDRESSES: usize = 4;
/// Bans that are remembered; beyond it, those that end first are forgotten. A key costs nothing, so they can't be endless.
pub(super) const MAX_BANS: usize = 4096;
/// Peers of the operator's that are remembered as they were named, 330 bytes each at most. Beyond it, the first are.
pub(super) const MAX_NAMED: usize = 1024;

/// A node's knowledge of its peers. It does nothing by itself: [`Discovery`](super::Discovery) asks and dials.
#[derive(Clone, Debug)]
pub struct AddressBook {
    pub(super) peers: BTreeMap<PeerId, BookEntry>,
    pub(super) candidates: Candidates,
    pub(super) bans: BTreeMap<PeerId, UnixMillis>,
    named: Vec<BootstrapPeer>,
    rng: Rng,
    changed: bool,
}

/// A peer whose key has answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookEntry {
    /// Where, the last one first. Never empty, and at most four.
    pub addresses: Vec<BookAddress>,
    /// Whether the operator named it.
    pub bootstrap: bool,
}

/// Where a peer's key has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookAddress {
    /// The address.
    pub address: SocketAddr,
    /// When it last answered.
    pub last_success: UnixMillis,
    /// Dials that failed since.
    pub failures: u32,
}

impl AddressBook {
    /// An empty book. Its choices follow from `seed`, which peers must not know:
    /// [`Identity::seed`](crate::net::Identity::seed) is one.
    pub fn new(seed: u64) -> Self {
        Self {
            peers: BTreeMap::new(),
            candidates: Candidates::new(Secret(seed)),
            bans: BTreeMap::new(),
            named: Vec::new(),
            rng: Rng::new(seed),
            changed: false,
        }
    }

    /// The peers whose keys have answered, by id.
    pub fn peers(&self) -> impl ExactSizeIterator<Item = (PeerId, &BookEntry)> {
        self.peers.iter().map(|(&id, entry)| (id, entry))
    }

    /// Addresses that were heard of and not tried yet, or in vain.
    pub fn candidates(&self) -> impl Iterator<Item = KnownPeer> {
        self.candidates.iter().map(|candidate| candidate.peer)
    }

    /// Peers that are banned, and until when.
    pub fn bans(&self) -> impl ExactSizeIterator<Item = (PeerId, UnixMillis)> {
        self.bans.iter().map(|(&id, &until)| (id, until))
    }

    /// The peers that the operator named last, as they were named, whether or not they have ever answered.
    pub fn named(&self) -> &[BootstrapPeer] {
        &self.named
    }

    /// Remembers these peers of the operator's, and no longer those that were named before.
    pub(super) fn set_named(&mut self, peers: &[BootstrapPeer]) {
        let peers = &peers[..peers.len().min(MAX_NAMED)];
        self.changed |= self.named != peers;
        self.named = peers.to_vec();
    }

    /// Whether nothing is known that could be dialled.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.candidates.len() == 0 && self.named.is_empty()
    }

    /// Takes in that `source`, a connected peer that is at `from`, says where a peer is. True if that is new and worth a
    /// try.
    pub fn hear(&mut self, source: PeerId, from: SocketAddr, peer: KnownPeer) -> bool {
        let peer = KnownPeer { address: canonical(peer.address), ..peer };
        let KnownPeer { id, address } = peer;
        let known = self.peers.get(&id).is_some_and(|entry| entry.addresses.iter().any(|at| at.address == address));
        if known || self.bans.contains_key(&id) || !is_reachable_from(address, from.ip()) {
            return false;
        }
        let source = Source { peer: source, group: group_of(from) };
        let taken = self.candidates.insert(Candidate { peer, source, failures: 0 });
        self.changed |= taken;
        taken
    }

    /// Takes in that the key of `peer` has answered at its address, to a connection that this node made.
    pub fn answered(&mut self, peer: KnownPeer, now: UnixMillis) {
        let peer = KnownPeer { address: canonical(peer.address), ..peer };
        let KnownPeer { id, address } = peer;
        self.candidates.remove(peer);
        if self.bans.contains_key(&id) {
            return;
        }
        if !self.peers.contains_key(&id) && self.peers.len() >= MAX_PEERS {
            self.evict();
        }
        let entry = self.peers.entry(id).or_default();
        entry.addresses.retain(|at| at.address != address);
        entry.addresses.insert(0, BookAddress { address, last_success: now, failures: 0 });
        entry.addresses.truncate(MAX_ADDRESSES);
        self.changed = true;
    }

    /// Notes that the operator named this peer, if it is known: it is never given up.
    pub fn set_bootstrap(&mut self, id: PeerId) {
        if let Some(entry) = self.peers.get_mut(&id) {
            self.changed |= !entry.bootstrap;
            entry.bootstrap = true;
        }
    }

    /// Takes in that nobody answered, or someone who is another peer (`other_key`). A candidate is given up after
    /// `attempts` dials; what has answered before is kept, as most of a network may be down for a while.
    pub fn failed(&mut self, peer: KnownPeer, other_key: bool, attempts: u32) {
        self.changed = true;
        self.candidates.failed(peer, if other_key { 0 } else { attempts });
        let Some(entry) = self.peers.get_mut(&peer.id) else { return };
        if other_key {
            entry.addresses.retain(|at| at.address != peer.address);
        }
        if let Some(at) = entry.addresses.iter_mut().find(|at| at.address == peer.address) {
            at.failures = at.failures.saturating_add(1);
        }
        if entry.addresses.is_empty() {
            self.peers.remove(&peer.id);
        }
    }

    /// Up to `max` addresses for a peer that is at `asker`, chosen at random among those that it can reach and that have
    /// answered when they were last dialled.
    pub fn sample(&mut self, asker: PeerId, at: SocketAddr, max: usize) -> Vec<KnownPeer> {
        let mut found: Vec<KnownPeer> = Vec::new();
        for (&id, entry) in self.peers.iter().filter(|&(&id, _)| id != asker) {
            let reachable =
                |address: &&BookAddress| address.failures == 0 && is_reachable_from(address.address, at.ip());
            if let Some(address) = entry.addresses.iter().find(reachable) {
                found.push(KnownPeer { id, address: address.address });
            }
        }
        let count = max.min(found.len());
        for place in 0..count {
            let rest = u64::try_from(found.len() - place).unwrap_or(u64::MAX);
            let other = place + usize::try_from(self.rng.below(rest)).unwrap_or(0);
            found.swap(place, other);
        }
        found.truncate(count);
        found
    }

    /// Remembers that `id` is banned until then, and forgets where it is. A ban is not shortened by a lesser one.
    pub fn ban(&mut self, id: PeerId, until: UnixMillis) {
        if self.bans.len() >= MAX_BANS
            && !self.bans.contains_key(&id)
            && let Some(first) = self.bans.iter().min_by_key(|(_, end)| **end).map(|(id, _)| *id)
        {
            self.bans.remove(&first);
        }
        let end = self.bans.entry(id).or_insert(until);
        *end = (*end).max(until);
        self.candidates.remove_peer(id);
        if self.peers.get(&id).is_some_and(|entry| !entry.bootstrap) {
            self.peers.remove(&id);
        }
        self.changed = true;
    }

    /// Whether `id` is banned.
    pub fn is_banned(&self, id: PeerId) -> bool {
        self.bans.contains_key(&id)
    }

    /// Ends the bans that are over by the wall clock.
    pub fn lift_expired(&mut self, now: UnixMillis) {
        let before = self.bans.len();
        self.bans.retain(|_, until| *until > now);
        self.changed |= self.bans.len() != before;
    }

    /// Ends the ban of `id`.
    pub fn lift_ban(&mut self, id: PeerId) {
        self.changed |= self.bans.remove(&id).is_some();
    }

    /// Choices of their own for whoever uses the book.
    pub(super) fn fork(&mut self) -> Rng {
        Rng::new(self.rng.next_u64())
    }

    /// Whether there is something to save; asked once, it is taken as saved.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Makes room for a peer: in the group that has most, one of those that fail most. So whoever fills the book from a
    /// few groups pushes itself out.
    fn evict(&mut self) {
        let group = |entry: &BookEntry| entry.addresses.first().map_or(0, |at| group_of(at.address));
        let failures = |entry: &BookEntry| entry.addresses.iter().map(|at| at.failures).min().unwrap_or(0);
        let others = || self.peers.iter().filter(|(_, entry)| !entry.bootstrap);
        let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
        others().for_each(|(_, entry)| *sizes.entry(group(entry)).or_default() += 1);
        let Some((largest, _)) = sizes.into_iter().max_by_key(|&(_, size)| size) else { return };
        let of_group = || others().filter(|(_, entry)| group(entry) == largest);
        let most = of_group().map(|(_, entry)| failures(entry)).max().unwrap_or(0);
        let worst: Vec<PeerId> = of_group().filter(|(_, entry)| failures(entry) == most).map(|(&id, _)| id).collect();
        if let Some(id) = pick(&mut self.rng, worst.into_iter()) {
            self.peers.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::new(1_000_000);

    fn id(number: u32) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        PeerId::from_bytes(bytes)
    }

    fn at(number: u32, address: &str) -> KnownPeer {
        KnownPeer { id: id(number), address: address.parse().unwrap() }
    }

    fn source() -> SocketAddr {
        "9.9.9.9:7".parse().unwrap()
    }

    #[test]
    fn an_address_is_believed_when_its_key_answered_there() {
        let mut book = AddressBook::new(1);
        assert!(book.hear(id(9), source(), at(1, "8.8.8.8:7")));
        assert_eq!(book.sample(id(2), source(), 64), [], "hearsay is not passed on");
        assert_eq!(book.peers().len(), 0);
        book.answered(at(1, "8.8.8.8:7"), NOW);
        assert_eq!((book.sample(id(2), source(), 64), book.candidates().count()), (vec![at(1, "8.8.8.8:7")], 0));
        assert!(!book.hear(id(9), source(), at(1, "8.8.8.8:7")), "that is known");
        assert_eq!(book.sample(id(1), source(), 64), [], "nobody is told about itself");
        // Another key there: the address is nobody's.
        book.failed(at(1, "8.8.8.8:7"), true, 3);
        assert!(book.is_empty());
    }

    #[test]
    fn a_peer_with_another_address_is_found_again_and_the_last_good_one_comes_first() {
        let mut book = AddressBook::new(1);
        book.answered(at(1, "8.8.8.8:7"), NOW);
        assert!(book.hear(id(9), source(), at(1, "8.8.4.4:7")));
        book.answered(at(1, "8.8.4.4:7"), NOW);
        (0..9).for_each(|_| book.failed(at(1, "8.8.8.8:7"), false, 3));
        let entry = &book.peers[&id(1)];
        let found: Vec<(String, u32)> =
            entry.addresses.iter().map(|at| (at.address.to_string(), at.failures)).collect();
        assert_eq!(found, [("8.8.4.4:7".into(), 0), ("8.8.8.8:7".into(), 9)], "what has answered is not given up");
        (10..20).for_each(|port| book.answered(at(1, &format!("8.8.4.4:{port}")), NOW));
        assert_eq!(book.peers[&id(1)].addresses.len(), MAX_ADDRESSES);
        assert_eq!(book.peers[&id(1)].addresses[0].address.port(), 19);
    }

    #[test]
    fn only_what_the_asker_can_reach_is_believed_and_told() {
        let mut book = AddressBook::new(1);
        for address in ["127.0.0.1:7", "10.0.0.1:7", "0.0.0.0:7", "224.0.0.1:7", "8.8.8.8:0"] {
            assert!(!book.hear(id(9), source(), at(1, address)), "{address}");
        }
        for (number, address) in [(1, "127.0.0.1:7"), (2, "10.0.0.1:7"), (3, "8.8.8.8:7")] {
            book.answered(at(number, address), NOW);
        }
        let mut told = |from: &str| {
            let mut told = book.sample(id(9), from.parse().unwrap(), 64);
            told.sort_unstable();
            told.iter().map(|peer| peer.address.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(told("9.9.9.9:1"), ["8.8.8.8:7"]);
        assert_eq!(told("10.0.0.9:1"), ["10.0.0.1:7", "8.8.8.8:7"]);
        assert_eq!(told("127.0.0.1:1"), ["127.0.0.1:7", "10.0.0.1:7", "8.8.8.8:7"]);
    }

    #[test]
    fn a_sample_is_bounded_and_varies() {
        let mut book = AddressBook::new(1);
        (0..100).for_each(|number| book.answered(at(number, &format!("8.8.{number}.1:7")), NOW));
        let (first, second) = (book.sample(id(900), source(), 8), book.sample(id(900), source(), 8));
        assert_eq!((first.len(), second.len()), (8, 8));
        assert_ne!(first, second);
        assert_eq!(book.sample(id(900), source(), 1000).len(), 100);
    }

    #[test]
    fn where_the_last_dial_failed_nobody_is_sent() {
        let mut book = AddressBook::new(1);
        for address in ["8.8.4.4:7", "8.8.8.8:7"] {
            book.answered(at(1, address), NOW);
        }
        let mut told = |failed: Option<&str>| {
            failed.into_iter().for_each(|address| book.failed(at(1, address), false, 3));
            book.sample(id(9), source(), 64)
        };
        assert_eq!(told(None), [at(1, "8.8.8.8:7")]);
        assert_eq!(told(Some("8.8.8.8:7")), [at(1, "8.8.4.4:7")]);
        assert_eq!(told(Some("8.8.4.4:7")), []);
        book.answered(at(1, "8.8.8.8:7"), NOW);
        assert_eq!(book.sample(id(9), source(), 64), [at(1, "8.8.8.8:7")]);
    }

    #[test]
    fn a_full_book_gives_up_the_largest_group_and_never_what_the_operator_named() {
        let mut book = AddressBook::new(1);
        book.answered(at(1, "8.8.8.8:7"), NOW);
        book.answered(at(2, "20.0.0.1:7"), NOW);
        book.set_bootstrap(id(2));
        for number in 0..5000_u32 {
            let [_, _, a, b] = number.to_be_bytes();
            book.answered(at(1000 + number, &format!("20.0.{a}.{b}:7")), NOW);
        }
        assert_eq!(book.peers().len(), MAX_PEERS);
        assert!(book.peers.contains_key(&id(1)) && book.peers[&id(2)].bootstrap);
    }

    #[test]
    fn bans_last_end_and_are_bounded() {
        let mut book = AddressBook::new(1);
        book.answered(at(1, "8.8.8.8:7"), NOW);
        book.hear(id(9), source(), at(2, "8.8.8.9:7"));
        for number in [1, 2] {
            book.ban(id(number), UnixMillis::new(2_000_000));
            book.ban(id(number), UnixMillis::new(1_500_000));
        }
        assert!(book.is_empty(), "where they are is of no use");
        assert!(!book.hear(id(9), source(), at(2, "8.8.8.9:7")));
        book.answered(at(1, "8.8.8.8:7"), NOW);
        assert!(book.is_empty());
        book.lift_expired(UnixMillis::new(1_999_999));
        assert!(book.is_banned(id(1)));
        book.lift_expired(UnixMillis::new(2_000_000));
        assert!(!book.is_banned(id(1)));
        book.ban(id(3), UnixMillis::new(5));
        (10..10 + MAX_BANS as u32).for_each(|number| book.ban(id(number), UnixMillis::new(10)));
        assert!(book.bans().len() == MAX_BANS && !book.is_banned(id(3)));
        book.lift_ban(id(10));
        assert!(book.bans().len() == MAX_BANS - 1 && !book.is_banned(id(10)));
    }
}
