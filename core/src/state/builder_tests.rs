extern crate std;

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use jmt::mock::MockTreeStore;
use jmt::{JellyfishMerkleTree, KeyHash};
use proptest::prelude::*;

use super::tree_tests::{Blake3, key};
use super::*;
use crate::hash::Hash;
use crate::rng::Rng;

/// Builds in one go; the pages as a store has them.
fn build(leaves: &BTreeMap<Hash, Vec<u8>>) -> (Hash, u64, MemoryStateStore) {
    let mut builder = PageBuilder::new();
    let mut pages = Vec::new();
    for (key, value) in leaves {
        builder.push(*key, value_hash(value)).unwrap();
        if builder.pages() > 3 {
            pages.extend(builder.take_pages());
        }
    }
    let (root, count, last) = builder.finish();
    pages.extend(last);
    let names: BTreeSet<PageKey> = pages.iter().map(|(key, _)| *key).collect();
    assert_eq!(names.len(), pages.len(), "each page once");
    let mut store = MemoryStateStore::default();
    let pages = pages.into_iter().map(|(key, page)| (key, Some(page))).collect();
    store.write(StateWrites { pages, records: Vec::new() });
    (root, count, store)
}

/// The same through the tree that blocks change.
fn grown(leaves: &BTreeMap<Hash, Vec<u8>>) -> (Hash, MemoryStateStore) {
    let mut store = MemoryStateStore::default();
    let mut tree = Tree::load(&store).unwrap();
    let changes = leaves.iter().map(|(key, value)| (*key, Some(value_hash(value)))).collect();
    let root = tree.apply(&store, &changes).unwrap();
    store.write(StateWrites { pages: tree.take_pages(), records: Vec::new() });
    (root, store)
}

fn check(leaves: &BTreeMap<Hash, Vec<u8>>) {
    let (root, count, store) = build(leaves);
    assert_eq!(count, leaves.len() as u64);
    assert_eq!((root, store), grown(leaves));
    if leaves.is_empty() {
        return;
    }
    let set = leaves.iter().map(|(key, value)| (KeyHash(*key.as_bytes()), Some(value.clone())));
    let jmt = MockTreeStore::default();
    let (expected, _) = JellyfishMerkleTree::<_, Blake3>::new(&jmt).put_value_set(set, 0).unwrap();
    assert_eq!(root, Hash::from_bytes(expected.0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn pages_and_root_are_those_of_the_tree_and_of_jmt(leaves in prop::collection::btree_map(key(), prop::collection::vec(0..4u8, 0..2), 0..120)) {
        check(&leaves);
    }

    #[test]
    fn leaves_must_ascend(a in key(), b in key()) {
        let mut builder = PageBuilder::new();
        builder.push(a, value_hash(b"a")).unwrap();
        let pushed = builder.push(b, value_hash(b"b"));
        prop_assert_eq!(pushed.is_ok(), a < b);
        if let Err(error) = pushed {
            prop_assert_eq!(error, LeafOrderError { before: a, key_hash: b });
        }
    }
}

#[test]
fn no_leaves_and_one_leaf() {
    assert_eq!(PageBuilder::new().finish(), (PLACEHOLDER, 0, Vec::new()));
    let (key, value) = (key_hash(b"k"), b"v".to_vec());
    check(&BTreeMap::from([(key, value)]));
}

#[test]
fn memory_is_that_of_the_open_way_however_many_leaves() {
    let mut rng = Rng::new(5);
    let leaves: BTreeMap<Hash, Vec<u8>> =
        (0..20_000u32).map(|_| (key_hash(&rng.next_u64().to_le_bytes()), Vec::new())).collect();
    check(&leaves);
    let mut builder = PageBuilder::new();
    for key in leaves.keys() {
        builder.push(*key, value_hash(b"")).unwrap();
        builder.take_pages();
        assert!(builder.open_nodes() < 400, "{}", builder.open_nodes());
    }
}
