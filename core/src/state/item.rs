//! Items of the state walk: subtrees by place and hash. Any peer that holds a subtree with that hash at that place
//! can give it, whatever height it stands at, and the answer proves itself.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::prefix::Prefix;
use crate::hash::Hash;

/// A subtree: where it is and what it must hash to. An empty one has the hash [`super::PLACEHOLDER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StateItem {
    /// The place.
    pub prefix: Prefix,
    /// The hash of the subtree there.
    pub hash: Hash,
}

/// In which form subtrees are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StateForm {
    /// All keys and values below.
    Leaves,
    /// The tree down to so many bits below the place, its lower subtrees named by their hashes.
    Tree {
        /// Bits, 1 to [`super::MAX_TREE_DEPTH`].
        depth: u8,
    },
}

/// A subtree that was verified in full: its records, by key hash in ascending order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StateLeaves {
    /// The subtree.
    pub item: StateItem,
    /// The hash of each key, and its [`super::Record`] as the store keeps it.
    pub records: Vec<(Hash, Bytes)>,
}

impl StateLeaves {
    /// Bytes of the records.
    pub fn bytes(&self) -> u64 {
        let sum =
            |sum: u64, (_, record): &(Hash, Bytes)| sum.saturating_add(u64::try_from(record.len()).unwrap_or(u64::MAX));
        self.records.iter().fold(0, sum)
    }
}
