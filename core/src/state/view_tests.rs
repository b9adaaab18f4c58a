//! Changes of a block: seen at once, all of them or none.

use super::*;

type State = KeyValueState<MemoryStateStore>;

fn state(pairs: &[(&[u8], &[u8])]) -> State {
    let mut state = State::load(MemoryStateStore::default()).unwrap();
    state.apply(pairs.iter().map(|(key, value)| (*key, Some(*value)))).unwrap();
    state
}

#[derive(Debug, PartialEq)]
struct Refused;

impl From<StateError<core::convert::Infallible>> for Refused {
    fn from(_: StateError<core::convert::Infallible>) -> Self {
        Self
    }
}

#[test]
fn a_block_sees_its_own_changes_and_leaves_them_to_the_state() {
    let mut changed = state(&[(b"a", b"1"), (b"b", b"2")]);
    let root = changed.change(|view| {
        assert_eq!(view.get(b"a").unwrap(), Some(&b"1"[..]));
        assert_eq!(view.get(b"c").unwrap(), None);
        view.put(b"a", b"3").unwrap();
        view.put(b"c", b"4").unwrap();
        view.delete(b"b");
        view.delete(b"nothing");
        assert_eq!(view.get(b"a").unwrap(), Some(&b"3"[..]));
        assert_eq!(view.get(b"b").unwrap(), None);
        Ok::<_, Refused>(())
    });
    let expected = state(&[(b"a", b"3"), (b"c", b"4")]);
    assert_eq!((root.unwrap(), changed.root()), (expected.root(), expected.root()));
    assert_eq!(changed.get(b"c").unwrap(), Some(&b"4"[..]));
}

#[test]
fn a_block_that_fails_changes_nothing() {
    let mut kept = state(&[(b"a", b"1")]);
    let root = kept.root();
    let refused = kept.change(|view| {
        view.put(b"a", b"3").unwrap();
        Err(Refused)
    });
    assert_eq!((refused, kept.root(), kept.get(b"a").unwrap()), (Err(Refused), root, Some(&b"1"[..])));
    let over = kept.change(|view| {
        assert_eq!(view.put(&[0; MAX_KEY_BYTES + 1], b""), Err(RecordError::KeyTooLong(MAX_KEY_BYTES + 1)));
        assert_eq!(view.put(b"a", &[0; MAX_VALUE_BYTES + 1]), Err(RecordError::ValueTooLarge(MAX_VALUE_BYTES + 1)));
        Ok::<_, Refused>(())
    });
    assert_eq!(over, Ok(root), "what is over its limit is not put");
}

#[test]
fn blocks_are_taken_back_one_by_one() {
    let mut changed = state(&[(b"a", b"1"), (b"b", b"2")]);
    let roots = [changed.root()];
    let (first, undo_first) = changed
        .change_for_now(|view| {
            view.put(b"a", b"3").unwrap();
            view.put(b"new", b"4").unwrap();
            Ok::<_, Refused>(())
        })
        .unwrap();
    let (_, undo_second) = changed
        .change_for_now(|view| {
            view.delete(b"a");
            view.delete(b"new");
            view.delete(b"b");
            Ok::<_, Refused>(())
        })
        .unwrap();
    assert_eq!((changed.root(), changed.keys()), (EMPTY_ROOT, 0));
    assert_eq!(changed.undo(&undo_second).unwrap(), first);
    assert_eq!(changed.get(b"new").unwrap(), Some(&b"4"[..]));
    assert_eq!(changed.undo(&undo_first).unwrap(), roots[0]);
    assert_eq!(changed.keys(), 2);
    assert_eq!(changed.get(b"a").unwrap(), Some(&b"1"[..]));
    assert_eq!(changed.get(b"new").unwrap(), None);
}
