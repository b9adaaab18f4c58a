//! The state commitment: a sparse Merkle tree over the BLAKE3 hashes of keys, with the hashing rules of the `jmt` crate.
//!
//! * [`Tree`] is the tree itself. It applies a block's changes, has the root after every block, and proves. Between
//!   durable batches it is an overlay: it remembers what changed and hands out the last version of each page.
//! * [`KeyValueState`] adds the keys and values to it; an application executes over that.
//! * [`StateSnapshot`] and [`StateDelta`] check a whole state, or the changes between two, against the roots in headers.
//! * [`StateProof`] shows to someone who trusts a root, and nobody else, what a key's value is.
//!
//! # Layout
//! A subtree without leaves is [`PLACEHOLDER`], one with a single leaf is that leaf, every other is an internal node with
//! two children: so the tree, and its root, depend on the set of keys and values alone, not on the order they came in.
//! It is cut into pages at nibble boundaries, by the number of leaves ([`PAGE_LEAVES`]), so the pages follow from the
//! set too. Every bit prefix of the tree can be reached, the leaves under it are in key-hash order both in the tree and
//! in the store's records, and every node knows how many leaves it has: a server can cut an answer by prefix without
//! reading what it will not send.
//!
//! # Views at older heights
//! Pages and records carry no version: they are the live state. A store that keeps snapshot heights does so where it
//! writes a [`StateWrites`]: the first time that a page or record is overwritten or deleted after a snapshot height, it
//! puts the old bytes (or their absence) aside under (snapshot height, key) in the same batch. A view at that height
//! reads what was put aside for the lowest snapshot height at or above its own, and otherwise the live bytes; dropping
//! a snapshot is dropping its range of keys. It is a [`StateReader`] like the live store, so [`Tree::load`] opens it.

mod answer;
mod builder;
mod delta;
mod digest;
mod item;
mod key_value;
mod leaf_page;
mod leaves;
mod node;
mod page;
mod prefix;
mod proof;
mod pruned;
mod record;
mod store;
mod subtree;
mod tree;
mod validation;
mod view;

pub use answer::{StateAnswer, decode_state};
pub use builder::{LeafOrderError, PageBuilder};
pub use delta::StateDelta;
pub use digest::{PLACEHOLDER, internal_hash, key_hash, leaf_hash, value_hash};
pub use item::{StateForm, StateItem, StateLeaves};
pub use key_value::{KeyValueState, StateError};
pub use leaves::subtree_hash;
pub use page::{PAGE_LEAVES, PageError, PageKey};
pub use prefix::{Prefix, PrefixError};
pub use proof::{DecodeProofError, MAX_PROOF_BYTES, MAX_SIBLINGS, ProofLeaf, StateProof, StateProofError};
pub use record::{Record, RecordError};
pub use store::{MemoryStateStore, StateReader, StateWrites};
pub use subtree::{encode_state, subtree};
pub use tree::{EMPTY_ROOT, Tree, TreeError};
pub use validation::{SnapshotId, StateSnapshot, ValidationError, validate_state_root, validate_state_transition};
pub use view::{KeyValueView, Undo};

/// Longest key, in bytes. Keys are names; a longer one belongs into a value. The bound keeps a proof request small.
pub const MAX_KEY_BYTES: usize = 1 << 10;

/// Largest value, in bytes: a leaf's record, with its key, still fits into one frame of a state answer.
pub const MAX_VALUE_BYTES: usize = 64 << 10;

/// Most bits that one pruned tree goes down: 1,024 subtrees, 33 KiB.
pub const MAX_TREE_DEPTH: u8 = 10;

#[cfg(test)]
mod builder_tests;
#[cfg(test)]
mod forgery_tests;
#[cfg(test)]
mod key_value_tests;
#[cfg(test)]
mod proof_tests;
#[cfg(test)]
mod tree_tests;
#[cfg(test)]
mod validation_tests;
#[cfg(test)]
mod view_tests;
#[cfg(test)]
mod walk_tests;
