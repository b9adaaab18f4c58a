//! Fast: the state of a block near the tip instead of all blocks up to it.
//!
//! Find the newest height that peers serve, prove its header, walk its state, have it hashed again and made live; from
//! there on blocks are downloaded as ever. Whoever says that it serves a state only chooses what is tried: a height whose
//! state nobody gives is left for another, and what was staged stays.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::calls::{BlockPoint, SnapshotBase, StateCall, StateDone, StateReply, StateWork, StoreError};
use crate::chain::{Finalized, HeaderFacts, SegmentClaim, SegmentEnd, SegmentRef};
use crate::config::SyncStrategyType;
use crate::ids::{CallId, Height, PeerId};
use crate::limits::MAX_STATE_BYTES;
use crate::machine::output::{Event, HaltReason, StallReason, StateProgress};
use crate::machine::state::{Call, Machine, Phase, Timer};
use crate::peers::{Peer, Peers};
use crate::ranges::{HeightRange, grid_cell};
use crate::requests::{BatchId, Kind, Purpose};
use crate::state::StateAnswer;
use crate::strategy::{Blocks, Costs, Source, StateWant, Walk};
use crate::time::{Instant, micros};
use crate::verify::Task;
use crate::wire::Request;

/// Bytes that an answer takes of the memory budget for each of its own: itself, and the records made of it.
const MEMORY_FACTOR: u64 = 2;
/// Bytes of verified leaves that are worth a batch of the store …
const STAGE_BYTES: u64 = 4 << 20;
/// … and this share of the budget, where that is less.
const STAGE_SHARE_OF_BUDGET: u64 = 16;
/// How long a state that nobody gave is left alone, where no other is offered.
const LOST_PAUSE: Duration = Duration::from_secs(5);
/// Store calls with leaves that are out at once: one is written while the next is waiting.
const STAGE_CALLS: usize = 2;
/// An answer that could have held more is needlessly small below this share of what was asked for.
const SMALL_ANSWER_SHARE: u64 = 4;
/// Time between two looks at what `Auto` should do.
const CHOICE_INTERVAL: Duration = Duration::from_secs(1);
/// How often a staged state may fail to hash to what was staged before the disk is given up on.
const MAX_MISMATCHES: u32 = 3;

/// A sync by state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Fast {
    /// Whether the host can stage a state.
    possible: bool,
    /// The walk, from the first proven base on until the state is live.
    pub(super) walk: Option<Walk>,
    /// The walk's target is lost: another base is looked for.
    moving: bool,
    /// The height and the headers that are to prove it, while they are asked for.
    wanted: Option<(Height, SegmentClaim)>,
    /// Heights whose state nobody gave, since anything else was found.
    lost: BTreeSet<Height>,
    /// When those are tried again, where nothing else is offered.
    retry_at: Option<Instant>,
    mismatches: u32,
    moves: u64,
    began: Option<Instant>,
    /// Whether a state was made live since the machine was made.
    pub(super) done: bool,
    /// When `Auto` looked last, and what it found.
    chosen_at: Option<Instant>,
    preferred: bool,
    /// How that went.
    finished: Option<StateProgress>,
}

impl Fast {
    /// Nothing begun yet.
    pub(super) fn new(possible: bool) -> Self {
        Self { possible, ..Self::default() }
    }
}

impl Machine {
    /// Whether the state comes first: where that is asked for and one is offered, or where `Auto` finds it faster.
    pub(super) fn choose_state(&mut self, gap: u64) -> bool {
        let fetching = self.fast.walk.is_some();
        let chosen = match self.config.default_strategy {
            _ if self.fast.done || !self.fast.possible || self.until.is_some() => false,
            // Where all states that are served lie below, blocks are the way; where none is served at all, one is waited
            // for.
            SyncStrategyType::Fast if gap > self.config.strategy_switch_threshold => {
                self.state_is_offered_above(self.applied) || self.state_peers().is_empty()
            }
            SyncStrategyType::Fast => fetching,
            SyncStrategyType::Auto => self.auto_prefers_state(gap, fetching),
            SyncStrategyType::Parallel | SyncStrategyType::Incremental => false,
        };
        if chosen && self.strategy != SyncStrategyType::Fast {
            // Blocks that are on their way are not needed; what is verified and handed on stays.
            self.reset_blocks();
        }
        if !chosen && self.strategy == SyncStrategyType::Fast && !self.fast.done {
            self.cancel_walk();
            self.fast.walk = None;
            self.fast.moving = false;
        }
        if chosen {
            self.set_strategy(SyncStrategyType::Fast, gap);
        }
        chosen
    }

    /// `Auto` looks again now and then: figures change while it runs.
    fn auto_prefers_state(&mut self, gap: u64, fetching: bool) -> bool {
        let due = self.fast.chosen_at.is_none_or(|at| self.now.since(at) >= CHOICE_INTERVAL);
        if due && self.target.is_some() {
            self.fast.chosen_at = Some(self.now);
            self.fast.preferred = self.costs(gap).prefers_state(fetching);
        }
        self.fast.preferred && (fetching || self.offered_base().is_some())
    }

    /// What the ways to the target are estimated to take.
    pub(super) fn costs(&self, gap: u64) -> Costs {
        let offered = self.offered_base();
        let walk = self.fast.walk.as_ref();
        let height = walk.map(|walk| walk.base().point.height).or(offered.map(|(height, _)| height));
        let target = self.target().unwrap_or(self.applied);
        let claims = self.peers.usable().filter_map(|(_, peer)| peer.claim?.snapshots);
        let keys = claims.filter(|claim| Some(claim.newest) == height).map(|claim| claim.keys).min();
        let blocks = self.applied.above(self.start);
        let rate = if walk.is_some() { 0 } else { self.blocks_per_second() };
        let bytes_per_second = self.peers.usable().map(|(_, peer)| peer.pace.bytes_per_second());
        let costs = Costs {
            gap,
            above_state: height.map_or(gap, |height| target.above(height)),
            block_bytes: self.counters.payload_bytes.checked_div(blocks).unwrap_or(0),
            blocks_per_second: rate,
            bytes_per_second: bytes_per_second.fold(0, u64::saturating_add),
            state_bytes: offered.map_or(0, |(_, bytes)| bytes),
            state_keys: keys.unwrap_or(0),
            ..Costs::default()
        };
        costs.estimated(walk.and_then(|walk| self.state_progress_of(walk).remaining))
    }

    /// Does what can be done now towards a state.
    pub(super) fn fast(&mut self) {
        if self.fast.walk.is_none() || self.fast.moving {
            self.find_base();
        }
        self.check_lost();
        self.survey();
        self.stage();
        if !self.fast.moving {
            self.ask_state();
            self.hedge_state();
            self.activate();
        }
    }

    /// The newest height whose state a peer claims to serve and that can be proven, and the bytes that it is said to
    /// have.
    pub(super) fn offered_base(&self) -> Option<(Height, u64)> {
        let target = self.target.as_ref()?.facts.height;
        let fits = |height: Height| height > self.applied && !self.fast.lost.contains(&height);
        let claims = || self.peers.usable().filter_map(|(_, peer)| Some((peer, peer.claim?.snapshots?)));
        // A newer one may be proven in a moment.
        if claims().any(|(peer, claim)| claim.newest > target && fits(claim.newest) && peer.may_prove()) {
            return None;
        }
        let heights = claims().flat_map(|(_, claim)| [(claim.newest, claim.bytes), (claim.oldest, claim.bytes)]);
        // Where claims differ the smaller size is taken: a state that is larger than thought shows itself.
        heights
            .filter(|&(height, _)| height <= target && fits(height))
            .max_by_key(|&(height, bytes)| (height, core::cmp::Reverse(bytes)))
    }

    /// Whether any peer says that it serves a state above `height`.
    pub(super) fn state_is_offered_above(&self, height: Height) -> bool {
        let claims = self.peers.usable().filter_map(|(_, peer)| peer.claim?.snapshots);
        claims.into_iter().any(|claim| claim.newest > height)
    }

    /// Asks for the headers that prove the newest height whose state is served.
    fn find_base(&mut self) {
        if self.fast.wanted.is_some() {
            let asked = self.requests.any(|purpose| purpose == Purpose::Base);
            let checking = self.jobs.values().any(|pending| matches!(pending.origin, Some((_, Purpose::Base))));
            if asked || checking {
                return;
            }
        }
        let Some((height, _)) = self.offered_base() else {
            self.fast.wanted = None;
            // Nothing else is offered: what was lost may be there again after a while.
            if !self.fast.lost.is_empty() {
                let retry = *self.fast.retry_at.get_or_insert(self.now.after(LOST_PAUSE));
                self.timers.set(Timer::Fast, retry);
                if retry <= self.now {
                    self.fast.retry_at = None;
                    self.fast.lost.clear();
                }
            }
            return;
        };
        let Some(claim) = self.base_claim(height) else { return };
        let size = u64::from(crate::limits::MAX_SEGMENT_BYTES);
        let range = claim.range;
        let Some(peer) = self.choose_holder(Kind::Segment, range, size) else { return };
        let reserved = size.saturating_mul(MEMORY_FACTOR);
        if self.budget.reserve(reserved, true) {
            let certified = claim.end == SegmentEnd::Certified;
            let request = Request::Segment { range, certified, audit: false, bodies: 0 };
            self.fast.wanted = Some((height, claim));
            self.send(peer, Purpose::Base, request, size, reserved);
        }
    }

    /// The headers from `height` on that end with a proof.
    fn base_claim(&self, height: Height) -> Option<SegmentClaim> {
        let target = self.target.as_ref()?;
        let epoch = self.epochs.of_height(height)?;
        let cell = grid_cell(height, epoch.range())?;
        let (last, end) = if cell.contains(target.facts.height) && target.facts.height < cell.last() {
            // Inside a cell only the tip's proof is sure to be there.
            matches!(target.proof, Finalized::Tip(_)).then_some(())?;
            (target.facts.height, SegmentEnd::Anchored(target.facts.id))
        } else {
            (cell.last(), SegmentEnd::Certified)
        };
        Some(SegmentClaim { range: HeightRange::new(height, last)?, parent: None, end, audit: false })
    }

    /// The task that checks headers which a peer gave for the wanted base.
    pub(super) fn base_task(&self, bytes: bytes::Bytes) -> Option<Task> {
        let (height, claim) = self.fast.wanted?;
        let epoch = self.epochs.of_height(height)?.clone();
        Some(Task::Base { epoch, claim, height, bytes })
    }

    /// The base is proven: walk its state.
    pub(super) fn take_base(&mut self, peer: PeerId, segment: SegmentRef, header: HeaderFacts, bytes: u64) {
        self.vindicated(peer, Kind::Segment, bytes);
        let Some((height, claim)) = self.fast.wanted.take() else { return };
        let tip = match (claim.end, self.target.as_ref().map(|target| &target.proof)) {
            (SegmentEnd::Certified | SegmentEnd::CertifiedUpTo, _) => None,
            // The target may have risen since: then this one is asked for again.
            (SegmentEnd::Anchored(id), Some(Finalized::Tip(tip)))
                if self.target.as_ref().is_some_and(|target| target.facts.id == id) =>
            {
                Some(tip.clone())
            }
            (SegmentEnd::Anchored(_), _) => return,
        };
        let point = BlockPoint { height, id: header.id };
        let base = SnapshotBase { point, state_root: header.state_root, segment, tip };
        let claimed = self.offered_base().filter(|&(offered, _)| offered == height).map_or(0, |(_, bytes)| bytes);
        self.fast.began.get_or_insert(self.now);
        match &mut self.fast.walk {
            None => self.fast.walk = Some(Walk::new(base, claimed)),
            Some(walk) => {
                let obsolete = walk.retarget(base);
                self.fast.moves = self.fast.moves.saturating_add(1);
                for source in obsolete {
                    self.cancel_source(source);
                }
            }
        }
        self.fast.moving = false;
        self.fast.retry_at = None;
        self.emit(Event::StateTarget { height, root: header.state_root, moves: self.fast.moves });
        // Moving alone is no progress: nobody may give the new one either.
        if self.fast.moves == 0 {
            self.progressed();
        }
    }

    /// Peers that say that they serve a state.
    fn state_peers(&self) -> BTreeSet<PeerId> {
        let serving = self.peers.usable().filter(|(_, peer)| serves_state(peer));
        serving.map(|(id, _)| id).collect()
    }

    /// Looks for another height where nobody holds what is missing of this one.
    fn check_lost(&mut self) {
        if self.fast.moving {
            return;
        }
        let peers = self.state_peers();
        let Some(walk) = &mut self.fast.walk else { return };
        if peers.is_empty() || !walk.is_lost(&peers) {
            return;
        }
        let height = walk.base().point.height;
        let obsolete = walk.cancel();
        self.fast.lost.insert(height);
        self.fast.moving = true;
        for source in obsolete {
            self.cancel_source(source);
        }
        self.emit(Event::StateLost { height });
        self.find_base();
    }

    fn survey(&mut self) {
        let Some(walk) = &mut self.fast.walk else { return };
        let items = walk.next_survey();
        if !items.is_empty() {
            self.send_state_call(StateWork::Survey(items), 0);
        }
    }

    fn stage(&mut self) {
        let out = self.state_calls(|work| matches!(work, StateWork::Stage(_)));
        if out >= STAGE_CALLS {
            return;
        }
        let enough = STAGE_BYTES.min(self.budget.limit() / STAGE_SHARE_OF_BUDGET);
        let Some(walk) = &mut self.fast.walk else { return };
        let leaves = walk.next_stage(enough);
        if !leaves.is_empty() {
            let held = leaves.iter().map(crate::strategy::leaves_memory).fold(0, u64::saturating_add);
            self.send_state_call(StateWork::Stage(Arc::new(leaves)), held);
        }
    }

    fn state_calls(&self, matches: impl Fn(&StateWork) -> bool) -> usize {
        let state = |call: &Call| matches!(call, Call::State(call) if matches(&call.work));
        self.calls.values().filter(|pending| state(&pending.call)).count()
    }

    fn send_state_call(&mut self, work: StateWork, held: u64) -> CallId {
        let id = self.next_call();
        self.send_call(id, Call::State(StateCall { id, work }), held);
        id
    }

    /// Asks for what is missing, as far as peers, budget and the request limit allow.
    fn ask_state(&mut self) {
        // Peers of which nothing is wanted: they said that they lack it.
        let mut passed: BTreeSet<PeerId> = BTreeSet::new();
        while self.requests.len() < self.config.parallel_download_limit
            && self.fast.walk.as_ref().is_some_and(Walk::wants)
        {
            let eligible = |id: PeerId, peer: &Peer| serves_state(peer) && !passed.contains(&id);
            let Some(peer) = self.peers.choose(Kind::State, 0, self.now, &mut self.rng, eligible) else { return };
            let most = self.peers.get(peer).map_or(0, Peers::request_bytes);
            let Some(walk) = &self.fast.walk else { return };
            let Some(want) = walk.next_want(peer, most) else {
                passed.insert(peer);
                continue;
            };
            let batch = walk.upcoming();
            // One request always goes out, or a small budget could stop the walk.
            let lone = !self.requests.any(|purpose| purpose.kind() == Kind::State);
            let Some(source) = self.send_state_request(peer, batch, &want, most, lone) else { return };
            if let Some(walk) = &mut self.fast.walk {
                walk.asked(want, source);
            }
        }
    }

    /// Sends a request for subtrees. `None` where the budget is full.
    fn send_state_request(
        &mut self,
        peer: PeerId,
        batch: BatchId,
        want: &StateWant,
        most: u64,
        head: bool,
    ) -> Option<Source> {
        let height = self.fast.walk.as_ref()?.base().point.height;
        // Room for a subtree that is larger than was estimated, or it would come as hashes.
        let most = most.max(want.bytes.saturating_mul(2)).min(u64::from(MAX_STATE_BYTES));
        let reserved = most.saturating_mul(MEMORY_FACTOR);
        if !self.budget.reserve(reserved, head) {
            return None;
        }
        let (form, items) = (want.form, want.items.clone());
        let request = Request::State { height, form, items, max_bytes: u32::try_from(most).unwrap_or(u32::MAX) };
        Some(self.send(peer, Purpose::State(batch), request, want.bytes, reserved))
    }

    /// Asks a second peer for what was asked for first, where it is late and nothing else is left to ask for: one slow
    /// peer must not hold up the end of a state.
    fn hedge_state(&mut self) {
        let Some(walk) = self.fast.walk.as_ref().filter(|walk| !walk.wants()) else { return };
        let Some((batch, want, Source::Request(id))) = walk.oldest() else { return };
        let want = want.clone();
        let Some((first, sent)) = self.requests.get(id).map(|request| (request.peer, request.sent)) else { return };
        let eligible = |id: PeerId, peer: &Peer| id != first && serves_state(peer);
        let size = want.bytes;
        let Some(second) = self.peers.choose(Kind::State, size, self.now, &mut self.rng, eligible) else { return };
        let late = self.late_at(sent, second, size);
        if late > self.now {
            self.timers.set(Timer::Hedge, late);
            return;
        }
        let reserved = size.saturating_mul(2 * MEMORY_FACTOR);
        if self.budget.room(true) >= reserved
            && self.may_hedge(size)
            && let Some(source) = self.send_state_request(second, batch, &want, size, true)
            && let Some(walk) = &mut self.fast.walk
        {
            walk.hedged(batch, source);
        }
    }

    /// Subtrees were verified.
    pub(super) fn take_state(
        &mut self,
        peer: PeerId,
        batch: BatchId,
        source: Source,
        answers: Vec<StateAnswer>,
        bytes: u64,
    ) {
        let answered = answers.len();
        let Some(walk) = &mut self.fast.walk else { return };
        let asked = walk.batch(batch).map_or((0, 0), |want| (want.items.len(), want.bytes));
        let Some((memory, obsolete)) = walk.answered(batch, source, peer, answers) else {
            walk.refetched(bytes);
            self.counters.duplicate_bytes = self.counters.duplicate_bytes.saturating_add(bytes);
            return;
        };
        // It is here already; its request had reserved more.
        self.budget.reserve_forced(memory);
        for source in obsolete {
            self.cancel_source(source);
        }
        self.vindicated(peer, Kind::State, bytes);
        let small = answered < asked.0 && bytes < asked.1 / SMALL_ANSWER_SHARE;
        if small && let Some(known) = self.peers.get_mut(peer) {
            let rested = known.suspected(Kind::State, self.now);
            self.timers.set_sooner(Timer::Peer(peer), rested);
        }
    }

    /// Makes the state live when all of it is staged and the host has nothing else to do.
    fn activate(&mut self) {
        let complete = self.fast.walk.as_ref().filter(|walk| walk.is_complete());
        if let Some(base) = complete.map(|walk| walk.base().clone())
            && self.calls.is_empty()
        {
            self.send_state_call(StateWork::Activate(base), 0);
        }
    }

    /// The host did work on the staging area, or could not.
    pub fn handle_state(&mut self, now: Instant, answer: StateDone) {
        self.advance(now);
        let call = match self.calls.get(&answer.id).map(|pending| &pending.call) {
            Some(Call::State(call)) => call.clone(),
            _ => {
                self.counters.strays = self.counters.strays.saturating_add(1);
                return;
            }
        };
        match answer.result {
            Err(StoreError::Transient) => self.rest_call(answer.id),
            Err(error) => {
                self.end_call(answer.id);
                if self.phase != Phase::Halted {
                    self.halt(HaltReason::Store(error));
                }
            }
            Ok(reply) => {
                self.end_call(answer.id);
                self.take_state_reply(call.work, reply);
            }
        }
        self.unplanned = true;
    }

    pub(super) fn end_call(&mut self, id: CallId) {
        if let Some(pending) = self.calls.remove(&id) {
            self.timers.cancel(Timer::Call(id));
            self.budget.release(pending.held);
        }
    }

    fn take_state_reply(&mut self, work: StateWork, reply: StateReply) {
        let Some(walk) = &mut self.fast.walk else { return };
        match (work, reply) {
            (StateWork::Survey(items), StateReply::Surveyed(holdings)) => walk.surveyed(&items, &holdings),
            (StateWork::Stage(leaves), StateReply::Staged) => {
                walk.staged(&leaves);
                self.progressed();
            }
            (StateWork::Activate(base), StateReply::Activated) => self.activated(base),
            (StateWork::Activate(base), StateReply::RootMismatch { found }) => {
                self.fast.mismatches = self.fast.mismatches.saturating_add(1);
                let (height, expected) = (base.point.height, base.state_root);
                if self.fast.mismatches >= MAX_MISMATCHES {
                    self.halt(HaltReason::StateRoot { height, expected, found });
                    return;
                }
                walk.start_over();
                self.emit(Event::StateMismatch { height, expected, found });
            }
            // A host that answers another question than the one it was asked: as if it had not answered.
            (work, _) => {
                if let StateWork::Survey(items) = &work {
                    walk.surveyed(items, &[]);
                }
                self.counters.strays = self.counters.strays.saturating_add(1);
            }
        }
    }

    /// The state of `base` is live: blocks go on from there.
    fn activated(&mut self, base: SnapshotBase) {
        let Some(walk) = self.fast.walk.take() else { return };
        self.fast.done = true;
        self.fast.finished = Some(self.state_progress_of(&walk));
        let BlockPoint { height, id } = base.point;
        self.reset_blocks();
        self.drop_history();
        self.history_gap = None;
        self.blocks = Blocks::new(base.point);
        self.stored = base.point;
        self.stored_proof = Some(match base.tip {
            Some(tip) => Finalized::Anchored { segment: base.segment.bytes().clone(), tip, height },
            None => Finalized::Segment(base.segment.bytes().clone(), height),
        });
        self.applied = height;
        self.applied_id = Some(id);
        self.reached = None;
        self.samples.clear();
        self.epochs.forget_below(height);
        self.claims_changed = true;
        self.emit(Event::StateActive(base.point));
        self.progressed();
    }

    /// Gives up what is asked for; what is staged stays.
    pub(super) fn cancel_walk(&mut self) {
        self.fast.wanted = None;
        let obsolete = self.fast.walk.as_mut().map(Walk::cancel).unwrap_or_default();
        for source in obsolete {
            self.cancel_source(source);
        }
    }

    /// How far the state is, while it is fetched and after.
    pub(super) fn state_progress(&self) -> Option<StateProgress> {
        self.fast.walk.as_ref().map(|walk| self.state_progress_of(walk)).or(self.fast.finished)
    }

    fn state_progress_of(&self, walk: &Walk) -> StateProgress {
        let counters = walk.counters();
        let elapsed = self.fast.began.map_or(0, |began| micros(self.now.since(began)));
        let done = walk.done_ppm();
        let remaining = elapsed.saturating_mul(1_000_000u64.saturating_sub(done)).checked_div(done);
        StateProgress {
            height: walk.base().point.height,
            root: walk.base().state_root,
            done_ppm: done,
            keys: counters.keys,
            bytes: counters.bytes,
            prefixes: counters.prefixes,
            held: counters.held,
            refetched_bytes: counters.refetched,
            moves: self.fast.moves,
            elapsed: Duration::from_micros(elapsed),
            remaining: remaining.map(Duration::from_micros),
        }
    }

    /// What the walk waits for where there is no progress.
    pub(super) fn state_stall(&self) -> StallReason {
        match &self.fast.walk {
            Some(walk) if !self.fast.moving => StallReason::StateMissing(walk.base().point.height),
            _ => StallReason::NoSnapshot(self.applied),
        }
    }
}

fn serves_state(peer: &Peer) -> bool {
    peer.claim.is_some_and(|claim| claim.snapshots.is_some())
}
