use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::chain::Fault;
use crate::hash::Hash;
use crate::state::{KeyValueState, MemoryStateStore, Record, StateReader as _, key_hash};

/// Ten keys with the values that `value` gives them, in a store.
fn state(value: impl Fn(u8) -> Vec<u8>) -> (KeyValueState<MemoryStateStore>, Hash) {
    let mut state = KeyValueState::load(MemoryStateStore::default()).unwrap();
    let pairs: Vec<([u8; 2], Vec<u8>)> = (0..10u8).map(|n| ([b'k', n], value(n))).collect();
    let root = state.apply(pairs.iter().map(|(key, value)| (&key[..], Some(&value[..])))).unwrap();
    let writes = state.take_writes();
    state.store_mut().write(writes);
    (state, root)
}

fn read(state: &mut KeyValueState<MemoryStateStore>, key: &[u8]) -> Bytes {
    let proof = state.prove(key).unwrap();
    let record = state.store().record(&key_hash(key)).unwrap();
    let mut out = Vec::new();
    assert!(encode_read(&mut out, &proof, record.as_ref()));
    out.into()
}

/// The proof of one answer with the record of another.
fn mixed(proof: &Bytes, record: &Bytes) -> Bytes {
    let (mut proofs, mut records) = (Sections::new(proof.clone()), Sections::new(record.clone()));
    let mut out = Vec::new();
    assert!(put_section(&mut out, &proofs.take().unwrap()));
    records.take().unwrap();
    assert!(put_section(&mut out, &records.take().unwrap()));
    out.into()
}

#[test]
fn a_read_shows_a_value_or_that_there_is_none() {
    let (mut state, root) = state(|n| vec![n; 9]);
    for n in 0..10 {
        let answer = read(&mut state, &[b'k', n]);
        assert_eq!(verify_read(&root, &[b'k', n], answer), Ok(Some(vec![n; 9].into())));
    }
    let answer = read(&mut state, b"nobody");
    assert_eq!(verify_read(&root, b"nobody", answer), Ok(None));
    // An empty value is not the same as none.
    let (mut empty, root) = self::state(|_| Vec::new());
    let answer = read(&mut empty, b"k\x03");
    assert_eq!(verify_read(&root, b"k\x03", answer), Ok(Some(Bytes::new())));
    let mut nothing = KeyValueState::load(MemoryStateStore::default()).unwrap();
    let answer = read(&mut nothing, b"k");
    assert_eq!(verify_read(&nothing.root(), b"k", answer), Ok(None));
}

#[test]
fn a_read_shows_nothing_else() {
    let (mut now, root) = state(|n| vec![n; 9]);
    let (mut later, later_root) = state(|n| vec![n + u8::from(n == 3); 9]);
    let (present, absent) = (read(&mut now, b"k\x03"), read(&mut now, b"nobody"));
    let refused = |key: &[u8], answer: &Bytes| verify_read(&root, key, answer.clone()).unwrap_err();

    let changed = read(&mut later, b"k\x03");
    assert_eq!(refused(b"k\x03", &mixed(&present, &changed)), Fault::WrongState, "wrong value");
    assert_eq!(refused(b"k\x03", &mixed(&present, &absent)), Fault::WrongState, "said to be absent, but present");
    assert_eq!(refused(b"nobody", &mixed(&absent, &present)), Fault::WrongState, "the value of another key");
    let record = Record::new(b"nobody", b"value").unwrap();
    let mut invented = Vec::new();
    assert!(encode_read(&mut invented, &now.prove(b"nobody").unwrap(), Some(record.as_bytes())));
    assert_eq!(refused(b"nobody", &invented.into()), Fault::WrongState, "said to be present, but absent");
    assert_eq!(refused(b"k\x03", &changed), Fault::WrongState, "another height");
    assert!(verify_read(&later_root, b"k\x03", changed).is_ok());
    assert_eq!(refused(b"k\x04", &present), Fault::WrongState, "another key");

    assert_eq!(refused(b"k\x03", &[&present[..], &[0]].concat().into()), Fault::NonCanonical);
    assert_eq!(refused(b"k\x03", &present.slice(..present.len() - 1)), Fault::Malformed);
    assert_eq!(refused(b"k\x03", &Bytes::new()), Fault::Malformed);
    let mut oversize = Vec::new();
    assert!(put_section(&mut oversize, &[0; 10_000]) && put_section(&mut oversize, &[]));
    assert_eq!(refused(b"k\x03", &oversize.into()), Fault::Oversize);
}

proptest! {
    #[test]
    fn no_changed_byte_of_a_read_passes(n in 0..20u8, xor in 1..=255u8) {
        let (mut state, root) = state(|n| vec![n; 5]);
        let key = [b'k', n];
        let honest = read(&mut state, &key);
        for position in 0..honest.len() {
            let mut bytes = honest.to_vec();
            bytes[position] ^= xor;
            prop_assert!(verify_read(&root, &key, bytes.into()).is_err(), "byte {}", position);
        }
    }
}
