//! Outcomes of requests, and their consequences for the peer that was asked.

use core::time::Duration;

use super::manager::SyncPeerManager;
use super::peer::{BanState, FIRST_PAUSE, UNSUPPORTED_PAUSE};
use super::quality::{PeerOutcome, PeerPerformance};
use crate::ids::PeerId;
use crate::requests::{Capability, InFlight, Kind};
use crate::time::Instant;

/// An answer is on time within so many times of what it was expected to take …
const ON_TIME_FACTOR: u32 = 2;
/// … and this.
pub(super) const ON_TIME_SLACK: Duration = Duration::from_millis(100);

impl SyncPeerManager {
    /// Takes in what a peer did. Returns until when it rests, if it does for that. A peer that fails gives its slot to one
    /// that stands by.
    pub fn record_peer_performance(
        &mut self,
        now: Instant,
        id: &PeerId,
        performance: &PeerPerformance,
    ) -> Option<Instant> {
        let &PeerPerformance { kind, sent, due, bytes, outcome } = performance;
        let unanswered = matches!(outcome, PeerOutcome::NoAnswer);
        let blamed = unanswered && (self.is_alone_late(now, *id, kind, sent) || self.peers.active_len() < 2);
        let peer = self.peers.get_mut(*id)?;
        match outcome {
            PeerOutcome::Delivered => {
                if kind.is_bulk() {
                    peer.estimator.delivered(now, sent, bytes);
                } else if peer.in_flight == 0 && matches!(kind, Kind::Status | Kind::Tip) {
                    peer.estimator.echoed(now.since(sent));
                }
                let patience = due.since(sent).saturating_mul(ON_TIME_FACTOR).saturating_add(ON_TIME_SLACK);
                if sent.after(patience) >= now {
                    self.link.note_on_time(now, *id, kind);
                }
                None
            }
            PeerOutcome::Verified { took } => {
                let stats = peer.stats.get_mut(kind);
                stats.succeeded();
                stats.verified(bytes, took);
                peer.succeeded();
                peer.bytes = peer.bytes.saturating_add(bytes);
                peer.recent_bytes = peer.recent_bytes.saturating_add(bytes);
                self.note_true(kind, now);
                None
            }
            PeerOutcome::Sparing => {
                peer.stats.get_mut(kind).failed();
                let until = peer.suspected(kind, now);
                self.step_aside(*id, now);
                Some(until)
            }
            PeerOutcome::NoAnswer => {
                peer.unanswered = peer.unanswered.saturating_add(1);
                // Nobody is on time: our own link is full, or everybody is silent. That says nothing of this peer, so also
                // where its silence is known already, for which a small question is enough: less is asked for at once.
                if !blamed && kind.is_bulk() {
                    self.link.jammed(now);
                }
                // A peer that falls silent leaves everything unanswered that was in flight to it: that counts once.
                if let Some(until) = peer.is_still_silent(kind, sent) {
                    return Some(until);
                }
                if kind.is_bulk() || kind == Kind::Follow {
                    peer.estimator.timed_out();
                }
                let until = if blamed {
                    peer.stats.get_mut(kind).failed();
                    peer.suspected(kind, now)
                } else {
                    peer.shrink();
                    let until = now.after(FIRST_PAUSE);
                    peer.pause(kind, until);
                    until
                };
                peer.fell_silent(now, until);
                self.step_aside(*id, now);
                Some(until)
            }
        }
    }

    /// Marks an answer of the peer as being checked: a peer that has proven nothing of the capability is asked for nothing
    /// else meanwhile.
    pub(crate) fn under_check(&mut self, id: PeerId, capability: impl Into<Capability>) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.begin_probation(capability.into(), true);
        }
    }

    /// Something was judged, or will not be. True if that makes the peer ready for more.
    pub(crate) fn end_probation(&mut self, id: PeerId, capability: impl Into<Capability>) -> bool {
        self.peers.get_mut(id).is_some_and(|peer| peer.end_probation(capability.into()))
    }

    /// A peer gave a true answer of this sort.
    pub(crate) fn prove(&mut self, id: PeerId, capability: impl Into<Capability>) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.prove(capability.into());
        }
    }

    /// A peer gave a provably false answer.
    pub(super) fn note_false(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.false_answers = peer.false_answers.saturating_add(1);
        }
    }

    /// Accounts for a request that goes out.
    pub(crate) fn sent(
        &mut self,
        id: PeerId,
        capability: impl Into<Capability>,
        size: u64,
        due: Instant,
        now: Instant,
    ) {
        let capability = capability.into();
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.begin_probation(capability, false);
        if !capability.kind.is_bulk() {
            return;
        }
        if peer.in_flight == 0 {
            peer.estimator.busy(now);
            peer.due = due;
        }
        peer.asked_at = now;
        peer.in_flight = peer.in_flight.saturating_add(1);
        peer.queued_bytes = peer.queued_bytes.saturating_add(size);
        peer.due = peer.due.max(due);
        self.link.sent();
    }

    /// Accounts for a request that ended, however it ended.
    pub(crate) fn ended<P: Copy + Into<Capability>>(&mut self, request: &InFlight<P>) {
        if !request.purpose.into().kind.is_bulk() {
            return;
        }
        self.link.ended();
        if let Some(peer) = self.peers.get_mut(request.peer) {
            peer.in_flight = peer.in_flight.saturating_sub(1);
            peer.queued_bytes = peer.queued_bytes.saturating_sub(request.size);
        }
    }

    /// A request that was given up was late, and its peer has sent nothing since it was asked: its line is no faster than
    /// that. True where that is so.
    pub(crate) fn timed_out_unheard(&mut self, request: &InFlight, now: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(request.peer) else { return false };
        if request.due > now {
            return false;
        }
        // Small answers pass where large ones don't, and say nothing of the line.
        if !request.purpose.kind().is_bulk() {
            return true;
        }
        if peer.estimator.last_delivery > request.sent {
            return false;
        }
        peer.estimator.timed_out_unheard(request.size, now.since(request.sent));
        true
    }

    /// The peer doesn't have it: asked for other things at once, for this kind after a pause. Returns when that is over.
    pub(crate) fn not_available(&mut self, id: PeerId, kind: Kind, now: Instant) -> Instant {
        let until = self.peers.get_mut(id).map_or(now, |peer| peer.not_available(kind, now));
        if !matches!(kind, Kind::Follow | Kind::Status) {
            self.step_aside(id, now);
        }
        until
    }

    /// The peer is busy: asked for nothing before `until`, nor sooner than who says so again and again is worth asking. No
    /// fault. Returns until when, and how often in a row it said so.
    pub(crate) fn busy(&mut self, id: PeerId, until: Instant, now: Instant) -> (Instant, u32) {
        let outcome = self.peers.get_mut(id).map_or((until, 0), |peer| peer.busy(until, now));
        self.step_aside(id, now);
        outcome
    }

    /// The peer speaks another version or follows another chain. Returns until when it is left alone.
    pub(crate) fn unsupported(&mut self, id: PeerId, now: Instant) -> Instant {
        let until = now.after(UNSUPPORTED_PAUSE);
        if let Some(peer) = self.peers.get_mut(id)
            && peer.ban_state == BanState::Good
        {
            peer.ban_state = BanState::Unsupported(until);
        }
        self.review(id, now);
        until
    }
}
