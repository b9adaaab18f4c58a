//! [`Committee`]: who decides which heights, known to everybody from the start.

use hotstuff2_sync::chain::native::{
    EpochContext, Genesis, GenesisDocument, ValidatorKey, ValidatorSet, ValidatorSetError, Version,
};
use hotstuff2_sync::ids::{Epoch, Height, View};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::UnixMillis;

use crate::chain::{ChainSpec, Roster, SigningEpoch, SpecError, constant_root};

/// A chain's genesis and the validators of its epochs, one more than the chain needs: its last block may name it.
#[derive(Clone, Debug)]
pub struct Committee {
    spec: ChainSpec,
    genesis: Genesis,
    epochs: Vec<SigningEpoch>,
    contexts: Vec<EpochContext>,
}

impl Committee {
    /// The committee of a chain of `spec`, whose shape (epochs, heights, validators) counts; blocks come from agreement.
    ///
    /// # Errors
    /// Where there is no such chain.
    pub fn new(spec: ChainSpec) -> Result<Self, SpecError> {
        spec.check()?;
        let roster = Roster::of(&spec);
        let mut epochs = (0..spec.epochs)
            .map(|number| roster.epoch(Epoch::new(number), spec.epoch_range(Epoch::new(number))))
            .collect::<Result<Vec<_>, ValidatorSetError>>()?;
        let last = epochs.last().map_or(Height::ZERO, |epoch| epoch.info().range().last());
        // Longer than whatever replicas do beyond the tip while others come after.
        let above = HeightRange::new(last.next(), last.plus(spec.blocks).plus(1000)).ok_or(SpecError::NoBlocks)?;
        epochs.push(roster.epoch(Epoch::new(spec.epochs), above)?);
        let first = epochs.first().map(SigningEpoch::info).ok_or(SpecError::NoBlocks)?;
        let genesis = GenesisDocument {
            version: Version,
            name: spec.name.clone(),
            timestamp: UnixMillis::new(spec.last_timestamp.get()),
            validators: first.validators().validators().to_vec(),
            last_height: first.range().last(),
            state_root: constant_root(),
            trusting_period_ms: None,
            snapshot_interval: spec.snapshot_interval,
        }
        .check()?;
        let contexts = epochs.iter().map(|epoch| EpochContext::new(&genesis, epoch.info().clone())).collect();
        Ok(Self { spec, genesis, epochs, contexts })
    }

    /// The chain's shape.
    pub fn spec(&self) -> &ChainSpec {
        &self.spec
    }

    /// The genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// All epochs with their keys.
    pub fn epochs(&self) -> &[SigningEpoch] {
        &self.epochs
    }

    /// The epoch as headers are checked against; `None` behind the last.
    pub fn context(&self, epoch: Epoch) -> Option<&EpochContext> {
        self.contexts.get(usize::try_from(epoch.get()).ok()?)
    }

    /// Proposer in `view` of `epoch`: the members take turns. The index in the set, and the key.
    pub fn leader(&self, epoch: &EpochContext, view: View) -> Option<(u16, ValidatorKey)> {
        let set = epoch.validators();
        let index = view.get().checked_rem(u64::try_from(set.count()).ok()?)?;
        let member = set.validators().get(usize::try_from(index).ok()?)?;
        Some((u16::try_from(index).ok()?, member.key))
    }

    /// Whether `keys` hold less than a third of every epoch's power.
    pub fn tolerates(&self, keys: &[ValidatorKey]) -> bool {
        self.contexts.iter().all(|epoch| power(epoch.validators(), keys) * 3 < epoch.validators().total_power())
    }
}

/// The power that `keys` hold in `set`, each counted once.
pub(super) fn power<'a>(set: &ValidatorSet, keys: impl IntoIterator<Item = &'a ValidatorKey>) -> u128 {
    let indices: std::collections::BTreeSet<usize> = keys.into_iter().filter_map(|key| set.index_of(key)).collect();
    indices.iter().filter_map(|&index| set.validators().get(index)).map(|member| u128::from(member.power)).sum()
}
