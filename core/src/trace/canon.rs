//! The canonical form of outputs, which their digests are over. Every field counts; of bytes, what a stand-in shares.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::blob::put_mark;
use crate::calls::{Apply, HistoryPiece, HostCall, HostWork, SnapshotBase};
use crate::chain::{EpochRef, Finalized, SegmentRef};
use crate::machine::Output;
use crate::state::StateLeaves;
use crate::verify::{HandoverLink, Job, Task};
use crate::wire::BodyFrame;

/// An output as a trace has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutputMark {
    /// Kind of the output: [`Output::code`].
    pub code: u16,
    /// The start of its digest.
    pub digest: [u8; 8],
}

impl OutputMark {
    /// Kind of the output, in a word: [`Output::name`].
    pub fn name(&self) -> &'static str {
        Output::CODES.iter().find(|(code, _)| *code == self.code).map_or("output", |&(_, name)| name)
    }
}

/// Appends the canonical form of `output`.
pub(super) fn put_output(out: &mut Vec<u8>, output: &Output) {
    match output {
        Output::Request { id, peer, request, max_response_bytes } => put(out, &(id, peer, request, max_response_bytes)),
        Output::CancelRequest(id) => put(out, id),
        Output::Verify(job) => put_job(out, job),
        Output::CancelJob(id) => put(out, id),
        Output::Call(HostCall { id, work }) => {
            put(out, &(id, work.code()));
            put_work(out, work);
        }
        Output::Penalize { peer, penalty } => put(out, &(peer, penalty)),
        Output::Event(event) => put(out, event),
        Output::Decided { id, result } => put(out, &(id, result)),
        Output::Wait(deadline) => put(out, deadline),
    }
}

fn put(out: &mut Vec<u8>, value: &impl Serialize) {
    // Serializing into a growing vector has no way to fail; if it had, both sides would write the same.
    if let Ok(more) = postcard::to_extend(value, core::mem::take(out)) {
        *out = more;
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put(out, &u64::try_from(count).unwrap_or(u64::MAX));
}

fn put_optional(out: &mut Vec<u8>, bytes: Option<&Bytes>) {
    put(out, &bytes.is_some());
    put_mark(out, bytes.map_or(&[][..], |bytes| bytes));
}

fn put_epoch(out: &mut Vec<u8>, epoch: &EpochRef) {
    put(out, &(epoch.epoch(), epoch.range()));
    put_mark(out, epoch.bytes());
}

fn put_segment(out: &mut Vec<u8>, segment: &SegmentRef) {
    put(out, &(segment.epoch(), segment.range(), segment.parent_id(), segment.last_id(), segment.last_timestamp()));
    put(out, &segment.payload_lens());
    put_mark(out, segment.bytes());
    put_mark(out, segment.audit());
}

fn put_frames(out: &mut Vec<u8>, frames: &[BodyFrame]) {
    put_count(out, frames.len());
    for frame in frames {
        put(out, &frame.range);
        put_mark(out, &frame.wire);
        put_mark(out, &frame.raw);
    }
}

fn put_link(out: &mut Vec<u8>, link: &HandoverLink) {
    put(out, &(link.ended, link.boundary, link.boundary_id));
    put_epoch(out, &link.epoch);
    put_mark(out, &link.bytes);
}

fn put_finalized(out: &mut Vec<u8>, proof: &Finalized) {
    match proof {
        Finalized::Segment(bytes, height) => {
            put(out, &(0u8, height));
            put_mark(out, bytes);
        }
        Finalized::Anchored { segment, tip, height } => {
            put(out, &(1u8, height));
            put_mark(out, segment);
            put_mark(out, tip);
        }
        Finalized::Tip(bytes) => {
            put(out, &2u8);
            put_mark(out, bytes);
        }
        Finalized::Handover(bytes) => {
            put(out, &3u8);
            put_mark(out, bytes);
        }
    }
}

/// A proven subtree's hash says all of its records, so their number and size are enough beside it.
fn put_leaves(out: &mut Vec<u8>, leaves: &StateLeaves) {
    put(out, &(leaves.item, leaves.bytes()));
    put_count(out, leaves.records.len());
}

fn put_work(out: &mut Vec<u8>, work: &HostWork) {
    match work {
        HostWork::Apply(Apply { parts, tip, target }) => {
            put(out, target);
            put_count(out, parts.len());
            for part in parts {
                put_segment(out, &part.segment);
                put_frames(out, &part.frames);
                if part.executed {
                    put(out, &true);
                }
            }
            put_optional(out, tip.as_ref());
        }
        HostWork::Replay(range) => put(out, range),
        HostWork::StoreHandovers(links) => {
            put_count(out, links.len());
            links.iter().for_each(|link| put_link(out, link));
        }
        HostWork::Survey(items) => put(out, items),
        HostWork::Stage(leaves) => {
            put_count(out, leaves.len());
            leaves.iter().for_each(|leaves| put_leaves(out, leaves));
        }
        HostWork::Activate(SnapshotBase { point, state_root, segment, tip }) => {
            put(out, &(point, state_root));
            put_segment(out, segment);
            put_optional(out, tip.as_ref());
        }
        HostWork::AddHistory(HistoryPiece { segment, frames }) => {
            put_segment(out, segment);
            put(out, &frames.is_some());
            put_frames(out, frames.as_deref().unwrap_or_default());
        }
    }
}

fn put_job(out: &mut Vec<u8>, job: &Job) {
    put(out, &job.id());
    match job.task() {
        Task::Handovers { from, bytes } => {
            put(out, &0u8);
            put_epoch(out, from);
            put_mark(out, bytes);
        }
        Task::Tip { epoch, bytes } => {
            put(out, &1u8);
            put_epoch(out, epoch);
            put_mark(out, bytes);
        }
        Task::Segment { epoch, claim, bodies, handover, bytes } => {
            put(out, &(2u8, claim, bodies));
            put_epoch(out, epoch);
            put_optional(out, handover.as_ref());
            put_mark(out, bytes);
        }
        Task::Bodies { segment, range, bytes } => {
            put(out, &(3u8, range));
            put_segment(out, segment);
            put_mark(out, bytes);
        }
        Task::Follow { epoch, claim, bytes } => {
            put(out, &(4u8, claim));
            put_epoch(out, epoch);
            put_mark(out, bytes);
        }
        Task::State { form, items, bytes } => {
            put(out, &(5u8, form, items));
            put_mark(out, bytes);
        }
        Task::Base { epoch, claim, height, bytes } => {
            put(out, &(6u8, claim, height));
            put_epoch(out, epoch);
            put_mark(out, bytes);
        }
        Task::Conflict { epoch, one, other } => {
            put(out, &7u8);
            put_epoch(out, epoch);
            put_finalized(out, one);
            put_finalized(out, other);
        }
        Task::HandoverPart { known, from, links } => {
            put(out, &8u8);
            put_epoch(out, known);
            put_epoch(out, from);
            put_count(out, links.len());
            links.iter().for_each(|link| put_link(out, link));
        }
        Task::Skip { from, to, bytes } => {
            put(out, &(9u8, to));
            put_epoch(out, from);
            put_mark(out, bytes);
        }
        Task::Read { epoch, key, bytes } => {
            put(out, &10u8);
            put_epoch(out, epoch);
            put_mark(out, key);
            put_mark(out, bytes);
        }
        Task::Proof { root, key, bytes } => {
            put(out, &(11u8, root));
            put_mark(out, key);
            put_mark(out, bytes);
        }
    }
}
