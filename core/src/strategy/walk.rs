//! The Merkle walk: which subtrees of a state are still missing, who is about to bring them, and how far it is.
//!
//! The frontier is a set of subtrees, ordered by place, that together with what is staged make up the whole state. Each
//! is surveyed (does the host hold it already?), asked for as a pruned tree, which puts smaller ones in its place, or as
//! leaves, which are staged. Taking the lowest place first walks depth-first, so the frontier stays small whatever the
//! size of the state. Nothing here is bound to a peer or to a height: a new target is a new root over the same staging
//! area, and the survey finds what is still right.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::cell::{Fetch, Source};
use crate::calls::{Holding, SnapshotBase};
use crate::hash::Hash;
use crate::ids::PeerId;
use crate::limits::MAX_STATE_ITEMS;
use crate::requests::BatchId;
use crate::state::{MAX_TREE_DEPTH, PLACEHOLDER, Prefix, StateAnswer, StateForm, StateItem, StateLeaves};

/// Bytes of leaves that one subtree should have: some hundred keys, so that a changed key costs little when the target
/// moves, and hashes on the way are a hundredth of what is fetched.
const SUBTREE_BYTES: u64 = 64 << 10;
/// A subtree that the host holds in another version is fetched whole below this many keys; above, it is compared further
/// down. A level of hashes costs about as much as a key.
const FEW_KEYS: u64 = 8;
/// A subtree of more keys that differs has so many that most of what lies under it does: one wide step instead of
/// several narrow ones.
const MANY_KEYS: u64 = 16 << 10;
/// Bits of a narrow step.
const NARROW_STEP: u32 = 4;
/// Subtrees that one survey asks about: a whole wide step.
const SURVEY_ITEMS: usize = 1 << MAX_TREE_DEPTH;
/// Bytes that a staged record takes in memory besides its own.
const RECORD_BYTES: u64 = 64;
/// Times that a peer may leave a subtree unanswered before it counts as one that doesn't hold it.
const MAX_FAILURES: u8 = 3;
/// What the whole state counts as.
const WHOLE: u64 = 1 << 62;

/// A subtree on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Item {
    hash: Hash,
    phase: Phase,
    /// Whether the host is known to hold nothing there: then it needn't be asked about what lies below.
    absent: bool,
    /// Peers that said they don't hold it, or did not answer so often.
    failed: BTreeMap<PeerId, u8>,
}

impl Item {
    fn is_missed_by(&self, peer: &PeerId) -> bool {
        self.failed.get(peer).is_some_and(|&times| times >= MAX_FAILURES)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// The host is to be asked what it holds.
    New,
    Surveying,
    Wanted(StateForm),
    /// Part of a batch that is asked for or being checked.
    Fetching(StateForm),
    /// Verified, and on its way into the staging area.
    Verified,
}

/// What one request asks for, and of whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Batch {
    want: StateWant,
    sources: Fetch<()>,
}

/// What one request should ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StateWant {
    pub(crate) form: StateForm,
    pub(crate) items: Vec<StateItem>,
    /// Expected bytes of the answer.
    pub(crate) bytes: u64,
}

/// How far a walk is.
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
    counters: WalkCounters,
}

/// The memory that verified leaves take.
pub(crate) fn leaves_memory(leaves: &StateLeaves) -> u64 {
    let records = u64::try_from(leaves.records.len()).unwrap_or(u64::MAX);
    leaves.bytes().saturating_add(records.saturating_mul(RECORD_BYTES))
}

fn share(prefix: &Prefix) -> u64 {
    WHOLE.checked_shr(u32::from(prefix.depth())).unwrap_or(0)
}

fn log2(value: u64) -> u32 {
    value.checked_ilog2().unwrap_or(0)
}

fn tree(depth: u32) -> StateForm {
    StateForm::Tree { depth: u8::try_from(depth).unwrap_or(MAX_TREE_DEPTH).clamp(1, MAX_TREE_DEPTH) }
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

    /// What was done, over all roots.
    pub(crate) fn counters(&self) -> WalkCounters {
        self.counters
    }

    /// Share of the state that is staged, in millionths.
    pub(crate) fn done_ppm(&self) -> u64 {
        const PPM: u64 = 1_000_000;
        WHOLE.saturating_sub(self.missing).checked_div(WHOLE / PPM).unwrap_or(0).min(PPM)
    }

    /// Whether everything is staged.
    pub(crate) fn is_complete(&self) -> bool {
        self.items.is_empty() && self.verified.is_empty() && self.staging == 0
    }

    fn insert(&mut self, item: StateItem, absent: bool) {
        if absent && item.hash == PLACEHOLDER {
            self.missing = self.missing.saturating_sub(share(&item.prefix));
            return;
        }
        let phase = if absent { Phase::Wanted(self.form(&item.prefix, None)) } else { Phase::New };
        self.index(item.prefix, &phase);
        self.items.insert(item.prefix, Item { hash: item.hash, phase, absent, failed: BTreeMap::new() });
    }

    /// Notes the phase that a place gets.
    fn index(&mut self, prefix: Prefix, phase: &Phase) {
        match phase {
            Phase::New => {
                self.new.insert(prefix);
            }
            Phase::Wanted(_) => {
                self.wanted.insert(prefix);
            }
            Phase::Surveying | Phase::Fetching(_) | Phase::Verified => {}
        }
    }

    fn set_phase(&mut self, prefix: &Prefix, phase: Phase) {
        if !self.items.contains_key(prefix) {
            return;
        }
        self.new.remove(prefix);
        self.wanted.remove(prefix);
        self.index(*prefix, &phase);
        if let Some(item) = self.items.get_mut(prefix) {
            item.phase = phase;
        }
    }

    /// In which form a subtree is asked for, of which the host holds so many keys in another version, or nothing.
    fn form(&self, prefix: &Prefix, keys: Option<u64>) -> StateForm {
        match keys {
            Some(keys) if keys <= FEW_KEYS => StateForm::Leaves,
            Some(keys) if keys > MANY_KEYS => tree(log2(keys).saturating_sub(log2(MANY_KEYS)).max(NARROW_STEP)),
            Some(keys) => tree(log2(keys).saturating_sub(1).min(NARROW_STEP)),
            None => match self.bytes_of(prefix) {
                bytes if bytes <= SUBTREE_BYTES.saturating_mul(2) => StateForm::Leaves,
                bytes => tree(log2(bytes).saturating_sub(log2(SUBTREE_BYTES))),
            },
        }
    }

    /// Estimated bytes of the leaves under a place.
    fn bytes_of(&self, prefix: &Prefix) -> u64 {
        self.estimate.checked_shr(u32::from(prefix.depth())).unwrap_or(0)
    }

    /// What the host should be asked about next, if it is not being asked.
    pub(crate) fn next_survey(&mut self) -> Vec<StateItem> {
        if !self.surveying.is_empty() {
            return Vec::new();
        }
        let new: Vec<Prefix> = self.new.iter().take(SURVEY_ITEMS).copied().collect();
        for prefix in new {
            if let Some(hash) = self.items.get(&prefix).map(|item| item.hash) {
                self.surveying.push(StateItem { prefix, hash });
            }
            self.set_phase(&prefix, Phase::Surveying);
        }
        self.surveying.clone()
    }

    /// What the host said of the last survey. An answer for an older root is worthless.
    pub(crate) fn surveyed(&mut self, items: &[StateItem], holdings: &[Holding]) {
        if self.surveying.as_slice() != items {
            return;
        }
        self.surveying.clear();
        for (index, asked) in items.iter().enumerate() {
            let keys = match holdings.get(index) {
                Some(Holding::Held) => {
                    self.items.remove(&asked.prefix);
                    self.missing = self.missing.saturating_sub(share(&asked.prefix));
                    self.counters.held = self.counters.held.saturating_add(1);
                    continue;
                }
                Some(Holding::Differs { keys }) => Some(*keys),
                // No answer at all: nothing is known, so nothing is taken for absent.
                None => Some(u64::MAX),
                Some(Holding::Absent) => None,
            };
            self.set_phase(&asked.prefix, Phase::Wanted(self.form(&asked.prefix, keys)));
            if let Some(item) = self.items.get_mut(&asked.prefix) {
                item.absent = keys.is_none();
            }
        }
    }

    /// What to ask for next, in one request of about `max_bytes`, from a peer that has not said that it lacks it. `None`
    /// where nothing is wanted of this peer.
    pub(crate) fn next_want(&self, peer: PeerId, max_bytes: u64) -> Option<StateWant> {
        let mut want: Option<StateWant> = None;
        for (&prefix, item) in self.wanted.iter().filter_map(|prefix| self.items.get_key_value(prefix)) {
            let Phase::Wanted(form) = item.phase else { continue };
            if item.is_missed_by(&peer) {
                continue;
            }
            let bytes = match form {
                StateForm::Leaves => self.bytes_of(&prefix).max(1024),
                StateForm::Tree { depth } => 40u64.checked_shl(u32::from(depth)).unwrap_or(u64::MAX),
            };
            let item = StateItem { prefix, hash: item.hash };
            match &mut want {
                None => want = Some(StateWant { form, items: alloc::vec![item], bytes }),
                Some(want) if want.form == form => {
                    want.bytes = want.bytes.saturating_add(bytes);
                    if want.bytes > max_bytes {
                        want.bytes = want.bytes.saturating_sub(bytes);
                        break;
                    }
                    want.items.push(item);
                }
                Some(_) => continue,
            }
            if want.as_ref().is_some_and(|want| want.items.len() >= MAX_STATE_ITEMS) {
                break;
            }
        }
        want
    }

    /// Whether anything is to be asked for.
    pub(crate) fn wants(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether anything that is wanted was asked for in vain.
    pub(crate) fn was_missed(&self) -> bool {
        self.missed.intersection(&self.wanted).next().is_some()
    }

    /// A subtree that every one of these peers said that it doesn't hold: the target is lost.
    pub(crate) fn is_lost(&self, peers: &BTreeSet<PeerId>) -> bool {
        let lost = |prefix: &Prefix| {
            self.items.get(prefix).is_some_and(|item| peers.iter().all(|peer| item.is_missed_by(peer)))
        };
        self.missed.intersection(&self.wanted).any(lost)
    }

    /// The id of the next batch, before its request is named.
    pub(crate) fn upcoming(&self) -> BatchId {
        BatchId(self.next_batch)
    }

    /// The items are asked for.
    pub(crate) fn asked(&mut self, want: StateWant, source: Source) {
        let id = self.upcoming();
        self.next_batch = self.next_batch.saturating_add(1);
        for asked in &want.items {
            self.set_phase(&asked.prefix, Phase::Fetching(want.form));
        }
        let mut sources = Fetch::Missing;
        sources.add(source);
        self.batches.insert(id, Batch { want, sources });
    }

    /// What a batch asks for.
    pub(crate) fn batch(&self, id: BatchId) -> Option<&StateWant> {
        self.batches.get(&id).map(|batch| &batch.want)
    }

    /// The batch that was asked for first, if one source alone has it.
    pub(crate) fn oldest(&self) -> Option<(BatchId, &StateWant, Source)> {
        let (&id, batch) = self.batches.first_key_value()?;
        match batch.sources.sources() {
            &[source] => Some((id, &batch.want, source)),
            _ => None,
        }
    }

    /// A second source for a batch that is late.
    pub(crate) fn hedged(&mut self, id: BatchId, source: Source) {
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.sources.add(source);
        }
    }

    /// Puts one source in the place of another. False where nobody waits for it.
    pub(crate) fn replace_source(&mut self, id: BatchId, old: Source, new: Source) -> bool {
        self.batches.get_mut(&id).is_some_and(|batch| batch.sources.replace(old, new))
    }

    /// A peer said that it holds nothing of a batch, or did not answer: a few times of that count as much.
    pub(crate) fn missed(&mut self, id: BatchId, peer: PeerId, said_so: bool) {
        let Some(batch) = self.batches.get(&id) else { return };
        for asked in &batch.want.items {
            if let Some(item) = self.items.get_mut(&asked.prefix) {
                let times = item.failed.entry(peer).or_default();
                *times = if said_so { MAX_FAILURES } else { times.saturating_add(1) };
                self.missed.insert(asked.prefix);
            }
        }
    }

    /// A source failed. Where it was the only one, its items are wanted again.
    pub(crate) fn failed(&mut self, id: BatchId, source: Source) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        if batch.sources.remove(source)
            && let Some(batch) = self.batches.remove(&id)
        {
            self.want_again(&batch.want.items);
        }
    }

    fn want_again(&mut self, items: &[StateItem]) {
        for asked in items {
            let item = self.items.get(&asked.prefix).filter(|item| item.hash == asked.hash);
            if let Some(&Item { phase: Phase::Fetching(form), .. }) = item {
                self.set_phase(&asked.prefix, Phase::Wanted(form));
            }
        }
    }

    /// An answer was verified. Returns the memory that its leaves take from now on and the sources that are no longer
    /// needed; `None` where nobody waits for it any more.
    pub(crate) fn answered(
        &mut self,
        id: BatchId,
        source: Source,
        peer: PeerId,
        answers: Vec<StateAnswer>,
    ) -> Option<(u64, Vec<Source>)> {
        let batch = self.batches.get(&id).filter(|batch| batch.sources.sources().contains(&source))?;
        let obsolete = batch.sources.sources().iter().copied().filter(|&other| other != source).collect();
        let batch = self.batches.remove(&id)?;
        let mut memory = 0u64;
        for answer in answers {
            memory = memory.saturating_add(self.take(peer, answer));
        }
        // What the answer left out is wanted again.
        self.want_again(&batch.want.items);
        Some((memory, obsolete))
    }

    fn take(&mut self, peer: PeerId, answer: StateAnswer) -> u64 {
        let about = answer.item();
        let Some(item) = self.items.get_mut(&about.prefix).filter(|item| item.hash == about.hash) else { return 0 };
        let Phase::Fetching(form) = item.phase else { return 0 };
        match answer {
            StateAnswer::Missing(_) => {
                item.failed.insert(peer, MAX_FAILURES);
                self.missed.insert(about.prefix);
                self.set_phase(&about.prefix, Phase::Wanted(form));
                0
            }
            StateAnswer::Tree { item: about, below } => {
                let absent = item.absent;
                self.items.remove(&about.prefix);
                if form == StateForm::Leaves {
                    // Too large to be given whole: it has more than was thought.
                    let seen = SUBTREE_BYTES.saturating_mul(4).checked_shl(u32::from(about.prefix.depth()));
                    self.estimate = self.estimate.max(seen.unwrap_or(u64::MAX / 2));
                }
                for below in below {
                    self.insert(below, absent);
                }
                0
            }
            StateAnswer::Leaves(leaves) => {
                self.set_phase(&about.prefix, Phase::Verified);
                let memory = leaves_memory(&leaves);
                self.measure(&leaves);
                self.verified_bytes = self.verified_bytes.saturating_add(memory);
                self.verified.push(leaves);
                memory
            }
        }
    }

    /// Learns the size of the state from subtrees that are large enough to tell.
    fn measure(&mut self, leaves: &StateLeaves) {
        const SMOOTHING: u64 = 16;
        let depth = u32::from(leaves.item.prefix.depth());
        if leaves.records.len() < 32 {
            return;
        }
        let sample = leaves.bytes().checked_shl(depth).unwrap_or(u64::MAX / 2).min(u64::MAX / 2);
        let kept = self.estimate.saturating_sub(self.estimate / SMOOTHING);
        self.estimate = kept.saturating_add(sample / SMOOTHING);
    }

    /// Leaves to store next: `enough` bytes, or all that there is once nothing more is on its way.
    pub(crate) fn next_stage(&mut self, enough: u64) -> Vec<StateLeaves> {
        let idle = self.batches.is_empty() && !self.wants();
        if self.verified.is_empty() || (self.verified_bytes < enough && !idle) {
            return Vec::new();
        }
        self.verified_bytes = 0;
        let batch = core::mem::take(&mut self.verified);
        self.staging = self.staging.saturating_add(batch.len());
        batch
    }

    /// The host stored leaves.
    pub(crate) fn staged(&mut self, stored: &[StateLeaves]) {
        self.staging = self.staging.saturating_sub(stored.len());
        for leaves in stored {
            let about = leaves.item;
            let keys = u64::try_from(leaves.records.len()).unwrap_or(u64::MAX);
            self.counters.keys = self.counters.keys.saturating_add(keys);
            self.counters.bytes = self.counters.bytes.saturating_add(leaves.bytes());
            self.counters.prefixes = self.counters.prefixes.saturating_add(1);
            // After a move the place may be wanted with another hash, or not at all.
            let done = self.items.get(&about.prefix);
            if done.is_some_and(|item| item.hash == about.hash && item.phase == Phase::Verified) {
                self.items.remove(&about.prefix);
                self.missing = self.missing.saturating_sub(share(&about.prefix));
            }
        }
    }

    /// The staged state is not what was staged: everything is surveyed again.
    pub(crate) fn start_over(&mut self) {
        self.begin();
    }

    /// Counts bytes that came although the same was there already.
    pub(crate) fn refetched(&mut self, bytes: u64) {
        self.counters.refetched = self.counters.refetched.saturating_add(bytes);
    }
}
