//! Jobs that were read from bytes share what is decoded, and say the same.

use alloc::format;
use alloc::string::String;
use alloc::vec;

use bytes::Bytes;

use super::toy::{Toy, claim, epoch, frame, range, sections};
use super::*;
use crate::chain::{EpochRef, SegmentEnd};
use crate::ids::{Epoch, JobId};

/// A job as it comes in another process.
fn read(task: Task) -> Job {
    Job::decode(&Job::new(JobId::FIRST, task).encode()).unwrap()
}

fn segment(epoch: EpochRef, bytes: Bytes) -> Task {
    let claim = claim(10, 12, SegmentEnd::Certified);
    Task::Segment { epoch, claim, bodies: 0, handover: None, bytes }
}

/// How many of the things that a job names are decoded, and how many are not.
fn memos(job: &Job) -> (usize, usize) {
    let text: String = format!("{job:?}");
    (text.matches("Memo(filled)").count(), text.matches("Memo(empty)").count())
}

#[test]
fn a_job_from_bytes_takes_its_epoch_and_its_segment_as_they_were_decoded_before() {
    let mut known = Known::default();
    let honest = sections(&[&[10, 12, 3, 0, 3], &[]], &[]);
    let mut first = read(segment(epoch(), honest.clone()));
    known.share(&mut first);
    assert_eq!(memos(&first), (0, 1));
    let verdict = first.run(&Toy);
    known.note(&verdict);
    let Ok(Outcome::Segment { segment: proven, .. }) = verdict.outcome() else { panic!("{verdict:?}") };

    let next = read(segment(epoch(), honest));
    assert_eq!(memos(&next), (0, 1));
    let alone = next.run(&Toy);
    let mut next = read(segment(epoch(), sections(&[&[10, 12, 3, 0, 3], &[]], &[])));
    known.share(&mut next);
    assert_eq!((memos(&next), next.run(&Toy)), ((1, 0), alone));

    let bodies = |bytes: &[u8]| {
        let bytes = Bytes::copy_from_slice(bytes);
        read(Task::Bodies { segment: proven.clone(), range: range(10, 12), bytes })
    };
    for bytes in [frame(10, &[3, 0, 3]), frame(11, &[3, 0, 3])] {
        let (alone, mut shared) = (bodies(&bytes), bodies(&bytes));
        known.share(&mut shared);
        assert_eq!((memos(&alone), memos(&shared)), ((0, 1), (1, 0)));
        assert_eq!(alone.run(&Toy), shared.run(&Toy));
    }
}

#[test]
fn an_epoch_of_other_bytes_number_or_heights_is_another_one() {
    let mut known = Known::default();
    let bytes = sections(&[&[10, 12], &[]], &[]);
    let mut first = read(segment(epoch(), bytes.clone()));
    known.share(&mut first);
    first.run(&Toy);
    for other in [
        EpochRef::trusted(Epoch::ZERO, range(0, 100), vec![1].into()),
        EpochRef::trusted(Epoch::new(1), range(0, 100), vec![0].into()),
        EpochRef::trusted(Epoch::ZERO, range(0, 99), vec![0].into()),
    ] {
        let mut job = read(segment(other, bytes.clone()));
        known.share(&mut job);
        assert_eq!(memos(&job), (0, 1));
    }
}

#[test]
fn only_the_last_few_are_kept() {
    let mut known = Known::default();
    let job = |number: u8| {
        let epoch = EpochRef::trusted(Epoch::new(number.into()), range(0, 100), vec![number].into());
        read(segment(epoch, sections(&[&[10, 12], &[]], &[])))
    };
    for number in 0..40 {
        let mut job = job(number);
        known.share(&mut job);
        job.run(&Toy);
    }
    let mut kept = (0..40).map(job).map(|mut job| {
        // A copy: looking changes what is kept.
        known.clone().share(&mut job);
        memos(&job).0
    });
    let (old, new): (usize, usize) = (kept.by_ref().take(36).sum(), kept.sum());
    assert_eq!((old, new), (0, 4));
}
