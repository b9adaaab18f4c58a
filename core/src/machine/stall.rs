//! The watch on progress: what the sync waits for, why nothing moves, and what happens next.
//!
//! While the machine runs and is not at its goal there is always an answer ([`Machine::waiting`]), and its deadline is a
//! timer of the machine: by then it asks, verifies or calls again, or says again that it can't do anything alone. At the
//! goal it waits for somebody to follow, if nobody is there.
//!
//! Progress is what brings the node nearer to its goal and can't be had twice: a higher block is applied, a newer epoch is
//! trusted, more of a state is there than ever, a state is live, there is a goal after the last one was reached. Whatever
//! is asked for, answered, surveyed or tried again is none, and neither is a target that moves away. While the host
//! refuses a call only what the host does counts, since the rest has to wait for it. Events, progress, metrics, estimates
//! and the patience of programs all go by this one judge ([`Machine::stall`]).

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::calls::{APPLIES, HostWork};
use crate::config::SyncStrategyType;
use crate::ids::Height;
use crate::machine::event::Event;
use crate::machine::jobs::{HEARD_WITHIN, Verification};
use crate::machine::output::Bottleneck;
use crate::machine::reason::{Stall, StallReason, StallStep};
use crate::machine::state::{Machine, Phase, Timer};
use crate::peers::Peer;
use crate::requests::Kind;
use crate::time::{Instant, micros};

/// Longest pause between two words that there is nobody to ask; pauses double up to it.
const MAX_REMINDER: Duration = Duration::from_secs(60);
/// Doublings after which that is reached, whatever the first pause.
const MAX_DOUBLINGS: u32 = 10;

/// Samples of the applied height that the rate is taken from.
const RATE_SAMPLES: usize = 16;
/// Time between two such samples: the rate is that of the last four seconds.
const RATE_INTERVAL: Duration = Duration::from_millis(250);

/// The watch on progress: what it knows of the past.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watch {
    /// Time of the last progress, or of the last moment with nothing to wait for.
    progressed_at: Instant,
    /// The reason that was told, until there is progress.
    told: Option<StallReason>,
    /// Looks since the last progress that found none.
    checks: u32,
    /// Time at the goal, or stopped.
    idle: Duration,
    /// Microseconds that were spent waiting, by what for.
    waits: BTreeMap<Bottleneck, u64>,
    /// Bottleneck to which the time until the next input counts.
    waiting_for: Bottleneck,
    /// Applied heights in [`Machine::working_time`].
    samples: heapless::Vec<(Instant, Height), RATE_SAMPLES>,
}

impl Watch {
    /// A watch that begins now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            progressed_at: now,
            told: None,
            checks: 0,
            idle: Duration::ZERO,
            waits: BTreeMap::new(),
            waiting_for: Bottleneck::Peers,
            samples: heapless::Vec::new(),
        }
    }

    /// Time has passed on the way to the goal.
    pub(super) fn waited(&mut self, time: Duration) {
        let wait = self.waits.entry(self.waiting_for).or_default();
        *wait = wait.saturating_add(micros(time));
    }

    /// Bottleneck so far: the thing that the sync waited for most.
    pub(super) fn bottleneck(&self) -> Bottleneck {
        self.waits.iter().max_by_key(|&(_, &time)| time).map_or(self.waiting_for, |(&class, _)| class)
    }

    /// Blocks go on from elsewhere: the rate is measured anew.
    pub(super) fn restart_rate(&mut self) {
        self.samples.clear();
    }

    /// Time has passed in which there was nothing to do.
    pub(super) fn was_idle(&mut self, time: Duration) {
        self.idle = self.idle.saturating_add(time);
    }
}

/// Number of items, at most `u32::MAX`.
pub(super) fn counted<T>(claims: impl Iterator<Item = T>) -> u32 {
    u32::try_from(claims.count()).unwrap_or(u32::MAX)
}

impl Machine {
    /// Notes progress.
    pub(super) fn progressed(&mut self) {
        self.note_pace();
        self.sample();
        self.moved();
    }

    /// Notes that more was proven or found, which is progress unless the host refuses what came before.
    pub(super) fn found_more(&mut self) {
        if !self.is_refused() {
            self.progressed();
        }
    }

    /// Nothing is waited for since longer ago than this.
    pub(super) fn moved(&mut self) {
        self.watch.progressed_at = self.now;
        self.watch.checks = 0;
        self.timers.set(Timer::Stall, self.now.after(self.config.stall_after));
        if self.watch.told.take().is_some() {
            self.emit(Event::Resumed);
        }
    }

    /// Notes how many blocks are applied now, for the rate that is shown.
    fn sample(&mut self) {
        let (now, samples) = (self.working_time(), &mut self.watch.samples);
        let due = samples.last().is_none_or(|&(at, _)| now.since(at) >= RATE_INTERVAL);
        if due {
            if samples.is_full() {
                samples.remove(0);
            }
            // There is room now.
            let _ = samples.push((now, self.standing.applied));
        }
    }

    /// Blocks a second over the last samples.
    pub(super) fn blocks_per_second(&self) -> u64 {
        let Some(&(since, from)) = self.watch.samples.first() else { return 0 };
        let blocks = self.standing.applied.above(from).saturating_mul(1_000_000);
        blocks.checked_div(micros(self.working_time().since(since))).unwrap_or(0)
    }

    /// Notes what the sync waits for now.
    pub(super) fn keep_watch(&mut self) {
        let blocks = self.calls.count(|work| !matches!(work, HostWork::StoreHandovers(_)));
        let nothing_else = self.requests.len() == 0 && self.jobs.is_empty();
        let nobody = self.peers.active().next().is_none();
        self.watch.waiting_for = if blocks >= APPLIES || (!self.calls.is_empty() && nothing_else) {
            Bottleneck::Apply
        } else if nobody {
            Bottleneck::Peers
        } else if self.jobs.len() > self.requests.len() {
            Bottleneck::Verify
        } else {
            Bottleneck::Network
        };
        if self.goal.reached().is_some() && !self.is_waiting() {
            self.moved();
        }
    }

    /// The machine's time without that in which there was nothing to do.
    pub(super) fn working_time(&self) -> Instant {
        Instant::ZERO.after(self.now.since(Instant::ZERO.after(self.watch.idle)))
    }

    /// Time in which there was nothing to do.
    pub(super) fn idle(&self) -> Duration {
        self.watch.idle
    }

    /// Whether there is something to wait for. At the goal that is the host, where it refuses a call, and somebody to
    /// follow.
    fn is_waiting(&self) -> bool {
        self.phase == Phase::Running && (self.goal.reached().is_none() || self.is_refused() || self.follows_nobody())
    }

    /// Whether it follows the network and nobody is there who could tell of it: it may be far behind and not know. A node
    /// that decides is told by its own engine.
    fn follows_nobody(&self) -> bool {
        let follows = self.goal.is_at_tip();
        follows && self.peers.active().next().is_none() && !self.submissions.is_used()
    }

    /// Whether the host can't do now what it was asked for.
    pub(super) fn is_refused(&self) -> bool {
        self.calls.are_refused()
    }

    /// Why nothing moves, once nothing has for [`stall_after`](crate::config::SyncConfig::stall_after).
    pub fn stall(&self) -> Option<Stall> {
        self.watch.told.and_then(|_| self.waiting())
    }

    /// The machine's stall, if it runs and has not reached its goal, or has nobody to follow there: why, since when,
    /// and what it does by when. True after a drain.
    pub fn waiting(&self) -> Option<Stall> {
        if !self.is_waiting() {
            return None;
        }
        let reason = self.stall_reason();
        let (step, deadline) = self.next_step(reason);
        // The watch itself runs as long as the machine does.
        let deadline = deadline.or(self.timers.at(Timer::Stall)).unwrap_or(self.now);
        Some(Stall { reason, since: self.watch.progressed_at, step, deadline })
    }

    /// There was no progress for a while: say why, unless there is nothing to do.
    pub(super) fn check_stall(&mut self) {
        if self.calls.is_hashing() {
            self.moved();
            return;
        }
        let pause = match self.waiting() {
            Some(Stall { step: StallStep::AwaitPeer, .. }) => {
                let doubled = self.config.stall_after.saturating_mul(1 << self.watch.checks.min(MAX_DOUBLINGS));
                doubled.min(MAX_REMINDER.max(self.config.stall_after))
            }
            _ => self.config.stall_after,
        };
        self.timers.set(Timer::Stall, self.now.after(pause));
        let Some(Stall { reason, since, step, deadline: next }) = self.waiting() else { return };
        // Threads that are at work are no stall yet, for as long as one job may take. Until then it is looked at again and
        // again, as something else may be waited for at any moment.
        let patience = self.config.stall_after.saturating_add(self.config.job_timeout);
        if reason == StallReason::Verifying && self.now < since.after(patience) {
            self.timers.set(Timer::Stall, self.now.after(HEARD_WITHIN.min(pause)).min(since.after(patience)));
            return;
        }
        self.watch.checks = self.watch.checks.saturating_add(1);
        // A reason that only others can change is said again.
        if self.watch.told != Some(reason) || step == StallStep::AwaitPeer {
            self.watch.told = Some(reason);
            self.emit(Event::Stalled { reason, since, step, next });
        }
    }

    fn stall_reason(&self) -> StallReason {
        if self.calls.meet_a_full_disk() {
            return StallReason::DiskFull;
        }
        if self.calls.are_refused() {
            return StallReason::HostBusy;
        }
        if self.goal.reached().is_some() {
            return StallReason::NoPeers;
        }
        let verification = self.jobs.verification(self.now);
        if let Verification::Fails(code) = verification {
            return StallReason::VerifyFails(code);
        }
        if !self.calls.is_empty() {
            return StallReason::HostLate;
        }
        match verification {
            Verification::Works => return StallReason::Verifying,
            Verification::Late => return StallReason::VerifyLate,
            Verification::Idle | Verification::Fails(_) => {}
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
        if self.claims.highest.is_some_and(|(_, epoch)| epoch > self.epochs.newest().epoch()) {
            return StallReason::HandoverMissing(self.epochs.newest().epoch());
        }
        match self.window.head_of_line() {
            Some((range, _, _)) => self.history_missing(range.first()).unwrap_or(StallReason::BlocksMissing(range)),
            None => {
                let next = self.window.planned().next();
                let missing = self.target().is_some_and(|target| target >= next).then(|| self.history_missing(next));
                missing.flatten().unwrap_or(StallReason::NoTarget(self.standing.applied))
            }
        }
    }

    /// Says so where all peers that are asked, by their own words, begin above `next`.
    fn history_missing(&self, next: Height) -> Option<StallReason> {
        let claims = || self.peers.active().filter_map(|(_, peer)| peer.status);
        let earliest = claims().map(|claim| claim.earliest).min().filter(|&earliest| earliest > next)?;
        Some(StallReason::HistoryMissing { next, earliest, peers: counted(claims()) })
    }

    /// The machine's next step, and the time at which it is due by a timer of its own.
    fn next_step(&self, reason: StallReason) -> (StallStep, Option<Instant>) {
        match reason {
            StallReason::DiskFull | StallReason::HostBusy | StallReason::HostLate => {
                let due = self.calls.ids().filter_map(|id| self.timers.at(Timer::Call(id)));
                (StallStep::CallAgain, due.min())
            }
            StallReason::VerifyLate | StallReason::Verifying | StallReason::VerifyFails(_) => {
                let due = self.jobs.ids().filter_map(|id| self.timers.at(Timer::Job(id)));
                (StallStep::VerifyAgain, due.min())
            }
            StallReason::PeersSlow => (StallStep::AskOthers, self.next_timeout()),
            StallReason::NoPeers => (StallStep::AwaitPeer, self.timers.at(Timer::Stall)),
            StallReason::NoTarget(_)
            | StallReason::HandoverMissing(_)
            | StallReason::BlocksMissing(_)
            | StallReason::HistoryMissing { .. }
            | StallReason::NoSnapshot { .. }
            | StallReason::StateMissing(_) => {
                // A peer that is being asked is not asked again at the same time.
                let active = self.peers.active().filter(|&(id, _)| !self.requests.is_probed(id));
                let asked_at =
                    |id, peer: &Peer| Some(self.timers.at(Timer::Status(id))?.max(peer.rests_until(Kind::Status)));
                let due = active.filter_map(|(id, peer)| asked_at(id, peer));
                (StallStep::AskPeers, due.chain(self.next_timeout()).min())
            }
        }
    }

    /// Time at which the first request is given up.
    fn next_timeout(&self) -> Option<Instant> {
        self.requests.ids().into_iter().filter_map(|id| self.timers.at(Timer::Request(id))).min()
    }
}
