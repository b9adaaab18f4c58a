//! The demo application: the ledger over the node's store.

use std::sync::Arc;

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync_testkit::ledger::{DEFAULT_ACCOUNTS, Ledger, LedgerError};
use hotstuff2_sync_tokio::store::{SharedState, StateStore, StoreFailure};
use hotstuff2_sync_tokio::{AppBlock, Application, ExecuteError};

/// Memory above which the ledger forgets what the store has as well, in bytes.
const MEMORY: usize = 48 << 20;

/// Executes blocks on the ledger. What they change is committed once a call, together with the height.
pub(crate) struct LedgerApp {
    ledger: Ledger<SharedState>,
    store: Arc<dyn StateStore>,
}

impl LedgerApp {
    /// The ledger that `store` holds. An empty store gets the accounts that the demo chains begin with.
    pub(crate) fn open(store: Arc<dyn StateStore>) -> Result<Self, LedgerError<StoreFailure>> {
        let mut ledger = Ledger::open(SharedState(Arc::clone(&store)))?;
        if store.applied() == Height::ZERO && ledger.is_empty() {
            ledger = Ledger::genesis(SharedState(Arc::clone(&store)), DEFAULT_ACCOUNTS)?;
            let writes = ledger.take_writes();
            let stored = store.commit(Height::ZERO, &writes).and_then(|()| store.persist());
            stored.map_err(|failure| LedgerError::State(failure.into()))?;
        }
        Ok(Self { ledger, store })
    }

    /// The root of the state as it stands.
    pub(crate) fn root(&self) -> Hash {
        self.ledger.root()
    }

    /// Goes back to what was committed last.
    fn reopen(&mut self) -> Result<(), ExecuteError> {
        self.ledger = Ledger::open(SharedState(Arc::clone(&self.store))).map_err(permanent)?;
        Ok(())
    }

    fn run(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        let Some(last) = blocks.last() else { return Ok(()) };
        for block in blocks {
            let found = self.ledger.execute(block.payload).map_err(permanent)?;
            if found != block.state_root {
                return Err(ExecuteError::StateMismatch { height: block.height, expected: block.state_root, found });
            }
        }
        let writes = self.ledger.take_writes();
        self.store.commit(last.height, &writes).map_err(|failure| {
            if failure.is_transient() { ExecuteError::Transient(failure.into()) } else { permanent(failure) }
        })?;
        self.ledger.evict(MEMORY);
        Ok(())
    }
}

fn permanent(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ExecuteError {
    ExecuteError::Permanent(error.into())
}

impl Application for LedgerApp {
    fn applied(&self) -> Height {
        self.store.applied()
    }

    fn execute(&mut self, blocks: &[AppBlock<'_>]) -> Result<(), ExecuteError> {
        let result = self.run(blocks);
        if result.is_err() {
            self.reopen()?;
        }
        result
    }

    fn persist(&mut self) -> Result<(), ExecuteError> {
        self.store.persist().map_err(permanent)
    }
}
