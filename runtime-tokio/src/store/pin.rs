//! [`Pin`]: the database as of one commit, whatever is written while it is read.
//!
//! Rows that were overwritten or deleted since stay readable until the pin is dropped. Where the tables themselves are
//! exchanged, because the database was opened again or another state became the live one, every pin ends: its reads
//! fail, since the new tables know nothing of the moment that it stands for.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use fjall::Readable as _;

use super::db::{Db, Handles, Space};
use super::failure::StoreFailure;

/// Where a range of rows begins or ends.
pub(super) type KeyBound = Bound<Bytes>;

/// The database as of one commit.
pub(super) struct Pin {
    db: Arc<Db>,
    moment: fjall::Snapshot,
    opened: u64,
}

impl Pin {
    pub(super) fn new(db: &Arc<Db>) -> Result<Self, StoreFailure> {
        let pinned = db.with(|handles| {
            let (moment, opened) = (handles.db.snapshot(), db.opened());
            // Else another state has just become the live one, and its tables come next.
            Ok(handles.are_live(&moment)?.then_some(Self { db: Arc::clone(db), moment, opened }))
        });
        pinned?.ok_or_else(|| lost(db))
    }

    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    /// Several reads, none of which may come back here: whoever opens the database again waits for them.
    pub(super) fn read<T>(&self, action: impl FnOnce(&PinnedRows<'_>) -> fjall::Result<T>) -> Result<T, StoreFailure> {
        let read = self.db.with(|handles| {
            if self.db.opened() != self.opened {
                return Ok(None);
            }
            action(&PinnedRows { handles, moment: &self.moment }).map(Some)
        });
        read?.ok_or_else(|| lost(&self.db))
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreFailure> {
        self.read(|rows| rows.get(space, key))
    }
}

/// The rows that a pin sees.
pub(super) struct PinnedRows<'a> {
    handles: &'a Handles,
    moment: &'a fjall::Snapshot,
}

impl PinnedRows<'_> {
    pub(super) fn get(&self, space: Space, key: &[u8]) -> fjall::Result<Option<Bytes>> {
        Ok(self.moment.get(self.handles.space(space), key)?.map(Bytes::from))
    }

    /// Rows in key order.
    pub(super) fn range(
        &self,
        space: Space,
        bounds: (KeyBound, KeyBound),
    ) -> impl Iterator<Item = fjall::Result<(Bytes, Bytes)>> + use<> {
        let rows = self.moment.range(self.handles.space(space), bounds);
        rows.map(|row| row.into_inner().map(|(key, value)| (Bytes::from(key), Bytes::from(value))))
    }
}

impl Db {
    pub(super) fn contains(&self, space: Space, key: &[u8]) -> Result<bool, StoreFailure> {
        self.with(|handles| handles.space(space).contains_key(key))
    }
}

fn lost(db: &Db) -> StoreFailure {
    StoreFailure::ViewLost { path: db.path().to_owned() }
}
