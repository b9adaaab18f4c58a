//! Peers that come and go, commands, timers, the drain, and blame.

use crate::chain::Fault;
use crate::config::SyncStrategyType;
use crate::ids::{Height, PeerId, RequestId};
use crate::machine::event::{Event, HaltReason};
use crate::machine::input::PeerEvent;
use crate::machine::output::{Output, Penalty};
use crate::machine::state::{Machine, Phase, Timer};
use crate::peers::{BanState, BlacklistReason, Consequence, PeerOutcome, PeerPerformance};
use crate::requests::{Capability, InFlight, Kind, Purpose};
use crate::strategy::Source;
use crate::time::{Instant, UnixMillis};

impl Machine {
    /// A peer came or went.
    pub(super) fn on_peer(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Connected { peer, group } => {
                self.peers.connected(self.now, peer, group);
                self.peers.lift_expired(peer, self.now);
                match self.peers.get(peer).map(|peer| peer.ban_state) {
                    Some(BanState::Banned(reason, until)) => self.penalize(peer, reason, until),
                    _ => self.greet(peer),
                }
            }
            PeerEvent::Disconnected { peer } => {
                self.peers.disconnected(self.now, peer);
                self.bandwidth.set_weight(peer, 0);
                self.timers.cancel(Timer::Status(peer));
                self.claims.newcomers.cancel(peer);
                self.abandon_requests(peer);
            }
            PeerEvent::Excluded { peer, reason } => self.exclude(peer, reason),
            PeerEvent::Pardoned { peer } => {
                if let Some(was_banned) = self.peers.pardon(peer, self.now) {
                    self.timers.cancel(Timer::Peer(peer));
                    self.timers.set(Timer::Status(peer), self.now);
                    if was_banned {
                        self.lift(peer);
                    }
                }
            }
        }
        self.claims.changed = true;
        self.unplanned = true;
    }

    /// Starts, or goes on.
    pub(super) fn on_start(&mut self, until: Option<Height>) {
        if self.phase == Phase::Halted {
            return;
        }
        self.phase = Phase::Running;
        self.submissions.restart();
        self.goal.begin(until);
        self.claims.changed = true;
        self.progressed();
        let connected: alloc::vec::Vec<PeerId> =
            self.peers.iter().filter(|(_, peer)| peer.connected).map(|(id, _)| id).collect();
        for peer in connected {
            self.greet(peer);
        }
        self.unplanned = true;
    }

    /// Stops.
    pub(super) fn on_stop(&mut self) {
        if self.phase == Phase::Running {
            self.phase = Phase::Stopped;
            self.cancel_everything();
        }
    }

    /// The host says what time of day it is.
    pub(super) fn on_wall(&mut self, wall: UnixMillis) {
        self.trust.set_wall(self.now, wall);
        self.unplanned = true;
    }

    /// Whether what is trusted is young enough to prove anything from. Where it is too old the sync ends for good.
    pub(super) fn trust_holds(&mut self) -> bool {
        let Some((age_ms, trusting_period_ms)) = self.trust.expired(self.now) else { return true };
        self.halt(HaltReason::TrustExpired { age_ms, trusting_period_ms });
        false
    }

    /// Catches up with `strategy` from here on.
    pub(super) fn on_strategy(&mut self, strategy: SyncStrategyType) {
        if self.can_use(strategy) {
            self.config.default_strategy = strategy;
            self.unplanned = true;
        }
    }

    /// The next thing to do. [`Output::Wait`] comes last.
    pub fn poll_output(&mut self) -> Output {
        if core::mem::take(&mut self.unplanned) {
            self.plan();
        }
        self.outputs.pop_front().unwrap_or_else(|| Output::Wait(self.timers.next()))
    }

    /// Stops for good.
    pub(super) fn halt(&mut self, reason: HaltReason) {
        self.phase = Phase::Halted;
        self.cancel_everything();
        self.emit(Event::Halted(reason));
    }

    /// Cancels all requests and jobs and forgets what is in work but not handed on.
    fn cancel_everything(&mut self) {
        for id in self.requests.ids() {
            self.abandon_request(id);
        }
        self.end_submissions();
        self.drop_jobs();
        self.conflicts.dispute = None;
        self.epochs.check = None;
        for waiting in self.epochs.take_waiting_of(&|_| true) {
            self.forget_handovers(&waiting);
        }
        self.reset_blocks();
        self.cancel_walk();
        self.drop_history();
        self.timers.cancel(Timer::Stall);
        self.timers.cancel(Timer::Hedge);
    }

    /// Forgets the download window above what was handed on.
    pub(super) fn reset_blocks(&mut self) {
        let (held, sources) = self.window.clear();
        self.budget.release(held);
        self.cancel_sources(sources);
    }

    /// Cancels requests and jobs that nobody needs any more.
    pub(super) fn cancel_sources(&mut self, sources: alloc::vec::Vec<Source>) {
        for source in sources {
            self.cancel_source(source);
        }
    }

    /// Cancels a request or a job that nobody needs any more.
    fn cancel_source(&mut self, source: Source) {
        match source {
            Source::Request(id) => {
                self.cancel_request(id);
            }
            Source::Job(id) => {
                if let Some(pending) = self.drop_job(id) {
                    self.counters.duplicate_bytes = self.counters.duplicate_bytes.saturating_add(pending.bytes);
                }
            }
        }
    }

    /// Ends a request that is in flight, for every account that knows of it.
    fn cancel_request(&mut self, id: RequestId) {
        if let Some(request) = self.requests.remove(id) {
            self.requests.cancelled();
            self.peers.timed_out_unheard(&request, self.now);
            self.request_ended(id, &request);
        }
    }

    /// Takes back the questions for what follows the tip that a peer has not answered yet.
    pub(super) fn give_up_polls(&mut self, peer: PeerId) {
        for id in self.requests.of_peer(peer) {
            if self.requests.get(id).is_some_and(|request| request.purpose.kind() == Kind::Follow) {
                self.cancel_request(id);
            }
        }
    }

    fn request_ended(&mut self, id: RequestId, request: &InFlight) {
        self.timers.cancel(Timer::Request(id));
        self.timers.cancel(Timer::Late(id));
        self.peers.ended(request);
        self.end_probation(request.peer, request.purpose);
        self.budget.release(request.reserved);
        self.outputs.push_back(Output::CancelRequest(id));
    }

    /// Something that a peer was asked for was judged, or will not be: it may be asked for more.
    pub(super) fn end_probation(&mut self, peer: PeerId, capability: impl Into<Capability>) {
        self.claims.changed |= self.peers.end_probation(peer, capability);
    }

    /// A job is over, with a verdict or without one.
    pub(super) fn judged(&mut self, pending: &crate::machine::jobs::PendingJob) {
        let Some((peer, purpose)) = pending.origin else { return };
        self.end_probation(peer, purpose);
        for &(peer, _) in &pending.shared {
            self.end_probation(peer, purpose);
        }
    }

    /// Gives up a request that is in flight: what waited for it is missing again, and asked for elsewhere.
    pub(super) fn abandon_request(&mut self, id: RequestId) -> Option<InFlight> {
        let request = self.requests.take_failed(id)?;
        self.request_ended(id, &request);
        self.bandwidth.settle(self.now, request.size, 0);
        self.unassign(request.purpose, Source::Request(id));
        Some(request)
    }

    /// Gives up all requests to a peer.
    pub(super) fn abandon_requests(&mut self, peer: PeerId) {
        for id in self.requests.of_peer(peer) {
            self.abandon_request(id);
        }
    }

    /// A source of something failed: where it was the only one, the thing is missing again and its bytes are free.
    pub(super) fn unassign(&mut self, purpose: Purpose, source: Source) {
        let freed = match purpose {
            Purpose::Segment { first, .. } => {
                let cost = self.window.cell(first).map_or(0, crate::strategy::Cell::header_cost);
                let missing = self.window.headers_of(first).is_some_and(|headers| headers.remove(source));
                if missing { cost } else { 0 }
            }
            Purpose::Bodies(range) => self
                .window
                .slot_of(range.first())
                .map_or(0, |slot| if slot.fetch.remove(source) { slot.bytes } else { 0 }),
            Purpose::Dispute(_) => {
                self.conflicts.dispute = None;
                0
            }
            Purpose::State(batch) => {
                if let Some(walk) = &mut self.state_sync.walk {
                    walk.failed(batch, source);
                }
                0
            }
            Purpose::Status | Purpose::Handovers(_) | Purpose::Tip(_) | Purpose::Follow(_) | Purpose::Base => 0,
        };
        self.budget.release(freed);
    }

    pub(super) fn run_timers(&mut self) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Request(id) => self.request_timed_out(id),
                Timer::Late(id) => self.look_at_late(id),
                Timer::Job(id) => self.job_timed_out(id),
                Timer::Call(id) => self.call_timed_out(id),
                Timer::Status(peer) => self.ask_status(peer),
                Timer::Peer(peer) => self.rested(peer),
                Timer::Hedge | Timer::StateSync | Timer::Tokens | Timer::Unasked | Timer::Look | Timer::Trust => {}
                Timer::Decides => self.claims.changed = true,
                Timer::Rotate => self.rotate(),
                Timer::Stall => self.check_stall(),
            }
        }
    }

    /// A rest of a peer is over; others may not be.
    fn rested(&mut self, id: PeerId) {
        let lifted = self.peers.lift_expired(id, self.now);
        let Some(peer) = self.peers.get(id) else { return };
        if let Some(next) = peer.next_rested(self.now) {
            self.timers.set(Timer::Peer(id), next);
        }
        if lifted && peer.connected {
            self.timers.set(Timer::Status(id), self.now);
        }
        self.claims.changed = true;
    }

    /// Those that deliver least change places with those that stand by.
    fn rotate(&mut self) {
        self.peers.rotate_sync_peers(self.now);
        self.timers.set(Timer::Rotate, self.now.after(self.peers.rotation_interval()));
        self.claims.changed = true;
    }

    fn request_timed_out(&mut self, id: RequestId) {
        if let Some((peer, purpose)) = self.requests.get(id).map(|request| (request.peer, request.purpose)) {
            self.not_given(peer, purpose, false);
        }
        let Some(request) = self.abandon_request(id) else { return };
        if let (Purpose::Tip(_) | Purpose::Handovers(_), Some(peer)) =
            (request.purpose, self.peers.get_mut(request.peer))
        {
            peer.failed_to_prove(self.now);
        }
        self.no_answer(&request);
    }

    /// Notes what became of a request.
    pub(super) fn record(&mut self, request: &InFlight, bytes: u64, outcome: PeerOutcome) {
        let InFlight { peer, purpose, sent, due, .. } = *request;
        let performance = PeerPerformance { kind: purpose.kind(), sent, due, bytes, outcome };
        self.perform(peer, &performance);
    }

    /// Notes what a peer did.
    pub(super) fn perform(&mut self, peer: PeerId, performance: &PeerPerformance) {
        if let Some(rested) = self.peers.record_peer_performance(self.now, &peer, performance) {
            self.timers.set_sooner(Timer::Peer(peer), rested);
        }
    }

    /// An answer of a peer was true and needlessly small.
    pub(super) fn undersized(&mut self, peer: PeerId, kind: Kind) {
        let (sent, due) = (self.now, self.now);
        let outcome = PeerOutcome::Sparing;
        self.perform(peer, &PeerPerformance { kind, sent, due, bytes: 0, outcome });
    }

    /// Puts a new source in the place of an old one. False where nobody waits for it.
    pub(super) fn replace_source(&mut self, purpose: Purpose, old: Source, new: Source) -> bool {
        match purpose {
            Purpose::Segment { first, .. } => {
                self.window.headers_of(first).is_some_and(|headers| headers.replace(old, new))
            }
            Purpose::Bodies(range) => {
                self.window.slot_of(range.first()).is_some_and(|slot| slot.fetch.replace(old, new))
            }
            Purpose::State(batch) => {
                self.state_sync.walk.as_mut().is_some_and(|walk| walk.replace_source(batch, old, new))
            }
            Purpose::Status
            | Purpose::Handovers(_)
            | Purpose::Tip(_)
            | Purpose::Follow(_)
            | Purpose::Dispute(_)
            | Purpose::Base => true,
        }
    }

    /// Bans a peer for a provably false answer, or sets it aside where this node suspects itself.
    pub(super) fn on_fault(&mut self, peer: PeerId, kind: Kind, fault: Fault) {
        let Some(consequence) = self.peers.on_fault(peer, kind, fault, self.now) else { return };
        self.claims.changed = true;
        match consequence {
            Consequence::Ban => self.ban(peer, fault),
            Consequence::SetAside { peers, banned, until, raised } => {
                if let Some(groups) = raised {
                    self.emit(Event::SuspectSelf { fault, groups });
                }
                for peer in banned {
                    self.lift(peer);
                }
                for peer in peers {
                    self.abandon_requests(peer);
                    self.timers.cancel(Timer::Status(peer));
                    self.timers.set(Timer::Peer(peer), until);
                }
            }
        }
    }

    fn ban(&mut self, peer: PeerId, fault: Fault) {
        self.exclude(peer, BlacklistReason::Proven(fault));
        self.emit(Event::Banned { peer, fault });
    }

    /// Bans those that lied while this node suspected itself, now that a true answer has come.
    pub(super) fn ban_exposed(&mut self) {
        for (peer, fault) in self.peers.take_exposed() {
            self.ban(peer, fault);
        }
    }

    /// Leaves a peer out from here on.
    fn exclude(&mut self, peer: PeerId, reason: BlacklistReason) {
        let until = self.peers.blacklist_unreliable_peer(self.now, &peer, reason);
        self.abandon_requests(peer);
        self.timers.cancel(Timer::Status(peer));
        self.claims.newcomers.cancel(peer);
        self.timers.set(Timer::Peer(peer), until);
        self.penalize(peer, reason, until);
    }

    fn penalize(&mut self, peer: PeerId, reason: BlacklistReason, until: Instant) {
        self.outputs.push_back(Output::Penalize { peer, penalty: Penalty::of(reason, until) });
    }

    /// Lets a peer that was banned come back.
    fn lift(&mut self, peer: PeerId) {
        self.outputs.push_back(Output::Penalize { peer, penalty: Penalty::Lift });
    }

    /// An answer of this sort was true.
    pub(super) fn on_valid(&mut self, peer: PeerId, capability: impl Into<Capability>, bytes: u64) {
        let capability = capability.into();
        self.peers.prove(peer, capability);
        let kind = capability.kind;
        let outcome = PeerOutcome::Verified { took: self.jobs.took() };
        self.perform(peer, &PeerPerformance { kind, sent: self.now, due: self.now, bytes, outcome });
        self.ban_exposed();
        self.counters.useful_bytes = self.counters.useful_bytes.saturating_add(bytes);
    }
}
