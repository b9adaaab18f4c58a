//! The Merkle walk: which subtrees of a state are still missing, who is about to bring them, and how far it is.
//!
//! The frontier is a set of subtrees, ordered by place, that together with what is staged make up the whole state. Each
//! is surveyed (does the host hold it already?), asked for as a pruned tree, which puts smaller ones in its place, or as
//! leaves, which are staged. Taking the lowest place first walks depth-first, so the frontier stays small whatever the
//! size of the state. Nothing here is bound to a peer or to a height: a new target is a new root over the same staging
//! area, and the survey finds what is still right.

mod fetch;
mod frontier;
mod stage;
mod survey;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use self::fetch::Batch;
use self::frontier::{Item, WHOLE};
use super::cell::Source;
use crate::calls::SnapshotBase;
use crate::requests::BatchId;
use crate::state::{Prefix, StateItem, StateLeaves};

pub(crate) use self::fetch::StateWant;
pub(crate) use self::stage::leaves_memory;

/// Counters of a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct WalkCounters {
    /// Keys staged from answers.
    pub(crate) keys: u64,
    /// Bytes of their records.
    pub(crate) bytes: u64,
    /// Subtrees staged from answers.
    pub(crate) prefixes: u64,
    /// Subtrees that the host held already.
    pub(crate) held: u64,
    /// Bytes of answers with leaves that were there already.
    pub(crate) refetched: u64,
}

/// The walk towards one root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Walk {
    base: SnapshotBase,
    items: BTreeMap<Prefix, Item>,
    /// Places of [`Phase::New`].
    new: BTreeSet<Prefix>,
    /// Places of [`Phase::Wanted`].
    wanted: BTreeSet<Prefix>,
    /// Places that some peer did not give, among others that are gone.
    missed: BTreeSet<Prefix>,
    batches: BTreeMap<BatchId, Batch>,
    next_batch: u64,
    /// Verified leaves that wait to be staged, whichever root they were fetched for.
    verified: Vec<StateLeaves>,
    verified_bytes: u64,
    /// Leaves that the host is storing.
    staging: usize,
    surveying: Vec<StateItem>,
    /// Estimated bytes of the whole state: claimed at first, then measured.
    estimate: u64,
    /// Share of the state that is still missing, of [`WHOLE`].
    missing: u64,
    /// The least that was ever missing, of any root.
    least_missing: u64,
    counters: WalkCounters,
}

impl Walk {
    /// A walk to the state of `base`, of which a peer claims that it has `claimed_bytes`.
    pub(crate) fn new(base: SnapshotBase, claimed_bytes: u64) -> Self {
        let mut walk = Self {
            base,
            items: BTreeMap::new(),
            new: BTreeSet::new(),
            wanted: BTreeSet::new(),
            missed: BTreeSet::new(),
            batches: BTreeMap::new(),
            next_batch: 0,
            verified: Vec::new(),
            verified_bytes: 0,
            staging: 0,
            surveying: Vec::new(),
            estimate: claimed_bytes,
            missing: WHOLE,
            least_missing: WHOLE,
            counters: WalkCounters::default(),
        };
        walk.begin();
        walk
    }

    fn begin(&mut self) {
        self.missing = WHOLE;
        self.items.clear();
        self.new.clear();
        self.wanted.clear();
        self.missed.clear();
        self.surveying.clear();
        self.insert(StateItem { prefix: Prefix::ROOT, hash: self.base.state_root }, false);
    }

    /// Goes for another root, over what is staged already. Returns the sources to cancel.
    pub(crate) fn retarget(&mut self, base: SnapshotBase) -> Vec<Source> {
        let sources = self.cancel();
        self.base = base;
        self.begin();
        sources
    }

    /// Gives up what is asked for. Returns the sources to cancel; what is verified is staged all the same.
    pub(crate) fn cancel(&mut self) -> Vec<Source> {
        let batches = core::mem::take(&mut self.batches);
        let sources = batches.values().flat_map(|batch| batch.sources.sources().iter().copied()).collect();
        for batch in batches.into_values() {
            self.want_again(&batch.want.items);
        }
        sources
    }

    /// Whose state it is.
    pub(crate) fn base(&self) -> &SnapshotBase {
        &self.base
    }

    /// Counters over all roots.
    pub(crate) fn counters(&self) -> WalkCounters {
        self.counters
    }

    /// Share of the state that is staged, in millionths.
    pub(crate) fn done_ppm(&self) -> u64 {
        const PPM: u64 = 1_000_000;
        WHOLE.saturating_sub(self.missing).checked_div(WHOLE / PPM).unwrap_or(0).min(PPM)
    }

    /// Whether more is staged than at any time before, whatever the root. False when asked again.
    pub(crate) fn is_nearer(&mut self) -> bool {
        let nearer = self.missing < self.least_missing;
        self.least_missing = self.least_missing.min(self.missing);
        nearer
    }

    /// Whether everything is staged.
    pub(crate) fn is_complete(&self) -> bool {
        self.items.is_empty() && self.verified.is_empty() && self.staging == 0
    }

    /// The staged state is not what was staged: everything is surveyed again.
    pub(crate) fn start_over(&mut self) {
        self.begin();
    }
}

#[cfg(test)]
mod tests;
