//! Marks: which places of the staged state were staged in one piece, and with which hash. A mark stands only while the
//! values under its place are the very ones that it was written with: whoever is about to change them deletes the marks
//! of all places above and below first.

use std::ops::Bound;

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::state::Prefix;

use super::db::{Db, Space};
use super::failure::StoreFailure;

/// Marks that are read at once.
const MARKS_AT_ONCE: usize = 4096;

/// The row of a place: its path, then its depth, so that the places below it follow.
pub(super) fn key_of(prefix: &Prefix) -> Bytes {
    key_at(prefix.first(), prefix.depth())
}

fn key_at(path: Hash, depth: u16) -> Bytes {
    [&path.as_bytes()[..], &depth.to_be_bytes()].concat().into()
}

/// The place that a row belongs to.
fn place_of(key: &[u8]) -> Option<Prefix> {
    let (path, depth) = key.split_first_chunk::<32>()?;
    Prefix::new(Hash::from_bytes(*path), u16::from_be_bytes(depth.try_into().ok()?))
}

/// The hash that a place is marked with.
pub(super) fn mark_of(db: &Db, prefix: &Prefix) -> Result<Option<Hash>, StoreFailure> {
    let row = db.get(Space::Marks, &key_of(prefix))?;
    Ok(row.and_then(|row| Some(Hash::from_bytes(*row.first_chunk()?))))
}

/// Tells `visit` the marked places that overlap with `prefix`: it, those above, and those below.
pub(super) fn overlapping(
    db: &Db,
    prefix: &Prefix,
    mut visit: impl FnMut(Bytes) -> Result<(), StoreFailure>,
) -> Result<(), StoreFailure> {
    for depth in 0..prefix.depth() {
        let Some(above) = Prefix::new(prefix.first(), depth) else { continue };
        let key = key_of(&above);
        if db.get(Space::Marks, &key)?.is_some() {
            visit(key)?;
        }
    }
    let mut from = Bound::Included(key_of(prefix));
    let to = key_at(prefix.last(), u16::MAX);
    loop {
        let keys = db.keys(Space::Marks, bound(&from), &to, MARKS_AT_ONCE)?;
        let full = keys.len() == MARKS_AT_ONCE;
        let last = keys.last().cloned();
        keys.into_iter().try_for_each(&mut visit)?;
        match last.filter(|_| full) {
            Some(last) => from = Bound::Excluded(last),
            None => return Ok(()),
        }
    }
}

/// All marks, some at a time: those above the row `after`.
pub(super) fn next(db: &Db, after: Option<&Bytes>) -> Result<Vec<(Bytes, Prefix, Hash)>, StoreFailure> {
    let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(&after[..]));
    let to = key_at(Prefix::ROOT.last(), u16::MAX);
    let rows = db.rows(Space::Marks, from, &to, MARKS_AT_ONCE.saturating_mul(to.len()))?;
    let mark = |(key, row): (Bytes, Bytes)| {
        let mark = place_of(&key).zip(row.first_chunk().copied().map(Hash::from_bytes));
        let (place, hash) =
            mark.ok_or_else(|| StoreFailure::damaged(db.path(), "a mark of staged state makes no sense"))?;
        Ok((key, place, hash))
    };
    rows.into_iter().map(mark).collect()
}

pub(super) fn bound(from: &Bound<Bytes>) -> Bound<&[u8]> {
    match from {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}
