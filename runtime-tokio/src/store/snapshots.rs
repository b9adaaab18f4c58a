//! [`Snapshots`]: which heights' states are kept, and what a commit of state must put aside for them.
//!
//! A snapshot costs nothing while nothing changes. From its height on, the first write of a key puts aside what was
//! there, in the batch of the write: under the number of the newest layer, so that a layer holds what changed between
//! its height and the next one's. A view reads the layers from its own upwards, and then the live row.
//!
//! A snapshot is dropped by not offering it any more. Its layer stays as long as lower snapshots read through it; what
//! is below the lowest kept one is deleted with later commits, a bounded number of rows with each.
//!
//! The keeper trusts that the state at a height is the same whoever commits it, and that heights don't fall. Where
//! one does, all snapshots are dropped.

use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::wire::AdvertisedSnapshots;

use super::db::{Db, Space, Write};
use super::failure::StoreFailure;
use super::load::read_record;
use super::records::{LayerRecord, SnapshotsRecord, StateSize, encode, key};
use super::seen::Seen;
use super::state::{StateSpace, StateWrite};

/// Rows of dropped snapshots that are deleted with a commit, at least. A commit that puts more rows aside deletes twice
/// as many, so that they never pile up.
const DELETE_ROWS: usize = 4096;

/// First byte of a row that was put aside: nothing was there.
const ABSENT: u8 = 0;
/// First byte of a row that was put aside: what was there follows.
const PRESENT: u8 = 1;

/// Which snapshots of the state are kept.
///
/// Age is counted in blocks: then all nodes keep the same ones, whatever their clocks say, and one that was switched off
/// for a day still has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRetention {
    /// The newest so many. Each costs what changes in the state until the next one.
    pub count: u32,
    /// Those that are at most so many blocks below the state's height; `None` for any age.
    pub max_age: Option<u64>,
}

impl Default for SnapshotRetention {
    /// The newest two: one can still be fetched for an interval after the next one came.
    fn default() -> Self {
        Self { count: 2, max_age: None }
    }
}

/// A kept snapshot of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The state is that after the block at this height, a multiple of the chain's snapshot interval.
    pub height: Height,
    /// How many keys it has.
    pub keys: u64,
    /// Bytes of its keys and values.
    pub bytes: u64,
}

/// The snapshots of a store.
pub(super) struct Snapshots {
    interval: NonZeroU64,
    /// The height that the state is on its way to; zero where nothing was said.
    target: AtomicU64,
    keeper: Mutex<Keeper>,
    /// As of the last commit, for readers that don't wait for the next one.
    published: RwLock<Arc<SnapshotsRecord>>,
    /// How many were published.
    version: AtomicU64,
}

/// Lock and index of the state, for the one who changes it.
pub(super) struct Keeper {
    record: SnapshotsRecord,
    /// Set while the outcome of a commit is unknown: the database says what `record` is.
    unsure: bool,
    retention: SnapshotRetention,
    seen: Seen,
    /// The last row that was deleted of the first retired layer. What was deleted lies in the way of a search until the
    /// database has tidied up.
    deleted: Option<Bytes>,
}

impl Snapshots {
    pub(super) fn load(db: &Db, interval: NonZeroU64) -> Result<Self, StoreFailure> {
        let record: SnapshotsRecord = read_record(db, key::SNAPSHOTS)?.unwrap_or_default();
        let published = RwLock::new(Arc::new(record.clone()));
        let keeper = Keeper {
            record,
            unsure: false,
            retention: SnapshotRetention::default(),
            seen: Seen::default(),
            deleted: None,
        };
        Ok(Self {
            interval,
            target: AtomicU64::new(0),
            keeper: Mutex::new(keeper),
            published,
            version: AtomicU64::new(0),
        })
    }

    pub(super) fn interval(&self) -> NonZeroU64 {
        self.interval
    }

    /// The state is on its way to `target`: a snapshot that would be dropped before it is there isn't begun.
    pub(super) fn note_target(&self, target: Height) {
        self.target.store(target.get(), Ordering::Relaxed);
    }

    pub(super) fn target(&self) -> Height {
        Height::new(self.target.load(Ordering::Relaxed))
    }

    /// The snapshots that are kept, lowest first.
    pub(super) fn kept(&self) -> Vec<Snapshot> {
        let record = self.published.read().unwrap_or_else(PoisonError::into_inner).clone();
        let kept = record.layers.iter().filter(|layer| layer.kept);
        kept.map(|layer| Snapshot { height: layer.height, keys: layer.size.keys, bytes: layer.size.bytes }).collect()
    }

    /// How many keys the live state has, as it was counted.
    pub(super) fn keys(&self) -> u64 {
        self.published.read().unwrap_or_else(PoisonError::into_inner).size.keys
    }

    /// The claim that peers are told: from the newest snapshot down, as far as none is missing.
    pub(super) fn advertised(&self) -> Option<AdvertisedSnapshots> {
        let kept = self.kept();
        let newest = kept.last()?;
        let Snapshot { mut height, keys, bytes } = *newest;
        for snapshot in kept.iter().rev().skip(1) {
            if height.above(snapshot.height) != self.interval.get() {
                break;
            }
            height = snapshot.height;
        }
        Some(AdvertisedSnapshots { oldest: height, newest: newest.height, keys, bytes })
    }

    /// Takes the place of the one who changes the state.
    pub(super) fn lock(&self, db: &Db) -> Result<MutexGuard<'_, Keeper>, StoreFailure> {
        let mut keeper = self.keeper.lock().unwrap_or_else(|poisoned| {
            let mut keeper = poisoned.into_inner();
            keeper.unsure = true;
            keeper
        });
        if keeper.unsure {
            let record = read_record(db, key::SNAPSHOTS)?.unwrap_or_default();
            keeper.seen = Seen::default();
            keeper.deleted = None;
            keeper.unsure = false;
            self.publish(&mut keeper, record);
        }
        Ok(keeper)
    }

    /// Commits `change` with `commit`.
    pub(super) fn commit(
        &self,
        keeper: &mut Keeper,
        change: Change,
        commit: impl FnOnce(Vec<Write>) -> Result<(), StoreFailure>,
    ) -> Result<(), StoreFailure> {
        keeper.unsure = true;
        commit(change.rows)?;
        keeper.unsure = false;
        keeper.deleted = change.deleted;
        self.publish(keeper, change.record);
        Ok(())
    }

    fn publish(&self, keeper: &mut Keeper, record: SnapshotsRecord) {
        keeper.record = record.clone();
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(record);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Rises with every change.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

/// A batch in the making.
pub(super) struct Change {
    pub(super) rows: Vec<Write>,
    record: SnapshotsRecord,
    deleted: Option<Bytes>,
}

impl Change {
    /// Whether rows of dropped snapshots are left to delete.
    pub(super) fn is_unfinished(&self) -> bool {
        !self.record.retired.is_empty()
    }
}

impl Keeper {
    pub(super) fn set_retention(&mut self, retention: SnapshotRetention) {
        self.retention = retention;
    }

    /// The change that moves the state from `applied` to `height`.
    pub(super) fn plan_commit(
        &mut self,
        db: &Db,
        (interval, target): (NonZeroU64, Height),
        (applied, height): (Height, Height),
        writes: &mut dyn Iterator<Item = StateWrite>,
    ) -> Result<Change, StoreFailure> {
        let mut change = self.begin();
        let record = &mut change.record;
        if height < applied {
            drop_all(record);
        }
        // First what is kept from now on: nothing is put aside for what goes with this very batch.
        if self.retention.outlives(height, target, interval) {
            keep(record, interval, height);
        }
        self.retention.apply(record, height);
        // A snapshot is what its height's last commit leaves.
        let below = record.layers.iter_mut().rfind(|layer| layer.height < height);
        self.seen.turn_to(below.as_deref());
        let size = self.put_aside(db, below, writes, &mut change.rows, record.size);
        let size = size.inspect_err(|_| self.seen = Seen::default())?;
        resize(record, height, size);
        self.finish(db, change)
    }

    /// The change that drops the snapshot at `height`; `None` where there is none.
    pub(super) fn plan_drop(&self, db: &Db, applied: Height, height: Height) -> Result<Option<Change>, StoreFailure> {
        let mut change = self.begin();
        let Some(layer) = change.record.layers.iter_mut().find(|layer| layer.height == height && layer.kept) else {
            return Ok(None);
        };
        layer.kept = false;
        self.retention.apply(&mut change.record, applied);
        self.finish(db, change).map(Some)
    }

    /// The change that drops the snapshots that are too many or too old, and deletes some of the rows that were put
    /// aside for them.
    pub(super) fn plan_cleaning(&self, db: &Db, applied: Height) -> Result<Change, StoreFailure> {
        let mut change = self.begin();
        self.retention.apply(&mut change.record, applied);
        self.finish(db, change)
    }

    fn begin(&self) -> Change {
        Change { rows: Vec::new(), record: self.record.clone(), deleted: self.deleted.clone() }
    }

    /// Adds `writes` to `rows`, each after what it overwrites that `layer` doesn't have yet. Returns the state's new size.
    fn put_aside(
        &mut self,
        db: &Db,
        mut layer: Option<&mut LayerRecord>,
        writes: &mut dyn Iterator<Item = StateWrite>,
        rows: &mut Vec<Write>,
        mut size: StateSize,
    ) -> Result<StateSize, StoreFailure> {
        for (table, key, value) in writes {
            let new_len = value.as_ref().map(Bytes::len);
            let old_len = match self.seen.insert(table, &key, new_len) {
                Some(len) => len,
                None => self.first_write(db, layer.as_deref_mut(), table, &key, rows)?,
            };
            if table == StateSpace::Values {
                size.exchange(old_len, new_len);
            }
            rows.push((table.space(), key, value));
        }
        Ok(size)
    }

    /// Puts aside what `key` has, unless `layer` has what it had already. Returns the length of what it has, where it
    /// was read.
    fn first_write(
        &self,
        db: &Db,
        layer: Option<&mut LayerRecord>,
        table: StateSpace,
        key: &[u8],
        rows: &mut Vec<Write>,
    ) -> Result<Option<usize>, StoreFailure> {
        let aside = match layer {
            Some(layer) => {
                let aside = aside_key(layer.number, table, key);
                let first = self.seen.complete || !db.contains(Space::Aside, &aside)?;
                first.then_some((layer, aside))
            }
            None => None,
        };
        if aside.is_none() && table != StateSpace::Values {
            return Ok(None);
        }
        let old = db.get(table.space(), key)?;
        let len = old.as_ref().map(Bytes::len);
        if let Some((layer, aside)) = aside {
            rows.push((Space::Aside, aside, Some(aside_row(old))));
            layer.rows = layer.rows.saturating_add(1);
        }
        Ok(len)
    }

    /// The change that lets a state of `size` at `height` take the live one's place, tables and all. The caller adds
    /// its rows.
    pub(super) fn plan_replacement(
        &mut self,
        db: &Db,
        interval: NonZeroU64,
        height: Height,
        size: StateSize,
    ) -> Result<Change, StoreFailure> {
        self.seen = Seen::default();
        // Rows that were put aside go with their table.
        let record = SnapshotsRecord { next: self.record.next, ..SnapshotsRecord::default() };
        let mut change = Change { rows: Vec::new(), record, deleted: None };
        keep(&mut change.record, interval, height);
        self.retention.apply(&mut change.record, height);
        resize(&mut change.record, height, size);
        self.finish(db, change)
    }

    /// The change that keeps the snapshot at `height` again, below all others: `rows` are those in which it differs
    /// from the state above, `sizes` the lengths of those records that are values, there and in the snapshot.
    pub(super) fn plan_restored(
        &self,
        db: &Db,
        height: Height,
        sizes: &[(Option<usize>, Option<usize>)],
        rows: Vec<StateWrite>,
    ) -> Result<Change, StoreFailure> {
        let mut change = self.begin();
        let record = &mut change.record;
        let place = record.layers.partition_point(|layer| layer.height <= height);
        let mut size = record.layers.get(place).map_or(record.size, |above| above.size);
        for &(above, here) in sizes {
            size.exchange(above, here);
        }
        let number = record.next;
        record.next = number.saturating_add(1);
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        record.layers.insert(place, LayerRecord { number, height, size, rows: count, kept: true });
        let rows = rows.into_iter();
        change
            .rows
            .extend(rows.map(|(table, key, row)| (Space::Aside, aside_key(number, table, &key), Some(aside_row(row)))));
        self.finish(db, change)
    }

    /// Adds the rows that are left to delete, as many as a batch may have, and the record.
    fn finish(&self, db: &Db, mut change: Change) -> Result<Change, StoreFailure> {
        let record = &mut change.record;
        let mut quota = change.rows.len().saturating_mul(2).max(DELETE_ROWS);
        while let Some(&number) = record.retired.first() {
            let (first, last) = (key::at(&[], number), key::at(&[], number.saturating_add(1)));
            let from = change.deleted.as_deref().map_or(Bound::Included(&*first), Bound::Excluded);
            let keys = db.keys(Space::Aside, from, &last, quota)?;
            let all = keys.len() < quota;
            quota = quota.saturating_sub(keys.len());
            change.deleted = keys.last().cloned().filter(|_| !all);
            change.rows.extend(keys.into_iter().map(|key| (Space::Aside, key, None)));
            if !all {
                break;
            }
            record.retired.remove(0);
        }
        if *record != self.record {
            change.rows.push((Space::Index, Bytes::from_static(key::SNAPSHOTS), Some(encode(record))));
        }
        Ok(change)
    }
}

impl SnapshotRetention {
    /// Whether a snapshot at `height` is still among the newest ones when the state is at `target`.
    fn outlives(self, height: Height, target: Height, interval: NonZeroU64) -> bool {
        let newest = target.get() / interval;
        newest.saturating_sub(height.get() / interval) < u64::from(self.count)
    }

    /// Drops what is too much or too old for a state at `height`.
    fn apply(self, record: &mut SnapshotsRecord, height: Height) {
        let mut left = self.count;
        for layer in record.layers.iter_mut().rev().filter(|layer| layer.kept) {
            let too_old = self.max_age.is_some_and(|age| height.above(layer.height) > age);
            layer.kept = left > 0 && !too_old;
            left = left.saturating_sub(1);
        }
        retire(record);
    }
}

/// Begins a snapshot at `height` if it is one of the chain's snapshot heights.
fn keep(record: &mut SnapshotsRecord, interval: NonZeroU64, height: Height) {
    let begun = record.layers.last().is_some_and(|newest| newest.height == height);
    if height.get() % interval == 0 && height > Height::ZERO && !begun {
        let number = record.next;
        record.next = number.saturating_add(1);
        record.layers.push(LayerRecord { number, height, size: record.size, rows: 0, kept: true });
    }
}

/// The live state, which stands at `height`, is of this size now.
fn resize(record: &mut SnapshotsRecord, height: Height, size: StateSize) {
    record.size = size;
    if let Some(newest) = record.layers.last_mut().filter(|newest| newest.height == height) {
        newest.size = size;
    }
}

fn drop_all(record: &mut SnapshotsRecord) {
    record.layers.iter_mut().for_each(|layer| layer.kept = false);
    retire(record);
}

/// Gives up the layers that no kept snapshot reads.
fn retire(record: &mut SnapshotsRecord) {
    let read = record.layers.iter().position(|layer| layer.kept).unwrap_or(record.layers.len());
    let unread = record.layers.drain(..read).filter(|layer| layer.rows > 0).map(|layer| layer.number);
    record.retired.extend(unread);
}

/// The key of what was put aside: number of the layer, table, key.
pub(super) fn aside_key(layer: u64, table: StateSpace, key: &[u8]) -> Bytes {
    let table = match table {
        StateSpace::Values => 0u8,
        StateSpace::Pages => 1,
    };
    [&layer.to_be_bytes()[..], &[table], key].concat().into()
}

fn aside_row(old: Option<Bytes>) -> Bytes {
    match old {
        None => Bytes::from_static(&[ABSENT]),
        Some(old) => [&[PRESENT], &old[..]].concat().into(),
    }
}

/// The record that was there when the row was put aside; `None` where the row isn't one.
pub(super) fn read_aside(row: &Bytes) -> Option<Option<Bytes>> {
    match row.split_first()? {
        (&ABSENT, []) => Some(None),
        (&PRESENT, old) => Some(Some(row.slice_ref(old))),
        _ => None,
    }
}
