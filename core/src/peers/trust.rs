//! What is false, what is true, and whether it is ourselves who can't tell: bans, and suspicion of this node.

use alloc::vec::Vec;
use core::time::Duration;

use super::manager::SyncPeerManager;
use super::peer::{Peer, Standing};
use super::quality::BlacklistReason;
use crate::chain::Fault;
use crate::ids::{Height, PeerId};
use crate::requests::Kind;
use crate::time::Instant;

/// A true answer of a kind within this time says that false ones of the same kind are the peers' doing.
const TRUE_LATELY: Duration = Duration::from_secs(30);

impl SyncPeerManager {
    /// A true answer of a kind came from somebody.
    pub(crate) fn note_true(&mut self, kind: Kind, now: Instant) {
        self.true_at.insert(kind, now);
        self.accused.retain(|&(accused, _), _| accused != kind);
    }

    /// Notes a provably false answer. Returns how many independent groups have given the same since a true one, and
    /// whether that makes this node suspect itself: it does unless true answers of the kind came lately and there is
    /// still somebody to ask who has given no such false one.
    pub(crate) fn accuse(&mut self, id: PeerId, kind: Kind, fault: Fault, now: Instant) -> (usize, bool) {
        let Some(group) = self.peers.get(id).map(|peer| peer.group) else { return (0, false) };
        // Heights inside a fault would keep equal faults apart.
        let fault = match fault {
            Fault::BrokenLink(_) => Fault::BrokenLink(Height::ZERO),
            Fault::BadPayload(_) => Fault::BadPayload(Height::ZERO),
            other => other,
        };
        self.accused.entry((kind, fault)).or_default().insert(group);
        let Some(groups) = self.accused.get(&(kind, fault)) else { return (0, false) };
        let count = groups.len();
        let lately = self.true_at.get(&kind).is_some_and(|&at| now.since(at) < TRUE_LATELY);
        let other = |peer: &Peer| !groups.contains(&peer.group);
        let someone_left = self.places.waiting() > 0 || self.active().any(|(_, peer)| other(peer));
        (count, count >= self.settings.suspect_self_groups && !(lately && someone_left))
    }

    /// Lifts a ban or another rest that is over. True if there was one.
    pub(crate) fn lift_expired(&mut self, id: PeerId, now: Instant) -> bool {
        if let Some(peer) = self.peers.get_mut(id)
            && let Standing::Banned(_, until) | Standing::Unsupported(until) = peer.standing
            && until <= now
        {
            peer.standing = Standing::Good;
            self.review(id, now);
            return true;
        }
        false
    }

    /// Lifts a ban. True if there was one.
    pub(crate) fn pardon(&mut self, id: PeerId, now: Instant) -> bool {
        let banned = self.peers.get_mut(id).filter(|peer| matches!(peer.standing, Standing::Banned(..)));
        let Some(peer) = banned else { return false };
        peer.standing = Standing::Good;
        self.review(id, now);
        true
    }

    /// Lifts all bans for what was provably false: this node suspects itself. Returns whose.
    pub(crate) fn lift_bans(&mut self, now: Instant) -> Vec<PeerId> {
        let proven = |peer: &Peer| matches!(peer.standing, Standing::Banned(BlacklistReason::Proven(_), _));
        let lifted: Vec<PeerId> = self.iter().filter(|(_, peer)| proven(peer)).map(|(id, _)| id).collect();
        for &id in &lifted {
            self.pardon(id, now);
        }
        lifted
    }
}
