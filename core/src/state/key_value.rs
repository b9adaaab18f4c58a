//! Keys and values over the tree: what an application executes on. Reads come from the store once and stay cached;
//! changes stay in memory until they are taken. Records from the store are checked for the key that was asked for; pages
//! for their hashes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hashbrown::hash_map::Entry;

use super::digest::{key_hash, value_hash};
use super::prefix::Prefix;
use super::proof::StateProof;
use super::record::{Record, RecordError};
use super::store::{StateReader, StateWrites};
use super::tree::{Tree, TreeError};
use crate::hash::Hash;
use crate::table::Table;

/// About what a cached record takes beside its bytes.
const RECORD_OVERHEAD: usize = 150;

/// The share of a limit that eviction frees below it, so that not every commit evicts: an eighth.
const FREED_SHARE: usize = 8;

/// The live state: [`get`](Self::get) and [`apply`](Self::apply) for every block; every so many blocks
/// [`take_writes`](Self::take_writes), and when those are durable [`evict`](Self::evict). A state whose writes could not
/// be made durable is to be dropped and loaded again.
#[derive(Debug)]
pub struct KeyValueState<R> {
    store: R,
    tree: Tree,
    cache: Table<Hash, Cached>,
    cached_bytes: usize,
    /// Keys of the cache that are newer than the last writes that were taken, each once.
    dirty: Vec<Hash>,
    /// Bytes that those take in the cache.
    dirty_bytes: usize,
    /// Memory that the state took when writes were taken last, or when it was evicted.
    settled: usize,
}

#[derive(Debug)]
struct Cached {
    /// `None`: the key has no value.
    record: Option<Record>,
    dirty: bool,
    /// The record was read or changed since the cache was last made smaller.
    touched: bool,
}

/// Why the state can't be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError<E: core::error::Error + 'static> {
    /// The tree can't be read.
    #[error(transparent)]
    Tree(#[from] TreeError<E>),
    /// The store failed.
    #[error("the state store can't be read: {0}")]
    Store(#[source] E),
    /// A stored record is damaged.
    #[error("the record at {key_hash} is damaged, {reason}: synchronize the state again")]
    Corrupt {
        /// The hash of its key.
        key_hash: Hash,
        /// The fault in it.
        reason: RecordError,
    },
    /// The record of another key is stored where this one's should be.
    #[error("the record at {key_hash} is of another key: synchronize the state again")]
    WrongKey {
        /// The hash of the key that was asked for.
        key_hash: Hash,
    },
    /// There are more or fewer records than the tree has leaves.
    #[error("the records under {prefix} are not those that the state tree has: synchronize the state again")]
    WrongRecords {
        /// Their place.
        prefix: Prefix,
    },
    /// A change does not keep to the limits.
    #[error(transparent)]
    Limit(RecordError),
}

impl<R: StateReader> KeyValueState<R> {
    /// The state that `store` holds. The caller compares [`root`](Self::root) with the root that it expects there.
    pub fn load(store: R) -> Result<Self, StateError<R::Error>> {
        let tree = Tree::load(&store)?;
        let cache = Table::default();
        Ok(Self { store, tree, cache, cached_bytes: 0, dirty: Vec::new(), dirty_bytes: 0, settled: 0 })
    }

    /// The state root.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// How many keys have a value.
    pub fn keys(&self) -> u64 {
        self.tree.leaves()
    }

    /// The store that this state reads.
    pub fn store(&self) -> &R {
        &self.store
    }

    /// The store, to write to where it is owned by this state.
    pub fn store_mut(&mut self) -> &mut R {
        &mut self.store
    }

    /// The value of `key`.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<&[u8]>, StateError<R::Error>> {
        self.get_at(key_hash(key), key)
    }

    /// The value of `key`, whose hash is `key_hash`.
    pub(super) fn get_at(&mut self, key_hash: Hash, key: &[u8]) -> Result<Option<&[u8]>, StateError<R::Error>> {
        match self.record_at(key_hash)? {
            Some(record) if record.key() != key => Err(StateError::WrongKey { key_hash }),
            record => Ok(record.map(Record::value)),
        }
    }

    /// The record of the key whose hash is `key_hash`.
    pub(super) fn record_at(&mut self, key_hash: Hash) -> Result<Option<&Record>, StateError<R::Error>> {
        let cached = match self.cache.entry(key_hash) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let record = match self.store.record(&key_hash).map_err(StateError::Store)? {
                    None => None,
                    Some(bytes) => {
                        Some(Record::decode(bytes).map_err(|reason| StateError::Corrupt { key_hash, reason })?)
                    }
                };
                let cached = Cached { record, dirty: false, touched: true };
                self.cached_bytes = self.cached_bytes.saturating_add(cached.bytes());
                entry.insert(cached)
            }
        };
        cached.touched = true;
        Ok(cached.record.as_ref())
    }

    /// Applies a block's changes (`None` deletes) and returns the new root. On an error nothing has changed.
    pub fn apply<'a>(
        &mut self,
        changes: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<Hash, StateError<R::Error>> {
        let mut records: BTreeMap<Hash, Option<Record>> = BTreeMap::new();
        for (key, value) in changes {
            let record = match value {
                Some(value) => Some(Record::new(key, value).map_err(StateError::Limit)?),
                None => None,
            };
            records.insert(key_hash(key), record);
        }
        self.apply_records(records)
    }

    /// Applies changes by the hashes of their keys and returns the new root. On an error nothing has changed.
    pub(super) fn apply_records(
        &mut self,
        records: BTreeMap<Hash, Option<Record>>,
    ) -> Result<Hash, StateError<R::Error>> {
        let leaves = records
            .iter()
            .map(|(key_hash, record)| (*key_hash, record.as_ref().map(|record| value_hash(record.value()))))
            .collect();
        let root = self.tree.apply(&self.store, &leaves)?;
        for (key_hash, record) in records {
            let new = Cached { record, dirty: true, touched: true };
            self.cached_bytes = self.cached_bytes.saturating_add(new.bytes());
            self.dirty_bytes = self.dirty_bytes.saturating_add(new.bytes());
            let old = self.cache.insert(key_hash, new);
            if let Some(old) = &old {
                self.cached_bytes = self.cached_bytes.saturating_sub(old.bytes());
            }
            match old.filter(|old| old.dirty) {
                Some(old) => self.dirty_bytes = self.dirty_bytes.saturating_sub(old.bytes()),
                None => self.dirty.push(key_hash),
            }
        }
        Ok(root)
    }

    /// The proof of what [`get`](Self::get) says about `key`.
    pub fn prove(&mut self, key: &[u8]) -> Result<StateProof, StateError<R::Error>> {
        Ok(self.tree.prove(&self.store, &key_hash(key))?)
    }

    /// Takes the writes that make the store hold this state, for one atomic batch together with the height.
    pub fn take_writes(&mut self) -> StateWrites {
        let mut keys = core::mem::take(&mut self.dirty);
        self.dirty_bytes = 0;
        self.settled = self.memory();
        keys.sort_unstable();
        let mut records = Vec::with_capacity(keys.len());
        for key_hash in keys {
            if let Some(cached) = self.cache.get_mut(&key_hash) {
                cached.dirty = false;
                records.push((key_hash, cached.record.as_ref().map(|record| record.as_bytes().clone())));
            }
        }
        StateWrites { pages: self.tree.take_pages(), records }
    }

    /// About how many bytes of memory the state takes.
    pub fn memory(&self) -> usize {
        self.cached_bytes.saturating_add(self.tree.memory())
    }

    /// About how many bytes wait for writes to be taken and made durable: what those would have, and by how much the state
    /// has grown in memory since the last ones, which [`evict`](Self::evict) can only give back after them.
    pub fn uncommitted(&self) -> usize {
        let pages = self.tree.unwritten(self.dirty.len());
        let grown = self.memory().saturating_sub(self.settled);
        self.dirty_bytes.saturating_add(pages).saturating_add(grown)
    }

    /// If the state takes more than `limit` bytes, forgets of what the store has as well until it takes somewhat less: first
    /// records, then pages of the tree, and what was not touched for longest first. To be called when what
    /// [`take_writes`](Self::take_writes) returned is durable: what is forgotten is read from the store again.
    pub fn evict(&mut self, limit: usize) {
        if self.memory() <= limit {
            return;
        }
        let target = limit.saturating_sub(limit / FREED_SHARE);
        self.forget_records(|cached| core::mem::take(&mut cached.touched));
        if self.memory() > target {
            // To read a record again costs less than to read and hash the page that it is in.
            self.forget_records(|_| false);
        }
        self.tree.evict(target.saturating_sub(self.cached_bytes));
        self.settled = self.memory();
    }

    /// Forgets the records that the store has as well, but for those that `keep` says.
    fn forget_records(&mut self, mut keep: impl FnMut(&mut Cached) -> bool) {
        let mut left = 0usize;
        self.cache.retain(|cached| {
            let stays = keep(cached) || cached.dirty;
            left = left.saturating_add(if stays { cached.bytes() } else { 0 });
            stays
        });
        self.cached_bytes = left;
    }
}

impl Cached {
    fn bytes(&self) -> usize {
        self.record.as_ref().map_or(0, |record| record.as_bytes().len()).saturating_add(RECORD_OVERHEAD)
    }
}
