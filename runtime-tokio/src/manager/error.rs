//! [`SyncError`]: why a call of a manager failed.

use hotstuff2_sync::chain::CheckError;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::{DecidedError, HaltReason};
use hotstuff2_sync::state::ValidationError;

use super::validator::BlockCheckError;
use super::{MAX_BLOCKS_PER_CALL, MAX_BYTES_PER_CALL};
use crate::driver::SubmitError;
use crate::store::StoreFailure;

/// Result of a manager's calls.
pub type SyncResult<T> = Result<T, SyncError>;

/// Why a call of a manager failed. Each message ends with what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The sync has stopped for good; starting it again would end the same way.
    #[error("the sync has halted: {0}; once that is mended, build a new manager over the same folder")]
    Halted(HaltReason),
    /// The sync was shut down, by this handle or by a clone of it.
    #[error("the sync was shut down; build a new manager over the same folder")]
    ShutDown,
    /// The sync was stopped, or nobody has started it, while the call waited for it.
    #[error("the sync is stopped at height {at}; start it, then call again")]
    Stopped {
        /// Height at which it stands.
        at: Height,
    },
    /// The sync ended before the wanted height: another call gave it that end.
    #[error("the sync ended at height {at}, before height {wanted}; start it again with a higher target or none")]
    Ended {
        /// Height at which it stands.
        at: Height,
        /// Height that was waited for.
        wanted: Height,
    },
    /// The network is not there yet. The sync goes on towards that height.
    #[error("height {wanted} is above the network's tip {tip}; wait for the tip to rise and call again")]
    AboveTip {
        /// Height that was asked for.
        wanted: Height,
        /// The highest height that is proven and applied.
        tip: Height,
    },
    /// A range ends before it begins, or begins with the genesis block, which is in no segment.
    #[error("{from}..={to} is no range of blocks; heights begin at 1 and ascend")]
    NoRange {
        /// First height of the range.
        from: Height,
        /// Last height of the range.
        to: Height,
    },
    /// A range has more blocks than one call returns.
    #[error("{asked} blocks are too many for one call; ask for at most {MAX_BLOCKS_PER_CALL} at a time")]
    TooManyBlocks {
        /// Number of heights that were asked for.
        asked: u64,
    },
    /// The payloads of a range are more than one call returns.
    #[error("blocks {from}..={through} have more than {MAX_BYTES_PER_CALL} bytes of payload; ask for fewer at a time")]
    TooManyBytes {
        /// The first block that was asked for.
        from: Height,
        /// The block at which the limit is passed.
        through: Height,
    },
    /// No connected peer gave the block, though it is proven that there is one.
    #[error("{} block {height}; add peers that keep old blocks, or call again", givers(*asked))]
    NotGiven {
        /// The block.
        height: Height,
        /// Number of peers that were asked.
        asked: usize,
    },
    /// The epoch of a height isn't known here: its handover was not fetched yet, or lies below the store's anchor.
    #[error("no handover of the epoch at height {0} is stored; start the sync, or use a store that begins at genesis")]
    UnknownEpoch(Height),
    /// Nothing says where the peer is.
    #[error("no address of peer {0} is known; add it with its address (`add_peer_address`)")]
    UnknownAddress(PeerId),
    /// The strategy fetches a state, and there is no place to stage one.
    #[error("the strategy fast needs an application that keeps its state in the store; build the manager with one")]
    NoStaging,
    /// The call is about states, and the chain's headers name none that are comparable here.
    #[error(
        "this chain's headers name no state of this library's tree, so that none can be fetched or checked; sync blocks instead"
    )]
    NoStateRoots,
    /// There is no pace to estimate by.
    #[error("no pace to estimate by: nothing was applied in the last seconds; ask again when the sync moves")]
    NoEstimate,
    /// A state isn't the one that was named, or can't be compared.
    #[error("the state at height {height} is not the named one, or can't be checked: {source}")]
    State {
        /// The height.
        height: Height,
        /// Reason.
        source: ValidationError<StoreFailure>,
    },
    /// Blocks that were handed in as decided were not taken in.
    #[error(transparent)]
    Decided(#[from] DecidedError),
    /// Blocks could not be checked.
    #[error(transparent)]
    Check(#[from] BlockCheckError),
    /// The store gave what is no block of this chain.
    #[error("block {height} in the store can't be read: {fault}; check the store with `hs2-sync inspect`")]
    Damaged {
        /// The block.
        height: Height,
        /// Reason.
        fault: CheckError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

/// Words for how many peers had nothing to give.
fn givers(asked: usize) -> String {
    match asked {
        0 => "no peer is connected that could give".to_owned(),
        _ => format!("none of {asked} connected peers gave"),
    }
}

impl From<SubmitError> for SyncError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(error) => Self::Decided(error),
            SubmitError::Ended => Self::ShutDown,
        }
    }
}
