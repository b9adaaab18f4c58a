//! Old blocks go while the store is written and read; what something needs stays.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::ChainReader as _;

use super::crash::copy;
use super::rebase::{activate, check_served_above};
use super::staging::{Peer, execute};
use super::toy::{Toy, apply, range};
use super::{CELLS, Store, append_all, bulk, check_served, create, file_names, following, open, toy};
use crate::store::steps::Step;
use crate::store::{
    BlockStore as _, HistoryStore as _, Pruned, PruningStore as _, SnapshotRetention, StoreConfig, StoreFailure,
};

fn blocks(retain_blocks: u64) -> StoreConfig {
    StoreConfig { retain_blocks, ..StoreConfig::default() }
}

/// All 2600 blocks in four sealed cells.
fn whole(dir: &Path, toy: &Arc<Toy>) -> Store {
    let store = create(dir, toy);
    append_all(&store, &bulk(toy));
    assert_eq!(file_names(dir).len(), 4);
    store
}

/// Prunes as if everything was executed; the heights that went.
fn prune(store: &Store) -> u64 {
    store.prune(store.stored().height).unwrap().blocks
}

/// Exactly the blocks above `below` up to `head` are there, and are served and claimed.
fn check(store: &Store, toy: &Toy, below: u64, head: u64) {
    if below > 0 {
        return check_served_above(store, toy, below, head);
    }
    check_served(store, toy, head);
    assert_eq!(store.status().earliest, Height::new(1));
}

fn names(cells: &[(u64, u64)]) -> Vec<String> {
    cells.iter().map(|(first, _)| format!("{first:020}.seg")).collect()
}

#[test]
fn the_oldest_cells_go_and_peers_are_told() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = whole(dir.path(), &toy);
    // Nothing goes unless it is asked for.
    assert_eq!((prune(&store), store.status().earliest), (0, Height::new(1)));
    // Block 1901 and those above are wanted: the cell that holds it stays as it is.
    store.configure(blocks(700));
    let version = store.version();
    assert_eq!(prune(&store), 1500);
    assert!(store.version() > version);
    assert_eq!(prune(&store), 0);
    let check_kept = |store: &Store| {
        check_served_above(store, &toy, 1500, 2600);
        assert_eq!(file_names(dir.path()), names(&CELLS[2..]));
        for (first, last) in [(1, 1), (1, 1023), (1024, 1500)] {
            assert_eq!(store.segment(range(first, last), false, false).unwrap(), None);
            assert_eq!(store.segment(range(first, last), true, false).unwrap(), None);
            assert_eq!(store.follow_range(Height::new(last - 1)), None);
        }
        assert_eq!(store.read(range(1, 5), 1).unwrap().map(|part| part.range()), None);
        let served = store.segment(range(1501, 2047), true, false).unwrap().unwrap();
        assert_eq!(served.segment, toy.segment_bytes(range(1501, 2047), true));
        // Handovers and epochs are all there.
        assert!(store.handover(hotstuff2_sync::ids::Epoch::ZERO).unwrap().is_some());
        assert!(store.epoch_of(Height::new(3)).unwrap().is_some());
        assert!(store.damage().borrow().is_empty());
    };
    check_kept(&store);
    drop(store);
    let store = open(dir.path()).unwrap();
    check_kept(&store);
    assert_eq!(prune(&store), 0, "the store is not told of its settings by its files");
}

#[test]
fn old_blocks_go_while_new_ones_come() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    store.configure(blocks(300));
    let mut gone = 0;
    for apply in following(&toy, 100) {
        store.append(&apply).unwrap();
        gone += prune(&store);
        let head = store.stored().height.get();
        // Whole cells, and never one that the newest 300 blocks reach into.
        let kept = head.saturating_sub(299);
        let below = CELLS.iter().rev().find(|(_, last)| *last < kept).map_or(0, |(_, last)| *last);
        assert_eq!(gone, below, "at {head}");
        check(&store, &toy, gone, head);
    }
    assert_eq!(gone, 2047);
    drop(store);
    check_served_above(&open(dir.path()).unwrap(), &toy, 2047, 2600);
}

#[test]
fn bytes_are_kept_to_as_well() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = whole(dir.path(), &toy);
    let size =
        |(first, _): &(u64, u64)| fs::metadata(dir.path().join(format!("segments/{first:020}.seg"))).unwrap().len();
    let sizes: Vec<u64> = CELLS.iter().map(size).collect();
    let all: u64 = sizes.iter().sum();
    store.configure(StoreConfig { retain_bytes: all, ..StoreConfig::default() });
    assert_eq!(prune(&store), 0);
    store.configure(StoreConfig { retain_bytes: all - 1, ..StoreConfig::default() });
    assert_eq!(store.prune(Height::new(2600)).unwrap(), Pruned { blocks: 1023, bytes: sizes[0] });
    check_served_above(&store, &toy, 1023, 2600);
    // With both limits, what either one lets go goes; the newest cell stays in any case.
    store.configure(StoreConfig { retain_blocks: 2600, retain_bytes: 1, ..StoreConfig::default() });
    assert_eq!(prune(&store), 1024);
    check_served_above(&store, &toy, 2047, 2600);
}

#[test]
fn what_is_needed_is_not_pruned() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = whole(dir.path(), &toy);
    store.configure(blocks(1));
    // Blocks that are to be executed, and the one that the state stands at.
    assert_eq!(store.prune(Height::ZERO).unwrap(), Pruned::default());
    assert_eq!(store.prune(Height::new(1023)).unwrap(), Pruned::default());
    assert_eq!(store.prune(Height::new(1024)).unwrap().blocks, 1023);
    // The state in the store, though whoever runs now says that all is executed, and the snapshots that are offered.
    execute(&store, &Peer::new(0..50), 1700);
    assert_eq!(prune(&store), 477);
    execute(&store, &Peer::new(0..60), 2590);
    let oldest = store.status().snapshots.unwrap().oldest;
    assert_eq!((oldest, prune(&store)), (Height::new(1700), 0));
    assert!(store.block_proof(oldest).unwrap().is_some());
    execute(&store, &Peer::new(0..70), 2600);
    // Kept and given to whoever asks for it, though it is not claimed with the newest.
    let oldest = store.status().snapshots.unwrap().oldest;
    assert_eq!((oldest, prune(&store)), (Height::new(2600), 0));
    store.set_snapshot_retention(SnapshotRetention { count: 1, max_age: None }).unwrap();
    assert_eq!(prune(&store), 547);
    assert!(store.block_proof(oldest).unwrap().is_some());
    check_served_above(&store, &toy, 2047, 2600);
}

#[test]
fn pruned_blocks_are_not_fetched_again() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    let peer = Peer::new(0..3);
    activate(&store, &peer, &peer.base(&toy, 1300, 1300));
    let gap = |store: &Store| store.history_gap().unwrap().map(|gap| gap.range);
    // Older than what is kept: it would go at once.
    store.configure(blocks(200));
    assert_eq!(gap(&store), Some(range(1024, 1300)));
    append_all(&store, &[apply(vec![toy.part(range(1301, 1500), range(1301, 1500), 32)])]);
    assert_eq!(gap(&store), None);
    store.configure(blocks(2000));
    assert_eq!(gap(&store), Some(range(1024, 1300)));
    // Asked for before the blocks around it went, and there after that.
    let late = toy.segment(range(1, 1023), false, b"");
    store.prepend(&toy.segment(range(1024, 1300), false, b""), Some(&toy.frames(range(1024, 1300), 32))).unwrap();
    assert_eq!((gap(&store), store.status().earliest), (Some(range(1, 1023)), Height::new(1024)));
    execute(&store, &Peer::new(0..9), 1500);
    store.set_snapshot_retention(SnapshotRetention { count: 1, max_age: None }).unwrap();
    store.configure(StoreConfig { retain_bytes: 1, ..StoreConfig::default() });
    assert_eq!((prune(&store), gap(&store)), (277, None));
    store.prepend(&late, None).unwrap();
    assert_eq!(store.status().earliest, Height::new(1301));
    drop(store);
    let store = open(dir.path()).unwrap();
    store.configure(blocks(2000));
    assert_eq!(gap(&store), None);
    // Whoever wants all blocks again gets them again.
    store.configure(StoreConfig::default());
    assert_eq!(gap(&store), Some(range(1024, 1300)));
    store.prepend(&toy.segment(range(1024, 1300), false, b""), Some(&toy.frames(range(1024, 1300), 32))).unwrap();
    check_served_above(&store, &toy, 1023, 1500);
    drop(store);
    check_served_above(&open(dir.path()).unwrap(), &toy, 1023, 1500);
}

#[test]
fn a_pruned_block_is_no_damage() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = whole(dir.path(), &toy);
    let path = dir.path().join(format!("segments/{:020}.seg", 1));
    // A damaged cell that goes is nobody's loss any more, and a reader of an earlier moment finds the next one.
    fs::write(&path, b"damaged").unwrap();
    assert!(store.bodies(range(1, 9), 100, &mut Vec::new()).is_err());
    assert_eq!((store.damage().borrow().len(), store.status().earliest), (1, Height::new(1024)));
    let before = store.view();
    store.configure(blocks(700));
    assert_eq!(prune(&store), 1500);
    assert!(store.damage().borrow().is_empty());
    assert!(store.stored_at(&before, Height::new(1024)).is_err());
    assert!(store.check_piece(&store.view(), Height::new(1024), None).unwrap().is_none());
    assert_eq!(store.patrol(Some(Height::new(5))).map(|(last, _)| last), Some(Height::new(2047)));
    let lost = toy.segment(range(1024, 1500), false, b"");
    assert_eq!(store.lost_segment(lost.range()).unwrap(), None);
    // It was being fetched again.
    store.replace_segment(&lost, None).unwrap();
    assert!(store.damage().borrow().is_empty());
    check_served_above(&store, &toy, 1500, 2600);
}

/// Copies the folder before every step of `prune`; each copy must open as it was before or after, and go on.
#[test]
fn kill_at_every_write_of_pruning() {
    let (root, toy) = (tempfile::tempdir().unwrap(), toy());
    let dir = root.path().join("store");
    let store = create(&dir, &toy);
    let applies = bulk(&toy);
    append_all(&store, &applies[..4]);
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (copies, from, to) = (taken.clone(), dir.clone(), root.path().to_owned());
    store.steps.set(Some(Box::new(move |step, _| {
        let mut copies = copies.lock().unwrap();
        let to = to.join(copies.len().to_string());
        copy(&from, &to);
        copies.push((step, to));
        Ok(())
    })));
    store.configure(blocks(200));
    assert_eq!(prune(&store), 2047);
    store.steps.set(None);
    let copies = std::mem::take(&mut *taken.lock().unwrap());
    let steps: Vec<Step> = copies.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [Step::Commit, Step::Committed, Step::Remove, Step::Remove, Step::Remove]);
    for (step, copied) in copies {
        let store = open(&copied).unwrap_or_else(|error| panic!("killed before {step:?}: {error}"));
        let earliest = if step == Step::Commit { 1 } else { 2048 };
        check(&store, &toy, earliest - 1, 2300);
        assert_eq!(file_names(&copied).len(), if step == Step::Commit { 4 } else { 1 }, "killed before {step:?}");
        append_all(&store, &applies[4..]);
        store.configure(blocks(200));
        assert_eq!(prune(&store), 2048 - earliest);
        check_served_above(&store, &toy, 2047, 2600);
    }
}

#[test]
fn a_disk_that_fails_while_pruning_loses_nothing() {
    for failing in [Step::Commit, Step::Committed, Step::Remove] {
        let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
        let store = whole(dir.path(), &toy);
        store.configure(blocks(700));
        let fail = move |step, _: &Path| if step == failing { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) };
        store.steps.set(Some(Box::new(fail)));
        match store.prune(Height::new(2600)) {
            Err(error) => assert!(failing != Step::Remove && error.is_disk_full(), "{error}"),
            // Files that stay for now.
            Ok(pruned) => assert_eq!((failing, pruned), (Step::Remove, Pruned { blocks: 1500, bytes: 0 })),
        }
        store.steps.set(None);
        prune(&store);
        check_served_above(&store, &toy, 1500, 2600);
        drop(store);
        let store = open(dir.path()).unwrap();
        check_served_above(&store, &toy, 1500, 2600);
        assert_eq!(file_names(dir.path()), names(&CELLS[2..]));
    }
}

#[test]
fn below_the_least_free_disk_nothing_is_taken_in() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    let applies = bulk(&toy);
    append_all(&store, &applies[..3]);
    let least = StoreConfig { min_free_disk: u64::MAX, retain_blocks: 1, ..StoreConfig::default() };
    store.configure(least);
    let refused = |failure: StoreFailure| {
        let text = failure.to_string();
        assert!(failure.is_transient() && failure.is_disk_full(), "{text}");
        assert!(text.contains("min_free_disk") && text.contains("free disk space"), "{text}");
    };
    let before = file_names(dir.path());
    refused(store.append(&applies[3]).unwrap_err());
    refused(crate::store::StateStaging::stage(&store, &[]).unwrap_err());
    let gap = toy.segment(range(1, 1023), false, b"");
    refused(store.prepend(&gap, None).unwrap_err());
    assert_eq!((store.stored(), file_names(dir.path())), (toy.point(1100), before));
    // What makes room goes on, and so does what is stored already.
    execute(&store, &Peer::new(0..9), 1100);
    assert_eq!(prune(&store), 1023);
    store.configure(StoreConfig { min_free_disk: 1, ..least });
    append_all(&store, &applies[3..]);
    assert_eq!(store.stored(), toy.point(2600));
    assert!(store.free_disk().unwrap() > 0);
}

#[test]
fn a_range_below_the_store_is_nobodys_segment() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = whole(dir.path(), &toy);
    store.configure(blocks(1));
    assert_eq!(prune(&store), 2047);
    // The seam is between two files, one of which is gone.
    let seam = HeightRange::new(Height::new(2040), Height::new(2050)).unwrap();
    assert_eq!(store.segment(seam, false, false).unwrap(), None);
    assert!(!store.bodies(seam, 1000, &mut Vec::new()).unwrap());
    assert!(store.header_at(Height::new(2047)).unwrap().is_none());
    assert!(store.header_at(Height::new(2048)).unwrap().is_some());
}
