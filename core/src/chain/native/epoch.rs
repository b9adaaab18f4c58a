//! An epoch: a validator set and the heights at which it decides.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::codec::{self, Version};
use super::validators::{Validator, ValidatorSet, check_listing};
use crate::chain::{EpochRef, Fault};
use crate::hash::{Context, Hash};
use crate::ids::{Epoch, Height};
use crate::limits::MAX_VALIDATORS;
use crate::ranges::HeightRange;

static EPOCH: Context = Context::new("hotstuff2-sync v1 epoch");

/// Largest encoded epoch, in bytes: [`MAX_VALIDATORS`] of a key and a power each, and three numbers.
pub const MAX_EPOCH_BYTES: usize = MAX_VALIDATORS * (32 + 10) + 64;

/// An epoch's number, heights and validators. Its hash is what headers name; the last height is fixed from the start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EpochInfo {
    epoch: Epoch,
    range: HeightRange,
    validators: ValidatorSet,
}

/// An epoch whose keys have not been looked at: cheap to have, whatever somebody made up.
pub(super) struct ClaimedEpoch {
    pub(super) epoch: Epoch,
    pub(super) range: HeightRange,
    /// In ascending order of the keys, each once, none without power.
    pub(super) validators: Vec<Validator>,
}

impl ClaimedEpoch {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let wire: Wire = codec::decode(bytes, MAX_EPOCH_BYTES)?;
        let range = HeightRange::new(wire.first_height, wire.last_height).ok_or(Fault::BadEpoch)?;
        check_listing(&wire.validators).map_err(|_| Fault::BadValidatorSet)?;
        Ok(Self { epoch: wire.epoch, range, validators: wire.validators })
    }

    /// Decodes the keys, but for those that `before` holds.
    pub(super) fn check(self, before: Option<&ValidatorSet>) -> Result<EpochInfo, Fault> {
        let Self { epoch, range, validators } = self;
        let set = match before {
            Some(before) => ValidatorSet::new_after(before, validators),
            None => ValidatorSet::new(validators),
        };
        Ok(EpochInfo { epoch, range, validators: set.map_err(|_| Fault::BadValidatorSet)? })
    }
}

/// The encoding of an epoch.
#[derive(Serialize, Deserialize)]
struct Wire {
    version: Version,
    epoch: Epoch,
    first_height: Height,
    last_height: Height,
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_VALIDATORS>")]
    validators: Vec<Validator>,
}

impl EpochInfo {
    /// The epoch `epoch`, in which `validators` decide the heights in `range`.
    pub fn new(epoch: Epoch, range: HeightRange, validators: ValidatorSet) -> Self {
        Self { epoch, range, validators }
    }

    /// The epoch's number.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// All heights of the epoch.
    pub fn range(&self) -> HeightRange {
        self.range
    }

    /// The validators that decide in the epoch.
    pub fn validators(&self) -> &ValidatorSet {
        &self.validators
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&Wire {
            version: Version,
            epoch: self.epoch,
            first_height: self.range.first(),
            last_height: self.range.last(),
            validators: self.validators.validators().to_vec(),
        })
    }

    /// Decodes and checks an epoch.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        ClaimedEpoch::decode(bytes)?.check(None)
    }

    /// The hash that headers of this epoch carry.
    pub fn hash(&self) -> Hash {
        Self::hash_of(&self.encode())
    }

    /// The hash of an epoch by its encoding, before anything in it is believed.
    pub fn hash_of(encoded: &[u8]) -> Hash {
        EPOCH.hash(encoded)
    }

    /// This epoch as the machine holds it. For epochs that the host trusts.
    pub fn to_ref(&self) -> EpochRef {
        EpochRef::trusted(self.epoch, self.range, self.encode().into())
    }
}
