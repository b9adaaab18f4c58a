//! Snapshot files of a small signed chain: round trips, and files that were made to deceive.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, ApplyPart};
use hotstuff2_sync::chain::{Fault, SegmentClaim, SegmentEnd};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::state::{
    Prefix, Record, SnapshotId, StateItem, StateLeaves, StateSnapshot, key_hash, subtree, subtree_hash, value_hash,
};
use hotstuff2_sync::verify::{Outcome, Task};
use hotstuff2_sync::wire::{Sections, put_section};

use super::frame::{FrameReader, FrameWriter, Kind};
use super::parts::{Base, End, Head, decode, encode};
use super::places::Places;
use super::*;
use crate::store::{BlockStore as _, StateStaging as _};
use crate::test_world::{HEIGHT, Store, World};

impl World {
    /// The chain's last segment without a certificate, proven by the tip instead.
    fn parts_with_tip(&self) -> (Vec<ApplyPart>, Bytes) {
        let mut parts = self.chain.parts().to_vec();
        let last = parts.pop().unwrap();
        let range = last.segment.range();
        let end = SegmentEnd::Anchored(last.segment.last_id());
        let claim = SegmentClaim { range, parent: None, end, audit: false };
        let mut bytes = Vec::new();
        let segment = self.chain.segment(range, end).unwrap().encode();
        assert!(put_section(&mut bytes, &segment) && put_section(&mut bytes, &[]));
        let epoch = self.chain.epoch_ref(last.segment.epoch()).unwrap();
        let task = Task::Segment { epoch, claim, bodies: 0, handover: None, bytes: bytes.into() };
        let Ok(Outcome::Segment { segment, .. }) = task.prove(&self.chain.chain()) else { panic!("no segment") };
        parts.push(ApplyPart { segment, frames: last.frames, executed: false });
        (parts, self.chain.tip(range.last()).unwrap())
    }

    fn verify(&self, file: &Path) -> Result<SnapshotSummary, SnapshotFileError> {
        verify(&self.chain.chain(), &self.anchor(), file, &mut |_, _| {})
    }

    fn import(&self, store: &Store, file: &Path) -> Result<Imported, ImportError> {
        import(store, &self.chain.chain(), &self.anchor(), file, &mut |_, _| {})
    }

    fn check_round_trip(&self, full: &Store) -> PathBuf {
        let file = self.path("state.snap");
        let exported = export(full, None, &file, Existing::Keep, &mut |_, _| {}).unwrap();
        assert_eq!((exported.height, Some(exported.id)), (HEIGHT, self.chain.id(HEIGHT)));
        assert_eq!(exported.state_root, self.chain.header(HEIGHT).unwrap().state_root);
        assert_eq!(exported.file_bytes, file.metadata().unwrap().len());
        assert_eq!((exported.epoch, exported.handovers), (Epoch::new(2), 2));
        assert_eq!(self.verify(&file).unwrap(), exported);
        let store = self.create("imported");
        assert_eq!(self.import(&store, &file).unwrap(), Imported { summary: exported.clone(), activated: true });
        assert_eq!((store.stored().height, store.stored().id), (HEIGHT, exported.id));
        assert_eq!(subtree(&store.live_state().unwrap(), &Prefix::ROOT).unwrap(), (exported.state_root, exported.keys));
        assert!(!self.import(&store, &file).unwrap().activated);
        // An imported state can be exported.
        let again = export(&store, Some(HEIGHT), &self.path("again.snap"), Existing::Keep, &mut |_, _| {}).unwrap();
        assert_eq!(again, exported);
        file
    }
}

#[test]
fn a_snapshot_with_a_certificate_goes_through_a_file() {
    let world = World::new();
    let full = world.full();
    let file = world.check_round_trip(&full);
    assert!(matches!(world.import(&full, &file), Err(ImportError::Ahead { .. })));
}

#[test]
fn a_snapshot_that_the_tip_proves_goes_through_a_file() {
    let world = World::new();
    let (parts, tip) = world.parts_with_tip();
    let full = world.full_of(parts, Some(tip), 0);
    let file = world.check_round_trip(&full);
    let base = frames_of(&file).into_iter().find(|(kind, _)| *kind == Kind::Base).unwrap();
    assert!(Base::decode(base.1).unwrap().tip.is_some());
}

#[test]
fn a_store_that_is_behind_takes_a_file() {
    let world = World::new();
    let file = world.path("state.snap");
    let exported = export(&world.full(), None, &file, Existing::Keep, &mut |_, _| {}).unwrap();
    let behind = world.create("behind");
    let (parts, height) = (world.chain.parts()[..1].to_vec(), world.chain.parts()[0].segment.range().last());
    behind.append(&Apply { target: Height::ZERO, parts, tip: None }).unwrap();
    // Left over from a walk towards another state, at a place that is empty in this one.
    let left = Record::new(b"left over", b"x").unwrap();
    let (prefix, hash) = (Prefix::new(key_hash(left.key()), 64).unwrap(), key_hash(left.key()));
    let item = StateItem { prefix, hash: subtree_hash(&prefix, &[(hash, value_hash(left.value()))]) };
    behind.stage(&[StateLeaves { item, records: vec![(hash, left.as_bytes().clone())] }]).unwrap();
    assert_eq!(behind.stored().height, height);
    assert!(height < HEIGHT && world.import(&behind, &file).unwrap().activated);
    assert_eq!((behind.stored().height, behind.stored().id), (HEIGHT, exported.id));
    let state =
        StateSnapshot { id: SnapshotId::of(HEIGHT, &world.header(HEIGHT)), state: behind.live_state().unwrap() };
    state.validate().unwrap();
}

#[test]
fn a_store_above_a_checkpoint_is_told_of_a_height_above_that() {
    let at = |anchor| super::export::first_above(Height::new(anchor), std::num::NonZeroU64::new(80).unwrap());
    assert_eq!([0, 79, 80, 239].map(at), [80, 80, 160, 240]);
    assert_eq!(at(u64::MAX), u64::MAX);
}

#[test]
fn what_a_store_does_not_have_is_not_exported() {
    let world = World::new();
    let out = world.path("none.snap");
    let empty = world.create("empty");
    assert!(matches!(
        export(&empty, None, &out, Existing::Keep, &mut |_, _| {}),
        Err(ExportError::NoSnapshots { first: 80 })
    ));
    let full = world.full();
    let wrong = export(&full, Some(Height::new(80)), &out, Existing::Keep, &mut |_, _| {});
    assert!(matches!(wrong, Err(ExportError::NoSnapshotAt { kept, .. }) if kept == "240"));
    // A record that isn't there any more.
    drop(full);
    std::fs::remove_dir_all(world.path("full")).unwrap();
    let damaged = world.full_of(world.chain.parts().to_vec(), None, 1);
    let wrong = export(&damaged, None, &out, Existing::Keep, &mut |_, _| {});
    assert!(matches!(wrong, Err(ExportError::WrongState { height: HEIGHT, .. })), "{wrong:?}");
    assert!(!out.exists() && !world.path("none.snap.part").exists());
}

type Frames = Vec<(Kind, Bytes)>;

fn frames_of(file: &Path) -> Frames {
    let mut reader = FrameReader::open(file).unwrap();
    let mut frames = Vec::new();
    loop {
        let frame = reader.next().unwrap();
        frames.push((frame.kind, frame.content));
        if frame.kind == Kind::End {
            return frames;
        }
    }
}

fn write(file: &Path, frames: &Frames) {
    let mut writer = FrameWriter::over(std::fs::File::create(file).unwrap()).unwrap();
    frames.iter().for_each(|(kind, content)| writer.put(*kind, content).unwrap());
    writer.finish().unwrap();
}

fn records_in(content: &Bytes) -> Vec<Bytes> {
    let mut sections = Sections::new(content.clone());
    std::iter::from_fn(|| sections.take()).collect()
}

fn leaves_of(records: &[Bytes]) -> Bytes {
    let mut content = Vec::new();
    records.iter().for_each(|record| assert!(put_section(&mut content, record)));
    content.into()
}

#[test]
fn a_file_that_was_made_to_deceive_is_refused() {
    let world = World::new();
    let full = world.full();
    let (good, bad) = (world.path("good.snap"), world.path("bad.snap"));
    export(&full, None, &good, Existing::Keep, &mut |_, _| {}).unwrap();
    let frames = frames_of(&good);
    write(&bad, &frames);
    world.verify(&bad).unwrap();
    let at = |wanted| frames.iter().position(|(kind, _)| *kind == wanted).unwrap();
    let refused = |change: &dyn Fn(&mut Frames)| {
        let mut frames = frames.clone();
        change(&mut frames);
        write(&bad, &frames);
        let error = world.verify(&bad).unwrap_err();
        assert!(error.to_string().contains("bad.snap") && error.to_string().contains("; "), "{error}");
        error
    };
    let head = |change: &dyn Fn(&mut Head)| {
        refused(&|frames| {
            let mut head: Head = decode(&frames[0].1).unwrap();
            change(&mut head);
            frames[0].1 = encode(&head).into();
        })
    };
    use SnapshotFileError as E;
    assert!(matches!(head(&|head| head.chain_id = Hash::ZERO), E::OtherChain { .. }));
    assert!(matches!(head(&|head| head.anchor.id = Hash::ZERO), E::Damaged { .. }));
    assert!(matches!(head(&|head| head.point.id = Hash::ZERO), E::Unproven { fault: Fault::WrongAnchor, .. }));
    assert!(matches!(head(&|head| head.state_root = Hash::ZERO), E::Unproven { fault: Fault::WrongState, .. }));
    assert!(matches!(head(&|head| head.point.height = Height::new(241)), E::Unproven { .. }));
    assert!(matches!(head(&|head| head.keys += 1), E::Damaged { .. }));
    // A handover too few, one twice, one that proves nothing.
    assert!(matches!(refused(&|frames| drop(frames.remove(1))), E::Unproven { .. }));
    assert!(matches!(refused(&|frames| frames[2] = frames[1].clone()), E::Unproven { .. }));
    assert!(matches!(head(&|head| head.epoch = Epoch::new(1)), E::Damaged { .. }));
    let base = |change: &dyn Fn(&mut Base)| {
        refused(&|frames| {
            let mut base = Base::decode(frames[at(Kind::Base)].1.clone()).unwrap();
            change(&mut base);
            frames[at(Kind::Base)].1 = base.encode().unwrap().into();
        })
    };
    assert!(matches!(base(&|base| base.last = base.last.next()), E::Unproven { .. }));
    assert!(matches!(base(&|base| base.tip = world.chain.tip(Height::new(250))), E::Unproven { .. }));
    let other = HeightRange::new(Height::new(239), Height::new(300)).unwrap();
    let lower = world.chain.segment(other, SegmentEnd::Certified).unwrap();
    assert!(matches!(base(&|base| base.segment = lower.encode().into()), E::Unproven { .. }));

    // Records: the counts agree with what is there, so only the root tells.
    let records = |change: &dyn Fn(&mut Vec<Bytes>)| {
        refused(&|frames| {
            let leaves = at(Kind::Leaves);
            let mut records = records_in(&frames[leaves].1);
            let before: (usize, usize) = (records.len(), records.iter().map(Bytes::len).sum());
            change(&mut records);
            let after: (usize, usize) = (records.len(), records.iter().map(Bytes::len).sum());
            frames[leaves].1 = leaves_of(&records);
            let last = frames.len() - 1;
            let mut end: End = decode(&frames[last].1).unwrap();
            end.keys = end.keys + after.0 as u64 - before.0 as u64;
            end.bytes = end.bytes + (after.1 - 2 * after.0) as u64 - (before.1 - 2 * before.0) as u64;
            frames[last].1 = encode(&end).into();
            let mut head: Head = decode(&frames[0].1).unwrap();
            head.keys = end.keys;
            frames[0].1 = encode(&head).into();
        })
    };
    let changed = |records: &mut Vec<Bytes>| {
        let record = Record::decode(records[7].clone()).unwrap();
        records[7] = Record::new(record.key(), b"another").unwrap().as_bytes().clone();
    };
    assert!(matches!(records(&changed), E::WrongState { .. }));
    assert!(matches!(records(&|records| drop(records.remove(3))), E::WrongState { .. }));
    let added = |records: &mut Vec<Bytes>| {
        let record = Record::new(b"one too many", b"x").unwrap();
        let hash = key_hash(record.key());
        let of = |bytes: &Bytes| key_hash(Record::decode(bytes.clone()).unwrap().key());
        let place = records.partition_point(|bytes| of(bytes) < hash);
        records.insert(place, record.as_bytes().clone());
    };
    assert!(matches!(records(&added), E::WrongState { .. }));
    assert!(matches!(records(&|records| records.swap(0, 1)), E::Damaged { .. }));
    assert!(matches!(records(&|records| records.insert(1, records[0].clone())), E::Damaged { .. }));
    assert!(matches!(records(&Vec::clear), E::Damaged { .. }));
    assert!(matches!(records(&|records| records[0] = Bytes::from_static(b"\xff\xff")), E::Damaged { .. }));
    // Parts out of place.
    assert!(matches!(refused(&|frames| drop(frames.remove(at(Kind::Leaves)))), E::Damaged { .. }));
    assert!(matches!(refused(&|frames| drop(frames.remove(0))), E::Damaged { .. }));
    assert!(matches!(refused(&|frames| frames.swap(at(Kind::Base), at(Kind::Leaves))), E::Damaged { .. }));
}

#[test]
fn whatever_the_frames_hold_is_refused_or_proves_the_same_state() {
    const ROUNDS: u64 = 400;
    let world = World::new();
    let (good, bad) = (world.path("good.snap"), world.path("bad.snap"));
    let whole = export(&world.full(), None, &good, Existing::Keep, &mut |_, _| {}).unwrap();
    let frames = frames_of(&good);
    let mut refused = 0;
    for seed in 0..ROUNDS {
        let mut rng = Rng::new(seed);
        let mut below = |bound: usize| rng.below(bound as u64) as usize;
        let mut frames = frames.clone();
        for _ in 0..=below(2) {
            let (at, to) = (below(frames.len()), below(frames.len()));
            match below(6) {
                0 => frames.swap(at, to),
                1 => frames.insert(to, frames[at].clone()),
                2 => drop(frames.remove(at)),
                change => {
                    let content = &mut frames[at].1;
                    let mut bytes = content.to_vec();
                    let byte = below(bytes.len());
                    match change {
                        3 => bytes.truncate(byte),
                        _ => bytes[byte] ^= 1 << below(8),
                    }
                    *content = bytes.into();
                }
            }
        }
        // The checksums are right each time.
        write(&bad, &frames);
        match world.verify(&bad) {
            Ok(summary) => assert_eq!(SnapshotSummary { file_bytes: whole.file_bytes, ..summary }, whole, "{seed}"),
            Err(error) => {
                assert!(error.to_string().contains("bad.snap"), "{seed}: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > ROUNDS / 2, "{refused} were refused");
}

#[test]
fn parts_that_change_places_are_found_by_their_checksums() {
    let world = World::new();
    let (good, bad) = (world.path("good.snap"), world.path("bad.snap"));
    let record = |number: u8| (Kind::Handover, Bytes::from(vec![number; 100]));
    write(&good, &vec![(Kind::Head, Bytes::new()), record(1), record(2), (Kind::End, Bytes::new())]);
    let bytes = std::fs::read(&good).unwrap();
    // Twelve bytes before the frames, eighteen around the content of each; both in the middle are equally long.
    let (first, len) = (12 + 18, (bytes.len() - 12 - 2 * 18) / 2);
    let [one, other] = [first, first + len].map(|start| bytes[start..start + len].to_vec());
    assert_ne!(one, other);
    std::fs::write(&bad, [&bytes[..first], &other, &one, &bytes[first + 2 * len..]].concat()).unwrap();
    let mut reader = FrameReader::open(&bad).unwrap();
    assert!(reader.next().is_ok());
    let error = reader.next().map(|frame| frame.kind).unwrap_err();
    assert!(matches!(error, SnapshotFileError::Damaged { offset: 30, .. }), "{error}");
    assert_eq!(frames_of(&good).len(), 4);
}

#[test]
fn bombs_are_refused_before_memory_is_spent() {
    let world = World::new();
    let (good, bad) = (world.path("good.snap"), world.path("bad.snap"));
    write(&good, &vec![(Kind::Head, Bytes::from(vec![0; 900]))]);
    let bytes = std::fs::read(&good).unwrap();
    assert!(matches!(world.verify(&good), Err(SnapshotFileError::Damaged { offset: 12, .. })));
    // Kind, codec, decompressed length and length follow the first twelve bytes.
    for (codec, raw_len, len) in [
        (1, u32::MAX, 20),
        (0, u32::MAX, u32::MAX),
        (1, 1025, 20),
        (1, 20, 20),
        (1, 20, 1000),
        (0, 21, 20),
        (2, 20, 20),
    ] {
        let mut bytes = bytes.clone();
        bytes[13] = codec;
        bytes[14..18].copy_from_slice(&u32::to_le_bytes(raw_len));
        bytes[18..22].copy_from_slice(&u32::to_le_bytes(len));
        std::fs::write(&bad, &bytes).unwrap();
        let error = world.verify(&bad).unwrap_err();
        assert!(error.to_string().contains("can't be") || error.to_string().contains("codec"), "{error}");
    }
    std::fs::write(&bad, b"hs2snap\n\x02\0\0\0").unwrap();
    assert!(matches!(world.verify(&bad), Err(SnapshotFileError::OtherVersion { found: 2, known: 1, .. })));
}

#[test]
fn places_lie_side_by_side_and_make_up_the_whole_tree() {
    // Evenly spread, and far too many under one prefix.
    let even = |number: u64| key_hash(&number.to_le_bytes());
    let crowded = |number: u64| {
        let mut bytes = [0x77; 32];
        bytes[24..].copy_from_slice(&number.to_be_bytes());
        Hash::from_bytes(bytes)
    };
    let record = |number: u64| Record::new(&number.to_le_bytes(), &[0; 40]).unwrap().as_bytes().clone();
    for count in [0, 1, 2, 4096, 4097, 30_000] {
        for hash in [&even as &dyn Fn(u64) -> Hash, &crowded] {
            let mut all: Vec<(Hash, Bytes)> = (0..count).map(|number| (hash(number), record(number))).collect();
            all.sort();
            let (mut places, mut out) = (Places::new(), Vec::new());
            all.iter().for_each(|(key, record)| places.push(*key, record.clone(), &mut out));
            places.finish(&mut out);
            let mut next = Some(Hash::ZERO);
            for leaves in &out {
                assert_eq!(Some(leaves.item.prefix.first()), next, "a gap, or places that overlap");
                assert!(leaves.records.len() <= 4096);
                assert!(leaves.records.iter().all(|(key, _)| leaves.item.prefix.contains(key)));
                next = after(leaves.item.prefix.last());
            }
            assert_eq!(next, None, "the end is missing");
            let given: Vec<_> = out.into_iter().flat_map(|leaves| leaves.records).collect();
            assert_eq!(given, all);
        }
    }
}

/// The hash that comes next.
fn after(hash: Hash) -> Option<Hash> {
    let mut bytes = *hash.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(Hash::from_bytes(bytes));
        }
    }
    None
}
