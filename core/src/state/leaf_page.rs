//! [`LeafPage`]: a page at the bottom of the tree, kept as the leaves in it. Nodes of their own would take four times the
//! memory, and most of a large state is in such pages. It trusts its caller to give leaves that belong under its place.

use alloc::vec::Vec;

use super::digest::{PLACEHOLDER, bit, common_prefix, internal_hash, leaf_hash};
use super::node::Leaf;
use super::page::{NIBBLE, PAGE_LEAVES, is_page};
use crate::hash::Hash;

/// A change of one key: what its value hashes to from now on, or `None` where it is deleted.
pub(super) type Change = (Hash, Option<Hash>);

/// Changes between two writes from which on a page is hot: the hashes in it are kept, so that the next change of a value
/// computes those on its way alone.
const HOT_CHANGES: u8 = 2;

/// A page without pages below it: 5 to 64 leaves.
#[derive(Clone, Debug)]
pub(super) struct LeafPage {
    /// In ascending order of their keys.
    leaves: Vec<Leaf>,
    /// Of a hot page: the hash of each leaf.
    leaf_hashes: Vec<Hash>,
    /// Of a hot page: the hash of each node with leaves on both sides, by the first leaf on its right, of the chain of
    /// nodes that leads to it from where it parts from others.
    node_hashes: Vec<Hash>,
    /// The page is newer than when it was last handed out to be written.
    pub(super) dirty: bool,
    /// The page was read from the store, or handed out to be written to it.
    pub(super) stored: bool,
    /// Changes since it was written, or since somebody looked whether there were any.
    changes: u8,
}

/// Outcome of a change of a page.
pub(super) enum Changed {
    /// Nothing differs.
    Same,
    /// The page's hash from now on.
    Hash(Hash),
    /// These leaves make no such page any more.
    Outgrown(Vec<Leaf>),
}

impl LeafPage {
    /// Whether `leaves`, in ascending order, at `depth` are one page without pages below it.
    pub(super) fn fits(leaves: &[Leaf], depth: u16) -> bool {
        let below = depth.saturating_add(NIBBLE);
        let group = usize::try_from(PAGE_LEAVES).unwrap_or(usize::MAX).saturating_add(1);
        let parted = |leaves: &[Leaf]| match leaves {
            [first, .., last] => common_prefix(&first.key_hash, &last.key_hash) < below,
            _ => true,
        };
        depth > 0 && is_page(depth, leaves.len() as u64) && leaves.windows(group).all(parted)
    }

    /// A new page of `leaves`, which [fit](Self::fits), and its hash.
    pub(super) fn new(leaves: Vec<Leaf>, depth: u16) -> (Self, Hash) {
        let hash = hash(&leaves, depth);
        (Self::known(leaves, true, false), hash)
    }

    /// The page of `leaves`, which [fit](Self::fits), whose hash is known.
    pub(super) fn known(leaves: Vec<Leaf>, dirty: bool, stored: bool) -> Self {
        let changes = u8::from(dirty);
        Self { leaves, leaf_hashes: Vec::new(), node_hashes: Vec::new(), dirty, stored, changes }
    }

    /// The leaves, in ascending order of their keys.
    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// How many hashes are kept beside the leaves.
    pub(super) fn kept_hashes(&self) -> usize {
        self.leaf_hashes.len().saturating_add(self.node_hashes.len())
    }

    /// Applies `changes`, which ascend strictly.
    pub(super) fn change(&mut self, depth: u16, changes: &[Change]) -> Changed {
        let place = |key_hash: &Hash| self.leaves.binary_search_by(|leaf| leaf.key_hash.cmp(key_hash));
        if changes.iter().any(|(key_hash, value)| place(key_hash).is_ok() != value.is_some()) {
            let leaves = merge(&self.leaves, changes);
            if !Self::fits(&leaves, depth) {
                return Changed::Outgrown(leaves);
            }
            self.leaves = leaves;
            self.forget_hashes();
            return Changed::Hash(self.changed(depth, &[]));
        }
        let mut changed = Vec::with_capacity(changes.len());
        for (key_hash, value) in changes {
            let index = self.leaves.partition_point(|leaf| leaf.key_hash < *key_hash);
            if let (Some(leaf), Some(value)) = (self.leaves.get_mut(index), value)
                && leaf.value_hash != *value
            {
                leaf.value_hash = *value;
                changed.push(index);
            }
        }
        if changed.is_empty() { Changed::Same } else { Changed::Hash(self.changed(depth, &changed)) }
    }

    /// The hash after the leaves at `changed` have other values; all of them where no hashes are kept.
    fn changed(&mut self, depth: u16, changed: &[usize]) -> Hash {
        self.dirty = true;
        self.changes = self.changes.saturating_add(1);
        if self.changes < HOT_CHANGES && self.leaf_hashes.is_empty() {
            return hash(&self.leaves, depth);
        }
        let all: Vec<usize>;
        let changed = if self.leaf_hashes.is_empty() {
            let count = self.leaves.len();
            self.leaf_hashes = alloc::vec![Hash::ZERO; count];
            self.node_hashes = alloc::vec![Hash::ZERO; count.saturating_sub(1)];
            all = (0..count).collect();
            &all
        } else {
            changed
        };
        let part = Part { leaves: &self.leaves, first: 0, changed };
        part.rehash(depth, &mut self.leaf_hashes, &mut self.node_hashes)
    }

    /// Marks the page as handed out to be written: hashes that only a hot page needs are forgotten where it isn't
    /// one.
    pub(super) fn written(&mut self) {
        (self.dirty, self.stored) = (false, true);
        if self.changes < HOT_CHANGES {
            self.forget_hashes();
        }
        self.changes = self.changes.min(1);
    }

    /// Whether it was changed since this was asked last.
    pub(super) fn take_touched(&mut self) -> bool {
        core::mem::take(&mut self.changes) > 0
    }

    fn forget_hashes(&mut self) {
        self.leaf_hashes = Vec::new();
        self.node_hashes = Vec::new();
    }
}

/// `leaves` after `changes`; both ascend strictly.
pub(super) fn merge(leaves: &[Leaf], changes: &[Change]) -> Vec<Leaf> {
    let mut merged = Vec::with_capacity(leaves.len().saturating_add(changes.len()));
    let mut rest = leaves;
    for (key_hash, value) in changes {
        let (before, from) = rest.split_at(rest.partition_point(|leaf| leaf.key_hash < *key_hash));
        merged.extend_from_slice(before);
        merged.extend(value.map(|value_hash| Leaf { key_hash: *key_hash, value_hash }));
        rest = match from.split_first() {
            Some((leaf, after)) if leaf.key_hash == *key_hash => after,
            _ => from,
        };
    }
    merged.extend_from_slice(rest);
    merged.shrink_to_fit();
    merged
}

/// The hash of the subtree at `depth` over `leaves`, which ascend strictly and share their first `depth` bits.
fn hash(leaves: &[Leaf], depth: u16) -> Hash {
    match leaves {
        [] => PLACEHOLDER,
        [leaf] => leaf_hash(&leaf.key_hash, &leaf.value_hash),
        [first, .., last] => {
            let parted = common_prefix(&first.key_hash, &last.key_hash);
            let (left, right) = leaves.split_at(leaves.partition_point(|leaf| !bit(&leaf.key_hash, parted)));
            let below = parted.saturating_add(1);
            lift(internal_hash(&hash(left, below), &hash(right, below)), &first.key_hash, depth, parted)
        }
    }
}

/// The hash at `depth` of a subtree that has `hash` at `parted` and nothing beside its way there, which is that of `key`.
fn lift(hash: Hash, key: &Hash, depth: u16, parted: u16) -> Hash {
    (depth..parted).rev().fold(hash, |hash, depth| {
        if bit(key, depth) { internal_hash(&PLACEHOLDER, &hash) } else { internal_hash(&hash, &PLACEHOLDER) }
    })
}

/// Some neighbouring leaves of a hot page.
struct Part<'a> {
    leaves: &'a [Leaf],
    /// The place of the first in the page.
    first: usize,
    /// Those of them that have other values than their hashes, by their place in the page, ascending.
    changed: &'a [usize],
}

impl Part<'_> {
    /// The hash at `depth`, with the hashes in it brought up to date.
    fn rehash(&self, depth: u16, leaf_hashes: &mut [Hash], node_hashes: &mut [Hash]) -> Hash {
        let [first, .., last] = self.leaves else {
            let (Some(leaf), Some(kept)) = (self.leaves.first(), leaf_hashes.first_mut()) else { return PLACEHOLDER };
            if !self.changed.is_empty() {
                *kept = leaf_hash(&leaf.key_hash, &leaf.value_hash);
            }
            return *kept;
        };
        let parted = common_prefix(&first.key_hash, &last.key_hash);
        let middle = self.leaves.partition_point(|leaf| !bit(&leaf.key_hash, parted));
        let (left_nodes, nodes) = node_hashes.split_at_mut(middle.saturating_sub(1));
        let Some((kept, right_nodes)) = nodes.split_first_mut() else { return PLACEHOLDER };
        if self.changed.is_empty() {
            return *kept;
        }
        let (left, right) = self.leaves.split_at(middle);
        let second = self.first.saturating_add(middle);
        let (changed_left, changed_right) =
            self.changed.split_at(self.changed.partition_point(|&index| index < second));
        let (left_leaves, right_leaves) = leaf_hashes.split_at_mut(middle);
        let (left, right) = (
            Part { leaves: left, first: self.first, changed: changed_left },
            Part { leaves: right, first: second, changed: changed_right },
        );
        let below = parted.saturating_add(1);
        let both = internal_hash(
            &left.rehash(below, left_leaves, left_nodes),
            &right.rehash(below, right_leaves, right_nodes),
        );
        *kept = lift(both, &first.key_hash, depth, parted);
        *kept
    }
}
