//! The live tree: applies changes, knows its root after each of them, proves, and hands out the pages that changed.
//! Pages from the store are checked against the hash that the tree has for them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::digest::{PLACEHOLDER, bit, internal_hash};
use super::node::{Child, Internal, Leaf, Link, Residence};
use super::page::{self, PageError, PageKey, is_boundary, is_page, with_bit};
use super::proof::{ProofLeaf, StateProof};
use super::store::StateReader;
use crate::hash::Hash;

/// The root of the state that has no keys.
pub const EMPTY_ROOT: Hash = PLACEHOLDER;

/// A change of one key: what its value hashes to from now on, or `None` where it is deleted.
type Change = (Hash, Option<Hash>);

/// Leaves below a page up to which it is forgotten. Every read goes through the pages above; for a million keys they take
/// a few MiB, and to read them again costs more than the page that is wanted.
const EVICTED_LEAVES: u64 = 512;

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
        /// What is wrong with it.
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
        Ok(Self { root, root_stored, root_dirty: false, stale: BTreeSet::new(), residence })
    }

    /// The state root.
    pub fn root(&self) -> Hash {
        self.root.hash
    }

    /// How many keys the state has.
    pub fn leaves(&self) -> u64 {
        self.root.leaves
    }

    /// How many leaves are held in memory, at about 250 bytes each with the nodes above them.
    pub fn resident_leaves(&self) -> u64 {
        self.residence.leaves
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
        let before = self.root.leaves;
        if apply(&mut self.root, store, 0, &changes, &mut self.stale)? {
            self.root_dirty = true;
        }
        self.residence.leaves = self.residence.leaves.saturating_add(self.root.leaves).saturating_sub(before);
        Ok(self.root.hash)
    }

    /// The proof that the key with this hash has its value, or none.
    pub fn prove<R: StateReader>(&mut self, store: &R, key_hash: &Hash) -> Result<StateProof, TreeError<R::Error>> {
        self.load_paths(store, &[(*key_hash, None)])?;
        let (mut siblings, mut depth, mut child) = (Vec::new(), 0u16, &self.root);
        while let Link::Internal(node) = &child.link {
            let (next, sibling) =
                if bit(key_hash, depth) { (&node.right, &node.left) } else { (&node.left, &node.right) };
            siblings.push(sibling.hash);
            depth = depth.saturating_add(1);
            child = next;
        }
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
            take_pages(&mut self.root, 0, &Hash::ZERO, &mut pages);
            if self.root.leaves > 0 {
                pages.insert(PageKey::ROOT, Some(page::encode(&self.root, 0)));
                self.root_stored = true;
            } else if core::mem::take(&mut self.root_stored) {
                pages.insert(PageKey::ROOT, None);
            }
        }
        pages.into_iter().collect()
    }

    /// Forgets the pages that are unchanged in the store, but for the highest, if more than `limit` leaves are in memory.
    /// To be called when what [`take_pages`](Self::take_pages) returned is durable: what is forgotten is read from the
    /// store again.
    pub fn evict(&mut self, limit: u64) {
        if self.residence.leaves > limit {
            evict(&mut self.root, 0);
            self.residence = self.root.residence();
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
        load(child, store, &PageKey::on_path(key_hash, depth))?;
        let loaded = child.residence();
        residence.leaves = residence.leaves.saturating_add(loaded.leaves);
        residence.pages_away = residence.pages_away.saturating_add(loaded.pages_away).saturating_sub(1);
    }
    if let Link::Internal(node) = &mut child.link {
        let (left, right) = part(changes, depth);
        let below = depth.saturating_add(1);
        load_paths(&mut node.left, store, below, left, residence)?;
        load_paths(&mut node.right, store, below, right, residence)?;
    }
    Ok(())
}

fn load<R: StateReader>(child: &mut Child, store: &R, key: &PageKey) -> Result<(), TreeError<R::Error>> {
    let corrupt = |reason| TreeError::Corrupt { page: *key, reason };
    let bytes = store.page(key).map_err(TreeError::Store)?.ok_or(TreeError::Missing(*key))?;
    let top = page::decode(&bytes, key).map_err(corrupt)?;
    if top.hash != child.hash {
        return Err(corrupt(PageError::Hash { found: top.hash, expected: child.hash }));
    }
    // The count is not under the hash, and the cut into pages follows from it.
    if top.leaves != child.leaves {
        return Err(corrupt(PageError::Shape));
    }
    *child = top;
    Ok(())
}

/// Applies `changes`, which ascend strictly and are not empty; says whether anything differs now.
fn apply<R: StateReader>(
    child: &mut Child,
    store: &R,
    depth: u16,
    changes: &[Change],
    stale: &mut BTreeSet<PageKey>,
) -> Result<bool, TreeError<R::Error>> {
    let Some((key_hash, _)) = changes.first() else { return Ok(false) };
    if let Link::Stored = child.link {
        load(child, store, &PageKey::on_path(key_hash, depth))?;
    }
    let node = match &mut child.link {
        Link::Internal(node) => node,
        Link::Leaf(leaf) => {
            let leaf = **leaf;
            return Ok(apply_to_leaf(child, Some(leaf), depth, changes));
        }
        Link::Empty | Link::Stored => return Ok(apply_to_leaf(child, None, depth, changes)),
    };
    let (left, right) = part(changes, depth);
    let below = depth.saturating_add(1);
    let changed_left = apply(&mut node.left, store, below, left, stale)?;
    let changed_right = apply(&mut node.right, store, below, right, stale)?;
    if !changed_left && !changed_right {
        return Ok(false);
    }
    let leaves = node.left.leaves.saturating_add(node.right.leaves);
    if leaves > 1 {
        node.dirty = true;
        child.leaves = leaves;
        child.hash = internal_hash(&node.left.hash, &node.right.hash);
        return Ok(true);
    }
    if node.stored && depth > 0 {
        stale.insert(PageKey::on_path(key_hash, depth));
    }
    // A lone leaf takes its parent's place. Stored subtrees have several leaves, so what is left is in memory.
    let Internal { left, right, .. } = &mut **node;
    let lone = if left.leaves > 0 { left } else { right };
    *child = core::mem::replace(lone, Child::EMPTY);
    Ok(true)
}

/// Changes a place with at most one leaf.
fn apply_to_leaf(child: &mut Child, leaf: Option<Leaf>, depth: u16, changes: &[Change]) -> bool {
    let mut leaves: Vec<Leaf> = changes
        .iter()
        .filter_map(|(key_hash, value)| value.map(|value_hash| Leaf { key_hash: *key_hash, value_hash }))
        .collect();
    if let Some(leaf) = leaf
        && changes.binary_search_by(|(key_hash, _)| key_hash.cmp(&leaf.key_hash)).is_err()
    {
        leaves.insert(leaves.partition_point(|other| other.key_hash < leaf.key_hash), leaf);
    }
    if leaves.as_slice() == leaf.as_slice() {
        return false;
    }
    *child = Child::build(&leaves, depth);
    true
}

fn part(changes: &[Change], depth: u16) -> (&[Change], &[Change]) {
    changes.split_at(changes.partition_point(|(key_hash, _)| !bit(key_hash, depth)))
}

fn take_pages(child: &mut Child, depth: u16, prefix: &Hash, pages: &mut BTreeMap<PageKey, Option<Vec<u8>>>) {
    let Link::Internal(node) = &mut child.link else { return };
    if !node.dirty {
        return;
    }
    node.dirty = false;
    let below = depth.saturating_add(1);
    take_pages(&mut node.left, below, prefix, pages);
    take_pages(&mut node.right, below, &with_bit(prefix, depth), pages);
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

fn evict(child: &mut Child, depth: u16) {
    let Link::Internal(node) = &mut child.link else { return };
    if node.stored && !node.dirty && depth > 0 && child.leaves <= EVICTED_LEAVES {
        child.link = Link::Stored;
        return;
    }
    let below = depth.saturating_add(1);
    evict(&mut node.left, below);
    evict(&mut node.right, below);
}

#[cfg(test)]
impl Tree {
    /// True where what is kept about memory is what is in memory.
    pub(super) fn counts_right(&self) -> bool {
        self.residence == self.root.residence()
    }
}
