//! [`StateSync`]: the seed's calls about state, over a running sync. The machine decides how: by executing blocks or, with
//! the strategy `Fast` and a staging area, by fetching a state first.

use std::sync::Arc;

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::Progress;
use hotstuff2_sync::state::{SnapshotId, ValidationError};
use tokio::sync::watch;

use super::{Input, Inputs, StartCall, SyncHandle};
use crate::state_validator::{StateManager, SyncStateValidator};
use crate::store::StoreFailure;

/// Why a state was not synchronized.
#[derive(Debug, thiserror::Error)]
pub enum StateSyncError {
    /// The sync ended before the height was reached.
    #[error("the sync ended at height {at}, before height {wanted}; start it again, its events say why it ended")]
    Ended {
        /// Height at which it stood.
        at: Height,
        /// Height that was waited for.
        wanted: Height,
    },
    /// The state that was reached isn't the one that was named.
    #[error("the state at height {height} is not the named one: {source}")]
    Invalid {
        /// The height.
        height: Height,
        /// Reason.
        source: ValidationError<StoreFailure>,
    },
}

/// State calls of a running sync, see [`SyncHandle::state_sync`]. They wait as long as the sync goes on: give them a
/// time-out where that matters, and watch the sync's events for what it waits for.
#[derive(Clone)]
pub struct StateSync {
    inputs: Inputs,
    progress: watch::Receiver<Progress>,
    validator: SyncStateValidator,
}

impl SyncHandle {
    /// State calls over this sync; `states` is the store that it fills.
    pub fn state_sync(&self, states: Arc<dyn StateManager>) -> StateSync {
        StateSync { inputs: self.inputs.clone(), progress: self.progress(), validator: SyncStateValidator::new(states) }
    }
}

impl StateSync {
    /// Lets the sync go on, and waits until the state stands at `height` or above it.
    pub async fn sync_state_to_height(&self, height: Height) -> Result<(), StateSyncError> {
        // Without an end: where it would have one, the machine fetches no state.
        self.inputs.send(Input::Start(StartCall::default()));
        let mut progress = self.progress.clone();
        if progress.wait_for(|progress| progress.current >= height).await.is_ok() {
            return Ok(());
        }
        let at = self.progress.borrow().current;
        // The last word may have come with the end.
        if at >= height { Ok(()) } else { Err(StateSyncError::Ended { at, wanted: height }) }
    }

    /// Goes on until the named snapshot is kept here, and reads and hashes all of it. An error where the network went on
    /// to another block there, or the state came by at another height and this one is not kept.
    pub async fn download_state_snapshot(&self, id: &SnapshotId) -> Result<(), StateSyncError> {
        self.sync_state_to_height(id.height).await?;
        let checked = self.validator.validate_snapshot_integrity(id).await;
        checked.map_err(|source| StateSyncError::Invalid { height: id.height, source })
    }

    /// Whether the state that is kept for `height` is, record for record, the one that the block's header names. An error
    /// where there is nothing to compare, or it can't be read.
    pub async fn verify_state_consistency(&self, height: Height) -> Result<bool, StateSyncError> {
        let consistent = self.validator.is_consistent(height).await;
        consistent.map_err(|source| StateSyncError::Invalid { height, source })
    }
}

impl std::fmt::Debug for StateSync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateSync").finish_non_exhaustive()
    }
}
