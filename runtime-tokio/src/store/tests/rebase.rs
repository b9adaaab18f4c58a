//! After an activation the blocks begin above the block whose state was fetched, and everything goes on from there.

use std::path::Path;
use std::sync::Arc;

use hotstuff2_sync::calls::{BlockPoint, Holding, SnapshotBase};
use hotstuff2_sync::chain::Finalized;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync::state::{PLACEHOLDER, Prefix, StateItem};

use super::staging::{Peer, check_live, execute};
use super::toy::{Toy, apply, range};
use super::{Store, append_all, create, file_names, following, open, toy};
use crate::store::{Activation, BlockStore, DiskStore, HistoryStore as _, StateStaging as _, StateStore as _};

/// The blocks above `base` up to `last`, in small segments.
fn above(toy: &Toy, base: u64, last: u64, step: u64) -> Vec<hotstuff2_sync::calls::Apply> {
    let cells = super::CELLS.iter().map(|&(first, last)| (first.max(base + 1), last));
    let mut applies = Vec::new();
    for (mut first, cell_last) in cells {
        while first <= cell_last.min(last) {
            let end = cell_last.min(last).min(first + step - 1);
            applies.push(apply(vec![toy.part(range(first, end), range(first, end), 32)]));
            first = end + 1;
        }
    }
    applies
}

/// Exactly the blocks above `base` up to `head` are there, and are served.
pub(super) fn check_served_above(store: &Store, toy: &Toy, base: u64, head: u64) {
    assert_eq!(store.stored(), toy.point(head));
    assert_eq!(store.status().earliest, Height::new(base + 1));
    let mut height = base + 1;
    while height <= head {
        let mut out = Vec::new();
        assert!(store.bodies(range(height, toy.last()), 4000, &mut out).unwrap(), "bodies from {height}");
        height = toy.check_bodies(out.into(), height);
    }
    for missing in [1, base, head + 1] {
        assert!(!store.bodies(HeightRange::single(Height::new(missing)), 1, &mut Vec::new()).unwrap(), "{missing}");
    }
    assert_eq!(store.check(|_| ()).unwrap().blocks, head - base);
}

pub(super) fn activate(store: &Store, peer: &Peer, base: &SnapshotBase) {
    peer.fetch_into(store, 100);
    assert_eq!(store.activate(base).unwrap(), Activation::Activated);
}

/// A store with blocks in files and in the tail, and a state.
fn with_blocks(dir: &Path, toy: &Arc<Toy>) -> Store {
    let store = create(dir, toy);
    append_all(&store, &following(toy, 100)[..13]);
    execute(&store, &Peer::new(0..50), 700);
    store
}

#[test]
fn the_blocks_begin_above_the_base() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = with_blocks(dir.path(), &toy);
    assert_eq!(store.stored(), toy.point(1223));
    assert_eq!(file_names(dir.path()).len(), 1);
    let served = store.segment(range(1100, 1150), false, false).unwrap();
    assert!(served.is_some());
    let peer = Peer::new(0..300);
    let base = peer.base(&toy, 1300, 1320);
    activate(&store, &peer, &base);

    let check = |store: &Store| {
        check_served_above(store, &toy, 1300, 1300);
        check_live(store, &peer);
        assert_eq!(file_names(dir.path()), [""; 0]);
        assert_eq!((store.applied(), store.stored()), (Height::new(1300), toy.point(1300)));
        let proof = Finalized::Segment(toy.segment_bytes(range(1300, 1320), true), Height::new(1300));
        assert_eq!(store.stored_proof().unwrap(), Some(proof));
        let (epoch, handovers) = store.epochs().unwrap();
        assert_eq!((epoch.epoch(), handovers.len()), (Epoch::new(0), 1));
        assert!(store.handover(Epoch::new(0)).unwrap().is_some());
        assert_eq!(store.segment(range(1100, 1150), false, false).unwrap(), None);
        let status = store.status();
        assert_eq!((status.tip, status.epoch), (Height::new(1300), Epoch::new(0)));
        // The proof of the base is near enough to make a tip of it.
        let tip = postcard::to_allocvec(&(Height::new(1300), toy.point(1300).id)).unwrap();
        assert_eq!(store.tip().unwrap(), Some(tip.into()));
        let block = store.base().unwrap().unwrap();
        assert_eq!((block.height, block.id, block.state_root), (Height::new(1300), base.point.id, base.state_root));
    };
    check(&store);
    drop(store);
    let store = open(dir.path()).unwrap();
    check(&store);
}

#[test]
fn cells_above_the_base_are_appended_sealed_and_served() {
    for (base, step) in [(1300, 40), (1300, 1000), (1500, 100), (1023, 200), (1499, 7)] {
        let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
        let store = with_blocks(dir.path(), &toy);
        let peer = Peer::new(0..30);
        activate(&store, &peer, &peer.base(&toy, base, base));
        let (mut store, mut head) = (Some(store), base);
        for apply in above(&toy, base, 2600, step) {
            // The whole cell of the grid is not there, so the part above the base is a cell of its own.
            store.as_ref().unwrap().append(&apply).unwrap();
            head = apply.range().unwrap().last().get();
            if head % 3 == 0 {
                drop(store.take());
                store = Some(open(dir.path()).unwrap());
            }
            check_served_above(store.as_ref().unwrap(), &toy, base, head);
        }
        let store = store.unwrap();
        assert_eq!(head, 2600);
        let mut cells = super::CELLS.map(|(first, last)| (first.max(base + 1), last)).to_vec();
        cells.retain(|(first, last)| first <= last);
        let names: Vec<_> = cells.iter().map(|(first, _)| format!("{first:020}.seg")).collect();
        assert_eq!(file_names(dir.path()), names, "base {base}, step {step}");
        for (first, last) in cells {
            let served = store.segment(range(first, last), true, false).unwrap();
            assert!(served.is_some(), "{first}..={last} above {base}");
            assert_eq!(store.follow_range(Height::new(first - 1)), Some(range(first, last)));
        }
        let part = BlockStore::read(&store, range(base + 1, 2600), u64::MAX).unwrap().unwrap();
        assert_eq!(part.range().unwrap().first(), Height::new(base + 1));
        drop(store);
        check_served_above(&open(dir.path()).unwrap(), &toy, base, 2600);
    }
}

#[test]
fn a_base_may_come_again() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    let mut peer = Peer::new(0..300);
    let mut below = 0;
    for base in [600, 1023, 1700, 2100] {
        append_all(&store, &above(&toy, below, base - 100, 90));
        peer.set(0..3, &format!("{base}"));
        activate(&store, &peer, &peer.base(&toy, base, base));
        check_served_above(&store, &toy, base, base);
        check_live(&store, &peer);
        below = base;
    }
    append_all(&store, &above(&toy, below, 2600, 90));
    check_served_above(&store, &toy, 2100, 2600);
    drop(store);
    let store = open(dir.path()).unwrap();
    check_served_above(&store, &toy, 2100, 2600);
    check_live(&store, &peer);
}

/// The answer to an activation may be lost, and the call made again; by then nothing is staged.
#[test]
fn an_activation_that_comes_again_counts_as_done_while_nothing_else_is_staged() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    let (peer, other) = (Peer::new(0..300), Peer::new(0..301));
    let base = peer.base(&toy, 600, 600);
    activate(&store, &peer, &base);
    assert_eq!(store.activate(&base).unwrap(), Activation::Activated);
    check_live(&store, &peer);
    other.fetch_into(&store, 100);
    let found = other.0.root();
    assert_eq!(
        store.activate(&base).unwrap(),
        Activation::RootMismatch { found },
        "what is staged now is not that state"
    );
    check_live(&store, &peer);
}

/// Blocks were stored up to above the snapshot, and not executed. What is stored twice is fetched again.
#[test]
fn a_base_may_lie_below_the_head() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = with_blocks(dir.path(), &toy);
    let peer = Peer::new(0..300);
    activate(&store, &peer, &peer.base(&toy, 800, 800));
    check_served_above(&store, &toy, 800, 800);
    append_all(&store, &above(&toy, 800, 2600, 150));
    check_served_above(&store, &toy, 800, 2600);
    drop(store);
    check_served_above(&open(dir.path()).unwrap(), &toy, 800, 2600);
}

#[test]
fn a_proof_apart_from_the_headers_is_kept() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = with_blocks(dir.path(), &toy);
    let peer = Peer::new(0..3);
    let segment = toy.segment(range(1300, 1400), false, b"");
    let base = SnapshotBase { segment, tip: Some(b"a tip"[..].into()), ..peer.base(&toy, 1300, 1300) };
    activate(&store, &peer, &base);
    let segment = toy.segment_bytes(range(1300, 1400), false);
    let (proven, tip) = (segment.clone(), b"a tip"[..].into());
    let proof = Finalized::Anchored { segment: proven, tip, height: Height::new(1300) };
    // The tip is that of a block which isn't stored, and proves the base to others as well. No block is offered with it.
    let check = |store: &Store, earliest: u64| {
        assert_eq!(store.tip().unwrap(), Some(b"a tip"[..].into()));
        let status = store.status();
        assert_eq!((status.earliest, status.tip), (Height::new(earliest), Height::new(1400)));
        assert_eq!(store.segment(range(1300, 1400), false, false).unwrap().unwrap().segment, segment);
    };
    check(&store, 1401);
    assert_eq!(store.stored_proof().unwrap(), Some(proof.clone()));
    drop(store);
    let store = open(dir.path()).unwrap();
    check(&store, 1401);
    assert_eq!(store.stored_proof().unwrap(), Some(proof));
    for (first, last, earliest) in [(1301, 1350, 1401), (1351, 1399, 1401), (1400, 1400, 1301)] {
        let part = toy.part(range(first, last), range(first, last), 32);
        // Blocks up to the tip may have a proof of their own, which is older.
        let own = (last < 1400).then(|| format!("tip of {last}").into());
        store.append(&hotstuff2_sync::calls::Apply { tip: own, ..apply(vec![part]) }).unwrap();
        if last < 1400 {
            check(&store, earliest);
        }
    }
    assert_eq!((store.status().earliest, store.status().tip), (Height::new(1301), Height::new(1400)));
}

/// A peer that fetches the state that was fetched here must be able to prove it.
#[test]
fn the_header_of_the_base_is_served_though_its_block_is_not() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = with_blocks(dir.path(), &toy);
    let peer = Peer::new(0..30);
    activate(&store, &peer, &peer.base(&toy, 1300, 1320));
    assert_eq!(store.snapshots().iter().map(|kept| kept.height.get()).collect::<Vec<_>>(), [1300]);
    let claim = store.status().snapshots.unwrap();
    assert_eq!((claim.oldest, claim.newest), (Height::new(1300), Height::new(1300)));
    let check = |store: &Store, last: u64, certified: bool| {
        let served = store.segment(range(1300, last), certified, false).unwrap();
        assert_eq!(
            served.map(|served| served.segment),
            Some(toy.segment_bytes(range(1300, last), certified)),
            "{last}"
        );
    };
    for (last, certified) in [(1300, false), (1310, false), (1320, false), (1320, true)] {
        check(&store, last, certified);
    }
    // Not what isn't there: the block below, more headers than were fetched, certificates of single blocks, the payload.
    for (first, last, audit) in [(1299, 1320, false), (1300, 1321, false), (1300, 1320, true)] {
        assert_eq!(store.segment(range(first, last), false, audit).unwrap(), None, "{first} to {last}");
    }
    assert!(!store.bodies(range(1300, 1300), 4000, &mut Vec::new()).unwrap());

    // Following, it goes together with the headers that come.
    for apply in above(&toy, 1300, 2600, 40) {
        store.append(&apply).unwrap();
        let head = store.stored().height.get().min(1500);
        for last in [1300, 1310, head] {
            check(&store, last, false);
        }
        check(&store, head, true);
    }
    drop(store);
    let store = open(dir.path()).unwrap();
    check(&store, 1500, true);
    // With history below, the block is stored as others are.
    let history = toy.segment(range(1024, 1300), false, b"");
    let frames = toy.frames(range(1024, 1300), 32);
    store.prepend(&history, Some(&frames)).unwrap();
    check(&store, 1500, true);
    assert!(store.segment(range(1299, 1320), false, false).unwrap().is_some());
}

#[test]
fn a_base_that_does_not_fit_is_refused() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let peer = Peer::new(0..3);
    let store = DiskStore::create(dir.path(), Arc::new(super::toy::ToyChain), &toy.anchor_at(300)).unwrap();
    peer.fetch_into(&store, 100);
    let good = peer.base(&toy, 1300, 1310);
    let wrong = [
        (SnapshotBase { point: toy.point(1301), ..good.clone() }, "don't begin with"),
        (
            SnapshotBase { point: BlockPoint { id: toy.point(1301).id, ..good.point }, ..good.clone() },
            "don't begin with",
        ),
        (SnapshotBase { segment: toy.segment(range(1299, 1310), true, b""), ..good.clone() }, "don't begin with"),
        (peer.base(&toy, 200, 210), "below the anchor"),
        (peer.base(&toy, 1600, 1610), "no epoch whose handover is stored"),
    ];
    for (base, what) in wrong {
        let error = store.activate(&base).unwrap_err();
        assert!(!error.is_transient() && error.to_string().contains(what), "{error}");
    }
    assert_eq!(store.activate(&good).unwrap(), Activation::Activated);
    store.put_handovers(&toy.handovers()).unwrap();
    append_all(&store, &above(&toy, 1300, 2600, 300));
    check_served_above(&store, &toy, 1300, 2600);
}

/// A checkpoint's block is trusted, and its state is still to be fetched.
#[test]
fn the_state_of_the_anchor_itself_can_be_activated() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = DiskStore::create(dir.path(), Arc::new(super::toy::ToyChain), &toy.anchor_at(600)).unwrap();
    let peer = Peer::new(0..30);
    activate(&store, &peer, &peer.base(&toy, 600, 600));
    check_live(&store, &peer);
}

/// Answers from the old blocks are forgotten: they must not be served from a cache.
#[test]
fn nothing_old_is_served_from_a_cache() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    append_all(&store, &super::bulk(&toy));
    let mut out = Vec::new();
    assert!(store.bodies(range(1, 2600), u32::MAX, &mut out).unwrap());
    let whole = store.segment(range(1024, 1500), true, false).unwrap();
    assert!(whole.is_some() && store.segment(range(1030, 1040), false, false).unwrap().is_some());
    let peer = Peer::new(0..3);
    activate(&store, &peer, &peer.base(&toy, 1300, 1300));
    append_all(&store, &above(&toy, 1300, 2600, 150));
    for gone in [(1024, 1500), (1030, 1040), (1299, 1300), (1, 1023)] {
        assert_eq!(store.segment(range(gone.0, gone.1), false, false).unwrap(), None, "{gone:?}");
    }
    let empty = StateItem { prefix: Prefix::ROOT, hash: PLACEHOLDER };
    assert_eq!(store.survey(&[empty]).unwrap(), [Holding::Held]);
}
