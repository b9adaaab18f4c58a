//! [`RollCall`]: what validators say of themselves, counted by power.

use alloc::collections::BTreeMap;

use crate::chain::AdvertFacts;
use crate::hash::Hash;
use crate::ids::Height;
use crate::limits::MAX_VALIDATORS;
use crate::time::UnixMillis;

/// The newest word of each validator of one set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RollCall {
    words: BTreeMap<Hash, AdvertFacts>,
    /// Not counted: the validator that calls.
    own: Option<Hash>,
}

impl RollCall {
    /// A call by the validator `own`, whose words don't count; by nobody's where this node is no validator.
    pub fn new(own: Option<Hash>) -> Self {
        Self { words: BTreeMap::new(), own }
    }

    /// Whose words don't count from here on.
    pub fn set_own(&mut self, own: Option<Hash>) {
        self.own = own;
        if let Some(own) = own {
            self.words.remove(&own);
        }
    }

    /// Takes a word in, if it is newer than the one before of the same validator. The words must be of one set: begin anew
    /// with the next.
    pub fn hear(&mut self, word: AdvertFacts) {
        if self.own == Some(word.validator) {
            return;
        }
        let known = self.words.get(&word.validator);
        // Facts come verified, so there are no more validators than a set has; the bound holds whatever comes.
        let has_room = known.is_some() || self.words.len() < MAX_VALIDATORS;
        if has_room && known.is_none_or(|known| (known.timestamp, known.view) <= (word.timestamp, word.view)) {
            self.words.insert(word.validator, word);
        }
    }

    /// Forgets everything, as when another set is in force.
    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// Whether validators with more than two thirds of the power, this one included where `own_power` is its, have said
    /// since `since` that they know of no final block above `height`. A word from beyond `until` counts for nothing: its
    /// clock can't be right.
    pub fn nothing_above(&self, height: Height, own_power: u64, since: UnixMillis, until: UnixMillis) -> bool {
        let timely = |word: &&AdvertFacts| word.timestamp >= since && word.timestamp <= until;
        let power = self.words.values().filter(timely).filter(|word| word.height <= height);
        let power = power.fold(u128::from(own_power), |sum, word| sum.saturating_add(u128::from(word.power)));
        self.is_quorum(power)
    }

    /// Whether `power` is strictly more than two thirds of the set's.
    fn is_quorum(&self, power: u128) -> bool {
        let Some(total) = self.words.values().next().map(|word| word.total_power) else { return false };
        power.saturating_mul(3) > total.saturating_mul(2)
    }
}
