//! The watch on progress: what the sync waits for, why nothing moves, and what happens next.
//!
//! While the machine runs and is not at its goal there is always an answer ([`Machine::waiting`]), and its deadline is a
//! timer of the machine: by then it asks, verifies or calls again, or says again that it can't do anything alone.

use core::time::Duration;

use crate::config::SyncStrategyType;
use crate::machine::output::{Bottleneck, Event, Stall, StallReason, StallStep};
use crate::machine::plan::APPLY_CALLS;
use crate::machine::state::{Call, Machine, Phase, Timer};
use crate::peers::Peer;
use crate::requests::Kind;
use crate::time::Instant;

/// Where there is nobody to ask that is said again after pauses that double, up to this.
const MAX_REMINDER: Duration = Duration::from_secs(60);
/// Doublings after which that is reached, whatever the first pause.
const MAX_DOUBLINGS: u32 = 10;

impl Machine {
    /// Notes what the sync waits for now, and keeps the watch on progress.
    pub(super) fn watch(&mut self) {
        let blocks = self.calls.values().filter(|pending| !matches!(pending.call, Call::Store(_))).count();
        let nothing_else = self.requests.len() == 0 && self.jobs.is_empty();
        let nobody = self.peers.active().next().is_none();
        self.waiting_for = if blocks >= APPLY_CALLS || (!self.calls.is_empty() && nothing_else) {
            Bottleneck::Apply
        } else if nobody {
            Bottleneck::Peers
        } else if self.jobs.len() > self.requests.len() {
            Bottleneck::Verify
        } else {
            Bottleneck::Network
        };
    }

    /// What the machine waits for, if it runs and has not reached its goal: why, since when, and what it does by when.
    /// True after a drain.
    pub fn waiting(&self) -> Option<Stall> {
        let idle = self.phase != Phase::Running || self.reached.is_some();
        if idle {
            return None;
        }
        let reason = self.stall_reason();
        let (step, deadline) = self.next_step(reason);
        // The watch itself runs as long as the machine does.
        let deadline = deadline.or(self.timers.at(Timer::Stall)).unwrap_or(self.now);
        Some(Stall { reason, since: self.progressed_at, step, deadline })
    }

    /// There was no progress for a while: say why, unless there is nothing to do.
    pub(super) fn check_stall(&mut self) {
        let pause = match self.waiting() {
            Some(Stall { step: StallStep::AwaitPeer, .. }) => {
                let doubled = self.config.stall_after.saturating_mul(1 << self.stall_checks.min(MAX_DOUBLINGS));
                doubled.min(MAX_REMINDER.max(self.config.stall_after))
            }
            _ => self.config.stall_after,
        };
        self.timers.set(Timer::Stall, self.now.after(pause));
        let Some(Stall { reason, since, step, deadline: next }) = self.waiting() else { return };
        self.stall_checks = self.stall_checks.saturating_add(1);
        // What only others can change is said again.
        if self.stalled != Some(reason) || step == StallStep::AwaitPeer {
            self.stalled = Some(reason);
            self.emit(Event::Stalled { reason, since, step, next });
        }
    }

    fn stall_reason(&self) -> StallReason {
        let calls = || self.calls.values();
        if calls().any(|pending| pending.resting) {
            return StallReason::HostBusy;
        }
        if calls().next().is_some() {
            return StallReason::HostLate;
        }
        if !self.jobs.is_empty() {
            return StallReason::VerifyLate;
        }
        if self.peers.active().next().is_none() {
            return StallReason::NoPeers;
        }
        // Questions for claims are not among them.
        if self.requests.any(|purpose| purpose.kind() != Kind::Follow) {
            return StallReason::PeersSlow;
        }
        if self.strategy == SyncStrategyType::Fast && self.target.is_some() {
            return self.state_stall();
        }
        if self.claimed.is_some_and(|(_, epoch)| epoch > self.epochs.newest().epoch()) {
            return StallReason::HandoverMissing(self.epochs.newest().epoch());
        }
        match self.blocks.head_of_line() {
            Some((range, _, _)) => StallReason::BlocksMissing(range),
            None => StallReason::NoTarget(self.applied),
        }
    }

    /// What the machine does next, and when that is due by a timer of its own.
    fn next_step(&self, reason: StallReason) -> (StallStep, Option<Instant>) {
        match reason {
            StallReason::HostBusy | StallReason::HostLate => {
                let due = self.calls.keys().filter_map(|&id| self.timers.at(Timer::Call(id)));
                (StallStep::CallAgain, due.min())
            }
            StallReason::VerifyLate => {
                let due = self.jobs.keys().filter_map(|&id| self.timers.at(Timer::Job(id)));
                (StallStep::VerifyAgain, due.min())
            }
            StallReason::PeersSlow => (StallStep::AskOthers, self.next_timeout()),
            StallReason::NoPeers => (StallStep::AwaitPeer, self.timers.at(Timer::Stall)),
            StallReason::NoTarget(_)
            | StallReason::HandoverMissing(_)
            | StallReason::BlocksMissing(_)
            | StallReason::NoSnapshot(_)
            | StallReason::StateMissing(_) => {
                // Who is being asked is not asked again at the same time.
                let active = self.peers.active().filter(|&(id, _)| !self.requests.is_probed(id));
                let asked_at =
                    |id, peer: &Peer| Some(self.timers.at(Timer::Status(id))?.max(peer.rests_until(Kind::Status)));
                let due = active.filter_map(|(id, peer)| asked_at(id, peer));
                (StallStep::AskPeers, due.chain(self.next_timeout()).min())
            }
        }
    }

    /// When the first request is given up.
    fn next_timeout(&self) -> Option<Instant> {
        self.requests.ids().into_iter().filter_map(|id| self.timers.at(Timer::Request(id))).min()
    }
}
