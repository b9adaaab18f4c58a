//! The tree in memory: binary nodes with their hashes, and links to the pages that are only in the store. It trusts its
//! caller to have checked every hash that came from a store.

use alloc::boxed::Box;

use super::digest::{PLACEHOLDER, bit, internal_hash, leaf_hash};
use crate::hash::Hash;

/// A subtree. What a parent needs of it is kept beside the link, so that a change visits the nodes on its path only: most
/// of the time of a change goes into waiting for memory.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) hash: Hash,
    pub(super) leaves: u64,
    pub(super) link: Link,
}

#[derive(Clone, Debug)]
pub(super) enum Link {
    Empty,
    Leaf(Box<Leaf>),
    Internal(Box<Internal>),
    /// A page that has not been read, or has been forgotten.
    Stored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) key_hash: Hash,
    pub(super) value_hash: Hash,
}

/// Two leaves or more.
#[derive(Clone, Debug)]
pub(super) struct Internal {
    pub(super) left: Child,
    pub(super) right: Child,
    /// Something in this subtree is newer than what was last handed out to be written.
    pub(super) dirty: bool,
    /// A page with this node as its top was read from the store, or handed out to be written to it.
    pub(super) stored: bool,
}

impl Child {
    pub(super) const EMPTY: Self = Self { hash: PLACEHOLDER, leaves: 0, link: Link::Empty };

    pub(super) fn leaf(leaf: Leaf) -> Self {
        Self { hash: leaf_hash(&leaf.key_hash, &leaf.value_hash), leaves: 1, link: Link::Leaf(Box::new(leaf)) }
    }

    pub(super) fn internal(left: Self, right: Self, dirty: bool) -> Self {
        let leaves = left.leaves.saturating_add(right.leaves);
        let hash = internal_hash(&left.hash, &right.hash);
        Self { hash, leaves, link: Link::Internal(Box::new(Internal { left, right, dirty, stored: false })) }
    }

    /// The new subtree at `depth` over `leaves`, which ascend strictly by key hash and share their first `depth` bits.
    pub(super) fn build(leaves: &[Leaf], depth: u16) -> Self {
        match leaves {
            [] => Self::EMPTY,
            [leaf] => Self::leaf(*leaf),
            _ => {
                let (left, right) = leaves.split_at(leaves.partition_point(|leaf| !bit(&leaf.key_hash, depth)));
                let below = depth.saturating_add(1);
                Self::internal(Self::build(left, below), Self::build(right, below), true)
            }
        }
    }

    /// What of the subtree is in memory, counted.
    pub(super) fn residence(&self) -> Residence {
        match &self.link {
            Link::Empty => Residence { leaves: 0, pages_away: 0 },
            Link::Leaf(_) => Residence { leaves: 1, pages_away: 0 },
            Link::Stored => Residence { leaves: 0, pages_away: 1 },
            Link::Internal(node) => {
                let (left, right) = (node.left.residence(), node.right.residence());
                Residence {
                    leaves: left.leaves.saturating_add(right.leaves),
                    pages_away: left.pages_away.saturating_add(right.pages_away),
                }
            }
        }
    }
}

/// How much of a tree is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Residence {
    /// Leaves in memory.
    pub(super) leaves: u64,
    /// Links to pages that are only in the store.
    pub(super) pages_away: u64,
}
