//! Jobs, verdicts, calls and starts as plain data: what is written is read again, and nothing else is.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Debug;

use bytes::Bytes;

use super::toy::{Toy, claim, epoch, frame, id, range, sections};
use super::*;
use crate::calls::{
    Apply, ApplyPart, BlockPoint, CallDone, HistoryGap, HistoryPiece, Holding, HostCall, HostError, HostReply,
    HostWork, SnapshotBase, Start,
};
use crate::chain::{
    CheckError, EpochRef, Fault, Finalized, HeaderFacts, Memo, SegmentEnd, SegmentFacts, SegmentRef, TipCheck, TipFacts,
};
use crate::hash::Hash;
use crate::ids::{CallId, Epoch, Height, JobId};
use crate::limits::{GRID, MAX_HANDOVERS, MAX_STATE_ITEMS};
use crate::state::{Prefix, StateAnswer, StateForm, StateItem, StateLeaves};
use crate::time::UnixMillis;
use crate::wire::BodyFrame;

fn item() -> StateItem {
    StateItem { prefix: Prefix::ROOT, hash: Hash::from_bytes([7; 32]) }
}

fn facts(lens: Vec<u32>) -> SegmentFacts {
    SegmentFacts {
        range: range(10, 12),
        parent_id: Hash::from_bytes([1; 32]),
        last_id: id(Height::new(12)),
        last_timestamp: UnixMillis::new(99),
        payload_lens: lens,
        quorum_checks: 1,
    }
}

fn segment_of(lens: Vec<u32>) -> SegmentRef {
    let bytes = Bytes::from_static(&[10, 12, 3, 0, 3]);
    SegmentRef::trusted(Epoch::ZERO, facts(lens), bytes, Bytes::from_static(b"audit"), Memo::default())
}

fn segment() -> SegmentRef {
    segment_of(vec![3, 0, 3])
}

fn frames() -> Vec<BodyFrame> {
    vec![BodyFrame { range: range(10, 12), wire: frame(10, &[3, 0, 3]).into(), raw: Bytes::from_static(b"rawraw") }]
}

fn link(number: u64) -> HandoverLink {
    HandoverLink {
        ended: Epoch::new(number),
        boundary: Height::new(9),
        boundary_id: Hash::ZERO,
        boundary_time: UnixMillis::new(5),
        epoch: EpochRef::trusted(Epoch::new(number.saturating_add(1)), range(10, 19), Bytes::from_static(&[1])),
        bytes: Bytes::from_static(b"handover"),
    }
}

fn tip() -> TipFacts {
    TipFacts {
        height: Height::new(12),
        id: Hash::ZERO,
        epoch: Epoch::ZERO,
        timestamp: UnixMillis::new(3),
        state_root: Some(Hash::ZERO),
    }
}

fn jobs() -> Vec<Job> {
    let bytes = Bytes::from_static(&[0, 12]);
    let headers = sections(&[&[10, 12, 3, 0, 3], &[]], &[]);
    let bodies: Bytes = frame(10, &[3, 0, 3]).into();
    let anchored = Finalized::Anchored { segment: bytes.clone(), tip: bytes.clone(), height: Height::new(3) };
    let tasks = [
        Task::Handovers { from: epoch(), bytes: bytes.clone() },
        Task::HandoverPart { known: epoch(), from: epoch(), links: vec![link(0), link(1)] },
        Task::Tip { epoch: epoch(), bytes: bytes.clone() },
        Task::Segment {
            epoch: epoch(),
            claim: claim(10, 12, SegmentEnd::Certified),
            bodies: 0,
            handover: Some(bytes.clone()),
            bytes: headers.clone(),
        },
        Task::Bodies { segment: segment(), range: range(10, 12), bytes: bodies.clone() },
        Task::Follow {
            epoch: epoch(),
            claim: claim(10, 12, SegmentEnd::CertifiedUpTo),
            bytes: [headers.clone(), bodies].concat().into(),
        },
        Task::State { form: StateForm::Tree { depth: 3 }, items: vec![item(); 2], bytes: bytes.clone() },
        Task::Base {
            epoch: epoch(),
            claim: claim(10, 12, SegmentEnd::Anchored(id(Height::new(12)))),
            height: Height::new(11),
            bytes: headers,
        },
        Task::Conflict { epoch: epoch(), one: Finalized::Tip(bytes.clone()), other: anchored },
        Task::Conflict {
            epoch: epoch(),
            one: Finalized::Segment(bytes.clone(), Height::MAX),
            other: Finalized::Handover(bytes.clone()),
        },
        Task::Skip { from: epoch(), to: Epoch::new(9), bytes: bytes.clone() },
        Task::Read { epoch: epoch(), key: Bytes::from_static(b"key"), bytes: bytes.clone() },
        Task::Proof { root: Hash::ZERO, key: Bytes::new(), bytes },
    ];
    tasks.into_iter().map(|task| Job::new(JobId::FIRST, task)).collect()
}

fn outcomes() -> Vec<Result<Outcome, CheckError>> {
    let leaves = StateLeaves { item: item(), records: vec![(Hash::ZERO, Bytes::from_static(b"record"))] };
    vec![
        Ok(Outcome::Handovers {
            links: vec![link(0)],
            ahead: vec![link(1)],
            fault: Some(Fault::BrokenLink(Height::MAX)),
        }),
        Ok(Outcome::HandoverPart { proven: 3, fault: None }),
        Ok(Outcome::Tip(TipCheck::Final(tip()), Bytes::from_static(b"tip"))),
        Ok(Outcome::Segment { segment: segment(), frames: frames() }),
        Ok(Outcome::Bodies(frames())),
        Ok(Outcome::Follow { segment: segment(), frames: frames() }),
        Ok(Outcome::State(vec![
            StateAnswer::Leaves(leaves),
            StateAnswer::Tree { item: item(), below: vec![item(); 3] },
            StateAnswer::Missing(item()),
        ])),
        Ok(Outcome::Base {
            segment: segment(),
            header: HeaderFacts { id: Hash::ZERO, state_root: Hash::ZERO, timestamp: UnixMillis::new(1) },
        }),
        Ok(Outcome::Conflict(Bytes::from_static(b"evidence"))),
        Ok(Outcome::Skip(Some(Box::new((epoch(), link(0)))))),
        Ok(Outcome::Skip(None)),
        Ok(Outcome::Read { tip: TipCheck::OtherEpoch(Epoch::MAX), bytes: Bytes::new(), value: Some(Bytes::new()) }),
        Ok(Outcome::Proof(None)),
        Err(CheckError::False(Fault::Host(77))),
        Err(CheckError::Unable(9)),
    ]
}

/// Reads what it was given as it was written, and refuses everything that is nearly that.
fn holds<T: PartialEq + Debug>(value: &T, bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T, Fault>) {
    assert_eq!(decode(bytes).as_ref(), Ok(value));
    for end in 0..bytes.len() {
        assert_eq!(decode(&bytes[..end]), Err(Fault::Malformed), "cut off at {end}: {value:?}");
    }
    assert_eq!(decode(&[bytes, &[0]].concat()), Err(Fault::NonCanonical), "{value:?}");
    let mut other_version = bytes.to_vec();
    other_version[0] = other_version[0].wrapping_add(1);
    assert_eq!(decode(&other_version), Err(Fault::Malformed), "{value:?}");
}

#[test]
fn a_job_that_ran_elsewhere_says_the_same() {
    for job in jobs() {
        let bytes = job.encode();
        holds(&job, &bytes, Job::decode);
        let verdict = Job::decode(&bytes).unwrap().run(&Toy);
        assert_eq!(verdict, job.run(&Toy));
        assert_eq!(Verdict::decode(&verdict.encode()), Ok(verdict));
    }
}

#[test]
fn jobs_of_a_light_client_are_run_as_any_others_and_no_others_are() {
    let mut others = 0;
    for job in jobs() {
        let verdict = job.run_light(&Toy);
        if matches!(job.task(), Task::Segment { .. } | Task::Follow { .. } | Task::State { .. }) {
            assert_eq!((verdict.outcome(), verdict.statement()), (&Err(CheckError::Unable(2)), job.statement()));
            others += 1;
        } else {
            assert_eq!(verdict, job.run(&Toy));
        }
    }
    assert!(others >= 3 && jobs().len() > others + 8);
}

#[test]
fn every_kind_of_verdict_is_read_as_it_was_written() {
    for job in jobs() {
        for outcome in outcomes() {
            let verdict = Verdict::from_host(&job, outcome, 3);
            assert_eq!(Verdict::decode(&verdict.encode()), Ok(verdict));
        }
    }
    for outcome in outcomes() {
        let verdict = Verdict::from_host(&jobs()[0], outcome, 3);
        holds(&verdict, &verdict.encode(), Verdict::decode);
    }
}

#[test]
fn where_a_host_stands_is_read_as_it_was_written() {
    let point = BlockPoint { height: Height::new(3), id: Hash::ZERO };
    let gap = HistoryGap { range: range(1, 2), last_id: Hash::ZERO, epoch: epoch() };
    let start = Start {
        chain_id: Hash::ZERO,
        profile: crate::chain::native::PROFILE,
        stored: point,
        stored_time: UnixMillis::new(4),
        stored_proof: Some(Finalized::Tip(Bytes::from_static(b"tip"))),
        applied: Height::new(2),
        stages_state: true,
        epoch: epoch(),
        handovers: vec![link(0), link(1)],
        history_gap: Some(gap.clone()),
        lacks_state: false,
        trust: None,
    };
    holds(&start, &start.encode(), Start::decode);
    holds(&gap, &gap.encode(), HistoryGap::decode);
    holds(&epoch(), &epoch().encode(), EpochRef::decode);
    holds(&link(5), &link(5).encode(), HandoverLink::decode);
    let base = SnapshotBase { point, state_root: Hash::ZERO, segment: segment(), tip: None };
    holds(&base, &base.encode(), SnapshotBase::decode);
    let leaves = StateLeaves { item: item(), records: vec![(Hash::ZERO, Bytes::from_static(b"record"))] };
    let works = [
        HostWork::Apply(Apply {
            parts: vec![ApplyPart { segment: segment(), frames: frames(), executed: true }],
            tip: Some(Bytes::from_static(b"tip")),
            target: Height::MAX,
        }),
        HostWork::Replay(range(1, 2)),
        HostWork::StoreHandovers(vec![link(0)]),
        HostWork::Survey(vec![item()]),
        HostWork::Stage(Arc::new(vec![leaves])),
        HostWork::Activate(base),
        HostWork::AddHistory(HistoryPiece { segment: segment(), frames: Some(frames()) }),
    ];
    for work in works {
        let call = HostCall { id: CallId::FIRST, work };
        holds(&call, &call.encode(), HostCall::decode);
    }
    let replies = [
        Ok(HostReply::Applied { through: Height::MAX, stopped: Some(HostError::StateMismatch(Height::MAX)) }),
        Ok(HostReply::HandoversStored),
        Ok(HostReply::Surveyed(vec![Holding::Held, Holding::Differs { keys: 300 }, Holding::Absent])),
        Ok(HostReply::Staged),
        Ok(HostReply::Activated { history_gap: None }),
        Ok(HostReply::RootMismatch { found: Hash::ZERO }),
        Ok(HostReply::HistoryAdded { history_gap: Some(gap) }),
        Err(HostError::NoSpace),
    ];
    for result in replies {
        let done = CallDone { id: CallId::FIRST, result };
        holds(&done, &done.encode(), CallDone::decode);
    }
}

#[test]
fn plain_data_is_bounded_in_what_it_counts() {
    let job = |task| Job::new(JobId::FIRST, task).encode();
    let part = |count| Task::HandoverPart { known: epoch(), from: epoch(), links: vec![link(0); count] };
    let most = MAX_HANDOVERS as usize;
    assert!(Job::decode(&job(part(most))).is_ok());
    assert_eq!(Job::decode(&job(part(most + 1))), Err(Fault::Malformed));
    let state = |count| Task::State { form: StateForm::Leaves, items: vec![item(); count], bytes: Bytes::new() };
    assert!(Job::decode(&job(state(MAX_STATE_ITEMS))).is_ok());
    assert_eq!(Job::decode(&job(state(MAX_STATE_ITEMS + 1))), Err(Fault::Malformed));
    let verdict = |frames: usize| {
        let frames = vec![self::frames()[0].clone(); frames];
        Verdict::from_host(&jobs()[0], Ok(Outcome::Bodies(frames)), 0).encode()
    };
    assert!(Verdict::decode(&verdict(GRID as usize)).is_ok());
    assert_eq!(Verdict::decode(&verdict(GRID as usize + 1)), Err(Fault::Malformed));
    // A count that the bytes can't hold makes no room.
    let mut bomb = job(state(1));
    let at = bomb.len() - 2 - 66;
    bomb.truncate(at);
    bomb.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(Job::decode(&bomb), Err(Fault::Malformed));
    // Lengths and heights of a segment that don't belong together.
    let bodies = |lens| Task::Bodies { segment: segment_of(lens), range: range(10, 12), bytes: Bytes::new() };
    assert_eq!(Job::decode(&job(bodies(vec![1, 2]))), Err(Fault::Malformed));
}

#[test]
fn a_padded_number_is_no_second_encoding() {
    let done = CallDone { id: CallId::FIRST, result: Ok(HostReply::Staged) };
    let mut bytes = done.encode();
    assert_eq!(CallDone::decode(&bytes), Ok(done));
    // The last byte is the number of the reply's kind.
    let last = bytes.last_mut().unwrap();
    *last |= 0x80;
    bytes.push(0);
    assert_eq!(CallDone::decode(&bytes), Err(Fault::NonCanonical));
}
