//! Snapshots of the state against a model: the state at their heights, whatever is written, dropped, restarted or
//! killed afterwards.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::state::{EMPTY_ROOT, KeyValueState, Prefix, Record, StateReader, Tree, key_hash};

use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync::wire::AdvertisedSnapshots;

use super::crash::copy;
use super::{Store, create, open, toy};
use crate::store::db::Space;
use crate::store::steps::Step;
use crate::store::{
    BlockStore as _, LiveState, Snapshot, SnapshotRetention, StateSpace, StateStore as _, StateView, StoreFailure,
    state_rows,
};

/// As in the toy chain's genesis.
const INTERVAL: u64 = 100;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Changes of `keys` keys, one in four a deletion.
fn random_changes(rng: &mut Rng, keys: u64, count: u64) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let change = |_| {
        let key = format!("key {}", rng.below(keys)).into_bytes();
        let value = (rng.below(4) > 0).then(|| vec![rng.below(256) as u8; rng.below(90) as usize]);
        (key, value)
    };
    (0..count).map(change).collect()
}

fn commit(store: &Arc<Store>, height: u64, changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<(), StoreFailure> {
    let mut state = KeyValueState::load(LiveState::new(store.clone())).unwrap();
    state.apply(changes.iter().map(|(key, value)| (&key[..], value.as_deref()))).unwrap();
    store.commit(Height::new(height), &mut state_rows(state.take_writes()))
}

fn change_map(map: &mut Map, changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) {
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

fn records_of(map: &Map) -> BTreeMap<Hash, Bytes> {
    let record =
        |(key, value): (&Vec<u8>, &Vec<u8>)| (key_hash(key), Record::new(key, value).unwrap().as_bytes().clone());
    map.iter().map(record).collect()
}

fn scan(view: &StateView, prefix: &Prefix) -> Vec<(Hash, Bytes)> {
    let mut found = Vec::new();
    let mut visit = |key_hash, record| {
        found.push((key_hash, record));
        ControlFlow::Continue(())
    };
    StateReader::scan(view, prefix, &mut visit).unwrap();
    found
}

/// The view is the state of `map`: records one by one and in order, and every page of the tree.
fn check_view(view: &StateView, map: &Map) {
    let records = records_of(map);
    let scanned = scan(view, &Prefix::ROOT);
    assert!(scanned.iter().map(|(key, record)| (key, record)).eq(&records), "records at {}", view.height());
    for (index, key_hash) in records.keys().enumerate() {
        assert_eq!(view.record(key_hash).unwrap().as_ref(), records.get(key_hash));
        let prefix = Prefix::new(*key_hash, index as u16 % 12).unwrap();
        let below = records.range(prefix.first()..=prefix.last());
        assert!(scan(view, &prefix).iter().map(|(key, record)| (key, record)).eq(below));
    }
    let mut memory = KeyValueState::load(hotstuff2_sync::state::MemoryStateStore::default()).unwrap();
    let root = memory.apply(map.iter().map(|(key, value)| (&key[..], Some(&value[..])))).unwrap();
    let mut tree = Tree::load(view).unwrap();
    assert_eq!((tree.root(), tree.leaves()), (root, map.len() as u64), "root at {}", view.height());
    for (key, value) in map {
        // Reads every page on the way, each of which must have the hash that the one above says.
        let proof = tree.prove(view, &key_hash(key)).unwrap();
        proof.verify(&root, key, Some(value)).unwrap();
    }
}

fn snapshot(height: u64, map: &Map) -> Snapshot {
    let bytes = map.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    Snapshot { height: Height::new(height), keys: map.len() as u64, bytes }
}

/// Exactly the snapshots of `kept` are there, advertised and right.
fn check_kept(store: &Store, kept: &BTreeMap<u64, Map>) {
    let expected: Vec<_> = kept.iter().map(|(&height, map)| snapshot(height, map)).collect();
    assert_eq!(store.snapshots(), expected);
    let newest = expected.last().copied();
    let claim = newest.map(|Snapshot { height, keys, bytes }| {
        let mut oldest = height.get();
        while kept.contains_key(&oldest.saturating_sub(INTERVAL)) {
            oldest -= INTERVAL;
        }
        AdvertisedSnapshots { oldest: Height::new(oldest), newest: height, keys, bytes }
    });
    assert_eq!(store.status().snapshots, claim);
    for (&height, map) in kept {
        check_view(&store.state_at(Height::new(height)).unwrap().expect("kept"), map);
    }
}

fn aside_rows(store: &Store) -> usize {
    store.db.scan(Space::Aside, b"").unwrap().len()
}

fn retain(kept: &mut BTreeMap<u64, Map>, retention: SnapshotRetention, applied: u64) {
    kept.retain(|height, _| retention.max_age.is_none_or(|age| applied - height <= age));
    while kept.len() > retention.count as usize {
        kept.pop_first();
    }
}

fn random_history(seed: u64) {
    let (dir, toy, mut rng) = (tempfile::tempdir().unwrap(), toy(), Rng::new(seed));
    let mut store = Arc::new(create(dir.path(), &toy));
    let keys = [8, 60, 150][rng.below(3) as usize];
    let (mut height, mut map, mut kept) = (0, Map::new(), BTreeMap::<u64, Map>::new());
    let mut retention = SnapshotRetention::default();
    let mut held: Option<(StateView, Map)> = None;
    for _ in 0..60 {
        match rng.below(12) {
            0 => {
                held = None;
                drop(store);
                store = Arc::new(open(dir.path()).unwrap());
                store.set_snapshot_retention(retention).unwrap();
            }
            1 if !kept.is_empty() => {
                let victim = *kept.keys().nth(rng.below(kept.len() as u64) as usize).unwrap();
                assert!(store.drop_snapshot(Height::new(victim)).unwrap());
                assert!(!store.drop_snapshot(Height::new(victim)).unwrap());
                kept.remove(&victim);
            }
            2 => {
                let max_age = (rng.below(2) == 0).then(|| rng.below(5 * INTERVAL));
                retention = SnapshotRetention { count: rng.below(5) as u32, max_age };
                store.set_snapshot_retention(retention).unwrap();
                retain(&mut kept, retention, height);
            }
            3 => {
                if let Some((view, map)) = held.take() {
                    check_view(&view, &map);
                }
                held = kept
                    .iter()
                    .next_back()
                    .map(|(&height, map)| (store.state_at(Height::new(height)).unwrap().unwrap(), map.clone()));
            }
            _ => {
                let next_multiple = height / INTERVAL * INTERVAL + INTERVAL;
                let to = match rng.below(3) {
                    0 => height + rng.below(INTERVAL),
                    _ => next_multiple,
                };
                // A height that is committed to twice is dropped by hand for good, or still there.
                if to == height && height % INTERVAL == 0 && !kept.contains_key(&height) {
                    continue;
                }
                height = to;
                let count = rng.below(keys);
                let changes = random_changes(&mut rng, keys, count);
                change_map(&mut map, &changes);
                commit(&store, height, &changes).unwrap();
                if height % INTERVAL == 0 && height > 0 {
                    kept.insert(height, map.clone());
                }
                retain(&mut kept, retention, height);
            }
        }
        check_kept(&store, &kept);
        assert_eq!(store.applied(), Height::new(height));
    }
    if let Some((view, map)) = held {
        check_view(&view, &map);
    }
    for &height in kept.keys().rev() {
        assert!(store.drop_snapshot(Height::new(height)).unwrap());
    }
    assert_eq!((aside_rows(&store), store.snapshots()), (0, vec![]));
}

#[test]
fn views_equal_the_states_at_their_heights_under_random_histories() {
    (0..16).for_each(random_history);
}

#[test]
fn nothing_is_kept_before_a_snapshot_height_and_none_where_a_commit_passes_over_it() {
    let (dir, toy, mut rng) = (tempfile::tempdir().unwrap(), toy(), Rng::new(1));
    let store = Arc::new(create(dir.path(), &toy));
    let mut map = Map::new();
    for height in [0, 1, 50, 99, 101, 150, 199, 200, 201] {
        let changes = random_changes(&mut rng, 50, 40);
        change_map(&mut map, &changes);
        commit(&store, height, &changes).unwrap();
        assert_eq!(store.snapshots(), if height < 200 { vec![] } else { store.snapshots() });
        assert_eq!(aside_rows(&store) > 0, height > 200);
    }
    assert_eq!(store.snapshots().iter().map(|snapshot| snapshot.height.get()).collect::<Vec<_>>(), [200]);
    check_view(&store.live_state().unwrap(), &map);
    assert!(store.state_at(Height::new(201)).unwrap().is_none());
    assert_eq!(store.snapshot_interval().get(), INTERVAL);
}

#[test]
fn the_state_that_is_asked_for_comes_first_and_the_live_one_last() {
    let (dir, toy, mut rng) = (tempfile::tempdir().unwrap(), toy(), Rng::new(8));
    let store = Arc::new(create(dir.path(), &toy));
    store.set_snapshot_retention(SnapshotRetention { count: 3, max_age: None }).unwrap();
    let heights = |near| store.views_near(Height::new(near)).unwrap().iter().map(|view| view.height().get()).collect();
    let order = |near| -> Vec<u64> { heights(near) };
    assert_eq!(order(100), [0]);
    for height in [100, 200, 300] {
        commit(&store, height, &random_changes(&mut rng, 20, 20)).unwrap();
    }
    assert_eq!((order(200), order(5)), (vec![200, 300, 100], vec![300, 200, 100]));
    commit(&store, 301, &random_changes(&mut rng, 20, 20)).unwrap();
    assert_eq!((order(100), order(301)), (vec![100, 300, 200, 301], vec![301, 300, 200, 100]));
}

#[test]
fn an_empty_state_has_a_view_like_any_other() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = Arc::new(create(dir.path(), &toy));
    commit(&store, 100, &BTreeMap::new()).unwrap();
    commit(&store, 101, &random_changes(&mut Rng::new(2), 9, 9)).unwrap();
    let view = store.state_at(Height::new(100)).unwrap().unwrap();
    assert_eq!(Tree::load(&view).unwrap().root(), EMPTY_ROOT);
    check_view(&view, &Map::new());
    assert_eq!(store.snapshots(), [snapshot(100, &Map::new())]);
}

#[test]
fn a_height_that_falls_drops_all_snapshots() {
    let (dir, toy, mut rng) = (tempfile::tempdir().unwrap(), toy(), Rng::new(3));
    let store = Arc::new(create(dir.path(), &toy));
    for height in [100, 200, 250] {
        commit(&store, height, &random_changes(&mut rng, 20, 20)).unwrap();
    }
    assert_eq!(store.snapshots().len(), 2);
    commit(&store, 150, &random_changes(&mut rng, 20, 20)).unwrap();
    assert_eq!((store.snapshots(), aside_rows(&store)), (vec![], 0));
}

#[test]
fn keys_too_long_to_be_remembered_are_put_aside_once() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    let write = |height: u64, value: &'static str| {
        let long = Bytes::from(vec![b'k'; 40]);
        let writes =
            [(StateSpace::Pages, long, Some(value.into())), (StateSpace::Pages, "s".into(), Some(value.into()))];
        store.commit(Height::new(height), &mut writes.into_iter()).unwrap();
    };
    write(100, "at 100");
    write(101, "at 101");
    write(102, "at 102");
    let aside = store.db.scan(Space::Aside, b"").unwrap();
    assert_eq!(aside.iter().map(|(_, row)| &row[1..]).collect::<Vec<_>>(), [b"at 100"; 2]);
}

/// The rows that many overwritten keys cost are deleted in bounded batches, and a crash between them is made good.
#[test]
fn what_was_put_aside_is_deleted_in_bounded_batches() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    let write = |store: &Store, height: u64, keys: u32| {
        let value = Bytes::copy_from_slice(&height.to_le_bytes());
        let write = |key: u32| (StateSpace::Values, Bytes::copy_from_slice(&key.to_be_bytes()), Some(value.clone()));
        store.commit(Height::new(height), &mut (0..keys).map(write)).unwrap();
    };
    write(&store, 100, 10_000);
    write(&store, 101, 10_000);
    write(&store, 200, 0);
    assert_eq!(aside_rows(&store), 10_000);
    let commits = Arc::new(Mutex::new(0));
    let counter = commits.clone();
    store.steps.set(Some(Box::new(move |step, _| {
        let mut commits = counter.lock().unwrap();
        *commits += usize::from(step == Step::Commit);
        if *commits == 2 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    })));
    assert!(store.drop_snapshot(Height::new(100)).is_err(), "the second batch fails");
    assert_eq!((*commits.lock().unwrap(), store.snapshots().len()), (2, 1));
    drop(store);
    let store = open(dir.path()).unwrap();
    let left = aside_rows(&store);
    assert!((4000..7000).contains(&left), "{left} rows");
    write(&store, 201, 1);
    assert!(aside_rows(&store) < left);
    write(&store, 202, 1);
    assert_eq!(aside_rows(&store), 1, "what 200 has of the one key");
}

/// The moments of a history that a crash can cut at, each with what must be there.
#[test]
fn kill_at_every_write_of_state() {
    let (root, toy, mut rng) = (tempfile::tempdir().unwrap(), toy(), Rng::new(4));
    let dir = root.path().join("store");
    let store = Arc::new(create(&dir, &toy));
    let (mut map, mut kept) = (Map::new(), BTreeMap::new());
    for height in [100, 130, 200, 200, 260, 300, 301] {
        let before = (store.applied(), kept.clone());
        let copies = Arc::new(Mutex::new(Vec::new()));
        let (taken, from, to) = (copies.clone(), dir.clone(), root.path().join(format!("copy {height}")));
        store.steps.set(Some(Box::new(move |_, _| {
            let mut taken = taken.lock().unwrap();
            let to = to.join(taken.len().to_string());
            copy(&from, &to);
            taken.push(to);
            Ok(())
        })));
        let changes = random_changes(&mut rng, 80, 60);
        commit(&store, height, &changes).unwrap();
        if height == 300 {
            store.drop_snapshot(Height::new(200)).unwrap();
        }
        store.steps.set(None);
        change_map(&mut map, &changes);
        if height % INTERVAL == 0 {
            kept.insert(height, map.clone());
        }
        let all = kept.clone();
        retain(&mut kept, SnapshotRetention::default(), height);
        let committed = kept.clone();
        if height == 300 {
            kept.remove(&200);
        }
        for copied in copies.lock().unwrap().iter() {
            let reopened = open(copied).unwrap();
            let heights: Vec<_> = reopened.snapshots().iter().map(|snapshot| snapshot.height.get()).collect();
            let is = |expected: &BTreeMap<u64, Map>| expected.keys().copied().eq(heights.iter().copied());
            if reopened.applied() == before.0 && height != before.0.get() {
                check_kept(&reopened, &before.1);
            } else if is(&committed) && reopened.snapshots().last() == Some(&snapshot_of(&all)) {
                check_kept(&reopened, &committed);
            } else if is(&kept) && reopened.snapshots().last() == Some(&snapshot_of(&kept)) {
                check_kept(&reopened, &kept);
            } else {
                // The second commit at a snapshot's height.
                assert_eq!(height, before.0.get());
                check_kept(&reopened, &before.1);
            }
            go_on(copied, reopened, &mut rng);
        }
    }
    check_kept(&store, &kept);
    assert_eq!(kept.keys().copied().collect::<Vec<_>>(), [300]);
}

fn snapshot_of(kept: &BTreeMap<u64, Map>) -> Snapshot {
    let (&height, map) = kept.last_key_value().unwrap();
    snapshot(height, map)
}

/// A store that was found after a crash takes the next commits.
fn go_on(dir: &Path, store: Store, rng: &mut Rng) {
    let store = Arc::new(store);
    let before: Vec<_> = store.snapshots().last().copied().into_iter().collect();
    let map: Map = match before.last() {
        Some(newest) => read_map(&store.state_at(newest.height).unwrap().unwrap()),
        None => Map::new(),
    };
    for height in [350, 351] {
        commit(&store, height, &random_changes(rng, 80, 30)).unwrap();
    }
    drop(store);
    let store = open(dir).unwrap();
    if let Some(newest) = before.last() {
        check_view(&store.state_at(newest.height).unwrap().unwrap(), &map);
    }
}

fn read_map(view: &StateView) -> Map {
    let records = scan(view, &Prefix::ROOT).into_iter().map(|(_, record)| Record::decode(record).unwrap());
    records.map(|record| (record.key().to_vec(), record.value().to_vec())).collect()
}

#[test]
fn a_failed_commit_changes_no_view_and_is_made_again() {
    let (dir, toy, mut rng) = (tempfile::tempdir().unwrap(), toy(), Rng::new(5));
    let store = Arc::new(create(dir.path(), &toy));
    let (mut map, mut kept) = (Map::new(), BTreeMap::new());
    for height in [100, 150, 200, 250, 300] {
        let changes = random_changes(&mut rng, 80, 60);
        for failing in [Step::Commit, Step::Committed] {
            let view = store.live_state().unwrap();
            store.steps.set(Some(Box::new(move |step, _| match step == failing {
                true => Err(std::io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            })));
            let failed = commit(&store, height, &changes);
            store.steps.set(None);
            assert!(failed.unwrap_err().is_transient());
            if failing == Step::Commit {
                check_kept(&store, &kept);
            }
            // The next write opens the database again; whoever reads a view then reads it anew.
            store.persist().unwrap();
            assert!(matches!(view.record(&Hash::ZERO), Err(StoreFailure::ViewLost { .. })));
        }
        commit(&store, height, &changes).unwrap();
        change_map(&mut map, &changes);
        if height % INTERVAL == 0 {
            kept.insert(height, map.clone());
        }
        retain(&mut kept, SnapshotRetention::default(), height);
        check_kept(&store, &kept);
    }
}

#[test]
fn views_are_whole_while_commits_and_drops_go_on() {
    let (dir, toy, mut rng) = (tempfile::tempdir().unwrap(), toy(), Rng::new(6));
    let store = Arc::new(create(dir.path(), &toy));
    let mut map = Map::new();
    let histories: Vec<_> = (1..=60u64)
        .map(|step| {
            let changes = random_changes(&mut rng, 200, 50);
            change_map(&mut map, &changes);
            (step * 25, changes, map.clone())
        })
        .collect();
    let maps: BTreeMap<u64, Map> = histories.iter().map(|(height, _, map)| (*height, map.clone())).collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    let checked = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut checked = 0;
                    while !done.load(std::sync::atomic::Ordering::Acquire) {
                        for snapshot in store.snapshots() {
                            if let Some(view) = store.state_at(snapshot.height).unwrap() {
                                check_view(&view, &maps[&snapshot.height.get()]);
                                checked += 1;
                            }
                        }
                    }
                    checked
                })
            })
            .collect();
        for (height, changes, _) in &histories {
            commit(&store, *height, changes).unwrap();
            if height % 300 == 0 {
                store.drop_snapshot(Height::new(height - 100)).unwrap();
            }
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u32>()
    });
    assert!(checked > 0);
}
