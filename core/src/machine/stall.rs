//! The watch on progress: what the sync waits for, and why nothing moves.

use crate::config::SyncStrategyType;
use crate::machine::output::{Bottleneck, Event, StallReason};
use crate::machine::plan::APPLY_CALLS;
use crate::machine::state::{Call, Machine, Phase, Timer};
use crate::requests::Kind;

impl Machine {
    /// Notes what the sync waits for now, and keeps the watch on progress.
    pub(super) fn watch(&mut self) {
        let out = self.calls.values().filter(|pending| !matches!(pending.call, Call::Store(_))).count();
        let nobody = self.peers.usable().next().is_none();
        self.waiting_for = if out >= APPLY_CALLS || (out > 0 && self.requests.len() == 0 && self.jobs.is_empty()) {
            Bottleneck::Apply
        } else if nobody {
            Bottleneck::Peers
        } else if self.jobs.len() > self.requests.len() {
            Bottleneck::Verify
        } else {
            Bottleneck::Network
        };
    }

    /// There was no progress for a while: say why, unless there is nothing to do.
    pub(super) fn check_stall(&mut self) {
        let next = self.now.after(self.config.stall_after);
        self.timers.set(Timer::Stall, next);
        if self.phase != Phase::Running || self.reached.is_some() {
            return;
        }
        let reason = self.stall_reason();
        if self.stalled != Some(reason) {
            self.stalled = Some(reason);
            self.emit(Event::Stalled { reason, since: self.progressed_at, next });
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
        if self.peers.usable().next().is_none() {
            return StallReason::NoPeers;
        }
        if self.requests.any(|purpose| purpose.kind() != Kind::Follow && purpose.kind() != Kind::Status) {
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
}
