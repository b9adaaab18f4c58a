extern crate std;

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn empty() -> KeyValueState<MemoryStateStore> {
    KeyValueState::load(MemoryStateStore::default()).unwrap()
}

fn flush(state: &mut KeyValueState<MemoryStateStore>) {
    let writes = state.take_writes();
    state.store_mut().write(writes);
}

#[test]
fn what_was_put_is_read_back_and_what_was_deleted_is_not() {
    let mut state = empty();
    state.apply([(&b"a"[..], Some(&b"1"[..])), (b"b", Some(b"2")), (b"", Some(b""))]).unwrap();
    assert_eq!(state.get(b"a"), Ok(Some(&b"1"[..])));
    assert_eq!(state.get(b""), Ok(Some(&b""[..])));
    assert_eq!(state.get(b"c"), Ok(None));
    state.apply([(&b"a"[..], None), (b"c", None)]).unwrap();
    assert_eq!(state.get(b"a"), Ok(None));
    assert_eq!(state.keys(), 2);
}

#[test]
fn the_last_of_two_changes_of_a_key_counts() {
    let (mut twice, mut once) = (empty(), empty());
    twice.apply([(&b"a"[..], Some(&b"1"[..])), (b"a", Some(b"2"))]).unwrap();
    once.apply([(&b"a"[..], Some(&b"2"[..]))]).unwrap();
    assert_eq!(twice.root(), once.root());
    assert_eq!(twice.take_writes(), once.take_writes());
}

#[test]
fn writes_are_taken_once_and_survive_a_restart() {
    let mut state = empty();
    for n in 0..100u8 {
        state.apply([(&[n % 10][..], Some(&[n][..]))]).unwrap();
    }
    let writes = state.take_writes();
    assert_eq!(writes.records.len(), 10);
    assert!(writes.records.is_sorted_by(|(a, _), (b, _)| a < b));
    assert_eq!(state.take_writes(), StateWrites::default());
    state.store_mut().write(writes);
    let mut again = KeyValueState::load(state.store()).unwrap();
    assert_eq!(again.root(), state.root());
    assert_eq!(again.get(&[7]), Ok(Some(&[97][..])));
    assert_eq!(state.store().records().count(), 10);
}

#[test]
fn limits_are_kept_and_a_refused_batch_changes_nothing() {
    let mut state = empty();
    let root = state.root();
    let (long, large) = (vec![0; MAX_KEY_BYTES + 1], vec![0; MAX_VALUE_BYTES + 1]);
    let refused = state.apply([(&b"a"[..], Some(&b"1"[..])), (&long, Some(b""))]);
    assert_eq!(refused, Err(StateError::Limit(RecordError::KeyTooLong(MAX_KEY_BYTES + 1))));
    let refused = state.apply([(&b"a"[..], Some(&large[..]))]);
    assert_eq!(refused, Err(StateError::Limit(RecordError::ValueTooLarge(MAX_VALUE_BYTES + 1))));
    assert_eq!(state.get(b"a"), Ok(None));
    assert_eq!((state.root(), state.take_writes()), (root, StateWrites::default()));
    let (long, large) = (&long[1..], &large[1..]);
    state.apply([(long, Some(large))]).unwrap();
    flush(&mut state);
    assert_eq!(KeyValueState::load(state.store()).unwrap().get(long), Ok(Some(large)));
}

#[test]
fn damaged_and_misplaced_records_are_errors() {
    let mut state = empty();
    state.apply([(&b"a"[..], Some(&b"1"[..]))]).unwrap();
    flush(&mut state);
    let at = key_hash(b"a");
    let damage = |record: Bytes| {
        let mut store = state.store().clone();
        store.write(StateWrites { pages: vec![], records: vec![(at, Some(record))] });
        KeyValueState::load(store).unwrap().get(b"a").map(|_| ()).unwrap_err()
    };
    let truncated = StateError::Corrupt { key_hash: at, reason: RecordError::Truncated };
    for bytes in [&b""[..], b"\x01", b"\x05\x00abc"] {
        assert_eq!(damage(Bytes::copy_from_slice(bytes)), truncated);
    }
    let other = Record::new(b"b", b"1").unwrap().as_bytes().clone();
    assert_eq!(damage(other), StateError::WrongKey { key_hash: at });
}

#[test]
fn eviction_frees_memory_and_loses_nothing() {
    let mut state = empty();
    let pairs: Vec<([u8; 4], [u8; 100])> = (0..2000u32).map(|n| (n.to_le_bytes(), [n as u8; 100])).collect();
    state.apply(pairs.iter().map(|(key, value)| (&key[..], Some(&value[..])))).unwrap();
    let before = state.memory();
    state.evict(0);
    assert_eq!(state.get(&pairs[0].0), Ok(Some(&pairs[0].1[..])), "nothing that is not written may be forgotten");
    flush(&mut state);
    state.evict(usize::MAX);
    let written = state.memory();
    assert!(written <= before, "{written} {before}");
    // Somewhat less than the limit is left, and of the state nothing is lost.
    state.evict(written - 1);
    assert!((written / 4..written).contains(&state.memory()), "{} of {written}", state.memory());
    state.evict(0);
    assert!(state.memory() < before / 10, "{} of {before}", state.memory());
    for (key, value) in &pairs {
        assert_eq!(state.get(key), Ok(Some(&value[..])));
    }
}

#[test]
fn what_is_uncommitted_counts_changes_and_growth_until_it_is_taken() {
    let mut state = empty();
    let write = |state: &mut KeyValueState<MemoryStateStore>, keys: std::ops::Range<u32>, fill: u8| {
        let pairs: Vec<([u8; 4], [u8; 100])> = keys.map(|n| (n.to_le_bytes(), [fill; 100])).collect();
        state.apply(pairs.iter().map(|(key, value)| (&key[..], Some(&value[..])))).unwrap();
    };
    let bytes = |writes: &StateWrites| {
        let pages = writes.pages.iter().filter_map(|(_, page)| page.as_ref()).map(Vec::len);
        let records = writes.records.iter().filter_map(|(_, record)| record.as_ref()).map(Bytes::len);
        pages.chain(records).sum::<usize>()
    };
    assert_eq!(state.uncommitted(), 0);
    // All of a state, every tenth key of it, and one key over and over.
    for (keys, step, times) in [(0..5000u32, 1, 1), (0..5000, 10, 1), (7..8, 1, 100)] {
        for fill in 0..times {
            keys.clone().step_by(step).for_each(|key| write(&mut state, key..key + 1, fill + step as u8));
        }
        let uncommitted = state.uncommitted();
        let writes = state.take_writes();
        assert!(bytes(&writes) <= uncommitted && uncommitted > 0, "{} {uncommitted}", bytes(&writes));
        assert_eq!(state.uncommitted(), 0, "it was taken");
        state.store_mut().write(writes);
    }
    // Reads make the state grow as well, until it is evicted.
    state.evict(0);
    assert_eq!(state.uncommitted(), 0);
    (0..500u32).for_each(|key| assert!(state.get(&key.to_le_bytes()).unwrap().is_some()));
    assert!(state.uncommitted() >= 500 * 100);
    assert_eq!(state.take_writes(), StateWrites::default());
    state.evict(0);
    assert_eq!(state.uncommitted(), 0);
    assert!(state.memory() < 5000 * 20, "{}", state.memory());
}

proptest! {
    #[test]
    fn behaves_like_a_map_over_any_history(
        steps in prop::collection::vec((prop::collection::vec((0..40u8, prop::option::of(0..3u8)), 0..10), 0..4u8), 0..20),
    ) {
        let mut state = empty();
        let mut model = BTreeMap::new();
        for (batch, then) in steps {
            let batch: Vec<([u8; 1], Option<[u8; 1]>)> =
                batch.into_iter().map(|(key, value)| ([key], value.map(|value| [value]))).collect();
            for (key, value) in &batch {
                match value {
                    Some(value) => model.insert(*key, *value),
                    None => model.remove(key),
                };
            }
            state.apply(batch.iter().map(|(key, value)| (&key[..], value.as_ref().map(|value| &value[..])))).unwrap();
            if then > 0 {
                flush(&mut state);
                let stored: BTreeMap<[u8; 1], [u8; 1]> = state
                    .store()
                    .records()
                    .map(|(_, bytes)| Record::decode(bytes.clone()).unwrap())
                    .map(|record| ([record.key()[0]], [record.value()[0]]))
                    .collect();
                prop_assert_eq!(&stored, &model);
            }
            match then {
                2 => state.evict(0),
                3 => state = KeyValueState::load(state.store().clone()).unwrap(),
                _ => {}
            }
            prop_assert_eq!(state.keys(), model.len() as u64);
            for key in 0..40u8 {
                let expected = model.get(&[key]).map(|value| &value[..]);
                prop_assert_eq!(state.get(&[key]).unwrap(), expected);
            }
        }
        let mut fresh = empty();
        fresh.apply(model.iter().map(|(key, value)| (&key[..], Some(&value[..])))).unwrap();
        prop_assert_eq!(fresh.root(), state.root());
    }
}
