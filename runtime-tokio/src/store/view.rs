//! [`View`]: what the store holds, as of one commit. Readers work on a view and never wait for the writer.

use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::{HeightRange, grid_cell};

use super::stored::Stored;

/// The newest served proof of finality.
#[derive(Clone)]
pub(super) struct Tip {
    pub(super) height: Height,
    pub(super) epoch: Epoch,
    /// Empty for the anchor, which needs no proof.
    pub(super) bytes: Bytes,
}

/// What the store holds.
#[derive(Clone)]
pub(super) struct View {
    /// The trusted block that the store begins above.
    pub(super) anchor: BlockPoint,
    /// The highest stored block.
    pub(super) head: BlockPoint,
    pub(super) tip: Tip,
    /// Trusted epochs, consecutive, from the anchor's on.
    pub(super) epochs: Arc<Vec<(Epoch, HeightRange)>>,
    /// What isn't in sealed files, in order: pieces whose bodies are consecutive. Only the last one's headers may reach
    /// beyond its bodies, and the last one ends at the head.
    pub(super) unsealed: Vec<Arc<Stored>>,
}

impl View {
    /// The trusted epoch that has `height`.
    pub(super) fn epoch_of(&self, height: Height) -> Option<(Epoch, HeightRange)> {
        let index = self.epochs.partition_point(|(_, range)| range.first() <= height).checked_sub(1)?;
        self.epochs.get(index).copied().filter(|(_, range)| range.contains(height))
    }

    /// The cell that `height` is stored in: that of the grid, without what the store doesn't begin with.
    pub(super) fn cell_of(&self, height: Height) -> Option<HeightRange> {
        let (_, epoch) = self.epoch_of(height)?;
        let stored = HeightRange::new(self.anchor.height.next(), Height::MAX)?;
        grid_cell(height, epoch)?.intersection(stored)
    }

    /// Whether the body at `height` is stored.
    pub(super) fn holds(&self, height: Height) -> bool {
        self.anchor.height < height && height <= self.head.height
    }

    /// The unsealed piece whose headers have `height`.
    pub(super) fn unsealed_at(&self, height: Height) -> Option<&Arc<Stored>> {
        let index = self.unsealed.partition_point(|piece| piece.range().first() <= height).checked_sub(1)?;
        self.unsealed.get(index).filter(|piece| piece.range().contains(height))
    }
}
