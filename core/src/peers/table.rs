//! All peers, and the choice among them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::peer::{NOT_AVAILABLE_PAUSE, Peer, Standing, UNSUPPORTED_PAUSE};
use crate::chain::Fault;
use crate::ids::PeerId;
use crate::limits::MAX_BODIES_BYTES;
use crate::requests::{InFlight, Kind};
use crate::rng::Rng;
use crate::time::Instant;

/// Time that a request should take to be answered: requests grow and shrink with what a peer delivers in it. Long enough
/// to hide a round trip, short enough that a peer that stops costs little.
const TARGET_TIME: Duration = Duration::from_millis(100);
/// Smallest size that requests shrink to, in bytes.
const MIN_REQUEST_BYTES: u64 = 32 << 10;
/// Largest size that requests grow to, in bytes: a grid cell of blocks of 1 KiB, and a quarter more.
const MAX_REQUEST_BYTES: u64 = 5 << 18;
/// One choice in so many is random, so that a peer that has become faster is noticed.
const EXPLORE_ONE_IN: u64 = 32;

const _: () = assert!(MAX_REQUEST_BYTES <= MAX_BODIES_BYTES as u64);

/// The peers by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Peers {
    peers: BTreeMap<PeerId, Peer>,
    /// Groups that gave a provably false answer of a kind since the last true one, with the fault.
    accused: BTreeMap<(Kind, Fault), BTreeSet<u64>>,
}

impl Peers {
    /// A peer connected, for the first time or again. A ban outlives a reconnection.
    pub(crate) fn connected(&mut self, id: PeerId, group: u64) -> &mut Peer {
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(group));
        peer.group = group;
        peer.connected = true;
        peer.mute = false;
        peer.claim = None;
        peer.unproven = None;
        peer
    }

    pub(crate) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.iter().map(|(&id, peer)| (id, peer))
    }

    /// Peers that may be asked.
    pub(crate) fn usable(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.iter().filter(|(_, peer)| peer.usable())
    }

    /// The peer that is expected to answer `kind` soonest, among those that are ready and `eligible`.
    pub(crate) fn choose(
        &self,
        kind: Kind,
        size: u64,
        now: Instant,
        rng: &mut Rng,
        eligible: impl Fn(PeerId, &Peer) -> bool,
    ) -> Option<PeerId> {
        let ready = || self.iter().filter(|&(id, peer)| peer.ready(kind, now) && eligible(id, peer));
        if rng.below(EXPLORE_ONE_IN) == 0 {
            let count = u64::try_from(ready().count()).unwrap_or(u64::MAX);
            let pick = usize::try_from(rng.below(count)).unwrap_or(0);
            return ready().nth(pick).map(|(id, _)| id);
        }
        ready().min_by_key(|(id, peer)| (peer.expected(size), *id)).map(|(id, _)| id)
    }

    /// Bytes to ask `peer` for at once.
    pub(crate) fn request_bytes(peer: &Peer) -> u64 {
        peer.pace.bytes_in(TARGET_TIME).clamp(MIN_REQUEST_BYTES, MAX_REQUEST_BYTES)
    }

    /// Accounts for a request that goes out.
    pub(crate) fn sent(&mut self, id: PeerId, size: u64) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.in_flight = peer.in_flight.saturating_add(1);
            peer.queued_bytes = peer.queued_bytes.saturating_add(size);
        }
    }

    /// Accounts for a request that ended, however it ended.
    pub(crate) fn ended(&mut self, request: &InFlight) {
        if let Some(peer) = self.peers.get_mut(&request.peer) {
            peer.in_flight = peer.in_flight.saturating_sub(1);
            peer.queued_bytes = peer.queued_bytes.saturating_sub(request.size);
        }
    }

    /// The peer doesn't have it: asked for other things at once, for this kind after a pause. Returns when that is over.
    pub(crate) fn not_available(&mut self, id: PeerId, kind: Kind, now: Instant) -> Instant {
        let until = now.after(NOT_AVAILABLE_PAUSE);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.pause(kind, until);
        }
        until
    }

    /// The peer speaks another version or follows another chain. Returns until when it is left alone.
    pub(crate) fn unsupported(&mut self, id: PeerId, now: Instant) -> Instant {
        let until = now.after(UNSUPPORTED_PAUSE);
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.standing == Standing::Good
        {
            peer.standing = Standing::Unsupported(until);
        }
        until
    }

    /// An answer of this kind was true: what was false before was the peers' doing, not ours.
    pub(crate) fn vindicated(&mut self, kind: Kind) {
        self.accused.retain(|&(accused, _), _| accused != kind);
    }

    /// Notes a provably false answer. Returns how many independent groups have given the same since a true one.
    pub(crate) fn accuse(&mut self, id: PeerId, kind: Kind, fault: Fault) -> usize {
        let Some(group) = self.peers.get(&id).map(|peer| peer.group) else { return 0 };
        // Heights inside a fault would keep equal faults apart.
        let fault = match fault {
            Fault::BrokenLink(_) => Fault::BrokenLink(crate::ids::Height::ZERO),
            Fault::BadPayload(_) => Fault::BadPayload(crate::ids::Height::ZERO),
            other => other,
        };
        let groups = self.accused.entry((kind, fault)).or_default();
        groups.insert(group);
        groups.len()
    }

    /// Bans a peer.
    pub(crate) fn ban(&mut self, id: PeerId, fault: Fault, until: Instant) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.standing = Standing::Banned(fault, until);
        }
    }

    /// Lifts a ban or another rest that is over. True if there was one.
    pub(crate) fn lift_expired(&mut self, id: PeerId, now: Instant) -> bool {
        if let Some(peer) = self.peers.get_mut(&id)
            && let Standing::Banned(_, until) | Standing::Unsupported(until) = peer.standing
            && until <= now
        {
            peer.standing = Standing::Good;
            return true;
        }
        false
    }

    /// Lifts all bans: this node suspects itself. Returns whose.
    pub(crate) fn lift_bans(&mut self) -> Vec<PeerId> {
        let banned = self.peers.iter_mut().filter(|(_, peer)| matches!(peer.standing, Standing::Banned(..)));
        let lifted = banned.map(|(&id, peer)| {
            peer.standing = Standing::Good;
            id
        });
        lifted.collect()
    }
}
