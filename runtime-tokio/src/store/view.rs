//! [`View`]: what the store holds, as of one commit. Readers work on a view and never wait for the writer.

use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::Finalized;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::{HeightRange, grid_cell};

use serde::{Deserialize, Serialize};

use super::stored::Stored;

/// The newest served proof of finality.
#[derive(Clone)]
pub(super) struct Tip {
    pub(super) height: Height,
    pub(super) epoch: Epoch,
    /// Empty for the anchor, which needs no proof.
    pub(super) bytes: Bytes,
}

/// How far down the stored blocks reach: below [`View::base`] where history was added, and further above it where blocks were
/// pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Floor {
    /// The lowest height whose header is stored.
    pub(super) headers: Height,
    /// The lowest height from which on all bodies are stored too.
    pub(super) bodies: Height,
    /// The id of the block below `headers`.
    pub(super) parent_id: Hash,
}

impl Floor {
    /// Of a store without history, of which nothing was pruned.
    pub(super) fn above(base: BlockPoint) -> Self {
        Self { headers: base.height.next(), bodies: base.height.next(), parent_id: base.id }
    }
}

/// Contents of the store.
#[derive(Clone)]
pub(super) struct View {
    /// Most headers of a cell of the chain's grid.
    pub(super) grid: u64,
    /// The block that the store was created with: no history goes below it.
    pub(super) anchor: BlockPoint,
    /// The block whose state the store began with, most recently: the anchor, or one whose state was fetched. Blocks are
    /// appended above it, history is added below it.
    pub(super) base: BlockPoint,
    /// Proves the base final, unless it is the anchor.
    pub(super) base_proof: Option<Finalized>,
    pub(super) floor: Floor,
    /// The height below which blocks were pruned, if any were.
    pub(super) pruned: Option<Height>,
    /// The highest stored block.
    pub(super) head: BlockPoint,
    pub(super) tip: Tip,
    /// Trusted epochs, consecutive, from the anchor's on.
    pub(super) epochs: Arc<Vec<(Epoch, HeightRange)>>,
    /// Pieces that aren't in sealed files, in order: their bodies are consecutive. Only the last one's headers may
    /// reach beyond its bodies, and the last one ends at the head.
    pub(super) unsealed: Vec<Arc<Stored>>,
}

impl View {
    /// The trusted epoch that has `height`.
    pub(super) fn epoch_of(&self, height: Height) -> Option<(Epoch, HeightRange)> {
        let index = self.epochs.partition_point(|(_, range)| range.first() <= height).checked_sub(1)?;
        self.epochs.get(index).copied().filter(|(_, range)| range.contains(height))
    }

    /// The cell of the grid that has `height`.
    pub(super) fn grid_cell_of(&self, height: Height) -> Option<HeightRange> {
        let (_, epoch) = self.epoch_of(height)?;
        grid_cell(height, epoch, self.grid)
    }

    /// The cell that `height` is stored in: that of the grid, cut at the base and above the anchor.
    pub(super) fn cell_of(&self, height: Height) -> Option<HeightRange> {
        let stored = if height > self.base.height {
            HeightRange::new(self.base.height.next(), Height::MAX)?
        } else {
            HeightRange::new(self.anchor.height.next(), self.base.height)?
        };
        self.grid_cell_of(height)?.intersection(stored)
    }

    /// The cell that begins at `first`, where it is stored in a sealed file.
    pub(super) fn sealed_cell_at(&self, first: Height) -> Option<HeightRange> {
        let cell = self.cell_of(first).filter(|cell| cell.first() == first)?;
        (self.holds(first) && self.unsealed_at(first).is_none()).then_some(cell)
    }

    /// Whether the header at `height` is stored, and from [`Floor::bodies`] on the body too.
    pub(super) fn holds(&self, height: Height) -> bool {
        self.floor.headers <= height && height <= self.head.height
    }

    /// The lowest height that is served with its payload. What was fetched with a state proves its block by one above the
    /// stored ones: up to that one no block is offered until it is reached.
    pub(super) fn earliest(&self) -> Height {
        if self.tip.height > self.head.height { self.tip.height.next() } else { self.floor.bodies }
    }

    /// The headers that prove the base and begin with its own, unless that one is stored as others are.
    pub(super) fn segment_of_base(&self) -> Option<&Bytes> {
        match self.base_proof.as_ref().filter(|_| self.floor.headers > self.base.height)? {
            Finalized::Segment(segment, _) | Finalized::Anchored { segment, .. } => Some(segment),
            Finalized::Tip(_) | Finalized::Handover(_) => None,
        }
    }

    /// The unsealed piece whose headers have `height`.
    pub(super) fn unsealed_at(&self, height: Height) -> Option<&Arc<Stored>> {
        let index = self.unsealed.partition_point(|piece| piece.range().first() <= height).checked_sub(1)?;
        self.unsealed.get(index).filter(|piece| piece.range().contains(height))
    }
}
