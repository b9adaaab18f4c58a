//! Verified leaves on their way into the staging area.

use alloc::vec::Vec;

use super::Walk;
use super::frontier::{Phase, share};
use crate::state::StateLeaves;

/// Bytes that a staged record takes in memory besides its own.
const RECORD_BYTES: u64 = 64;

/// The memory that verified leaves take.
pub(crate) fn leaves_memory(leaves: &StateLeaves) -> u64 {
    let records = u64::try_from(leaves.records.len()).unwrap_or(u64::MAX);
    leaves.bytes().saturating_add(records.saturating_mul(RECORD_BYTES))
}

impl Walk {
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

    /// Memory of the leaves that wait to be stored.
    pub(crate) fn unstaged(&self) -> u64 {
        self.verified_bytes
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
}
