//! [`LedgerApp`]: the demo ledger as a node's application, with its state beside the blocks in the node's store.
//!
//! Its state root is compared with the header's after every block. What a crash takes from it, the driver executes
//! again from the stored blocks.

use std::path::Path;
use std::sync::Arc;

use hotstuff2_sync::chain::native::{Genesis, NativeChain};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{EMPTY_ROOT, PageKey, StateError, StateReader};
use hotstuff2_sync_testkit::ledger::{DEFAULT_ACCOUNTS, Ledger, LedgerError, genesis_records};
use hotstuff2_sync_tokio::store::{
    Activation, DiskStore, LiveState, StateStore as _, StateWrite, StoreFailure, state_rows,
};
use hotstuff2_sync_tokio::{AppBlock, Application, ExecuteError};

use super::files::header_at;
use crate::error::CliError;

/// Memory that the ledger may keep when it has committed: all accounts of the demo and their tree fit in, and half of the
/// tree of a million entries.
const MEMORY_BYTES: usize = 48 << 20;

/// The ledger over a node's store.
pub(crate) struct LedgerApp {
    ledger: Ledger<LiveState<NativeChain>>,
    store: Arc<DiskStore<NativeChain>>,
    applied: Height,
    /// Writes that could not be made, and the height they belong to.
    unwritten: Option<(Height, Vec<StateWrite>)>,
}

impl LedgerApp {
    /// The ledger in `store`; in a new store, that of the chain's genesis. `genesis_file` is named in messages.
    pub(crate) fn open(
        store: &Arc<DiskStore<NativeChain>>,
        genesis: &Genesis,
        genesis_file: &Path,
    ) -> Result<Self, CliError> {
        let other_app = || CliError::OtherApp { path: genesis_file.to_owned(), app: "ledger", other: "none" };
        let reader = LiveState::new(Arc::clone(store));
        let new = reader.page(&PageKey::ROOT)?.is_none();
        let applied = store.applied();
        let accounts = if genesis.header().state_root == EMPTY_ROOT { 0 } else { DEFAULT_ACCOUNTS };
        if new && accounts > 0 {
            let put = store.put_first_state(genesis.header().state_root, &mut genesis_records(accounts))?;
            if put != Activation::Activated {
                return Err(other_app());
            }
        }
        let ledger = Ledger::open(reader).map_err(|error| match error {
            LedgerError::State(StateError::Store(failure)) => CliError::Store(failure),
            error => CliError::LedgerDamaged(error.to_string()),
        })?;
        let expected = header_at(store, genesis, applied)?.state_root;
        if ledger.root() != expected {
            let what = format!("its root is {}, that of block {applied} is {expected}", ledger.root());
            return Err(CliError::LedgerDamaged(what));
        }
        Ok(Self { ledger, store: Arc::clone(store), applied, unwritten: None })
    }

    /// Writes the state after the last executed block. After a failure the next call goes on with it.
    fn write(&mut self) -> Result<(), StoreFailure> {
        self.write_unwritten()?;
        self.unwritten = Some((self.applied, state_rows(self.ledger.take_writes()).collect()));
        self.write_unwritten()?;
        self.ledger.evict(MEMORY_BYTES);
        Ok(())
    }

    fn write_unwritten(&mut self) -> Result<(), StoreFailure> {
        if let Some((height, writes)) = &self.unwritten {
            self.store.commit(*height, &mut writes.iter().cloned())?;
            self.unwritten = None;
        }
        Ok(())
    }
}

fn failed(failure: StoreFailure) -> ExecuteError {
    if failure.is_transient() {
        ExecuteError::Transient(Box::new(failure))
    } else {
        ExecuteError::Permanent(Box::new(failure))
    }
}

impl LedgerApp {
    /// Goes on from the state that the store holds.
    fn reload(&mut self, height: Height) -> Result<(), ExecuteError> {
        self.ledger = Ledger::open(LiveState::new(Arc::clone(&self.store))).map_err(|error| match error {
            LedgerError::State(StateError::Store(failure)) => failed(failure),
            error => ExecuteError::Permanent(Box::new(error)),
        })?;
        self.unwritten = None;
        self.applied = height;
        Ok(())
    }
}

impl Application for LedgerApp {
    fn applied(&self) -> Height {
        self.applied
    }

    fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        for block in blocks {
            let found = self.ledger.execute(block.payload).map_err(|error| match error {
                LedgerError::State(StateError::Store(failure)) => failed(failure),
                error => ExecuteError::Permanent(Box::new(error)),
            })?;
            if found != block.state_root {
                let (height, expected) = (block.height, block.state_root);
                return Err(ExecuteError::StateMismatch { height, expected, found });
            }
            self.applied = block.height;
        }
        Ok(())
    }

    fn uncommitted(&self) -> usize {
        self.ledger.uncommitted()
    }

    fn commit(&mut self) -> Result<(), ExecuteError> {
        self.write().map_err(failed)
    }

    fn persist(&mut self) -> Result<(), ExecuteError> {
        self.write().and_then(|()| self.store.persist()).map_err(failed)
    }

    fn restore(&mut self, height: Height) -> Result<(), ExecuteError> {
        self.reload(height)
    }
}
