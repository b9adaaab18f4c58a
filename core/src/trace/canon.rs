//! The canonical form of outputs, which their digests are over. Every field counts; of bytes, what a stand-in shares.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::blob::put_mark;
use crate::chain::{EpochRef, Finalized, SegmentRef};
use crate::machine::{Output, SnapshotBase, StateWork};
use crate::state::StateLeaves;
use crate::verify::{HandoverLink, Job, Task};
use crate::wire::BodyFrame;

/// What an output asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// [`Output::Request`]
    Request,
    /// [`Output::CancelRequest`]
    CancelRequest,
    /// [`Output::Verify`]
    Verify,
    /// [`Output::CancelJob`]
    CancelJob,
    /// [`Output::Apply`]
    Apply,
    /// [`Output::Replay`]
    Replay,
    /// [`Output::Store`]
    Store,
    /// [`Output::State`]
    State,
    /// [`Output::History`]
    History,
    /// [`Output::Penalize`]
    Penalize,
    /// [`Output::Event`]
    Event,
    /// [`Output::Wait`]
    Wait,
}

impl fmt::Display for OutputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::CancelRequest => "cancel request",
            Self::Verify => "verify",
            Self::CancelJob => "cancel job",
            Self::Apply => "apply",
            Self::Replay => "replay",
            Self::Store => "store",
            Self::State => "state",
            Self::History => "history",
            Self::Penalize => "penalize",
            Self::Event => "event",
            Self::Wait => "wait",
        })
    }
}

/// An output as a trace has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutputMark {
    /// What it asks for.
    pub kind: OutputKind,
    /// The start of its digest.
    pub digest: [u8; 8],
}

/// Appends the canonical form of `output`.
pub(super) fn put_output(out: &mut Vec<u8>, output: &Output) -> OutputKind {
    match output {
        Output::Request { id, peer, request, max_response_bytes } => {
            put(out, &(id, peer, request, max_response_bytes));
            OutputKind::Request
        }
        Output::CancelRequest(id) => {
            put(out, id);
            OutputKind::CancelRequest
        }
        Output::Verify(job) => {
            put_job(out, job);
            OutputKind::Verify
        }
        Output::CancelJob(id) => {
            put(out, id);
            OutputKind::CancelJob
        }
        Output::Apply(apply) => {
            put(out, &apply.id);
            put_count(out, apply.parts.len());
            for part in &apply.parts {
                put_segment(out, &part.segment);
                put_frames(out, &part.frames);
            }
            put_optional(out, apply.tip.as_ref());
            OutputKind::Apply
        }
        Output::Replay(replay) => {
            put(out, replay);
            OutputKind::Replay
        }
        Output::Store(call) => {
            put(out, &call.id);
            put_count(out, call.handovers.len());
            call.handovers.iter().for_each(|link| put_link(out, link));
            OutputKind::Store
        }
        Output::State(call) => {
            put(out, &call.id);
            put_work(out, &call.work);
            OutputKind::State
        }
        Output::History(call) => {
            put(out, &call.id);
            put_segment(out, &call.segment);
            put(out, &call.frames.is_some());
            put_frames(out, call.frames.as_deref().unwrap_or_default());
            OutputKind::History
        }
        Output::Penalize { peer, penalty } => {
            put(out, &(peer, penalty));
            OutputKind::Penalize
        }
        Output::Event(event) => {
            put(out, event);
            OutputKind::Event
        }
        Output::Wait(deadline) => {
            put(out, deadline);
            OutputKind::Wait
        }
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

fn put_work(out: &mut Vec<u8>, work: &StateWork) {
    match work {
        StateWork::Survey(items) => put(out, &(0u8, items)),
        StateWork::Stage(leaves) => {
            put(out, &1u8);
            put_count(out, leaves.len());
            leaves.iter().for_each(|leaves| put_leaves(out, leaves));
        }
        StateWork::Activate(SnapshotBase { point, state_root, segment, tip }) => {
            put(out, &(2u8, point, state_root));
            put_segment(out, segment);
            put_optional(out, tip.as_ref());
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
    }
}
