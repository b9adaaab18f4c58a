//! [`RollCall`]: what validators say of themselves in answer to one question, counted by power.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::chain::AdvertFacts;
use crate::hash::Hash;
use crate::ids::{Height, View};
use crate::limits::MAX_VALIDATORS;
use crate::participation::HighCertificate;
use crate::time::UnixMillis;

/// The words of the validators of one set that answer one challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RollCall {
    challenge: Hash,
    words: BTreeMap<Hash, Word>,
    total_power: u128,
    /// The highest certificate that any word showed.
    high: Option<HighCertificate>,
    /// Not counted: the validator that calls.
    own: Option<Hash>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Word {
    power: u64,
    /// When the newest was said.
    timestamp: UnixMillis,
    height: Height,
    /// The newest word that came with certificates: others can't displace it.
    backed: Option<Backed>,
}

/// The views that words of one validator name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Backed {
    /// The lowest, but for what goes beyond the certificates beside it.
    lowest: View,
    /// The highest, backed or not: it votes in no lower one any more.
    highest: View,
}

/// Bounds within which a validator may vote that remembers nothing of its votes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Restored {
    /// The highest view in which it can have voted.
    pub vote_above: View,
    /// The highest certificate that was shown: not below any lock that it can have held. `None` where nobody has seen one.
    pub lock: Option<HighCertificate>,
}

impl RollCall {
    /// A call by the validator `own`, whose words don't count, or by nobody, for words that answer `challenge`.
    pub fn new(own: Option<Hash>, challenge: Hash) -> Self {
        Self { own, challenge, ..Self::default() }
    }

    /// Whose words don't count.
    pub fn own(&self) -> Option<Hash> {
        self.own
    }

    /// Whose words don't count from here on.
    pub fn set_own(&mut self, own: Option<Hash>) {
        self.own = own;
        if let Some(own) = own {
            self.words.remove(&own);
        }
    }

    /// Takes a word in, unless it answers another question, or was said after `until`: the speaker's clock can't be right.
    /// The words must be of one set: begin anew with the next.
    pub fn hear(&mut self, word: AdvertFacts, until: UnixMillis) {
        if self.own == Some(word.validator) || word.challenge != self.challenge || word.timestamp > until {
            return;
        }
        // Facts come verified, so there are no more validators than a set has; the bound holds whatever comes.
        if !self.words.contains_key(&word.validator) && self.words.len() >= MAX_VALIDATORS {
            return;
        }
        self.total_power = word.total_power;
        // A lock without its certificate is not shown, and then the word tells nothing to whoever has lost one.
        let is_shown = word.lock == View::ZERO || word.certificate.is_some();
        let backed = word.backed.filter(|_| is_shown);
        let backed = backed.map(|backed| Backed { lowest: backed.min(word.view), highest: word.view });
        if let Some(bytes) = word.certificate
            && self.high.as_ref().is_none_or(|high| high.view < word.lock)
        {
            self.high = Some(HighCertificate { view: word.lock, bytes });
        }
        let new = Word { power: word.power, timestamp: word.timestamp, height: word.height, backed };
        let known = self.words.entry(word.validator).or_insert(new);
        let merged = match (known.backed, backed) {
            (Some(one), Some(other)) => {
                let (lowest, highest) = (one.lowest.min(other.lowest), one.highest.max(other.highest));
                Some(Backed { lowest, highest })
            }
            (one, other) => one.or(other),
        };
        if known.timestamp <= new.timestamp {
            *known = new;
        }
        known.backed = merged;
    }

    /// Forgets everything, as when another set is in force.
    pub fn clear(&mut self) {
        *self = Self::new(self.own, self.challenge);
    }

    /// Whether validators with more than two thirds of the power, this one included where `own_power` is its, have said
    /// since `since` that they know of no final block above `height`.
    pub fn nothing_above(&self, height: Height, own_power: u64, since: UnixMillis) -> bool {
        let timely = self.words.values().filter(|word| word.timestamp >= since && word.height <= height);
        self.is_quorum(timely.fold(u128::from(own_power), |sum, word| sum.saturating_add(u128::from(word.power))))
    }

    /// Bounds of voting where all that is known of earlier votes is this, by promise 7 of the native chain's voters.
    ///
    /// Before this validator was in view x, a quorum finished view x - 1: voted in it for a block, or gave it up. Some honest
    /// validator is in that quorum and in every other. Whoever finished x - 1 has been in it, but need not have left it: the
    /// certificate that ends it may have reached this validator alone. So the lowest views that a quorum backs reach up to
    /// x - 1, and x is at most the one above.
    ///
    /// That alone is not enough: a block that this validator once voted for may get the rest of its votes only now, from those
    /// who have not left x. So a quorum must have left all those views behind. Then of each certificate in them some honest
    /// signer has shown a lock at least as high.
    pub fn restored(&self) -> Option<Restored> {
        let words = self.words.values().filter_map(|word| Some((word.backed?, u128::from(word.power))));
        let mut reached: Vec<(View, u128)> = words.clone().map(|(backed, power)| (backed.lowest, power)).collect();
        reached.sort_unstable();
        let mut sum = 0u128;
        let floor = reached.into_iter().find(|(_, power)| {
            sum = sum.saturating_add(*power);
            self.is_quorum(sum)
        });
        let vote_above = floor?.0.next();
        let beyond = words.filter(|(backed, _)| backed.highest > vote_above);
        let beyond = beyond.fold(0u128, |sum, (_, power)| sum.saturating_add(power));
        self.is_quorum(beyond).then(|| Restored { vote_above, lock: self.high.clone() })
    }

    /// Whether `power` is strictly more than two thirds of the set's. Of an unknown set nothing is.
    fn is_quorum(&self, power: u128) -> bool {
        self.total_power > 0 && power.saturating_mul(3) > self.total_power.saturating_mul(2)
    }
}
