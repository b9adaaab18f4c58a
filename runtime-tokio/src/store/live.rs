//! [`LiveTree`]: the live state as the tree's functions read it; and values in the order of their key hashes, from either
//! set of tables.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::state::{PageKey, Prefix, Record, StateReader, value_hash};

use super::db::{Db, Space};
use super::failure::StoreFailure;
use super::marks::bound;

/// Bytes of values that are read at once.
const READ_BYTES: usize = 1 << 20;

/// The live state, as it is at each read.
pub(super) struct LiveTree<'a>(pub(super) &'a Db);

impl StateReader for LiveTree<'_> {
    type Error = StoreFailure;

    fn page(&self, key: &PageKey) -> Result<Option<Bytes>, StoreFailure> {
        self.0.get(Space::Pages, &key.to_bytes())
    }

    fn record(&self, key_hash: &Hash) -> Result<Option<Bytes>, StoreFailure> {
        self.0.get(Space::Values, key_hash.as_bytes())
    }

    fn scan(&self, prefix: &Prefix, visit: &mut dyn FnMut(Hash, Bytes) -> ControlFlow<()>) -> Result<(), StoreFailure> {
        scan_values(self.0, Space::Values, prefix, |key_hash, record| Ok(visit(key_hash, record)))
    }
}

/// Tells `visit` the values under `prefix`, in the order of their key hashes, until it breaks off.
pub(super) fn scan_values(
    db: &Db,
    space: Space,
    prefix: &Prefix,
    mut visit: impl FnMut(Hash, Bytes) -> Result<ControlFlow<()>, StoreFailure>,
) -> Result<(), StoreFailure> {
    let (mut from, to) = (Bound::Included(Bytes::copy_from_slice(prefix.first().as_bytes())), prefix.last());
    loop {
        // No read may be open while `visit` writes: whoever opens the database again waits for reads to end.
        let rows = db.rows(space, bound(&from), to.as_bytes(), READ_BYTES)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        from = Bound::Excluded(last.clone());
        for (key, record) in rows {
            let key_hash = key.as_ref().try_into().map(Hash::from_bytes);
            let key_hash = key_hash.map_err(|_| StoreFailure::damaged(db.path(), "the key of a value is no hash"))?;
            if visit(key_hash, record)?.is_break() {
                return Ok(());
            }
        }
    }
}

/// The hash of a record's value; that of nothing where it is damaged, so that it doesn't match.
pub(super) fn leaf_value(record: Bytes) -> Hash {
    Record::decode(record).map_or(Hash::ZERO, |record| value_hash(record.value()))
}
