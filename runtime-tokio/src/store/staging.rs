//! Staging: a state that is put together beside the live one, out of subtrees that were verified one by one.
//!
//! A staged subtree is found again by its place and hash. A small one is hashed from the staged values themselves;
//! one that was staged in a single piece has a mark with its hash, so that it need not be read. A mark is deleted
//! before anything under its place changes, and written in the same batch as the last of its values: it never vouches
//! for values that are not there, whatever the moment at which the process dies.
//!
//! Batches are not forced to disk by themselves. They survive the process at once, and a power failure takes the newest
//! of them away whole (see `db`), which only means that those subtrees are fetched again.

use std::ops::{Bound, ControlFlow};
use std::sync::{MutexGuard, PoisonError};

use bytes::Bytes;
use hotstuff2_sync::calls::{Holding, SnapshotBase};
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::state::{PLACEHOLDER, Prefix, StateItem, StateLeaves, subtree, subtree_hash};

use super::db::{Space, Write};
use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::live::{LiveTree, leaf_value, scan_values};
use super::marks;

/// Values that are hashed to answer what a place holds; above that the answer is how many there are.
const MAX_HASHED: usize = 4096;

/// Leaves of the largest subtree that is copied from the live state in one go.
const MAX_COPIED: u64 = 64 << 10;

/// Bytes of writes after which a batch is committed though more is to come: what a subtree may take in memory beside
/// itself, and by how much a memtable grows beyond its size. Subtrees as they are fetched are far smaller; in tests some are not.
const BATCH_BYTES: usize = if cfg!(test) { 16 << 10 } else { 1 << 20 };

/// About what a write takes beside its key and value.
const WRITE_OVERHEAD: usize = 96;

/// Stale values that are looked up at once.
const KEYS_AT_ONCE: usize = 4096;

/// Outcome of [`StateStaging::activate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The staged state is live, and the stored blocks begin above its block.
    Activated,
    /// The staged state has another root. What doesn't match its own mark counts as missing from now on.
    RootMismatch {
        /// The root of what is staged.
        found: Hash,
    },
}

/// Where a state is put together beside the live one, to take its place. All calls may wait for the disk, and each may
/// be made again when its answer was lost.
pub trait StateStaging: Send + Sync + 'static {
    /// The staged part of each of `items`. Subtrees that the live state holds with the same hash are copied; an item
    /// with the hash of an empty subtree has everything deleted that was staged in its place.
    fn survey(&self, items: &[StateItem]) -> Result<Vec<Holding>, StoreFailure>;

    /// Keeps `subtrees`, none of which covers another. Each takes the place of everything that was staged under its
    /// prefix. On return they survive the end of the process.
    fn stage(&self, subtrees: &[StateLeaves]) -> Result<(), StoreFailure>;

    /// Hashes all that is staged, and where that gives the root of `base`, makes it the live state at the height of
    /// `base` and lets the stored blocks begin above that block: all of it, durably, or nothing.
    fn activate(&self, base: &SnapshotBase) -> Result<Activation, StoreFailure>;
}

impl<C: Chain> StateStaging for DiskStore<C> {
    fn survey(&self, items: &[StateItem]) -> Result<Vec<Holding>, StoreFailure> {
        let _staging = self.lock_staging()?;
        items.iter().map(|item| self.survey_item(item)).collect()
    }

    fn stage(&self, subtrees: &[StateLeaves]) -> Result<(), StoreFailure> {
        self.require_room()?;
        let _staging = self.lock_staging()?;
        check(subtrees).map_err(|what| StoreFailure::RefusedState { path: self.dir.clone(), what })?;
        let mut batch = Batch::new(self);
        for StateLeaves { item, records } in subtrees {
            batch.clear(&item.prefix, |key| records.binary_search_by(|(at, _)| at.as_bytes()[..].cmp(key)).is_ok())?;
            for (key_hash, record) in records {
                batch.put(Space::StagedValues, Bytes::copy_from_slice(key_hash.as_bytes()), Some(record.clone()))?;
            }
            batch.mark(item)?;
        }
        batch.commit()
    }

    fn activate(&self, base: &SnapshotBase) -> Result<Activation, StoreFailure> {
        let _staging = self.lock_staging()?;
        self.activate_staged(base)
    }
}

impl<C: Chain> DiskStore<C> {
    pub(super) fn lock_staging(&self) -> Result<MutexGuard<'_, ()>, StoreFailure> {
        // Nothing is kept in memory between two calls, so a panic leaves nothing behind.
        let staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        self.mend()?;
        Ok(staging)
    }

    fn survey_item(&self, item: &StateItem) -> Result<Holding, StoreFailure> {
        let StateItem { prefix, hash } = item;
        if *hash == PLACEHOLDER {
            let mut batch = Batch::new(self);
            batch.clear(prefix, |_| false)?;
            batch.commit()?;
            return Ok(Holding::Held);
        }
        if marks::mark_of(&self.db, prefix)? == Some(*hash) {
            return Ok(Holding::Held);
        }
        let staged = self.staged_leaves(prefix, MAX_HASHED.saturating_add(1))?;
        let staged_keys = match staged.last() {
            Some((last, _)) if staged.len() > MAX_HASHED => estimate(prefix, last, MAX_HASHED),
            _ if subtree_hash(prefix, &staged) == *hash => return Ok(Holding::Held),
            _ => u64::try_from(staged.len()).unwrap_or(u64::MAX),
        };
        let live_keys = match subtree(&LiveTree(&self.db), prefix) {
            Ok((found, keys)) if found == *hash && keys <= MAX_COPIED => return self.copy_live(item),
            Ok((_, keys)) => keys,
            Err(error) => {
                // A live state that is damaged, or that is no tree of ours, has nothing to give.
                tracing::debug!(%error, "the live state can't be compared");
                0
            }
        };
        Ok(holding_of(staged_keys.max(live_keys)))
    }

    /// The first `max` leaves that are staged under `prefix`.
    pub(super) fn staged_leaves(&self, prefix: &Prefix, max: usize) -> Result<Vec<(Hash, Hash)>, StoreFailure> {
        let mut leaves = Vec::new();
        scan_values(&self.db, Space::StagedValues, prefix, |key_hash, record| {
            leaves.push((key_hash, leaf_value(record)));
            Ok(if leaves.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(leaves)
    }

    /// Copies a subtree of the live state into the staged one. Live values that aren't what their tree says make it one
    /// that differs, as any other staged values would.
    fn copy_live(&self, item: &StateItem) -> Result<Holding, StoreFailure> {
        let (mut batch, mut leaves) = (Batch::new(self), Vec::new());
        batch.clear(&item.prefix, |_| false)?;
        // A batch has no order: no key may be deleted and written in one.
        batch.commit()?;
        scan_values(&self.db, Space::Values, &item.prefix, |key_hash, record| {
            leaves.push((key_hash, leaf_value(record.clone())));
            batch.put(Space::StagedValues, Bytes::copy_from_slice(key_hash.as_bytes()), Some(record))?;
            let fits = u64::try_from(leaves.len()).is_ok_and(|leaves| leaves <= MAX_COPIED);
            Ok(if fits { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        let sound = subtree_hash(&item.prefix, &leaves) == item.hash;
        if sound {
            batch.mark(item)?;
        }
        batch.commit()?;
        Ok(if sound { Holding::Held } else { holding_of(u64::try_from(leaves.len()).unwrap_or(u64::MAX)) })
    }
}

/// The answer for a place with so many keys, and another hash than the one asked for.
fn holding_of(keys: u64) -> Holding {
    if keys == 0 { Holding::Absent } else { Holding::Differs { keys } }
}

/// About how many keys are under `prefix`, of which the one after the first `seen` is `last`: hashes are spread evenly.
fn estimate(prefix: &Prefix, last: &Hash, seen: usize) -> u64 {
    let mut part = 0u128;
    for index in 0..64u16 {
        // The 64 bits below the place say how far into it the key is.
        let below = Prefix::new(*last, prefix.depth().saturating_add(index));
        let child = below.and_then(|below| below.children());
        part = part << 1 | u128::from(child.is_some_and(|(_, right)| right.contains(last)));
    }
    let seen = u128::try_from(seen).unwrap_or(u128::MAX);
    let keys = seen.saturating_mul(1 << 64) / part.saturating_add(1);
    u64::try_from(keys.max(seen)).unwrap_or(u64::MAX)
}

/// Whether the subtrees are what they say, as far as the order of their keys goes.
fn check(subtrees: &[StateLeaves]) -> Result<(), String> {
    for StateLeaves { item, records } in subtrees {
        let ascend = records.is_sorted_by(|(one, _), (other, _)| one < other);
        if !ascend || !records.iter().all(|(key_hash, _)| item.prefix.contains(key_hash)) {
            return Err(format!("the keys at {} are out of order, or of another place", item.prefix));
        }
    }
    let mut places: Vec<&Prefix> = subtrees.iter().map(|subtree| &subtree.item.prefix).collect();
    places.sort_unstable();
    match places.windows(2).find(|pair| matches!(pair, [above, below] if above.covers(below))) {
        Some(pair) => Err(format!("two subtrees of one call overlap: {pair:?}")),
        None => Ok(()),
    }
}

/// Writes that become one batch, or a few where there are very many.
pub(super) struct Batch<'a, C: Chain> {
    store: &'a DiskStore<C>,
    writes: Vec<Write>,
    bytes: usize,
}

impl<'a, C: Chain> Batch<'a, C> {
    pub(super) fn new(store: &'a DiskStore<C>) -> Self {
        Self { store, writes: Vec::new(), bytes: 0 }
    }

    pub(super) fn put(&mut self, space: Space, key: Bytes, value: Option<Bytes>) -> Result<(), StoreFailure> {
        let len = key.len().saturating_add(value.as_ref().map_or(0, Bytes::len)).saturating_add(WRITE_OVERHEAD);
        self.bytes = self.bytes.saturating_add(len);
        self.writes.push((space, key, value));
        if self.bytes < BATCH_BYTES { Ok(()) } else { self.commit() }
    }

    /// Deletes the marks that overlap with `prefix`, then the values under it that `keep` doesn't want.
    pub(super) fn clear(&mut self, prefix: &Prefix, keep: impl Fn(&[u8]) -> bool) -> Result<(), StoreFailure> {
        let store = self.store;
        marks::overlapping(&store.db, prefix, |key| self.put(Space::Marks, key, None))?;
        let (mut from, to) = (Bound::Included(Bytes::copy_from_slice(prefix.first().as_bytes())), prefix.last());
        loop {
            let keys = store.db.keys(Space::StagedValues, marks::bound(&from), to.as_bytes(), KEYS_AT_ONCE)?;
            let Some(last) = keys.last() else { return Ok(()) };
            from = Bound::Excluded(last.clone());
            for key in keys {
                if !keep(&key) {
                    self.put(Space::StagedValues, key, None)?;
                }
            }
        }
    }

    /// Marks the place whose values were put.
    fn mark(&mut self, item: &StateItem) -> Result<(), StoreFailure> {
        let (key, hash) = (marks::key_of(&item.prefix), Bytes::copy_from_slice(item.hash.as_bytes()));
        // A batch has no order: the old mark's deletion may wait in it.
        self.writes.retain(|(space, other, _)| *space != Space::Marks || *other != key);
        self.put(Space::Marks, key, Some(hash))
    }

    /// Commits what was put since the last commit.
    pub(super) fn commit(&mut self) -> Result<(), StoreFailure> {
        self.bytes = 0;
        if self.writes.is_empty() {
            return Ok(());
        }
        self.store.commit_rows(std::mem::take(&mut self.writes).into_iter(), false)
    }
}
