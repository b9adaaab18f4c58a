//! What to do next, computed from what is there once inputs are in. Nothing is remembered between inputs but state: a
//! request that failed is simply wanted again.

use alloc::vec::Vec;
use core::time::Duration;

use crate::calls::{Apply, BlockPoint, Replay};
use crate::chain::Finalized;
use crate::config::SyncStrategyType;
use crate::ids::{Epoch, Height, PeerId};
use crate::limits::{GRID, MAX_HANDOVERS, MAX_HANDOVERS_BYTES, MAX_PAYLOAD_BYTES, MAX_TIP_BYTES};
use crate::machine::output::{Bottleneck, Event, Output, StallReason};
use crate::machine::state::{Call, Machine, Phase, Timer};
use crate::peers::Peers;
use crate::ranges::HeightRange;
use crate::requests::{InFlight, Kind, Purpose};
use crate::strategy::{Cell, Source, Want};
use crate::time::Instant;
use crate::wire::Request;

/// Payload bytes that one apply call carries at most: enough to spread the cost of an fsync, little against the budget.
const APPLY_BYTES: u64 = 8 << 20;
/// Share of the budget that one apply call may hold, where that is less.
const APPLY_SHARE_OF_BUDGET: u64 = 8;
/// Apply calls that are out at once: one is stored while the one before is executed.
const APPLY_CALLS: usize = 2;
/// Blocks that one replay call covers.
const REPLAY_BLOCKS: u64 = 4096;
/// Tips that are asked for at once.
const TIP_REQUESTS: usize = 3;
/// Followers at once: a second where the first says nothing though others claim more.
const FOLLOWERS: usize = 2;
/// Estimated bytes of one compact header on the wire.
const HEADER_WIRE_BYTES: u64 = 96;
/// Bodies are asked for together with their headers by an estimate, and this part more: blocks differ.
const BODIES_SLACK: u64 = 8;
/// Bytes around payloads in an answer: its tag and, for each frame, a head. A frame holds at least one block.
const FRAME_HEAD_BYTES: u64 = 9;
/// Shortest time after which the head of line counts as late.
const HEDGE_AFTER: Duration = Duration::from_millis(100);
/// The head of line is late after so many times its expected duration.
const HEDGE_FACTOR: u32 = 2;
/// Bytes asked for twice stay below one in so many of the useful ones …
const HEDGE_SHARE: u64 = 50;
/// … plus this, so that a young sync can hedge at all.
const HEDGE_FLOOR_BYTES: u64 = 256 << 10;
/// Claims and tips are small: their time-out is this part of the usual one.
const SMALL_TIMEOUT_SHARE: u32 = 2;
/// Size that decides whom to ask for bodies, before it is known how much one peer is asked for.
const CHOICE_BYTES: u64 = 256 << 10;

impl Machine {
    /// Does everything that can be done now.
    pub(super) fn plan(&mut self) {
        self.run_timers();
        if self.phase != Phase::Running {
            return;
        }
        if self.replay() {
            self.watch();
            return;
        }
        if self.claims_changed {
            self.claims_changed = false;
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
            SyncStrategyType::Fast => self.fast(),
            SyncStrategyType::Incremental => self.follow(),
            SyncStrategyType::Auto | SyncStrategyType::Parallel => self.download(),
        }
        self.check_reached();
        self.backfill();
        self.watch();
    }

    /// Replays stored blocks that the application has not executed. True while that is going on.
    fn replay(&mut self) -> bool {
        if self.applied >= self.stored.height {
            return false;
        }
        let busy = self.calls.values().any(|pending| matches!(pending.call, Call::Replay(_)));
        let last = self.applied.plus(REPLAY_BLOCKS).min(self.stored.height);
        if let Some(range) = HeightRange::new(self.applied.next(), last)
            && !busy
        {
            let id = self.next_call();
            self.send_call(id, Call::Replay(Replay { id, range }), 0);
        }
        true
    }

    pub(super) fn ask_status(&mut self, peer: PeerId) {
        let usable = self.peers.get(peer).is_some_and(crate::peers::Peer::usable);
        if usable && self.phase == Phase::Running {
            self.timers.set(Timer::Status(peer), self.now.after(self.config.status_interval));
            let asked =
                self.requests.iter().any(|(_, request)| request.peer == peer && request.purpose == Purpose::Status);
            if !asked {
                self.send(peer, Purpose::Status, Request::Status, 64, 0);
            }
        }
    }

    fn ask_handovers(&mut self) {
        let claimed = self.claimed.map_or(Epoch::ZERO, |(_, epoch)| epoch);
        let newest = self.epochs.newest();
        // At the end of the newest epoch the next block can't be proven without the next set: ask anyone who is there.
        let at_boundary = self.blocks.planned() == newest.range().last();
        let claimed = if at_boundary { claimed.max(newest.epoch().next()) } else { claimed };
        // A state may lie any number of epochs ahead; without one, memory for them is bounded.
        let by_state = matches!(self.config.default_strategy, SyncStrategyType::Auto | SyncStrategyType::Fast)
            && self.state_is_offered_above(self.target().unwrap_or(self.applied));
        let applied = self.epochs.of_height(self.applied).filter(|_| !by_state);
        let applied = applied.map_or(newest.epoch(), crate::chain::EpochRef::epoch);
        let requests = &self.requests;
        let checking: Vec<Epoch> = self
            .jobs
            .values()
            .filter_map(|pending| match pending.origin {
                Some((_, Purpose::Handovers(from))) => Some(from),
                _ => None,
            })
            .collect();
        let asked = |from| checking.contains(&from) || requests.any(|purpose| purpose == Purpose::Handovers(from));
        let boundary = newest.range().last();
        let trusted = newest.epoch();
        for from in self.epochs.wanted(claimed, applied, asked) {
            let size = u64::from(MAX_HANDOVERS_BYTES);
            let eligible = |_: PeerId, peer: &crate::peers::Peer| {
                peer.claim.is_some_and(|claim| claim.epoch > from || (at_boundary && claim.tip >= boundary))
            };
            let Some(peer) = self.peers.choose(Kind::Handovers, 0, self.now, &mut self.rng, eligible) else { continue };
            // The trusted end is what everything else waits for.
            if !self.budget.reserve(size, from == trusted) {
                continue;
            }
            let request = Request::Handovers { from, max: MAX_HANDOVERS };
            self.send(peer, Purpose::Handovers(from), request, 0, size);
        }
    }

    fn ask_tips(&mut self) {
        let newest = self.epochs.newest().epoch();
        let known = self.target().unwrap_or(self.stored.height).max(self.applied);
        let asked: Vec<PeerId> = self
            .requests
            .iter()
            .filter(|(_, request)| request.purpose.kind() == Kind::Tip)
            .map(|(_, request)| request.peer)
            .collect();
        let mut busy = asked;
        for pending in self.jobs.values() {
            if let Some((peer, Purpose::Tip(_))) = pending.origin {
                busy.push(peer);
                busy.extend(pending.shared.iter().map(|&(peer, _)| peer));
            }
        }
        // Who was asked in vain before comes last: any number of liars leaves room for the others.
        let mut candidates: Vec<(bool, Height, PeerId)> = self
            .peers
            .usable()
            .filter(|(id, peer)| peer.ready(Kind::Tip, self.now) && !busy.contains(id))
            .filter_map(|(id, peer)| {
                let claim = peer.claim?;
                let provable = claim.tip > known && claim.epoch <= newest;
                provable.then_some((peer.unproven.is_none(), claim.tip, id))
            })
            .collect();
        candidates.sort_unstable();
        let room = TIP_REQUESTS.saturating_sub(busy.len());
        for (_, _, peer) in candidates.into_iter().rev().take(room) {
            let size = u64::from(MAX_TIP_BYTES);
            if self.budget.reserve(size, true) {
                self.send(peer, Purpose::Tip(newest), Request::Tip, 0, size);
            }
        }
    }

    fn choose_strategy(&mut self) {
        let known = self.target().or(self.claimed.map(|(tip, _)| tip)).unwrap_or(self.applied);
        let gap = known.above(self.blocks.planned());
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
            SyncStrategyType::Auto if self.blocks.is_idle() => SyncStrategyType::Incremental,
            SyncStrategyType::Auto => return,
            fixed => fixed,
        };
        // With a fixed parallel strategy the last blocks are followed all the same, once there is nothing to download.
        let chosen = match chosen {
            SyncStrategyType::Parallel if gap == 0 && self.blocks.is_idle() && self.applied >= known => {
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

    /// Hands verified blocks to the host, in order.
    fn hand_on(&mut self) {
        loop {
            let out = self.calls.values().filter(|pending| matches!(pending.call, Call::Apply(_))).count();
            let most = APPLY_BYTES.min(self.budget.limit() / APPLY_SHARE_OF_BUDGET).max(1);
            // While one call is out, a second goes only when it is worth its fsync.
            if out >= APPLY_CALLS || (out > 0 && self.blocks.ready_bytes() < most / 2) {
                return;
            }
            match self.blocks.hand_on(most, self.epochs.stored()) {
                Ok(handed) if handed.parts.is_empty() => return,
                Ok(handed) => {
                    let id = self.next_call();
                    let apply = Apply { id, parts: handed.parts, tip: handed.tip };
                    self.send_call(id, Call::Apply(apply), handed.held);
                }
                Err(broken) => {
                    self.check_broken_link(&broken);
                    return;
                }
            }
        }
    }

    /// Opens cells and asks for what they miss, lowest first, as far as peers, budget and the request limit allow.
    fn download(&mut self) {
        let Some(target) = self.target() else { return };
        let limit = self.until.map_or(target, |until| target.min(until));
        let mut from = Height::ZERO;
        while self.requests.len() < self.config.parallel_download_limit
            && self.budget.room(true) > 0
            && self.someone_is_ready()
        {
            let Some(want) = self.blocks.next_want(from) else {
                if self.blocks.planned() >= limit || !self.open_cell() {
                    break;
                }
                continue;
            };
            // Wants come lowest first: what lies below this one is not missing, or can't be asked for now.
            from = want.range().first();
            if !self.ask_for(&want) {
                from = want.range().last().next();
                if self.budget.room(false) == 0 {
                    break;
                }
            }
        }
        self.hedge();
    }

    fn someone_is_ready(&self) -> bool {
        self.peers.usable().any(|(_, peer)| peer.ready(Kind::Bodies, self.now) || peer.ready(Kind::Segment, self.now))
    }

    fn open_cell(&mut self) -> bool {
        let Some(target) = &self.target else { return false };
        let tip = match &target.proof {
            Finalized::Tip(tip) => Some(tip),
            _ => None,
        };
        // A target that was proven otherwise (by a handover, or while following) ends a segment with a certificate.
        let epochs = &self.epochs;
        self.blocks.open_next(&target.facts, tip, |height| epochs.of_height(height).cloned()).unwrap_or(false)
    }

    /// Sends the request for `want` to the best peer. False where nobody can be asked or the budget is full.
    pub(super) fn ask_for(&mut self, want: &Want) -> bool {
        let head = self.blocks.head_of_line().is_some_and(|(range, _, _)| range.first() == want.range().first());
        match *want {
            Want::Headers { range, certified, cost, alone } => {
                let bodies = if alone { 0 } else { self.blocks.expected_bytes(range) };
                let size = range.count().saturating_mul(HEADER_WIRE_BYTES);
                let Some(peer) = self.choose_holder(Kind::Segment, range, size.saturating_add(bodies)) else {
                    return false;
                };
                // In one answer with their bodies, where those are likely to fit into what this peer is asked for at
                // once. Larger cells are asked for in parts, when the headers have said how large they are.
                let most = self.peers.get(peer).map_or(0, Peers::request_bytes);
                let bodies = if bodies <= most { bodies } else { 0 };
                let needed = cost.saturating_add(bodies);
                if needed > self.budget.room(head) && !head {
                    return false;
                }
                let room = self.budget.room(head).saturating_sub(cost);
                let bodies = bodies.saturating_add(bodies / BODIES_SLACK).min(most).min(room);
                if !self.budget.reserve(cost.saturating_add(bodies), head) {
                    return false;
                }
                let source = self.send_segment(peer, range, certified, size, bodies, bodies);
                if let Some(headers) = self.blocks.headers_of(range.first()) {
                    headers.add(source);
                }
            }
            Want::Bodies { range, bytes } => {
                let first = HeightRange::single(range.first());
                let Some(peer) = self.choose_holder(Kind::Bodies, first, bytes.min(CHOICE_BYTES)) else { return false };
                let Some(known) = self.peers.get(peer) else { return false };
                let room = self.budget.room(head).max(1);
                let held_last = known.claim.map_or(range.first(), |claim| claim.tip);
                let most = Peers::request_bytes(known);
                // Room for a few blocks only is not worth a request: it would cut the slot into crumbs.
                if !head && room < most.min(bytes) {
                    return false;
                }
                let most = most.min(room);
                let Some(range) = self.blocks.split(range.first(), most, held_last) else { return false };
                let Some(bytes) = self.blocks.slot_of(range.first()).map(|slot| slot.bytes) else { return false };
                if !self.budget.reserve(bytes, head) {
                    return false;
                }
                let source = self.send_bodies(peer, range, bytes, 0);
                if let Some(slot) = self.blocks.slot_of(range.first()) {
                    slot.fetch.add(source);
                }
            }
        }
        true
    }

    pub(super) fn choose_holder(&mut self, kind: Kind, range: HeightRange, size: u64) -> Option<PeerId> {
        self.peers.choose(kind, size, self.now, &mut self.rng, |_, peer| peer.claims(range))
    }

    fn send_bodies(&mut self, peer: PeerId, range: HeightRange, bytes: u64, reserved: u64) -> Source {
        let request = Request::Bodies { range, max_bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
        self.send(peer, Purpose::Bodies(range), request, bytes, reserved)
    }

    fn send_segment(
        &mut self,
        peer: PeerId,
        range: HeightRange,
        certified: bool,
        size: u64,
        bodies: u64,
        reserved: u64,
    ) -> Source {
        let bodies = u32::try_from(bodies).unwrap_or(u32::MAX);
        let request = Request::Segment { range, certified, audit: self.config.full_audit, bodies };
        let purpose = Purpose::Segment { first: range.first(), bodies };
        self.send(peer, purpose, request, size.saturating_add(u64::from(bodies)), reserved)
    }

    /// Asks a second peer for the head of line where the first is late, within a cap on bytes asked for twice.
    fn hedge(&mut self) {
        match self.hedge_when_late() {
            Some(at) => self.timers.set(Timer::Hedge, at),
            None => self.timers.cancel(Timer::Hedge),
        }
    }

    /// Returns when to look again.
    fn hedge_when_late(&mut self) -> Option<Instant> {
        let Some((range, bytes, &[Source::Request(id)])) = self.blocks.head_of_line() else { return None };
        let headers = bytes == 0 && self.blocks.cell(range.first()).is_some_and(|cell| cell.segment().is_none());
        let (kind, size) = if headers {
            (Kind::Segment, range.count().saturating_mul(HEADER_WIRE_BYTES))
        } else {
            (Kind::Bodies, bytes)
        };
        let InFlight { peer: first_peer, sent, reserved, .. } = *self.requests.get(id)?;
        if sent.after(HEDGE_AFTER) > self.now {
            return Some(sent.after(HEDGE_AFTER));
        }
        let best = |id: PeerId, peer: &crate::peers::Peer| id != first_peer && peer.claims(range);
        let second = self.peers.choose(kind, size, self.now, &mut self.rng, best)?;
        // Where headers come from the second peer, bodies that the first may have begun to send with them are lost.
        let asked = size.saturating_add(reserved);
        let late = self.late_at(sent, second, asked);
        if late > self.now {
            return Some(late);
        }
        if self.budget.room(true) < size || !self.may_hedge(asked) || !self.budget.reserve(size, true) {
            return None;
        }
        if headers {
            let certified = self.blocks.cell(range.first()).map(Cell::is_certified)?;
            let source = self.send_segment(second, range, certified, size, 0, size);
            if let Some(headers) = self.blocks.headers_of(range.first()) {
                headers.add(source);
            }
        } else {
            let source = self.send_bodies(second, range, size, size);
            if let Some(slot) = self.blocks.slot_of(range.first()) {
                slot.fetch.add(source);
            }
        }
        None
    }

    /// When a request of `sent` counts as late against what `second` is expected to need.
    pub(super) fn late_at(&self, sent: crate::time::Instant, second: PeerId, size: u64) -> crate::time::Instant {
        let expected = self.peers.get(second).map_or(Duration::MAX, |peer| peer.expected(size));
        sent.after(expected.saturating_mul(HEDGE_FACTOR).max(HEDGE_AFTER))
    }

    /// Counts `size` against the cap on bytes that are asked for twice, if they fit.
    pub(super) fn may_hedge(&mut self, size: u64) -> bool {
        let cap = (self.counters.useful_bytes / HEDGE_SHARE).saturating_add(HEDGE_FLOOR_BYTES);
        let spent = self.counters.hedged_bytes.saturating_add(size);
        if spent > cap {
            return false;
        }
        self.counters.hedged_bytes = spent;
        true
    }

    /// Follows the tip: one answer at a time from where we stand; a second peer where the first says nothing though
    /// others claim more.
    fn follow(&mut self) {
        let after = self.blocks.planned();
        // What an answer may leave out of its bodies is downloaded as ever.
        self.download_missing();
        if self.epochs.of_height(after.next()).is_none() {
            self.claims_changed |= self.epochs.newest().range().last() == after && self.claimed.is_some();
            return;
        }
        if self.until.is_some_and(|until| after >= until) || self.blocks.next_want(Height::ZERO).is_some() {
            return;
        }
        let checking =
            self.jobs.values().any(|pending| matches!(pending.origin, Some((_, Purpose::Follow(at))) if at == after));
        let busy: Vec<PeerId> = self
            .requests
            .iter()
            .filter(|(_, request)| request.purpose == Purpose::Follow(after))
            .map(|(_, request)| request.peer)
            .collect();
        let behind = |peer: &crate::peers::Peer| peer.claim.is_some_and(|claim| claim.tip > after);
        let anyone_ahead = self.peers.usable().any(|(id, peer)| behind(peer) && !busy.contains(&id));
        let wanted = if busy.is_empty() {
            1
        } else if anyone_ahead {
            FOLLOWERS
        } else {
            0
        };
        if checking || busy.len() >= wanted {
            return;
        }
        let usable = |id: PeerId, peer: &crate::peers::Peer| {
            let holds = peer.claim.is_some_and(|claim| claim.earliest <= after.next() && claim.tip >= after);
            holds && !busy.contains(&id) && (behind(peer) || !anyone_ahead)
        };
        let Some(peer) = self.peers.choose(Kind::Follow, 0, self.now, &mut self.rng, usable) else { return };
        let Some(known) = self.peers.get(peer) else { return };
        let most = Peers::request_bytes(known).min(self.budget.limit() / APPLY_SHARE_OF_BUDGET);
        let max_bytes = u32::try_from(most).unwrap_or(u32::MAX);
        let headers = GRID.saturating_mul(512).saturating_add(32 << 10);
        let reserved = u64::from(max_bytes.max(MAX_PAYLOAD_BYTES)).saturating_add(headers);
        if self.budget.reserve(reserved, true) {
            let request = Request::Follow { after, max_bytes, audit: self.config.full_audit };
            self.send(peer, Purpose::Follow(after), request, 0, reserved);
        }
    }

    /// Asks for bodies that an answer from the tip left out.
    fn download_missing(&mut self) {
        let mut from = Height::ZERO;
        while self.requests.len() < self.config.parallel_download_limit
            && let Some(want) = self.blocks.next_want(from)
        {
            if !self.ask_for(&want) {
                from = want.range().last().next();
            }
        }
        self.hedge();
    }

    /// Sends a request.
    pub(super) fn send(
        &mut self,
        peer: PeerId,
        purpose: Purpose,
        request: Request,
        size: u64,
        reserved: u64,
    ) -> Source {
        let most = u64::from(request.max_response_bytes());
        let max_response_bytes = match request {
            // Verified headers say exactly how long the payloads are.
            Request::Bodies { range, .. } => {
                let heads = range.count().saturating_add(1).saturating_mul(FRAME_HEAD_BYTES);
                size.saturating_add(heads).saturating_add(FRAME_HEAD_BYTES)
            }
            _ => most,
        };
        let id = self.requests.insert(InFlight { peer, purpose, sent: self.now, size, reserved });
        self.peers.sent(peer, size);
        let timeout = match purpose.kind() {
            Kind::Follow => self.config.follow_timeout,
            Kind::Status | Kind::Tip => self.config.peer_timeout.checked_div(SMALL_TIMEOUT_SHARE).unwrap_or_default(),
            Kind::Handovers | Kind::Segment | Kind::Bodies | Kind::State => self.config.peer_timeout,
        };
        self.timers.set(Timer::Request(id), self.now.after(timeout));
        self.outputs.push_back(Output::Request { id, peer, request, max_response_bytes });
        Source::Request(id)
    }

    /// Says so once when everything that can be proven is applied.
    fn check_reached(&mut self) {
        let walking = self.strategy == SyncStrategyType::Fast;
        if self.reached.is_some() || walking || !self.blocks.is_idle() || !self.calls.is_empty() {
            return;
        }
        let known = self.target().unwrap_or(self.applied);
        let enough = self.until.is_some_and(|until| self.applied >= until);
        // Who was asked in vain before is asked again now and then; that holds nothing up.
        let hopeful = |id: PeerId| self.peers.get(id).is_some_and(crate::peers::Peer::may_prove);
        let waits = self.requests.iter().any(|(_, request)| match request.purpose {
            Purpose::Tip(_) | Purpose::Handovers(_) => hopeful(request.peer),
            Purpose::Contest(_) => true,
            Purpose::Status | Purpose::Segment { .. } | Purpose::Bodies(_) | Purpose::Follow(_) => false,
            Purpose::Base | Purpose::State(_) => true,
        });
        let checks = !self.jobs.is_empty();
        let mut heard = false;
        let settled = self.peers.usable().all(|(_, peer)| match peer.claim {
            Some(claim) => {
                // Where all claim more than they prove, the proofs are missing, and not the blocks.
                heard |= claim.tip <= self.applied;
                claim.tip <= self.applied || peer.unproven == Some(claim.tip)
            }
            None => peer.mute,
        });
        if enough || (heard && settled && !waits && !checks && self.applied >= known) {
            let Some(id) = self.applied_id else { return };
            self.reached = Some(self.applied);
            self.emit(Event::Reached(BlockPoint { height: self.applied, id }));
        }
    }

    /// Notes what the sync waits for now, and keeps the watch on progress.
    fn watch(&mut self) {
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
