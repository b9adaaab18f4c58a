//! A state in a host's ordered store: keys and values with the tree over them, snapshots for others, and a state that is being
//! fetched. Every function works on what the store holds and keeps nothing between two calls.
//!
//! # Layout
//! A state is in one of two halves, and the record [`Meta`] says in which: the live one is executed on, in the other a state is
//! put together from pieces. To make that one live is to write `Meta` anew, one small change; what the old half holds is
//! deleted after that, or is met as staged pieces of another state, which are compared by their hashes like all others.
//!
//! A snapshot costs what changes after it: the first time that a page or record is overwritten after a snapshot height, the
//! bytes before that are put aside under that height. A view at a height reads what was put aside for the lowest snapshot at
//! or above it, and else the live half.

mod live;
mod staging;
mod view;

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{PageKey, StateError, TreeError};

pub(crate) use live::{apply, info, value};
pub(crate) use staging::carry_out;
pub(crate) use view::{States, View};

use crate::failure::Failure;
use crate::state_store::{Change, HostError, HostStore};
use crate::status::Status;

/// Key of [`Meta`].
const META: [u8; 1] = [0];
/// Spaces of a half, before its number: pages and records.
const PAGES: u8 = 1;
const RECORDS: u8 = 2;
/// Rows that were put aside for snapshots, before their height.
const ASIDE: u8 = 3;
/// Snapshots that are kept: who fetches the older one has until the next comes.
const SNAPSHOTS: usize = 2;
/// Version of [`Meta`]'s encoding.
const VERSION: u8 = 1;
/// Bytes of changes after which a long deletion or copy is written.
const BATCH_BYTES: usize = 1 << 20;

/// Where the state stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meta {
    /// The live half: 0 or 1.
    half: u8,
    height: Height,
    /// Bytes of all records.
    bytes: u64,
    /// Snapshot heights, lowest first.
    snapshots: Vec<Height>,
}

impl Meta {
    fn read(store: &HostStore) -> Result<Option<Self>, HostError> {
        let Some(bytes) = store.get(&META)? else { return Ok(None) };
        Self::decode(&bytes).map(Some).ok_or(HostError { function: "get", code: None })
    }

    fn encode(&self) -> Bytes {
        let mut bytes = vec![VERSION, self.half];
        bytes.extend_from_slice(&self.height.get().to_be_bytes());
        bytes.extend_from_slice(&self.bytes.to_be_bytes());
        self.snapshots.iter().for_each(|height| bytes.extend_from_slice(&height.get().to_be_bytes()));
        bytes.into()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[VERSION, half @ (0 | 1)], rest) = bytes.split_first_chunk()? else { return None };
        let (numbers, []) = rest.as_chunks::<8>() else { return None };
        let (&[height, bytes], snapshots) = numbers.split_first_chunk()?;
        let height_of = |bytes: &[u8; 8]| Height::new(u64::from_be_bytes(*bytes));
        Some(Self {
            half,
            height: height_of(&height),
            bytes: u64::from_be_bytes(bytes),
            snapshots: snapshots.iter().map(height_of).collect(),
        })
    }

    fn change(&self) -> Change {
        (META.to_vec(), Some(self.encode()))
    }
}

/// The key of a page in a half.
fn page_key(half: u8, page: &PageKey) -> Vec<u8> {
    [&[PAGES, half][..], &page.to_bytes()].concat()
}

/// The key of a record in a half.
fn record_key(half: u8, key_hash: &Hash) -> Vec<u8> {
    [&[RECORDS, half][..], key_hash.as_bytes()].concat()
}

/// The key of what was put aside for a snapshot: `key` is of a half, whose number doesn't matter here.
fn aside_key(snapshot: Height, key: &[u8]) -> Vec<u8> {
    let (space, rest) = (key.first().copied().unwrap_or_default(), key.get(2..).unwrap_or_default());
    [&[ASIDE][..], &snapshot.get().to_be_bytes(), &[space], rest].concat()
}

/// The lowest key above `key`.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// Deletes all keys from `from` to `to`, in any number of writes.
fn delete_range(store: &HostStore, from: &[u8], to: &[u8]) -> Result<(), HostError> {
    let mut batch = Batch::new(store);
    let mut from = from.to_vec();
    while let Some((key, _)) = store.next(&from, to)? {
        from = after(&key);
        batch.put(key.to_vec(), None)?;
    }
    batch.commit()
}

/// Changes that are written whenever there are many.
struct Batch<'a> {
    store: &'a HostStore,
    changes: Vec<Change>,
    bytes: usize,
}

impl<'a> Batch<'a> {
    const fn new(store: &'a HostStore) -> Self {
        Self { store, changes: Vec::new(), bytes: 0 }
    }

    fn put(&mut self, key: Vec<u8>, value: Option<Bytes>) -> Result<(), HostError> {
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        self.changes.push((key, value));
        if self.bytes < BATCH_BYTES { Ok(()) } else { self.commit() }
    }

    fn commit(&mut self) -> Result<(), HostError> {
        self.bytes = 0;
        self.store.write(&std::mem::take(&mut self.changes))
    }
}

impl From<StateError<HostError>> for Failure {
    fn from(error: StateError<HostError>) -> Self {
        match error {
            StateError::Store(error) | StateError::Tree(TreeError::Store(error)) => error.into(),
            StateError::Limit(error) => Self::new(Status::Refused, error.to_string()),
            // Nothing that a host reads back may be another thing than what was written.
            error => Self::new(Status::HostFailed, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_has_one_encoding() {
        let meta = Meta { half: 1, height: Height::new(7), bytes: 9, snapshots: vec![Height::new(3), Height::new(6)] };
        let bytes = meta.encode();
        assert_eq!(Meta::decode(&bytes), Some(meta));
        assert_eq!(Meta::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Meta::decode(&[&[1, 2][..], &bytes[2..]].concat()), None);
        assert_eq!(Meta::decode(&[]), None);
    }
}
