//! The live tree: applies changes, knows its root after each of them, proves, and hands out the pages that changed.
//! Pages from the store are checked against the hash that the tree has for them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::digest::{PLACEHOLDER, bit, internal_hash};
use super::leaf_page::{Change, Changed, merge};
use super::node::{Child, Internal, Leaf, Link, Residence};
use super::page::{self, PageError, PageKey, is_boundary, is_page, with_bit};
use super::proof::{ProofLeaf, StateProof};
use super::store::StateReader;
use crate::hash::Hash;

/// The root of the state that has no keys.
pub const EMPTY_ROOT: Hash = PLACEHOLDER;

/// Leaves below a page up to which it is forgotten. Every read goes through the pages above; for a million keys they take
/// a few MiB, and to read them again costs more than the page that is wanted.
const EVICTED_LEAVES: u64 = 512;

/// Bits that name a part of the tree, which is evicted at a time.
const PART_BITS: u16 = 8;

/// About what a leaf takes in a page that is written, in bytes.
const WRITTEN_LEAF_BYTES: usize = 80;

/// About what a reference to a page takes in the page above it when that is written, in bytes.
const WRITTEN_LINK_BYTES: usize = 45;

/// About how many references the pages above a leaf's own hold, of those that no other change writes.
const SHARED_LINKS: usize = 32;

/// About how many leaves the page of a changed one has at most, where it has other pages below it as well.
const MIXED_PAGE_LEAVES: usize = 24;

/// Why the tree can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E: core::error::Error + 'static> {
    /// The store failed.
    #[error("the state store can't be read: {0}")]
    Store(#[source] E),
    /// A page that the tree refers to is not in the store.
    #[error("page {0} of the state tree is missing: the store is damaged, synchronize the state again")]
    Missing(PageKey),
    /// A page is not what the tree refers to.
    #[error("page {page} of the state tree is damaged, {reason}: synchronize the state again")]
    Corrupt {
        /// The page.
        page: PageKey,
        /// The fault in it.
        reason: PageError,
    },
}

/// The state tree at one version, over a store that may hold most of it.
///
/// Order of calls: [`load`](Self::load), then [`apply`](Self::apply) for every block, and every so many blocks
/// [`take_pages`](Self::take_pages); once those pages are durable, [`evict`](Self::evict). If they can't be made
/// durable, drop the tree and load it again: it takes what it handed out for written.
#[derive(Clone, Debug)]
pub struct Tree {
    root: Child,
    root_stored: bool,
    root_dirty: bool,
    /// Tops of pages that were stored and are no more.
    stale: BTreeSet<PageKey>,
    residence: Residence,
    /// The part that is looked at first when memory is to be freed.
    hand: u8,
}

impl Tree {
    /// The tree that `store` holds. The caller compares [`root`](Self::root) with the root that it expects there.
    pub fn load<R: StateReader>(store: &R) -> Result<Self, TreeError<R::Error>> {
        let key = PageKey::ROOT;
        let (root, root_stored) = match store.page(&key).map_err(TreeError::Store)? {
            None => (Child::EMPTY, false),
            Some(bytes) => {
                let top = page::decode(&bytes, &key).map_err(|reason| TreeError::Corrupt { page: key, reason })?;
                (top, true)
            }
        };
        let residence = root.residence();
        Ok(Self { root, root_stored, root_dirty: false, stale: BTreeSet::new(), residence, hand: 0 })
    }

    /// The state root.
    pub fn root(&self) -> Hash {
        self.root.hash
    }

    /// How many keys the state has.
    pub fn leaves(&self) -> u64 {
        self.root.leaves
    }

    /// About how many bytes of memory the tree takes.
    pub fn memory(&self) -> usize {
        self.residence.memory()
    }

    /// About how many bytes the pages at most have that [`take_pages`](Self::take_pages) would hand out if `keys` keys were
    /// changed since it did.
    pub fn unwritten(&self, keys: usize) -> usize {
        if !self.root_dirty {
            return 0;
        }
        let Residence { leaves, pages, changed, pages_away, .. } = self.residence;
        let in_nodes = leaves.min(keys.saturating_mul(MIXED_PAGE_LEAVES)).saturating_mul(WRITTEN_LEAF_BYTES);
        let links =
            pages.saturating_add(pages_away).min(keys.saturating_mul(SHARED_LINKS)).saturating_add(SHARED_LINKS);
        let links = links.saturating_mul(WRITTEN_LINK_BYTES);
        changed.saturating_mul(WRITTEN_LEAF_BYTES).saturating_add(in_nodes).saturating_add(links)
    }

    /// Applies a block's changes, from key hash to value hash (`None` deletes), and returns the new root. On an error
    /// nothing has changed.
    pub fn apply<R: StateReader>(
        &mut self,
        store: &R,
        changes: &BTreeMap<Hash, Option<Hash>>,
    ) -> Result<Hash, TreeError<R::Error>> {
        let changes: Vec<Change> = changes.iter().map(|(key, value)| (*key, *value)).collect();
        // All reads come first: a failed one must not leave half of the changes behind.
        self.load_paths(store, &changes)?;
        let mut kept = Kept { stale: &mut self.stale, residence: &mut self.residence };
        if apply(&mut self.root, store, 0, &changes, &mut kept)? {
            self.root_dirty = true;
        }
        Ok(self.root.hash)
    }

    /// The proof that the key with this hash has its value, or none.
    pub fn prove<R: StateReader>(&mut self, store: &R, key_hash: &Hash) -> Result<StateProof, TreeError<R::Error>> {
        self.load_paths(store, &[(*key_hash, None)])?;
        let mut siblings = Vec::new();
        let (end, depth) = descend(&self.root, 0, key_hash, &mut siblings);
        let nodes;
        let child = if let Link::Page(page) = &end.link {
            nodes = Child::nodes(page.leaves(), depth);
            descend(&nodes, depth, key_hash, &mut siblings).0
        } else {
            end
        };
        siblings.reverse();
        let leaf = match &child.link {
            Link::Leaf(leaf) => Some(ProofLeaf { key_hash: leaf.key_hash, value_hash: leaf.value_hash }),
            _ => None,
        };
        Ok(StateProof::new(leaf, siblings))
    }

    /// The pages to write (`None`: to delete) so that the store holds this version, each once, in key order. However
    /// many blocks were applied since the last call, only a page's last version is in it.
    pub fn take_pages(&mut self) -> Vec<(PageKey, Option<Vec<u8>>)> {
        let mut pages: BTreeMap<PageKey, Option<Vec<u8>>> =
            core::mem::take(&mut self.stale).into_iter().map(|key| (key, None)).collect();
        if core::mem::take(&mut self.root_dirty) {
            take_pages(&mut self.root, 0, &Hash::ZERO, &mut pages, &mut self.residence);
            if self.root.leaves > 0 {
                pages.insert(PageKey::ROOT, Some(page::encode(&self.root, 0)));
                self.root_stored = true;
            } else if core::mem::take(&mut self.root_stored) {
                pages.insert(PageKey::ROOT, None);
            }
        }
        pages.into_iter().collect()
    }

    /// Forgets pages that are unchanged in the store, but for the highest, until the tree takes `limit` bytes or less: one
    /// part of the tree after the other, from where the last call stopped, and what was changed since then only in a second
    /// round. To be called when what [`take_pages`](Self::take_pages) returned is durable: what is forgotten is read from
    /// the store again.
    pub fn evict(&mut self, limit: usize) {
        for _ in 0..(2u16 << PART_BITS) {
            if self.memory() <= limit {
                return;
            }
            let hand = Hash::from_bytes(core::array::from_fn(|index| if index == 0 { self.hand } else { 0 }));
            evict_part(&mut self.root, 0, &hand, &mut self.residence);
            self.hand = self.hand.wrapping_add(1);
        }
    }

    fn load_paths<R: StateReader>(&mut self, store: &R, changes: &[Change]) -> Result<(), TreeError<R::Error>> {
        // Walking every path twice costs a block a tenth of its time, so not where the whole tree is in memory.
        if self.residence.pages_away == 0 {
            return Ok(());
        }
        load_paths(&mut self.root, store, 0, changes, &mut self.residence)
    }
}

fn load_paths<R: StateReader>(
    child: &mut Child,
    store: &R,
    depth: u16,
    changes: &[Change],
    residence: &mut Residence,
) -> Result<(), TreeError<R::Error>> {
    let Some((key_hash, _)) = changes.first() else { return Ok(()) };
    if let Link::Stored = child.link {
        load(child, store, &PageKey::on_path(key_hash, depth), residence)?;
    }
    if let Link::Internal(node) = &mut child.link {
        let (left, right) = part(changes, depth);
        let below = depth.saturating_add(1);
        load_paths(&mut node.left, store, below, left, residence)?;
        load_paths(&mut node.right, store, below, right, residence)?;
    }
    Ok(())
}

fn load<R: StateReader>(
    child: &mut Child,
    store: &R,
    key: &PageKey,
    residence: &mut Residence,
) -> Result<(), TreeError<R::Error>> {
    let corrupt = |reason| TreeError::Corrupt { page: *key, reason };
    let bytes = store.page(key).map_err(TreeError::Store)?.ok_or(TreeError::Missing(*key))?;
    let mut top = page::decode(&bytes, key).map_err(corrupt)?;
    if top.hash != child.hash {
        return Err(corrupt(PageError::Hash { found: top.hash, expected: child.hash }));
    }
    // The count is not under the hash, and the cut into pages follows from it.
    if top.leaves != child.leaves {
        return Err(corrupt(PageError::Shape));
    }
    // Nothing within a page that was just read is newer than the store.
    top.gather(key.depth(), &mut Vec::new());
    residence.remove(child.residence());
    *child = top;
    residence.add(child.residence());
    Ok(())
}

/// Bookkeeping of a tree beside its nodes.
struct Kept<'a> {
    stale: &'a mut BTreeSet<PageKey>,
    residence: &'a mut Residence,
}

/// Applies `changes`, which ascend strictly and are not empty; says whether anything differs now.
fn apply<R: StateReader>(
    child: &mut Child,
    store: &R,
    depth: u16,
    changes: &[Change],
    kept: &mut Kept<'_>,
) -> Result<bool, TreeError<R::Error>> {
    let Some((key_hash, _)) = changes.first() else { return Ok(false) };
    if let Link::Stored = child.link {
        load(child, store, &PageKey::on_path(key_hash, depth), kept.residence)?;
    }
    let node = match &mut child.link {
        Link::Internal(node) => node,
        Link::Leaf(_) | Link::Empty | Link::Page(_) | Link::Stored => {
            kept.residence.remove(child.residence());
            let changed = apply_to_leaves(child, depth, changes, kept.stale);
            kept.residence.add(child.residence());
            return Ok(changed);
        }
    };
    let (left, right) = part(changes, depth);
    let below = depth.saturating_add(1);
    let changed_left = apply(&mut node.left, store, below, left, kept)?;
    let changed_right = apply(&mut node.right, store, below, right, kept)?;
    if !changed_left && !changed_right {
        return Ok(false);
    }
    let leaves = node.left.leaves.saturating_add(node.right.leaves);
    if leaves > 1 {
        (node.dirty, node.touched) = (true, true);
        child.leaves = leaves;
        child.hash = internal_hash(&node.left.hash, &node.right.hash);
        if child.gather(depth, kept.stale) {
            // All of them were nodes.
            kept.residence.leaves = kept.residence.leaves.saturating_sub(usize::try_from(leaves).unwrap_or(usize::MAX));
            kept.residence.add(child.residence());
        }
        return Ok(true);
    }
    if node.stored && depth > 0 {
        kept.stale.insert(PageKey::on_path(key_hash, depth));
    }
    // A lone leaf takes its parent's place. Pages have several leaves, so what is left is a leaf.
    let Internal { left, right, .. } = &mut **node;
    let lone = if left.leaves > 0 { left } else { right };
    *child = core::mem::replace(lone, Child::EMPTY);
    Ok(true)
}

/// Changes a place with at most one leaf, or a page of leaves.
fn apply_to_leaves(child: &mut Child, depth: u16, changes: &[Change], stale: &mut BTreeSet<PageKey>) -> bool {
    let page = match &mut child.link {
        Link::Page(page) => page,
        link => {
            let leaf: Option<Leaf> = if let Link::Leaf(leaf) = link { Some(**leaf) } else { None };
            let leaves = merge(leaf.as_slice(), changes);
            if leaves.as_slice() == leaf.as_slice() {
                return false;
            }
            *child = Child::build(&leaves, depth);
            return true;
        }
    };
    match page.change(depth, changes) {
        Changed::Same => return false,
        Changed::Hash(hash) => {
            child.leaves = page.leaves().len() as u64;
            child.hash = hash;
        }
        Changed::Outgrown(leaves) => {
            let stored = page.stored;
            *child = Child::build(&leaves, depth);
            match &mut child.link {
                // The page has pages below it now.
                Link::Internal(node) if is_page(depth, child.leaves) => node.stored = stored,
                _ if stored => stale.extend(changes.first().map(|(key_hash, _)| PageKey::on_path(key_hash, depth))),
                _ => {}
            }
        }
    }
    true
}

/// Evicts the part of the tree that `hand` names, or the page that has it.
fn evict_part(child: &mut Child, depth: u16, hand: &Hash, residence: &mut Residence) {
    if depth < PART_BITS
        && let Link::Internal(node) = &mut child.link
    {
        let below = if bit(hand, depth) { &mut node.right } else { &mut node.left };
        return evict_part(below, depth.saturating_add(1), hand, residence);
    }
    residence.remove(child.residence());
    evict(child, depth);
    residence.add(child.residence());
}

/// Goes down from `child` on the way to `key_hash` as far as there are nodes, and adds what lies beside the way.
fn descend<'a>(mut child: &'a Child, mut depth: u16, key_hash: &Hash, siblings: &mut Vec<Hash>) -> (&'a Child, u16) {
    while let Link::Internal(node) = &child.link {
        let (next, sibling) = if bit(key_hash, depth) { (&node.right, &node.left) } else { (&node.left, &node.right) };
        siblings.push(sibling.hash);
        depth = depth.saturating_add(1);
        child = next;
    }
    (child, depth)
}

fn part(changes: &[Change], depth: u16) -> (&[Change], &[Change]) {
    changes.split_at(changes.partition_point(|(key_hash, _)| !bit(key_hash, depth)))
}

fn take_pages(
    child: &mut Child,
    depth: u16,
    prefix: &Hash,
    pages: &mut BTreeMap<PageKey, Option<Vec<u8>>>,
    residence: &mut Residence,
) {
    if let Link::Page(page) = &child.link
        && page.dirty
    {
        pages.insert(PageKey::on_path(prefix, depth), Some(page::encode(child, depth)));
        residence.remove(child.residence());
        if let Link::Page(page) = &mut child.link {
            page.written();
        }
        residence.add(child.residence());
    }
    let Link::Internal(node) = &mut child.link else { return };
    if !node.dirty {
        return;
    }
    node.dirty = false;
    let below = depth.saturating_add(1);
    take_pages(&mut node.left, below, prefix, pages, residence);
    take_pages(&mut node.right, below, &with_bit(prefix, depth), pages, residence);
    if depth == 0 || !is_boundary(depth) {
        return;
    }
    let was_stored = core::mem::replace(&mut node.stored, is_page(depth, child.leaves));
    if node.stored {
        pages.insert(PageKey::on_path(prefix, depth), Some(page::encode(child, depth)));
    } else if was_stored {
        pages.insert(PageKey::on_path(prefix, depth), None);
    }
}

/// Forgets the pages of a subtree that are written and were not changed since they were looked at last. Says whether all
/// that is left of it in memory could be forgotten with the page that it is in.
fn evict(child: &mut Child, depth: u16) -> bool {
    match &mut child.link {
        Link::Empty | Link::Leaf(_) | Link::Stored => true,
        Link::Page(page) => {
            let cold = !page.take_touched() && page.stored && !page.dirty;
            if cold {
                child.link = Link::Stored;
            }
            cold
        }
        Link::Internal(node) => {
            let below = depth.saturating_add(1);
            let (left, right) = (evict(&mut node.left, below), evict(&mut node.right, below));
            let touched = core::mem::take(&mut node.touched);
            let cold = left && right && !touched && !node.dirty;
            if cold && node.stored && depth > 0 && child.leaves <= EVICTED_LEAVES {
                child.link = Link::Stored;
            }
            cold
        }
    }
}

#[cfg(test)]
impl Tree {
    /// True where what is kept about memory is what is in memory.
    pub(super) fn counts_right(&self) -> bool {
        self.residence == self.root.residence()
    }
}
