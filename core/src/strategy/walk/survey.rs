//! Surveys: what the host holds of the subtrees that are new, and in which form the others are asked for.

use alloc::vec::Vec;

use super::Walk;
use super::fetch::SUBTREE_BYTES;
use super::frontier::{Phase, share};
use crate::calls::Holding;
use crate::state::{MAX_TREE_DEPTH, Prefix, StateForm, StateItem};

/// A subtree that the host holds in another version is fetched whole below this many keys; above, it is compared further
/// down. A level of hashes costs about as much as a key.
const FEW_KEYS: u64 = 8;
/// The same where the host's state has nothing in common with the one that is fetched: a whole survey found no subtree
/// that is held. Then a sixth of the keys differ at least, or some subtree of so many would be the same, and comparing
/// further down would mostly find what has to be fetched anyway.
const FEW_KEYS_OF_UNLIKE: u64 = 32;
/// A subtree of more keys that differs has so many that most of what lies under it does: one wide step instead of
/// several narrow ones.
const MANY_KEYS: u64 = 16 << 10;
/// Bits of a narrow step.
const NARROW_STEP: u32 = 4;
/// Subtrees that one survey asks about: a whole wide step.
const SURVEY_ITEMS: usize = 1 << MAX_TREE_DEPTH;

fn log2(value: u64) -> u32 {
    value.checked_ilog2().unwrap_or(0)
}

fn tree(depth: u32) -> StateForm {
    StateForm::Tree { depth: u8::try_from(depth).unwrap_or(MAX_TREE_DEPTH).clamp(1, MAX_TREE_DEPTH) }
}

/// Keys up to which a subtree that differs is fetched whole.
fn few_keys(holdings: &[Holding]) -> u64 {
    let unlike =
        holdings.len() >= SURVEY_ITEMS && holdings.iter().all(|holding| matches!(holding, Holding::Differs { .. }));
    if unlike { FEW_KEYS_OF_UNLIKE } else { FEW_KEYS }
}

impl Walk {
    /// Subtrees that the host should be asked about next, if it is not being asked.
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

    /// Takes in what the host said of the last survey. An answer for an older root is worthless.
    pub(crate) fn surveyed(&mut self, items: &[StateItem], holdings: &[Holding]) {
        if self.surveying.as_slice() != items {
            return;
        }
        self.surveying.clear();
        let few = few_keys(holdings);
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
            self.set_phase(&asked.prefix, Phase::Wanted(self.form_below(&asked.prefix, keys, few)));
            if let Some(item) = self.items.get_mut(&asked.prefix) {
                item.absent = keys.is_none();
            }
        }
    }

    /// In which form a subtree is asked for, of which the host holds nothing.
    pub(super) fn form(&self, prefix: &Prefix) -> StateForm {
        match self.bytes_of(prefix) {
            bytes if bytes <= SUBTREE_BYTES.saturating_mul(2) => StateForm::Leaves,
            bytes => tree(log2(bytes).saturating_sub(log2(SUBTREE_BYTES))),
        }
    }

    /// The same where the host may hold so many keys in another version, of which `few` are fetched whole.
    fn form_below(&self, prefix: &Prefix, keys: Option<u64>, few: u64) -> StateForm {
        match keys {
            Some(keys) if keys <= few => StateForm::Leaves,
            Some(keys) if keys > MANY_KEYS => tree(log2(keys).saturating_sub(log2(MANY_KEYS)).max(NARROW_STEP)),
            Some(keys) => tree(log2(keys).saturating_sub(1).min(NARROW_STEP)),
            None => self.form(prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_survey_that_finds_nothing_held_makes_states_unlike() {
        let differs = alloc::vec![Holding::Differs { keys: 30 }; SURVEY_ITEMS];
        assert_eq!(few_keys(&differs), FEW_KEYS_OF_UNLIKE);
        assert_eq!(few_keys(&differs[1..]), FEW_KEYS, "too few say nothing");
        for other in [Holding::Held, Holding::Absent] {
            let mut mixed = differs.clone();
            mixed[7] = other;
            assert_eq!(few_keys(&mixed), FEW_KEYS, "{other:?}");
        }
    }
}
