extern crate std;

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::proof::{DecodeProofError, MAX_PROOF_BYTES, MAX_SIBLINGS, ProofLeaf, StateProof, StateProofError};
use super::*;
use crate::hash::Hash;

/// A state of keys `[0]`, `[1]`, … with values `[n, n]`.
fn state(count: u8) -> KeyValueState<MemoryStateStore> {
    let mut state = KeyValueState::load(MemoryStateStore::default()).unwrap();
    let pairs: Vec<([u8; 1], [u8; 2])> = (0..count).map(|n| ([n], [n, n])).collect();
    state.apply(pairs.iter().map(|(key, value)| (&key[..], Some(&value[..])))).unwrap();
    state
}

#[test]
fn membership() {
    let mut state = state(50);
    let (root, proof) = (state.root(), state.prove(&[7]).unwrap());
    assert_eq!(proof.verify(&root, &[7], Some(&[7, 7])), Ok(()));
    assert_eq!(proof.verify(&root, &[7], Some(&[7, 8])), Err(StateProofError::WrongValue));
    assert_eq!(proof.verify(&root, &[7], None), Err(StateProofError::KeyPresent));
    assert_eq!(proof.verify(&root, &[8], Some(&[8, 8])), Err(StateProofError::KeyAbsent));
}

#[test]
fn non_membership_by_an_empty_place_and_by_another_leaf() {
    let mut state = state(50);
    let root = state.root();
    let (mut empty, mut other) = (0, 0);
    for n in 50..=255u8 {
        let proof = state.prove(&[n]).unwrap();
        assert_eq!(proof.verify(&root, &[n], None), Ok(()));
        assert_eq!(proof.verify(&root, &[n], Some(&[n, n])), Err(StateProofError::KeyAbsent));
        *(if proof.leaf().is_some() { &mut other } else { &mut empty }) += 1;
    }
    assert!(empty > 0 && other > 0, "{empty} {other}");
}

#[test]
fn a_leaf_elsewhere_does_not_prove_absence() {
    let mut state = state(50);
    let root = state.root();
    // Key 7 exists; the proof of key 8 ends at another leaf, which must not pass for an answer about 7.
    let proof = state.prove(&[8]).unwrap();
    assert_eq!(proof.verify(&root, &[7], None), Err(StateProofError::UnrelatedLeaf));
    // Nor may cutting its siblings help: fewer of them only change the root that it leads to.
    for count in 0..proof.siblings().len() {
        let short = StateProof::new(proof.leaf(), proof.siblings()[..count].to_vec());
        assert!(short.verify(&root, &[7], None).is_err());
    }
}

#[test]
fn a_proof_is_of_one_root() {
    let mut state = state(50);
    let (old, proof) = (state.root(), state.prove(&[7]).unwrap());
    state.apply([(&[9][..], None)]).unwrap();
    let root = state.root();
    assert_eq!(
        proof.verify(&root, &[7], Some(&[7, 7])),
        Err(StateProofError::WrongRoot { found: old, expected: root })
    );
}

/// The preimage of an internal node, or its hash, presented where a proof has a leaf or an empty place.
#[test]
fn internal_hash_shown_as_leaf() {
    let mut state = state(50);
    let root = state.root();
    let full = state.prove(&[7]).unwrap();
    let mut hash = {
        let leaf = full.leaf().unwrap();
        leaf_hash(&leaf.key_hash, &leaf.value_hash)
    };
    let key = key_hash(&[7]);
    for (index, sibling) in full.siblings().iter().enumerate() {
        let depth = full.siblings().len() - 1 - index;
        let right = key.as_bytes()[depth / 8] & (0x80 >> (depth % 8)) != 0;
        let (l, r) = if right { (*sibling, hash) } else { (hash, *sibling) };
        hash = internal_hash(&l, &r);
        let above = full.siblings()[index + 1..].to_vec();
        // The children of this internal node as key and value of a leaf, and the node as the value of the real key.
        for leaf in
            [Some(ProofLeaf { key_hash: l, value_hash: r }), Some(ProofLeaf { key_hash: key, value_hash: hash }), None]
        {
            let forged = StateProof::new(leaf, above.clone());
            for value in [None, Some(&hash), Some(&r)] {
                assert!(forged.verify_hashes(&root, &key, value).is_err());
                assert!(forged.verify_hashes(&root, &l, value).is_err());
            }
        }
    }
    assert_eq!(hash, root);
}

#[test]
fn the_placeholder_is_no_leaf() {
    let leaf = ProofLeaf { key_hash: PLACEHOLDER, value_hash: PLACEHOLDER };
    let proof = StateProof::new(Some(leaf), vec![]);
    assert!(proof.verify_hashes(&EMPTY_ROOT, &PLACEHOLDER, Some(&PLACEHOLDER)).is_err());
    assert!(proof.verify_hashes(&EMPTY_ROOT, &Hash::ZERO, None).is_err());
    assert_eq!(StateProof::new(None, vec![]).verify(&EMPTY_ROOT, b"any", None), Ok(()));
}

#[test]
fn too_many_siblings_are_refused() {
    let proof = StateProof::new(None, vec![Hash::ZERO; MAX_SIBLINGS + 1]);
    assert_eq!(proof.verify(&EMPTY_ROOT, b"k", None), Err(StateProofError::TooLong));
    let bytes = proof.encode();
    assert_eq!(StateProof::decode(&bytes), Err(DecodeProofError::Malformed));
    assert_eq!(StateProof::decode(&vec![0; MAX_PROOF_BYTES + 1]), Err(DecodeProofError::TooLarge(MAX_PROOF_BYTES + 1)));
    let longest = StateProof::new(
        Some(ProofLeaf { key_hash: Hash::ZERO, value_hash: Hash::ZERO }),
        vec![Hash::ZERO; MAX_SIBLINGS],
    );
    assert_eq!(longest.encode().len(), MAX_PROOF_BYTES);
    assert_eq!(StateProof::decode(&longest.encode()), Ok(longest.clone()));
    // As many siblings as bits are a proof like any other.
    let verify = |root: &Hash| longest.verify_hashes(root, &Hash::ZERO, Some(&Hash::ZERO));
    let Err(StateProofError::WrongRoot { found, .. }) = verify(&EMPTY_ROOT) else { panic!("of another root") };
    assert_eq!(verify(&found), Ok(()));
}

#[test]
fn non_canonical_encoding_is_rejected() {
    let bytes = state(3).prove(&[1]).unwrap().encode();
    let mut trailing = bytes.clone();
    trailing.push(0);
    assert_eq!(StateProof::decode(&trailing), Err(DecodeProofError::NotCanonical));
    // The number of siblings as a padded varint.
    let mut padded = bytes.clone();
    padded[65] |= 0x80;
    padded.insert(66, 0);
    assert_eq!(StateProof::decode(&padded), Err(DecodeProofError::NotCanonical));
    for cut in 0..bytes.len() {
        assert_eq!(StateProof::decode(&bytes[..cut]), Err(DecodeProofError::Malformed));
    }
}

/// The wire format, which other implementations rely on.
#[test]
fn the_encoding_is_fixed() {
    let proof = StateProof::new(
        Some(ProofLeaf { key_hash: Hash::from_bytes([1; 32]), value_hash: Hash::from_bytes([2; 32]) }),
        vec![Hash::from_bytes([3; 32])],
    );
    let expected = [&[1][..], &[1; 32], &[2; 32], &[1], &[3; 32]].concat();
    assert_eq!(proof.encode(), expected);
    assert_eq!(StateProof::new(None, vec![]).encode(), [0, 0]);
}

proptest! {
    #[test]
    fn a_changed_byte_breaks_a_proof(key: u8, index: prop::sample::Index, bit in 0..8u8) {
        let mut state = state(100);
        let root = state.root();
        let value = state.get(&[key]).unwrap().map(<[u8]>::to_vec);
        let mut bytes = state.prove(&[key]).unwrap().encode();
        let index = index.index(bytes.len());
        bytes[index] ^= 1 << bit;
        if let Ok(proof) = StateProof::decode(&bytes) {
            prop_assert!(proof.verify(&root, &[key], value.as_deref()).is_err());
        }
    }

    #[test]
    fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(proof) = StateProof::decode(&bytes) {
            prop_assert_eq!(proof.encode(), bytes);
        }
    }
}

#[test]
fn proofs_are_the_same_from_memory_and_from_the_store() {
    let mut state = state(200);
    let proofs: BTreeMap<u8, StateProof> = (0..=255).map(|n| (n, state.prove(&[n]).unwrap())).collect();
    let writes = state.take_writes();
    state.store_mut().write(writes);
    let mut reloaded = KeyValueState::load(state.store()).unwrap();
    for (n, proof) in proofs {
        assert_eq!(reloaded.prove(&[n]).unwrap(), proof);
    }
}
