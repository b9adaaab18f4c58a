use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::chain::{
    Chain, EpochRef, Fault, Finalized, HandoverFacts, HeaderFacts, SegmentClaim, SegmentEnd, SegmentFacts, TipCheck,
};
use crate::hash::Hash;
use crate::ids::{Epoch, Height, JobId};
use crate::ranges::HeightRange;
use crate::state::{
    KeyValueState, MemoryStateStore, Prefix, StateAnswer, StateForm, StateItem, encode_state, key_hash,
};
use crate::time::UnixMillis;
use crate::wire::put_section;

/// A chain whose segments are two bytes, the first and the last height, and are believed.
struct Toy;

fn id(height: Height) -> Hash {
    key_hash(&height.get().to_le_bytes())
}

impl Chain for Toy {
    type Epoch = ();
    type Segment = HeightRange;

    fn decode_epoch(&self, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }

    fn verify_handover(&self, (): &(), _: &[u8]) -> Result<HandoverFacts, Fault> {
        Err(Fault::Malformed)
    }

    fn verify_tip(&self, (): &(), _: &[u8]) -> Result<TipCheck, Fault> {
        Err(Fault::Malformed)
    }

    fn verify_segment(
        &self,
        (): &(),
        _: &SegmentClaim,
        segment: &[u8],
        _: &[u8],
    ) -> Result<(HeightRange, SegmentFacts), Fault> {
        let range = self.decode_segment(segment)?;
        let facts = SegmentFacts {
            range,
            parent_id: id(range.first().prev().unwrap_or_default()),
            last_id: id(range.last()),
            last_timestamp: UnixMillis::default(),
            payload_lens: vec![0; range.count() as usize],
            quorum_checks: 1,
        };
        Ok((range, facts))
    }

    fn decode_segment(&self, segment: &[u8]) -> Result<HeightRange, Fault> {
        let &[first, last] = segment else { return Err(Fault::Malformed) };
        HeightRange::new(Height::new(first.into()), Height::new(last.into())).ok_or(Fault::Malformed)
    }

    fn header(&self, segment: &HeightRange, height: Height) -> Option<HeaderFacts> {
        let header = HeaderFacts { id: id(height), state_root: Hash::ZERO, timestamp: UnixMillis::default() };
        segment.contains(height).then_some(header)
    }

    fn check_payload(&self, _: &HeightRange, height: Height, _: &[u8]) -> Result<(), Fault> {
        Err(Fault::BadPayload(height))
    }

    fn assemble(&self, _: &[Bytes], _: HeightRange, _: SegmentEnd) -> Option<Bytes> {
        None
    }

    fn tip_of(&self, _: &[u8]) -> Option<Bytes> {
        None
    }

    fn evidence(&self, (): &(), _: &Finalized, _: &Finalized) -> Result<Bytes, Fault> {
        Err(Fault::NoConflict)
    }
}

fn range(first: u64, last: u64) -> HeightRange {
    HeightRange::new(Height::new(first), Height::new(last)).unwrap()
}

fn base(height: u64, segment: [u8; 2], rest: &[u8]) -> Job {
    let mut bytes = Vec::new();
    assert!(put_section(&mut bytes, &segment) && put_section(&mut bytes, &[]));
    bytes.extend_from_slice(rest);
    let epoch = EpochRef::trusted(Epoch::ZERO, range(0, 100), Bytes::new());
    let claim = SegmentClaim { range: range(10, 20), parent: None, end: SegmentEnd::Certified, audit: false };
    Job::new(JobId::FIRST, Task::Base { epoch, claim, height: Height::new(height), bytes: bytes.into() })
}

#[test]
fn the_base_of_a_state_is_a_header_within_a_proven_segment() {
    let job = base(20, [10, 20], &[]);
    let verdict = job.run(&Toy);
    assert_eq!(verdict.claim(), job.claim());
    assert!(matches!(verdict.claim(), Claim::Base { height, .. } if height == Height::new(20)));
    let Ok(Outcome::Base { segment, header }) = verdict.outcome() else { panic!("{verdict:?}") };
    assert_eq!((segment.range(), header.id), (range(10, 20), id(Height::new(20))));
    assert_eq!(verdict.quorum_checks(), 1);

    let fault = |job: Job| job.run(&Toy).into_outcome().unwrap_err();
    assert_eq!(fault(base(21, [10, 20], &[])), Fault::WrongRange, "the header is not in the segment");
    assert_eq!(fault(base(20, [10, 19], &[])), Fault::WrongRange, "not the asked segment");
    assert_eq!(fault(base(20, [10, 20], &[0])), Fault::NonCanonical, "trailing byte");
    assert_ne!(base(20, [10, 20], &[]).claim(), base(15, [10, 20], &[]).claim());
}

#[test]
fn a_state_job_proves_its_items_and_says_which_they_were() {
    let mut state = KeyValueState::load(MemoryStateStore::default()).unwrap();
    let pairs: Vec<[u8; 1]> = (0..9u8).map(|n| [n]).collect();
    let root = state.apply(pairs.iter().map(|key| (&key[..], Some(&key[..])))).unwrap();
    let writes = state.take_writes();
    state.store_mut().write(writes);
    let item = StateItem { prefix: Prefix::ROOT, hash: root };
    let mut bytes = Vec::new();
    assert!(encode_state(&[state.store()], StateForm::Leaves, &[item], 4000, &mut bytes).unwrap());
    let job = |form, items, bytes: &[u8]| {
        Job::new(JobId::FIRST, Task::State { form, items, bytes: Bytes::copy_from_slice(bytes) })
    };

    let honest = job(StateForm::Leaves, vec![item], &bytes);
    assert_eq!(honest.input_bytes(), bytes.len());
    assert_eq!(honest.claim(), Claim::State { form: StateForm::Leaves, first: item, items: 1 });
    let Ok(Outcome::State(answers)) = honest.run(&Toy).into_outcome() else { panic!("proven") };
    assert!(matches!(&answers[..], [StateAnswer::Leaves(leaves)] if leaves.records.len() == 9 && leaves.bytes() == 36));

    let other = StateItem { hash: Hash::ZERO, ..item };
    assert_eq!(job(StateForm::Leaves, vec![other], &bytes).run(&Toy).into_outcome(), Err(Fault::WrongState));
    let claims = [
        job(StateForm::Leaves, vec![other], &bytes).claim(),
        job(StateForm::Leaves, vec![item; 2], &bytes).claim(),
        job(StateForm::Tree { depth: 1 }, vec![item], &bytes).claim(),
    ];
    assert!(claims.iter().all(|claim| *claim != honest.claim()));
}
