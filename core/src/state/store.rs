//! Reads and writes that the state needs from a store: three kinds of reads, and one batch of writes that it hands
//! out. The store is trusted to return what it was given or an error; pages are checked against the tree's hashes all
//! the same.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::ops::{ControlFlow, Deref};

use bytes::Bytes;

use super::page::PageKey;
use super::prefix::Prefix;
use crate::hash::Hash;

/// Reads the durable state. Nothing here is asked for twice while it is cached.
pub trait StateReader {
    /// Why a read failed.
    type Error: core::error::Error + 'static;

    /// The page last written under `key`.
    fn page(&self, key: &PageKey) -> Result<Option<Bytes>, Self::Error>;

    /// The record last written under `key_hash`.
    fn record(&self, key_hash: &Hash) -> Result<Option<Bytes>, Self::Error>;

    /// Shows the records under a place to `visit` with the hashes of their keys, in ascending order of these, until it
    /// says stop. What comes after that is not read.
    fn scan(&self, prefix: &Prefix, visit: &mut dyn FnMut(Hash, Bytes) -> ControlFlow<()>) -> Result<(), Self::Error>;
}

/// Whatever leads to a reader is one: a reference, a box, a shared one.
impl<P: Deref<Target: StateReader>> StateReader for P {
    type Error = <P::Target as StateReader>::Error;

    fn page(&self, key: &PageKey) -> Result<Option<Bytes>, Self::Error> {
        (**self).page(key)
    }

    fn record(&self, key_hash: &Hash) -> Result<Option<Bytes>, Self::Error> {
        (**self).record(key_hash)
    }

    fn scan(&self, prefix: &Prefix, visit: &mut dyn FnMut(Hash, Bytes) -> ControlFlow<()>) -> Result<(), Self::Error> {
        (**self).scan(prefix, visit)
    }
}

/// Writes that must become durable in one atomic batch, each key once and in key order; `None` deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateWrites {
    /// Pages of the tree.
    pub pages: Vec<(PageKey, Option<Vec<u8>>)>,
    /// Records by key hash, so that the records under a prefix of the tree are one range of the store.
    pub records: Vec<(Hash, Option<Bytes>)>,
}

/// A store in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStateStore {
    pages: BTreeMap<PageKey, Bytes>,
    records: BTreeMap<Hash, Bytes>,
}

impl MemoryStateStore {
    /// Writes one batch.
    pub fn write(&mut self, writes: StateWrites) {
        for (key, page) in writes.pages {
            match page {
                Some(page) => self.pages.insert(key, page.into()),
                None => self.pages.remove(&key),
            };
        }
        for (key_hash, record) in writes.records {
            match record {
                Some(record) => self.records.insert(key_hash, record),
                None => self.records.remove(&key_hash),
            };
        }
    }

    /// All pages, in key order.
    pub fn pages(&self) -> impl Iterator<Item = (&PageKey, &Bytes)> {
        self.pages.iter()
    }

    /// All records, in the order of their key hashes.
    pub fn records(&self) -> impl Iterator<Item = (&Hash, &Bytes)> {
        self.records.iter()
    }
}

impl StateReader for MemoryStateStore {
    type Error = Infallible;

    fn page(&self, key: &PageKey) -> Result<Option<Bytes>, Infallible> {
        Ok(self.pages.get(key).cloned())
    }

    fn record(&self, key_hash: &Hash) -> Result<Option<Bytes>, Infallible> {
        Ok(self.records.get(key_hash).cloned())
    }

    fn scan(&self, prefix: &Prefix, visit: &mut dyn FnMut(Hash, Bytes) -> ControlFlow<()>) -> Result<(), Infallible> {
        let mut records = self.records.range(prefix.first()..=prefix.last());
        let _ = records.try_for_each(|(key_hash, record)| visit(*key_hash, record.clone()));
        Ok(())
    }
}
