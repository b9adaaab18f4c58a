//! The demo ledger as a node's application, with its state beside the blocks in the node's store.
//!
//! Its state root is compared with the header's after every block. What a crash takes from it, the driver executes
//! again from the stored blocks.

use std::path::Path;
use std::sync::Arc;

use hotstuff2_sync::chain::native::{Genesis, NativeChain};
use hotstuff2_sync::state::{EMPTY_ROOT, PageKey, StateReader as _};
use hotstuff2_sync_testkit::ledger::{DEFAULT_ACCOUNTS, execute, genesis_records};
use hotstuff2_sync_tokio::store::{Activation, DiskStore, LiveState, StateStore as _, StoreFailure};
use hotstuff2_sync_tokio::{AppBlock, BlockState, ExecuteError, KeyValueApplication};

use super::files::header_at;
use crate::error::CliError;

/// Memory that the ledger may keep when it has committed: all accounts of the demo and their tree fit in, and half of the
/// tree of a million entries.
const MEMORY_BYTES: usize = 48 << 20;

/// The function of the ledger.
pub(crate) type LedgerFunction = fn(&AppBlock<'_>, &mut BlockState<'_>) -> Result<(), ExecuteError>;

/// The ledger in `store`; in a new store, that of the chain's genesis. `genesis_file` is named in messages.
pub(crate) fn open_ledger(
    store: &Arc<DiskStore<NativeChain>>,
    genesis: &Genesis,
    genesis_file: &Path,
    lacks_state: bool,
) -> Result<KeyValueApplication<LedgerFunction>, CliError> {
    let function: LedgerFunction = execute_block;
    if lacks_state {
        // It is fetched before a block is executed, and checked then.
        let ledger = KeyValueApplication::open(Arc::clone(store), function).map_err(unreadable)?;
        return Ok(ledger.with_memory(MEMORY_BYTES));
    }
    let new = LiveState::new(Arc::clone(store)).page(&PageKey::ROOT)?.is_none();
    let accounts = if genesis.header().state_root == EMPTY_ROOT { 0 } else { DEFAULT_ACCOUNTS };
    if new && accounts > 0 {
        let put = store.put_first_state(genesis.header().state_root, &mut genesis_records(accounts))?;
        if put != Activation::Activated {
            return Err(CliError::OtherApp { path: genesis_file.to_owned(), app: "ledger", other: "none" });
        }
    }
    let ledger = KeyValueApplication::open(Arc::clone(store), function).map_err(unreadable)?;
    let (applied, root) = (store.applied(), ledger.root());
    let expected = header_at(store, genesis, applied)?.state_root;
    if root != expected {
        let what = format!("its root is {root}, that of block {applied} is {expected}");
        return Err(CliError::LedgerDamaged(what));
    }
    Ok(ledger.with_memory(MEMORY_BYTES))
}

fn execute_block(block: &AppBlock<'_>, state: &mut BlockState<'_>) -> Result<(), ExecuteError> {
    Ok(execute(block.payload, state)?)
}

/// What is wrong with the store, or with what it holds.
fn unreadable(error: ExecuteError) -> CliError {
    match error {
        ExecuteError::Transient(cause) | ExecuteError::Permanent(cause) => match cause.downcast::<StoreFailure>() {
            Ok(failure) => CliError::Store(*failure),
            Err(cause) => CliError::LedgerDamaged(cause.to_string()),
        },
        error => CliError::Execute(error),
    }
}
