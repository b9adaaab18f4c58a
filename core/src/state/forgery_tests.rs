//! Answers that no honest server gives: each is found where it arrives, by the hash that was asked for.

extern crate std;

use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use super::walk_tests::{Pairs, answer, root_item, store_of, twenty};
use super::*;
use crate::chain::Fault;
use crate::hash::Hash;

/// An answer for one subtree: its leaves, as they travel.
fn leaves_of<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Bytes {
    let mut content = Vec::new();
    for (key, value) in pairs {
        content.extend([key.len() as u8, value.len() as u8]);
        content.extend_from_slice(key);
        content.extend_from_slice(value);
    }
    framed(1, &content)
}

fn framed(tag: u8, content: &[u8]) -> Bytes {
    [&[tag][..], &(content.len() as u32).to_le_bytes(), content].concat().into()
}

/// The pairs in the order of their key hashes.
fn in_order(pairs: &Pairs) -> Vec<(&[u8], &[u8])> {
    let mut sorted: Vec<(&[u8], &[u8])> = pairs.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    sorted.sort_by_key(|(key, _)| key_hash(key));
    sorted
}

pub(super) fn decode_leaves(item: StateItem, bytes: &Bytes) -> Result<Vec<StateAnswer>, Fault> {
    decode_state(StateForm::Leaves, &[item], bytes)
}

#[test]
fn leaves_travel_with_two_bytes_beside_each_pair() {
    let pairs = twenty();
    let (store, root) = store_of(&pairs);
    let honest = answer(&[store], StateForm::Leaves, &[root_item(root)], 4000).unwrap();
    assert_eq!(honest, leaves_of(in_order(&pairs)));
    assert_eq!(honest.len(), 5 + 20 * (2 + 2 + 10));
}

#[test]
fn chunk_with_wrong_value() {
    let pairs = twenty();
    let (_, root) = store_of(&pairs);
    let mut bent = pairs.clone();
    bent.insert(vec![b'k', 7], vec![8; 10]);
    assert_eq!(decode_leaves(root_item(root), &leaves_of(in_order(&bent))), Err(Fault::WrongState));
}

#[test]
fn chunk_with_missing_key() {
    let pairs = twenty();
    let (_, root) = store_of(&pairs);
    for missing in 0..20 {
        let mut left = in_order(&pairs);
        left.remove(missing);
        assert_eq!(decode_leaves(root_item(root), &leaves_of(left)), Err(Fault::WrongState));
    }
}

#[test]
fn chunk_with_extra_key() {
    let pairs = twenty();
    let (store, root) = store_of(&pairs);
    let mut more = pairs.clone();
    more.insert(b"extra".to_vec(), b"value".to_vec());
    assert_eq!(decode_leaves(root_item(root), &leaves_of(in_order(&more))), Err(Fault::WrongState));
    // A true pair, from another place.
    let (left, right) = Prefix::ROOT.children().unwrap();
    let item = StateItem { prefix: left, hash: subtree(&store, &left).unwrap().0 };
    let of = |prefix: Prefix| in_order(&pairs).into_iter().filter(move |(key, _)| prefix.contains(&key_hash(key)));
    assert!(decode_leaves(item, &leaves_of(of(left))).is_ok());
    assert_eq!(decode_leaves(item, &leaves_of(of(left).chain(of(right).take(1)))), Err(Fault::WrongState));
}

#[test]
fn chunk_of_another_height() {
    let pairs = twenty();
    let (store, root) = store_of(&pairs);
    let mut later = pairs.clone();
    later.insert(vec![b'k', 3], b"later".to_vec());
    let (later, later_root) = store_of(&later);
    for form in [StateForm::Leaves, StateForm::Tree { depth: 3 }] {
        // An honest server that is asked for one root does not answer for another.
        assert_eq!(answer(std::slice::from_ref(&later), form, &[root_item(root)], 4000), None);
        let other = answer(std::slice::from_ref(&later), form, &[root_item(later_root)], 4000).unwrap();
        assert_eq!(decode_state(form, &[root_item(root)], &other), Err(Fault::WrongState));
        // Subtrees that did not change between the two come from either.
        let both = [later.clone(), store.clone()];
        let children = Prefix::ROOT.children().unwrap();
        let items =
            [children.0, children.1].map(|prefix| StateItem { prefix, hash: subtree(&store, &prefix).unwrap().0 });
        let honest = answer(&both, form, &items, 4000).unwrap();
        assert_eq!(decode_state(form, &items, &honest).unwrap().len(), 2);
        let one =
            decode_state(form, &items, &answer(core::slice::from_ref(&later), form, &items, 4000).unwrap()).unwrap();
        assert_eq!(one.iter().filter(|answer| matches!(answer, StateAnswer::Missing(_))).count(), 1);
    }
}

#[test]
fn only_one_encoding_of_leaves_passes() {
    let pairs = twenty();
    let (_, root) = store_of(&pairs);
    let item = root_item(root);
    let sorted = in_order(&pairs);
    let refused = |bytes: &[u8]| decode_leaves(item, &framed(1, bytes)).unwrap_err();
    let honest = leaves_of(sorted.clone());
    assert!(decode_leaves(item, &honest).is_ok());

    let mut swapped = sorted.clone();
    swapped.swap(4, 5);
    assert_eq!(decode_leaves(item, &leaves_of(swapped)), Err(Fault::NonCanonical), "order");
    let mut twice = sorted.clone();
    twice.insert(4, sorted[4]);
    assert_eq!(decode_leaves(item, &leaves_of(twice)), Err(Fault::NonCanonical), "duplicate key");

    let content = &honest[5..];
    let padded = [&[0x82, 0x00][..], &content[1..]].concat();
    assert_eq!(refused(&padded), Fault::NonCanonical, "padded length");
    let endless = [&[0x82, 0x80, 0x80, 0x00][..], &content[1..]].concat();
    assert_eq!(refused(&endless), Fault::Oversize, "length of four bytes");
    assert_eq!(refused(&[content, &[0]].concat()), Fault::Malformed, "half a length behind the last");
    assert_eq!(refused(&content[..content.len() - 1]), Fault::Malformed, "cut short");
    let long_key = [&[0x81, 0x08, 0x00][..], &[1; 1025]].concat();
    assert_eq!(refused(&long_key), Fault::Oversize, "key over the limit");
    let long_value = [&[0x01, 0x81, 0x80, 0x04][..], &vec![1; 1 + (64 << 10) + 1]].concat();
    assert_eq!(refused(&long_value), Fault::Oversize, "value over the limit");

    let trailing: Bytes = [&honest[..], &[0]].concat().into();
    assert_eq!(decode_leaves(item, &trailing), Err(Fault::NonCanonical), "bytes behind the last subtree");
    let mut bomb = honest.to_vec();
    bomb[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode_leaves(item, &bomb.into()), Err(Fault::Malformed), "length of the content");
    assert_eq!(decode_leaves(item, &Bytes::new()), Err(Fault::NonCanonical), "nothing");
    assert_eq!(decode_leaves(item, &vec![0].into()), Err(Fault::NonCanonical), "nothing but missing");
    assert_eq!(decode_leaves(item, &framed(9, content)), Err(Fault::Malformed), "unknown tag");
    let tree = StateForm::Tree { depth: 2 };
    assert_eq!(decode_state(tree, &[item], &honest), Err(Fault::NonCanonical), "leaves instead of a tree");
}

/// Nodes of a pruned tree, as they travel.
mod nodes {
    use super::*;

    pub(super) fn empty() -> Vec<u8> {
        vec![0]
    }

    pub(super) fn leaf(key_hash: Hash, value_hash: Hash) -> Vec<u8> {
        [&[1], &key_hash.as_bytes()[..], &value_hash.as_bytes()[..]].concat()
    }

    pub(super) fn internal(left: &[u8], right: &[u8]) -> Vec<u8> {
        [&[2], left, right].concat()
    }

    pub(super) fn pruned(hash: Hash) -> Vec<u8> {
        [&[3], &hash.as_bytes()[..]].concat()
    }
}

fn decode_tree(item: StateItem, depth: u8, nodes: &[u8]) -> Result<Vec<StateAnswer>, Fault> {
    decode_state(StateForm::Tree { depth }, &[item], &framed(2, &[&[depth], nodes].concat()))
}

fn bits(first: u8) -> Hash {
    let mut bytes = [0x55; 32];
    bytes[0] = first;
    Hash::from_bytes(bytes)
}

/// Three leaves: one at place 0, two at 10 and 11, shown down to two bits.
struct Three {
    /// Key and value hashes.
    leaves: [(Hash, Hash); 3],
    hashes: [Hash; 3],
    right: Hash,
    item: StateItem,
}

impl Three {
    fn new() -> Self {
        let leaves = [bits(0x20), bits(0x80), bits(0xc0)].map(|key| (key, value_hash(key.as_bytes())));
        let hashes = leaves.map(|(key, value)| leaf_hash(&key, &value));
        let right = internal_hash(&hashes[1], &hashes[2]);
        Self { leaves, hashes, right, item: root_item(internal_hash(&hashes[0], &right)) }
    }

    fn left_leaf(&self) -> Vec<u8> {
        nodes::leaf(self.leaves[0].0, self.leaves[0].1)
    }

    fn right_node(&self) -> Vec<u8> {
        nodes::internal(&nodes::pruned(self.hashes[1]), &nodes::pruned(self.hashes[2]))
    }
}

#[test]
fn a_pruned_tree_names_what_lies_below() {
    let three = Three::new();
    let shown = decode_tree(three.item, 2, &nodes::internal(&three.left_leaf(), &three.right_node())).unwrap();
    let place = |first: u8, depth| Prefix::new(bits(first), depth).unwrap();
    let below = vec![
        StateItem { prefix: place(0, 1), hash: three.hashes[0] },
        StateItem { prefix: place(0x80, 2), hash: three.hashes[1] },
        StateItem { prefix: place(0xc0, 2), hash: three.hashes[2] },
    ];
    assert_eq!(shown, [StateAnswer::Tree { item: three.item, below }]);
}

#[test]
fn internal_hash_shown_as_leaf() {
    let three = Three::new();
    let [left, right] = [three.left_leaf(), three.right_node()];
    let refused = |nodes: &[u8]| decode_tree(three.item, 2, nodes).unwrap_err();

    // The hash of the right side, which has two keys, as that of a lone leaf there: by what a leaf commits to, and bare.
    let posing = nodes::leaf(bits(0x80), three.right);
    assert_eq!(refused(&nodes::internal(&left, &posing)), Fault::WrongState);
    assert_eq!(refused(&nodes::internal(&left, &nodes::pruned(three.right))), Fault::NonCanonical, "not at the bottom");
    // The children of an internal node as key and value hash of a leaf, and the other way round.
    assert_eq!(refused(&nodes::leaf(three.hashes[0], three.right)), Fault::NonCanonical, "a leaf is no tree");
    let swapped = nodes::leaf(bits(0x80), three.hashes[2]);
    let item = root_item(internal_hash(&three.hashes[0], &internal_hash(&bits(0x80), &three.hashes[2])));
    assert_eq!(decode_tree(item, 2, &nodes::internal(&left, &swapped)), Err(Fault::WrongState));
    let (key, value) = three.leaves[0];
    let opened = nodes::internal(&nodes::pruned(key), &nodes::pruned(value));
    assert_eq!(refused(&nodes::internal(&opened, &right)), Fault::WrongState);

    // A leaf that must be shown, pruned; one that must be pruned, shown.
    assert_eq!(refused(&nodes::internal(&nodes::pruned(three.hashes[0]), &right)), Fault::NonCanonical);
    let shown = nodes::leaf(three.leaves[1].0, three.leaves[1].1);
    let deep = nodes::internal(&left, &nodes::internal(&shown, &nodes::pruned(three.hashes[2])));
    assert_eq!(refused(&deep), Fault::NonCanonical);

    // Nothing in place of something, and something in place of nothing.
    assert_eq!(refused(&nodes::internal(&nodes::empty(), &right)), Fault::WrongState);
    assert_eq!(refused(&nodes::empty()), Fault::NonCanonical);
    assert_eq!(decode_leaves(three.item, &framed(1, &[])), Err(Fault::WrongState));
    let nothing = root_item(PLACEHOLDER);
    assert!(decode_leaves(nothing, &framed(1, &[])).is_ok());
    assert_eq!(decode_leaves(nothing, &leaves_of([(&b"k"[..], &b"v"[..])])), Err(Fault::WrongState));
    let half = root_item(internal_hash(&PLACEHOLDER, &three.right));
    assert!(decode_tree(half, 2, &nodes::internal(&nodes::empty(), &right)).is_ok());
    assert_eq!(
        decode_tree(half, 1, &nodes::internal(&nodes::pruned(PLACEHOLDER), &nodes::pruned(three.right))),
        Err(Fault::NonCanonical),
        "the placeholder where something stands"
    );
    assert_eq!(decode_tree(half, 2, &nodes::internal(&left, &right)), Err(Fault::WrongState));

    // Nodes that should have collapsed, though their hashes fit.
    let collapses = [
        (PLACEHOLDER, three.hashes[1], nodes::empty(), shown.clone()),
        (three.hashes[0], PLACEHOLDER, left.clone(), nodes::empty()),
        (PLACEHOLDER, PLACEHOLDER, nodes::empty(), nodes::empty()),
    ];
    for (on_left, on_right, left, right) in collapses {
        let item = root_item(internal_hash(&on_left, &on_right));
        assert_eq!(decode_tree(item, 2, &nodes::internal(&left, &right)), Err(Fault::NonCanonical));
    }

    // Leaves in places that their keys don't belong to, though their hashes fit.
    let astray = root_item(internal_hash(&three.hashes[1], &three.right));
    assert_eq!(decode_tree(astray, 2, &nodes::internal(&shown, &right)), Err(Fault::WrongState));
    let astray = StateItem { prefix: Prefix::ROOT.children().unwrap().0, hash: three.hashes[1] };
    let pair = (0u8..).map(|n| [n]).find(|key| !astray.prefix.contains(&key_hash(key))).unwrap();
    let astray = StateItem { hash: leaf_hash(&key_hash(&pair), &value_hash(b"v")), ..astray };
    assert_eq!(decode_leaves(astray, &leaves_of([(&pair[..], &b"v"[..])])), Err(Fault::WrongState));
}

#[test]
fn only_one_encoding_of_a_tree_passes() {
    let three = Three::new();
    let honest = nodes::internal(&three.left_leaf(), &three.right_node());
    let ask = |form, content: &[u8]| decode_state(form, &[three.item], &framed(2, content));
    let of_depth = |depth: u8| [&[depth], &honest[..]].concat();
    assert!(ask(StateForm::Leaves, &of_depth(2)).is_ok(), "where the leaves are too many");
    assert_eq!(ask(StateForm::Tree { depth: 3 }, &of_depth(2)), Err(Fault::Oversize), "not the asked depth");
    assert_eq!(ask(StateForm::Leaves, &of_depth(MAX_TREE_DEPTH + 1)), Err(Fault::Oversize));
    assert_eq!(ask(StateForm::Leaves, &[&[0][..], &nodes::pruned(three.item.hash)].concat()), Err(Fault::Oversize));
    assert_eq!(ask(StateForm::Leaves, &[]), Err(Fault::Malformed));
    assert_eq!(decode_tree(three.item, 2, &[&honest[..], &[0]].concat()), Err(Fault::NonCanonical), "trailing byte");
    assert_eq!(decode_tree(three.item, 2, &honest[..honest.len() - 1]), Err(Fault::Malformed), "cut short");
    assert_eq!(decode_tree(three.item, 2, &[7]), Err(Fault::Malformed), "unknown tag");
    // Deeper than asked, though the hashes fit.
    let deeper = nodes::internal(&nodes::pruned(three.hashes[0]), &three.right_node());
    assert_eq!(decode_tree(three.item, 1, &deeper), Err(Fault::NonCanonical));
    // Nothing stands below the last bit of a key.
    let last = StateItem { prefix: Prefix::new(bits(1), 256).unwrap(), hash: three.right };
    assert_eq!(decode_tree(last, 1, &three.right_node()), Err(Fault::NonCanonical));
}
