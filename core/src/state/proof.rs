//! Proof that a key has a value, or has none, under a state root. It trusts the root that it is checked against and
//! nothing else.
//!
//! A leaf is shown by what it commits to and hashed here, so the hash of an internal node can't pass for a leaf; an
//! empty place is the placeholder and nothing else.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::digest::{MAX_DEPTH, PLACEHOLDER, bit, common_prefix, internal_hash, key_hash, leaf_hash, value_hash};
use crate::chain::Fault;
use crate::chain::native::codec;
use crate::hash::Hash;

/// Most siblings in a proof: one for every bit of a key hash.
pub const MAX_SIBLINGS: usize = MAX_DEPTH as usize;

/// Largest encoded proof in bytes: the leaf with its tag, the count, the siblings.
pub const MAX_PROOF_BYTES: usize = 1 + 64 + 2 + MAX_SIBLINGS * 32;

/// The way from a key's place in the tree up to the root. Encoded with postcard, which for this type is canonical:
/// [`decode`](Self::decode) refuses every other encoding of the same proof.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StateProof {
    leaf: Option<ProofLeaf>,
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_SIBLINGS>")]
    siblings: Vec<Hash>,
}

/// The one leaf where a proof ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProofLeaf {
    /// The hash of the leaf's key.
    pub key_hash: Hash,
    /// The hash of the leaf's value.
    pub value_hash: Hash,
}

/// Why a proof does not show what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateProofError {
    /// A value is claimed, but the proof ends at an empty place or at another key's leaf.
    #[error("the proof does not lead to the key")]
    KeyAbsent,
    /// The key is claimed to be absent, but the proof ends at its leaf.
    #[error("the key is said to be absent, the proof shows that it has a value")]
    KeyPresent,
    /// The leaf is the key's, with another value.
    #[error("the proof is of another value")]
    WrongValue,
    /// The leaf of another key stands in a subtree that the key does not belong to, so it says nothing about it.
    #[error("the proof ends at a leaf that is not on the way to the key")]
    UnrelatedLeaf,
    /// More siblings than a key hash has bits.
    #[error("the proof has more than {MAX_SIBLINGS} siblings")]
    TooLong,
    /// The proof is of another state.
    #[error("the proof leads to the state root {found}, not to {expected}")]
    WrongRoot {
        /// Where it leads.
        found: Hash,
        /// The root that was asked for.
        expected: Hash,
    },
}

/// Why bytes are not a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProofError {
    /// More bytes than the longest proof has.
    #[error("a state proof has at most {MAX_PROOF_BYTES} bytes, these are {0}")]
    TooLarge(usize),
    /// Not an encoded proof, or one with too many siblings.
    #[error("the bytes are not a state proof")]
    Malformed,
    /// Another encoding of a proof than the one that this software writes.
    #[error("the state proof is not in its canonical encoding")]
    NotCanonical,
}

impl StateProof {
    pub(super) fn new(leaf: Option<ProofLeaf>, siblings: Vec<Hash>) -> Self {
        Self { leaf, siblings }
    }

    /// The leaf where the proof ends, if it does not end at an empty place.
    pub fn leaf(&self) -> Option<ProofLeaf> {
        self.leaf
    }

    /// The hashes beside the way, from the leaf up to the root.
    pub fn siblings(&self) -> &[Hash] {
        &self.siblings
    }

    /// Checks that under `root`, which the caller trusts, `key` has `value`, or no value where that is `None`.
    pub fn verify(&self, root: &Hash, key: &[u8], value: Option<&[u8]>) -> Result<(), StateProofError> {
        self.verify_hashes(root, &key_hash(key), value.map(value_hash).as_ref())
    }

    /// [`verify`](Self::verify) where key and value are known by their hashes.
    pub fn verify_hashes(&self, root: &Hash, key: &Hash, value: Option<&Hash>) -> Result<(), StateProofError> {
        let depth = u16::try_from(self.siblings.len()).unwrap_or(u16::MAX);
        if depth > MAX_DEPTH {
            return Err(StateProofError::TooLong);
        }
        let own = self.leaf.filter(|leaf| leaf.key_hash == *key);
        match (value, own) {
            (Some(_), None) => return Err(StateProofError::KeyAbsent),
            (None, Some(_)) => return Err(StateProofError::KeyPresent),
            (Some(value), Some(leaf)) if leaf.value_hash != *value => return Err(StateProofError::WrongValue),
            _ => {}
        }
        if self.leaf.is_some_and(|leaf| common_prefix(&leaf.key_hash, key) < depth) {
            return Err(StateProofError::UnrelatedLeaf);
        }
        let start = self.leaf.map_or(PLACEHOLDER, |leaf| leaf_hash(&leaf.key_hash, &leaf.value_hash));
        let found = self.siblings.iter().zip((0..depth).rev()).fold(start, |hash, (sibling, depth)| {
            if bit(key, depth) { internal_hash(sibling, &hash) } else { internal_hash(&hash, sibling) }
        });
        if found == *root { Ok(()) } else { Err(StateProofError::WrongRoot { found, expected: *root }) }
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads an encoding of at most [`MAX_PROOF_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeProofError> {
        codec::decode(bytes, MAX_PROOF_BYTES).map_err(|fault| match fault {
            Fault::Oversize => DecodeProofError::TooLarge(bytes.len()),
            Fault::NonCanonical => DecodeProofError::NotCanonical,
            _ => DecodeProofError::Malformed,
        })
    }
}
