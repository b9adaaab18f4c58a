//! Inputs as a trace has them, on the way in and on the way out.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::blob::{Blob, Memory};
use crate::calls::{BlockPoint, CallDone, HistoryGap, Holding, HostError, HostReply, Start};
use crate::chain::{
    ChainProfile, CheckError, EpochRef, Fault, Finalized, HeaderFacts, Memo, SegmentFacts, SegmentRef, TipCheck,
};
use crate::config::{SyncConfig, SyncStrategyType};
use crate::hash::Hash;
use crate::ids::{CallId, DecidedId, Epoch, Height, JobId, RequestId};
use crate::machine::{Decided, Input, Machine, PeerEvent, RequestFailure};
use crate::ranges::HeightRange;
use crate::state::{Prefix, StateAnswer, StateItem, StateLeaves};
use crate::time::{Instant, UnixMillis};
use crate::verify::{Claim, HandoverLink, Outcome, Verdict};
use crate::wire::BodyFrame;

/// Memory that the replay sets against each record of a state: a hash and a handle.
const RECORD_BYTES: u64 = 64;

/// Everything that a machine is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceHeader {
    /// The version of the program that wrote the trace. Another one may do other things with the same inputs.
    pub software: String,
    /// The settings.
    pub config: SyncConfig,
    /// Where the node stood.
    pub start: TraceStart,
    /// The seed of the machine's choices.
    pub seed: u64,
    /// The time at which the machine was made.
    pub now: Instant,
}

/// Where a node stood. See [`Start`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStart {
    chain_id: Hash,
    profile: ChainProfile,
    stored: BlockPoint,
    stored_time: UnixMillis,
    stored_proof: Option<TraceProof>,
    applied: Height,
    stages_state: bool,
    epoch: TraceEpoch,
    handovers: Vec<TraceLink>,
    history_gap: Option<TraceGap>,
}

impl TraceHeader {
    /// The head of a trace of a machine that is made from these.
    pub fn new(config: &SyncConfig, start: &Start, seed: u64, now: Instant) -> Self {
        Self {
            software: env!("CARGO_PKG_VERSION").into(),
            config: config.clone(),
            start: TraceStart {
                chain_id: start.chain_id,
                profile: start.profile,
                stored: start.stored,
                stored_time: start.stored_time,
                stored_proof: start.stored_proof.as_ref().map(TraceProof::new),
                applied: start.applied,
                stages_state: start.stages_state,
                epoch: TraceEpoch::new(&start.epoch),
                handovers: start.handovers.iter().map(TraceLink::new).collect(),
                history_gap: start.history_gap.as_ref().map(TraceGap::new),
            },
            seed,
            now,
        }
    }

    /// The height at which the node stood.
    pub fn height(&self) -> Height {
        self.start.stored.height
    }

    /// The chain.
    pub fn chain_id(&self) -> Hash {
        self.start.chain_id
    }
}

impl TraceStart {
    /// The start that it stands for. `None` where that takes too much memory.
    pub(super) fn stand_in(self, memory: &mut Memory) -> Option<Start> {
        let stored_proof = match self.stored_proof {
            Some(proof) => Some(proof.stand_in(memory)?),
            None => None,
        };
        let epoch = self.epoch.stand_in(memory)?;
        let handovers: Option<Vec<HandoverLink>> =
            self.handovers.into_iter().map(|link| link.stand_in(memory)).collect();
        Some(Start {
            chain_id: self.chain_id,
            profile: self.profile,
            stored: self.stored,
            stored_time: self.stored_time,
            stored_proof,
            applied: self.applied,
            stages_state: self.stages_state,
            epoch,
            handovers: handovers?,
            history_gap: stand_in_for(self.history_gap, memory)?,
        })
    }
}

/// One input. See [`Input`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceInput {
    /// A peer came or went.
    Peer(PeerEvent),
    /// An answer.
    Response(RequestId, Result<Blob, RequestFailure>),
    /// A verdict.
    Verdict {
        /// The job.
        job: JobId,
        /// Certificates that were checked.
        quorum_checks: u32,
        /// What was found; `None` where the job was not out, or the verdict answers another question: the machine looks
        /// no further then.
        outcome: Option<Result<TraceOutcome, CheckError>>,
    },
    /// The host did what a call asked for, or could not.
    Done(CallId, Result<TraceReply, HostError>),
    /// Time passed.
    Timeout,
    /// The command to start.
    Start(Option<Height>),
    /// The command to stop.
    Stop,
    /// The command to use a strategy.
    Strategy(SyncStrategyType),
    /// A thread has begun a job.
    Begun(JobId),
    /// This node's own engine has decided blocks.
    Decided {
        /// The submission.
        id: DecidedId,
        /// The first block.
        first: Height,
        /// The blocks.
        bytes: Blob,
        /// The end of their epoch.
        handover: Option<Blob>,
        /// Whether the engine has executed them.
        executed: bool,
    },
}

impl TraceInput {
    /// What the trace of `machine`, which is about to take it, has of `input`.
    pub(super) fn new(machine: &Machine, input: &Input) -> Self {
        match input {
            Input::Peer(event) => Self::Peer(*event),
            Input::Response(id, Ok(bytes)) if machine.reads_answer(*id) => Self::Response(*id, Ok(Blob::whole(bytes))),
            Input::Response(id, answer) => {
                Self::Response(*id, answer.as_ref().map(|it| Blob::ends(it)).map_err(|it| *it))
            }
            Input::Verdict(verdict) => {
                let asked = machine.claim_of(verdict.job()) == Some(verdict.claim());
                let outcome = || verdict.outcome().as_ref().map(TraceOutcome::new).map_err(|error| *error);
                Self::Verdict {
                    job: verdict.job(),
                    quorum_checks: verdict.quorum_checks(),
                    outcome: asked.then(outcome),
                }
            }
            Input::Done(CallDone { id, result }) => {
                Self::Done(*id, result.as_ref().map(TraceReply::new).map_err(|it| *it))
            }
            Input::Timeout => Self::Timeout,
            Input::Start(until) => Self::Start(*until),
            Input::Stop => Self::Stop,
            Input::Strategy(strategy) => Self::Strategy(*strategy),
            Input::Begun(id) => Self::Begun(*id),
            Input::Decided(Decided { id, first, bytes, handover, executed }) => Self::Decided {
                id: *id,
                first: *first,
                bytes: Blob::ends(bytes),
                handover: handover.as_ref().map(|handover| Blob::ends(handover)),
                executed: *executed,
            },
        }
    }

    /// The input that it stands for, for `machine`. `None` where that takes too much memory or can't be.
    pub(super) fn stand_in(self, machine: &Machine, memory: &mut Memory) -> Option<Input> {
        Some(match self {
            Self::Peer(event) => Input::Peer(event),
            Self::Response(id, Ok(blob)) => Input::Response(id, Ok(blob.stand_in(memory)?)),
            Self::Response(id, Err(failure)) => Input::Response(id, Err(failure)),
            Self::Verdict { job, quorum_checks, outcome } => {
                let asked = machine.claim_of(job);
                let (claim, outcome) = match (asked, outcome) {
                    (Some(claim), Some(Ok(outcome))) => (claim, Ok(outcome.stand_in(memory)?)),
                    (Some(claim), Some(Err(error))) => (claim, Err(error)),
                    // Another question than any that a machine asks.
                    (_, _) => (Claim::Conflict { epoch: Epoch::MAX }, Err(Fault::NoConflict.into())),
                };
                Input::Verdict(Verdict::new(job, claim, outcome, quorum_checks))
            }
            Self::Done(id, Ok(reply)) => Input::Done(CallDone { id, result: Ok(reply.stand_in(memory)?) }),
            Self::Done(id, Err(error)) => Input::Done(CallDone { id, result: Err(error) }),
            Self::Timeout => Input::Timeout,
            Self::Start(until) => Input::Start(until),
            Self::Stop => Input::Stop,
            Self::Strategy(strategy) => Input::Strategy(strategy),
            Self::Begun(id) => Input::Begun(id),
            Self::Decided { id, first, bytes, handover, executed } => {
                let (bytes, handover) = (bytes.stand_in(memory)?, optional(handover, memory)?);
                Input::Decided(Decided { id, first, bytes, handover, executed })
            }
        })
    }
}

/// What came of a call. See [`HostReply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceReply {
    /// How far blocks were applied, and why no further.
    Applied(Height, Option<HostError>),
    /// Handovers were stored.
    HandoversStored,
    /// What is staged.
    Surveyed(Vec<Holding>),
    /// Subtrees were staged.
    Staged,
    /// A state is live.
    Activated(Option<TraceGap>),
    /// A state has another root.
    RootMismatch(Hash),
    /// A piece of history is stored.
    HistoryAdded(Option<TraceGap>),
}

impl TraceReply {
    fn new(reply: &HostReply) -> Self {
        match reply {
            HostReply::Applied { through, stopped } => Self::Applied(*through, *stopped),
            HostReply::HandoversStored => Self::HandoversStored,
            HostReply::Surveyed(holdings) => Self::Surveyed(holdings.clone()),
            HostReply::Staged => Self::Staged,
            HostReply::Activated { history_gap } => Self::Activated(history_gap.as_ref().map(TraceGap::new)),
            HostReply::RootMismatch { found } => Self::RootMismatch(*found),
            HostReply::HistoryAdded { history_gap } => Self::HistoryAdded(history_gap.as_ref().map(TraceGap::new)),
        }
    }

    fn stand_in(self, memory: &mut Memory) -> Option<HostReply> {
        Some(match self {
            Self::Applied(through, stopped) => HostReply::Applied { through, stopped },
            Self::HandoversStored => HostReply::HandoversStored,
            Self::Surveyed(holdings) => HostReply::Surveyed(holdings),
            Self::Staged => HostReply::Staged,
            Self::Activated(gap) => HostReply::Activated { history_gap: stand_in_for(gap, memory)? },
            Self::RootMismatch(found) => HostReply::RootMismatch { found },
            Self::HistoryAdded(gap) => HostReply::HistoryAdded { history_gap: stand_in_for(gap, memory)? },
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TraceEpoch {
    epoch: Epoch,
    range: HeightRange,
    bytes: Blob,
}

impl TraceEpoch {
    fn new(epoch: &EpochRef) -> Self {
        Self { epoch: epoch.epoch(), range: epoch.range(), bytes: Blob::ends(epoch.bytes()) }
    }

    fn stand_in(self, memory: &mut Memory) -> Option<EpochRef> {
        Some(EpochRef::trusted(self.epoch, self.range, self.bytes.stand_in(memory)?))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum TraceProof {
    Segment(Blob, Height),
    Anchored { segment: Blob, tip: Blob, height: Height },
    Tip(Blob),
    Handover(Blob),
}

impl TraceProof {
    fn new(proof: &Finalized) -> Self {
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

    fn stand_in(self, memory: &mut Memory) -> Option<Finalized> {
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

/// What is missing below the stored blocks. See [`HistoryGap`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceGap {
    range: HeightRange,
    last_id: Hash,
    epoch: TraceEpoch,
}

impl TraceGap {
    fn new(gap: &HistoryGap) -> Self {
        Self { range: gap.range, last_id: gap.last_id, epoch: TraceEpoch::new(&gap.epoch) }
    }

    fn stand_in(self, memory: &mut Memory) -> Option<HistoryGap> {
        Some(HistoryGap { range: self.range, last_id: self.last_id, epoch: self.epoch.stand_in(memory)? })
    }
}

/// The gap that a trace has, if it has one.
fn stand_in_for(gap: Option<TraceGap>, memory: &mut Memory) -> Option<Option<HistoryGap>> {
    gap.map_or(Some(None), |gap| gap.stand_in(memory).map(Some))
}

/// What a job proved. See [`Outcome`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceOutcome {
    /// Handovers that are proven, and those that are linked behind them.
    Handovers(Vec<TraceLink>, Vec<TraceLink>, Option<Fault>),
    /// A tip.
    Tip(TipCheck, Blob),
    /// Headers, and payloads that came with them.
    Segment(TraceSegment, Vec<TraceFrame>),
    /// Payloads.
    Bodies(Vec<TraceFrame>),
    /// What follows the tip.
    Follow(TraceSegment, Vec<TraceFrame>),
    /// Subtrees of a state.
    State(Vec<TraceState>),
    /// Headers that a state stands on.
    Base(TraceSegment, HeaderFacts),
    /// Evidence.
    Conflict(Blob),
    /// Signatures of linked handovers.
    HandoverPart(u32, Option<Fault>),
    /// An epoch further up.
    Skip(Option<TraceSkip>),
    /// A key's value after a tip.
    Read(TipCheck, Blob, Option<Blob>),
    /// A key's value in a known state.
    Proof(Option<Blob>),
}

/// An epoch further up and the handover at its end. See [`Outcome::Skip`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceSkip {
    epoch: TraceEpoch,
    link: TraceLink,
}

impl TraceOutcome {
    fn new(outcome: &Outcome) -> Self {
        let frames = |frames: &[BodyFrame]| frames.iter().map(TraceFrame::new).collect();
        let links = |links: &[HandoverLink]| links.iter().map(TraceLink::new).collect();
        match outcome {
            Outcome::Handovers { links: proven, ahead, fault } => Self::Handovers(links(proven), links(ahead), *fault),
            Outcome::HandoverPart { proven, fault } => Self::HandoverPart(*proven, *fault),
            Outcome::Tip(check, bytes) => Self::Tip(*check, Blob::whole(bytes)),
            Outcome::Segment { segment, frames: with } => Self::Segment(TraceSegment::new(segment), frames(with)),
            Outcome::Bodies(all) => Self::Bodies(frames(all)),
            Outcome::Follow { segment, frames: with } => Self::Follow(TraceSegment::new(segment), frames(with)),
            Outcome::State(answers) => Self::State(answers.iter().map(TraceState::new).collect()),
            Outcome::Base { segment, header } => Self::Base(TraceSegment::new(segment), *header),
            // An event carries it out, and whoever replays may want it.
            Outcome::Conflict(evidence) => Self::Conflict(Blob::whole(evidence)),
            Outcome::Skip(found) => Self::Skip(
                found
                    .as_deref()
                    .map(|(epoch, link)| TraceSkip { epoch: TraceEpoch::new(epoch), link: TraceLink::new(link) }),
            ),
            // Values are what was asked for.
            Outcome::Read { tip, bytes, value } => {
                Self::Read(*tip, Blob::whole(bytes), value.as_ref().map(|value| Blob::whole(value)))
            }
            Outcome::Proof(value) => Self::Proof(value.as_ref().map(|value| Blob::whole(value))),
        }
    }

    fn stand_in(self, memory: &mut Memory) -> Option<Outcome> {
        Some(match self {
            Self::Handovers(proven, ahead, fault) => {
                let mut links = |links: Vec<TraceLink>| -> Option<Vec<HandoverLink>> {
                    links.into_iter().map(|link| link.stand_in(memory)).collect()
                };
                Outcome::Handovers { links: links(proven)?, ahead: links(ahead)?, fault }
            }
            Self::HandoverPart(proven, fault) => Outcome::HandoverPart { proven, fault },
            Self::Tip(check, bytes) => Outcome::Tip(check, bytes.stand_in(memory)?),
            Self::Segment(segment, frames) => {
                Outcome::Segment { segment: segment.stand_in(memory)?, frames: stand_ins(frames, memory)? }
            }
            Self::Bodies(frames) => Outcome::Bodies(stand_ins(frames, memory)?),
            Self::Follow(segment, frames) => {
                Outcome::Follow { segment: segment.stand_in(memory)?, frames: stand_ins(frames, memory)? }
            }
            Self::State(answers) => {
                let answers: Option<Vec<StateAnswer>> = answers.into_iter().map(|it| it.stand_in(memory)).collect();
                Outcome::State(answers?)
            }
            Self::Base(segment, header) => Outcome::Base { segment: segment.stand_in(memory)?, header },
            Self::Conflict(evidence) => Outcome::Conflict(evidence.stand_in(memory)?),
            Self::Skip(None) => Outcome::Skip(None),
            Self::Skip(Some(TraceSkip { epoch, link })) => {
                Outcome::Skip(Some(Box::new((epoch.stand_in(memory)?, link.stand_in(memory)?))))
            }
            Self::Read(tip, bytes, value) => {
                Outcome::Read { tip, bytes: bytes.stand_in(memory)?, value: optional(value, memory)? }
            }
            Self::Proof(value) => Outcome::Proof(optional(value, memory)?),
        })
    }
}

/// A value, if there is one. `None` where that takes too much memory.
fn optional(value: Option<Blob>, memory: &mut Memory) -> Option<Option<Bytes>> {
    Some(match value {
        Some(value) => Some(value.stand_in(memory)?),
        None => None,
    })
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
    fn new(link: &HandoverLink) -> Self {
        Self {
            ended: link.ended,
            boundary: link.boundary,
            boundary_id: link.boundary_id,
            boundary_time: link.boundary_time,
            epoch: TraceEpoch::new(&link.epoch),
            bytes: Blob::ends(&link.bytes),
        }
    }

    fn stand_in(self, memory: &mut Memory) -> Option<HandoverLink> {
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
    fn new(segment: &SegmentRef) -> Self {
        Self {
            epoch: segment.epoch(),
            facts: segment.facts().clone(),
            bytes: Blob::ends(segment.bytes()),
            audit: Blob::ends(segment.audit()),
        }
    }

    fn stand_in(self, memory: &mut Memory) -> Option<SegmentRef> {
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
    fn new(frame: &BodyFrame) -> Self {
        Self { range: frame.range, wire: Blob::ends(&frame.wire), raw: Blob::ends(&frame.raw) }
    }

    fn stand_in(self, memory: &mut Memory) -> Option<BodyFrame> {
        Some(BodyFrame { range: self.range, wire: self.wire.stand_in(memory)?, raw: self.raw.stand_in(memory)? })
    }
}

fn stand_ins(frames: Vec<TraceFrame>, memory: &mut Memory) -> Option<Vec<BodyFrame>> {
    frames.into_iter().map(|frame| frame.stand_in(memory)).collect()
}

/// A subtree of a state. See [`StateAnswer`]. Its hash says what its records are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceState {
    /// All of its records: so many, of so many bytes.
    Leaves(TraceItem, u32, u64),
    /// Its top.
    Tree(TraceItem, Vec<TraceItem>),
    /// Not there.
    Missing(TraceItem),
}

impl TraceState {
    fn new(answer: &StateAnswer) -> Self {
        match answer {
            StateAnswer::Leaves(leaves) => {
                let records = u32::try_from(leaves.records.len()).unwrap_or(u32::MAX);
                Self::Leaves(TraceItem::new(&leaves.item), records, leaves.bytes())
            }
            StateAnswer::Tree { item, below } => {
                Self::Tree(TraceItem::new(item), below.iter().map(TraceItem::new).collect())
            }
            StateAnswer::Missing(item) => Self::Missing(TraceItem::new(item)),
        }
    }

    fn stand_in(self, memory: &mut Memory) -> Option<StateAnswer> {
        Some(match self {
            Self::Leaves(item, records, bytes) => {
                memory.take(bytes.checked_add(u64::from(records).checked_mul(RECORD_BYTES)?)?)?;
                // The first stands for the bytes of all.
                let first = alloc::vec![0; usize::try_from(bytes).ok()?];
                let rest = core::iter::repeat_with(|| (Hash::ZERO, Bytes::new()));
                let all = core::iter::once((Hash::ZERO, Bytes::from(first))).chain(rest);
                let records = all.take(usize::try_from(records).ok()?).collect();
                StateAnswer::Leaves(StateLeaves { item: item.stand_in()?, records })
            }
            Self::Tree(item, below) => {
                let below: Option<Vec<StateItem>> = below.into_iter().map(TraceItem::stand_in).collect();
                StateAnswer::Tree { item: item.stand_in()?, below: below? }
            }
            Self::Missing(item) => StateAnswer::Missing(item.stand_in()?),
        })
    }
}

/// A place in a state and its hash, without the zeros behind a short path. See [`StateItem`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceItem {
    depth: u16,
    path: Vec<u8>,
    hash: Hash,
}

impl TraceItem {
    fn new(item: &StateItem) -> Self {
        let depth = item.prefix.depth();
        let bytes = usize::from(depth.div_ceil(8));
        let path = item.prefix.first().as_bytes().get(..bytes).unwrap_or_default().to_vec();
        Self { depth, path, hash: item.hash }
    }

    fn stand_in(self) -> Option<StateItem> {
        let mut path = [0; 32];
        path.get_mut(..self.path.len())?.copy_from_slice(&self.path);
        Some(StateItem { prefix: Prefix::new(Hash::from_bytes(path), self.depth)?, hash: self.hash })
    }
}
