//! [`Roster`]: who the validators of each epoch are, with their secret keys.
//!
//! Everything follows from a seed. The keys are for tests and demonstrations: whoever knows the seed holds them all.

use ed25519_dalek::SigningKey;
use hotstuff2_sync::chain::native::{
    EpochInfo, Header, Phase, QuorumCertificate, Validator, ValidatorKey, ValidatorSet, ValidatorSetError, build,
};
use hotstuff2_sync::hash::{Context, Hash};
use hotstuff2_sync::ids::Epoch;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::rng::Rng;

use super::spec::{ChainSpec, Turnover};

static SECRET: Context = Context::new("hotstuff2-sync testkit v1 validator secret");
static POWER: Context = Context::new("hotstuff2-sync testkit v1 validator power");

/// Powers lie between this and twice this: different enough that counting heads gives other quorums than counting
/// power, and equal enough that no few validators decide alone.
const LEAST_POWER: u64 = 100;

/// The validators of all epochs.
#[derive(Clone, Debug)]
pub struct Roster {
    seed: u64,
    validators: u64,
    turnover: Turnover,
}

impl Roster {
    /// Those of a chain of `spec`.
    pub const fn of(spec: &ChainSpec) -> Self {
        Self { seed: spec.seed, validators: spec.validators, turnover: spec.turnover }
    }

    /// The validators of `epoch`, which decides the heights in `range`. Some of those of the epoch before may be gone, as
    /// many are new then, and those that stayed have other powers.
    pub fn epoch(&self, epoch: Epoch, range: HeightRange) -> Result<SigningEpoch, ValidatorSetError> {
        let first = self.turnover.before(epoch, self.validators);
        let mut keys: Vec<SigningKey> = (first..first.saturating_add(self.validators))
            .map(|place| self.secret(self.turnover.member(place, self.validators)))
            .collect();
        keys.sort_by_cached_key(|key| ValidatorKey::from(key));
        let validators = keys
            .iter()
            .map(|key| {
                let key = ValidatorKey::from(key);
                Validator { key, power: power(&key, epoch) }
            })
            .collect();
        let info = EpochInfo::new(epoch, range, ValidatorSet::new(validators)?);
        Ok(SigningEpoch { hash: info.hash(), info, keys })
    }

    /// The key of a member.
    pub fn secret(&self, member: u64) -> SigningKey {
        let name = [self.seed.to_le_bytes(), member.to_le_bytes()].concat();
        SigningKey::from_bytes(SECRET.hash(&name).as_bytes())
    }
}

fn power(key: &ValidatorKey, epoch: Epoch) -> u64 {
    let mut hasher = POWER.hasher();
    hasher.update(key.as_bytes()).update(&epoch.get().to_le_bytes());
    let low = hasher.finalize().as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    LEAST_POWER + low % (LEAST_POWER + 1)
}

/// An epoch whose validators can sign.
#[derive(Clone, Debug)]
pub struct SigningEpoch {
    info: EpochInfo,
    hash: Hash,
    keys: Vec<SigningKey>,
}

impl SigningEpoch {
    /// The epoch.
    pub fn info(&self) -> &EpochInfo {
        &self.info
    }

    /// The epoch's hash, which its headers carry.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The validators' keys, in the order of the set.
    pub fn keys(&self) -> &[SigningKey] {
        &self.keys
    }

    /// The signatures of `signers` (indices in the set) for `header`.
    pub fn sign(&self, phase: Phase, header: &Header, signers: &[usize]) -> QuorumCertificate {
        let keys = signers.iter().filter_map(|&signer| self.keys.get(signer));
        build::certify(header, phase, self.info.validators(), keys)
    }

    /// A quorum's signatures for `header`: as few validators as just pass two thirds, others for each block.
    pub fn certify(&self, phase: Phase, header: &Header) -> QuorumCertificate {
        self.sign(phase, header, &self.quorum_for(header))
    }

    /// Indices of validators that together hold just more than two thirds of the power, chosen by the block's height.
    fn quorum_for(&self, header: &Header) -> Vec<usize> {
        let set = self.info.validators();
        let mut rng = Rng::new(header.height.get() ^ header.view.get().rotate_left(32));
        let mut indices: Vec<usize> = (0..set.count()).collect();
        let mut power: u128 = 0;
        let mut signers = Vec::new();
        while !set.is_quorum(power) && !indices.is_empty() {
            let pick = usize::try_from(rng.below(indices.len() as u64)).unwrap_or(0);
            let index = indices.swap_remove(pick);
            power += set.validators().get(index).map_or(0, |validator| u128::from(validator.power));
            signers.push(index);
        }
        signers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hotstuff2_sync::ids::Height;

    fn epoch_of(spec: &ChainSpec, number: u64) -> SigningEpoch {
        let range = HeightRange::new(Height::new(number * 10), Height::new(number * 10 + 9)).unwrap();
        Roster::of(spec).epoch(Epoch::new(number), range).unwrap()
    }

    #[test]
    fn a_set_changes_as_often_as_its_chain_says() {
        let turnover = Turnover::Some { replaced: 2, epochs: 10 };
        let spec = ChainSpec { validators: 20, turnover, ..ChainSpec::default() };
        let first = epoch_of(&spec, 0);
        let stayed = |number| {
            let set = epoch_of(&spec, number);
            let keys = set.info().validators().validators();
            keys.iter().filter(|validator| first.info().validators().index_of(&validator.key).is_some()).count()
        };
        assert_eq!([0, 9, 10, 19, 20, 95].map(stayed), [20, 20, 18, 18, 16, 2]);
    }

    fn epoch(number: u64, validators: u64) -> SigningEpoch {
        epoch_of(&ChainSpec { seed: 7, validators, ..ChainSpec::default() }, number)
    }

    #[test]
    fn sets_change_by_some_members_and_powers() {
        let (one, two) = (epoch(1, 21), epoch(2, 21));
        let (one, two) = (one.info().validators(), two.info().validators());
        let stayed: Vec<_> = one
            .validators()
            .iter()
            .filter_map(|v| two.index_of(&v.key).map(|at| (v.power, two.validators()[at].power)))
            .collect();
        assert_eq!((stayed.len(), two.count()), (18, 21));
        assert!(stayed.iter().any(|(before, after)| before != after));
        assert!(one.validators().windows(2).any(|pair| pair[0].power != pair[1].power));
        assert_eq!(epoch(1, 1).info().validators().count(), 1);
    }

    #[test]
    fn keys_are_in_the_order_of_the_set() {
        let epoch = epoch(3, 10);
        let set = epoch.info().validators().validators().iter().map(|validator| validator.key);
        assert!(set.eq(epoch.keys().iter().map(ValidatorKey::from)));
    }
}
