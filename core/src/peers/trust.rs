//! Trust in peers and in ourselves: bans, and suspicion of this node.
//!
//! Whoever gives a provably false answer is banned, unless this node suspects itself: then the peer is set aside, and what
//! becomes of it is decided by who is left. A true answer of the kind says that the others lied, and they are banned. Where
//! nobody is left who was not set aside, all are tried again. So a liar costs one answer in any company that holds one
//! honest peer, and a node that can't tell true from false bans nobody.

use alloc::vec::Vec;
use core::time::Duration;

use super::manager::SyncPeerManager;
use super::peer::{BanState, Peer};
use super::quality::BlacklistReason;
use crate::chain::Fault;
use crate::ids::{Height, PeerId};
use crate::requests::Kind;
use crate::sorted::Sorted;
use crate::time::Instant;

/// A true answer of a kind within this time says that false ones of the same kind are the peers' doing.
const TRUE_LATELY: Duration = Duration::from_secs(30);
/// Time for which a peer is set aside where nothing decides before.
const SET_ASIDE: Duration = Duration::from_secs(30);

/// A provably false answer that no true one of its kind has come after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Accusation {
    fault: Fault,
    group: u64,
}

/// Consequence of a provably false answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// The peer is banned.
    Ban,
    /// This node suspects itself, for the first time where as many groups as `raised` says are the reason: these peers are
    /// left alone until then, or until it is known who is wrong. Some of them were banned.
    SetAside { peers: Vec<PeerId>, banned: Vec<PeerId>, until: Instant, raised: Option<usize> },
}

/// The fault without what would keep equal faults apart.
fn sort_of(fault: Fault) -> Fault {
    match fault {
        Fault::BrokenLink(_) => Fault::BrokenLink(Height::ZERO),
        Fault::BadPayload(_) => Fault::BadPayload(Height::ZERO),
        other => other,
    }
}

impl SyncPeerManager {
    /// A true answer of a kind came from somebody: those that were set aside for false ones did lie.
    pub(crate) fn note_true(&mut self, kind: Kind, now: Instant) {
        *self.true_at.get_mut(kind) = Some(now);
        *self.suspects.get_mut(kind) = false;
        let accused = self.accused.extract(|&(of, _), _| of == kind);
        let liars = accused.into_iter().map(|((_, id), accusation)| (id, accusation.fault));
        let set_aside = |id| self.peers.get(id).is_some_and(|peer| matches!(peer.ban_state, BanState::SetAside(_)));
        self.exposed.extend(liars.filter(|&(id, _)| set_aside(id)));
    }

    /// The peers to be banned for answers that they gave while this node suspected itself, with the fault.
    pub(crate) fn take_exposed(&mut self) -> Vec<(PeerId, Fault)> {
        core::mem::take(&mut self.exposed)
    }

    /// Counts a provably false answer, and says what follows from it. `None` where that was decided before: further answers
    /// of a peer that is left out may have been on their way to a verdict.
    pub(crate) fn on_fault(&mut self, id: PeerId, kind: Kind, fault: Fault, now: Instant) -> Option<Consequence> {
        self.note_false(id);
        let decided = |peer: &Peer| matches!(peer.ban_state, BanState::Banned(..) | BanState::SetAside(_));
        (!self.peers.get(id).is_some_and(decided)).then(|| self.consequence_of(id, kind, fault, now))
    }

    /// Takes in a provably false answer of a peer that may still be asked.
    ///
    /// This node suspects itself where enough independent groups have given the same and true ones of the kind didn't come
    /// lately, or where enough have given anything false and nobody is left who has not.
    pub(super) fn consequence_of(&mut self, id: PeerId, kind: Kind, fault: Fault, now: Instant) -> Consequence {
        let Some(group) = self.peers.get(id).map(|peer| peer.group) else { return Consequence::Ban };
        self.accused.insert((kind, id), Accusation { fault, group });
        let (mut same, mut any) = (Sorted::new(), Sorted::new());
        for (&(of, _), accusation) in self.accused.iter() {
            any.insert(accusation.group, ());
            if of == kind && sort_of(accusation.fault) == sort_of(fault) {
                same.insert(accusation.group, ());
            }
        }
        let enough = self.settings.suspect_self_groups;
        let lately = self.true_at.get(kind).is_some_and(|at| now.since(at) < TRUE_LATELY);
        let left = self.slots.waiting() > 0 || self.active().any(|(_, peer)| !any.contains_key(&peer.group));
        let known = self.suspects.clone();
        let mut groups = 0;
        if any.len() >= enough && !left {
            groups = any.len();
            for &(of, _) in self.accused.keys() {
                *self.suspects.get_mut(of) = true;
            }
        } else if same.len() >= enough && !lately {
            groups = same.len();
            *self.suspects.get_mut(kind) = true;
        }
        let raised = (self.suspects != known).then_some(groups);
        if !self.suspects.get(kind) {
            return Consequence::Ban;
        }
        let until = now.after(SET_ASIDE);
        let unsure = self.accused.keys().filter(|(of, _)| *self.suspects.get(*of));
        let unsure: Vec<PeerId> = unsure.map(|&(_, id)| id).collect();
        let is_due = |&id: &PeerId| {
            let ban_state = self.peers.get(id).map(|peer| peer.ban_state);
            matches!(ban_state, Some(BanState::Good | BanState::Banned(BlacklistReason::Proven(_), _)))
        };
        let peers: Vec<PeerId> = unsure.into_iter().filter(is_due).collect();
        let is_banned = |id: &PeerId| self.peers.get(*id).is_some_and(Peer::is_banned);
        let banned = peers.iter().copied().filter(is_banned).collect();
        for &id in &peers {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.ban_state = BanState::SetAside(until);
                peer.unprove();
            }
            self.review(id, now);
        }
        Consequence::SetAside { peers, banned, until, raised }
    }

    /// Peers that were set aside are asked again where nobody else is left, after a rest that doubles each time.
    /// Returns who they are, and until when they rest.
    pub(crate) fn recall(&mut self, now: Instant) -> Vec<(PeerId, Instant)> {
        let suspects = self.suspects.values().any(|&suspects| suspects);
        if !suspects || self.peers.active_len() > 0 || self.slots.waiting() > 0 {
            return Vec::new();
        }
        let accused: Vec<(Kind, PeerId)> = self.accused.keys().copied().collect();
        let mut recalled = Vec::new();
        for (kind, id) in accused {
            let set_aside = |peer: &&mut Peer| matches!(peer.ban_state, BanState::SetAside(_));
            let Some(peer) = self.peers.get_mut(id).filter(set_aside) else { continue };
            peer.failed_to_prove(now);
            peer.mute |= kind == Kind::Status;
            let rested = peer.suspected(kind, now);
            self.readmit(id, now);
            recalled.push((id, rested));
        }
        recalled
    }

    /// A peer that was left out may be asked again.
    fn readmit(&mut self, id: PeerId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.ban_state = BanState::Good;
        }
        self.forget_accusation(id);
        self.review(id, now);
    }

    /// Ends the accusation of a peer.
    pub(super) fn forget_accusation(&mut self, id: PeerId) {
        self.accused.retain(|&(_, accused), _| accused != id);
    }

    /// Lifts a ban or another rest that is over. True if there was one.
    pub(crate) fn lift_expired(&mut self, id: PeerId, now: Instant) -> bool {
        if let Some(peer) = self.peers.get(id)
            && let BanState::Banned(_, until) | BanState::Unsupported(until) | BanState::SetAside(until) =
                peer.ban_state
            && until <= now
        {
            self.readmit(id, now);
            return true;
        }
        false
    }

    /// Takes a peer back that was banned, which it returns, or set aside. `None` where it was neither.
    pub(crate) fn pardon(&mut self, id: PeerId, now: Instant) -> Option<bool> {
        let left_out = |peer: &&Peer| peer.is_banned() || matches!(peer.ban_state, BanState::SetAside(_));
        let was_banned = self.peers.get(id).filter(left_out)?.is_banned();
        self.readmit(id, now);
        Some(was_banned)
    }
}
