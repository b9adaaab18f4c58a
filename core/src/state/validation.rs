//! Whether a state is the one that a block names: by its root, by the changes that lead to it, or by all of its records.
//! It trusts the headers that it is given, and of the store only that it returns something.

use core::error::Error;
use core::ops::ControlFlow;

use super::builder::{LeafOrderError, PageBuilder};
use super::delta::StateDelta;
use super::digest::{key_hash, value_hash};
use super::key_value::StateError;
use super::prefix::Prefix;
use super::record::{Record, RecordError};
use super::store::StateReader;
use super::subtree::subtree;
use crate::chain::HeaderFacts;
use crate::hash::Hash;
use crate::ids::Height;

/// Pages that are gathered before they are dropped, where only the root is wanted.
const PAGES_AT_ONCE: usize = 1024;

/// Names a snapshot: the block, and the state after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct SnapshotId {
    /// The block's height.
    pub height: Height,
    /// The block's id.
    pub block: Hash,
    /// The root of the state after it.
    pub state_root: Hash,
}

impl SnapshotId {
    /// The snapshot at `height`, as the block's proven header says.
    pub fn of(height: Height, header: &HeaderFacts) -> Self {
        Self { height, block: header.id, state_root: header.state_root }
    }
}

/// A whole state that says which one it is.
#[derive(Clone, Debug)]
pub struct StateSnapshot<R> {
    /// The snapshot's id.
    pub id: SnapshotId,
    /// Where it is read from.
    pub state: R,
}

/// Why a state is not the one that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidationError<E: Error + 'static> {
    /// The root is another.
    #[error("the state root is {found}, not {expected}")]
    WrongRoot {
        /// The root that it should have.
        expected: Hash,
        /// The root that it has.
        found: Hash,
    },
    /// The tree says that there are other records than there are.
    #[error("the state tree has {leaves} leaves, the records are {records}: synchronize the state again")]
    WrongCount {
        /// Leaves of the tree.
        leaves: u64,
        /// Records in the store.
        records: u64,
    },
    /// A record can't be read.
    #[error("the record at {key_hash} is damaged, {reason}: synchronize the state again")]
    Record {
        /// The hash of its key.
        key_hash: Hash,
        /// The fault in it.
        reason: RecordError,
    },
    /// A record is stored under the hash of another key.
    #[error("the record at {key_hash} is of another key: synchronize the state again")]
    WrongKey {
        /// Where it is.
        key_hash: Hash,
    },
    /// Records don't come in order.
    #[error(transparent)]
    Order(#[from] LeafOrderError),
    /// A delta begins with the state of another block.
    #[error("the delta begins at the root {delta}, the block before it has {block}")]
    OtherBeginning {
        /// Where the delta begins.
        delta: Hash,
        /// The root in the block's header.
        block: Hash,
    },
    /// A delta ends with the state of another block.
    #[error("the delta ends at the root {delta}, the block after it has {block}")]
    OtherEnd {
        /// Where the delta ends.
        delta: Hash,
        /// The root in the block's header.
        block: Hash,
    },
    /// A delta's changes are not strictly ascending by key.
    #[error("the delta's changes are not in ascending order of their keys, each key once")]
    UnorderedDelta,
    /// The header of the snapshot's height is of another block, or has another state root.
    #[error("no snapshot {block} at height {height}: the chain's block there is {found}")]
    OtherBlock {
        /// The height.
        height: Height,
        /// The block that was named.
        block: Hash,
        /// The block that there is.
        found: Hash,
    },
    /// The block or the state isn't there to compare with.
    #[error("nothing to compare with at height {0}: the block or its state is not stored; name a height that is")]
    NotStored(Height),
    /// No state with this root is there to compare with.
    #[error("no state with the root {0} is stored; name a height whose snapshot is kept")]
    UnknownRoot(Hash),
    /// The state can't be read or changed.
    #[error(transparent)]
    State(#[from] StateError<E>),
}

/// Compares a root with the one in a block's header.
pub fn validate_state_root<E: Error>(header: &HeaderFacts, root: &Hash) -> Result<(), ValidationError<E>> {
    expect_root(header.state_root, *root)
}

/// Checks that `delta` leads from the state of one block to that of another. `base` is the state of the first.
pub fn validate_state_transition<R: StateReader>(
    from: &HeaderFacts,
    to: &HeaderFacts,
    delta: &StateDelta,
    base: R,
) -> Result<(), ValidationError<R::Error>> {
    if delta.from != from.state_root {
        return Err(ValidationError::OtherBeginning { delta: delta.from, block: from.state_root });
    }
    if delta.to != to.state_root {
        return Err(ValidationError::OtherEnd { delta: delta.to, block: to.state_root });
    }
    delta.validate(base)
}

impl<R: StateReader> StateSnapshot<R> {
    /// Reads and hashes every record: the root must be the one that the snapshot names, and the tree's own. In memory
    /// that doesn't grow with the state.
    pub fn validate(&self) -> Result<(), ValidationError<R::Error>> {
        let (found, records) = rehash(&self.state)?;
        expect_root(self.id.state_root, found)?;
        let (root, leaves) = subtree(&self.state, &Prefix::ROOT).map_err(StateError::Tree)?;
        expect_root(found, root)?;
        if leaves == records { Ok(()) } else { Err(ValidationError::WrongCount { leaves, records }) }
    }
}

pub(super) fn expect_root<E: Error>(expected: Hash, found: Hash) -> Result<(), ValidationError<E>> {
    if expected == found { Ok(()) } else { Err(ValidationError::WrongRoot { expected, found }) }
}

/// The root of all records, and how many there are.
fn rehash<R: StateReader>(state: &R) -> Result<(Hash, u64), ValidationError<R::Error>> {
    let mut builder = PageBuilder::new();
    let mut fault = None;
    let mut visit = |key_hash, bytes| match leaf(&mut builder, key_hash, bytes) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            fault = Some(error);
            ControlFlow::Break(())
        }
    };
    state.scan(&Prefix::ROOT, &mut visit).map_err(StateError::Store)?;
    match fault {
        Some(fault) => Err(fault),
        None => {
            let (root, records, _) = builder.finish();
            Ok((root, records))
        }
    }
}

fn leaf<E: Error>(builder: &mut PageBuilder, at: Hash, bytes: bytes::Bytes) -> Result<(), ValidationError<E>> {
    let record = Record::decode(bytes).map_err(|reason| ValidationError::Record { key_hash: at, reason })?;
    if key_hash(record.key()) != at {
        return Err(ValidationError::WrongKey { key_hash: at });
    }
    builder.push(at, value_hash(record.value()))?;
    if builder.pages() >= PAGES_AT_ONCE {
        drop(builder.take_pages());
    }
    Ok(())
}
