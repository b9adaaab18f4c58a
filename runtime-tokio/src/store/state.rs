//! Application state beside the blocks, in the same journal.
//!
//! The height that the state stands at is committed with the state, in one batch. State commits are not forced to disk
//! by themselves: the next append of blocks takes them along, or [`StateStore::persist`]. Because blocks are durable
//! before they are executed, and because what survives of the journal is a prefix (see `db`), the state may be behind
//! the blocks after a crash but never ahead of them, and never half-way within a batch.

use std::ops::ControlFlow;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{Prefix, StateReader as _, StateWrites};

use super::db::Space;
use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::records::{encode, key};
use super::snapshots::Keeper;

/// A table of application state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateSpace {
    /// Values by key.
    Values,
    /// Pages of the state tree by their place.
    Pages,
}

impl StateSpace {
    pub(super) fn space(self) -> Space {
        match self {
            Self::Values => Space::Values,
            Self::Pages => Space::Pages,
        }
    }
}

/// One write: the table, the key, and the value, `None` to delete it.
pub type StateWrite = (StateSpace, Bytes, Option<Bytes>);

/// Rows by which a [`StateStore`] holds the state that `writes` belong to.
pub fn state_rows(writes: StateWrites) -> impl Iterator<Item = StateWrite> {
    let pages = writes.pages.into_iter();
    let pages = pages.map(|(key, page)| (StateSpace::Pages, key.to_bytes().into(), page.map(Bytes::from)));
    let records = writes.records.into_iter();
    let records = records.map(|(key, record)| (StateSpace::Values, Bytes::copy_from_slice(key.as_bytes()), record));
    pages.chain(records)
}

/// Where an application keeps its state. All calls may wait for the disk.
///
/// For each height that is a multiple of [`BlockStore::snapshot_interval`](super::BlockStore::snapshot_interval) and that a commit lands on, the state there can be
/// kept and served to nodes that join. A height that commits pass over is not offered; an
/// [`Executor`](crate::Executor) has its application commit at each of them.
pub trait StateStore: Send + Sync + 'static {
    /// The height that the state stands at: the anchor's where nothing was committed yet.
    fn applied(&self) -> Height;

    /// The value of `key`.
    fn read(&self, space: StateSpace, key: &[u8]) -> Result<Option<Bytes>, StoreFailure>;

    /// Tells `visit` the records under `prefix` of the state as it is now, in the order of their key hashes, until it breaks
    /// off.
    fn scan(&self, prefix: &Prefix, visit: &mut dyn FnMut(Hash, Bytes) -> ControlFlow<()>) -> Result<(), StoreFailure>;

    /// Moves the state to `height`: all of `writes`, which have each key once, and the height, or none of it. Durable
    /// with the next append of blocks, or after [`Self::persist`].
    ///
    /// A height may be committed to several times, with parts of what belongs to it. One below [`Self::applied`] drops
    /// all snapshots. One below the block whose state was fetched is refused: it comes from before that.
    fn commit(&self, height: Height, writes: &mut dyn Iterator<Item = StateWrite>) -> Result<(), StoreFailure>;

    /// Makes everything durable that was committed.
    fn persist(&self) -> Result<(), StoreFailure>;
}

impl<C: Chain> StateStore for DiskStore<C> {
    fn applied(&self) -> Height {
        Height::new(self.applied.load(Ordering::Acquire))
    }

    fn read(&self, space: StateSpace, key: &[u8]) -> Result<Option<Bytes>, StoreFailure> {
        self.db.get(space.space(), key)
    }

    fn scan(&self, prefix: &Prefix, visit: &mut dyn FnMut(Hash, Bytes) -> ControlFlow<()>) -> Result<(), StoreFailure> {
        self.live_state()?.scan(prefix, visit)
    }

    fn commit(&self, height: Height, writes: &mut dyn Iterator<Item = StateWrite>) -> Result<(), StoreFailure> {
        self.mend()?;
        self.db.wait_for_flusher()?;
        let mut keeper = self.lock_state()?;
        let base = self.view().base.height;
        if height < base {
            let what = format!("a commit for height {height} came after the state of block {base} had been fetched");
            return Err(StoreFailure::RefusedState { path: self.dir.clone(), what });
        }
        let snapshots = (self.snapshots.interval(), self.snapshots.target());
        let heights = (StateStore::applied(self), height);
        let mut change = keeper.plan_commit(&self.db, snapshots, heights, writes)?;
        change.rows.push((Space::Index, Bytes::from_static(key::APPLIED), Some(encode(&height))));
        self.snapshots.commit(&mut keeper, change, |rows| self.commit_rows(rows.into_iter(), false))?;
        self.applied.store(height.get(), Ordering::Release);
        Ok(())
    }

    fn persist(&self) -> Result<(), StoreFailure> {
        self.mend()?;
        self.db.persist()
    }
}

impl<C: Chain> DiskStore<C> {
    /// Takes the place of the one who changes the state, over a database that works.
    pub(super) fn lock_state(&self) -> Result<MutexGuard<'_, Keeper>, StoreFailure> {
        loop {
            self.mend()?;
            let keeper = self.snapshots.lock(&self.db)?;
            // The one before may have failed half-way through an exchange of the tables.
            if !self.db.is_broken() {
                return Ok(keeper);
            }
        }
    }

    /// Opens the database again after a failure.
    pub(super) fn mend(&self) -> Result<(), StoreFailure> {
        if self.db.is_broken() {
            drop(self.lock_writer()?);
        }
        Ok(())
    }
}
