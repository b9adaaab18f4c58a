//! Facts that more than one part of a trace has: epochs, proofs, gaps, handovers, headers and payloads. Each comes with
//! its bytes cut to a [`Blob`].

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::blob::{Blob, Memory};
use crate::calls::HistoryGap;
use crate::chain::{EpochRef, Finalized, Memo, SegmentFacts, SegmentRef};
use crate::hash::Hash;
use crate::ids::{Epoch, Height};
use crate::ranges::HeightRange;
use crate::time::UnixMillis;
use crate::verify::HandoverLink;
use crate::wire::BodyFrame;

/// An epoch. See [`EpochRef`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TraceEpoch {
    epoch: Epoch,
    range: HeightRange,
    bytes: Blob,
}

impl TraceEpoch {
    pub(super) fn new(epoch: &EpochRef) -> Self {
        Self { epoch: epoch.epoch(), range: epoch.range(), bytes: Blob::ends(epoch.bytes()) }
    }

    pub(super) fn stand_in(self, memory: &mut Memory) -> Option<EpochRef> {
        Some(EpochRef::trusted(self.epoch, self.range, self.bytes.stand_in(memory)?))
    }
}

/// A proof of finality. See [`Finalized`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TraceProof {
    Segment(Blob, Height),
    Anchored { segment: Blob, tip: Blob, height: Height },
    Tip(Blob),
    Handover(Blob),
}

impl TraceProof {
    pub(super) fn new(proof: &Finalized) -> Self {
        match proof {
            Finalized::Segment(bytes, height) => Self::Segment(Blob::ends(bytes), *height),
            Finalized::Anchored { segment, tip, height } => {
                Self::Anchored { segment: Blob::ends(segment), tip: Blob::ends(tip), height: *height }
            }
            // Tips are compared with each other.
            Finalized::Tip(bytes) => Self::Tip(Blob::whole(bytes)),
            Finalized::Handover(bytes) => Self::Handover(Blob::ends(bytes)),
        }
    }

    pub(super) fn stand_in(self, memory: &mut Memory) -> Option<Finalized> {
        Some(match self {
            Self::Segment(bytes, height) => Finalized::Segment(bytes.stand_in(memory)?, height),
            Self::Anchored { segment, tip, height } => {
                Finalized::Anchored { segment: segment.stand_in(memory)?, tip: tip.stand_in(memory)?, height }
            }
            Self::Tip(bytes) => Finalized::Tip(bytes.stand_in(memory)?),
            Self::Handover(bytes) => Finalized::Handover(bytes.stand_in(memory)?),
        })
    }
}

/// Gap below the stored blocks. See [`HistoryGap`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceGap {
    range: HeightRange,
    last_id: Hash,
    epoch: TraceEpoch,
}

impl TraceGap {
    pub(super) fn new(gap: &HistoryGap) -> Self {
        Self { range: gap.range, last_id: gap.last_id, epoch: TraceEpoch::new(&gap.epoch) }
    }

    pub(super) fn stand_in(self, memory: &mut Memory) -> Option<HistoryGap> {
        Some(HistoryGap { range: self.range, last_id: self.last_id, epoch: self.epoch.stand_in(memory)? })
    }
}

/// The gap that a trace has, if it has one.
pub(super) fn stand_in_for(gap: Option<TraceGap>, memory: &mut Memory) -> Option<Option<HistoryGap>> {
    gap.map_or(Some(None), |gap| gap.stand_in(memory).map(Some))
}

/// A handover. See [`HandoverLink`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceLink {
    ended: Epoch,
    boundary: Height,
    boundary_id: Hash,
    boundary_time: UnixMillis,
    epoch: TraceEpoch,
    bytes: Blob,
}

impl TraceLink {
    pub(super) fn new(link: &HandoverLink) -> Self {
        Self {
            ended: link.ended,
            boundary: link.boundary,
            boundary_id: link.boundary_id,
            boundary_time: link.boundary_time,
            epoch: TraceEpoch::new(&link.epoch),
            bytes: Blob::ends(&link.bytes),
        }
    }

    pub(super) fn stand_in(self, memory: &mut Memory) -> Option<HandoverLink> {
        Some(HandoverLink {
            ended: self.ended,
            boundary: self.boundary,
            boundary_id: self.boundary_id,
            boundary_time: self.boundary_time,
            epoch: self.epoch.stand_in(memory)?,
            bytes: self.bytes.stand_in(memory)?,
        })
    }
}

/// Headers. See [`SegmentRef`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceSegment {
    epoch: Epoch,
    facts: SegmentFacts,
    bytes: Blob,
    audit: Blob,
}

impl TraceSegment {
    pub(super) fn new(segment: &SegmentRef) -> Self {
        Self {
            epoch: segment.epoch(),
            facts: segment.facts().clone(),
            bytes: Blob::ends(segment.bytes()),
            audit: Blob::ends(segment.audit()),
        }
    }

    pub(super) fn stand_in(self, memory: &mut Memory) -> Option<SegmentRef> {
        let Self { epoch, facts, bytes, audit } = self;
        // As verification leaves it: a length for each height.
        (u64::try_from(facts.payload_lens.len()) == Ok(facts.range.count())).then_some(())?;
        Some(SegmentRef::trusted(epoch, facts, bytes.stand_in(memory)?, audit.stand_in(memory)?, Memo::default()))
    }
}

/// Payloads. See [`BodyFrame`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceFrame {
    range: HeightRange,
    wire: Blob,
    raw: Blob,
}

impl TraceFrame {
    pub(super) fn new(frame: &BodyFrame) -> Self {
        Self { range: frame.range, wire: Blob::ends(&frame.wire), raw: Blob::ends(&frame.raw) }
    }

    pub(super) fn stand_in(self, memory: &mut Memory) -> Option<BodyFrame> {
        Some(BodyFrame { range: self.range, wire: self.wire.stand_in(memory)?, raw: self.raw.stand_in(memory)? })
    }
}

pub(super) fn stand_ins(frames: Vec<TraceFrame>, memory: &mut Memory) -> Option<Vec<BodyFrame>> {
    frames.into_iter().map(|frame| frame.stand_in(memory)).collect()
}

/// A value, if there is one. `None` where that takes too much memory.
pub(super) fn optional(value: Option<Blob>, memory: &mut Memory) -> Option<Option<Bytes>> {
    Some(match value {
        Some(value) => Some(value.stand_in(memory)?),
        None => None,
    })
}
