//! [`Known`]: what jobs of one chain have decoded, for jobs that come as bytes.

use alloc::vec::Vec;

use super::{Job, Outcome, Task, Verdict};
use crate::chain::{EpochRef, SegmentRef};

/// Epochs that are kept: two between which a sync passes, and two under which handovers further up are checked meanwhile.
/// The keys of one and their tables take 5 MiB at most.
const MAX_EPOCHS: usize = 4;

/// Segments that are kept, with some 400 KiB of decoded headers each: those whose payloads are being checked.
const MAX_SEGMENTS: usize = 4;

/// Epochs and segments that earlier jobs have decoded, those used last. Jobs in one memory share them with the machine; a
/// job that was [read from bytes](Job::decode) brings nothing but its bytes, and would decode a hundred keys to check one
/// certificate. For the jobs of one chain: another may read the same bytes differently.
#[derive(Clone, Debug, Default)]
pub struct Known {
    epochs: Vec<EpochRef>,
    segments: Vec<SegmentRef>,
}

impl Known {
    /// Gives a job what is decoded already of what it names, and keeps what it decodes of its epochs. The same in every
    /// byte is the same: its verdict does not change.
    pub fn share(&mut self, job: &mut Job) {
        let (epochs, segment) = refs(&mut job.task);
        for epoch in epochs.into_iter().flatten() {
            keep(&mut self.epochs, MAX_EPOCHS, epoch);
        }
        if let Some(segment) = segment {
            keep(&mut self.segments, MAX_SEGMENTS, segment);
        }
    }

    /// Keeps the segment that a job has proven, whose payloads come next.
    pub fn note(&mut self, verdict: &Verdict) {
        if let Ok(Outcome::Segment { segment, .. }) = verdict.outcome() {
            keep(&mut self.segments, MAX_SEGMENTS, &mut segment.clone());
        }
    }
}

/// The epochs and the segment that a task decodes.
fn refs(task: &mut Task) -> ([Option<&mut EpochRef>; 2], Option<&mut SegmentRef>) {
    match task {
        Task::HandoverPart { known, from, .. } => ([Some(known), Some(from)], None),
        Task::Handovers { from: epoch, .. }
        | Task::Skip { from: epoch, .. }
        | Task::Tip { epoch, .. }
        | Task::Segment { epoch, .. }
        | Task::Follow { epoch, .. }
        | Task::Base { epoch, .. }
        | Task::Conflict { epoch, .. }
        | Task::Read { epoch, .. } => ([Some(epoch), None], None),
        Task::Bodies { segment, .. } => ([None, None], Some(segment)),
        Task::State { .. } | Task::Proof { .. } => ([None, None], None),
    }
}

/// Puts the kept value that equals `value` in its place, or keeps this one; either is then the last to go.
fn keep<T: Clone + PartialEq>(kept: &mut Vec<T>, most: usize, value: &mut T) {
    match kept.iter().position(|known| known == value) {
        Some(place) => *value = kept.remove(place),
        None if kept.len() >= most => drop(kept.remove(0)),
        None => {}
    }
    kept.push(value.clone());
}
