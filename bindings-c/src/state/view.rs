//! [`View`]: the state at one height, as the host's store holds it, and [`States`], all of them that there are.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{PageKey, Prefix, StateReader, subtree};
use hotstuff2_sync::wire::AdvertisedSnapshots;

use super::{Meta, after, aside_key, page_key, record_key};
use crate::state_store::{HostError, HostStore};

/// Bytes before the hash in the key of a record.
const RECORD_KEY: usize = 2;
/// The same of one that was put aside.
const ASIDE_KEY: usize = 10;
/// Pages that a view remembers, of at most 4 KiB each.
const MAX_PAGES: usize = 1024;
/// Begins bytes that were put aside; without any there was nothing.
pub(super) const SOMETHING: u8 = 1;

/// The state at one height.
#[derive(Clone, Debug)]
pub(crate) struct View {
    store: HostStore,
    half: u8,
    /// Snapshots at or above the view's height, lowest first: what was put aside for the first that has it counts.
    snapshots: Vec<Height>,
    /// Pages that were read: an answer about many places goes through the highest of them for each.
    pages: RefCell<HashMap<PageKey, Option<Bytes>>>,
}

impl View {
    /// The newest state of a half.
    pub(super) fn of(store: HostStore, half: u8) -> Self {
        Self::at(store, half, Vec::new())
    }

    fn at(store: HostStore, half: u8, snapshots: Vec<Height>) -> Self {
        Self { store, half, snapshots, pages: RefCell::default() }
    }

    /// The value under a key of a half.
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, HostError> {
        for &snapshot in &self.snapshots {
            if let Some(aside) = self.store.get(&aside_key(snapshot, key))? {
                return Ok(before(&aside));
            }
        }
        self.store.get(key)
    }
}

/// The bytes that were put aside.
fn before(aside: &Bytes) -> Option<Bytes> {
    (aside.first() == Some(&SOMETHING)).then(|| aside.slice(1..))
}

/// One of the sources of a scan: where it goes on and ends, and its next entry.
struct Source {
    from: Vec<u8>,
    to: Vec<u8>,
    /// Bytes of its keys before the hash.
    skip: usize,
    next: Option<(Hash, Bytes)>,
}

impl Source {
    fn advance(&mut self, store: &HostStore) -> Result<(), HostError> {
        self.next = match store.next(&self.from, &self.to)? {
            None => None,
            Some((key, value)) => {
                self.from = after(&key);
                let hash = key.get(self.skip..).and_then(|hash| <[u8; 32]>::try_from(hash).ok());
                // A key that none of ours can be.
                let hash = hash.ok_or(HostError { function: "next", code: None })?;
                Some((Hash::from_bytes(hash), value))
            }
        };
        Ok(())
    }
}

impl StateReader for View {
    type Error = HostError;

    fn page(&self, key: &PageKey) -> Result<Option<Bytes>, HostError> {
        if let Some(page) = self.pages.borrow().get(key) {
            return Ok(page.clone());
        }
        let page = self.read(&page_key(self.half, key))?;
        let mut pages = self.pages.borrow_mut();
        if pages.len() < MAX_PAGES {
            pages.insert(*key, page.clone());
        }
        Ok(page)
    }

    fn record(&self, key_hash: &Hash) -> Result<Option<Bytes>, HostError> {
        self.read(&record_key(self.half, key_hash))
    }

    fn scan(&self, prefix: &Prefix, visit: &mut dyn FnMut(Hash, Bytes) -> ControlFlow<()>) -> Result<(), HostError> {
        let (first, last) = (record_key(self.half, &prefix.first()), record_key(self.half, &prefix.last()));
        let aside = |&snapshot| Source {
            from: aside_key(snapshot, &first),
            to: aside_key(snapshot, &last),
            skip: ASIDE_KEY,
            next: None,
        };
        let mut sources: Vec<Source> = self.snapshots.iter().map(aside).collect();
        sources.push(Source { from: first.clone(), to: last.clone(), skip: RECORD_KEY, next: None });
        sources.iter_mut().try_for_each(|source| source.advance(&self.store))?;
        loop {
            let lowest = sources.iter().filter_map(|source| source.next.as_ref().map(|(hash, _)| *hash)).min();
            let Some(lowest) = lowest else { return Ok(()) };
            let (mut found, live) = (None, sources.len() - 1);
            for (index, source) in sources.iter_mut().enumerate() {
                let Some((_, value)) = source.next.take_if(|(hash, _)| *hash == lowest) else { continue };
                // The first source that has the key counts.
                found.get_or_insert(if index == live { Some(value) } else { before(&value) });
                source.advance(&self.store)?;
            }
            if let Some(record) = found.flatten()
                && visit(lowest, record).is_break()
            {
                return Ok(());
            }
        }
    }
}

/// The live state and its snapshots, as they stand when a request is answered.
#[derive(Clone, Debug)]
pub(crate) struct States {
    store: HostStore,
    meta: Option<Meta>,
    keys: u64,
}

impl States {
    pub(crate) fn open(store: HostStore) -> Result<Self, HostError> {
        let meta = Meta::read(&store)?;
        // A claimed size of the newest one guides the size of requests only, and so the live one's will do.
        let keys = meta.as_ref().filter(|meta| !meta.snapshots.is_empty()).map_or(0, |meta| {
            let root = subtree(&View::of(store, meta.half), &Prefix::ROOT);
            root.map_or(0, |(_, keys)| keys)
        });
        Ok(Self { store, meta, keys })
    }

    /// The snapshots as a status names them.
    pub(crate) fn advertised(&self) -> Option<AdvertisedSnapshots> {
        let meta = self.meta.as_ref()?;
        let (&oldest, &newest) = (meta.snapshots.first()?, meta.snapshots.last()?);
        Some(AdvertisedSnapshots { oldest, newest, keys: self.keys, bytes: meta.bytes })
    }

    /// The live state with its height.
    pub(crate) fn live(&self) -> Option<(Height, View)> {
        self.meta.as_ref().map(|meta| (meta.height, View::of(self.store, meta.half)))
    }

    /// The snapshots, the one at `near` first, and the live state.
    pub(crate) fn near(&self, near: Height) -> Vec<View> {
        let Some(meta) = &self.meta else { return Vec::new() };
        let from =
            |index: usize| View::at(self.store, meta.half, meta.snapshots.get(index..).unwrap_or_default().to_vec());
        let mut order: Vec<usize> = (0..meta.snapshots.len()).rev().collect();
        order.sort_by_key(|&index| meta.snapshots.get(index) != Some(&near));
        order.into_iter().map(from).chain([View::of(self.store, meta.half)]).collect()
    }
}
