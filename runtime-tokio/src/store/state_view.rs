//! [`StateView`]: the state as it was at a snapshot height, or as it is now, for readers that must not see commits come
//! in between. It trusts the rows: what reads it checks pages against the tree's hashes, and so does whoever is served.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{PageKey, Prefix, StateReader};

use super::db::Space;
use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::pin::{Pin, PinnedRows};
use super::records::{self, SnapshotsRecord, key};
use super::snapshots::{Snapshot, SnapshotRetention, aside_key, read_aside};
use super::state::{StateSpace, StateStore};

/// Records that are read in one go. Between two of them a writer may open the database again.
const SCAN_ROWS: usize = 512;

/// Bytes of records after which fewer are read in one go.
const SCAN_BYTES: usize = 512 << 10;

/// The state at one height, as it stays whatever is committed or dropped meanwhile. What changes while it is there can't
/// be freed: not to be kept for long.
#[derive(Clone)]
pub struct StateView {
    pin: Arc<Pin>,
    height: Height,
    /// Rows put aside from its height on, by layer, lowest first.
    layers: Arc<[u64]>,
}

impl StateView {
    /// The state is that after the block at this height.
    pub fn height(&self) -> Height {
        self.height
    }

    fn read(&self, table: StateSpace, key: &[u8]) -> Result<Option<Bytes>, StoreFailure> {
        for &layer in &*self.layers {
            if let Some(row) = self.pin.get(Space::Aside, &aside_key(layer, table, key))? {
                return read_aside(&row).ok_or_else(|| self.damaged());
            }
        }
        self.pin.get(table.space(), key)
    }

    fn damaged(&self) -> StoreFailure {
        let what = format!("a row of the state at {} has a wrong form", self.height);
        StoreFailure::damaged(self.pin.db().path(), what)
    }
}

/// The live state of a store, as an application reads it over [`KeyValueState`](hotstuff2_sync::state::KeyValueState).
pub struct LiveState<S: StateStore + ?Sized = dyn StateStore>(Arc<S>);

impl<S: StateStore + ?Sized> LiveState<S> {
    /// The live state of `store`.
    pub fn new(store: Arc<S>) -> Self {
        Self(store)
    }
}

impl<S: StateStore + ?Sized> StateReader for LiveState<S> {
    type Error = StoreFailure;

    fn page(&self, key: &PageKey) -> Result<Option<Bytes>, StoreFailure> {
        self.0.read(StateSpace::Pages, &key.to_bytes())
    }

    fn record(&self, key_hash: &Hash) -> Result<Option<Bytes>, StoreFailure> {
        self.0.read(StateSpace::Values, key_hash.as_bytes())
    }

    fn scan(&self, prefix: &Prefix, visit: &mut dyn FnMut(Hash, Bytes) -> ControlFlow<()>) -> Result<(), StoreFailure> {
        self.0.scan(prefix, visit)
    }
}

impl<S: StateStore + ?Sized> std::fmt::Debug for LiveState<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveState").field("applied", &self.0.applied()).finish_non_exhaustive()
    }
}

impl StateReader for StateView {
    type Error = StoreFailure;

    fn page(&self, key: &PageKey) -> Result<Option<Bytes>, StoreFailure> {
        self.read(StateSpace::Pages, &key.to_bytes())
    }

    fn record(&self, key_hash: &Hash) -> Result<Option<Bytes>, StoreFailure> {
        self.read(StateSpace::Values, key_hash.as_bytes())
    }

    fn scan(&self, prefix: &Prefix, visit: &mut dyn FnMut(Hash, Bytes) -> ControlFlow<()>) -> Result<(), StoreFailure> {
        let last = prefix.last();
        let mut from = Bound::Included(prefix.first());
        loop {
            let batch = self.pin.read(|rows| Batch::read(self, rows, from, last))?;
            let Some(batch) = batch else { return Err(self.damaged()) };
            let newest = batch.records.last().map(|(key_hash, _)| *key_hash);
            // A batch may have nothing but deleted records, and yet not be the last one.
            for (key_hash, record) in batch.records {
                if let Some(record) = record
                    && visit(key_hash, record).is_break()
                {
                    return Ok(());
                }
            }
            match newest {
                Some(newest) if !batch.last => from = Bound::Excluded(newest),
                _ => return Ok(()),
            }
        }
    }
}

impl std::fmt::Debug for StateView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateView").field("height", &self.height).finish_non_exhaustive()
    }
}

/// Some records in a row.
struct Batch {
    /// `None` where the view has nothing at the key.
    records: Vec<(Hash, Option<Bytes>)>,
    /// Whether there are no more.
    last: bool,
}

/// The rows of one layer or of the live state, and the first that was not taken.
struct Source {
    rows: Box<dyn Iterator<Item = fjall::Result<(Bytes, Bytes)>>>,
    /// Bytes before the key hash.
    head: usize,
    next: Option<(Hash, Bytes)>,
}

impl Source {
    /// False where the next row has no key hash.
    fn advance(&mut self) -> fjall::Result<bool> {
        let Some((key, row)) = self.rows.next().transpose()? else {
            self.next = None;
            return Ok(true);
        };
        let key_hash = key.get(self.head..).and_then(|hash| <[u8; 32]>::try_from(hash).ok());
        self.next = key_hash.map(|key_hash| (Hash::from_bytes(key_hash), row));
        Ok(key_hash.is_some())
    }
}

impl Batch {
    /// Reads from `from` to `last`. `None` where a row has a wrong form.
    fn read(view: &StateView, rows: &PinnedRows<'_>, from: Bound<Hash>, last: Hash) -> fjall::Result<Option<Self>> {
        let aside = view.layers.iter().map(|&layer| {
            let key = |hash: Hash| aside_key(layer, StateSpace::Values, hash.as_bytes());
            (Space::Aside, aside_key(layer, StateSpace::Values, &[]).len(), from.map(key), key(last))
        });
        let live = |hash: Hash| Bytes::copy_from_slice(hash.as_bytes());
        let live_source = std::iter::once((StateSpace::Values.space(), 0, from.map(live), live(last)));
        let mut sources = Vec::with_capacity(view.layers.len().saturating_add(1));
        for (space, head, from, last) in aside.chain(live_source) {
            let rows = Box::new(rows.range(space, (from, Bound::Included(last))));
            let mut source = Source { rows, head, next: None };
            if !source.advance()? {
                return Ok(None);
            }
            sources.push(source);
        }

        let (mut records, mut bytes) = (Vec::new(), 0usize);
        while records.len() < SCAN_ROWS && bytes < SCAN_BYTES {
            let Some(lowest) = sources.iter().filter_map(|source| Some(source.next.as_ref()?.0)).min() else {
                return Ok(Some(Self { records, last: true }));
            };
            let mut found = None;
            let live = sources.len().saturating_sub(1);
            for (index, source) in sources.iter_mut().enumerate() {
                let Some((_, row)) = source.next.take_if(|(key_hash, _)| *key_hash == lowest) else { continue };
                if found.is_none() {
                    let record = if index == live { Some(Some(row)) } else { read_aside(&row) };
                    found = Some(record);
                }
                if !source.advance()? {
                    return Ok(None);
                }
            }
            let Some(record) = found.flatten() else { return Ok(None) };
            bytes = bytes.saturating_add(record.as_ref().map_or(0, Bytes::len));
            records.push((lowest, record));
        }
        Ok(Some(Self { records, last: false }))
    }
}

impl<C: Chain> DiskStore<C> {
    /// The snapshots of the state that are kept, lowest first.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.snapshots.kept()
    }

    /// Says which snapshots to keep from now on, and drops the others. A store that was just opened keeps those that it
    /// has until the first commit that lands on a snapshot height.
    pub fn set_snapshot_retention(&self, retention: SnapshotRetention) -> Result<(), StoreFailure> {
        self.lock_state()?.set_retention(retention);
        self.clean_snapshots()
    }

    /// Drops the snapshot at `height`. False where there is none. Views of it that are being read stay as they are.
    pub fn drop_snapshot(&self, height: Height) -> Result<bool, StoreFailure> {
        let mut keeper = self.lock_state()?;
        let Some(change) = keeper.plan_drop(&self.db, self.applied(), height)? else { return Ok(false) };
        self.snapshots.commit(&mut keeper, change, |rows| self.commit_rows(rows.into_iter(), false))?;
        drop(keeper);
        self.clean_snapshots()?;
        Ok(true)
    }

    /// Deletes what no kept snapshot reads, in batches between which others may commit.
    fn clean_snapshots(&self) -> Result<(), StoreFailure> {
        loop {
            let mut keeper = self.lock_state()?;
            let change = keeper.plan_cleaning(&self.db, self.applied())?;
            if change.rows.is_empty() {
                return Ok(());
            }
            let unfinished = change.is_unfinished();
            self.snapshots.commit(&mut keeper, change, |rows| self.commit_rows(rows.into_iter(), false))?;
            if !unfinished {
                return Ok(());
            }
        }
    }

    /// The state at a snapshot height; `None` where it is not kept.
    pub fn state_at(&self, height: Height) -> Result<Option<StateView>, StoreFailure> {
        Ok(self.views()?.kept.into_iter().find(|view| view.height == height))
    }

    /// The state as it is now.
    pub fn live_state(&self) -> Result<StateView, StoreFailure> {
        Ok(self.views()?.live)
    }

    /// The kept snapshots, the one at `near` first and then the newest, and the live state.
    pub(super) fn views_near(&self, near: Height) -> Result<Vec<StateView>, StoreFailure> {
        let Views { kept: mut views, live } = self.views()?;
        if views.first().is_none_or(|newest| newest.height != live.height) {
            views.push(live);
        }
        // Stable: the rest stays as it is.
        views.sort_by_key(|view| view.height != near);
        Ok(views)
    }

    /// The kept snapshots, newest first, and the live state, of one moment.
    pub(super) fn all_views(&self) -> Result<(Vec<StateView>, StateView), StoreFailure> {
        self.views().map(|Views { kept, live }| (kept, live))
    }

    /// All views that there are at this moment.
    fn views(&self) -> Result<Views, StoreFailure> {
        let pin = Arc::new(Pin::new(&self.db)?);
        let record: SnapshotsRecord = self.pinned(&pin, key::SNAPSHOTS)?.unwrap_or_default();
        let applied = self.pinned(&pin, key::APPLIED)?.unwrap_or(self.identity.anchor.height);
        let view = |height, layers: &[u64]| StateView { pin: Arc::clone(&pin), height, layers: layers.into() };
        // Lowest first, as a view reads them.
        let mut layers: Vec<u64> = Vec::new();
        let mut kept = Vec::new();
        for layer in record.layers.iter().rev() {
            if layer.rows > 0 {
                layers.insert(0, layer.number);
            }
            if layer.kept {
                kept.push(view(layer.height, &layers));
            }
        }
        Ok(Views { kept, live: view(applied, &[]) })
    }

    fn pinned<T: serde::de::DeserializeOwned>(&self, pin: &Pin, name: &[u8]) -> Result<Option<T>, StoreFailure> {
        let Some(row) = pin.get(Space::Index, name)? else { return Ok(None) };
        let what = || format!("the record `{}` can't be decoded", name.escape_ascii());
        records::decode(&row).map(Some).ok_or_else(|| StoreFailure::damaged(self.db.path(), what()))
    }
}

/// The views of one moment.
struct Views {
    /// Of the kept snapshots, newest first.
    kept: Vec<StateView>,
    live: StateView,
}
