extern crate std;

use std::collections::BTreeMap;
use std::format;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use jmt::mock::MockTreeStore;
use jmt::{JellyfishMerkleTree, KeyHash, SimpleHasher};
use proptest::prelude::*;

use super::*;
use crate::hash::Hash;
use crate::rng::Rng;

pub(super) struct Blake3(blake3::Hasher);

impl SimpleHasher for Blake3 {
    fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// The same history in the tree under test, over a store that it is now and then reloaded from, and in `jmt`.
struct Both {
    store: MemoryStateStore,
    tree: Tree,
    jmt: MockTreeStore,
    version: u64,
    model: BTreeMap<Hash, Vec<u8>>,
}

type Change = (Hash, Option<Vec<u8>>);

impl Both {
    fn new() -> Self {
        let store = MemoryStateStore::default();
        let tree = Tree::load(&store).unwrap();
        Self { store, tree, jmt: MockTreeStore::default(), version: 0, model: BTreeMap::new() }
    }

    fn apply(&mut self, batch: &[Change]) {
        let changes: BTreeMap<Hash, Option<Vec<u8>>> = batch.iter().cloned().collect();
        if changes.is_empty() {
            return;
        }
        let hashes = changes.iter().map(|(key, value)| (*key, value.as_deref().map(value_hash))).collect();
        let root = self.tree.apply(&self.store, &hashes).unwrap();
        for (key, value) in &changes {
            match value {
                Some(value) => self.model.insert(*key, value.clone()),
                None => self.model.remove(key),
            };
        }
        let set = changes.into_iter().map(|(key, value)| (KeyHash(*key.as_bytes()), value));
        let (expected, update) =
            JellyfishMerkleTree::<_, Blake3>::new(&self.jmt).put_value_set(set, self.version).unwrap();
        self.jmt.write_tree_update_batch(update).unwrap();
        self.version += 1;
        assert_eq!(root, Hash::from_bytes(expected.0));
        assert_eq!(self.tree.leaves(), self.model.len() as u64);
    }

    fn write(&mut self) {
        let pages = self.tree.take_pages();
        assert!(pages.is_sorted_by(|(a, _), (b, _)| a < b && a.to_bytes() < b.to_bytes()));
        self.store.write(StateWrites { pages, records: vec![] });
        // The store holds exactly the pages that a tree built at once would have written: nothing stale, nothing less.
        let mut fresh = Tree::load(&MemoryStateStore::default()).unwrap();
        let all = self.model.iter().map(|(key, value)| (*key, Some(value_hash(value)))).collect();
        fresh.apply(&MemoryStateStore::default(), &all).unwrap();
        let mut expected = MemoryStateStore::default();
        expected.write(StateWrites { pages: fresh.take_pages(), records: vec![] });
        assert_eq!(self.store, expected);
    }

    fn reload(&mut self) {
        let root = self.tree.root();
        self.tree = Tree::load(&self.store).unwrap();
        assert_eq!(self.tree.root(), root);
    }

    /// Our proof is the one of `jmt`, and shows what the model says.
    fn check_proof(&mut self, key: &Hash) {
        if self.version == 0 {
            return;
        }
        let proof = self.tree.prove(&self.store, key).unwrap();
        let value = self.model.get(key).map(|value| value_hash(value));
        proof.verify_hashes(&self.tree.root(), key, value.as_ref()).unwrap();
        let other = if value.is_some() { None } else { Some(value_hash(b"x")) };
        assert!(proof.verify_hashes(&self.tree.root(), key, other.as_ref()).is_err());

        let jmt = JellyfishMerkleTree::<_, Blake3>::new(&self.jmt);
        let (_, theirs) = jmt.get_with_proof(KeyHash(*key.as_bytes()), self.version - 1).unwrap();
        let theirs: JmtProof = postcard::from_bytes(&postcard::to_allocvec(&theirs).unwrap()).unwrap();
        let leaf = theirs.leaf.map(|(key_hash, value_hash)| ProofLeaf { key_hash, value_hash });
        let siblings = theirs.siblings.iter().map(JmtNode::hash).collect();
        assert_eq!(proof, StateProof::new(leaf, siblings));
    }
}

/// A proof of `jmt` as it encodes itself.
#[derive(serde::Deserialize)]
struct JmtProof {
    leaf: Option<(Hash, Hash)>,
    siblings: Vec<JmtNode>,
    _hasher: (),
}

#[derive(serde::Deserialize)]
enum JmtNode {
    Null,
    Internal(Hash, Hash),
    Leaf(Hash, Hash),
}

impl JmtNode {
    fn hash(&self) -> Hash {
        match self {
            Self::Null => PLACEHOLDER,
            Self::Internal(left, right) => internal_hash(left, right),
            Self::Leaf(key, value) => leaf_hash(key, value),
        }
    }
}

/// Key hashes of which many share long prefixes, up to all bits but the last, and some are equal.
pub(super) fn key() -> impl Strategy<Value = Hash> {
    let dense = (0..32usize, any::<u8>(), 0..4u8).prop_map(|(shared, byte, last)| {
        let mut key = [0xa5; 32];
        key[shared] = byte & 0xc3;
        key[31] ^= last;
        Hash::from_bytes(key)
    });
    let sparse = (0..200u64).prop_map(|seed| key_hash(&seed.to_le_bytes()));
    prop_oneof![dense, sparse]
}

fn change() -> impl Strategy<Value = Change> {
    (key(), prop::option::weighted(0.6, prop::collection::vec(0..4u8, 0..2)))
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<Change>),
    DeleteMost,
    Write,
    Evict,
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(change(), 0..30).prop_map(Step::Apply),
        1 => Just(Step::DeleteMost),
        2 => Just(Step::Write),
        1 => Just(Step::Evict),
        1 => Just(Step::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_history_has_the_roots_and_proofs_of_jmt(steps in prop::collection::vec(step(), 1..12), keys in prop::collection::vec(key(), 5)) {
        let mut both = Both::new();
        for step in steps {
            match step {
                Step::Apply(batch) => both.apply(&batch),
                Step::DeleteMost => {
                    let batch: Vec<Change> = both.model.keys().skip(2).map(|key| (*key, None)).collect();
                    both.apply(&batch);
                }
                Step::Write => both.write(),
                Step::Evict => {
                    both.write();
                    both.tree.evict(0);
                }
                Step::Reload => {
                    both.write();
                    both.reload();
                }
            }
            prop_assert!(both.tree.counts_right());
        }
        let present: Vec<Hash> = both.model.keys().copied().take(5).collect();
        for key in keys.iter().chain(&present) {
            both.check_proof(key);
        }
    }

    #[test]
    fn damaged_pages_are_errors(seed: u64, position: prop::sample::Index, page: prop::sample::Index, byte in 1..=255u8) {
        let (store, all) = filled(seed, 100);
        let (name, bytes) = store.pages().nth(page.index(store.pages().count())).unwrap();
        let (name, mut bytes) = (*name, bytes.to_vec());
        let position = position.index(bytes.len());
        bytes[position] ^= byte;
        let mut damaged = store.clone();
        damaged.write(StateWrites { pages: vec![(name, Some(bytes))], records: vec![] });
        let root = Tree::load(&store).unwrap().root();
        let refused = match Tree::load(&damaged) {
            // The topmost page is bound by the root that the host expects; what it refers to, by the tree.
            Ok(tree) if tree.root() != root => true,
            Ok(mut tree) => all.keys().any(|key| tree.prove(&damaged, key).is_err()),
            Err(_) => true,
        };
        prop_assert!(refused);
    }
}

fn filled(seed: u64, count: usize) -> (MemoryStateStore, BTreeMap<Hash, Option<Hash>>) {
    let mut rng = Rng::new(seed);
    let mut store = MemoryStateStore::default();
    let all: BTreeMap<_, _> =
        (0..count).map(|_| (key_hash(&rng.next_u64().to_le_bytes()), Some(value_hash(b"v")))).collect();
    let mut tree = Tree::load(&store).unwrap();
    tree.apply(&store, &all).unwrap();
    store.write(StateWrites { pages: tree.take_pages(), records: vec![] });
    (store, all)
}

#[test]
fn an_empty_tree_has_the_placeholder_and_no_page() {
    let mut both = Both::new();
    assert_eq!(both.tree.root(), PLACEHOLDER);
    both.write();
    both.apply(&[(Hash::ZERO, None)]);
    assert_eq!(both.tree.root(), EMPTY_ROOT);
    both.check_proof(&Hash::ZERO);
}

#[test]
fn a_lone_leaf_is_the_root() {
    let mut both = Both::new();
    let (key, value) = (key_hash(b"k"), b"v".to_vec());
    both.apply(&[(key, Some(value.clone()))]);
    assert_eq!(both.tree.root(), leaf_hash(&key, &value_hash(&value)));
    both.write();
    both.reload();
    both.check_proof(&key);
    both.check_proof(&key_hash(b"other"));
}

#[test]
fn deleting_all_but_one_collapses_to_the_root_and_leaves_one_page() {
    let mut both = Both::new();
    let keys: Vec<Hash> = (0..100u8).map(|n| key_hash(&[n])).collect();
    both.apply(&keys.iter().map(|key| (*key, Some(vec![1]))).collect::<Vec<_>>());
    both.write();
    assert!(both.store.pages().count() > 10);
    both.tree.evict(0);
    both.apply(&keys.iter().skip(1).map(|key| (*key, None)).collect::<Vec<_>>());
    both.write();
    assert_eq!(both.store.pages().count(), 1);
    both.apply(&[(keys[0], None)]);
    both.write();
    assert_eq!(both.store.pages().count(), 0);
}

#[test]
fn keys_that_differ_in_the_last_bit_alone() {
    let mut last = [0u8; 32];
    last[31] = 1;
    let (a, b) = (Hash::ZERO, Hash::from_bytes(last));
    let mut both = Both::new();
    both.apply(&[(a, Some(vec![1])), (b, Some(vec![2]))]);
    both.write();
    both.reload();
    for key in [a, b, key_hash(b"elsewhere")] {
        both.check_proof(&key);
    }
    assert_eq!(both.tree.prove(&both.store, &a).unwrap().siblings().len(), MAX_SIBLINGS);
    both.apply(&[(b, None)]);
    both.write();
    both.check_proof(&b);
}

#[test]
fn an_unchanged_value_writes_nothing() {
    let (store, all) = filled(1, 50);
    let mut tree = Tree::load(&store).unwrap();
    let root = tree.root();
    assert_eq!(tree.apply(&store, &all), Ok(root));
    assert_eq!(tree.take_pages(), vec![]);
}

#[test]
fn many_blocks_write_the_last_version_of_each_page_once() {
    let (mut store, all) = filled(2, 1000);
    let mut tree = Tree::load(&store).unwrap();
    let key = *all.keys().next().unwrap();
    for n in 0..100u8 {
        tree.apply(&store, &BTreeMap::from([(key, Some(value_hash(&[n])))])).unwrap();
    }
    let pages = tree.take_pages();
    // The path of 1,000 keys: the root and two or three nibbles below it.
    assert!((2..=4).contains(&pages.len()), "{}", pages.len());
    store.write(StateWrites { pages, records: vec![] });
    assert_eq!(Tree::load(&store).unwrap().root(), tree.root());
}

#[test]
fn a_missing_page_is_an_error_and_changes_nothing() {
    let (store, all) = filled(3, 1000);
    let (lost, _) = store.pages().last().unwrap();
    let lost = *lost;
    let mut damaged = store.clone();
    damaged.write(StateWrites { pages: vec![(lost, None)], records: vec![] });
    let mut tree = Tree::load(&damaged).unwrap();
    let root = tree.root();
    let delete_all = all.keys().map(|key| (*key, None)).collect();
    assert_eq!(tree.apply(&damaged, &delete_all), Err(TreeError::Missing(lost)));
    assert_eq!((tree.root(), tree.take_pages()), (root, vec![]));
    // With the page back, the same tree goes on.
    assert_eq!(tree.apply(&store, &delete_all), Ok(EMPTY_ROOT));
}

#[test]
fn an_old_version_of_a_page_is_refused() {
    let (store, all) = filled(4, 1000);
    let (name, old) = store.pages().last().unwrap();
    let mut tree = Tree::load(&store).unwrap();
    let mut newer = store.clone();
    tree.apply(&store, &all.keys().map(|key| (*key, Some(value_hash(b"new")))).collect()).unwrap();
    newer.write(StateWrites { pages: tree.take_pages(), records: vec![] });
    newer.write(StateWrites { pages: vec![(*name, Some(old.to_vec()))], records: vec![] });
    let mut tree = Tree::load(&newer).unwrap();
    let error = all.keys().find_map(|key| tree.prove(&newer, key).err()).unwrap();
    assert!(matches!(error, TreeError::Corrupt { page, reason: PageError::Hash { .. } } if page == *name));
    assert!(error.to_string().contains(&format!("page {name} ")), "{error}");
}

#[test]
fn pages_stay_small() {
    let (store, _) = filled(5, 20_000);
    let largest = store.pages().map(|(_, bytes)| bytes.len()).max().unwrap();
    assert!(largest <= 4096 + 256, "{largest}");
}

/// The root of a tree that was built at once.
fn root_of(all: &BTreeMap<Hash, Option<Hash>>) -> Hash {
    let empty = MemoryStateStore::default();
    Tree::load(&empty).unwrap().apply(&empty, all).unwrap()
}

#[test]
fn hot_pages_have_the_roots_of_cold_ones() {
    // Values change over and over, alone and together, between writes and across them, and now and then a key comes or goes.
    let (mut store, mut all) = filled(6, 600);
    let keys: Vec<Hash> = all.keys().copied().collect();
    let mut tree = Tree::load(&store).unwrap();
    let mut rng = Rng::new(7);
    for round in 0..60u64 {
        for block in 0..20u64 {
            let mut changes = BTreeMap::new();
            for _ in 0..=rng.next_u64() % 8 {
                let key = keys[(rng.next_u64() % 40 * (1 + round % 15)) as usize % keys.len()];
                let gone = rng.next_u64().is_multiple_of(50);
                changes.insert(key, (!gone).then(|| value_hash(&[round as u8, block as u8])));
            }
            let root = tree.apply(&store, &changes).unwrap();
            for (key, value) in changes {
                if value.is_some() {
                    all.insert(key, value)
                } else {
                    all.remove(&key)
                };
            }
            assert_eq!(root, root_of(&all));
        }
        assert!(tree.counts_right());
        store.write(StateWrites { pages: tree.take_pages(), records: vec![] });
        if round % 7 == 0 {
            tree.evict(tree.memory() / 2);
        }
        assert!(tree.counts_right());
        assert_eq!(Tree::load(&store).unwrap().root(), tree.root());
    }
}

#[test]
fn a_large_tree_takes_little_more_than_its_leaves() {
    // Leaves of 64 bytes each: in pages of 16, and of 32, of which many have small pages below them.
    for (count, most) in [(65_536usize, 110), (8192, 200)] {
        let (store, all) = filled(8, count);
        let mut tree = Tree::load(&store).unwrap();
        tree.apply(&store, &all.keys().map(|key| (*key, Some(value_hash(b"n")))).collect()).unwrap();
        assert!(!tree.take_pages().is_empty());
        assert!(tree.memory() < count * most, "{} bytes a leaf of {count}", tree.memory() / count);
    }
}

#[test]
fn what_was_not_touched_for_longest_is_forgotten_first() {
    let (store, all) = filled(9, 20_000);
    let mut tree = Tree::load(&store).unwrap();
    tree.apply(&store, &all.keys().map(|key| (*key, Some(value_hash(b"1")))).collect()).unwrap();
    let mut newer = store.clone();
    newer.write(StateWrites { pages: tree.take_pages(), records: vec![] });
    let whole = tree.memory();
    // A first round looks at all of it, and finds that all of it was touched.
    tree.evict(whole - 1);
    let hot: BTreeMap<Hash, Option<Hash>> = all.keys().step_by(200).map(|key| (*key, Some(value_hash(b"2")))).collect();
    tree.apply(&newer, &hot).unwrap();
    newer.write(StateWrites { pages: tree.take_pages(), records: vec![] });
    tree.evict(whole / 2);
    assert!(tree.memory() <= whole / 2 && tree.counts_right());
    // The pages that were touched are there still: their keys are changed without a store.
    let empty = MemoryStateStore::default();
    let again = |hot: &BTreeMap<Hash, Option<Hash>>| hot.keys().map(|key| (*key, Some(value_hash(b"3")))).collect();
    assert!(tree.clone().apply(&empty, &again(&hot)).is_ok());
    assert!(tree.apply(&empty, &again(&all)).is_err());
    tree.evict(0);
    assert!(tree.memory() < whole / 10, "{} of {whole}", tree.memory());
}
