//! The tree out of its leaves in order, page by page, in memory that doesn't grow with the state: for a state that was
//! loaded record by record. It trusts its caller to give every leaf.
//!
//! Leaves in order fill the tree from left to right. What is open is the way to the last leaf, with a finished subtree
//! on the left of each place where the way parted; pages are cut off finished subtrees, so each of them is small.

use alloc::vec::Vec;

use super::digest::{PLACEHOLDER, bit, common_prefix};
use super::node::{Child, Leaf, Link};
use super::page::{self, PageKey, is_page};
use crate::hash::Hash;

/// Builds a tree from its leaves. [`push`](Self::push) them all, [`take_pages`](Self::take_pages) now and then, and
/// [`finish`](Self::finish): the pages and the root are those of a [`Tree`](super::Tree) with the same leaves.
#[derive(Clone, Debug, Default)]
pub struct PageBuilder {
    /// Finished subtrees on the left of the way to the last leaf, from the top down.
    left: Vec<Left>,
    last: Option<Leaf>,
    pages: Vec<(PageKey, Vec<u8>)>,
}

#[derive(Clone, Debug)]
struct Left {
    /// The depth at which the way parted: the subtree stands one below.
    depth: u16,
    subtree: Child,
}

/// Leaves don't ascend strictly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("leaf {key_hash} comes after leaf {before}: leaves must ascend strictly by key hash")]
pub struct LeafOrderError {
    /// The leaf that came first.
    pub before: Hash,
    /// The one that came next.
    pub key_hash: Hash,
}

/// A subtree that is finished, at the depth where it branches.
struct Finished {
    subtree: Child,
    depth: u16,
}

impl PageBuilder {
    /// A builder without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next leaf: the hashes of a key and of its value.
    pub fn push(&mut self, key_hash: Hash, value_hash: Hash) -> Result<(), LeafOrderError> {
        if let Some(before) = self.last {
            if before.key_hash >= key_hash {
                return Err(LeafOrderError { before: before.key_hash, key_hash });
            }
            let depth = common_prefix(&before.key_hash, &key_hash);
            let finished = self.close(before, depth.saturating_add(1));
            let subtree = self.lift(finished, depth.saturating_add(1), &before.key_hash);
            self.left.push(Left { depth, subtree });
        }
        self.last = Some(Leaf { key_hash, value_hash });
        Ok(())
    }

    /// The pages that are complete and were not taken yet, each once, in no particular order: those of subtrees come
    /// before those above.
    pub fn take_pages(&mut self) -> Vec<(PageKey, Vec<u8>)> {
        core::mem::take(&mut self.pages)
    }

    /// How many pages [`take_pages`](Self::take_pages) would return: all that grows with the number of leaves.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// The root, the number of leaves, and the last pages.
    pub fn finish(mut self) -> (Hash, u64, Vec<(PageKey, Vec<u8>)>) {
        let Some(last) = self.last else { return (PLACEHOLDER, 0, self.pages) };
        let finished = self.close(last, 0);
        let root = self.lift(finished, 0, &last.key_hash);
        (root.hash, root.leaves, self.pages)
    }

    /// Finishes what is open from `depth` down; `last` is the last leaf there.
    fn close(&mut self, last: Leaf, depth: u16) -> Finished {
        // Above its own place a leaf needs no nodes, so it branches nowhere.
        let mut finished = Finished { subtree: Child::leaf(last), depth: u16::MAX };
        while let Some(left) = self.left.pop_if(|left| left.depth >= depth) {
            let right = self.lift(finished, left.depth.saturating_add(1), &last.key_hash);
            let mut subtree = Child::internal(left.subtree, right, false);
            self.cut(&mut subtree, left.depth, &last.key_hash);
            finished = Finished { subtree, depth: left.depth };
        }
        finished
    }

    /// The subtree as it stands at `depth`: with a node for every bit that all of its keys share from there on, unless
    /// it is a leaf. All of its keys begin like `path` down to where it branches.
    fn lift(&mut self, finished: Finished, depth: u16, path: &Hash) -> Child {
        let Finished { mut subtree, depth: branching } = finished;
        if subtree.leaves > 1 {
            for depth in (depth..branching).rev() {
                let (left, right) = if bit(path, depth) { (Child::EMPTY, subtree) } else { (subtree, Child::EMPTY) };
                subtree = Child::internal(left, right, false);
                self.cut(&mut subtree, depth, path);
            }
        } else if depth == 0 {
            // A lone leaf is the root, and the root always has a page.
            self.pages.push((PageKey::ROOT, page::encode(&subtree, 0)));
        }
        subtree
    }

    /// Makes the finished node at `depth` a page, if it is the top of one.
    fn cut(&mut self, node: &mut Child, depth: u16, path: &Hash) {
        if is_page(depth, node.leaves) {
            self.pages.push((PageKey::on_path(path, depth), page::encode(node, depth)));
            node.link = Link::Stored;
        }
    }
}

#[cfg(test)]
impl PageBuilder {
    /// Leaves and links that are held in memory.
    pub(super) fn open_nodes(&self) -> u64 {
        let held = self.left.iter().map(|left| left.subtree.residence());
        held.map(|residence| (residence.leaves + residence.pages_away) as u64).sum()
    }
}
