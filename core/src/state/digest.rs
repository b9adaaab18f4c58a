//! The hashing rules of the state tree, those of the `jmt` crate with BLAKE3. A leaf and an internal node are hashed
//! under domains of different length, so no preimage is both; whoever checks a hash must know a node's preimage, never
//! only its hash, before calling it a leaf.

use crate::hash::Hash;

/// The hash of a subtree without leaves. It is no BLAKE3 output that anyone can find a preimage of.
pub const PLACEHOLDER: Hash = Hash::from_bytes(*b"SPARSE_MERKLE_PLACEHOLDER_HASH__");

/// Bits of a key hash, and so the depth below which no two keys part.
pub(super) const MAX_DEPTH: u16 = 256;

const LEAF_DOMAIN: &[u8; 13] = b"JMT::LeafNode";
const INTERNAL_DOMAIN: &[u8; 16] = b"JMT::IntrnalNode";

/// Where a key's leaf stands in the tree.
pub fn key_hash(key: &[u8]) -> Hash {
    plain(key)
}

/// Hash of a value, to which its leaf commits.
pub fn value_hash(value: &[u8]) -> Hash {
    plain(value)
}

/// The hash of a leaf. A subtree with exactly one leaf has that leaf's hash, at any depth.
pub fn leaf_hash(key_hash: &Hash, value_hash: &Hash) -> Hash {
    let mut input = [0; 77];
    input[..13].copy_from_slice(LEAF_DOMAIN);
    input[13..45].copy_from_slice(key_hash.as_bytes());
    input[45..].copy_from_slice(value_hash.as_bytes());
    plain(&input)
}

/// The hash of a subtree with two leaves or more.
pub fn internal_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = [0; 80];
    input[..16].copy_from_slice(INTERNAL_DOMAIN);
    input[16..48].copy_from_slice(left.as_bytes());
    input[48..].copy_from_slice(right.as_bytes());
    plain(&input)
}

/// The bit that says which way a key goes at `depth`: false is left. The first bit is the highest of the first byte.
pub(super) fn bit(key_hash: &Hash, depth: u16) -> bool {
    key_hash.as_bytes().get(usize::from(depth / 8)).is_some_and(|byte| byte & (0x80 >> (depth % 8)) != 0)
}

/// How many leading bits two key hashes share.
pub(super) fn common_prefix(a: &Hash, b: &Hash) -> u16 {
    let mut bits = 0u16;
    for (a, b) in a.as_bytes().iter().zip(b.as_bytes()) {
        let same = (a ^ b).leading_zeros() as u16;
        bits = bits.saturating_add(same);
        if same < 8 {
            break;
        }
    }
    bits
}

fn plain(bytes: &[u8]) -> Hash {
    Hash::from_bytes(*blake3::hash(bytes).as_bytes())
}
