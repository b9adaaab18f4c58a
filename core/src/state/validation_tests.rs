//! States, deltas and snapshots, and what is wrong with false ones.

use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;

use super::record::Record;
use super::*;
use crate::chain::HeaderFacts;
use crate::hash::Hash;
use crate::ids::Height;
use crate::time::UnixMillis;

type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn store_of(changes: &Changes) -> (MemoryStateStore, Hash) {
    let mut state = KeyValueState::load(MemoryStateStore::default()).unwrap();
    let root = state.apply(changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))).unwrap();
    let writes = state.take_writes();
    state.store_mut().write(writes);
    (state.store().clone(), root)
}

fn keys(count: u8) -> Changes {
    (0..count).map(|key| (vec![key], Some(vec![key; 3]))).collect()
}

fn header(state_root: Hash) -> HeaderFacts {
    HeaderFacts { id: Hash::from_bytes([7; 32]), state_root, timestamp: UnixMillis::new(0) }
}

#[test]
fn a_delta_leads_from_one_root_to_the_other_and_nowhere_else() {
    let (base, from) = store_of(&keys(100));
    let mut after = keys(100);
    after[7].1 = Some(b"other".to_vec());
    after.remove(50);
    after.push((b"new".to_vec(), Some(b"n".to_vec())));
    after.sort();
    let (_, to) = store_of(&after);
    let changes = vec![(vec![7], Some(b"other".to_vec())), (vec![50], None), (b"new".to_vec(), Some(b"n".to_vec()))];
    let delta = StateDelta { from, to, changes };
    assert_eq!(delta.validate(&base), Ok(()));
    assert_eq!(delta.apply(&base).unwrap().get(b"new"), Ok(Some(&b"n"[..])));
    assert_eq!(validate_state_transition(&header(from), &header(to), &delta, &base), Ok(()));

    let wrong = |change: &dyn Fn(&mut StateDelta)| {
        let mut delta = delta.clone();
        change(&mut delta);
        delta.validate(&base).unwrap_err()
    };
    type E = ValidationError<Infallible>;
    let missing = wrong(&|delta| drop(delta.changes.pop()));
    assert!(matches!(missing, E::WrongRoot { expected, .. } if expected == to), "{missing}");
    assert!(matches!(wrong(&|delta| delta.from = to), E::WrongRoot { found, .. } if found == from));
    assert_eq!(wrong(&|delta| delta.changes.swap(0, 1)), E::UnorderedDelta);
    let twice = |delta: &mut StateDelta| delta.changes.insert(1, delta.changes[0].clone());
    assert_eq!(wrong(&twice), E::UnorderedDelta);
    let long = wrong(&|delta| delta.changes[0].1 = Some(vec![0; MAX_VALUE_BYTES + 1]));
    assert!(matches!(long, E::State(StateError::Limit(_))), "{long}");
    let other = validate_state_transition(&header(from), &header(from), &delta, &base);
    assert_eq!(other, Err(E::OtherEnd { delta: to, block: from }));
    let other = validate_state_transition(&header(to), &header(to), &delta, &base);
    assert_eq!(other, Err(E::OtherBeginning { delta: from, block: to }));
}

#[test]
fn a_snapshot_is_what_its_records_hash_to() {
    let (state, root) = store_of(&keys(200));
    let id = SnapshotId::of(Height::new(5), &header(root));
    assert_eq!(StateSnapshot { id, state: &state }.validate(), Ok(()));
    assert_eq!(validate_state_root::<Infallible>(&header(root), &root), Ok(()));
    assert!(validate_state_root::<Infallible>(&header(root), &Hash::ZERO).is_err());
    let empty = SnapshotId { state_root: EMPTY_ROOT, ..id };
    assert_eq!(StateSnapshot { id: empty, state: MemoryStateStore::default() }.validate(), Ok(()));

    type E = ValidationError<Infallible>;
    let refused = |writes: StateWrites| {
        let mut state = state.clone();
        state.write(writes);
        StateSnapshot { id, state }.validate().unwrap_err()
    };
    let at = |key_hash: Hash, record: Option<bytes::Bytes>| StateWrites {
        records: vec![(key_hash, record)],
        ..StateWrites::default()
    };
    let record = |key: &[u8], value: &[u8]| Some(Record::new(key, value).unwrap().as_bytes().clone());
    let hash = key_hash(&[9]);
    assert!(matches!(refused(at(hash, None)), E::WrongRoot { .. }));
    assert!(matches!(refused(at(hash, record(&[9], b"x"))), E::WrongRoot { .. }));
    assert_eq!(refused(at(hash, record(&[10], &[10; 3]))), E::WrongKey { key_hash: hash });
    assert!(matches!(refused(at(hash, Some(bytes::Bytes::new()))), E::Record { .. }));
    assert!(matches!(refused(at(key_hash(b"more"), record(b"more", b"x"))), E::WrongRoot { .. }));
    // The records are right, the tree is not.
    let (other, _) = store_of(&keys(100));
    let pages = other.pages().map(|(key, page)| (*key, Some(page.to_vec()))).collect();
    assert!(matches!(refused(StateWrites { pages, ..StateWrites::default() }), E::WrongRoot { .. }));
}
