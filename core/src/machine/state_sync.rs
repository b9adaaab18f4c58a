//! [`StateSync`]: the state of a block near the tip instead of all blocks up to it.
//!
//! Find the newest height that peers serve, prove its header, walk its state, have it hashed again and made live; from
//! there on blocks are downloaded as ever. Whoever says that it serves a state only chooses what is tried: a height whose
//! state nobody gives is left for another, and what was staged stays.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::calls::{BlockPoint, SnapshotBase};
use crate::chain::{Finalized, HeaderFacts, SegmentClaim, SegmentEnd, SegmentRef};
use crate::config::SyncStrategyType;
use crate::ids::{Height, PeerId, RequestId};
use crate::machine::event::Event;
use crate::machine::output::StateProgress;
use crate::machine::reason::StallReason;
use crate::machine::stall::counted;
use crate::machine::state::{Machine, Timer};
use crate::peers::{Ask, Peer};
use crate::requests::{Kind, Purpose};
use crate::strategy::{Costs, Walk, base_claim};
use crate::time::{Instant, micros};
use crate::verify::Task;
use crate::wire::Request;

/// Time between two looks at offers, where there is none to go by.
const OFFER_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that the headers of a cell are expected to have.
const EXPECTED_BASE_BYTES: u64 = 96 << 10;
/// Bytes that an answer takes of the memory budget for each of its own: itself, and the records made of it.
pub(super) const MEMORY_FACTOR: u64 = 2;
/// Time between two looks at what `Auto` should do.
const CHOICE_INTERVAL: Duration = Duration::from_secs(1);

/// Sync by state: the state that is fetched, from the first offer until it is live.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct StateSync {
    /// Whether the host can stage a state.
    possible: bool,
    /// Whether there is none to execute blocks on before one is fetched.
    required: bool,
    /// The walk, from the first proven base on until the state is live.
    pub(super) walk: Option<Walk>,
    /// The walk's target is lost: another base is looked for.
    pub(super) moving: bool,
    /// The height and the headers that are to prove it, while they are asked for.
    wanted: Option<(Height, SegmentClaim)>,
    /// Peers that offered that state, or the one that is walked to.
    offered_by: BTreeSet<PeerId>,
    pub(super) mismatches: u32,
    moves: u64,
    began: Option<Instant>,
    /// Whether a state was made live since the machine was made.
    pub(super) done: bool,
    /// Progress of that state, at its end.
    pub(super) finished: Option<StateProgress>,
    /// Time at which `Auto` looked last; below, what it found.
    chosen_at: Option<Instant>,
    preferred: bool,
    /// Blocks a second when they were measured last; zero before.
    block_rate: u64,
}

impl StateSync {
    /// Nothing begun yet.
    pub(super) fn new(possible: bool, required: bool) -> Self {
        Self { possible, required, ..Self::default() }
    }

    /// Whether no block can be executed before a state is live.
    pub(super) fn is_required(&self) -> bool {
        self.required && !self.done
    }

    /// Blocks a second when they were measured last; zero before.
    pub(super) fn block_rate(&self) -> u64 {
        self.block_rate
    }

    /// Whether the host can stage a state.
    pub(super) fn is_possible(&self) -> bool {
        self.possible
    }
}

impl Machine {
    /// Whether the state comes first: where that is asked for and one is offered, or where `Auto` finds it faster.
    pub(super) fn choose_state(&mut self, gap: u64) -> bool {
        let fetching = self.state_sync.walk.is_some();
        let chosen = match self.config.default_strategy {
            _ if self.state_sync.is_required() => true,
            _ if self.state_sync.done || !self.state_sync.possible || self.goal.until().is_some() => false,
            // The engine has decided blocks up to there meanwhile, and the state after them is here.
            _ if self
                .state_sync
                .walk
                .as_ref()
                .is_some_and(|walk| walk.base().point.height <= self.standing.applied) =>
            {
                false
            }
            // Blocks are the way where all states that are served lie below; where none is served at all, one is waited
            // for.
            SyncStrategyType::Fast if gap > self.config.strategy_switch_threshold => {
                self.state_is_offered_above(self.standing.applied)
                    || !self.peers.active().any(|(_, peer)| serves_state(peer))
            }
            SyncStrategyType::Fast => fetching,
            SyncStrategyType::Auto => self.auto_prefers_state(gap, fetching),
            SyncStrategyType::Parallel | SyncStrategyType::Incremental => false,
        };
        if chosen && self.strategy != SyncStrategyType::Fast {
            // Blocks that are on their way are not needed; what is verified and handed on stays.
            self.reset_blocks();
        }
        if !chosen && self.strategy == SyncStrategyType::Fast && !self.state_sync.done {
            self.cancel_walk();
            let unstaged = self.state_sync.walk.take().map_or(0, |walk| walk.unstaged());
            self.budget.release(unstaged);
            self.state_sync.moving = false;
        }
        if chosen {
            self.set_strategy(SyncStrategyType::Fast, gap);
        }
        chosen
    }

    /// `Auto` looks again now and then: figures change while it runs.
    fn auto_prefers_state(&mut self, gap: u64, fetching: bool) -> bool {
        let due = self.state_sync.chosen_at.is_none_or(|at| self.now.since(at) >= CHOICE_INTERVAL);
        if due && self.target.is_some() {
            self.state_sync.chosen_at = Some(self.now);
            let rate = self.blocks_per_second();
            if !fetching && rate > 0 {
                self.state_sync.block_rate = rate;
            }
            self.state_sync.preferred = self.costs(gap).prefers_state(fetching, self.config.state_after);
        }
        self.state_sync.preferred && (fetching || self.offered_base().is_some())
    }

    /// Estimated times of the ways to the target.
    pub(super) fn costs(&self, gap: u64) -> Costs {
        let offered = self.offered_base();
        let walk = self.state_sync.walk.as_ref();
        let height = walk.map(|walk| walk.base().point.height).or(offered.map(|(height, _)| height));
        let target = self.target().unwrap_or(self.standing.applied);
        let claims = self.peers.active().filter_map(|(_, peer)| peer.status?.snapshots);
        let keys = claims.filter(|claim| Some(claim.newest) == height).map(|claim| claim.keys).min();
        let blocks = self.standing.applied.above(self.standing.start);
        let bytes_per_second = self.peers.active().map(|(_, peer)| peer.estimator.bytes_per_second());
        let costs = Costs {
            gap,
            above_state: height.map_or(gap, |height| target.above(height)),
            block_bytes: self.counters.payload_bytes.checked_div(blocks).unwrap_or(0),
            blocks_per_second: self.state_sync.block_rate,
            bytes_per_second: bytes_per_second.fold(0, u64::saturating_add),
            state_bytes: offered.map_or(0, |(_, bytes)| bytes),
            state_keys: keys.unwrap_or(0),
            ..Costs::default()
        };
        costs.estimated(walk.and_then(|walk| self.state_progress_of(walk).remaining))
    }

    /// Does what can be done now towards a state.
    pub(super) fn plan_state(&mut self) {
        if self.state_sync.walk.is_none() || self.state_sync.moving {
            self.find_base();
        }
        self.check_lost();
        self.survey();
        self.stage();
        if !self.state_sync.moving {
            self.balance();
            self.ask_state();
            let again = self.hedge_state();
            self.look_again(again);
            self.activate();
        }
    }

    /// The newest height whose state a peer claims to serve and that can be proven, and the bytes that it is said to
    /// have.
    pub(super) fn offered_base(&self) -> Option<(Height, u64)> {
        let target = self.target.as_ref()?.facts.height;
        let believed = || self.peers.active().filter(|(_, peer)| !peer.is_doubted_on_states(self.now));
        let claims = || believed().filter_map(|(id, peer)| Some((id, peer, peer.status?.snapshots?)));
        // A newer one may be proven in a moment.
        if claims().any(|(id, peer, claim)| claim.newest > target && peer.may_prove() && !self.is_given_up_on(id)) {
            return None;
        }
        let heights = claims().flat_map(|(_, _, claim)| [(claim.newest, claim.bytes), (claim.oldest, claim.bytes)]);
        // The smaller size is taken where claims differ: a state that is larger than thought shows itself.
        heights
            .filter(|&(height, _)| height > self.standing.applied && height <= target)
            .max_by_key(|&(height, bytes)| (height, core::cmp::Reverse(bytes)))
    }

    /// Whether any peer says that it serves a state above `height`.
    pub(super) fn state_is_offered_above(&self, height: Height) -> bool {
        let claims = self.peers.active().filter_map(|(_, peer)| peer.status?.snapshots);
        claims.into_iter().any(|claim| claim.newest > height)
    }

    /// Asks for the headers that prove the newest height whose state is served.
    fn find_base(&mut self) {
        if let Some((height, claim)) = self.state_sync.wanted {
            let checking = self.jobs.iter().any(|pending| matches!(pending.origin, Some((_, Purpose::Base))));
            let asked = self.requests.iter().filter(|(_, request)| request.purpose == Purpose::Base);
            let asked: Vec<(RequestId, PeerId)> = asked.map(|(id, request)| (id, request.peer)).collect();
            match asked[..] {
                _ if checking => return,
                [] => {}
                [(id, first)] => return self.hedge_base(id, first, height, &claim),
                _ => return,
            }
        }
        let Some((height, _)) = self.offered_base() else {
            self.state_sync.wanted = None;
            // Offers that are not believed now will be.
            self.timers.set(Timer::StateSync, self.now.after(OFFER_INTERVAL));
            return;
        };
        let Some(claim) = self.base_claim(height) else { return };
        let range = claim.range;
        let proves = |peer: &Peer| peer.claims(range) || peer.proves_state(height, range);
        let Some(peer) = self.choose_who(Kind::Segment, Ask::Whole(EXPECTED_BASE_BYTES), proves) else { return };
        if self.ask_base(peer, &claim) {
            self.state_sync.wanted = Some((height, claim));
            let offers = |peer: &Peer| {
                peer.status.and_then(|status| status.snapshots).is_some_and(|states| states.holds(height))
            };
            self.state_sync.offered_by =
                self.peers.active().filter(|(_, peer)| offers(peer)).map(|(id, _)| id).collect();
        }
    }

    /// Asks for the headers of a base. False where the budget is full.
    fn ask_base(&mut self, peer: PeerId, claim: &SegmentClaim) -> bool {
        let reserved = u64::from(crate::limits::MAX_SEGMENT_BYTES).saturating_mul(MEMORY_FACTOR);
        let is_reserved = self.budget.reserve(reserved, true);
        if is_reserved {
            let certified = claim.end == SegmentEnd::Certified;
            let request = Request::Segment { range: claim.range, certified, audit: false, bodies: 0 };
            self.send(peer, Purpose::Base, request, EXPECTED_BASE_BYTES, reserved);
        }
        is_reserved
    }

    /// Asks a second peer for the headers of a base where the first is late: the very same, since what comes is held
    /// against what was asked for.
    fn hedge_base(&mut self, id: RequestId, first: PeerId, height: Height, claim: &SegmentClaim) {
        let range = claim.range;
        let proves = |peer: &Peer| peer.claims(range) || peer.proves_state(height, range);
        let eligible = |id: PeerId, peer: &Peer| id != first && proves(peer);
        let size = EXPECTED_BASE_BYTES;
        let second = self.peers.choose(Kind::Segment, Ask::Whole(size), self.now, &mut self.rng, eligible);
        if let Some(second) = second
            && self.is_late(id, second, size)
            && self.may_hedge(size)
        {
            self.ask_base(second, claim);
        }
    }

    /// The headers from `height` on that end with a proof.
    fn base_claim(&self, height: Height) -> Option<SegmentClaim> {
        let target = self.target.as_ref()?;
        let epoch = self.epochs.of_height(height)?;
        let id = matches!(target.proof, Finalized::Tip(_)).then_some(target.facts.id);
        base_claim(epoch.range(), target.facts.height, id, height, self.profile.grid())
    }

    /// The task that checks headers which a peer gave for the wanted base.
    pub(super) fn base_task(&self, bytes: bytes::Bytes) -> Option<Task> {
        let (height, claim) = self.state_sync.wanted?;
        let epoch = self.epochs.of_height(height)?.clone();
        Some(Task::Base { epoch, claim, height, bytes })
    }

    /// The base is proven: walk its state.
    pub(super) fn take_base(&mut self, peer: PeerId, segment: SegmentRef, header: HeaderFacts, bytes: u64) {
        self.on_valid(peer, Kind::Segment, bytes);
        let Some((height, claim)) = self.state_sync.wanted.take() else { return };
        self.take_back(|purpose| purpose == Purpose::Base);
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
        self.state_sync.began.get_or_insert(self.now);
        match &mut self.state_sync.walk {
            None => self.state_sync.walk = Some(Walk::new(base, claimed)),
            Some(walk) => {
                let obsolete = walk.retarget(base);
                self.state_sync.moves = self.state_sync.moves.saturating_add(1);
                self.cancel_sources(obsolete);
            }
        }
        self.state_sync.moving = false;
        self.emit(Event::StateTarget { height, root: header.state_root, moves: self.state_sync.moves });
        // Moving alone is no progress: nobody may give the new one either.
        if self.state_sync.moves == 0 {
            self.found_more();
        }
    }

    /// Peers that say that they serve a state.
    fn state_peers(&self) -> BTreeSet<PeerId> {
        let serving = self.peers.active().filter(|(_, peer)| serves_state(peer));
        serving.map(|(id, _)| id).collect()
    }

    /// Looks for another height where nobody holds what is missing of this one.
    fn check_lost(&mut self) {
        if self.state_sync.moving {
            return;
        }
        // Most of the time nothing was missed, and nobody need be counted.
        let Some(walk) = self.state_sync.walk.as_ref().filter(|walk| walk.was_missed()) else { return };
        let peers = self.state_peers();
        if peers.is_empty() || !walk.is_lost(&peers) {
            return;
        }
        let height = walk.base().point.height;
        self.cancel_walk();
        self.doubt_offers();
        self.state_sync.moving = true;
        self.emit(Event::StateLost { height });
        self.find_base();
    }

    /// A peer did not give the subtrees that it was asked for; `said_so` if it answered that it doesn't hold them.
    pub(super) fn not_given(&mut self, peer: PeerId, purpose: Purpose, said_so: bool) {
        if let (Purpose::State(batch), Some(walk)) = (purpose, self.state_sync.walk.as_mut()) {
            walk.missed(batch, peer, said_so);
        }
    }

    /// Nobody gave the state that was aimed at: who offered it chooses no target for a while, or a peer with a new offer each
    /// time could hold this node up for ever.
    fn doubt_offers(&mut self) {
        for id in core::mem::take(&mut self.state_sync.offered_by) {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.doubt_states(self.now);
            }
        }
    }

    /// Gives up what is asked for; what is staged stays.
    pub(super) fn cancel_walk(&mut self) {
        self.state_sync.wanted = None;
        let obsolete = self.state_sync.walk.as_mut().map(Walk::cancel).unwrap_or_default();
        self.cancel_sources(obsolete);
    }

    /// Progress of the state, while it is fetched and after.
    pub(super) fn state_progress(&self) -> Option<StateProgress> {
        self.state_sync.walk.as_ref().map(|walk| self.state_progress_of(walk)).or(self.state_sync.finished)
    }

    pub(super) fn state_progress_of(&self, walk: &Walk) -> StateProgress {
        let counters = walk.counters();
        let elapsed = self.state_sync.began.map_or(0, |began| micros(self.now.since(began)));
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
            moves: self.state_sync.moves,
            elapsed: Duration::from_micros(elapsed),
            remaining: remaining.map(Duration::from_micros),
        }
    }

    /// Reason of the walk where there is no progress.
    pub(super) fn state_stall(&self) -> StallReason {
        match &self.state_sync.walk {
            Some(walk) if !self.state_sync.moving => StallReason::StateMissing(walk.base().point.height),
            _ => {
                let claims = || self.peers.active().filter_map(|(_, peer)| peer.status);
                let newest = claims().filter_map(|claim| claim.snapshots).map(|states| states.newest).max();
                StallReason::NoSnapshot { above: self.standing.applied, newest, peers: counted(claims()) }
            }
        }
    }
}

pub(super) fn serves_state(peer: &Peer) -> bool {
    peer.status.is_some_and(|status| status.snapshots.is_some())
}
