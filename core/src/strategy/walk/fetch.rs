//! Requests for subtrees: what to ask for, who was asked, and what the answers put in the frontier's place.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::Walk;
use super::frontier::{Item, MAX_FAILURES, Phase};
use super::stage::leaves_memory;
use crate::ids::PeerId;
use crate::limits::MAX_STATE_ITEMS;
use crate::requests::BatchId;
use crate::state::{Prefix, StateAnswer, StateForm, StateItem, StateLeaves};
use crate::strategy::cell::{Fetch, Source};

/// Bytes of leaves that one subtree should have: some hundred keys, so that a changed key costs little when the target
/// moves, and hashes on the way are a hundredth of what is fetched.
pub(super) const SUBTREE_BYTES: u64 = 64 << 10;

/// Batch of subtrees that one request asks for, and of whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Batch {
    pub(super) want: StateWant,
    pub(super) sources: Fetch<()>,
}

/// Subtrees that one request should ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StateWant {
    pub(crate) form: StateForm,
    pub(crate) items: Vec<StateItem>,
    /// Expected bytes of the answer.
    pub(crate) bytes: u64,
}

impl Walk {
    /// Next want, in one request of about `max_bytes`, from a peer that has not said that it lacks it. `None`
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

    /// Subtrees that a batch asks for.
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

    pub(super) fn want_again(&mut self, items: &[StateItem]) {
        for asked in items {
            if let Some(&Item { phase: Phase::Fetching(form), .. }) = self.items.get(&asked.prefix) {
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
        // Subtrees that the answer left out are wanted again.
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

    /// Counts bytes that came although the same was there already.
    pub(crate) fn refetched(&mut self, bytes: u64) {
        self.counters.refetched = self.counters.refetched.saturating_add(bytes);
    }
}
