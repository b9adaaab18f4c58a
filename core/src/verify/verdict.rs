//! [`Verdict`]: what a job found, under the statement that it was to prove.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::chain::native::codec::{bounded, plain};
use crate::chain::{CheckError, EpochRef, Fault, HeaderFacts, SegmentClaim, SegmentRef, TipCheck};
use crate::hash::Hash;
use crate::ids::{Epoch, Height, JobId};
use crate::limits::{GRID, MAX_HANDOVERS, MAX_STATE_ITEMS};
use crate::ranges::HeightRange;
use crate::state::{StateAnswer, StateForm, StateItem};
use crate::time::UnixMillis;
use crate::wire::BodyFrame;

/// The result of one job, bound to what the job was asked to prove.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Verdict {
    job: JobId,
    statement: Statement,
    outcome: Result<Outcome, CheckError>,
    quorum_checks: u32,
}

plain!(Verdict, HandoverLink);

impl Verdict {
    pub(crate) fn new(
        job: JobId,
        statement: Statement,
        outcome: Result<Outcome, CheckError>,
        quorum_checks: u32,
    ) -> Self {
        Self { job, statement, outcome, quorum_checks }
    }

    /// The door for hosts that verify a chain of their own: `outcome` is believed as it is. The host must have proven
    /// it from the bytes in the job's task, under the statement of the job. Where it could not tell, as when its
    /// chain failed, it says [`CheckError::Unable`]: nobody is blamed, and the job comes again after a pause.
    pub fn from_host(job: &super::Job, outcome: Result<Outcome, CheckError>, quorum_checks: u32) -> Self {
        Self::new(job.id(), job.statement(), outcome, quorum_checks)
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// The statement that the job was to prove.
    pub fn statement(&self) -> Statement {
        self.statement
    }

    /// Outcome of the job; else the fault that it found, or that this host could not tell.
    pub fn outcome(&self) -> &Result<Outcome, CheckError> {
        &self.outcome
    }

    pub(crate) fn into_outcome(self) -> Result<Outcome, CheckError> {
        self.outcome
    }

    /// Number of certificates that were checked against a quorum.
    pub fn quorum_checks(&self) -> u32 {
        self.quorum_checks
    }
}

/// Statement that a job is to prove, without the bytes that it is proven from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Statement {
    /// Handovers from the end of this epoch on.
    Handovers {
        /// The trusted epoch.
        from: Epoch,
    },
    /// Signatures of handovers that were linked by hash.
    HandoverPart {
        /// The epoch that the first of them ends.
        from: Epoch,
        /// Number of them.
        count: u32,
    },
    /// A tip in this epoch.
    Tip {
        /// The newest trusted epoch.
        epoch: Epoch,
    },
    /// A segment.
    Segment {
        /// The epoch.
        epoch: Epoch,
        /// Segment that was asked for.
        claim: SegmentClaim,
    },
    /// Payloads.
    Bodies {
        /// Id of the last block of the segment that names them.
        last_id: Hash,
        /// The heights.
        range: HeightRange,
    },
    /// Blocks that follow the tip.
    Follow {
        /// The epoch.
        epoch: Epoch,
        /// Segment that was asked for.
        claim: SegmentClaim,
    },
    /// Subtrees of the state.
    State {
        /// In which form.
        form: StateForm,
        /// The first of them.
        first: StateItem,
        /// Number of them.
        items: u32,
    },
    /// The headers that a state stands on.
    Base {
        /// The epoch.
        epoch: Epoch,
        /// Segment that was asked for.
        claim: SegmentClaim,
        /// The height of the state.
        height: Height,
    },
    /// A conflict of two proofs.
    Conflict {
        /// The epoch.
        epoch: Epoch,
    },
    /// An epoch further up.
    Skip {
        /// The trusted epoch.
        from: Epoch,
        /// The epoch to prove.
        to: Epoch,
    },
    /// A key of the newest state that the peer has.
    Read {
        /// The newest trusted epoch.
        epoch: Epoch,
        /// Hash of the key.
        key_hash: Hash,
    },
    /// A key of a known state.
    Proof {
        /// The state's root.
        root: Hash,
        /// Hash of the key.
        key_hash: Hash,
    },
}

/// Outcome of a job: what it proved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// One or more handovers. Where a later one of the same answer is false, its fault.
    Handovers {
        /// Proven handovers, in order.
        #[serde(deserialize_with = "bounded::<_, _, { MAX_HANDOVERS as usize }>")]
        links: Vec<HandoverLink>,
        /// Handovers behind them in the same answer that are linked to them by hash, in order. Their signatures are
        /// for jobs of their own, so that several threads can check a long answer.
        #[serde(deserialize_with = "bounded::<_, _, { MAX_HANDOVERS as usize }>")]
        ahead: Vec<HandoverLink>,
        /// Why the answer ended early.
        fault: Option<Fault>,
    },
    /// Signatures of linked handovers.
    HandoverPart {
        /// Number that hold, from the first on.
        proven: u32,
        /// Fault of the next one, where not all hold.
        fault: Option<Fault>,
    },
    /// A tip, or the news that it belongs to another epoch, and the bytes that say so.
    Tip(TipCheck, Bytes),
    /// A segment of headers, and payloads from its start on as far as they came with it; perhaps none.
    Segment {
        /// The headers.
        segment: SegmentRef,
        /// The payloads, of no more bytes than were asked for.
        #[serde(deserialize_with = "bounded::<_, _, { GRID as usize }>")]
        frames: Vec<BodyFrame>,
    },
    /// Payloads, from the start of the asked range; at least one.
    Bodies(#[serde(deserialize_with = "bounded::<_, _, { GRID as usize }>")] Vec<BodyFrame>),
    /// A segment and its payloads from its start on; at least one.
    Follow {
        /// The headers.
        segment: SegmentRef,
        /// The payloads.
        #[serde(deserialize_with = "bounded::<_, _, { GRID as usize }>")]
        frames: Vec<BodyFrame>,
    },
    /// Subtrees of the state, of the first of the asked ones, in order; at least one that the peer holds.
    State(#[serde(deserialize_with = "bounded::<_, _, MAX_STATE_ITEMS>")] Vec<StateAnswer>),
    /// The headers that a state stands on.
    Base {
        /// The headers.
        segment: SegmentRef,
        /// The one at the height of the state.
        header: HeaderFacts,
    },
    /// Both proofs hold: evidence that validators broke their promise.
    Conflict(Bytes),
    /// An epoch further up; with it the handover at its end, which proves the one after it too. `None` where too few of
    /// the trusted validators vouch for it: nothing was proven, and nobody is to blame.
    Skip(Option<Box<(EpochRef, HandoverLink)>>),
    /// A tip, or the news that it belongs to another epoch, and the bytes that say so; and where it is final, the value
    /// that the key has after that block.
    Read {
        /// Check of the tip.
        tip: TipCheck,
        /// The tip.
        bytes: Bytes,
        /// The key's value, `None` where it has none.
        value: Option<Bytes>,
    },
    /// The value that the key has in the known state, `None` where it has none.
    Proof(Option<Bytes>),
}

/// A handover, proven or at least linked by hash to one that is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HandoverLink {
    /// The epoch that ended.
    pub ended: Epoch,
    /// Last height of the epoch that ends.
    pub boundary: Height,
    /// The block there.
    pub boundary_id: Hash,
    /// Time of the boundary block; zero where the chain has no time. The set of the epoch that begins is trusted from
    /// then on.
    pub boundary_time: UnixMillis,
    /// The epoch that begins.
    pub epoch: EpochRef,
    /// The handover as it came, to store and serve.
    pub bytes: Bytes,
}
