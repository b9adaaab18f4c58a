//! [`base_claim`]: the headers that prove one block.

use crate::chain::{SegmentClaim, SegmentEnd};
use crate::hash::Hash;
use crate::ids::Height;
use crate::ranges::{HeightRange, grid_cell};

/// The headers that prove the block at `height` of an epoch with the heights `epoch`, to somebody who knows that the block
/// at `tip` is final, on a grid of this spacing: from that height to the end of its cell, with a certificate; or, in the cell of the tip, up to the
/// tip, which proves them. Inside of a cell only the tip's proof is sure to be there. `None` where the tip's id is needed
/// and not given, and above the tip.
pub(crate) fn base_claim(
    epoch: HeightRange,
    tip: Height,
    tip_id: Option<Hash>,
    height: Height,
    spacing: u64,
) -> Option<SegmentClaim> {
    let cell = grid_cell(height, epoch, spacing)?;
    let (last, end) = if cell.contains(tip) && tip < cell.last() {
        (tip, SegmentEnd::Anchored(tip_id?))
    } else {
        (cell.last(), SegmentEnd::Certified)
    };
    Some(SegmentClaim { range: HeightRange::new(height, last)?, parent: None, end, audit: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::GRID;

    #[test]
    fn a_block_is_proven_by_its_cells_end_or_by_the_tip() {
        let height = Height::new;
        let range = |first, last| HeightRange::new(height(first), height(last)).unwrap();
        let (epoch, id) = (range(1, 3000), Hash::from_bytes([7; 32]));
        let claim =
            |tip, at| base_claim(epoch, height(tip), Some(id), height(at), GRID).map(|claim| (claim.range, claim.end));
        assert_eq!(claim(2500, 1000), Some((range(1000, 1023), SegmentEnd::Certified)));
        assert_eq!(claim(2500, 2100), Some((range(2100, 2500), SegmentEnd::Anchored(id))));
        assert_eq!(claim(2047, 2047), Some((range(2047, 2047), SegmentEnd::Certified)), "the cell is whole");
        assert_eq!(claim(2500, 2501), None, "above the tip");
        assert_eq!(claim(2500, 3001), None, "another epoch");
        assert_eq!(base_claim(epoch, height(2500), None, height(2100), GRID), None);
    }
}
