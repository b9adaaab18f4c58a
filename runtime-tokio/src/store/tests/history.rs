//! Older blocks come back below the base, cell by cell.

use std::sync::{Arc, Mutex};

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::ChainReader as _;

use super::crash::copy;
use super::rebase::{activate, check_served_above};
use super::staging::Peer;
use super::toy::{Toy, apply, range};
use super::{Store, append_all, check_served, create, file_names, open, toy};
use crate::store::steps::Step;
use crate::store::{BlockStore as _, HistoryStore as _, StoreFailure};

const BASE: u64 = 1300;

fn based(dir: &std::path::Path, toy: &Arc<Toy>) -> Store {
    let store = create(dir, toy);
    let peer = Peer::new(0..3);
    activate(&store, &peer, &peer.base(toy, BASE, BASE));
    store
}

fn prepend(store: &Store, toy: &Toy, (first, last): (u64, u64), bodies: bool) -> Result<(), StoreFailure> {
    let frames = bodies.then(|| toy.frames(range(first, last), 32));
    store.prepend(&toy.segment(range(first, last), false, b""), frames.as_deref())
}

fn gap(store: &Store) -> Option<HeightRange> {
    store.history_gap().unwrap().map(|gap| gap.range)
}

#[test]
fn whole_blocks_come_back_and_are_served_as_if_they_had_never_been_away() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = based(dir.path(), &toy);
    let gap_below = store.history_gap().unwrap().unwrap();
    assert_eq!((gap_below.range, gap_below.last_id), (range(1024, BASE), toy.point(BASE).id));
    prepend(&store, &toy, (1024, BASE), true).unwrap();
    assert_eq!((gap(&store), store.status().earliest), (Some(range(1, 1023)), Height::new(1024)));
    // Blocks are appended meanwhile; a lost answer makes a call come twice.
    append_all(&store, &[apply(vec![toy.part(range(BASE + 1, 1500), range(BASE + 1, 1500), 32)])]);
    prepend(&store, &toy, (1024, BASE), true).unwrap();
    prepend(&store, &toy, (1, 1023), true).unwrap();
    let check = |store: &Store| {
        assert_eq!((store.history_gap().unwrap(), store.status().earliest), (None, Height::new(1)));
        check_served(store, &toy, 1500);
        assert_eq!(store.check(|_| ()).unwrap().blocks, 1500);
        // A cell of the grid that is in two files here.
        let served = store.segment(range(1024, 1500), true, false).unwrap().unwrap();
        assert_eq!(served.segment, toy.segment_bytes(range(1024, 1500), true));
        let served = store.segment(range(1, 1023), false, false).unwrap().unwrap();
        assert_eq!(served.segment, toy.segment_bytes(range(1, 1023), false));
        let names = [1, 1024, 1301].map(|first| format!("{first:020}.seg"));
        assert_eq!(file_names(dir.path()), names);
    };
    check(&store);
    drop(store);
    let store = open(dir.path()).unwrap();
    check(&store);
    // With the next state they go again.
    let peer = Peer::new(0..5);
    activate(&store, &peer, &peer.base(&toy, 2000, 2000));
    check_served_above(&store, &toy, 2000, 2000);
    assert_eq!((gap(&store), file_names(dir.path()).len()), (Some(range(1501, 2000)), 0));
}

#[test]
fn headers_alone_are_served_as_headers() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = based(dir.path(), &toy);
    prepend(&store, &toy, (1024, BASE), false).unwrap();
    let check = |store: &Store, lowest: u64| {
        assert_eq!(store.status().earliest, Height::new(BASE + 1));
        for (first, last) in [(1024, BASE), (1100, 1150), (lowest, lowest)] {
            let served = store.segment(range(first, last), false, false).unwrap().unwrap();
            assert_eq!(served.segment, toy.segment_bytes(range(first, last), false));
        }
        for height in [1024, BASE] {
            assert!(!store.bodies(HeightRange::single(Height::new(height)), 100, &mut Vec::new()).unwrap());
        }
        assert_eq!(store.stored(), toy.point(BASE));
    };
    check(&store, 1024);
    drop(store);
    let store = open(dir.path()).unwrap();
    check(&store, 1024);
    assert_eq!(store.check(|_| ()).unwrap().blocks, 0);
    // Bodies below headers without bodies are served, and not promised.
    prepend(&store, &toy, (1, 1023), true).unwrap();
    check(&store, 1);
    let mut out = Vec::new();
    assert!(store.bodies(range(1, 1023), u32::MAX, &mut out).unwrap());
    assert_eq!(toy.check_bodies(out.into(), 1), 1024);
    assert_eq!(store.check(|_| ()).unwrap().blocks, 1023);
    append_all(&store, &[apply(vec![toy.part(range(BASE + 1, 1500), range(BASE + 1, 1500), 32)])]);
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!((store.stored(), store.history_gap().unwrap()), (toy.point(1500), None));
}

#[test]
fn what_is_not_missing_is_refused() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = based(dir.path(), &toy);
    let other = Toy::new(&[1500, 2600], |_| 5);
    let bodies = |first, last| toy.frames(range(first, last), 32);
    let headers = |first, last| toy.segment(range(first, last), false, b"");
    let refused = [
        store.prepend(&headers(1, 1023), None),
        store.prepend(&headers(1024, 1299), None),
        store.prepend(&headers(1100, BASE), None),
        store.prepend(&other.segment(range(1024, BASE), false, b""), None),
        store.prepend(&headers(1024, BASE), Some(&bodies(1024, 1299))),
        store.prepend(&headers(1024, BASE), Some(&bodies(1025, BASE))),
        store.prepend(&headers(1024, BASE), Some(&[])),
    ];
    for result in refused {
        assert!(matches!(result, Err(StoreFailure::Refused { .. })), "{result:?}");
    }
    assert_eq!((gap(&store), file_names(dir.path()).len()), (Some(range(1024, BASE)), 0));
}

#[test]
fn kill_at_every_write_of_history() {
    let (root, toy) = (tempfile::tempdir().unwrap(), toy());
    let dir = root.path().join("store");
    let store = based(&dir, &toy);
    let copies = Arc::new(Mutex::new(Vec::new()));
    for (cell, bodies) in [((1024, BASE), true), ((1, 1023), true)] {
        let earliest = store.status().earliest;
        let (taken, from, to) = (copies.clone(), dir.clone(), root.path().to_owned());
        store.steps.set(Some(Box::new(move |step, _| {
            let mut taken = taken.lock().unwrap();
            // Many writes are alike.
            if step == Step::Write && taken.len() > 4 {
                return Ok(());
            }
            let to = to.join(format!("{}-{}", cell.0, taken.len()));
            copy(&from, &to);
            taken.push((step, to));
            Ok(())
        })));
        prepend(&store, &toy, cell, bodies).unwrap();
        store.steps.set(None);
        for (step, copied) in copies.lock().unwrap().drain(..) {
            let reopened = open(&copied).unwrap_or_else(|error| panic!("killed before {step:?}: {error}"));
            let now = reopened.status().earliest;
            assert!(now == earliest || now == Height::new(cell.0), "killed before {step:?}: {now}");
            assert_eq!(
                file_names(&copied).len(),
                if now == Height::new(1) { 2 } else { usize::from(now.get() == 1024) }
            );
            while let Some(gap) = gap(&reopened) {
                prepend(&reopened, &toy, (gap.first().get(), gap.last().get()), true).unwrap();
            }
            check_served(&reopened, &toy, BASE);
            drop(reopened);
            std::fs::remove_dir_all(copied).unwrap();
        }
    }
}
