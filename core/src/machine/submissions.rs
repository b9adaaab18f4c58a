//! [`Submissions`]: what this node's own engine has handed in and was not answered yet. The machine moves it on; see
//! `decided.rs`.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::chain::SegmentRef;
use crate::ids::{DecidedId, Epoch, Height, JobId};
use crate::time::Instant;
use crate::verify::HandoverLink;
use crate::wire::BodyFrame;

/// Stage of a submission's blocks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// Their epoch is not proven yet.
    Waiting(Bytes),
    /// A job checks them.
    Checking(JobId),
    /// The blocks are proven.
    Proven {
        segment: SegmentRef,
        frames: Vec<BodyFrame>,
        /// Whether they were put in line.
        placed: bool,
    },
    /// The blocks are proven, and so is another one at this height. Both are checked again.
    Disputed(Height),
}

/// Stage of a submission's handover.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    /// There is none.
    Absent,
    /// The epoch that it ends is not proven yet.
    Waiting(Bytes),
    /// A job checks it.
    Checking(JobId),
    /// The handover is proven. It is used once the blocks are, as a target that nobody has to be asked for.
    Proven(Vec<HandoverLink>),
    /// The epoch that it begins is trusted.
    Trusted(Epoch),
}

impl Ending {
    /// Whether the epoch that it begins is still to be trusted.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Checking(_) | Self::Proven(_))
    }
}

/// A submission that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Submission {
    pub(super) id: DecidedId,
    pub(super) first: Height,
    pub(super) executed: bool,
    /// Bytes as they were handed in.
    pub(super) size: u64,
    /// Bytes of the memory budget that go back when it ends.
    pub(super) reserved: u64,
    pub(super) stage: Stage,
    pub(super) ending: Ending,
}

impl Submission {
    /// The last block, once that is known.
    pub(super) fn last(&self) -> Option<Height> {
        match &self.stage {
            Stage::Proven { segment, .. } => Some(segment.range().last()),
            Stage::Waiting(_) | Stage::Checking(_) | Stage::Disputed(_) => None,
        }
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> {
        let blocks = if let Stage::Checking(job) = self.stage { Some(job) } else { None };
        let handover = if let Ending::Checking(job) = self.ending { Some(job) } else { None };
        blocks.into_iter().chain(handover)
    }
}

/// The submissions that are not answered yet, and when there was one last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Submissions {
    /// In the order in which they came.
    pub(super) held: Vec<Submission>,
    /// Time at which blocks of the engine were proven last, since the start.
    pub(super) last: Option<Instant>,
    /// The highest block of the engine that was proven.
    pub(super) highest: Height,
}

impl Submissions {
    /// The highest block of the engine that was proven; zero before there is one.
    pub(super) fn highest(&self) -> Height {
        self.highest
    }

    /// Whether blocks came from the engine since the start.
    pub(super) fn is_used(&self) -> bool {
        self.last.is_some()
    }

    /// Forgets when blocks came from the engine: it says that it misses some, or begins anew.
    pub(super) fn restart(&mut self) {
        self.last = None;
    }

    /// Whether the handover that ends `epoch` is here and not trusted yet.
    pub(super) fn end_epoch(&self, epoch: Epoch, epoch_of: impl Fn(Height) -> Option<Epoch>) -> bool {
        self.held.iter().any(|held| held.ending.is_open() && epoch_of(held.first) == Some(epoch))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.held.iter().fold(0, |sum, held| sum.saturating_add(held.size))
    }
}
