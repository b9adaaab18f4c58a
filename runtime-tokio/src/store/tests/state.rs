//! Application state: atomic with its height, never ahead of the blocks.

use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::ids::Height;

use super::{Store, bulk, create, open, toy};
use crate::store::{BlockStore as _, StateSpace, StateStore, StoreFailure};

/// Moves the state to `height`.
fn commit(store: &dyn StateStore, height: u64, value: &'static str) -> Result<(), StoreFailure> {
    let writes = [
        (StateSpace::Pages, "page".into(), Some(value.into())),
        (StateSpace::Values, "key".into(), Some(value.into())),
        (StateSpace::Values, value.into(), Some(value.into())),
        (StateSpace::Values, "at 200".into(), None),
    ];
    store.commit(Height::new(height), &mut writes.into_iter())
}

fn read(store: &Store, space: StateSpace, key: &str) -> Option<Bytes> {
    StateStore::read(store, space, key.as_bytes()).unwrap()
}

fn value(store: &Store) -> Option<Bytes> {
    read(store, StateSpace::Values, "key")
}

#[test]
fn state_and_its_height_are_one() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = Arc::new(create(dir.path(), &toy));
    assert_eq!((store.applied(), read(&store, StateSpace::Pages, "page")), (Height::ZERO, None));
    store.append(&bulk(&toy)[0]).unwrap();
    commit(&*store, 200, "at 200").unwrap();
    commit(&*store, 300, "at 300").unwrap();
    assert_eq!(value(&store), Some(Bytes::from("at 300")));
    store.persist().unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!((store.applied(), store.stored().height), (Height::new(300), Height::new(300)));
    assert_eq!(read(&store, StateSpace::Pages, "page"), Some(Bytes::from("at 300")));
    assert_eq!(read(&store, StateSpace::Values, "at 300"), Some(Bytes::from("at 300")));
    assert_eq!(read(&store, StateSpace::Values, "at 200"), None);
}

const HEIGHTS: [u64; 3] = [300, 700, 1100];
const STATES: [&str; 3] = ["state at 300", "state at 700", "state at 1100"];

fn seen_of(height: u64) -> usize {
    HEIGHTS.iter().position(|&other| other == height).unwrap()
}

#[test]
fn a_torn_journal_loses_the_newest_state_first_and_never_blocks_before_it() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    let journal = dir.path().join("db/0.jnl");
    let mut moments = Vec::new();
    for (apply, height) in bulk(&toy).iter().zip(HEIGHTS) {
        store.append(apply).unwrap();
        commit(&store, height, STATES[seen_of(height)]).unwrap();
        let used = std::fs::read(&journal).unwrap().iter().rposition(|&byte| byte != 0).unwrap() + 1;
        moments.push(used);
    }
    drop(store);
    // Whatever length of the journal survives, the state isn't ahead. What is cut off here was acknowledged, so the
    // files know more than the database: the rest of the store's own rules is tested with the crashes.
    let bytes = std::fs::read(&journal).unwrap();
    let mut seen = Vec::new();
    for len in (moments[0]..=moments[2]).step_by(23) {
        std::fs::write(&journal, &bytes[..len]).unwrap();
        let db = super::super::db::Db::open(dir.path().join("db")).unwrap();
        let head: hotstuff2_sync::calls::BlockPoint = super::super::load::read_record(&db, b"head").unwrap().unwrap();
        let applied: Height = super::super::load::read_record(&db, b"applied").unwrap().unwrap();
        assert!(applied <= head.height, "state at {applied}, blocks at {}", head.height);
        let value = db.get(super::super::db::Space::Values, b"key").unwrap();
        assert_eq!(value.unwrap(), STATES[seen_of(applied.get())], "the state is of another height");
        seen.push((applied.get(), head.height.get()));
    }
    for moment in [(300, 300), (300, 700), (700, 700), (700, 1100)] {
        assert!(seen.contains(&moment), "{moment:?} of {seen:?}");
    }
}

#[test]
fn a_failed_state_commit_leaves_the_state_as_it_was() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    store.append(&bulk(&toy)[0]).unwrap();
    commit(&store, 200, "at 200").unwrap();
    store.steps.set(Some(Box::new(|step, _| match step {
        crate::store::steps::Step::Commit => Err(std::io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    })));
    let error = commit(&store, 300, "at 300").unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!((store.applied(), value(&store)), (Height::new(200), Some("at 200".into())));
    store.steps.set(None);
    commit(&store, 300, "at 300").unwrap();
    assert_eq!((store.applied(), value(&store)), (Height::new(300), Some("at 300".into())));
}
