//! [`KeyValueApplication`]: an application over keys and values, with one function to fill in. Committing by bytes, landing
//! on snapshot heights, going on from a fetched state and making everything durable are done.
//!
//! Its state lies beside the blocks in a [`StateStore`]. What a crash takes of it, the driver executes again from the
//! stored blocks.

use std::sync::Arc;

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{
    KeyValueState, KeyValueView, PageKey, RecordError, StateError, StateReader as _, TreeError, Undo,
};

use crate::application::{AppBlock, Application, ExecuteError};
use crate::speculation::BranchBlock;
use crate::store::{LiveState, StateStore, StateWrite, StoreFailure, state_rows};

/// Memory that the state may keep after a commit, by default: 48 MiB.
const MEMORY_BYTES: usize = 48 << 20;

/// Keys and values, as the function of an application finds and changes them.
pub type BlockState<'a> = KeyValueView<'a, LiveState>;

/// An application that is one function from a block and the state before it to the state after it.
///
/// The function depends on its arguments alone, since all nodes must come to the same state, and makes something of every
/// payload: the block is final, and a payload that it can't make sense of changes nothing.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use hotstuff2_sync::chain::native::NativeChain;
/// # use hotstuff2_sync_tokio::store::DiskStore;
/// # fn open(store: Arc<DiskStore<NativeChain>>) -> Result<(), Box<dyn std::error::Error>> {
/// use hotstuff2_sync_tokio::{BlockState, ExecuteError, KeyValueApplication};
///
/// // Counts how often each payload came.
/// let application = KeyValueApplication::open(store, |block, state: &mut BlockState<'_>| {
///     let key = &block.payload[..block.payload.len().min(64)];
///     let count = state.get(key)?.and_then(|count| count.try_into().ok()).map_or(0, u64::from_le_bytes);
///     state.put(key, &(count + 1).to_le_bytes())?;
///     Ok::<_, ExecuteError>(())
/// })?;
/// # let _ = application; Ok(()) }
/// ```
pub struct KeyValueApplication<F> {
    store: Arc<dyn StateStore>,
    state: KeyValueState<LiveState>,
    applied: Height,
    /// Writes that could not be made, and the height they belong to.
    unwritten: Option<(Height, Vec<StateWrite>)>,
    /// Whether nothing was written into the store yet, not even an empty state.
    new: bool,
    /// Whether the roots in headers are those of this state.
    compares_roots: bool,
    /// Bytes that the state may keep in memory after a commit.
    memory: usize,
    /// The block whose root was another than its header's, that root, and what was found. Nothing is written from then on.
    mismatch: Option<(Height, Hash, Hash)>,
    execute: F,
}

impl<F> KeyValueApplication<F>
where
    F: FnMut(&AppBlock<'_>, &mut BlockState<'_>) -> Result<(), ExecuteError> + Send + 'static,
{
    /// The application whose state `store` holds, and which executes a block with `execute`. Waits for the disk.
    ///
    /// The root after each block is compared with its header's. [`root`](Self::root) is for the caller to compare with the
    /// header at [`applied`](Application::applied), where that is at hand.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub fn open(store: Arc<impl StateStore>, execute: F) -> Result<Self, ExecuteError> {
        let store: Arc<dyn StateStore> = store;
        let reader = LiveState::new(Arc::clone(&store));
        let new = reader.page(&PageKey::ROOT).map_err(failed)?.is_none();
        let (state, applied) = (KeyValueState::load(reader)?, store.applied());
        let (unwritten, compares_roots, memory, mismatch) = (None, true, MEMORY_BYTES, None);
        Ok(Self { store, state, applied, unwritten, new, compares_roots, memory, mismatch, execute })
    }

    /// Puts what the chain begins with into a new store, with the first commit. In a store that holds a state it does
    /// nothing.
    ///
    /// # Errors
    /// What `genesis` fails with.
    pub fn with_genesis(
        mut self,
        genesis: impl FnOnce(&mut BlockState<'_>) -> Result<(), ExecuteError>,
    ) -> Result<Self, ExecuteError> {
        if self.new {
            self.state.change(genesis)?;
        }
        Ok(self)
    }

    /// Compares no roots: for chains whose headers name no state of our tree
    /// ([`Chain::has_state_roots`](hotstuff2_sync::chain::Chain::has_state_roots)).
    #[must_use]
    pub fn without_roots(self) -> Self {
        Self { compares_roots: false, ..self }
    }

    /// Keeps at most about so many bytes of the state in memory after a commit; 48 MiB by default.
    #[must_use]
    pub fn with_memory(self, bytes: usize) -> Self {
        Self { memory: bytes, ..self }
    }

    /// Whether the store was new: nothing was ever committed to it.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// The root of the state.
    pub fn root(&self) -> Hash {
        self.state.root()
    }

    /// Executes a block that is not final. Says the root after it, and what takes it back.
    pub(crate) fn execute_for_now(&mut self, block: &BranchBlock<'_>) -> Result<(Hash, Undo), ExecuteError> {
        self.refuse_mismatch()?;
        let BranchBlock { height, timestamp, payload } = *block;
        let block = AppBlock { height, id: Hash::ZERO, timestamp, state_root: Hash::ZERO, payload };
        let execute = &mut self.execute;
        self.state.change_for_now(|state| execute(&block, state))
    }

    /// Takes back the last block that was executed for now.
    pub(crate) fn take_back(&mut self, undo: &Undo) -> Result<(), ExecuteError> {
        self.state.undo(undo)?;
        Ok(())
    }

    /// Counts a block as executed that was executed for now and is final; `found` is the root after it.
    pub(crate) fn make_final(&mut self, block: &AppBlock<'_>, found: Hash) -> Result<(), ExecuteError> {
        self.refuse_mismatch()?;
        self.executed(block, found)
    }

    /// The root after `block` is `found`.
    fn executed(&mut self, block: &AppBlock<'_>, found: Hash) -> Result<(), ExecuteError> {
        if self.compares_roots && found != block.state_root {
            self.mismatch = Some((block.height, block.state_root, found));
            return self.refuse_mismatch();
        }
        self.applied = block.height;
        Ok(())
    }

    /// Writes the state after the last executed block. After a failure the next call goes on with it.
    fn write(&mut self) -> Result<(), ExecuteError> {
        self.refuse_mismatch()?;
        self.write_unwritten()?;
        self.unwritten = Some((self.applied, state_rows(self.state.take_writes()).collect()));
        self.write_unwritten()?;
        self.new = false;
        self.state.evict(self.memory);
        Ok(())
    }

    fn write_unwritten(&mut self) -> Result<(), ExecuteError> {
        if let Some((height, writes)) = &self.unwritten {
            self.store.commit(*height, &mut writes.iter().cloned()).map_err(failed)?;
            self.unwritten = None;
        }
        Ok(())
    }

    /// A state that isn't the network's is not made durable: after a restart the blocks are executed again.
    fn refuse_mismatch(&self) -> Result<(), ExecuteError> {
        match self.mismatch {
            Some((height, expected, found)) => Err(ExecuteError::StateMismatch { height, expected, found }),
            None => Ok(()),
        }
    }
}

impl<F> Application for KeyValueApplication<F>
where
    F: FnMut(&AppBlock<'_>, &mut BlockState<'_>) -> Result<(), ExecuteError> + Send + 'static,
{
    fn applied(&self) -> Height {
        self.applied
    }

    fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.refuse_mismatch()?;
        for block in blocks {
            let execute = &mut self.execute;
            let found = self.state.change(|state| execute(block, state))?;
            self.executed(block, found)?;
        }
        Ok(())
    }

    fn adopt(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        self.execute(blocks)
    }

    fn uncommitted(&self) -> usize {
        self.state.uncommitted()
    }

    fn commit(&mut self) -> Result<(), ExecuteError> {
        self.write()
    }

    fn persist(&mut self) -> Result<(), ExecuteError> {
        self.write()?;
        self.store.persist().map_err(failed)
    }

    fn restore(&mut self, height: Height) -> Result<(), ExecuteError> {
        self.state = KeyValueState::load(LiveState::new(Arc::clone(&self.store)))?;
        (self.unwritten, self.mismatch, self.new) = (None, None, false);
        self.applied = height;
        Ok(())
    }
}

impl<F> std::fmt::Debug for KeyValueApplication<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyValueApplication").field("applied", &self.applied).finish_non_exhaustive()
    }
}

fn failed(failure: StoreFailure) -> ExecuteError {
    if failure.is_transient() {
        ExecuteError::Transient(Box::new(failure))
    } else {
        ExecuteError::Permanent(Box::new(failure))
    }
}

impl From<StateError<StoreFailure>> for ExecuteError {
    /// A store that works again later makes blocks executable later; a damaged state doesn't mend itself.
    fn from(error: StateError<StoreFailure>) -> Self {
        match error {
            StateError::Store(failure) | StateError::Tree(TreeError::Store(failure)) => failed(failure),
            error => Self::Permanent(Box::new(error)),
        }
    }
}

impl From<RecordError> for ExecuteError {
    /// A key or value that is over its limit, of which an application makes nothing.
    fn from(error: RecordError) -> Self {
        Self::Permanent(Box::new(error))
    }
}

#[cfg(test)]
#[path = "key_value_tests.rs"]
pub(crate) mod tests;
