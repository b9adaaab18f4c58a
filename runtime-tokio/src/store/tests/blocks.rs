//! Stored blocks, by bulk and near the tip, before and after a restart.

use hotstuff2_sync::calls::ApplyPart;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::serve::ChainReader as _;

use super::toy::{Toy, apply, range};
use super::{CELLS, Store, append_all, bulk, check_served, create, file_names, following, open, toy};
use crate::store::{BlockStore as _, OpenError, StoreFailure};

#[test]
fn a_new_store_stands_at_its_anchor() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = Store::create(dir.path(), super::Arc::new(super::ToyChain), &toy.anchor()).unwrap();
    assert_eq!(store.stored(), toy.point(0));
    assert_eq!(store.tip().unwrap(), None);
    assert_eq!((store.status().earliest, store.status().tip), (Height::new(1), Height::ZERO));
    assert_eq!(store.epochs().unwrap(), (toy.epoch(0), vec![]));
    assert_eq!(store.follow_range(Height::ZERO), None);
    assert_eq!(store.segment(range(1, 1023), false, false).unwrap(), None);
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!((store.stored(), &store.genesis()[..]), (toy.point(0), &b"genesis document"[..]));
    assert_eq!(crate::store::read_genesis(dir.path()).unwrap(), "genesis document");
}

#[test]
fn bulk_blocks_survive_a_restart_at_every_batch() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    drop(create(dir.path(), &toy));
    for apply in bulk(&toy) {
        let store = open(dir.path()).unwrap();
        store.append(&apply).unwrap();
        check_served(&store, &toy, apply.range().unwrap().last().get());
        drop(store);
        check_served(&open(dir.path()).unwrap(), &toy, apply.range().unwrap().last().get());
    }
    let names = CELLS.map(|(first, _)| format!("{first:020}.seg"));
    assert_eq!(file_names(dir.path()), names);
    let report = open(dir.path()).unwrap().check(|_| ()).unwrap();
    assert_eq!((report.blocks, report.segments), (2600, 4));
}

#[test]
fn sealing_from_the_tail_equals_bulk() {
    let (bulk_dir, tail_dir, toy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), toy());
    // Frames that don't depend on the way that the blocks came.
    let whole = CELLS.map(|(first, last)| apply(vec![toy.part(range(first, last), range(first, last), 1)]));
    append_all(&create(bulk_dir.path(), &toy), &whole);
    let store = create(tail_dir.path(), &toy);
    for step in following(&toy, 9) {
        let part = &step.parts[0];
        let frames = toy.frames(part.range().unwrap(), 1);
        store.append(&apply(vec![ApplyPart { segment: part.segment.clone(), frames, executed: false }])).unwrap();
    }
    assert_eq!(file_names(tail_dir.path()), file_names(bulk_dir.path()));
    for name in file_names(bulk_dir.path()) {
        let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join("segments").join(&name)).unwrap();
        assert_eq!(read(&bulk_dir), read(&tail_dir), "{name}");
    }
    check_served(&store, &toy, 2600);
    assert!(store.view().unsealed.is_empty());
    drop(store);
    let store = open(tail_dir.path()).unwrap();
    check_served(&store, &toy, 2600);
    for prefix in [&b"s/"[..], b"a/", b"f/"] {
        assert_eq!(store.db.scan(super::super::db::Space::Tail, prefix).unwrap(), [], "the tail is empty");
    }
}

#[test]
fn a_cell_without_a_proof_of_its_end_waits_for_one() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), Toy::new(&[4600], |_| 10));
    let store = create(dir.path(), &toy);
    let uncertified = |first, last| ApplyPart {
        segment: toy.segment(range(first, last), false, b""),
        frames: toy.frames(range(first, last), 32),
        executed: false,
    };
    store.append(&apply(vec![uncertified(1, 500), uncertified(501, 1023)])).unwrap();
    assert_eq!(file_names(dir.path()), [""; 0]);
    // A proof 64 blocks above the cell's end is as far as proofs of this chain reach.
    store.append(&apply(vec![toy.part(range(1024, 1087), range(1024, 1087), 32)])).unwrap();
    assert_eq!(file_names(dir.path()), ["00000000000000000001.seg"]);
    let served = store.segment(range(1, 1023), true, false).unwrap().unwrap();
    assert_eq!(served.segment, toy.segment_bytes(range(1, 1023), true));

    // The next cell never gets a proof, and is sealed when it can't get one any more.
    store.append(&apply(vec![uncertified(1088, 2047), uncertified(2048, 2111)])).unwrap();
    assert_eq!(file_names(dir.path()).len(), 1);
    // A whole cell that comes in bulk needn't wait for the one below.
    let certified = |first, last| toy.part(range(first, last), range(first, last), 32);
    let rest = [uncertified(2112, 3071), certified(3072, 4095), certified(4096, 4600)];
    store.append(&apply(rest.to_vec())).unwrap();
    assert_eq!(file_names(dir.path()).len(), 5);
    assert_eq!(store.segment(range(1024, 2047), true, false).unwrap(), None);
    let anchored = store.segment(range(1024, 2047), false, false).unwrap().unwrap();
    assert_eq!(anchored.segment, toy.segment_bytes(range(1024, 2047), false));
    check_served(&store, &toy, 4600);
    drop(store);
    check_served(&open(dir.path()).unwrap(), &toy, 4600);
}

#[test]
fn headers_of_the_rest_of_a_cell_continue_its_file() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    store.append(&apply(vec![toy.part(range(1, 1023), range(1, 300), 100)])).unwrap();
    // After a crash the machine asks from the head on.
    store.append(&apply(vec![toy.part(range(301, 1023), range(301, 500), 100)])).unwrap();
    store.append(&apply(vec![toy.part(range(501, 700), range(501, 700), 100)])).unwrap();
    store.append(&apply(vec![toy.part(range(701, 1023), range(701, 1023), 100)])).unwrap();
    assert_eq!(file_names(dir.path()), ["00000000000000000001.seg"]);
    check_served(&store, &toy, 1023);
    let served = store.segment(range(1, 1023), true, false).unwrap().unwrap();
    assert_eq!(served.segment, toy.segment_bytes(range(1, 1023), true));
}

#[test]
fn headers_that_were_stored_ahead_give_way_to_longer_ones() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    store.append(&apply(vec![toy.part(range(1, 400), range(1, 300), 100)])).unwrap();
    store.append(&apply(vec![toy.part(range(301, 600), range(301, 350), 100)])).unwrap();
    // A whole cell's headers, with bodies from the middle on.
    store.append(&apply(vec![toy.part(range(1, 1023), range(351, 800), 100)])).unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    check_served(&store, &toy, 800);
    store.append(&apply(vec![toy.part(range(801, 1023), range(801, 1023), 100)])).unwrap();
    check_served(&store, &toy, 1023);
    assert_eq!(file_names(dir.path()), ["00000000000000000001.seg"]);
}

#[test]
fn a_call_may_be_made_again() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    for apply in bulk(&toy) {
        store.append(&apply).unwrap();
        store.append(&apply).unwrap();
    }
    check_served(&store, &toy, 2600);
    store.put_handovers(&toy.handovers()).unwrap();
    assert_eq!(store.epochs().unwrap(), (toy.epoch(1), vec![]));
}

#[test]
fn blocks_that_do_not_continue_are_refused() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let other = Toy::new(&[1500, 2600], |height| (height % 5) as usize);
    let store = create(dir.path(), &toy);
    let refused = |apply| {
        let error = store.append(&apply).unwrap_err();
        assert!(matches!(error, StoreFailure::Refused { .. }) && !error.is_transient(), "{error}");
        error.to_string()
    };
    refused(apply(vec![toy.part(range(1, 1023), range(2, 10), 4)]));
    store.append(&apply(vec![toy.part(range(1, 1023), range(1, 10), 4)])).unwrap();
    refused(apply(vec![toy.part(range(1, 1023), range(12, 20), 4)]));
    let fork = refused(apply(vec![other.part(range(11, 1023), range(11, 20), 4)]));
    assert!(fork.contains(&toy.point(10).id.to_string()), "{fork}");
    // The right parent, other blocks above it.
    let mut lie = toy.part(range(11, 1023), range(11, 20), 4);
    lie.segment = {
        let (honest, epoch) = (lie.segment.clone(), Epoch::ZERO);
        let mut facts = hotstuff2_sync::chain::SegmentFacts {
            range: honest.range(),
            parent_id: honest.parent_id(),
            last_id: Hash::ZERO,
            last_timestamp: honest.last_timestamp(),
            payload_lens: honest.payload_lens().to_vec(),
            quorum_checks: 1,
        };
        facts.last_id = other.point(1023).id;
        hotstuff2_sync::chain::SegmentRef::trusted(epoch, facts, honest.bytes().clone(), "".into(), Default::default())
    };
    refused(apply(vec![lie]));
    // Unknown epoch.
    let (dir, toy) = (tempfile::tempdir().unwrap(), Toy::new(&[100, 200], |_| 1));
    let store = Store::create(dir.path(), super::Arc::new(super::ToyChain), &toy.anchor()).unwrap();
    store.append(&apply(vec![toy.part(range(1, 100), range(1, 100), 100)])).unwrap();
    let error = store.append(&apply(vec![toy.part(range(101, 200), range(101, 200), 100)])).unwrap_err();
    assert!(error.to_string().contains("no trusted epoch"), "{error}");
    check_served(&store, &toy, 100);
}

#[test]
fn a_store_may_begin_in_the_middle_of_a_cell() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = Store::create(dir.path(), super::Arc::new(super::ToyChain), &toy.anchor_at(1200)).unwrap();
    store.put_handovers(&toy.handovers()).unwrap();
    store.append(&apply(vec![toy.part(range(1201, 1500), range(1201, 1500), 100)])).unwrap();
    store.append(&apply(vec![toy.part(range(1501, 2047), range(1501, 1600), 100)])).unwrap();
    assert_eq!(file_names(dir.path()), ["00000000000000001201.seg", "00000000000000001501.part"]);
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!((store.stored(), store.status().earliest), (toy.point(1600), Height::new(1201)));
    let mut out = Vec::new();
    assert!(!store.bodies(range(1200, 1300), 100, &mut out).unwrap());
    assert!(store.bodies(range(1201, 1300), 100_000, &mut out).unwrap());
    assert_eq!(toy.check_bodies(out.into(), 1201), 1301);
    assert_eq!(store.check(|_| ()).unwrap().blocks, 400);
}

#[test]
fn handovers_and_epochs() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), Toy::new(&[10, 20, 30], |_| 1));
    let store = create(dir.path(), &toy);
    assert_eq!(store.epochs().unwrap(), (toy.epoch(0), toy.handovers()));
    for (number, expected) in [(0, Some("handover 0")), (1, Some("handover 1")), (2, None)] {
        assert_eq!(store.handover(Epoch::new(number)).unwrap(), expected.map(Into::into));
    }
    append_all(&store, &[apply(vec![toy.part(range(1, 10), range(1, 10), 10)])]);
    drop(store);
    // The last block of an epoch belongs to it.
    let store = open(dir.path()).unwrap();
    assert_eq!(store.epochs().unwrap(), (toy.epoch(0), toy.handovers()));
    append_all(&store, &[apply(vec![toy.part(range(11, 20), range(11, 15), 10)])]);
    assert_eq!(store.epochs().unwrap(), (toy.epoch(1), toy.handovers().split_off(1)));
    // Also those of heights that are not stored yet, and of those that ended long ago.
    for (height, epoch) in [(0, Some(0)), (10, Some(0)), (11, Some(1)), (30, Some(2)), (31, None)] {
        assert_eq!(store.epoch_of(Height::new(height)).unwrap(), epoch.map(|epoch| toy.epoch(epoch)), "{height}");
    }
    let mut gap = toy.handovers();
    gap[1].epoch = toy.epoch(1);
    drop(store);
    let (dir, store_dir) = (tempfile::tempdir().unwrap(), dir);
    let store = Store::create(dir.path(), super::Arc::new(super::ToyChain), &toy.anchor()).unwrap();
    assert!(matches!(store.put_handovers(&toy.handovers()[1..]), Err(StoreFailure::Refused { .. })));
    assert!(matches!(open(dir.path()), Err(OpenError::InUse(_))));
    assert!(open(store_dir.path()).is_ok());
}
