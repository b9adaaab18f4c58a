//! A validator set: who may vote, with which power, and how much of it is a quorum.
//!
//! Every value of [`ValidatorSet`] is valid. Its one order (ascending keys) makes an index in a bitmap mean the same
//! validator everywhere, and makes equal sets encode, and so hash, equally.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use curve25519_dalek::edwards::EdwardsPoint;
use serde::{Deserialize, Serialize};

use super::key_points::KeyPoints;
use super::signature::ValidatorKey;
use crate::limits::MAX_VALIDATORS;

/// A member of a validator set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Validator {
    /// The key it votes with.
    pub key: ValidatorKey,
    /// Its voting power; not zero.
    pub power: u64,
}

/// Between one and [`MAX_VALIDATORS`] validators in ascending order of their keys.
///
/// Two sets are equal where their validators are. The keys are decoded once, when the set is made, and shared by clones.
#[derive(Clone, Debug)]
pub struct ValidatorSet {
    validators: Vec<Validator>,
    total: u128,
    keys: KeyPoints,
}

impl PartialEq for ValidatorSet {
    fn eq(&self, other: &Self) -> bool {
        self.validators == other.validators
    }
}

impl Eq for ValidatorSet {}

impl Hash for ValidatorSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.validators.hash(state);
    }
}

/// Why validators don't form a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorSetError {
    /// No validator at all: nobody could form a quorum.
    #[error("a validator set needs at least one validator")]
    Empty,
    /// More than [`MAX_VALIDATORS`].
    #[error("{0} validators are more than the protocol's {MAX_VALIDATORS}")]
    TooMany(usize),
    /// A validator without power.
    #[error("validator {0} has no voting power: give it some or leave it out")]
    ZeroPower(usize),
    /// A key is listed twice.
    #[error("validator {0} has the same key as the one before it: list each key once, with all of its power")]
    DuplicateKey(usize),
    /// Keys aren't in ascending order.
    #[error("validator {0} is out of place: list validators in ascending order of their keys")]
    NotAscending(usize),
    /// Not the one encoding of a point on the curve.
    #[error("the key of validator {0} is no canonical Ed25519 public key")]
    InvalidKey(usize),
    /// A point of small order, for which one signature can hold for many messages.
    #[error("the key of validator {0} is weak: it has small order, and proves nothing")]
    WeakKey(usize),
}

impl ValidatorSet {
    /// Checks `validators`, which must be in ascending order of their keys.
    pub fn new(validators: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        check_listing(&validators)?;
        // Last: everything above costs nothing beside decoding a point.
        let points = validators.iter().enumerate().map(|(index, validator)| decode_key(&validator.key, index));
        let keys = KeyPoints::new(points.collect::<Result<_, _>>()?);
        let total = sum(validators.iter());
        Ok(Self { validators, total, keys })
    }

    /// The same where `before`, a set that most of the keys are known from, is at hand: only the others are decoded, as
    /// few validators change from epoch to epoch.
    pub(super) fn new_after(before: &Self, validators: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        check_listing(&validators)?;
        let keys = if before.validators.iter().map(|known| &known.key).eq(validators.iter().map(|new| &new.key)) {
            before.keys.clone()
        } else {
            let points = validators.iter().enumerate().map(|(index, validator)| {
                let known = before.index_of(&validator.key).and_then(|place| before.keys.get(place));
                known.map_or_else(|| decode_key(&validator.key, index), Ok)
            });
            KeyPoints::new(points.collect::<Result<_, _>>()?)
        };
        let total = sum(validators.iter());
        Ok(Self { validators, total, keys })
    }

    /// Sorts `validators` first; for whoever makes a set.
    pub fn sorted(mut validators: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        validators.sort_by_key(|validator| validator.key);
        Self::new(validators)
    }

    /// The validators, in ascending order of their keys.
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// How many validators there are: at least one, at most [`MAX_VALIDATORS`].
    pub fn count(&self) -> usize {
        self.validators.len()
    }

    /// Position of `key` in the set.
    pub fn index_of(&self, key: &ValidatorKey) -> Option<usize> {
        self.validators.binary_search_by_key(key, |validator| validator.key).ok()
    }

    /// The keys as points, in the order of the validators.
    pub(super) fn keys(&self) -> &KeyPoints {
        &self.keys
    }

    /// The power of all validators together. 4,096 powers of 64 bits stay below 2^76.
    pub fn total_power(&self) -> u128 {
        self.total
    }

    /// Whether `power` is strictly more than two thirds of the total.
    pub fn is_quorum(&self, power: u128) -> bool {
        // Saturation would need a total above 2^126.
        power.saturating_mul(3) > self.total.saturating_mul(2)
    }
}

/// All rules of a set but those of single keys: of bounded work, without decoding a point.
pub(super) fn check_listing(validators: &[Validator]) -> Result<(), ValidatorSetError> {
    if validators.is_empty() {
        return Err(ValidatorSetError::Empty);
    }
    if validators.len() > MAX_VALIDATORS {
        return Err(ValidatorSetError::TooMany(validators.len()));
    }
    let mut before: Option<&ValidatorKey> = None;
    for (index, validator) in validators.iter().enumerate() {
        if validator.power == 0 {
            return Err(ValidatorSetError::ZeroPower(index));
        }
        if before == Some(&validator.key) {
            return Err(ValidatorSetError::DuplicateKey(index));
        }
        if before > Some(&validator.key) {
            return Err(ValidatorSetError::NotAscending(index));
        }
        before = Some(&validator.key);
    }
    Ok(())
}

/// The power of `validators` together.
pub(crate) fn sum<'a>(validators: impl Iterator<Item = &'a Validator>) -> u128 {
    validators.fold(0, |total, validator| total.saturating_add(u128::from(validator.power)))
}

fn decode_key(key: &ValidatorKey, index: usize) -> Result<EdwardsPoint, ValidatorSetError> {
    let point =
        ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| ValidatorSetError::InvalidKey(index))?;
    if !is_reduced(key.as_bytes()) {
        return Err(ValidatorSetError::InvalidKey(index));
    }
    if point.is_weak() {
        return Err(ValidatorSetError::WeakKey(index));
    }
    Ok(point.to_edwards())
}

/// Whether the y coordinate in an encoded point is below the field's prime 2^255 - 19. Decoding takes it modulo the
/// prime, so a few points have two encodings. (The other kind of second encoding, a sign on x = 0, exists for points of
/// small order only.)
fn is_reduced(encoded: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = encoded;
    !(*low >= 0xed && middle.iter().all(|byte| *byte == 0xff) && high & 0x7f == 0x7f)
}

impl Serialize for ValidatorSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.validators.serialize(serializer)
    }
}
