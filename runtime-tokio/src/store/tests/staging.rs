//! Staging: what was staged counts for exactly as long as it is there.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use hotstuff2_sync::calls::{Holding, SnapshotBase};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{
    KeyValueState, MemoryStateStore, PLACEHOLDER, Prefix, Record, StateItem, StateLeaves, StateReader as _,
    StateWrites, key_hash, subtree, subtree_hash, value_hash,
};

use super::toy::{Toy, range};
use super::{Store, create, open, toy};
use crate::store::db::Space;
use crate::store::{Activation, StateSpace, StateStaging as _, StateStore as _};

/// A state as a peer has it.
pub(super) struct Peer(pub(super) KeyValueState<MemoryStateStore>);

impl Clone for Peer {
    fn clone(&self) -> Self {
        // Every change is in its store.
        Self(KeyValueState::load(self.0.store().clone()).unwrap())
    }
}

impl Peer {
    pub(super) fn new(keys: impl IntoIterator<Item = u32>) -> Self {
        let mut peer = Self(KeyValueState::load(MemoryStateStore::default()).unwrap());
        peer.set(keys, "first");
        peer
    }

    /// Gives `keys` new values.
    pub(super) fn set(&mut self, keys: impl IntoIterator<Item = u32>, what: &str) {
        let changes: Vec<_> = keys.into_iter().map(|key| (name(key), Some(format!("{what} value of {key}")))).collect();
        self.apply(&changes);
    }

    pub(super) fn delete(&mut self, keys: impl IntoIterator<Item = u32>) {
        let changes: Vec<_> = keys.into_iter().map(|key| (name(key), None)).collect();
        self.apply(&changes);
    }

    fn apply(&mut self, changes: &[(String, Option<String>)]) {
        let changes = changes.iter().map(|(key, value)| (key.as_bytes(), value.as_ref().map(String::as_bytes)));
        self.0.apply(changes).unwrap();
        let writes = self.0.take_writes();
        self.0.store_mut().write(writes);
    }

    pub(super) fn item(&self, prefix: Prefix) -> StateItem {
        StateItem { prefix, hash: subtree(self.0.store(), &prefix).unwrap().0 }
    }

    pub(super) fn leaves(&self, prefix: Prefix) -> StateLeaves {
        let mut records = Vec::new();
        let visit = &mut |key_hash, record| {
            records.push((key_hash, record));
            std::ops::ControlFlow::Continue(())
        };
        self.0.store().scan(&prefix, visit).unwrap();
        StateLeaves { item: self.item(prefix), records }
    }

    /// Acts as the machine does with a new target: surveys from the top, asks for what is missing below, and fetches
    /// subtrees of at most `most` keys. Returns the places that were fetched.
    pub(super) fn fetch_into(&self, store: &Store, most: usize) -> Vec<Prefix> {
        let (mut frontier, mut fetched) = (vec![Prefix::ROOT], Vec::new());
        while let Some(place) = frontier.pop() {
            let item = self.item(place);
            let holding = store.survey(&[item]).unwrap()[0];
            if holding == Holding::Held {
                continue;
            }
            let leaves = self.leaves(place);
            if leaves.records.len() > most || (holding != Holding::Absent && leaves.records.len() > 1) {
                let (left, right) = place.children().unwrap();
                frontier.extend([right, left]);
                continue;
            }
            store.stage(std::slice::from_ref(&leaves)).unwrap();
            assert_eq!(store.survey(&[item]).unwrap(), [Holding::Held]);
            fetched.push(place);
        }
        fetched
    }

    pub(super) fn base(&self, toy: &Toy, height: u64, last: u64) -> SnapshotBase {
        let segment = toy.segment(range(height, last), true, b"");
        SnapshotBase { point: toy.point(height), state_root: self.0.root(), segment, tip: None }
    }
}

fn name(key: u32) -> String {
    format!("key {key}")
}

/// The rows of a table of the state.
pub(super) fn rows(store: &Store, space: Space) -> BTreeMap<Bytes, Bytes> {
    let rows = store.db.rows(space, std::ops::Bound::Unbounded, &[0xff; 40], usize::MAX).unwrap();
    rows.into_iter().collect()
}

/// The live state is that of `peer`, byte for byte, as if it had been executed.
pub(super) fn check_live(store: &Store, peer: &Peer) {
    let pages = peer.0.store().pages().map(|(key, page)| (key.to_bytes().into(), page.clone()));
    assert_eq!(rows(store, Space::Pages), pages.collect());
    let records =
        peer.0.store().records().map(|(key, record)| (Bytes::copy_from_slice(key.as_bytes()), record.clone()));
    assert_eq!(rows(store, Space::Values), records.collect());
}

/// Commits `peer` as the state that was executed up to `height`.
pub(super) fn execute(store: &Store, peer: &Peer, height: u64) {
    let pages =
        peer.0.store().pages().map(|(key, page)| (StateSpace::Pages, key.to_bytes().into(), Some(page.clone())));
    let records = peer.0.store().records();
    let records =
        records.map(|(key, record)| (StateSpace::Values, Bytes::copy_from_slice(key.as_bytes()), Some(record.clone())));
    store.commit(Height::new(height), &mut pages.chain(records)).unwrap();
}

fn place(bits: &str) -> Prefix {
    bits.chars().fold(Prefix::ROOT, |place, bit| {
        let (left, right) = place.children().unwrap();
        if bit == '1' { right } else { left }
    })
}

fn store(dir: &Path) -> Store {
    create(dir, &toy())
}

#[test]
fn a_staged_state_becomes_the_live_one_as_if_it_had_been_executed() {
    for count in [0, 1, 2, 5, 3000] {
        let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
        let store = store(dir.path());
        let mut peer = Peer::new(0..count);
        peer.fetch_into(&store, 100);
        assert_eq!(rows(&store, Space::Values), BTreeMap::new());
        let base = peer.base(&toy, 1100, 1200);
        assert_eq!(store.activate(&base).unwrap(), Activation::Activated, "{count} keys");
        check_live(&store, &peer);
        assert_eq!(store.applied(), Height::new(1100));
        for space in [Space::StagedValues, Space::StagedPages, Space::Marks] {
            assert_eq!(rows(&store, space), BTreeMap::new(), "{space:?}");
        }
        // The answer was lost, the call is made again.
        assert_eq!(store.activate(&base).unwrap(), Activation::Activated);
        drop(store);
        let store = open(dir.path()).unwrap();
        check_live(&store, &peer);
        assert_eq!(store.applied(), Height::new(1100));
        // The state goes on from there as any other does.
        peer.set(0..3, "later");
        execute(&store, &peer, 1101);
        check_live(&store, &peer);
    }
}

#[test]
fn prefix_hash_returns() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let old = Peer::new(0..200);
    let mut new = old.clone();
    new.set([7], "second");
    let changed = key_hash(name(7).as_bytes());
    for (at, other) in [(0, 3), (3, 0), (2, 2)] {
        let (at, other) = (Prefix::new(changed, at).unwrap(), Prefix::new(changed, other).unwrap());
        store.stage(&[old.leaves(at)]).unwrap();
        assert_eq!(store.survey(&[old.item(at)]).unwrap(), [Holding::Held]);
        store.stage(&[new.leaves(other)]).unwrap();
        let keys = old.leaves(at).records.len() as u64;
        assert_eq!(store.survey(&[old.item(at)]).unwrap(), [Holding::Differs { keys }], "{at} and {other}");
        // The subtree returns to its old hash, and is staged again.
        store.stage(&[old.leaves(at)]).unwrap();
        assert_eq!(store.survey(&[old.item(at)]).unwrap(), [Holding::Held]);
        store.survey(&[StateItem { prefix: Prefix::ROOT, hash: PLACEHOLDER }]).unwrap();
        assert_eq!(rows(&store, Space::StagedValues), BTreeMap::new());
        assert_eq!(rows(&store, Space::Marks), BTreeMap::new());
        assert_eq!(store.survey(&[old.item(at)]).unwrap(), [Holding::Absent]);
    }
}

/// Above so many keys a survey doesn't hash: marks alone could vouch for a place, and an old one must not.
#[test]
fn the_mark_of_a_large_place_goes_when_anything_in_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let old = Peer::new(0..6000);
    store.stage(&[old.leaves(Prefix::ROOT)]).unwrap();
    assert_eq!(store.survey(&[old.item(Prefix::ROOT)]).unwrap(), [Holding::Held]);
    let mut new = old.clone();
    new.set([1], "second");
    let changed = Prefix::new(key_hash(name(1).as_bytes()), 9).unwrap();
    store.stage(&[new.leaves(changed)]).unwrap();
    let Holding::Differs { keys } = store.survey(&[old.item(Prefix::ROOT)]).unwrap()[0] else { panic!() };
    assert!((5000..7000).contains(&keys), "{keys}");
    assert_eq!(new.fetch_into(&store, 100), [], "all of it is there");
}

#[test]
fn an_empty_place_is_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let peer = Peer::new(0..500);
    store.stage(&[peer.leaves(place("0")), peer.leaves(place("1"))]).unwrap();
    let empty = StateItem { prefix: place("10"), hash: PLACEHOLDER };
    assert_eq!(store.survey(&[empty, peer.item(place("0"))]).unwrap(), [Holding::Held; 2]);
    let left = rows(&store, Space::StagedValues).len();
    assert_eq!(left, 500 - peer.leaves(place("10")).records.len());
    assert_eq!(
        store.survey(&[peer.item(place("11")), peer.item(place("10"))]).unwrap(),
        [Holding::Held, Holding::Absent]
    );
}

#[test]
fn a_moved_target_keeps_what_is_equal_and_overwrites_what_is_not() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = store(dir.path());
    let mut peer = Peer::new(0..3000);
    let first = peer.fetch_into(&store, 50);
    peer.set([5, 6, 3001], "second");
    peer.delete([9, 10]);
    let second = peer.fetch_into(&store, 50);
    assert!(first.len() > 60 && second.len() <= 5, "{} fetched, then {}", first.len(), second.len());
    assert_eq!(store.activate(&peer.base(&toy, 1200, 1200)).unwrap(), Activation::Activated);
    check_live(&store, &peer);
}

#[test]
fn what_the_live_state_holds_is_copied() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = store(dir.path());
    let mut peer = Peer::new(0..3000);
    execute(&store, &peer, 0);
    peer.set(0..3, "second");
    peer.delete([4]);
    let fetched = peer.fetch_into(&store, 50);
    assert!(fetched.len() <= 4, "{fetched:?}");
    assert_eq!(store.activate(&peer.base(&toy, 1200, 1210)).unwrap(), Activation::Activated);
    check_live(&store, &peer);
    // And a second time, from the state that was activated.
    peer.set(10..13, "third");
    assert!(peer.fetch_into(&store, 50).len() <= 3);
    assert_eq!(store.activate(&peer.base(&toy, 1300, 1300)).unwrap(), Activation::Activated);
    check_live(&store, &peer);
}

#[test]
fn damaged_live_values_are_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let peer = Peer::new(0..100);
    execute(&store, &peer, 0);
    let (key, _) = peer.leaves(Prefix::ROOT).records[3].clone();
    damage(&store, Space::Values, &key);
    assert_eq!(store.survey(&[peer.item(Prefix::ROOT)]).unwrap(), [Holding::Differs { keys: 100 }]);
    assert_eq!(peer.fetch_into(&store, 100), [Prefix::new(key, peer_depth(&peer, &key)).unwrap()]);
}

/// How deep the place is that only `key` is in.
fn peer_depth(peer: &Peer, key: &Hash) -> u16 {
    (0..).find(|&depth| peer.leaves(Prefix::new(*key, depth).unwrap()).records.len() == 1).unwrap()
}

fn damage(store: &Store, space: Space, key: &Hash) {
    let record = Record::new(b"some key", b"some value").unwrap().as_bytes().clone();
    store.db.commit([(space, Bytes::copy_from_slice(key.as_bytes()), Some(record))].into_iter(), false).unwrap();
}

#[test]
fn a_wrong_root_forgets_what_is_wrong_and_nothing_else() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = store(dir.path());
    let peer = Peer::new(0..3000);
    let fetched = peer.fetch_into(&store, 50);
    let (key, _) = peer.leaves(Prefix::ROOT).records[1000].clone();
    damage(&store, Space::StagedValues, &key);
    let base = peer.base(&toy, 1200, 1200);
    let Activation::RootMismatch { found } = store.activate(&base).unwrap() else { panic!() };
    assert_ne!(found, peer.0.root());
    assert_eq!((store.applied(), rows(&store, Space::Values)), (Height::ZERO, BTreeMap::new()));
    let again = peer.fetch_into(&store, 50);
    assert!(again.len() == 1 && fetched.iter().any(|place| place.covers(&again[0])), "{again:?}");
    assert_eq!(store.activate(&base).unwrap(), Activation::Activated);
    check_live(&store, &peer);
}

#[test]
fn subtrees_that_contradict_themselves_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let peer = Peer::new(0..100);
    let mut unordered = peer.leaves(place("0"));
    unordered.records.reverse();
    let misplaced = StateLeaves { item: peer.item(place("1")), ..peer.leaves(place("0")) };
    for wrong in [vec![unordered], vec![misplaced], vec![peer.leaves(place("01")), peer.leaves(place("0"))]] {
        let error = store.stage(&wrong).unwrap_err();
        assert!(!error.is_transient(), "{error}");
    }
    assert_eq!(rows(&store, Space::StagedValues), BTreeMap::new());
}

#[test]
fn a_large_place_is_replaced_in_several_batches() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    // More than one batch holds, by the writes' own overhead.
    let leaves = |count: u32, value: &'static [u8]| {
        let record = |key: u32| {
            let record = Record::new(name(key).as_bytes(), value).unwrap();
            (key_hash(record.key()), record.as_bytes().clone())
        };
        let mut records: Vec<_> = (0..count).map(record).collect();
        records.sort();
        let hashes: Vec<_> = records.iter().map(|(key, _)| (*key, value_hash(value))).collect();
        let item = StateItem { prefix: Prefix::ROOT, hash: subtree_hash(&Prefix::ROOT, &hashes) };
        StateLeaves { item, records }
    };
    let (large, small) = (leaves(100_000, b"v"), leaves(10, b"w"));
    store.stage(std::slice::from_ref(&large)).unwrap();
    assert_eq!(store.survey(&[large.item]).unwrap(), [Holding::Held]);
    let Holding::Differs { keys } = store.survey(&[small.item]).unwrap()[0] else { panic!() };
    assert!((90_000..110_000).contains(&keys), "{keys}");
    store.stage(std::slice::from_ref(&small)).unwrap();
    assert_eq!(store.survey(&[large.item, small.item]).unwrap(), [Holding::Differs { keys: 10 }, Holding::Held]);
    assert_eq!(rows(&store, Space::StagedValues).len(), 10);
}

#[test]
fn a_commit_below_the_activated_state_is_refused() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = store(dir.path());
    let peer = Peer::new(0..10);
    peer.fetch_into(&store, 50);
    store.activate(&peer.base(&toy, 1200, 1200)).unwrap();
    let error = store.commit(Height::new(900), &mut std::iter::empty()).unwrap_err();
    assert!(!error.is_transient(), "{error}");
    check_live(&store, &peer);
}

/// Snapshots of the old state go with it; the new state is one itself where the chain has one at its height.
#[test]
fn the_activated_state_is_a_snapshot_and_the_old_ones_are_gone() {
    for (height, snapshots) in [(1200, vec![1200]), (1250, vec![])] {
        let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
        let store = store(dir.path());
        let mut peer = Peer::new(0..300);
        for height in [600, 700, 710] {
            execute(&store, &peer, height);
            peer.set(0..5, &format!("{height}"));
        }
        assert_eq!(store.snapshots().len(), 2);
        peer.fetch_into(&store, 50);
        store.activate(&peer.base(&toy, height, height)).unwrap();
        let check = |store: &Store| {
            let kept = store.snapshots();
            assert_eq!(kept.iter().map(|snapshot| snapshot.height.get()).collect::<Vec<_>>(), snapshots);
            let bytes: usize = peer.0.store().records().map(|(_, record)| record.len() - 2).sum();
            assert!(kept.iter().all(|snapshot| (snapshot.keys, snapshot.bytes) == (300, bytes as u64)), "{kept:?}");
        };
        check(&store);
        let view = store.state_at(Height::new(1200)).unwrap();
        assert_eq!(view.is_some(), height == 1200);
        if let Some(view) = view {
            let root = peer.0.root();
            peer.set(0..100, "later");
            execute(&store, &peer, 1201);
            assert_eq!(subtree(&view, &Prefix::ROOT).unwrap(), (root, 300));
            let again = store.state_at(Height::new(1200)).unwrap().unwrap();
            assert_eq!(subtree(&again, &Prefix::ROOT).unwrap(), (root, 300));
        }
        drop(store);
        open(dir.path()).unwrap().snapshots().iter().for_each(|snapshot| assert_eq!(snapshot.keys, 300));
    }
}

/// A writes record of a peer is what its store would be given.
#[test]
fn the_peers_of_these_tests_hold_what_they_say() {
    let mut peer = Peer::new(0..5);
    assert_eq!(peer.0.take_writes(), StateWrites::default());
    assert_eq!(peer.leaves(Prefix::ROOT).records.len(), 5);
    peer.delete([1]);
    assert_eq!(peer.leaves(Prefix::ROOT).item.hash, peer.0.root());
}
