//! Peers: they come and go, say what they hold, prove it or don't, and are banned for what is false.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::client::{LightClient, Phase};
use super::output::{LightEvent, LightOutput};
use super::requests::{Purpose, Timer};
use crate::chain::Fault;
use crate::ids::PeerId;
use crate::machine::{PeerEvent, Penalty};
use crate::peers::{BanState, BlacklistReason, Consequence, PeerOutcome, PeerPerformance};
use crate::requests::{InFlight, Kind};
use crate::time::Instant;
use crate::wire::{PeerStatus, Refusal, Request};

/// Blocks by which a peer may be behind the highest proven one before others are asked instead.
const FAR_BEHIND: u64 = 32;
/// How long it is not asked then, if others are there.
const BEHIND_REST: Duration = Duration::from_secs(5);

impl LightClient {
    /// A peer came or went.
    pub(super) fn handle_peer(&mut self, now: Instant, event: PeerEvent) {
        self.advance(now);
        match event {
            PeerEvent::Connected { peer, group } => {
                self.peers.connected(self.now, peer, group);
                self.peers.lift_expired(peer, self.now);
                if let Some(BanState::Banned(reason, until)) = self.peers.get(peer).map(|peer| peer.ban_state) {
                    self.penalize(peer, reason, until);
                }
            }
            PeerEvent::Disconnected { peer } => {
                self.peers.disconnected(self.now, peer);
                self.timers.cancel(Timer::Status(peer));
                self.leave_alone(peer);
            }
            PeerEvent::Excluded { peer, reason } => self.exclude(peer, reason),
            PeerEvent::Pardoned { peer } => {
                if let Some(was_banned) = self.peers.pardon(peer, self.now) {
                    if was_banned {
                        self.lift(peer);
                    }
                    self.timers.cancel(Timer::Peer(peer));
                    self.timers.set(Timer::Status(peer), self.now);
                }
            }
        }
        self.unplanned = true;
    }

    /// Asks those who were given a place for their claims, and keeps the watch on rotation.
    pub(super) fn welcome(&mut self) {
        for peer in self.peers.take_activated() {
            self.timers.set_sooner(Timer::Status(peer), self.now);
        }
        if self.peers.standing_by() > 0 {
            self.timers.set_sooner(Timer::Rotate, self.now.after(self.peers.rotation_interval()));
        } else {
            self.timers.cancel(Timer::Rotate);
        }
        self.run_timers();
    }

    /// Asks everyone who has a place for its claims.
    pub(super) fn greet_all(&mut self) {
        let active: Vec<PeerId> = self.peers.active_ids().collect();
        for peer in active {
            self.timers.set_sooner(Timer::Status(peer), self.now);
        }
    }

    pub(super) fn ask_status(&mut self, peer: PeerId) {
        let Some(known) = self.peers.get(peer).filter(|peer| peer.usable() && peer.is_active()) else { return };
        if self.phase != Phase::Running {
            return;
        }
        let rested = known.rests_until(Kind::Status);
        if rested > self.now {
            self.timers.set(Timer::Status(peer), rested);
            return;
        }
        self.timers.set(Timer::Status(peer), self.now.after(self.config.status_interval));
        if !self.is_asked(peer, &|purpose| purpose == Purpose::Status) {
            self.send(peer, Purpose::Status, Request::Status, 64);
        }
    }

    pub(super) fn take_status(&mut self, id: PeerId, data: &Bytes) {
        let Some(status) = PeerStatus::decode(data) else {
            self.on_fault(id, Kind::Status, Fault::Malformed);
            return;
        };
        if status.chain_id != self.chain_id {
            let until = self.peers.unsupported(id, self.now);
            self.timers.set_sooner(Timer::Peer(id), until);
            self.leave_alone(id);
            return;
        }
        if let Some(peer) = self.peers.get_mut(id) {
            peer.status = Some(status);
            peer.mute = false;
        }
        self.peers.note_true(Kind::Status, self.now);
        self.ban_exposed();
        // A peer that is far behind can neither show nor confirm anything new, and gives its place to others for a
        // while.
        let known = self.tips.best().map(|best| best.facts.height).max(self.told().map(|told| told.height));
        if known.is_some_and(|known| known.above(status.tip) > FAR_BEHIND) {
            self.pause(id, Kind::Tip, BEHIND_REST);
            self.peers.step_aside(id, self.now);
        }
    }

    /// Nothing is asked of the peer any more: it is gone, or must not be.
    pub(super) fn leave_alone(&mut self, peer: PeerId) {
        self.cancel_requests(&|request| request.peer == peer);
        self.forget_waiting_handovers(&|waiting| waiting == peer);
        self.tips.forget(peer);
        self.climb.forget(peer);
    }

    /// The peer didn't prove what it claims. No fault: another one takes its place, and it is asked again after a pause.
    pub(super) fn failed_to_prove(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let until = peer.failed_to_prove(self.now);
        self.timers.set_sooner(Timer::Peer(id), until);
        self.peers.step_aside(id, self.now);
    }

    /// The peer is not asked for `kind` for a while.
    pub(super) fn pause(&mut self, id: PeerId, kind: Kind, pause: Duration) {
        let until = self.now.after(pause);
        if let Some(peer) = self.peers.get_mut(id) {
            peer.pause(kind, until);
            self.timers.set_sooner(Timer::Peer(id), until);
        }
    }

    /// The peer doesn't have it: asked for something of this kind only after a pause.
    pub(super) fn not_available(&mut self, id: PeerId, kind: Kind) {
        let until = self.peers.not_available(id, kind, self.now);
        self.timers.set_sooner(Timer::Peer(id), until);
    }

    pub(super) fn take_refusal(&mut self, request: &InFlight<Purpose>, refusal: Refusal) {
        let (id, kind) = (request.peer, request.purpose.kind());
        match refusal {
            Refusal::NotAvailable => {
                self.not_available(id, kind);
                if matches!(request.purpose, Purpose::Tip | Purpose::Handovers(_) | Purpose::Skip(_)) {
                    self.failed_to_prove(id);
                }
            }
            Refusal::Busy { retry_after_ms } => {
                let until = self.now.after(Duration::from_millis(u64::from(retry_after_ms)));
                // Its word alone makes nobody wait for longer than a request may take.
                let (until, _) = self.peers.busy(id, until.min(self.now.after(self.config.peer_timeout)), self.now);
                self.timers.set_sooner(Timer::Peer(id), until);
            }
            Refusal::Unsupported if kind == Kind::Read => {
                // An older node: it proves tips all the same.
                self.not_available(id, kind);
            }
            Refusal::Unsupported => {
                let until = self.peers.unsupported(id, self.now);
                self.timers.set_sooner(Timer::Peer(id), until);
                self.leave_alone(id);
            }
        }
        if kind == Kind::Status {
            self.became_mute(id);
        }
        if let Purpose::Witness(height, _) = request.purpose {
            self.confirmations.not_given(height, id);
        }
        if let Some(query) = request.purpose.query() {
            self.query_refused(query, kind);
        }
    }

    /// A request was not answered in time, or its stream broke.
    pub(super) fn no_answer(&mut self, request: &InFlight<Purpose>) {
        self.record(request, request.size, PeerOutcome::NoAnswer);
        match request.purpose {
            Purpose::Status => self.became_mute(request.peer),
            Purpose::Tip | Purpose::Handovers(_) | Purpose::Skip(_) => self.failed_to_prove(request.peer),
            Purpose::Witness(height, _) => self.confirmations.not_given(height, request.peer),
            Purpose::Base(..) | Purpose::Answer(..) => {}
        }
    }

    fn became_mute(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.mute = true;
            let rested = peer.rests_until(Kind::Status).max(self.now);
            self.timers.set_sooner(Timer::Status(id), rested);
        }
    }

    /// Notes the end of a request.
    pub(super) fn record(&mut self, request: &InFlight<Purpose>, bytes: u64, outcome: PeerOutcome) {
        let InFlight { peer, purpose, sent, due, .. } = *request;
        self.perform(peer, &PeerPerformance { kind: purpose.kind(), sent, due, bytes, outcome });
    }

    fn perform(&mut self, peer: PeerId, performance: &PeerPerformance) {
        if let Some(rested) = self.peers.record_peer_performance(self.now, &peer, performance) {
            self.timers.set_sooner(Timer::Peer(peer), rested);
        }
    }

    /// An answer of this kind was true; checking it took so long.
    pub(super) fn on_valid(&mut self, peer: PeerId, kind: Kind, bytes: u64, took: Duration) {
        self.peers.prove(peer, kind);
        let outcome = PeerOutcome::Verified { took };
        self.perform(peer, &PeerPerformance { kind, sent: self.now, due: self.now, bytes, outcome });
        self.ban_exposed();
    }

    /// Bans a peer for a provably false answer, or sets it aside where this client suspects itself.
    pub(super) fn on_fault(&mut self, peer: PeerId, kind: Kind, fault: Fault) {
        let Some(consequence) = self.peers.on_fault(peer, kind, fault, self.now) else { return };
        match consequence {
            Consequence::Ban => self.ban(peer, fault),
            Consequence::SetAside { peers, banned, until, raised } => {
                for peer in banned {
                    self.lift(peer);
                }
                if let Some(groups) = raised {
                    self.emit(LightEvent::SuspectSelf { fault, groups });
                }
                for peer in peers {
                    self.leave_alone(peer);
                    self.timers.cancel(Timer::Status(peer));
                    self.timers.set(Timer::Peer(peer), until);
                }
            }
        }
    }

    fn ban(&mut self, peer: PeerId, fault: Fault) {
        self.exclude(peer, BlacklistReason::Proven(fault));
        self.emit(LightEvent::Banned { peer, fault });
    }

    fn ban_exposed(&mut self) {
        for (peer, fault) in self.peers.take_exposed() {
            self.ban(peer, fault);
        }
    }

    fn exclude(&mut self, peer: PeerId, reason: BlacklistReason) {
        let until = self.peers.blacklist_unreliable_peer(self.now, &peer, reason);
        self.leave_alone(peer);
        self.timers.cancel(Timer::Status(peer));
        self.timers.set(Timer::Peer(peer), until);
        self.penalize(peer, reason, until);
    }

    /// Lets a peer that was banned come back.
    fn lift(&mut self, peer: PeerId) {
        self.outputs.push_back(LightOutput::Penalize { peer, penalty: Penalty::Lift });
    }

    fn penalize(&mut self, peer: PeerId, reason: BlacklistReason, until: Instant) {
        self.outputs.push_back(LightOutput::Penalize { peer, penalty: Penalty::of(reason, until) });
    }

    /// A rest of a peer is over; others may not be.
    pub(super) fn rested(&mut self, id: PeerId) {
        let lifted = self.peers.lift_expired(id, self.now);
        let Some(peer) = self.peers.get(id) else { return };
        if let Some(next) = peer.next_rested(self.now) {
            self.timers.set(Timer::Peer(id), next);
        }
        if lifted && peer.connected {
            self.timers.set(Timer::Status(id), self.now);
        }
    }

    /// Those that deliver least change places with those that stand by.
    pub(super) fn rotate(&mut self) {
        self.peers.rotate_sync_peers(self.now);
        self.timers.set(Timer::Rotate, self.now.after(self.peers.rotation_interval()));
    }
}
