//! Answers for peers and for a local replay: stored bytes where whole things are asked for, cut ones elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::ApplyPart;
use hotstuff2_sync::chain::Chain as _;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::serve::{ChainReader as _, respond};
use hotstuff2_sync::wire::{Answer, Request, Sections};

use super::toy::{Toy, ToyChain, apply, range};
use super::{CELLS, append_all, bulk, check_served, create, following, open, toy};
use crate::store::BlockStore as _;
use crate::store::steps::Step;

#[test]
fn whole_segments_and_frames_are_served_byte_for_byte() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    append_all(&store, &bulk(&toy));
    for (first, last) in CELLS {
        for certified in [false, true] {
            let served = store.segment(range(first, last), certified, false).unwrap().unwrap();
            assert_eq!((served.segment, served.audit), (toy.segment_bytes(range(first, last), true), Bytes::new()));
        }
    }
    let wires: Vec<u8> =
        bulk(&toy)[..3].iter().flat_map(|apply| &apply.parts[0].frames).flat_map(|frame| frame.wire.to_vec()).collect();
    let mut out = Vec::new();
    assert!(store.bodies(range(1, 1023), u32::MAX, &mut out).unwrap());
    assert_eq!(out, wires);
    assert_eq!(store.segment(range(1, 1024), false, false).unwrap(), None, "two cells");
    assert_eq!(store.segment(range(2600, 2601), false, false).unwrap(), None, "above the chain");
}

#[test]
fn parts_of_segments_are_cut() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    append_all(&store, &bulk(&toy));
    // No proof reaches down more than 64 blocks.
    assert_eq!(store.segment(range(10, 900), true, false).unwrap(), None);
    for (first, last, certified) in
        [(10, 900, false), (1, 1, false), (960, 1000, true), (960, 1023, true), (2590, 2595, true)]
    {
        for _ in 0..2 {
            let served = store.segment(range(first, last), certified, false).unwrap().unwrap();
            assert_eq!(served.segment, toy.segment_bytes(range(first, last), certified), "{first}..={last}");
        }
    }
}

#[test]
fn audits_are_served_with_the_segment_that_they_came_with() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), Toy::new(&[1500], |_| 3));
    let store = create(dir.path(), &toy);
    let part = |first, last, audit| ApplyPart {
        segment: toy.segment(range(first, last), true, audit),
        frames: toy.frames(range(first, last), 64),
        executed: false,
    };
    append_all(
        &store,
        &[apply(vec![part(1, 1023, b"certificates")]), apply(vec![part(1024, 1100, b"more"), part(1101, 1200, b"")])],
    );
    drop(store);
    let store = open(dir.path()).unwrap();
    for ((first, last), audit) in
        [((1, 1023), Some("certificates")), ((1, 1000), None), ((1024, 1100), Some("more")), ((1101, 1200), None)]
    {
        let served = store.segment(range(first, last), true, true).unwrap();
        assert_eq!(served.map(|served| served.audit), audit.map(Bytes::from), "{first}..={last}");
    }
    store.append(&apply(vec![part(1201, 1500, b"")])).unwrap();
    assert_eq!(store.segment(range(1024, 1500), true, true).unwrap(), None);
    assert!(store.segment(range(1024, 1500), true, false).unwrap().is_some());
}

#[test]
fn bodies_keep_to_the_budget_and_the_range() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), Toy::new(&[1023], |_| 100));
    let store = create(dir.path(), &toy);
    append_all(&store, &[apply(vec![toy.part(range(1, 1023), range(1, 1023), 10)])]);
    for (first, last, max_bytes, end) in [
        (1, 1023, 100, 1),    // exactly
        (1, 1023, 250, 2),    // as many as fit
        (1, 1023, 2_999, 20), // then whole frames
        (5, 1023, 2_999, 30), // a frame's rest first
        (5, 7, 2_999, 7),     // within one frame
        (5, 15, 2_999, 15),   // both ends cut
        (1000, 1023, 99_999, 1023),
    ] {
        let mut out = Vec::new();
        assert!(store.bodies(range(first, last), max_bytes, &mut out).unwrap());
        assert_eq!(toy.check_bodies(out.into(), first), end + 1, "{first}..={last} {max_bytes}");
    }
    let mut out = b"before".to_vec();
    assert!(!store.bodies(range(7, 1023), 99, &mut out).unwrap(), "the first block has more");
    assert_eq!(out, b"before");
}

#[test]
fn tip_and_follow() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    let mut tips = store.subscribe();
    assert_eq!(*tips.borrow_and_update(), Height::ZERO);
    let steps = following(&toy, 100);
    store.append(&steps[0]).unwrap();
    assert!(tips.has_changed().unwrap());
    assert_eq!(*tips.borrow_and_update(), Height::new(100));
    assert_eq!(store.follow_range(Height::ZERO), Some(range(1, 100)));
    store.append(&steps[1]).unwrap();
    assert_eq!(store.follow_range(Height::new(40)), Some(range(41, 200)));
    assert_eq!(store.follow_range(Height::new(200)), None);
    assert_eq!(store.tip().unwrap(), ToyChain.tip_of(&toy.segment_bytes(range(101, 200), true)));

    // Bodies short of the certified end: the proof is there, the tip waits.
    store.append(&apply(vec![toy.part(range(201, 300), range(201, 250), 50)])).unwrap();
    assert_eq!((store.status().tip, store.status().epoch), (Height::new(200), Epoch::ZERO));
    assert_eq!(store.follow_range(Height::new(200)), Some(range(201, 300)));
    assert_eq!(store.follow_range(Height::new(250)), None);

    // A tip of its own.
    let tip = Bytes::from_static(b"tip at 260");
    let anchored = ApplyPart {
        segment: toy.segment(range(251, 260), false, b""),
        frames: toy.frames(range(251, 260), 5),
        executed: false,
    };
    store.append(&hotstuff2_sync::calls::Apply { tip: Some(tip.clone()), ..apply(vec![anchored]) }).unwrap();
    assert_eq!((store.status().tip, store.tip().unwrap()), (Height::new(260), Some(tip.clone())));
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!((store.status().tip, store.tip().unwrap()), (Height::new(260), Some(tip)));
    assert_eq!(*store.subscribe().borrow(), Height::new(260));
    append_all(&store, &[apply(vec![toy.part(range(261, 1023), range(261, 1023), 50)])]);
    assert_eq!(store.follow_range(Height::new(500)), Some(range(501, 1023)), "sealed");

    let request = Request::Follow { after: Height::new(1000), max_bytes: 1 << 20, audit: false };
    let Ok(Answer::Data(body)) = Answer::decode(respond(&request, &store).unwrap()) else { panic!("an answer") };
    let mut sections = Sections::new(body);
    assert_eq!(sections.take().unwrap(), toy.segment_bytes(range(1001, 1023), true));
    assert_eq!(sections.take().unwrap(), "");
    assert_eq!(toy.check_bodies(sections.rest(), 1001), 1024);
}

#[test]
fn a_batch_serves_the_proof_of_the_last_segment_that_it_completes() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    append_all(&store, &bulk(&toy)[..3]);
    assert_eq!((store.stored(), store.status().tip), (toy.point(1100), Height::new(1023)));
}

#[test]
fn replay_reads_what_was_stored() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    append_all(&store, &bulk(&toy)[..4]);
    append_all(&store, &[]);
    let mut next = 57;
    while let Some(part) = store.read(range(next, 2290.max(next)), 700).unwrap() {
        let read = part.range().unwrap();
        assert_eq!(read.first().get(), next);
        assert!(part.segment.range().covers(read));
        assert_eq!(part.segment.bytes(), &toy.segment_bytes(part.segment.range(), true));
        assert_eq!(part.segment.ids(&ToyChain, read).unwrap()[0], toy.point(next).id);
        for frame in &part.frames {
            let payloads: Vec<u8> = (frame.range.first().get()..=frame.range.last().get())
                .flat_map(|height| toy.payload(height).to_vec())
                .collect();
            assert_eq!(frame.raw, payloads);
        }
        next = read.last().get() + 1;
        if next > 2290 {
            break;
        }
    }
    assert_eq!(next, 2291);
    assert_eq!(store.read(range(2301, 2400), 1).unwrap(), None);
}

#[test]
fn readers_and_a_writer_at_once() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    let done = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4u64)
            .map(|seed| {
                let (store, toy, done) = (&store, &toy, &done);
                scope.spawn(move || {
                    let (mut reads, mut at) = (0, seed);
                    while !done.load(Ordering::Relaxed) || reads == 0 {
                        let head = store.stored().height.get();
                        if head == 0 {
                            continue;
                        }
                        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed + 1);
                        let first = 1 + (at >> 20) % head;
                        let last = CELLS.iter().find(|cell| cell.1 >= first).unwrap().1.min(head);
                        let served = store.segment(range(first, last), false, false).unwrap().unwrap();
                        assert_eq!(served.segment.len(), toy.segment_bytes(range(first, last), false).len());
                        let mut out = Vec::new();
                        assert!(store.bodies(range(first, last), 5_000, &mut out).unwrap());
                        toy.check_bodies(out.into(), first);
                        store.follow_range(Height::new(first - 1));
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        append_all(&store, &following(&toy, 7)[..100]);
        // Headers ahead of their bodies, which the next call cuts.
        for (first, last, ahead) in [(701, 720, 800), (721, 740, 1023)] {
            store.append(&apply(vec![toy.part(range(first, ahead), range(first, last), 8)])).unwrap();
        }
        append_all(&store, &following(&toy, 20)[37..]);
        done.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>()
    });
    assert!(reads >= 4);
    check_served(&store, &toy, 2600);
}

#[test]
fn a_read_between_a_commit_and_its_view_is_no_damage() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = Arc::new(create(dir.path(), &toy));
    append_all(&store, &[apply(vec![toy.part(range(1, 400), range(1, 300), 100)])]);
    let (reader, read) = (store.clone(), Arc::new(Mutex::new(None)));
    let reading = read.clone();
    store.steps.set(Some(Box::new(move |step, _| {
        if step == Step::Committed {
            // The stored headers are cut already, and readers don't know it yet.
            let reader = reader.clone();
            let thread = std::thread::spawn(move || reader.segment(range(1, 290), false, false));
            std::thread::sleep(Duration::from_millis(100));
            *reading.lock().unwrap() = Some(thread);
        }
        Ok(())
    })));
    append_all(&store, &[apply(vec![toy.part(range(301, 600), range(301, 350), 100)])]);
    store.steps.set(None);
    let thread = read.lock().unwrap().take().unwrap();
    let served = thread.join().unwrap().unwrap().unwrap();
    assert_eq!(served.segment, toy.segment_bytes(range(1, 290), false));
}
