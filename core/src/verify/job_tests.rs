use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::toy::{Toy, claim, epoch, frame, id, range, sections};
use super::*;
use crate::chain::{CheckError, Fault, Finalized, SegmentClaim, SegmentEnd, TipCheck};
use crate::hash::Hash;
use crate::ids::{Epoch, Height, JobId};
use crate::limits::{MAX_HANDOVER_BYTES, MAX_HANDOVERS};
use crate::ranges::HeightRange;
use crate::state::{KeyValueState, MemoryStateStore, Prefix, StateAnswer, StateForm, StateItem, encode_state};

fn base(height: u64, segment: [u8; 2], rest: &[u8]) -> Job {
    let bytes = sections(&[&segment, &[]], rest);
    let claim = claim(10, 20, SegmentEnd::Certified);
    Job::new(JobId::FIRST, Task::Base { epoch: epoch(), claim, height: Height::new(height), bytes })
}

fn segment(claim: SegmentClaim, bodies: u32, bytes: Bytes) -> Task {
    Task::Segment { epoch: epoch(), claim, bodies, handover: None, bytes }
}

/// What is proven of a segment that is asked for as `claim` says and consists of these bytes.
fn check(claim: SegmentClaim, bytes: &[u8]) -> Result<HeightRange, Fault> {
    match segment(claim, 0, sections(&[bytes, &[]], &[])).prove(&Toy).map_err(|error| error.fault().unwrap())? {
        Outcome::Segment { segment, frames } if frames.is_empty() => Ok(segment.range()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn handovers_prove_one_epoch_after_the_other() {
    let run = |parts: &[&[u8]], rest: &[u8]| {
        let bytes = sections(parts, rest);
        let job = Job::new(JobId::FIRST.next(), Task::Handovers { from: epoch(), bytes: bytes.clone() });
        assert_eq!((job.id(), job.input_bytes()), (JobId::FIRST.next(), bytes.len()));
        let verdict = job.run(&Toy);
        assert_eq!((verdict.job(), verdict.statement()), (job.id(), Statement::Handovers { from: Epoch::ZERO }));
        let checks = verdict.quorum_checks();
        match verdict.into_outcome() {
            Ok(Outcome::Handovers { links, ahead, fault }) if ahead.is_empty() => (Ok(links), fault, checks),
            Ok(other) => panic!("{other:?}"),
            Err(fault) => (Err(fault), None, checks),
        }
    };
    let (links, fault, checks) = run(&[&[0, 1, 101, 110], &[1, 2, 111, 120]], &[]);
    let links = links.unwrap();
    assert_eq!((links.len(), fault, checks), (2, None, 2));
    let HandoverLink { ended, boundary, boundary_id, epoch, bytes, .. } = &links[1];
    assert_eq!((*ended, *boundary, *boundary_id), (Epoch::new(1), Height::new(110), id(Height::new(110))));
    assert_eq!((epoch.epoch(), epoch.range(), &bytes[..]), (Epoch::new(2), range(111, 120), &[1, 2, 111, 120][..]));

    // The next number, right above the last height, and signed by the epoch that ends.
    for (wrong, fault, checks) in [
        ([0, 2, 101, 110], Fault::BadEpoch, 0),
        ([0, 1, 102, 110], Fault::BadEpoch, 0),
        ([0, 1, 100, 110], Fault::BadEpoch, 0),
        ([1, 1, 101, 110], Fault::BadCertificate, 1),
    ] {
        assert_eq!(run(&[&wrong], &[]), (Err(CheckError::False(fault)), None, checks), "{wrong:?}");
    }
    // What comes before a false one is proven all the same, what comes after is not looked at.
    let (links, fault, checks) = run(&[&[0, 1, 101, 110], &[0, 2, 111, 120], &[1, 2, 111, 120]], &[]);
    assert_eq!((links.unwrap().len(), fault, checks), (1, Some(Fault::BadCertificate), 2));
    let (links, fault, _) = run(&[&[0, 1, 101, 110]], &[1, 0, 0, 0]);
    assert_eq!((links.unwrap().len(), fault), (1, Some(Fault::Malformed)));
    assert_eq!(run(&[], &[]), (Err(CheckError::False(Fault::Malformed)), None, 0));
}

/// Handovers of epochs of one height each, from the end of the first epoch on.
fn short_epochs(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(|n| vec![n, n + 1, 101 + n, 101 + n]).collect()
}

fn answer(handovers: &[Vec<u8>]) -> Bytes {
    let parts: Vec<&[u8]> = handovers.iter().map(Vec::as_slice).collect();
    sections(&parts, &[])
}

#[test]
fn a_long_answer_is_linked_first_and_proven_in_parts() {
    let linked = |handovers: &[Vec<u8>]| {
        let job = Job::new(JobId::FIRST, Task::Handovers { from: epoch(), bytes: answer(handovers) });
        let verdict = job.run(&Toy);
        match verdict.outcome().clone() {
            Ok(Outcome::Handovers { links, ahead, fault }) => (links, ahead, fault, verdict.quorum_checks()),
            other => panic!("{other:?}"),
        }
    };
    let honest = short_epochs(20);
    let (links, ahead, fault, checks) = linked(&honest);
    assert_eq!((links.len(), ahead.len(), fault, checks), (1, 19, None, 1), "the first hangs on a trusted set");
    // A part proves what it was given, whether or not the others are.
    let part = |from: usize, links: &[HandoverLink]| {
        let task = Task::HandoverPart { known: epoch(), from: ahead[from].epoch.clone(), links: links.to_vec() };
        let job = Job::new(JobId::FIRST, task);
        let statement = Statement::HandoverPart { from: Epoch::new(from as u64 + 2), count: links.len() as u32 };
        assert_eq!((job.statement(), job.height()), (statement, ahead[from].epoch.range().first()));
        let verdict = job.run(&Toy);
        (verdict.outcome().clone(), verdict.quorum_checks())
    };
    assert_eq!(part(9, &ahead[10..14]), (Ok(Outcome::HandoverPart { proven: 4, fault: None }), 4));
    // Another epoch's signatures.
    let fault = Some(Fault::BadCertificate);
    assert_eq!(part(8, &ahead[10..14]), (Ok(Outcome::HandoverPart { proven: 0, fault }), 1));
    let mut mixed = ahead[10..12].to_vec();
    mixed.push(ahead[15].clone());
    assert_eq!(part(9, &mixed), (Ok(Outcome::HandoverPart { proven: 2, fault }), 3));

    // A broken link costs no check of what comes behind it.
    let mut torn = honest.clone();
    torn[1] = vec![1, 3, 102, 102];
    let (links, ahead, fault, checks) = linked(&torn);
    assert_eq!((links.len(), ahead.len(), fault, checks), (1, 0, Some(Fault::BadEpoch), 1));
    // Where the first is made up nothing else is looked at.
    let mut forged = honest.clone();
    forged[0][0] = 9;
    let verdict = Job::new(JobId::FIRST, Task::Handovers { from: epoch(), bytes: answer(&forged) }).run(&Toy);
    assert_eq!(verdict.outcome(), &Err(CheckError::False(Fault::BadCertificate)));
    assert_eq!(verdict.quorum_checks(), 1);
    // Without a machine all of it is proven at once.
    let mut late = honest.clone();
    late[13][0] = 9;
    match (Task::Handovers { from: epoch(), bytes: answer(&late) }).prove(&Toy) {
        Ok(Outcome::Handovers { links, ahead, fault: Some(Fault::BadCertificate) }) => {
            assert_eq!((links.len(), ahead.len()), (13, 0));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn handovers_are_bounded_in_number_and_size() {
    let prove = |parts: &[Vec<u8>]| {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        match (Task::Handovers { from: epoch(), bytes: sections(&parts, &[]) }).prove(&Toy) {
            Ok(Outcome::Handovers { links, ahead, fault }) if ahead.is_empty() => (links.len(), fault),
            other => (0, other.unwrap_err().fault()),
        }
    };
    let many = short_epochs(MAX_HANDOVERS as u8 + 1);
    assert_eq!(prove(&many[..64]), (64, None));
    assert_eq!(prove(&many), (64, Some(Fault::Oversize)));
    let mut large = vec![0, 1, 101, 110];
    large.resize(MAX_HANDOVER_BYTES as usize, 0);
    assert_eq!(prove(&[large.clone()]), (1, None));
    large.push(0);
    assert_eq!(prove(&[large]), (0, Some(Fault::Oversize)));
}

#[test]
fn a_tip_lies_in_the_epoch_that_proves_it() {
    let run = |bytes: &'static [u8]| {
        let job = Job::new(JobId::FIRST, Task::Tip { epoch: epoch(), bytes: Bytes::from_static(bytes) });
        let verdict = job.run(&Toy);
        assert_eq!((verdict.statement(), job.input_bytes()), (Statement::Tip { epoch: Epoch::ZERO }, bytes.len()));
        let checks = verdict.quorum_checks();
        match verdict.into_outcome() {
            Ok(Outcome::Tip(check, said)) if said == bytes => (Ok(check), checks),
            Ok(other) => panic!("{other:?}"),
            Err(fault) => (Err(fault), checks),
        }
    };
    let (check, checks) = run(&[0, 100]);
    assert!(matches!(check, Ok(TipCheck::Final(tip)) if tip.height == Height::new(100)) && checks == 1, "{check:?}");
    assert_eq!(run(&[7]), (Ok(TipCheck::OtherEpoch(Epoch::new(7))), 0), "nothing was proven");
    assert_eq!(run(&[1, 50]), (Err(CheckError::False(Fault::BadEpoch)), 1), "final by another epoch's set");
    assert_eq!(run(&[0, 101]), (Err(CheckError::False(Fault::BadEpoch)), 1), "above the epoch");
    assert_eq!(run(&[]), (Err(CheckError::False(Fault::Malformed)), 1));
}

#[test]
fn a_segment_is_held_against_its_claim_whatever_the_chain_says() {
    let exact = claim(10, 20, SegmentEnd::Certified);
    let up_to = claim(10, 20, SegmentEnd::CertifiedUpTo);
    let anchored = claim(10, 20, SegmentEnd::Anchored(id(Height::new(20))));
    for whole in [exact, up_to, anchored] {
        assert_eq!(check(whole, &[10, 20]), Ok(range(10, 20)));
        for other in [[10, 21], [9, 20], [11, 20], [9, 19], [30, 40]] {
            assert_eq!(check(whole, &other), Err(Fault::WrongRange), "{other:?}");
        }
        // A length for each block.
        assert_eq!(check(whole, &[10, 20, 1, 1]), Err(Fault::WrongRange));
        let parent = |height| SegmentClaim { parent: Some(id(Height::new(height))), ..whole };
        assert_eq!(check(parent(9), &[10, 20]), Ok(range(10, 20)));
        assert_eq!(check(parent(8), &[10, 20]), Err(Fault::WrongParent));
    }
    assert_eq!(check(up_to, &[10, 15]), Ok(range(10, 15)), "as far as it is proven");
    for whole in [exact, anchored] {
        assert_eq!(check(whole, &[10, 15]), Err(Fault::WrongRange));
    }
    let other = claim(10, 20, SegmentEnd::Anchored(id(Height::new(21))));
    assert_eq!(check(other, &[10, 20]), Err(Fault::WrongAnchor));
    assert_eq!(check(claim(95, 101, SegmentEnd::Certified), &[95, 101]), Err(Fault::BadEpoch), "not of one epoch");
}

#[test]
fn certificates_come_where_they_were_asked_for() {
    let run = |audit: bool, certificates: &[u8]| {
        let claim = SegmentClaim { audit, ..claim(10, 20, SegmentEnd::Certified) };
        segment(claim, 0, sections(&[&[10, 20], certificates], &[])).prove(&Toy).map(|outcome| match outcome {
            Outcome::Segment { segment, .. } => segment.audit().clone(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(run(true, &[1]), Ok(Bytes::from_static(&[1])));
    assert_eq!(run(false, &[]), Ok(Bytes::new()));
    assert_eq!(run(false, &[1]), Err(CheckError::False(Fault::NonCanonical)));
    assert_eq!(run(true, &[]), Ok(Bytes::new()), "the chain says whether they suffice");
    let cut = segment(claim(10, 20, SegmentEnd::Certified), 0, sections(&[&[10, 20]], &[]));
    assert_eq!(cut.prove(&Toy), Err(CheckError::False(Fault::Malformed)));
}

#[test]
fn a_segment_at_an_epochs_end_is_checked_beside_its_handover() {
    let claim = claim(90, 100, SegmentEnd::Certified);
    let checks = |handover| {
        let bytes = sections(&[&[90, 100], &[]], &[]);
        let job = Job::new(JobId::FIRST, Task::Segment { epoch: epoch(), claim, bodies: 0, handover, bytes });
        let verdict = job.run(&Toy);
        assert_eq!(verdict.statement(), Statement::Segment { epoch: Epoch::ZERO, claim });
        assert!(verdict.outcome().is_ok());
        verdict.quorum_checks()
    };
    assert_eq!((checks(None), checks(Some(Bytes::new()))), (1, 0));
    let job = Job::new(JobId::FIRST, segment(claim, 0, sections(&[&[9]], &[])));
    assert_eq!(job.run(&Toy).quorum_checks(), 1, "a false one is counted as a check");
}

#[test]
fn payloads_behind_a_segment_are_those_that_were_asked_for() {
    let claim = claim(10, 12, SegmentEnd::Certified);
    let run = |bodies, frames: &[u8]| {
        let bytes = sections(&[&[10, 12, 3, 3, 3], &[]], frames);
        segment(claim, bodies, bytes).prove(&Toy).map(|outcome| match outcome {
            Outcome::Segment { frames, .. } => frames.iter().map(|frame| frame.range).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        })
    };
    let all = frame(10, &[3, 3, 3]);
    assert_eq!(run(9, &all), Ok(vec![range(10, 12)]));
    assert_eq!(run(6, &frame(10, &[3, 3])), Ok(vec![range(10, 11)]));
    assert_eq!(run(8, &frame(10, &[3])), Ok(vec![range(10, 10)]));
    assert_eq!(run(9, &[]), Ok(vec![]), "headers alone do no harm");
    assert_eq!(run(8, &all), Err(CheckError::False(Fault::WrongRange)), "more than was asked for");
    assert_eq!(run(2, &frame(10, &[3])), Err(CheckError::False(Fault::Oversize)), "not even one fits in");
    assert_eq!(run(0, &frame(10, &[3])), Err(CheckError::False(Fault::NonCanonical)), "none was asked for");
    let mut wrong = all.clone();
    *wrong.last_mut().unwrap() = 11;
    assert_eq!(run(9, &wrong), Err(CheckError::False(Fault::BadPayload(Height::new(12)))));
}

#[test]
fn payloads_are_checked_block_by_block() {
    let claim = claim(10, 13, SegmentEnd::Certified);
    let headers = sections(&[&[10, 13, 2, 0, 2, 2], &[]], &[]);
    let Ok(Outcome::Segment { segment, .. }) = segment(claim, 0, headers.clone()).prove(&Toy) else { panic!() };
    let run = |asked: HeightRange, frames: &[u8]| {
        let bytes = Bytes::copy_from_slice(frames);
        let job = Job::new(JobId::FIRST, Task::Bodies { segment: segment.clone(), range: asked, bytes });
        let verdict = job.run(&Toy);
        assert_eq!(verdict.statement(), Statement::Bodies { last_id: id(Height::new(13)), range: asked });
        assert_eq!((verdict.quorum_checks(), job.input_bytes()), (0, frames.len()));
        verdict.into_outcome().map(|outcome| match outcome {
            Outcome::Bodies(frames) => frames.iter().map(|frame| frame.range).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        })
    };
    let two = [frame(10, &[2, 0]), frame(12, &[2])].concat();
    assert_eq!(run(range(10, 13), &two), Ok(vec![range(10, 11), range(12, 12)]));
    assert_eq!(run(range(12, 13), &frame(12, &[2, 2])), Ok(vec![range(12, 13)]));
    // The right bytes, a block too low.
    assert_eq!(run(range(12, 13), &frame(11, &[2, 2])), Err(CheckError::False(Fault::BadPayload(Height::new(12)))));
    let second = [frame(10, &[2, 0]), frame(13, &[2])].concat();
    assert_eq!(run(range(10, 13), &second), Err(CheckError::False(Fault::BadPayload(Height::new(12)))));
    assert_eq!(run(range(12, 14), &frame(12, &[2])), Err(CheckError::False(Fault::WrongRange)), "beyond the headers");

    // The same for what follows the tip, in one answer.
    let follow = |frames: &[u8]| {
        let bytes = [&headers[..], frames].concat().into();
        let job = Job::new(JobId::FIRST, Task::Follow { epoch: epoch(), claim, bytes });
        let verdict = job.run(&Toy);
        assert_eq!(verdict.statement(), Statement::Follow { epoch: Epoch::ZERO, claim });
        let checks = verdict.quorum_checks();
        (verdict.into_outcome(), checks)
    };
    let (followed, checks) = follow(&two);
    let Ok(Outcome::Follow { segment: found, frames }) = followed else { panic!("{followed:?}") };
    assert_eq!((found, frames.len(), checks), (segment.clone(), 2, 1));
    assert_eq!(follow(&second), (Err(CheckError::False(Fault::BadPayload(Height::new(12)))), 1));
}

#[test]
fn a_conflict_takes_two_proofs_and_a_verdict_says_whose_it_is() {
    let tip = |height| Finalized::Tip(vec![0, height].into());
    let conflict = |one, other| Job::new(JobId::FIRST, Task::Conflict { epoch: epoch(), one, other });
    let job = conflict(tip(9), tip(8));
    let verdict = job.run(&Toy);
    assert_eq!((verdict.statement(), verdict.quorum_checks()), (Statement::Conflict { epoch: Epoch::ZERO }, 2));
    assert_eq!(verdict.outcome(), &Ok(Outcome::Conflict(Bytes::from_static(b"evidence"))));
    assert_eq!(conflict(tip(9), tip(9)).run(&Toy).into_outcome(), Err(CheckError::False(Fault::NoConflict)));
    // A host that proves for itself says the same under the job's name.
    assert_eq!(Verdict::from_host(&job, verdict.outcome().clone(), 2), verdict);
}

#[test]
fn the_base_of_a_state_is_a_header_within_a_proven_segment() {
    let job = base(20, [10, 20], &[]);
    let verdict = job.run(&Toy);
    assert_eq!(verdict.statement(), job.statement());
    assert!(matches!(verdict.statement(), Statement::Base { height, .. } if height == Height::new(20)));
    let Ok(Outcome::Base { segment, header }) = verdict.outcome() else { panic!("{verdict:?}") };
    assert_eq!((segment.range(), header.id), (range(10, 20), id(Height::new(20))));
    assert_eq!(verdict.quorum_checks(), 1);

    let fault = |job: Job| job.run(&Toy).into_outcome().unwrap_err();
    assert_eq!(
        fault(base(21, [10, 20], &[])),
        CheckError::False(Fault::WrongRange),
        "the header is not in the segment"
    );
    assert_eq!(fault(base(20, [10, 19], &[])), CheckError::False(Fault::WrongRange), "not the asked segment");
    assert_eq!(fault(base(20, [10, 20], &[0])), CheckError::False(Fault::NonCanonical), "trailing byte");
    assert_ne!(base(20, [10, 20], &[]).statement(), base(15, [10, 20], &[]).statement());
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
    assert_eq!(honest.statement(), Statement::State { form: StateForm::Leaves, first: item, items: 1 });
    let Ok(Outcome::State(answers)) = honest.run(&Toy).into_outcome() else { panic!("proven") };
    assert!(matches!(&answers[..], [StateAnswer::Leaves(leaves)] if leaves.records.len() == 9 && leaves.bytes() == 36));

    let other = StateItem { hash: Hash::ZERO, ..item };
    assert_eq!(
        job(StateForm::Leaves, vec![other], &bytes).run(&Toy).into_outcome(),
        Err(CheckError::False(Fault::WrongState))
    );
    let claims = [
        job(StateForm::Leaves, vec![other], &bytes).statement(),
        job(StateForm::Leaves, vec![item; 2], &bytes).statement(),
        job(StateForm::Tree { depth: 1 }, vec![item], &bytes).statement(),
    ];
    assert!(claims.iter().all(|claim| *claim != honest.statement()));
}
