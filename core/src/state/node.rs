//! The tree in memory: binary nodes with their hashes, pages of leaves, and links to the pages that are only in the store.
//! It trusts its caller to have checked every hash that came from a store.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::digest::{PLACEHOLDER, bit, internal_hash, leaf_hash};
use super::leaf_page::LeafPage;
use super::page::{NIBBLE, PAGE_LEAVES, PageKey, is_boundary, is_page};
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
    /// A page with leaves alone.
    Page(Box<LeafPage>),
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
    /// Something in this subtree was changed since somebody looked whether it was.
    pub(super) touched: bool,
}

/// About what a leaf takes in memory as a node, with its share of the nodes above, in bytes.
const LEAF_BYTES: usize = 250;
/// Memory of a leaf in a page of leaves, in bytes: two hashes.
const PAGED_LEAF_BYTES: usize = 64;
/// Bytes of a hash.
const HASH_BYTES: usize = 32;
/// About what a page of leaves takes beside them, in bytes.
const LEAF_PAGE_BYTES: usize = 192;
/// About what the nodes above a page take for it, in bytes.
const ABOVE_PAGE_BYTES: usize = 144;

impl Child {
    pub(super) const EMPTY: Self = Self { hash: PLACEHOLDER, leaves: 0, link: Link::Empty };

    pub(super) fn leaf(leaf: Leaf) -> Self {
        Self { hash: leaf_hash(&leaf.key_hash, &leaf.value_hash), leaves: 1, link: Link::Leaf(Box::new(leaf)) }
    }

    pub(super) fn internal(left: Self, right: Self, dirty: bool) -> Self {
        let leaves = left.leaves.saturating_add(right.leaves);
        let hash = internal_hash(&left.hash, &right.hash);
        let node = Internal { left, right, dirty, stored: false, touched: dirty };
        Self { hash, leaves, link: Link::Internal(Box::new(node)) }
    }

    /// The new subtree at `depth` over `leaves`, which ascend strictly by key hash and share their first `depth` bits.
    pub(super) fn build(leaves: &[Leaf], depth: u16) -> Self {
        match leaves {
            [] => Self::EMPTY,
            [leaf] => Self::leaf(*leaf),
            _ if is_boundary(depth) && LeafPage::fits(leaves, depth) => {
                let (page, hash) = LeafPage::new(leaves.to_vec(), depth);
                Self { hash, leaves: leaves.len() as u64, link: Link::Page(Box::new(page)) }
            }
            _ => Self::split(leaves, depth, Self::build),
        }
    }

    /// The same in nodes alone.
    pub(super) fn nodes(leaves: &[Leaf], depth: u16) -> Self {
        match leaves {
            [] => Self::EMPTY,
            [leaf] => Self::leaf(*leaf),
            _ => Self::split(leaves, depth, Self::nodes),
        }
    }

    fn split(leaves: &[Leaf], depth: u16, below: impl Fn(&[Leaf], u16) -> Self) -> Self {
        let (left, right) = leaves.split_at(leaves.partition_point(|leaf| !bit(&leaf.key_hash, depth)));
        let next = depth.saturating_add(1);
        Self::internal(below(left, next), below(right, next), true)
    }

    /// Keeps the subtree at `depth` as a page of leaves where it is one in nodes, and says whether it was. Pages within it
    /// that are no more are added to `stale`.
    pub(super) fn gather(&mut self, depth: u16, stale: &mut impl Extend<PageKey>) -> bool {
        let Link::Internal(node) = &self.link else { return false };
        let most = PAGE_LEAVES << NIBBLE;
        if !is_boundary(depth) || depth == 0 || !is_page(depth, self.leaves) || self.leaves > most {
            return false;
        }
        let (dirty, stored) = (node.dirty, node.stored);
        let (mut leaves, mut gone) = (Vec::new(), Vec::new());
        let below = depth.saturating_add(1);
        let is_one = collect(&node.left, below, &mut leaves, &mut gone)
            && collect(&node.right, below, &mut leaves, &mut gone)
            && LeafPage::fits(&leaves, depth);
        if is_one {
            stale.extend(gone);
            self.link = Link::Page(Box::new(LeafPage::known(leaves, dirty, stored)));
        }
        is_one
    }

    /// Counts of what is in memory of the subtree.
    pub(super) fn residence(&self) -> Residence {
        match &self.link {
            Link::Empty => Residence::default(),
            Link::Leaf(_) => Residence { leaves: 1, ..Residence::default() },
            Link::Stored => Residence { pages_away: 1, ..Residence::default() },
            Link::Page(page) => Residence {
                pages: 1,
                paged: page.leaves().len(),
                changed: if page.dirty { page.leaves().len() } else { 0 },
                hashes: page.kept_hashes(),
                ..Residence::default()
            },
            Link::Internal(node) => {
                let mut both = node.left.residence();
                both.add(node.right.residence());
                both
            }
        }
    }
}

/// Adds the leaves of a subtree in nodes to `leaves`, and pages within it that have none of their own any more to `gone`.
/// False where part of it is not in nodes.
fn collect(child: &Child, depth: u16, leaves: &mut Vec<Leaf>, gone: &mut Vec<PageKey>) -> bool {
    match &child.link {
        Link::Empty => true,
        Link::Leaf(leaf) => {
            leaves.push(**leaf);
            true
        }
        Link::Page(_) | Link::Stored => false,
        Link::Internal(node) => {
            let (first, below) = (leaves.len(), depth.saturating_add(1));
            let all = collect(&node.left, below, leaves, gone) && collect(&node.right, below, leaves, gone);
            if node.stored
                && let Some(leaf) = leaves.get(first)
            {
                gone.push(PageKey::on_path(&leaf.key_hash, depth));
            }
            all
        }
    }
}

/// How much of a tree is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Residence {
    /// Leaves in memory as nodes.
    pub(super) leaves: usize,
    /// Pages of leaves.
    pub(super) pages: usize,
    /// Leaves in them.
    pub(super) paged: usize,
    /// Leaves in those of them that are newer than what was last handed out to be written.
    pub(super) changed: usize,
    /// Hashes that are kept beside them.
    pub(super) hashes: usize,
    /// Links to pages that are only in the store.
    pub(super) pages_away: usize,
}

impl Residence {
    pub(super) fn add(&mut self, other: Self) {
        self.change(other, usize::saturating_add);
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.change(other, usize::saturating_sub);
    }

    fn change(&mut self, other: Self, with: impl Fn(usize, usize) -> usize) {
        let Self { leaves, pages, paged, changed, hashes, pages_away } = self;
        *leaves = with(*leaves, other.leaves);
        *pages = with(*pages, other.pages);
        *paged = with(*paged, other.paged);
        *changed = with(*changed, other.changed);
        *hashes = with(*hashes, other.hashes);
        *pages_away = with(*pages_away, other.pages_away);
    }

    /// About how many bytes of memory that takes.
    pub(super) fn memory(&self) -> usize {
        let leaves = self.leaves.saturating_mul(LEAF_BYTES);
        let paged = self.paged.saturating_mul(PAGED_LEAF_BYTES);
        let hashes = self.hashes.saturating_mul(HASH_BYTES);
        let pages = self.pages.saturating_mul(LEAF_PAGE_BYTES);
        let above = self.pages.saturating_add(self.pages_away).saturating_mul(ABOVE_PAGE_BYTES);
        [paged, hashes, pages, above].into_iter().fold(leaves, usize::saturating_add)
    }
}
