//! The frontier: subtrees that are missing, each at its place and in its phase, and what of the state they make up.

use alloc::collections::BTreeMap;

use super::Walk;
use crate::hash::Hash;
use crate::ids::PeerId;
use crate::state::{PLACEHOLDER, Prefix, StateForm, StateItem};

/// Times that a peer may leave a subtree unanswered before it counts as one that doesn't hold it.
pub(super) const MAX_FAILURES: u8 = 3;
/// Weight of the whole state.
pub(super) const WHOLE: u64 = 1 << 62;

/// A subtree on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Item {
    pub(super) hash: Hash,
    pub(super) phase: Phase,
    /// Whether the host is known to hold nothing there: then it needn't be asked about what lies below.
    pub(super) absent: bool,
    /// Peers that said they don't hold it, or did not answer so often.
    pub(super) failed: BTreeMap<PeerId, u8>,
}

impl Item {
    pub(super) fn is_missed_by(&self, peer: &PeerId) -> bool {
        self.failed.get(peer).is_some_and(|&times| times >= MAX_FAILURES)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// The host is to be asked what it holds.
    New,
    Surveying,
    Wanted(StateForm),
    /// Part of a batch that is asked for or being checked.
    Fetching(StateForm),
    /// Verified, and on its way into the staging area.
    Verified,
}

/// The part of the state that stands under a place, of [`WHOLE`].
pub(super) fn share(prefix: &Prefix) -> u64 {
    WHOLE.checked_shr(u32::from(prefix.depth())).unwrap_or(0)
}

impl Walk {
    pub(super) fn insert(&mut self, item: StateItem, absent: bool) {
        if absent && item.hash == PLACEHOLDER {
            self.missing = self.missing.saturating_sub(share(&item.prefix));
            return;
        }
        let phase = if absent { Phase::Wanted(self.form(&item.prefix)) } else { Phase::New };
        self.index(item.prefix, &phase);
        self.items.insert(item.prefix, Item { hash: item.hash, phase, absent, failed: BTreeMap::new() });
    }

    /// Notes the phase that a place gets.
    pub(super) fn index(&mut self, prefix: Prefix, phase: &Phase) {
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

    pub(super) fn set_phase(&mut self, prefix: &Prefix, phase: Phase) {
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

    /// Estimated bytes of the leaves under a place.
    pub(super) fn bytes_of(&self, prefix: &Prefix) -> u64 {
        self.estimate.checked_shr(u32::from(prefix.depth())).unwrap_or(0)
    }
}
