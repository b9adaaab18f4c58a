//! [`Committee`]: who decides which heights, known to everybody from the start.

use std::sync::OnceLock;

use hotstuff2_sync::chain::native::{EpochContext, Genesis, GenesisDocument, ValidatorKey, ValidatorSet, Version};
use hotstuff2_sync::ids::{Epoch, View};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::UnixMillis;

use crate::chain::{ChainSpec, Roster, SigningEpoch, SpecError, constant_root};
use hotstuff2_sync::hash::Hash;

/// A chain's genesis and the validators of its epochs, one more than the chain needs: its last block may name it. Epochs are
/// worked out when they are asked for.
#[derive(Clone, Debug)]
pub struct Committee {
    spec: ChainSpec,
    genesis: Genesis,
    roster: Roster,
    epochs: Vec<OnceLock<Option<Sitting>>>,
}

/// An epoch with its keys, and as headers are checked against.
#[derive(Clone, Debug)]
struct Sitting {
    signing: SigningEpoch,
    context: EpochContext,
}

impl Committee {
    /// The committee of a chain of `spec`, whose shape (epochs, heights, validators) counts; blocks come from agreement.
    ///
    /// # Errors
    /// Where there is no such chain.
    pub fn new(spec: ChainSpec) -> Result<Self, SpecError> {
        Self::beginning_with(spec, constant_root())
    }

    /// The same for a chain that begins with the state that has this root.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn beginning_with(spec: ChainSpec, state_root: Hash) -> Result<Self, SpecError> {
        spec.check()?;
        let roster = Roster::of(&spec);
        let first = roster.epoch(Epoch::ZERO, spec.epoch_range(Epoch::ZERO))?;
        let genesis = GenesisDocument {
            version: Version,
            name: spec.name.clone(),
            timestamp: UnixMillis::new(spec.last_timestamp.get()),
            validators: first.info().validators().validators().to_vec(),
            last_height: first.info().range().last(),
            state_root,
            trusting_period_ms: None,
            snapshot_interval: spec.snapshot_interval,
        }
        .check()?;
        let many = usize::try_from(spec.epochs.saturating_add(1)).unwrap_or(usize::MAX);
        Ok(Self { epochs: vec![OnceLock::new(); many], spec, genesis, roster })
    }

    fn sitting(&self, epoch: Epoch) -> Option<&Sitting> {
        let place = self.epochs.get(usize::try_from(epoch.get()).ok()?)?;
        let work_out = || {
            let signing = self.roster.epoch(epoch, self.range(epoch)?).ok()?;
            let context = EpochContext::new(&self.genesis, signing.info().clone());
            Some(Sitting { signing, context })
        };
        place.get_or_init(work_out).as_ref()
    }

    fn range(&self, epoch: Epoch) -> Option<HeightRange> {
        if epoch.get() < self.spec.epochs {
            return Some(self.spec.epoch_range(epoch));
        }
        let last = self.spec.epoch_range(Epoch::new(self.spec.epochs.saturating_sub(1))).last();
        // Longer than whatever replicas do beyond the tip while others come after.
        HeightRange::new(last.next(), last.plus(self.spec.blocks).plus(1000))
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
    pub fn epochs(&self) -> impl Iterator<Item = &SigningEpoch> {
        (0..self.epochs.len() as u64).filter_map(|epoch| Some(&self.sitting(Epoch::new(epoch))?.signing))
    }

    /// The epoch as headers are checked against; `None` behind the last.
    pub fn context(&self, epoch: Epoch) -> Option<&EpochContext> {
        Some(&self.sitting(epoch)?.context)
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
        self.epochs().map(|epoch| epoch.info().validators()).all(|set| power(set, keys) * 3 < set.total_power())
    }
}

/// The power that `keys` hold in `set`, each counted once.
pub(super) fn power<'a>(set: &ValidatorSet, keys: impl IntoIterator<Item = &'a ValidatorKey>) -> u128 {
    let indices: std::collections::BTreeSet<usize> = keys.into_iter().filter_map(|key| set.index_of(key)).collect();
    indices.iter().filter_map(|&index| set.validators().get(index)).map(|member| u128::from(member.power)).sum()
}
