//! Answers to requests for subtrees: honest ones rebuild the state, and nothing else passes.

extern crate std;

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;

use super::forgery_tests::decode_leaves;
use super::*;
use crate::hash::Hash;
use crate::rng::Rng;

pub(super) type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A state in a store, and its root.
pub(super) fn store_of(pairs: &Pairs) -> (MemoryStateStore, Hash) {
    let mut state = KeyValueState::load(MemoryStateStore::default()).unwrap();
    let root = state.apply(pairs.iter().map(|(key, value)| (&key[..], Some(&value[..])))).unwrap();
    let writes = state.take_writes();
    state.store_mut().write(writes);
    (state.store().clone(), root)
}

pub(super) fn answer(
    stores: &[MemoryStateStore],
    form: StateForm,
    items: &[StateItem],
    max_bytes: usize,
) -> Option<Bytes> {
    let mut out = Vec::new();
    encode_state(stores, form, items, max_bytes, &mut out).unwrap().then(|| out.into())
}

pub(super) fn root_item(root: Hash) -> StateItem {
    StateItem { prefix: Prefix::ROOT, hash: root }
}

/// Whether what was proven is true of `store`.
fn is_true(store: &MemoryStateStore, answer: &StateAnswer) -> bool {
    match answer {
        StateAnswer::Missing(_) => true,
        StateAnswer::Leaves(leaves) => {
            let mut held = store.records().filter(|(key, _)| leaves.item.prefix.contains(key));
            leaves.records.iter().all(|(key, record)| held.next() == Some((key, record))) && held.next().is_none()
        }
        StateAnswer::Tree { below, .. } => {
            below.iter().all(|item| subtree(store, &item.prefix).unwrap().0 == item.hash)
        }
    }
}

/// Whether the places of `below` cover the place of `item` without a gap, and are deeper.
fn covers(item: &StateItem, below: &[StateItem]) -> bool {
    let next = |hash: &Hash| {
        let mut bytes = *hash.as_bytes();
        for byte in bytes.iter_mut().rev() {
            let (sum, carry) = byte.overflowing_add(1);
            *byte = sum;
            if !carry {
                break;
            }
        }
        Hash::from_bytes(bytes)
    };
    below.first().is_some_and(|first| first.prefix.first() == item.prefix.first())
        && below.last().is_some_and(|last| last.prefix.last() == item.prefix.last())
        && below.windows(2).all(|pair| next(&pair[0].prefix.last()) == pair[1].prefix.first())
        && below.iter().all(|below| below.prefix.depth() > item.prefix.depth())
}

fn pairs(most: usize, value: usize) -> impl Strategy<Value = Pairs> {
    let key = prop::collection::vec(any::<u8>(), 0..6);
    prop::collection::btree_map(key, prop::collection::vec(any::<u8>(), 0..value), 0..most)
}

fn form(rng: &mut Rng) -> StateForm {
    match rng.below(2) {
        0 => StateForm::Leaves,
        _ => StateForm::Tree { depth: 1 + rng.below(u64::from(MAX_TREE_DEPTH)) as u8 },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_walk_from_the_root_rebuilds_the_state(pairs in pairs(150, 300), seed: u64) {
        let (store, root) = store_of(&pairs);
        let mut rng = Rng::new(seed);
        let mut frontier = vec![root_item(root)];
        let mut found = Vec::new();
        let mut rounds = 0;
        while !frontier.is_empty() {
            rounds += 1;
            prop_assert!(rounds < 2000, "every answer goes on");
            let mut batch = Vec::new();
            for _ in 0..1 + rng.below(8) {
                if !frontier.is_empty() {
                    batch.push(frontier.swap_remove(rng.below(frontier.len() as u64) as usize));
                }
            }
            let (form, max_bytes) = (form(&mut rng), 1 + rng.below(4000) as usize);
            let bytes = answer(std::slice::from_ref(&store), form, &batch, max_bytes).unwrap();
            let answers = decode_state(form, &batch, &bytes).unwrap();
            prop_assert!(bytes.len() <= max_bytes || answers.len() == 1);
            frontier.extend(&batch[answers.len()..]);
            for (item, answer) in batch.iter().zip(answers) {
                match answer {
                    StateAnswer::Leaves(leaves) => {
                        prop_assert_eq!(leaves.item, *item);
                        found.extend(leaves.records);
                    }
                    StateAnswer::Tree { item: of, below } => {
                        prop_assert_eq!(of, *item);
                        prop_assert!(covers(item, &below));
                        frontier.extend(below);
                    }
                    StateAnswer::Missing(_) => prop_assert!(false, "it is all there"),
                }
            }
        }
        found.sort();
        let expected: Vec<(Hash, Bytes)> = store.records().map(|(key, record)| (*key, record.clone())).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_changed_byte_proves_anything_false(pairs in pairs(24, 30), seed: u64, at: Index, xor in 1..=255u8) {
        let (store, root) = store_of(&pairs);
        let mut rng = Rng::new(seed);
        let form = form(&mut rng);
        // The root alone, or what stands a few bits below it.
        let mut items = vec![root_item(root)];
        if rng.below(2) == 0 {
            let bytes = answer(std::slice::from_ref(&store), StateForm::Tree { depth: 2 }, &items, 4000).unwrap();
            if let StateAnswer::Tree { below, .. } = decode_state(StateForm::Tree { depth: 2 }, &items, &bytes).unwrap().remove(0) {
                items = below;
            }
        }
        let honest = answer(std::slice::from_ref(&store), form, &items, 4000).unwrap();
        let truth = decode_state(form, &items, &honest).unwrap();
        prop_assert!(truth.iter().all(|answer| is_true(&store, answer)));
        for position in 0..honest.len() {
            let mut bytes = honest.to_vec();
            bytes[position] ^= xor;
            if let Ok(answers) = decode_state(form, &items, &bytes.into()) {
                prop_assert!(answers.iter().all(|answer| is_true(&store, answer)), "byte {}", position);
            }
        }
        let cut = honest.slice(..at.index(honest.len()));
        if let Ok(answers) = decode_state(form, &items, &cut) {
            prop_assert_eq!(&answers[..], &truth[..answers.len()]);
        }
    }

    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), tag in 0..3u8, depth in 0..12u8, seed: u64) {
        let items: Vec<StateItem> = (0..5u16)
            .map(|n| StateItem { prefix: Prefix::new(key_hash(&seed.to_le_bytes()), n * 64).unwrap(), hash: PLACEHOLDER })
            .collect();
        let framed = [&[tag][..], &(bytes.len() as u32 + 1).to_le_bytes(), &[depth], &bytes].concat();
        for bytes in [bytes, framed] {
            let bytes = Bytes::from(bytes);
            let _ = decode_state(StateForm::Leaves, &items, &bytes);
            let _ = decode_state(StateForm::Tree { depth: depth.clamp(1, MAX_TREE_DEPTH) }, &items, &bytes);
        }
    }
}

pub(super) fn twenty() -> Pairs {
    (0..20u8).map(|n| (vec![b'k', n], vec![n; 10])).collect()
}

#[test]
fn what_does_not_fit_in_comes_later_or_as_a_tree() {
    let pairs: Pairs = (0..400u16).map(|n| (n.to_le_bytes().to_vec(), vec![1; 100])).collect();
    let (store, root) = store_of(&pairs);
    let stores = [store];
    let bytes = answer(&stores, StateForm::Leaves, &[root_item(root)], 5000).unwrap();
    let shown = decode_leaves(root_item(root), &bytes);
    let Ok([StateAnswer::Tree { below, .. }]) = shown.as_deref() else {
        panic!("a tree");
    };
    // Parts of about an eighth of what fits in.
    assert_eq!(below.len(), 64);
    let bytes = answer(&stores, StateForm::Leaves, below, 5000).unwrap();
    assert!(bytes.len() <= 5000 && bytes.len() > 4000, "{}", bytes.len());
    let answers = decode_state(StateForm::Leaves, below, &bytes).unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, StateAnswer::Leaves(_))));
    assert!(answers.len() > 8 && answers.len() < below.len());
    // One record that is larger than the answer comes all the same.
    let (large, root) = store_of(&Pairs::from([(b"large".to_vec(), vec![7; MAX_VALUE_BYTES])]));
    let bytes = answer(&[large], StateForm::Leaves, &[root_item(root)], 100).unwrap();
    assert!(bytes.len() > MAX_VALUE_BYTES && decode_leaves(root_item(root), &bytes).is_ok());
}

#[test]
fn an_answer_takes_what_fits_in_to_the_byte() {
    let pairs: Pairs = (0..400u16).map(|n| (n.to_le_bytes().to_vec(), vec![1; 100])).collect();
    let (store, _) = store_of(&pairs);
    let halves: [Prefix; 2] = Prefix::ROOT.children().unwrap().into();
    let [left, right] = halves.map(|prefix| StateItem { prefix, hash: subtree(&store, &prefix).unwrap().0 });
    let stores = [store];
    for form in [StateForm::Leaves, StateForm::Tree { depth: 3 }] {
        let one = answer(&stores, form, &[left], 1 << 20).unwrap();
        let both = answer(&stores, form, &[left, right], 1 << 20).unwrap();
        assert!(one.len() < both.len());
        assert_eq!(answer(&stores, form, &[left, right], both.len()), Some(both.clone()));
        // One byte less, and the second is left for the next answer: not cut, and not in another form.
        assert_eq!(answer(&stores, form, &[left, right], both.len() - 1), Some(one.clone()));
        // That something is missing takes a byte, too.
        let absent = StateItem { hash: Hash::ZERO, ..right };
        assert_eq!(answer(&stores, form, &[left, absent], one.len()), Some(one.clone()));
        assert_eq!(answer(&stores, form, &[left, absent], one.len() + 1), Some([&one[..], &[0]].concat().into()));
    }
    // Nothing comes behind what is larger than an answer should be.
    let (large, root) = store_of(&Pairs::from([(b"large".to_vec(), vec![7; 1000])]));
    let (stores, whole) = ([large], root_item(root));
    let alone = answer(&stores, StateForm::Leaves, &[whole], 100);
    assert_eq!(answer(&stores, StateForm::Leaves, &[whole, StateItem { hash: Hash::ZERO, ..whole }], 100), alone);
}

#[test]
fn one_key_or_none_has_no_tree_to_show() {
    let (store, _) = store_of(&twenty());
    let stores = [store];
    let key = *stores[0].records().next().unwrap().0;
    for (prefix, count) in [(Prefix::new(key, 256).unwrap(), 1), (Prefix::new(key_hash(b"nowhere"), 200).unwrap(), 0)] {
        let item = StateItem { prefix, hash: subtree(&stores[0], &prefix).unwrap().0 };
        for form in [StateForm::Tree { depth: 1 }, StateForm::Leaves] {
            let bytes = answer(&stores, form, &[item], 4000).unwrap();
            let answers = decode_state(form, &[item], &bytes).unwrap();
            assert!(matches!(&answers[..], [StateAnswer::Leaves(leaves)] if leaves.records.len() == count), "{form:?}");
        }
    }
}

#[test]
fn leaves_that_do_not_ascend_have_an_end_all_the_same() {
    let (key, value) = (key_hash(b"key"), value_hash(b"value"));
    let twice = [(key, value), (key, value_hash(b"other"))];
    assert_ne!(subtree_hash(&Prefix::ROOT, &twice), subtree_hash(&Prefix::ROOT, &twice[..1]));
    assert_eq!(subtree_hash(&Prefix::new(key, 256).unwrap(), &twice), PLACEHOLDER);
    // Two that part at the last bit of all are a tree like any other.
    let mut bytes = *key.as_bytes();
    bytes[31] &= 0xfe;
    let left = (Hash::from_bytes(bytes), value);
    bytes[31] |= 1;
    let right = (Hash::from_bytes(bytes), value);
    let last = internal_hash(&leaf_hash(&left.0, &left.1), &leaf_hash(&right.0, &right.1));
    assert_eq!(subtree_hash(&Prefix::new(key, 255).unwrap(), &[left, right]), last);
}

/// A store that counts how much is read of it.
struct Counting(MemoryStateStore, core::cell::Cell<usize>, core::cell::Cell<usize>);

impl StateReader for Counting {
    type Error = core::convert::Infallible;

    fn page(&self, key: &PageKey) -> Result<Option<Bytes>, Self::Error> {
        self.1.set(self.1.get() + 1);
        self.0.page(key)
    }

    fn record(&self, key_hash: &Hash) -> Result<Option<Bytes>, Self::Error> {
        self.0.record(key_hash)
    }

    fn scan(
        &self,
        prefix: &Prefix,
        visit: &mut dyn FnMut(Hash, Bytes) -> core::ops::ControlFlow<()>,
    ) -> Result<(), Self::Error> {
        self.0.scan(prefix, &mut |key, record| {
            self.2.set(self.2.get() + record.len());
            visit(key, record)
        })
    }
}

#[test]
fn reading_is_bounded_by_what_is_answered() {
    let pairs: Pairs = (0..2000u16).map(|n| (n.to_le_bytes().to_vec(), vec![1; 100])).collect();
    let (store, root) = store_of(&pairs);
    let stores = [Counting(store, Default::default(), Default::default())];
    let mut out = Vec::new();
    // A wrong hash costs the pages on the way, and no record.
    let deep = StateItem { prefix: Prefix::new(key_hash(&[1, 0]), 9).unwrap(), hash: root };
    assert!(!encode_state(&stores, StateForm::Leaves, &[deep], 5000, &mut out).unwrap());
    assert!(stores[0].1.get() <= 3 && stores[0].2.get() == 0, "{} pages", stores[0].1.get());
    // Of a state that doesn't fit in, no more records are read than do.
    assert!(encode_state(&stores, StateForm::Leaves, &[root_item(root)], 5000, &mut Vec::new()).unwrap());
    assert!(stores[0].2.get() <= 5000 + 104, "{} bytes", stores[0].2.get());
}

#[test]
fn a_store_whose_records_are_not_the_trees_serves_nothing() {
    let (mut store, root) = store_of(&twenty());
    let gone = *store.records().next().unwrap().0;
    store.write(StateWrites { pages: vec![], records: vec![(gone, None)] });
    let mut out = vec![9];
    let result = encode_state(&[store], StateForm::Leaves, &[root_item(root)], 4000, &mut out);
    assert_eq!(result, Err(StateError::WrongRecords { prefix: Prefix::ROOT }));
    assert_eq!(out, [9]);
}

#[test]
fn a_subtree_is_found_at_any_depth() {
    let (store, root) = store_of(&twenty());
    assert_eq!(subtree(&store, &Prefix::ROOT), Ok((root, 20)));
    for (key, record) in store.records() {
        let leaf = leaf_hash(key, &value_hash(Record::decode(record.clone()).unwrap().value()));
        assert_eq!(subtree(&store, &Prefix::new(*key, 256).unwrap()), Ok((leaf, 1)));
        for depth in 0..20 {
            let prefix = Prefix::new(*key, depth).unwrap();
            let leaves = store.records().filter(|(key, _)| prefix.contains(key)).count() as u64;
            assert_eq!(subtree(&store, &prefix).unwrap().1, leaves);
        }
    }
    let nowhere = Prefix::new(key_hash(b"nowhere"), 200).unwrap();
    assert_eq!(subtree(&store, &nowhere), Ok((PLACEHOLDER, 0)));
    assert_eq!(subtree(&MemoryStateStore::default(), &nowhere), Ok((PLACEHOLDER, 0)));
}
