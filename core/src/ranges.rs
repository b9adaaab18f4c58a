//! Ranges of heights, and the grid that cuts them the same way on every node.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::Height;

/// The heights from `first` to `last`, both included. Never empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct HeightRange {
    first: Height,
    last: Height,
}

/// A range as it comes over the wire.
#[derive(Deserialize)]
struct Unchecked {
    first: Height,
    last: Height,
}

/// A range that ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a range of heights ends before it begins")]
pub struct EmptyRangeError;

impl TryFrom<Unchecked> for HeightRange {
    type Error = EmptyRangeError;

    fn try_from(range: Unchecked) -> Result<Self, EmptyRangeError> {
        Self::new(range.first, range.last).ok_or(EmptyRangeError)
    }
}

impl HeightRange {
    /// The range, or `None` where `last` is below `first`.
    pub fn new(first: Height, last: Height) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The range of one height.
    pub const fn single(height: Height) -> Self {
        Self { first: height, last: height }
    }

    /// The lowest height.
    pub const fn first(self) -> Height {
        self.first
    }

    /// The highest height.
    pub const fn last(self) -> Height {
        self.last
    }

    /// How many heights there are, saturating.
    pub const fn count(self) -> u64 {
        self.last.above(self.first).saturating_add(1)
    }

    /// Whether `height` lies inside.
    pub fn contains(self, height: Height) -> bool {
        self.first <= height && height <= self.last
    }

    /// Whether all of `other` lies inside.
    pub fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Position of `height` from the start of the range.
    pub fn index_of(self, height: Height) -> Option<usize> {
        if !self.contains(height) {
            return None;
        }
        usize::try_from(height.above(self.first)).ok()
    }

    /// The part that both ranges share.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }
}

impl fmt::Display for HeightRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

impl fmt::Debug for HeightRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The grid cell of `height` within an epoch of heights `epoch`: heights are cut at multiples of `spacing`
/// ([`ChainProfile::grid`](crate::chain::ChainProfile::grid)) and at the epoch's ends, so that every honest server means the
/// same range. `None` where the epoch doesn't have the height.
pub fn grid_cell(height: Height, epoch: HeightRange, spacing: u64) -> Option<HeightRange> {
    if !epoch.contains(height) {
        return None;
    }
    let start = height.get().saturating_sub(height.get().checked_rem(spacing)?);
    let cell = HeightRange::new(Height::new(start), Height::new(start.saturating_add(spacing.saturating_sub(1))))?;
    cell.intersection(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::GRID;

    fn range(first: u64, last: u64) -> HeightRange {
        HeightRange::new(Height::new(first), Height::new(last)).unwrap()
    }

    #[test]
    fn cells_are_cut_at_the_grid_and_at_epoch_ends() {
        let epoch = range(1500, 4000);
        assert_eq!(grid_cell(Height::new(1500), epoch, GRID), Some(range(1500, 2047)));
        assert_eq!(grid_cell(Height::new(2048), epoch, GRID), Some(range(2048, 3071)));
        assert_eq!(grid_cell(Height::new(4000), epoch, GRID), Some(range(3072, 4000)));
        assert_eq!(grid_cell(Height::new(4001), epoch, GRID), None);
        assert_eq!(grid_cell(Height::new(1600), epoch, 64), Some(range(1600, 1663)));
        assert_eq!(grid_cell(Height::new(1600), epoch, 1), Some(range(1600, 1600)));
    }

    #[test]
    fn the_top_of_the_number_line_is_no_special_case() {
        let epoch = range(0, u64::MAX);
        let cell = grid_cell(Height::MAX, epoch, GRID).unwrap();
        assert_eq!((cell.count(), cell.last()), (GRID, Height::MAX));
        assert_eq!(epoch.count(), u64::MAX);
        assert_eq!(HeightRange::new(Height::new(2), Height::new(1)), None);
    }
}
