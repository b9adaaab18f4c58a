//! The watch: no silent stall. Whenever nothing moves there is a reason, and it is said.

use super::client::LightClient;
use super::output::{Freshness, LightEvent, LightStall};
use super::requests::Timer;
use crate::time::Instant;

/// Since when nothing moved, and whether that was said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watch {
    progressed_at: Instant,
    /// The number of the reason that was said last.
    said: Option<u16>,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { progressed_at: now, said: None }
    }
}

impl LightClient {
    /// Something was proven that was not known before.
    pub(super) fn progressed(&mut self) {
        self.watch.progressed_at = self.now;
    }

    /// Says why nothing moves, once nothing has moved for a while, and that something does again.
    pub(super) fn keep_watch(&mut self) {
        let Some(reason) = self.stall_reason() else {
            if self.watch.said.take().is_some() {
                self.emit(LightEvent::Resumed);
            }
            self.watch_freshness();
            return;
        };
        let since = self.watch.progressed_at;
        let due = since.after(self.config.stall_after);
        if due > self.now {
            if self.watch.said.take().is_some() {
                self.emit(LightEvent::Resumed);
            }
            self.timers.set(Timer::Stall, due);
            return;
        }
        self.timers.cancel(Timer::Stall);
        if self.watch.said != Some(reason.code()) {
            self.watch.said = Some(reason.code());
            let next = self.now.after(self.config.status_interval);
            self.emit(LightEvent::Stalled { reason, since, next });
        }
    }

    /// Looks again when the told tip is about to be old.
    fn watch_freshness(&mut self) {
        let Some(told) = self.told() else { return };
        let age = self.wall_now().since(told.timestamp);
        let left = self.config.freshness.saturating_sub(age).saturating_add(core::time::Duration::from_millis(1));
        self.timers.set(Timer::Stall, self.now.after(left));
    }

    /// The reason why nothing moves; `None` where the told tip is fresh, and the highest that anyone proved.
    fn stall_reason(&self) -> Option<LightStall> {
        if let Some(ahead) = self.clock_behind() {
            return Some(LightStall::ClockBehind { ahead });
        }
        if self.peers.active_ids().next().is_none() {
            return Some(LightStall::NoPeers);
        }
        if let Some(candidate) = self.tips.candidate() {
            let height = candidate.tip.facts.height;
            let (have, need) = (self.confirmations.count(height), self.config.witnesses);
            return Some(LightStall::Witnesses { height, have, need });
        }
        let (trusted, claimed) = (self.epochs.newest().epoch(), self.claimed_epoch());
        match self.position().freshness {
            Freshness::Fresh => None,
            _ if claimed > trusted => Some(LightStall::EpochUnproven { trusted, claimed }),
            Freshness::Old { age } => Some(LightStall::OldTip { age }),
            Freshness::Unknown if self.told().is_some() => {
                let ahead = self.told().map(|told| told.timestamp.since(self.wall_now())).unwrap_or_default();
                Some(LightStall::ClockBehind { ahead })
            }
            Freshness::Unknown => Some(LightStall::NoTip),
        }
    }
}
