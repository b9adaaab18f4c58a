//! The live state: blocks are executed on it, and their changes written with the snapshots that they cost.

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{KeyValueState, Prefix, StateWrites, subtree};

use super::view::SOMETHING;
use super::{ASIDE, Meta, RECORDS, SNAPSHOTS, View, aside_key, delete_range, page_key, record_key};
use crate::failure::Failure;
use crate::state_store::{Change, HostError, HostStore};
use crate::status::Status;
use crate::types::hs2_state_info;

/// Changes of a block: keys with their new values, `None` for those that are deleted.
pub(crate) type BlockChanges<'a> = &'a [(&'a [u8], Option<&'a [u8]>)];

/// Where the state stands; `None` before the first block.
pub(crate) fn info(store: &HostStore) -> Result<Option<hs2_state_info>, Failure> {
    let Some(meta) = Meta::read(store)? else { return Ok(None) };
    let (root, keys) = root(store, meta.half)?;
    let snapshot = |height: Option<&Height>| height.map_or(0, |height| height.get());
    Ok(Some(hs2_state_info {
        height: meta.height.get(),
        root: root.into(),
        keys,
        bytes: meta.bytes,
        oldest_snapshot: snapshot(meta.snapshots.first()),
        newest_snapshot: snapshot(meta.snapshots.last()),
    }))
}

/// The root of a half, and how many keys it has.
pub(super) fn root(store: &HostStore, half: u8) -> Result<(Hash, u64), Failure> {
    subtree(&View::of(*store, half), &Prefix::ROOT)
        .map_err(|error| hotstuff2_sync::state::StateError::from(error).into())
}

/// The value of a key in the live state.
pub(crate) fn value(store: &HostStore, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let Some(meta) = Meta::read(store)? else { return Ok(None) };
    let mut state = KeyValueState::load(View::of(*store, meta.half))?;
    Ok(state.get(key)?.map(<[u8]>::to_vec))
}

/// Applies the changes of the block at `height`, and the root after it. Where `expected` is another, nothing is written. A
/// state at a multiple of `interval`, which is 0 for none, becomes a snapshot.
pub(crate) fn apply(
    store: &HostStore,
    height: Height,
    interval: u64,
    changes: BlockChanges<'_>,
    expected: Option<Hash>,
) -> Result<Hash, Failure> {
    let known = Meta::read(store)?;
    if let Some(meta) = known.as_ref().filter(|meta| height <= meta.height) {
        let text = format!("the state stands at height {} already, and block {height} is not above it", meta.height);
        return Err(Failure::new(Status::WrongState, text));
    }
    let first = Meta { half: 0, height, bytes: 0, snapshots: Vec::new() };
    let mut meta = known.unwrap_or(first);
    let mut state = KeyValueState::load(View::of(*store, meta.half))?;
    let root = state.apply(changes.iter().copied())?;
    if let Some(expected) = expected.filter(|expected| *expected != root) {
        let text = format!("the state root after block {height} is {root}, and {expected} was expected");
        return Err(Failure::new(Status::Refused, text));
    }
    let mut batch = aside(store, &mut meta, state.take_writes())?;
    meta.height = height;
    let mut dropped = false;
    if interval > 0 && height.get().is_multiple_of(interval) && height > Height::ZERO {
        // From the oldest to the newest all multiples are there.
        let follows = meta.snapshots.last().is_some_and(|last| last.plus(interval) == height);
        let kept = if follows { SNAPSHOTS - 1 } else { 0 };
        dropped = meta.snapshots.len() > kept;
        meta.snapshots.drain(..meta.snapshots.len().saturating_sub(kept));
        meta.snapshots.push(height);
    }
    batch.push(meta.change());
    store.write(&batch)?;
    if dropped {
        forget_below(store, meta.snapshots.first().copied())?;
    }
    Ok(root)
}

/// The changes that write a block's, with what they overwrite put aside for the newest snapshot.
fn aside(store: &HostStore, meta: &mut Meta, writes: StateWrites) -> Result<Vec<Change>, HostError> {
    let half = meta.half;
    let pages = writes.pages.into_iter().map(|(page, bytes)| (page_key(half, &page), bytes.map(Bytes::from)));
    let records = writes.records.into_iter().map(|(hash, record)| (record_key(half, &hash), record));
    let mut batch = Vec::new();
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
    for (key, bytes) in pages.chain(records) {
        let old = store.get(&key)?;
        if key.first() == Some(&RECORDS) {
            meta.bytes = meta.bytes.saturating_sub(len(&old)).saturating_add(len(&bytes));
        }
        if let Some(&snapshot) = meta.snapshots.last() {
            let aside = aside_key(snapshot, &key);
            if store.get(&aside)?.is_none() {
                let kept = old.map(|old| [&[SOMETHING][..], &old].concat()).unwrap_or_default();
                batch.push((aside, Some(kept.into())));
            }
        }
        batch.push((key, bytes));
    }
    Ok(batch)
}

/// Deletes what was put aside for snapshots below `kept`, or for all of them.
pub(super) fn forget_below(store: &HostStore, kept: Option<Height>) -> Result<(), HostError> {
    let lowest = kept.unwrap_or(Height::MAX).get();
    let last = lowest.saturating_sub(1).to_be_bytes();
    delete_range(store, &[ASIDE], &[&[ASIDE][..], &last, &[u8::MAX]].concat())
}
