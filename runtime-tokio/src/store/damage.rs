//! [`Damage`]: what of a store can't be read any more, known as soon as anybody came upon it and until it is whole again.
//!
//! A damaged part is not given up: what is left of it is served as far as its checksums are right. But it is not claimed
//! towards peers, and whoever watches can fetch it again.

use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

use super::disk::DiskStore;
use super::failure::StoreFailure;

/// A part of a store that is fetched again as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorePart {
    /// The sealed segment with these heights.
    Segment(HeightRange),
    /// The application's state, with its snapshots.
    State,
    /// Blocks that are not in sealed segments yet, or the database's index. Neither can be fetched in its place.
    Unsealed,
}

impl fmt::Display for StorePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(range) => write!(f, "the segment {range}"),
            Self::State => f.write_str("the state"),
            Self::Unsealed => f.write_str("what is not in sealed segments yet"),
        }
    }
}

/// A part of a store that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The part.
    pub part: StorePart,
    /// The file, and the fault that was found first.
    pub what: String,
}

/// The damage that is known of.
pub(super) struct Damages {
    known: watch::Sender<Vec<Damage>>,
    /// How often it changed.
    version: AtomicU64,
}

impl Default for Damages {
    fn default() -> Self {
        Self { known: watch::Sender::new(Vec::new()), version: AtomicU64::new(0) }
    }
}

impl Damages {
    pub(super) fn note(&self, part: StorePart, failure: &StoreFailure) {
        let new = self.known.send_if_modified(|known| {
            let new = known.iter().all(|damage| damage.part != part);
            if new {
                known.push(Damage { part, what: failure.fault() });
            }
            new
        });
        self.version.fetch_add(u64::from(new), Ordering::AcqRel);
    }

    pub(super) fn clear(&self, part: StorePart) {
        let changed = self.known.send_if_modified(|known| {
            let before = known.len();
            known.retain(|damage| damage.part != part);
            known.len() < before
        });
        self.version.fetch_add(u64::from(changed), Ordering::AcqRel);
    }

    /// The store begins above all segments that it had.
    pub(super) fn clear_segments(&self) {
        let lost = self.known.borrow().iter().map(|damage| damage.part).collect::<Vec<_>>();
        lost.into_iter().filter(|part| matches!(part, StorePart::Segment(_))).for_each(|part| self.clear(part));
    }

    /// Whether a part is damaged.
    pub(super) fn has(&self, part: StorePart) -> bool {
        self.known.borrow().iter().any(|damage| damage.part == part)
    }

    /// The highest height of a block that is damaged.
    pub(super) fn highest(&self) -> Option<Height> {
        let height = |damage: &Damage| match damage.part {
            StorePart::Segment(range) => Some(range.last()),
            StorePart::Unsealed => Some(Height::MAX),
            StorePart::State => None,
        };
        self.known.borrow().iter().filter_map(height).max()
    }

    /// Rises with every change.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

impl<C: Chain> DiskStore<C> {
    /// The damage that is known of, as it changes: found by reads, by [`Self::patrol`], or when the store was opened.
    pub fn damage(&self) -> watch::Receiver<Vec<Damage>> {
        self.damages.known.subscribe()
    }

    /// Notes the part that a read failed in, unless the failure passes by itself.
    pub(super) fn note_failure(&self, failure: &StoreFailure) {
        if failure.is_transient() {
            return;
        }
        let view = self.view();
        let Some(path) = failure.file() else { return };
        let part = match self.segments.first_of(path) {
            // A file that the store doesn't begin with any more is nobody's loss.
            Some(first) => view.sealed_cell_at(first).map(StorePart::Segment),
            None => Some(StorePart::Unsealed),
        };
        if let Some(part) = part {
            self.damages.note(part, failure);
        }
    }
}
