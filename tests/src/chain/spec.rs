//! [`ChainSpec`]: what a generated chain is like.

use hotstuff2_sync::chain::native::{GenesisError, ValidatorSetError};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::MAX_VALIDATORS;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::UnixMillis;

/// Blocks between the heights at which nodes of a generated chain offer their state, unless it is told otherwise.
pub const SNAPSHOT_INTERVAL: u64 = 10_000;

/// A generated chain's shape. Equal specs and equal payloads make equal chains, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSpec {
    /// The chain's name, in its genesis document.
    pub name: String,
    /// Seed of keys, powers, quorums and view gaps.
    pub seed: u64,
    /// How many blocks stand above genesis.
    pub blocks: u64,
    /// How many validators each epoch has.
    pub validators: u64,
    /// How many epochs the blocks belong to; they are of equal length, but for the last.
    pub epochs: u64,
    /// Whether the last block ends its epoch. If not, the last epoch goes on above it.
    pub ends_epoch: bool,
    /// Every block at a multiple of this has a certificate that proves it final; with 1 every block also has one of its
    /// own, for full audits. With 0 there are those that a server needs: at each grid cell's and epoch's end and the tip.
    pub certify_every: u64,
    /// Time of the last block.
    pub last_timestamp: UnixMillis,
    /// Blocks between the heights at which nodes offer their state.
    pub snapshot_interval: u64,
    /// How many validators change, and how often.
    pub turnover: Turnover,
}

/// How a validator set changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turnover {
    /// One in seven, at least one, is replaced at each change of epoch.
    Seventh,
    /// So many validators are replaced at once, each so many epochs.
    Some {
        /// Validators.
        replaced: u64,
        /// Epochs; 0 counts as 1.
        epochs: u64,
    },
    /// The validators of an epoch are some of a round of members. So many of those leave with each epoch, and as many that
    /// come after the others in the round take their places.
    Rotating {
        /// Members of the round; with fewer than there are validators, it has as many.
        members: u64,
        /// How many are replaced at once.
        replaced: u64,
    },
}

impl Turnover {
    /// How many of `validators` have been replaced before `epoch`.
    pub(crate) fn before(self, epoch: Epoch, validators: u64) -> u64 {
        match self {
            Self::Seventh => epoch.get().saturating_mul(validators.div_ceil(7)),
            Self::Some { replaced, epochs } => (epoch.get() / epochs.max(1)).saturating_mul(replaced),
            Self::Rotating { replaced, .. } => epoch.get().saturating_mul(replaced),
        }
    }

    /// The member that comes in the place `place` of all that ever come.
    pub(crate) fn member(self, place: u64, validators: u64) -> u64 {
        match self {
            Self::Rotating { members, .. } => place % members.max(validators).max(1),
            Self::Seventh | Self::Some { .. } => place,
        }
    }
}

/// A chain that can't be generated.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// There would be nothing to synchronize.
    #[error("a chain needs at least one block")]
    NoBlocks,
    /// An epoch would be empty.
    #[error(
        "{epochs} epochs do not fit into {blocks} blocks: each needs one block at least, and there is one epoch at least"
    )]
    Epochs {
        /// Epochs asked for.
        epochs: u64,
        /// Blocks asked for.
        blocks: u64,
    },
    /// Nobody, or more than the protocol allows.
    #[error("{0} validators: a set has 1 to {MAX_VALIDATORS}")]
    Validators(u64),
    /// The genesis document isn't valid.
    #[error("the genesis document is not valid: {0}")]
    Genesis(#[from] GenesisError),
    /// A validator set isn't valid.
    #[error("a validator set is not valid: {0}")]
    Set(#[from] ValidatorSetError),
}

impl Default for ChainSpec {
    /// A small chain for tests, with every kind of seam in it.
    fn default() -> Self {
        Self {
            name: "generated".to_owned(),
            seed: 1,
            blocks: 100,
            validators: 4,
            epochs: 3,
            ends_epoch: false,
            certify_every: 0,
            last_timestamp: UnixMillis::new(1_700_000_000_000),
            snapshot_interval: SNAPSHOT_INTERVAL,
            turnover: Turnover::Seventh,
        }
    }
}

impl ChainSpec {
    /// The last block's height.
    pub fn tip(&self) -> Height {
        Height::new(self.blocks)
    }

    /// All heights of `epoch`, which may also be the one after the last.
    pub fn epoch_range(&self, epoch: Epoch) -> HeightRange {
        let len = (self.blocks / self.epochs.max(1)).max(1);
        let begin = |epoch: u64| if epoch < self.epochs { epoch.saturating_mul(len) } else { self.blocks };
        let number = epoch.get();
        let last = match number.saturating_add(1) {
            next if next < self.epochs => begin(next),
            next if next == self.epochs && self.ends_epoch => self.blocks,
            _ => self.blocks.saturating_add(len),
        };
        let first = if number == 0 { 0 } else { begin(number).saturating_add(1) };
        HeightRange::new(Height::new(first), Height::new(last)).unwrap_or(HeightRange::single(Height::new(first)))
    }

    /// All heights of `epoch` of a chain that goes on above its tip: as long as the others behind the last one of the spec.
    pub(super) fn range_beyond(&self, epoch: Epoch) -> HeightRange {
        let Some(further) = epoch.get().checked_sub(self.epochs) else { return self.epoch_range(epoch) };
        let end = self.epoch_range(Epoch::new(self.epochs.saturating_sub(1))).last();
        let len = (self.blocks / self.epochs.max(1)).max(1);
        let first = end.plus(further.saturating_mul(len)).next();
        HeightRange::new(first, first.plus(len.saturating_sub(1))).unwrap_or(HeightRange::single(first))
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        if self.blocks == 0 {
            return Err(SpecError::NoBlocks);
        }
        if self.epochs == 0 || self.epochs > self.blocks {
            return Err(SpecError::Epochs { epochs: self.epochs, blocks: self.blocks });
        }
        if self.validators == 0 || self.validators > MAX_VALIDATORS as u64 {
            return Err(SpecError::Validators(self.validators));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_follow_each_other_without_gaps() {
        for (blocks, epochs, ends_epoch) in [(100, 3, false), (100, 3, true), (4, 4, false), (5, 1, true), (7, 2, true)]
        {
            let spec = ChainSpec { blocks, epochs, ends_epoch, ..ChainSpec::default() };
            assert_eq!(spec.epoch_range(Epoch::ZERO).first(), Height::ZERO);
            for epoch in 0..epochs {
                let (this, next) = (spec.epoch_range(Epoch::new(epoch)), spec.epoch_range(Epoch::new(epoch + 1)));
                let beyond = epoch + 1 == epochs && !ends_epoch;
                assert!(beyond || next.first().is_next_of(this.last()), "{spec:?} {epoch}");
            }
            let last = spec.epoch_range(Epoch::new(epochs - 1));
            assert!(last.contains(spec.tip()) && (last.last() == spec.tip()) == ends_epoch, "{spec:?}");
            for epoch in 0..epochs + 3 {
                let (this, next) = (spec.range_beyond(Epoch::new(epoch)), spec.range_beyond(Epoch::new(epoch + 1)));
                assert!(next.first().is_next_of(this.last()), "{spec:?} {epoch}");
            }
        }
    }
}
