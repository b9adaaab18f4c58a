//! Application state beside the blocks, in the same journal.
//!
//! The height that the state stands at is committed with the state, in one batch. State commits are not forced to disk
//! by themselves: the next append of blocks takes them along, or [`StateStore::persist`]. Because blocks are durable
//! before they are executed, and because what survives of the journal is a prefix (see `db`), the state may be behind
//! the blocks after a crash but never ahead of them, and never half-way within a batch.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::StateReader;

use super::db::Space;
use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::records::{encode, key};

/// A table of application state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateSpace {
    /// Values by key.
    Values,
    /// Pages of the state tree by their place.
    Pages,
}

impl StateSpace {
    fn space(self) -> Space {
        match self {
            Self::Values => Space::Values,
            Self::Pages => Space::Pages,
        }
    }
}

/// A view of the state at one height, to serve from.
pub type StateView = Box<dyn StateReader<Error = StoreFailure> + Send>;

/// One write: the table, the key, and the value, `None` to delete it.
pub type StateWrite = (StateSpace, Bytes, Option<Bytes>);

/// Where an application keeps its state. All calls may wait for the disk.
pub trait StateStore: Send + Sync + 'static {
    /// The height that the state stands at: the anchor's where nothing was committed yet.
    fn applied(&self) -> Height;

    /// The value of `key`.
    fn read(&self, space: StateSpace, key: &[u8]) -> Result<Option<Bytes>, StoreFailure>;

    /// Shows the rows whose keys lie from `first` to `last`, in key order, to `visit` until it says stop.
    fn scan(
        &self,
        space: StateSpace,
        first: &[u8],
        last: &[u8],
        visit: &mut dyn FnMut(Bytes, Bytes) -> ControlFlow<()>,
    ) -> Result<(), StoreFailure>;

    /// Moves the state to `height`: all of `writes` and the height, or none of it. Durable with the next append of
    /// blocks, or after [`Self::persist`]. Refused where the state is above `height` already.
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

    fn scan(
        &self,
        space: StateSpace,
        first: &[u8],
        last: &[u8],
        visit: &mut dyn FnMut(Bytes, Bytes) -> ControlFlow<()>,
    ) -> Result<(), StoreFailure> {
        self.db.visit(space.space(), first, last, visit)
    }

    fn commit(&self, height: Height, writes: &mut dyn Iterator<Item = StateWrite>) -> Result<(), StoreFailure> {
        self.mend()?;
        let applied = self.applied();
        if height < applied {
            let what = format!("a commit for height {height} came after the state had moved to {applied}");
            return Err(StoreFailure::RefusedState { path: self.dir.clone(), what });
        }
        let height_row = (Space::Index, Bytes::from_static(key::APPLIED), Some(encode(&height)));
        let writes = writes.map(|(space, key, value)| (space.space(), key, value));
        self.commit_rows(writes.chain(std::iter::once(height_row)), false)?;
        self.applied.store(height.get(), Ordering::Release);
        Ok(())
    }

    fn persist(&self) -> Result<(), StoreFailure> {
        self.mend()?;
        self.db.persist()
    }
}

impl<C: Chain> DiskStore<C> {
    /// Opens the database again after a failure.
    pub(super) fn mend(&self) -> Result<(), StoreFailure> {
        if self.db.is_broken() {
            drop(self.lock_writer()?);
        }
        Ok(())
    }
}
