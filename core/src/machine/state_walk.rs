//! The walk, carried out: surveys, requests for subtrees, staging, and the moment at which a state becomes live.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::calls::{HistoryGap, Holding, HostWork, STAGES, SURVEYS, SnapshotBase};
use crate::chain::Finalized;
use crate::hash::Hash;
use crate::ids::PeerId;
use crate::limits::MAX_STATE_BYTES;
use crate::machine::event::{Event, HaltReason};
use crate::machine::state::Machine;
use crate::machine::state_sync::{MEMORY_FACTOR, serves_state};
use crate::peers::{Ask, Peer};
use crate::requests::{BatchId, Kind, Purpose};
use crate::state::{StateAnswer, StateItem, StateLeaves};
use crate::strategy::{DownloadWindow, Source, StateWant, Walk};
use crate::time::Instant;
use crate::wire::Request;

/// Bytes of verified leaves that are worth a batch of the store …
const STAGE_BYTES: u64 = 4 << 20;
/// … and this share of the budget, where that is less.
const STAGE_SHARE_OF_BUDGET: u64 = 16;
/// Share of the budget that a state may hold: a store in hash order needs memory of its own, and the disk is what a walk
/// waits for.
const STATE_SHARE_OF_BUDGET: u64 = 2;
/// An answer that could have held more is needlessly small below this share of what was asked for.
const SMALL_ANSWER_SHARE: u64 = 4;
/// Times that a staged state may fail to hash to what was staged before the disk is given up on.
const MAX_MISMATCHES: u32 = 3;
/// Bytes of a state that a host hashes in a second at least: a tenth of what a slow disk reads.
const HASHED_PER_SECOND: u64 = 4 << 20;
/// Longest time that hashing may take beyond the time-out of a call, whatever the state's size is said to be.
const MAX_HASHING: Duration = Duration::from_secs(24 * 3600);

impl Machine {
    pub(super) fn survey(&mut self) {
        if self.calls.count(|work| matches!(work, HostWork::Survey(_))) >= SURVEYS {
            return;
        }
        let Some(walk) = &mut self.state_sync.walk else { return };
        let items = walk.next_survey();
        if !items.is_empty() {
            self.call(HostWork::Survey(items), 0);
        }
    }

    pub(super) fn stage(&mut self) {
        if self.calls.count(|work| matches!(work, HostWork::Stage(_))) >= STAGES {
            return;
        }
        let enough = STAGE_BYTES.min(self.budget.limit() / STAGE_SHARE_OF_BUDGET);
        let Some(walk) = &mut self.state_sync.walk else { return };
        let leaves = walk.next_stage(enough);
        if !leaves.is_empty() {
            let held = leaves.iter().map(crate::strategy::leaves_memory).fold(0, u64::saturating_add);
            self.call(HostWork::Stage(Arc::new(leaves)), held);
        }
    }

    /// Asks for what is missing, as far as peers, budget and the request limit allow.
    pub(super) fn ask_state(&mut self) {
        // Peers of which nothing is wanted: they said that they lack it.
        let mut passed: BTreeSet<PeerId> = BTreeSet::new();
        while self.may_ask_more() && self.state_sync.walk.as_ref().is_some_and(Walk::wants) {
            let eligible = |id: PeerId, peer: &Peer| serves_state(peer) && !passed.contains(&id);
            let Some(peer) = self.peers.choose(Kind::State, Ask::UpTo(u64::MAX), self.now, &mut self.rng, eligible)
            else {
                return;
            };
            let most = self.peers.get(peer).map_or(0, Peer::request_bytes);
            let Some(walk) = &self.state_sync.walk else { return };
            let Some(want) = walk.next_want(peer, most) else {
                passed.insert(peer);
                continue;
            };
            let batch = walk.upcoming();
            // One request always goes out, or a small budget could stop the walk.
            let lone = !self.requests.any(|purpose| purpose.kind() == Kind::State);
            let Some(source) = self.send_state_request(peer, batch, &want, most, lone) else { return };
            if let Some(walk) = &mut self.state_sync.walk {
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
        let height = self.state_sync.walk.as_ref()?.base().point.height;
        // Room for a subtree that is larger than was estimated, or it would come as hashes.
        let most = most.max(want.bytes.saturating_mul(2)).min(u64::from(MAX_STATE_BYTES));
        let reserved = most.saturating_mul(MEMORY_FACTOR);
        let full = self.budget.used().saturating_add(reserved) > self.budget.limit() / STATE_SHARE_OF_BUDGET;
        if (full && !head) || !self.budget.reserve(reserved, head) {
            return None;
        }
        let (form, items) = (want.form, want.items.clone());
        let request = Request::State { height, form, items, max_bytes: u32::try_from(most).unwrap_or(u32::MAX) };
        Some(self.send(peer, Purpose::State(batch), request, want.bytes, reserved))
    }

    /// Asks a second peer for what was asked for first, where it is late and nothing else is left to ask for: one slow
    /// peer must not hold up the end of a state. Returns when to look again.
    pub(super) fn hedge_state(&mut self) -> Option<Instant> {
        let walk = self.state_sync.walk.as_ref().filter(|walk| !walk.wants())?;
        let (batch, want, Source::Request(id)) = walk.oldest()? else { return None };
        let want = want.clone();
        let first = self.requests.get(id)?.peer;
        let eligible = |id: PeerId, peer: &Peer| id != first && serves_state(peer);
        let size = want.bytes;
        let second = self.peers.choose(Kind::State, Ask::Whole(size), self.now, &mut self.rng, eligible)?;
        let late = self.late_at(id, second, size, true);
        if late > self.now {
            return Some(late);
        }
        // As much as the answer may have at most: a subtree may be larger than was estimated.
        let most = size.saturating_mul(2);
        if self.budget.room(true) < most.saturating_mul(MEMORY_FACTOR) {
            return None;
        }
        if !self.may_hedge(most) {
            // The request may be taken from its peer instead.
            return self.take_pressing(id, true);
        }
        let source = self.send_state_request(second, batch, &want, size, true)?;
        if let Some(walk) = &mut self.state_sync.walk {
            walk.hedged(batch, source);
        }
        None
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
        let Some(walk) = &mut self.state_sync.walk else { return };
        let asked = walk.batch(batch).map_or((0, 0), |want| (want.items.len(), want.bytes));
        let Some((memory, obsolete)) = walk.answered(batch, source, peer, answers) else {
            walk.refetched(bytes);
            self.counters.duplicate_bytes = self.counters.duplicate_bytes.saturating_add(bytes);
            return;
        };
        // The answer is here already; its request had reserved more.
        self.budget.reserve_forced(memory);
        self.hedge_lost(&obsolete);
        self.cancel_sources(obsolete);
        self.on_valid(peer, Kind::State, bytes);
        let small = answered < asked.0 && bytes < asked.1 / SMALL_ANSWER_SHARE;
        if small {
            self.undersized(peer, Kind::State);
        }
    }

    /// Makes the state live when all of it is staged and the host has nothing else to do.
    pub(super) fn activate(&mut self) {
        let complete = self.state_sync.walk.as_ref().filter(|walk| walk.is_complete());
        if let Some(base) = complete.map(|walk| walk.base().clone())
            && self.calls.is_empty()
        {
            self.call(HostWork::Activate(base), 0);
        }
    }

    /// Time that the host may take to hash a complete state: the more the larger it is.
    pub(super) fn activation_timeout(&self) -> Duration {
        let fetched = self.state_sync.walk.as_ref().map_or(0, |walk| walk.counters().bytes);
        // Of what was there before only claims say how much it is; the least of them, since whoever claims more would
        // only hide that the host hangs.
        let claims = self.peers.active().filter_map(|(_, peer)| Some(peer.status?.snapshots?.bytes));
        let bytes = fetched.max(claims.min().unwrap_or(0));
        let hashing = Duration::from_secs(bytes / HASHED_PER_SECOND).min(MAX_HASHING);
        self.config.call_timeout.saturating_add(hashing)
    }

    /// The host said what it holds of subtrees.
    pub(super) fn take_surveyed(&mut self, items: &[StateItem], holdings: &[Holding]) {
        let Some(walk) = &mut self.state_sync.walk else { return };
        walk.surveyed(items, holdings);
        // Subtrees that were there before and are only found again, as on the way to another root, are no progress.
        if walk.is_nearer() {
            self.found_more();
        }
    }

    /// The host staged subtrees.
    pub(super) fn take_staged(&mut self, leaves: &[StateLeaves]) {
        let Some(walk) = &mut self.state_sync.walk else { return };
        walk.staged(leaves);
        walk.is_nearer();
        self.progressed();
    }

    /// Takes in that what is staged has another root than what was verified.
    pub(super) fn take_mismatch(&mut self, base: &SnapshotBase, found: Hash) {
        let Some(walk) = &mut self.state_sync.walk else { return };
        self.state_sync.mismatches = self.state_sync.mismatches.saturating_add(1);
        let (height, expected) = (base.point.height, base.state_root);
        if self.state_sync.mismatches >= MAX_MISMATCHES {
            self.halt(HaltReason::StateRoot { height, expected, found });
            return;
        }
        walk.start_over();
        self.emit(Event::StateMismatch { height, expected, found });
    }

    /// The state of `base` is live: blocks go on from there.
    pub(super) fn activated(&mut self, base: SnapshotBase, history_gap: Option<HistoryGap>) {
        self.state_sync.done = true;
        // Another strategy may have given the walk up while the host was at it.
        if let Some(walk) = self.state_sync.walk.take() {
            self.state_sync.finished = Some(self.state_progress_of(&walk));
        }
        let height = base.point.height;
        self.reset_blocks();
        self.drop_history();
        self.history_gap = history_gap;
        self.window = DownloadWindow::new(base.point, self.profile);
        self.wait_again();
        let segment = base.segment.bytes().clone();
        let proof = match base.tip {
            Some(tip) => Finalized::Anchored { segment, tip, height },
            None => Finalized::Segment(segment, height),
        };
        self.standing.rebase(base.point, proof);
        self.goal.reopen();
        self.watch.restart_rate();
        self.forecast.restart();
        self.epochs.forget_below(height);
        self.claims.changed = true;
        self.emit(Event::StateActive(base.point));
        self.progressed();
    }
}
