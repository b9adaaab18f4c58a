//! [`SyncStateValidator`]: whether states, snapshots and deltas are those that the chain's blocks name. The checks are the
//! core's; here they get their headers and states from a [`StateManager`], and a thread that may wait for the disk.
//!
//! It trusts the headers of the manager, which are those of a store of verified blocks, and nothing that it is asked
//! about.

use std::sync::Arc;

use hotstuff2_sync::chain::{Chain, HeaderFacts};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{
    Prefix, SnapshotId, StateDelta, StateError, StateReader, ValidationError, subtree, validate_state_root,
    validate_state_transition,
};

use crate::store::{DiskStore, StateStore as _, StoreFailure};

/// A state that several threads may read.
pub type SharedState = Arc<dyn StateReader<Error = StoreFailure> + Send + Sync>;

/// A whole state that says which one it is.
pub type StateSnapshot = hotstuff2_sync::state::StateSnapshot<SharedState>;

/// Whether something is what it should be, or why not.
pub type ValidationResult<E = ValidationError<StoreFailure>> = Result<(), E>;

/// Where the validator gets headers and states from. All calls may wait for the disk.
pub trait StateManager: Send + Sync + 'static {
    /// The header of the final block at `height`; `None` where it isn't stored.
    fn header(&self, height: Height) -> Result<Option<HeaderFacts>, StoreFailure>;

    /// The state after the block at `height`; `None` where it isn't kept.
    fn state_at(&self, height: Height) -> Result<Option<SharedState>, StoreFailure>;

    /// A kept state with this root; `None` where there is none.
    fn state_of(&self, root: &Hash) -> Result<Option<SharedState>, StoreFailure>;
}

impl<C: Chain> StateManager for DiskStore<C> {
    fn header(&self, height: Height) -> Result<Option<HeaderFacts>, StoreFailure> {
        self.header_at(height)
    }

    fn state_at(&self, height: Height) -> Result<Option<SharedState>, StoreFailure> {
        let live = self.live_state()?;
        let view = if live.height() == height { Some(live) } else { Self::state_at(self, height)? };
        Ok(view.map(|view| Arc::new(view) as SharedState))
    }

    fn state_of(&self, root: &Hash) -> Result<Option<SharedState>, StoreFailure> {
        let holds = |view: &SharedState| subtree(view, &Prefix::ROOT).is_ok_and(|(found, _)| found == *root);
        let heights = self.snapshots().into_iter().map(|snapshot| snapshot.height);
        for height in heights.chain([self.applied()]) {
            if let Some(view) = StateManager::state_at(self, height)?.filter(holds) {
                return Ok(Some(view));
            }
        }
        Ok(None)
    }
}

/// Checks states against the blocks that name them.
///
/// ```no_run
/// # async fn check(store: std::sync::Arc<hotstuff2_sync_tokio::store::DiskStore<hotstuff2_sync::chain::native::NativeChain>>,
/// #     delta: hotstuff2_sync::state::StateDelta) -> hotstuff2_sync_tokio::ValidationResult {
/// use hotstuff2_sync_tokio::SyncStateValidator;
///
/// let validator = SyncStateValidator::new(store);
/// // Applied to a kept state with the root `delta.from`, do the changes give `delta.to`?
/// validator.validate_state_delta(&delta, &delta.from).await
/// # }
/// ```
#[derive(Clone)]
pub struct SyncStateValidator {
    states: Arc<dyn StateManager>,
}

impl SyncStateValidator {
    /// A validator over the blocks and states of `states`, such as a [`DiskStore`].
    pub fn new(states: Arc<dyn StateManager>) -> Self {
        Self { states }
    }

    /// Whether `root` is the state root in the header of `block`.
    pub async fn validate_state_root(&self, block: &HeaderFacts, root: &Hash) -> ValidationResult {
        validate_state_root(block, root)
    }

    /// Whether `delta` leads from the state of the block `from`, which is kept, to that of the block `to`.
    pub async fn validate_state_transition(
        &self,
        from: &HeaderFacts,
        to: &HeaderFacts,
        delta: &StateDelta,
    ) -> ValidationResult {
        let (from, to, delta) = (*from, *to, delta.clone());
        self.blocking(move |states| validate_state_transition(&from, &to, &delta, state_of(states, &from.state_root)?))
            .await
    }

    /// Whether `snapshot` holds the state that it names, and the chain's block at its height names that state too. All
    /// records are read and hashed.
    pub async fn validate_snapshot(&self, snapshot: &StateSnapshot) -> ValidationResult {
        let snapshot = snapshot.clone();
        self.blocking(move |states| {
            check_id(states, &snapshot.id)?;
            snapshot.validate()
        })
        .await
    }

    /// The same for a snapshot that is kept here.
    pub async fn validate_snapshot_integrity(&self, id: &SnapshotId) -> ValidationResult {
        let id = *id;
        self.blocking(move |states| {
            check_id(states, &id)?;
            StateSnapshot { id, state: state_at(states, id.height)? }.validate()
        })
        .await
    }

    /// Whether `delta`, applied to a kept state with the root `base_root`, gives the root that it names.
    pub async fn validate_state_delta(&self, delta: &StateDelta, base_root: &Hash) -> ValidationResult {
        let (delta, base_root) = (delta.clone(), *base_root);
        self.blocking(move |states| delta.validate(state_of(states, &base_root)?)).await
    }

    /// Whether the state that is kept for `height` is, record for record, the one that the block there names.
    pub async fn validate_state_at(&self, height: Height) -> ValidationResult {
        self.blocking(move |states| {
            let header = states.header(height).map_err(store)?.ok_or(ValidationError::NotStored(height))?;
            StateSnapshot { id: SnapshotId::of(height, &header), state: state_at(states, height)? }.validate()
        })
        .await
    }

    /// The same as an answer: an error only where there is nothing to compare, or it can't be read.
    pub async fn is_consistent(&self, height: Height) -> Result<bool, ValidationError<StoreFailure>> {
        match self.validate_state_at(height).await {
            Ok(()) => Ok(true),
            Err(error @ (ValidationError::NotStored(_) | ValidationError::State(_))) => Err(error),
            Err(_) => Ok(false),
        }
    }

    pub(crate) async fn blocking(
        &self,
        check: impl FnOnce(&dyn StateManager) -> ValidationResult + Send + 'static,
    ) -> ValidationResult {
        let states = Arc::clone(&self.states);
        match tokio::task::spawn_blocking(move || check(&*states)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down and drops this future too.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl std::fmt::Debug for SyncStateValidator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncStateValidator").finish_non_exhaustive()
    }
}

fn store(failure: StoreFailure) -> ValidationError<StoreFailure> {
    StateError::Store(failure).into()
}

fn state_at(states: &dyn StateManager, height: Height) -> Result<SharedState, ValidationError<StoreFailure>> {
    states.state_at(height).map_err(store)?.ok_or(ValidationError::NotStored(height))
}

fn state_of(states: &dyn StateManager, root: &Hash) -> Result<SharedState, ValidationError<StoreFailure>> {
    states.state_of(root).map_err(store)?.ok_or(ValidationError::UnknownRoot(*root))
}

/// Whether the chain's block is the one that the snapshot names.
fn check_id(states: &dyn StateManager, id: &SnapshotId) -> ValidationResult {
    let SnapshotId { height, block, state_root } = *id;
    let header = states.header(height).map_err(store)?.ok_or(ValidationError::NotStored(height))?;
    if header.id != block {
        return Err(ValidationError::OtherBlock { height, block, found: header.id });
    }
    validate_state_root(&header, &state_root)
}

#[cfg(test)]
#[path = "state_validator_tests.rs"]
mod tests;
