//! Pruning: the oldest blocks go, cell by cell, as far as nothing needs them.
//!
//! One commit, forced to disk, raises the lowest height that the store has; from then on readers and peers are told of no block
//! below it. Then the files are removed. A crash in between leaves files that nothing refers to, which opening the store
//! removes. Blocks that are not in sealed files yet never go.

use std::collections::VecDeque;
use std::fs;
use std::io::ErrorKind;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

use super::config::StoreConfig;
use super::damage::StorePart;
use super::db::Space;
use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::records::{encode, key};
use super::segment_file::{SegmentDir, frames_end};
use super::steps::Step;
use super::view::{Floor, View};

/// Cells that one call takes away at most, so that blocks don't wait for long: a backlog goes with the blocks that come.
const CELLS_AT_ONCE: usize = 64;

/// Amounts that a call of [`PruningStore::prune`] took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Heights.
    pub blocks: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// A store that old blocks are taken away from. All calls may wait for the disk.
pub trait PruningStore: Send + Sync + 'static {
    /// Takes away the oldest blocks, as far as the store's settings say and nothing needs them: a bounded number with each
    /// call. `executed` is the height whose outcome the application has made durable: blocks above it are still to be
    /// executed, and that block's header names its state.
    fn prune(&self, executed: Height) -> Result<Pruned, StoreFailure>;
}

impl<C: Chain> PruningStore for DiskStore<C> {
    fn prune(&self, executed: Height) -> Result<Pruned, StoreFailure> {
        let config = self.config();
        if !config.prunes() {
            return Ok(Pruned::default());
        }
        let _writer = self.lock_writer()?;
        let view = self.view();
        let cells = self.cells_to_prune(&view, config, executed);
        let Some(last) = cells.last() else { return Ok(Pruned::default()) };
        let first = last.last().next();
        let Some(parent_id) = self.id_at_seam(&view, *last) else {
            // Both files at the seam are damaged. They are fetched again, and then this goes on.
            return Ok(Pruned::default());
        };
        let floor = Floor { headers: first, bodies: view.floor.bodies.max(first), parent_id };
        let rows = [
            (Space::Index, Bytes::from_static(key::FLOOR), Some(encode(&floor))),
            (Space::Index, Bytes::from_static(key::PRUNED), Some(encode(&first))),
        ];
        self.commit_rows(rows.into_iter(), true)?;
        self.publish(View { floor, pruned: Some(first), ..View::clone(&view) });
        let mut pruned = Pruned::default();
        for cell in cells {
            self.damages.clear(StorePart::Segment(cell));
            self.caches.forget_file(cell.first());
            pruned.blocks = pruned.blocks.saturating_add(cell.count());
            pruned.bytes = pruned.bytes.saturating_add(self.remove_cell(cell));
        }
        tracing::debug!(earliest = first.get(), blocks = pruned.blocks, bytes = pruned.bytes, "old blocks were pruned");
        Ok(pruned)
    }
}

impl<C: Chain> DiskStore<C> {
    /// Has the store keep as much from now on. Blocks go with the next [`PruningStore::prune`].
    pub fn configure(&self, config: StoreConfig) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// The settings that it was given last.
    pub fn config(&self) -> StoreConfig {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cells that go, lowest first.
    fn cells_to_prune(&self, view: &View, config: StoreConfig, executed: Height) -> Vec<HeightRange> {
        let Some(needed) = self.lowest_needed(view, executed) else { return Vec::new() };
        let oldest = oldest_wanted(view, config);
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = if config.retain_bytes > 0 { sizes.update(view, &self.segments) } else { 0 };
        let (mut cells, mut first) = (Vec::new(), view.floor.headers);
        while cells.len() < CELLS_AT_ONCE {
            let Some(cell) = view.sealed_cell_at(first) else { break };
            let too_many = cell.last() < oldest || (config.retain_bytes > 0 && bytes > config.retain_bytes);
            if cell.last() >= needed || !too_many {
                break;
            }
            bytes = bytes.saturating_sub(sizes.of(cell));
            first = cell.last().next();
            cells.push(cell);
        }
        cells
    }

    /// The lowest block that something needs; `None` where all are.
    fn lowest_needed(&self, view: &View, executed: Height) -> Option<Height> {
        // Fetched with a state, the proof of its block may lie above the stored ones.
        if view.tip.height > view.head.height {
            return None;
        }
        // Who fetches a snapshot asks for the header of its block, and for what proves that.
        let snapshot = self.snapshots.kept().first().map(|snapshot| snapshot.height);
        // A state that no application moves now may be moved by one later.
        let applied = Height::new(self.applied.load(Ordering::Acquire));
        let has_state = applied > view.anchor.height || self.snapshots.keys() > 0;
        let state = Some(applied).filter(|_| has_state);
        let needed = executed.min(view.head.height);
        Some(snapshot.into_iter().chain(state).fold(needed, Height::min))
    }

    /// The id of the last block of the highest cell that goes.
    fn id_at_seam(&self, view: &View, cell: HeightRange) -> Option<Hash> {
        let first = cell.last().next();
        if let Ok(Some(above)) = self.stored_at(view, first)
            && above.range().first() == first
        {
            return Some(above.record().facts.parent_id);
        }
        let below = self.stored_at(view, cell.first()).ok()??;
        Some(below.record().facts.last_id).filter(|_| below.range() == cell)
    }

    /// Removes the file of a cell, and says how large it was. Where that fails, opening the store tries again.
    fn remove_cell(&self, cell: HeightRange) -> u64 {
        let path = self.segments.sealed(cell.first());
        let bytes = bytes_of(&self.segments, cell);
        let removed = self.steps.reached(Step::Remove, &path).and_then(|()| fs::remove_file(&path));
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a file of pruned blocks could not be removed; the next start does");
                0
            }
            _ => bytes,
        }
    }

    /// Whether blocks below what is stored are wanted: they are not where they would go again.
    pub(super) fn wants_history(&self, view: &View, gap: HeightRange) -> bool {
        let config = self.config();
        !config.prunes() || (view.pruned.is_none() && gap.last() >= oldest_wanted(view, config))
    }
}

/// The lowest of the newest blocks that the settings keep by number.
fn oldest_wanted(view: &View, config: StoreConfig) -> Height {
    match config.retain_blocks.checked_sub(1) {
        Some(below) => Height::new(view.head.height.get().saturating_sub(below)),
        None => Height::ZERO,
    }
}

fn bytes_of(segments: &SegmentDir, cell: HeightRange) -> u64 {
    // A damaged or missing file takes what it takes.
    fs::metadata(segments.sealed(cell.first())).map_or(0, |metadata| metadata.len())
}

/// Sizes of the sealed files, so that each is looked at once.
#[derive(Default)]
pub(super) struct SealedSizes {
    /// Consecutive cells from the lowest stored one on, with their bytes.
    cells: VecDeque<(HeightRange, u64)>,
    /// The sum of their bytes.
    total: u64,
}

impl SealedSizes {
    /// Takes in what `view` holds; the bytes of all its blocks.
    fn update(&mut self, view: &View, segments: &SegmentDir) -> u64 {
        let below = self.cells.front().is_some_and(|(cell, _)| cell.first() > view.floor.headers);
        let above = self.cells.back().is_some_and(|(cell, _)| cell.last() > view.head.height);
        if below || above {
            // History was added below, or blocks that were never acknowledged are gone.
            *self = Self::default();
        }
        while let Some(&(cell, bytes)) = self.cells.front()
            && cell.first() < view.floor.headers
        {
            self.cells.pop_front();
            self.total = self.total.saturating_sub(bytes);
        }
        let mut first = self.cells.back().map_or(view.floor.headers, |(cell, _)| cell.last().next());
        while let Some(cell) = view.sealed_cell_at(first) {
            let bytes = bytes_of(segments, cell);
            self.cells.push_back((cell, bytes));
            self.total = self.total.saturating_add(bytes);
            first = cell.last().next();
        }
        let unsealed = view.unsealed.iter().map(|piece| frames_end(piece.record()));
        unsealed.fold(self.total, u64::saturating_add)
    }

    fn of(&self, cell: HeightRange) -> u64 {
        let index = self.cells.partition_point(|(known, _)| known.first() < cell.first());
        self.cells.get(index).filter(|(known, _)| *known == cell).map_or(0, |&(_, bytes)| bytes)
    }
}
