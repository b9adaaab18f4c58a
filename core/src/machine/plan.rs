//! The plan: what to do next, computed from what is there once inputs are in. Nothing is remembered between inputs
//! but state: a request that failed is simply wanted again.

use alloc::vec::Vec;

use crate::calls::{APPLIES, Apply, HostWork, REPLAYS};
use crate::config::SyncStrategyType;
use crate::ids::{Epoch, Height, PeerId, RequestId};
use crate::limits::{MAX_HANDOVERS, MAX_HANDOVERS_BYTES, MAX_TIP_BYTES};
use crate::machine::event::Event;
use crate::machine::state::{Machine, Phase, Timer};
use crate::peers::Ask;
use crate::ranges::HeightRange;
use crate::requests::{Kind, Purpose};
use crate::wire::Request;

/// Payload bytes that one apply call carries at most: enough to spread the cost of an fsync, little against the budget.
const APPLY_BYTES: u64 = 8 << 20;
/// Share of the budget that one apply call may hold, where that is less.
pub(super) const APPLY_SHARE_OF_BUDGET: u64 = 8;
/// Blocks that one replay call covers.
const REPLAY_BLOCKS: u64 = 4096;
/// Tips that are asked for at once, and as many again where those are late.
const TIP_REQUESTS: usize = 3;
/// Bytes of handovers that a second peer is asked for.
const HEDGED_HANDOVER_BYTES: u64 = 64 << 10;
/// Peers that are asked for the same handovers: a second where the first is late.
const HANDOVER_SOURCES: usize = 2;

impl Machine {
    /// Does everything that can be done now.
    pub(super) fn plan(&mut self) {
        self.run_timers();
        self.issue_jobs();
        for (peer, rested) in self.peers.recall(self.now) {
            self.timers.set(Timer::Peer(peer), rested);
        }
        self.welcome();
        self.ask_newcomers();
        if self.phase != Phase::Running || !self.trust_holds() {
            return;
        }
        if let Some(ends) = self.trust.ends(self.now) {
            self.timers.set(Timer::Trust, ends);
        }
        self.decide();
        if self.replay() {
            self.keep_watch();
            return;
        }
        if self.claims.changed {
            self.claims.changed = false;
            self.review_claims();
            self.ask_handovers();
            self.ask_tips();
        }
        self.choose_strategy();
        self.hand_on();
        if self.phase != Phase::Running {
            return;
        }
        match self.strategy {
            SyncStrategyType::Fast => self.plan_state(),
            SyncStrategyType::Incremental => self.follow(),
            SyncStrategyType::Auto | SyncStrategyType::Parallel => self.download(),
        }
        self.check_reached();
        self.backfill();
        self.keep_watch();
    }

    /// Asks those who became active for their status, and keeps the watch on rotation.
    fn welcome(&mut self) {
        let activated = self.peers.take_activated();
        for &peer in &activated {
            self.timers.set_sooner(Timer::Status(peer), self.now);
        }
        self.claims.changed |= !activated.is_empty();
        if self.peers.standing_by() > 0 {
            self.timers.set_sooner(Timer::Rotate, self.now.after(self.peers.rotation_interval()));
        } else {
            self.timers.cancel(Timer::Rotate);
        }
        if !activated.is_empty() {
            self.run_timers();
        }
    }

    /// Replays stored blocks that the application has not executed. True while that is going on.
    fn replay(&mut self) -> bool {
        if self.standing.has_replayed() {
            return false;
        }
        let out = self.calls.count(|work| matches!(work, HostWork::Replay(_)));
        let last = self.standing.applied.plus(REPLAY_BLOCKS).min(self.standing.stored.height);
        if let Some(range) = HeightRange::new(self.standing.applied.next(), last)
            && out < REPLAYS
        {
            self.call(HostWork::Replay(range), 0);
        }
        true
    }

    fn ask_handovers(&mut self) {
        let claimed = self.claims.highest.map_or(Epoch::ZERO, |(_, epoch)| epoch);
        let newest = self.epochs.newest();
        // At the end of the newest epoch the next block can't be proven without the next set: ask anyone who is there.
        let at_boundary = self.window.planned() == newest.range().last();
        let claimed = if at_boundary { claimed.max(newest.epoch().next()) } else { claimed };
        // A state may lie any number of epochs ahead; without one, memory for them is bounded.
        let by_state = matches!(self.config.default_strategy, SyncStrategyType::Auto | SyncStrategyType::Fast)
            && self.state_is_offered_above(self.target().unwrap_or(self.standing.applied));
        let applied = self.epochs.of_height(self.standing.applied).filter(|_| !by_state);
        let applied = applied.map_or(newest.epoch(), crate::chain::EpochRef::epoch);
        let checking: Vec<Epoch> = self
            .jobs
            .iter()
            .filter_map(|pending| match pending.origin {
                Some((_, Purpose::Handovers(from))) => Some(from),
                _ => None,
            })
            .collect();
        let boundary = newest.range().last();
        let trusted = newest.epoch();
        // An answer that everything waits for is asked of a second peer where it is late.
        let epoch_of = |height| self.epochs.of_height(height).map(crate::chain::EpochRef::epoch);
        let asked = |from| {
            let count = self.requests.iter().filter(|(_, request)| request.purpose == Purpose::Handovers(from)).count();
            checking.contains(&from)
                || self.submissions.end_epoch(from, epoch_of)
                || count >= if from == trusted { HANDOVER_SOURCES } else { 1 }
        };
        for from in self.epochs.wanted(claimed, applied, asked) {
            let size = u64::from(MAX_HANDOVERS_BYTES);
            let first = self.requests.iter().find(|(_, request)| request.purpose == Purpose::Handovers(from));
            let first = first.map(|(id, request)| (id, request.peer));
            let eligible = |id: PeerId, peer: &crate::peers::Peer| {
                let holds =
                    peer.status.is_some_and(|status| status.epoch > from || (at_boundary && status.tip >= boundary));
                holds && first.is_none_or(|(_, asked)| asked != id)
            };
            let choose = |machine: &mut Self| {
                machine.peers.choose(Kind::Handovers, Ask::Whole(0), machine.now, &mut machine.rng, eligible)
            };
            let mut chosen = choose(self);
            if chosen.is_none() && first.is_none() && from == trusted {
                // Those who could give it may all be on probation with answers that wait for this one.
                let peers = &self.peers;
                let on_trial = |id| peers.get(id).is_some_and(|peer| peer.awaits_judgement(Kind::Handovers));
                for ahead in self.epochs.take_waiting_of(&on_trial) {
                    self.forget_handovers(&ahead);
                }
                chosen = choose(self);
            }
            let Some(peer) = chosen else { continue };
            let mut max = MAX_HANDOVERS;
            if let Some((id, _)) = first {
                // A few are enough to go on with.
                let each = self.epochs.handover_bytes();
                let few = HEDGED_HANDOVER_BYTES.checked_div(each).unwrap_or(u64::MAX);
                max = u32::try_from(few).unwrap_or(MAX_HANDOVERS).clamp(1, MAX_HANDOVERS);
                let expected = each.saturating_mul(max.into());
                if !self.is_late(id, peer, expected) || !self.may_hedge(expected) {
                    continue;
                }
            }
            // The trusted end is what everything else waits for.
            if !self.budget.reserve(size, from == trusted) {
                continue;
            }
            let request = Request::Handovers { from, max };
            self.send(peer, Purpose::Handovers(from), request, 0, size);
        }
    }

    fn ask_tips(&mut self) {
        if self.decides() {
            return;
        }
        let newest = self.epochs.newest().epoch();
        let known = self.target().unwrap_or(self.standing.stored.height).max(self.standing.applied);
        let unanchored = self.lacks_anchor();
        let asked: Vec<(RequestId, PeerId)> = self
            .requests
            .iter()
            .filter(|(_, request)| request.purpose.kind() == Kind::Tip)
            .map(|(id, request)| (id, request.peer))
            .collect();
        let mut busy: Vec<PeerId> = asked.iter().map(|&(_, peer)| peer).collect();
        for pending in self.jobs.iter() {
            if let Some((peer, Purpose::Tip(_))) = pending.origin {
                busy.push(peer);
                busy.extend(pending.shared.iter().map(|&(peer, _)| peer));
            }
        }
        // Peers that were asked in vain before come last: any number of liars leaves room for the others.
        let mut candidates: Vec<(bool, Height, PeerId)> = self
            .peers
            .active()
            .filter(|(id, peer)| peer.ready(Kind::Tip, self.now) && !busy.contains(id))
            .filter_map(|(id, peer)| {
                let claim = peer.status?;
                let more = claim.tip > known || (claim.tip == known && unanchored);
                let provable = more && claim.epoch <= newest;
                provable.then_some((peer.unproven.is_none(), claim.tip, id))
            })
            .collect();
        candidates.sort_unstable();
        let Some(&(_, _, best)) = candidates.last() else { return };
        let late = asked.into_iter().filter(|&(id, _)| self.is_late(id, best, 0)).count().min(TIP_REQUESTS);
        let room = TIP_REQUESTS.saturating_add(late).saturating_sub(busy.len());
        for (_, _, peer) in candidates.into_iter().rev().take(room) {
            let size = u64::from(MAX_TIP_BYTES);
            if self.budget.reserve(size, true) {
                self.send(peer, Purpose::Tip(newest), Request::Tip, 0, size);
            }
        }
    }

    fn choose_strategy(&mut self) {
        let known = self.target().or(self.claims.highest.map(|(tip, _)| tip)).unwrap_or(self.standing.applied);
        let gap = known.above(self.window.planned());
        if self.choose_state(gap) {
            return;
        }
        let fixed = match self.config.default_strategy {
            // The state is there, or not worth it: what is left are blocks.
            SyncStrategyType::Fast => SyncStrategyType::Auto,
            strategy => strategy,
        };
        let chosen = match fixed {
            SyncStrategyType::Auto if gap > self.config.strategy_switch_threshold => SyncStrategyType::Parallel,
            SyncStrategyType::Auto if self.window.is_idle() => SyncStrategyType::Incremental,
            SyncStrategyType::Auto => return,
            fixed => fixed,
        };
        // With a fixed parallel strategy the last blocks are followed all the same, once there is nothing to download.
        let chosen = match chosen {
            SyncStrategyType::Parallel if gap == 0 && self.window.is_idle() && self.standing.applied >= known => {
                SyncStrategyType::Incremental
            }
            chosen => chosen,
        };
        self.set_strategy(chosen, gap);
    }

    /// Uses a strategy from here on, and says so if it is another one.
    pub(super) fn set_strategy(&mut self, chosen: SyncStrategyType, gap: u64) {
        self.strategy = chosen;
        if gap > 0 && self.announced != Some(chosen) {
            self.announced = Some(chosen);
            let costs = self.costs(gap);
            self.emit(Event::Strategy { strategy: chosen, gap, costs });
        }
    }

    /// The newest epoch whose blocks may be applied: all handovers up to it are durable. Calls may end in another order
    /// than they were made in, and a store that holds blocks beyond a gap in its handovers can't be opened again.
    pub(super) fn durable_epoch(&self) -> Epoch {
        let stored = self.epochs.stored();
        self.calls.first_unstored().map_or(stored, |ended| ended.min(stored))
    }

    /// Hands verified blocks to the host, in order. None while a state is put in place: those that are below it are in it, and
    /// those above follow it.
    fn hand_on(&mut self) {
        if self.state_sync.is_required() || self.calls.count(|work| matches!(work, HostWork::Activate(_))) > 0 {
            return;
        }
        loop {
            let out = self.calls.count(|work| matches!(work, HostWork::Apply(_)));
            let most = APPLY_BYTES.min(self.budget.limit() / APPLY_SHARE_OF_BUDGET).max(1);
            // While one call is out, a second goes only when it is worth its fsync.
            if out >= APPLIES || (out > 0 && self.window.ready_bytes() < most / 2) {
                return;
            }
            match self.window.hand_on(most, self.durable_epoch()) {
                Ok(handed) if handed.parts.is_empty() => return,
                Ok(handed) => {
                    let target = self.target().unwrap_or(self.standing.applied);
                    let apply = Apply { parts: handed.parts, tip: handed.tip, target };
                    self.call(HostWork::Apply(apply), handed.held);
                }
                Err(broken) => {
                    self.check_broken_link(&broken);
                    return;
                }
            }
        }
    }
}
