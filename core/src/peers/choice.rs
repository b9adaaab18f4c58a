//! The choice of whom to ask: the one that is expected to answer soonest, with some exploration.

use core::time::Duration;

use super::manager::SyncPeerManager;
use super::peer::Peer;
use crate::ids::PeerId;
use crate::requests::Kind;
use crate::rng::Rng;
use crate::time::{Instant, micros};

/// One choice in so many is random, so that a peer that has become faster is noticed …
const EXPLORE_ONE_IN: u64 = 32;
/// … and one that is far slower than the others is tried again only after so long.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A better peer whose window is full is waited for where the one at hand takes more than so many times as long …
const PATIENCE_FACTOR: u64 = 2;
/// … and so much more.
const PATIENCE: Duration = Duration::from_millis(50);

/// Amount that a peer would be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// All of this.
    Whole(u64),
    /// As much of this as the peer is asked for at once.
    UpTo(u64),
}

impl Ask {
    fn bytes(self, peer: &Peer) -> u64 {
        match self {
            Self::Whole(bytes) => bytes,
            Self::UpTo(bytes) => bytes.min(peer.request_bytes()),
        }
    }
}

impl SyncPeerManager {
    /// Whether anyone may be asked for something large now.
    pub(crate) fn anyone_ready(&self, now: Instant) -> bool {
        self.active().any(|(_, peer)| peer.ready(Kind::Bodies, now) || peer.ready(Kind::Segment, now))
    }

    /// The peer that is expected to answer `kind` soonest, among those that are ready and `eligible`; nobody where a better
    /// one that is not ready is worth waiting for.
    pub(crate) fn choose(
        &self,
        kind: Kind,
        ask: Ask,
        now: Instant,
        rng: &mut Rng,
        eligible: impl Fn(PeerId, &Peer) -> bool,
    ) -> Option<PeerId> {
        // One function for all callers: each has its own rule, and the choice is long.
        self.choose_among(kind, ask, now, rng, &eligible)
    }

    fn choose_among(
        &self,
        kind: Kind,
        ask: Ask,
        now: Instant,
        rng: &mut Rng,
        eligible: &dyn Fn(PeerId, &Peer) -> bool,
    ) -> Option<PeerId> {
        let candidates = || self.active().filter(|&(id, peer)| !peer.rests(kind, now) && eligible(id, peer));
        let mut best: Option<(u64, PeerId)> = None;
        let mut soonest = u64::MAX;
        for (id, peer) in candidates() {
            // A late peer may be as late again, or never answer.
            let expected = peer.expected_micros(kind, ask.bytes(peer)).saturating_add(peer.late_micros(now));
            // Of who is on probation too little is known to wait for it.
            if !peer.awaits_judgement(kind) {
                soonest = soonest.min(expected);
            }
            if best.is_none_or(|best| (expected, id) < best) && peer.ready(kind, now) {
                best = Some((expected, id));
            }
        }
        let (expected, id) = best?;
        let most = soonest.saturating_mul(PATIENCE_FACTOR).saturating_add(micros(PATIENCE));
        if rng.below(EXPLORE_ONE_IN) == 0 {
            let worth_a_try = |peer: &Peer| {
                peer.expected_micros(kind, ask.bytes(peer)) <= most
                    || (matches!(ask, Ask::UpTo(_)) && now.since(peer.asked_at) >= TRY_AGAIN_AFTER)
            };
            let others = || candidates().filter(|(_, peer)| peer.ready(kind, now) && worth_a_try(peer));
            let count = u64::try_from(others().count()).unwrap_or(u64::MAX);
            let pick = usize::try_from(rng.below(count)).unwrap_or(0);
            return others().nth(pick).map(|(id, _)| id);
        }
        // How fast a line is that was never filled is not known: it may be the better one.
        let unknown = self.peers.get(id).is_some_and(|peer| peer.estimator.may_be_faster());
        (expected <= most || unknown).then_some(id)
    }

    /// Time at which an answer of `bytes` is expected from `id`, if it is asked now.
    pub(crate) fn due(&self, id: PeerId, kind: Kind, bytes: u64, now: Instant) -> Instant {
        self.peers.get(id).map_or(now, |peer| now.after(peer.expected(kind, bytes)))
    }
}
