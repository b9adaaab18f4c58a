//! Work for any thread: prove that bytes from a peer are what they should be.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::handovers::{prove_ahead, run_handover_part, run_handovers};
use super::segments::{counted, run_base, run_bodies, run_follow, run_segment};
use super::verdict::{HandoverLink, Outcome, Statement, Verdict};
use crate::chain::native::codec::{bounded, plain};
use crate::chain::{
    Chain, CheckError, EpochRef, Fault, Finalized, SegmentClaim, SegmentRef, Skipped, TipCheck, TipFacts,
};
use crate::hash::Hash;
use crate::ids::{Epoch, Height, JobId};
use crate::limits::{MAX_HANDOVERS, MAX_STATE_ITEMS};
use crate::ranges::HeightRange;
use crate::state::{PLACEHOLDER, Prefix, StateForm, StateItem, decode_state, key_hash};
use crate::wire::{Sections, verify_read};

/// One verification: self-contained, of bounded work, and `Send`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Job {
    id: JobId,
    pub(super) task: Task,
}

/// Task of a job: what it is to prove. Public to read, for hosts that verify a chain of their own; only the machine
/// makes jobs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Task {
    /// Handovers that follow each other, from the end of a trusted epoch on.
    Handovers {
        /// The trusted epoch whose end the first of them proves.
        from: EpochRef,
        /// The answer: length-prefixed handovers.
        bytes: Bytes,
    },
    /// The signatures of some handovers of an answer that was [linked](Outcome::Handovers) by hash: any part of it, in any
    /// order, on any thread.
    HandoverPart {
        /// A trusted epoch below, whose keys may be the same.
        known: EpochRef,
        /// The epoch whose end the first of them proves, linked to a trusted one.
        from: EpochRef,
        /// Handovers that follow each other by their hashes.
        #[serde(deserialize_with = "bounded::<_, _, { MAX_HANDOVERS as usize }>")]
        links: Vec<HandoverLink>,
    },
    /// A finalized tip.
    Tip {
        /// The newest trusted epoch.
        epoch: EpochRef,
        /// The answer.
        bytes: Bytes,
    },
    /// A segment of headers.
    Segment {
        /// The epoch of all of its headers.
        epoch: EpochRef,
        /// Segment that was asked for.
        claim: SegmentClaim,
        /// Most payload bytes that were asked for behind the headers.
        bodies: u32,
        /// A handover that was proven for the end of the epoch, where the claim ends there.
        handover: Option<Bytes>,
        /// The answer: the segment and its audit certificates, each length-prefixed, then frames if any were asked for.
        bytes: Bytes,
    },
    /// Payloads of verified headers.
    Bodies {
        /// The headers.
        segment: SegmentRef,
        /// The heights asked for, within the segment.
        range: HeightRange,
        /// The answer: frames.
        bytes: Bytes,
    },
    /// Blocks that follow the tip: a segment and its payloads in one answer.
    Follow {
        /// The epoch of all of its headers.
        epoch: EpochRef,
        /// Segment that was asked for.
        claim: SegmentClaim,
        /// The answer: the segment and its audit certificates, each length-prefixed, then frames.
        bytes: Bytes,
    },
    /// Subtrees of the state.
    State {
        /// In which form they were asked for.
        form: StateForm,
        /// Subtrees that were asked for: places and the hashes that they must have.
        #[serde(deserialize_with = "bounded::<_, _, MAX_STATE_ITEMS>")]
        items: Vec<StateItem>,
        /// The answer.
        bytes: Bytes,
    },
    /// Headers with the one whose state is to be fetched.
    Base {
        /// The epoch of all of the headers.
        epoch: EpochRef,
        /// Segment that was asked for.
        claim: SegmentClaim,
        /// The height of the state, within the segment.
        height: Height,
        /// The answer: the segment and its audit certificates, each length-prefixed.
        bytes: Bytes,
    },
    /// Two proofs of different blocks at one height, both verified again from their bytes.
    Conflict {
        /// The epoch of both.
        epoch: EpochRef,
        /// One proof.
        one: Finalized,
        /// The other.
        other: Finalized,
    },
    /// An epoch further up, without the handovers between: for light clients, within the trusting period.
    Skip {
        /// The trusted epoch, whose age was checked.
        from: EpochRef,
        /// The epoch to prove, above that one.
        to: Epoch,
        /// The answer: two length-prefixed handovers, the one that names the epoch and the one that ends it.
        bytes: Bytes,
    },
    /// A key's value in the newest state that the peer has, with the proof that its block is final.
    Read {
        /// The newest trusted epoch.
        epoch: EpochRef,
        /// The key.
        key: Bytes,
        /// The answer: a tip, then as for a proof.
        bytes: Bytes,
    },
    /// A key's value in a state whose root was proven.
    Proof {
        /// The root.
        root: Hash,
        /// The key.
        key: Bytes,
        /// The answer, as [`verify_read`] takes it.
        bytes: Bytes,
    },
}

plain!(Job);

impl Task {
    /// Does the work here and now: for bytes that came another way than as an answer to the machine, such as those of a
    /// snapshot file. What it proves is the same.
    pub fn prove<C: Chain>(self, chain: &C) -> Result<Outcome, CheckError> {
        match Job::new(JobId::FIRST, self).run(chain).into_outcome()? {
            Outcome::Handovers { links, ahead, fault } => Ok(prove_ahead(chain, links, ahead, fault)),
            outcome => Ok(outcome),
        }
    }
}

impl Job {
    pub(crate) fn new(id: JobId, task: Task) -> Self {
        Self { id, task }
    }

    /// The job's id, which its verdict carries.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The task.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The statement to prove, as the verdict must say it.
    pub fn statement(&self) -> Statement {
        match &self.task {
            Task::Handovers { from, .. } => Statement::Handovers { from: from.epoch() },
            Task::HandoverPart { from, links, .. } => {
                Statement::HandoverPart { from: from.epoch(), count: u32::try_from(links.len()).unwrap_or(u32::MAX) }
            }
            Task::Tip { epoch, .. } => Statement::Tip { epoch: epoch.epoch() },
            Task::Segment { epoch, claim, .. } => Statement::Segment { epoch: epoch.epoch(), claim: *claim },
            Task::Bodies { segment, range, .. } => Statement::Bodies { last_id: segment.last_id(), range: *range },
            Task::Follow { epoch, claim, .. } => Statement::Follow { epoch: epoch.epoch(), claim: *claim },
            Task::State { form, items, .. } => Statement::State {
                form: *form,
                // The machine makes no job for nothing.
                first: items.first().copied().unwrap_or(StateItem { prefix: Prefix::ROOT, hash: PLACEHOLDER }),
                items: u32::try_from(items.len()).unwrap_or(u32::MAX),
            },
            Task::Base { epoch, claim, height, .. } => {
                Statement::Base { epoch: epoch.epoch(), claim: *claim, height: *height }
            }
            Task::Conflict { epoch, .. } => Statement::Conflict { epoch: epoch.epoch() },
            Task::Skip { from, to, .. } => Statement::Skip { from: from.epoch(), to: *to },
            Task::Read { epoch, key, .. } => Statement::Read { epoch: epoch.epoch(), key_hash: key_hash(key) },
            Task::Proof { root, key, .. } => Statement::Proof { root: *root, key_hash: key_hash(key) },
        }
    }

    /// Height from which on blocks wait for this job; zero where everything does. Of the jobs that are out the one with
    /// the lowest is to be run first, and of equal ones the one with the lowest id.
    pub fn height(&self) -> Height {
        match &self.task {
            // An epoch's end is needed when its blocks are; where they are few, the next ones are as near.
            Task::Handovers { from, .. } | Task::HandoverPart { from, .. } => from.range().first(),
            Task::Segment { claim, .. } | Task::Follow { claim, .. } => claim.range.first(),
            Task::Bodies { range, .. } => range.first(),
            Task::Tip { .. }
            | Task::State { .. }
            | Task::Base { .. }
            | Task::Conflict { .. }
            | Task::Skip { .. }
            | Task::Read { .. }
            | Task::Proof { .. } => Height::ZERO,
        }
    }

    /// Bytes that the job holds on to, for memory accounts of the host.
    pub fn input_bytes(&self) -> usize {
        match &self.task {
            Task::Handovers { bytes, .. }
            | Task::Tip { bytes, .. }
            | Task::Segment { bytes, .. }
            | Task::Bodies { bytes, .. }
            | Task::Follow { bytes, .. }
            | Task::State { bytes, .. }
            | Task::Base { bytes, .. }
            | Task::Skip { bytes, .. }
            | Task::Read { bytes, .. }
            | Task::Proof { bytes, .. } => bytes.len(),
            Task::HandoverPart { links, .. } => {
                links.iter().map(|link| link.bytes.len()).fold(0, usize::saturating_add)
            }
            Task::Conflict { .. } => 0,
        }
    }

    /// Does the work. Pure: the same job gives the same verdict on every machine.
    pub fn run<C: Chain>(&self, chain: &C) -> Verdict {
        let found = match &self.task {
            Task::Segment { epoch, claim, bodies, handover, bytes } => {
                counted(run_segment(chain, epoch, claim, *bodies, handover.as_ref(), bytes))
            }
            Task::Follow { epoch, claim, bytes } => counted(run_follow(chain, epoch, claim, bytes)),
            Task::State { form, items, bytes } => {
                (decode_state(*form, items, bytes).map(Outcome::State).map_err(CheckError::False), 0)
            }
            _ => self.prove_for_light(chain),
        };
        self.verdict(found)
    }

    /// The same for the jobs of a [`LightClient`](crate::light::LightClient). Others can't be done by it, so that a program
    /// with no other jobs, which a page loads, does not hold the code for them.
    pub fn run_light<C: Chain>(&self, chain: &C) -> Verdict {
        self.verdict(self.prove_for_light(chain))
    }

    fn verdict(&self, (outcome, quorum_checks): Found) -> Verdict {
        Verdict::new(self.id, self.statement(), outcome, quorum_checks)
    }

    fn prove_for_light<C: Chain>(&self, chain: &C) -> Found {
        match &self.task {
            Task::Handovers { from, bytes } => run_handovers(chain, from, bytes),
            Task::HandoverPart { known, from, links } => run_handover_part(chain, known, from, links),
            Task::Tip { epoch, bytes } => match run_tip(chain, epoch, bytes) {
                Ok(check) => (Ok(Outcome::Tip(check, bytes.clone())), u32::from(matches!(check, TipCheck::Final(_)))),
                Err(fault) => (Err(fault), 1),
            },
            // Payloads that don't fit may be false, or the lengths. No machine asks for them.
            Task::Bodies { .. } if !chain.profile().knows_lengths() => (Err(CheckError::Unable(UNPROVEN_LENGTHS)), 0),
            Task::Bodies { segment, range, bytes } => {
                (run_bodies(chain, segment, *range, bytes.clone()).map(Outcome::Bodies), 0)
            }
            Task::Base { epoch, claim, height, bytes } => counted(run_base(chain, epoch, claim, *height, bytes)),
            Task::Conflict { epoch, one, other } => {
                let evidence = epoch.decoded(chain).and_then(|epoch| chain.evidence(epoch, one, other));
                (evidence.map(Outcome::Conflict), 2)
            }
            Task::Skip { from, to, bytes } => run_skip(chain, from, *to, bytes),
            Task::Read { epoch, key, bytes } => (run_read(chain, epoch, key, bytes), 1),
            Task::Proof { root, key, bytes } => {
                let value = verify_read(root, key, bytes.clone());
                (value.map(Outcome::Proof).map_err(CheckError::False), 0)
            }
            Task::Segment { .. } | Task::Follow { .. } | Task::State { .. } => {
                (Err(CheckError::Unable(NOT_OF_A_LIGHT_CLIENT)), 0)
            }
        }
    }
}

/// Findings of a job, and how many certificates were checked against a quorum.
type Found = (Result<Outcome, CheckError>, u32);

/// The number of "could not be checked" for payloads apart from headers that don't prove how long they are.
const UNPROVEN_LENGTHS: u32 = 1;
/// The same for jobs that no light client makes.
const NOT_OF_A_LIGHT_CLIENT: u32 = 2;

/// Certificates of a skip and of the handover behind it: the same one, checked as a skip's and as a handover's.
const SKIP_CHECKS: u32 = 2;

fn run_skip<C: Chain>(chain: &C, from: &EpochRef, to: Epoch, bytes: &Bytes) -> (Result<Outcome, CheckError>, u32) {
    match skip(chain, from, to, bytes) {
        Ok(Some(found)) => (Ok(Outcome::Skip(Some(Box::new(found)))), SKIP_CHECKS),
        // Counted on keys' bytes: nothing was checked against a quorum.
        Ok(None) => (Ok(Outcome::Skip(None)), 0),
        Err(fault) => (Err(fault), 1),
    }
}

fn skip<C: Chain>(
    chain: &C,
    from: &EpochRef,
    to: Epoch,
    bytes: &Bytes,
) -> Result<Option<(EpochRef, HandoverLink)>, CheckError> {
    let mut sections = Sections::new(bytes.clone());
    let begins = sections.take().ok_or(Fault::Malformed)?;
    let above = sections.clone().rest();
    let ends = sections.take().ok_or(Fault::Malformed)?;
    if !sections.is_empty() || begins.len().max(ends.len()) > chain.profile().handover_bytes as usize {
        return Err(Fault::Oversize.into());
    }
    let Skipped::To(decoded, facts) = chain.verify_skip(from.decoded(chain)?, &begins, &ends)? else { return Ok(None) };
    let fits = facts.epoch == to
        && to > from.epoch()
        && facts.range.first() > from.range().last()
        && facts.last.epoch == to
        && facts.last.height == facts.range.last();
    if !fits {
        return Err(Fault::BadEpoch.into());
    }
    let epoch = EpochRef::skipped(facts, decoded);
    match run_handovers(chain, &epoch, &above).0? {
        Outcome::Handovers { links, fault: None, .. } => Ok(links.into_iter().next().map(|link| (epoch, link))),
        Outcome::Handovers { fault: Some(fault), .. } => Err(fault.into()),
        _ => Ok(None),
    }
}

fn run_read<C: Chain>(chain: &C, epoch: &EpochRef, key: &[u8], bytes: &Bytes) -> Result<Outcome, CheckError> {
    let mut sections = Sections::new(bytes.clone());
    let bytes = sections.take().ok_or(Fault::Malformed)?;
    let tip = run_tip(chain, epoch, &bytes)?;
    let value = match tip {
        TipCheck::Final(TipFacts { state_root: Some(root), .. }) => verify_read(&root, key, sections.rest())?,
        // Nothing can be read from a chain whose blocks name no state.
        TipCheck::Final(_) => return Err(Fault::WrongState.into()),
        TipCheck::OtherEpoch(_) => None,
    };
    Ok(Outcome::Read { tip, bytes, value })
}

fn run_tip<C: Chain>(chain: &C, epoch: &EpochRef, bytes: &Bytes) -> Result<TipCheck, CheckError> {
    if bytes.len() > chain.profile().tip_bytes as usize {
        return Err(Fault::Oversize.into());
    }
    let check = chain.verify_tip(epoch.decoded(chain)?, bytes)?;
    match check {
        TipCheck::Final(tip) if tip.epoch != epoch.epoch() || !epoch.range().contains(tip.height) => {
            Err(Fault::BadEpoch.into())
        }
        TipCheck::Final(_) | TipCheck::OtherEpoch(_) => Ok(check),
    }
}
