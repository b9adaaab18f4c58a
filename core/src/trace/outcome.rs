//! Outcomes of jobs as a trace has them: the facts that were proven, without the bytes that they were proven from.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::blob::{Blob, Memory};
use super::facts::{TraceEpoch, TraceFrame, TraceLink, TraceSegment, optional, stand_ins};
use crate::chain::{Fault, HeaderFacts, TipCheck};
use crate::hash::Hash;
use crate::state::{Prefix, StateAnswer, StateItem, StateLeaves};
use crate::verify::{HandoverLink, Outcome};
use crate::wire::BodyFrame;

/// Memory that the replay sets against each record of a state: a hash and a handle.
const RECORD_BYTES: u64 = 64;

/// Outcome of a job. See [`Outcome`].
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
    /// Blocks that follow the tip.
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
    pub(super) fn new(outcome: &Outcome) -> Self {
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

    pub(super) fn stand_in(self, memory: &mut Memory) -> Option<Outcome> {
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

/// A subtree of a state. See [`StateAnswer`]. Its hash says what its records are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceState {
    /// All of its records: so many, of so many bytes.
    Leaves(TraceItem, u32, u64),
    /// Top of the subtree.
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
