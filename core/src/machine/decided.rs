//! Blocks that this node's own consensus engine has decided.
//!
//! Submissions come in as a peer's answer to a question for what follows the tip, are proven by the same job, and
//! take their place as such an answer does. A false one is the engine's error and nobody's fault. Where they lie
//! above a gap, their proof moves the target, peers fill the gap, and the blocks wait for their turn. The engine is
//! answered once they are stored and executed.
//!
//! A node that decides is not told by peers what it decides itself: while blocks come from the engine, nobody is asked
//! for what follows the tip.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::chain::{CheckError, EpochRef, Fault, Finalized, SegmentClaim, SegmentEnd, SegmentRef, TipFacts};
use crate::ids::{DecidedId, Epoch, Height};
use crate::limits::{MAX_DECIDED, MAX_DECIDED_BYTES, MAX_HANDOVER_BYTES};
use crate::machine::output::Output;
use crate::machine::state::{Machine, Phase, Timer};
use crate::machine::submissions::{Ending, Stage, Submission};
use crate::ranges::HeightRange;
use crate::requests::Purpose;
use crate::strategy::Source;
use crate::time::UnixMillis;
use crate::verify::{Outcome, Task, Verdict};
use crate::wire::{BodyFrame, put_section};

/// Time after a block of the engine in which nobody is asked for what follows the tip. An engine that misses blocks says
/// so with [`Input::Start`](super::Input::Start), which ends it at once.
const DECIDES_FOR: Duration = Duration::from_secs(10);
/// Blocks that peers may claim to be ahead without being asked to prove it, while the engine decides: they hear of its
/// blocks from others at the same time, and their claims are as old as the last look at them.
const CLAIMS_SLACK: u64 = 64;

/// Blocks that this node's own engine has decided, for [`Input::Decided`](super::Input::Decided).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decided {
    /// Names the submission in its answer. Chosen by the host, which may count.
    pub id: DecidedId,
    /// Height of the first block. All of them belong to one cell of the grid.
    pub first: Height,
    /// The blocks, encoded as the answer to [`Request::Follow`](crate::wire::Request::Follow): a segment that ends with the
    /// proof of finality of its last block, its audit certificates, each with its length in front, then frames.
    pub bytes: Bytes,
    /// Handover to the next epoch, where the last block ends its own: without it the next block can't be proven.
    pub handover: Option<Bytes>,
    /// Whether the engine has executed the blocks: the application is asked to
    /// [adopt](crate::calls::ApplyPart::executed) what came of them.
    pub executed: bool,
}

/// Why decided blocks were not taken in. Nobody is blamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecidedError {
    /// The machine does not run. Blocks that came before it was stopped may be stored all the same.
    #[error("the sync is stopped; start it and submit the blocks again")]
    Stopped,
    /// The machine has stopped for good.
    #[error("the sync has halted, and its event says why; nothing is taken in any more")]
    Halted,
    /// As many submissions wait already as may, or the memory budget has no room.
    #[error("too many decided blocks wait already ({waiting} submissions); wait for the answer to one of them")]
    TooMany {
        /// Submissions that wait.
        waiting: u32,
    },
    /// The submission is larger than any may be.
    #[error("the submission has {bytes} bytes, and {most} are the most; submit fewer blocks at a time")]
    TooLarge {
        /// Bytes of the submission.
        bytes: u64,
        /// The most.
        most: u64,
    },
    /// The epoch of the block isn't proven yet.
    #[error(
        "the epoch of block {0} is not proven here yet; submit the last block of the epoch before with its handover first, or wait until the sync has got there"
    )]
    UnknownEpoch(Height),
    /// The blocks, or their proof, don't hold.
    #[error("the blocks or their proof of finality don't hold: {0}; check how the engine encodes them")]
    False(Fault),
    /// The handover doesn't hold.
    #[error("the handover doesn't hold: {0}; check how the engine encodes it")]
    FalseHandover(Fault),
    /// Some of the blocks are here already, and some are not.
    #[error("blocks below {next} are here already; submit those from {next} on")]
    Overlap {
        /// The first block that is missing.
        next: Height,
    },
    /// Another block was proven at this height, and the two proofs did not both hold when they were checked again.
    #[error(
        "another block was proven at height {0}, and the two proofs did not both hold when checked again; memory may be bad: start the node anew"
    )]
    Contradicted(Height),
}

impl Machine {
    /// The engine hands in blocks.
    pub(super) fn on_decided(&mut self, decided: Decided) {
        self.unplanned = true;
        let Decided { id, first, bytes, handover, executed } = decided;
        let len = |bytes: &Bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let ending = handover.as_ref().map_or(0, len);
        let size = len(&bytes).saturating_add(ending);
        let too_large = |bytes, most| (bytes > most).then_some(DecidedError::TooLarge { bytes, most });
        let refused = match self.phase {
            Phase::Stopped => Some(DecidedError::Stopped),
            Phase::Halted => Some(DecidedError::Halted),
            Phase::Running => {
                too_large(size, MAX_DECIDED_BYTES).or_else(|| too_large(ending, u64::from(MAX_HANDOVER_BYTES)))
            }
        };
        if let Some(error) = refused {
            return self.answer(id, Err(error));
        }
        let held = &self.submissions.held;
        let full = held.len() >= MAX_DECIDED || self.submissions.bytes().saturating_add(size) > MAX_DECIDED_BYTES;
        let is_next = first.is_next_of(self.window.planned());
        if full || !self.budget.reserve(size, is_next) {
            let waiting = u32::try_from(self.submissions.held.len()).unwrap_or(u32::MAX);
            return self.answer(id, Err(DecidedError::TooMany { waiting }));
        }
        let (stage, ending) = (Stage::Waiting(bytes), handover.map_or(Ending::Absent, Ending::Waiting));
        self.submissions.held.push(Submission { id, first, executed, size, reserved: size, stage, ending });
    }

    fn answer(&mut self, id: DecidedId, result: Result<Height, DecidedError>) {
        self.outputs.push_back(Output::Decided { id, result });
    }

    /// Ends a submission with this answer.
    fn end_submission(&mut self, place: usize, result: Result<Height, DecidedError>) {
        if place >= self.submissions.held.len() {
            return;
        }
        let ended = self.submissions.held.remove(place);
        self.budget.release(ended.reserved);
        for job in ended.jobs() {
            self.drop_job(job);
        }
        self.answer(ended.id, result);
    }

    /// Ends all submissions: the machine stops.
    pub(super) fn end_submissions(&mut self) {
        let error = if self.phase == Phase::Halted { DecidedError::Halted } else { DecidedError::Stopped };
        while !self.submissions.held.is_empty() {
            self.end_submission(0, Err(error));
        }
        self.submissions.restart();
    }

    /// Whether nobody need be asked for what follows the tip: the engine decides it, nothing that is proven is missing, and
    /// nobody claims to be far ahead.
    pub(super) fn decides(&self) -> bool {
        let planned = self.window.planned();
        let claimed = self.claims.highest.map_or(Height::ZERO, |(tip, _)| tip);
        self.submissions.last.is_some_and(|last| self.now < last.after(DECIDES_FOR))
            && self.target().is_none_or(|target| target <= planned)
            && claimed.above(planned) <= CLAIMS_SLACK
    }

    /// Takes back what peers were asked for of what the engine decides.
    pub(super) fn end_polls(&mut self) {
        let polls = self.requests.iter().filter(|(_, request)| matches!(request.purpose, Purpose::Follow(_)));
        let obsolete: Vec<Source> = polls.map(|(id, _)| Source::Request(id)).collect();
        self.cancel_sources(obsolete);
    }

    /// Takes submissions as far as they can go now.
    pub(super) fn decide(&mut self) {
        if self.submissions.held.is_empty() {
            return;
        }
        self.check_submissions();
        if self.standing.has_replayed() {
            self.place_submissions();
            // Blocks of the next epoch may have waited for it.
            if self.trust_endings() {
                self.check_submissions();
            }
            self.aim_at_submissions();
        }
        self.answer_submissions();
    }

    /// Gives submissions to jobs whose epochs are known.
    fn check_submissions(&mut self) {
        let mut place = 0usize;
        while let Some(first) = self.submissions.held.get(place).map(|held| held.first) {
            let waits = self.submissions.held.get(place).is_some_and(|held| matches!(held.stage, Stage::Waiting(_)));
            let next = place.saturating_add(1);
            if !waits {
                place = next;
                continue;
            }
            let cell = self.epochs.of_height(first).cloned().and_then(|epoch| {
                let cell = self.profile.cell(first, epoch.range())?;
                Some((epoch, HeightRange::new(first, cell.last())?))
            });
            match cell {
                Some((epoch, range)) => {
                    let parent = self.parent_at_seam(&epoch, first);
                    let (end, audit) = (SegmentEnd::CertifiedUpTo, self.audits());
                    let claim = SegmentClaim { range, parent, end, audit };
                    let Some(held) = self.submissions.held.get_mut(place) else { return };
                    let (blocks, ending) = (held.stage.clone(), held.ending.clone());
                    if let Stage::Waiting(bytes) = blocks {
                        let task = Task::Follow { epoch: epoch.clone(), claim, bytes };
                        let job = self.send_job(task, None, 0, 0);
                        self.set_stage(place, Stage::Checking(job));
                    }
                    if let Ending::Waiting(handover) = ending {
                        let mut bytes = Vec::new();
                        let ending = if epoch.epoch() < self.epochs.newest().epoch() {
                            Ending::Trusted(epoch.epoch().next())
                        } else if put_section(&mut bytes, &handover) {
                            let task = Task::Handovers { from: epoch, bytes: bytes.into() };
                            Ending::Checking(self.send_job(task, None, 0, 0))
                        } else {
                            Ending::Absent
                        };
                        self.set_ending(place, ending);
                    }
                    place = next;
                }
                // The epoch is over, and so is every block of it.
                None if first <= self.standing.applied => self.end_submission(place, Ok(self.standing.applied)),
                None if self.awaits_handover(place) => place = next,
                None => self.end_submission(place, Err(DecidedError::UnknownEpoch(first))),
            }
        }
    }

    /// Whether the end of an epoch is being proven, by which the epoch of this submission may become known.
    fn awaits_handover(&self, place: usize) -> bool {
        self.submissions.held.iter().take(place).any(|earlier| earlier.ending.is_open())
            || self.epochs.check.is_some()
            || self.jobs.iter().any(|pending| matches!(pending.job.task(), Task::Handovers { .. }))
    }

    fn set_stage(&mut self, place: usize, stage: Stage) {
        if let Some(held) = self.submissions.held.get_mut(place) {
            held.stage = stage;
        }
    }

    fn set_ending(&mut self, place: usize, ending: Ending) {
        if let Some(held) = self.submissions.held.get_mut(place) {
            held.ending = ending;
        }
    }

    /// A job of a submission is done.
    pub(super) fn take_decided(&mut self, verdict: Verdict) {
        let job = verdict.job();
        let place = self.submissions.held.iter().position(|held| held.jobs().any(|asked| asked == job));
        let Some(place) = place else { return };
        match verdict.into_outcome() {
            // The job rests, and was not taken out.
            Err(CheckError::Unable(_)) => {}
            Err(CheckError::False(fault)) => {
                let is_blocks = self.submissions.held.get(place).is_some_and(|held| held.stage == Stage::Checking(job));
                let error = if is_blocks { DecidedError::False(fault) } else { DecidedError::FalseHandover(fault) };
                self.end_submission(place, Err(error));
            }
            Ok(Outcome::Handovers { links, .. }) => self.set_ending(place, Ending::Proven(links)),
            Ok(Outcome::Follow { segment, frames }) if !self.is_whole(&segment, &frames) => {
                self.end_submission(place, Err(DecidedError::False(Fault::Malformed)));
            }
            Ok(Outcome::Follow { segment, frames }) => self.take_blocks(place, segment, frames),
            Ok(_) => self.counters.strays = self.counters.strays.saturating_add(1),
        }
    }

    /// The blocks of a submission are proven.
    fn take_blocks(&mut self, place: usize, segment: SegmentRef, frames: Vec<BodyFrame>) {
        let last = segment.range().last();
        // Held in the form in which they wait from now on.
        let held = held_bytes(&segment, &frames);
        if let Some(submission) = self.submissions.held.get_mut(place) {
            self.budget.release(submission.reserved);
            submission.reserved = held;
            self.budget.reserve_forced(held);
        }
        self.submissions.highest = self.submissions.highest.max(last);
        if last > self.standing.applied {
            self.submissions.last = Some(self.now);
            self.timers.set(Timer::Decides, self.now.after(DECIDES_FOR));
        }
        match self.contradicted_by(last, &segment) {
            Some(ours) => {
                let theirs = segment.finalized(None, last);
                self.set_stage(place, Stage::Disputed(last));
                self.check_conflict(last, ours, theirs);
            }
            None => self.set_stage(place, Stage::Proven { segment, frames, placed: false }),
        }
    }

    /// The proof of another block where this segment ends, if there is one. The inner one is `None` where it is no longer
    /// at hand.
    fn contradicted_by(&self, last: Height, segment: &SegmentRef) -> Option<Option<Finalized>> {
        let id = segment.last_id();
        if let Some((_, bytes)) = self.handover_ending_at(last).filter(|&(ours, _)| ours != id) {
            return Some(Some(Finalized::Handover(bytes)));
        }
        let target = self.target.as_ref().filter(|target| target.facts.height == last && target.facts.id != id);
        if let Some(target) = target {
            return Some(Some(target.proof.clone()));
        }
        let known = [self.window.link(), self.standing.stored].into_iter().chain(self.standing.point());
        let contradicts = known.into_iter().any(|ours| ours.height == last && ours.id != id);
        contradicts.then(|| self.window.link_proof(last).or_else(|| self.standing.proof_at(last)))
    }

    /// Puts proven submissions in line, where they continue it.
    fn place_submissions(&mut self) {
        loop {
            let next = self.window.planned().next();
            let window = &self.window;
            let fits = |held: &Submission| match &held.stage {
                Stage::Proven { segment, placed, .. } => {
                    held.first == next || (!placed && window.is_replaceable(segment.range()))
                }
                Stage::Waiting(_) | Stage::Checking(_) | Stage::Disputed(_) => false,
            };
            let Some(place) = self.submissions.held.iter().position(fits) else { break };
            if !self.place_submission(place) {
                break;
            }
        }
    }

    /// Puts a submission in line. What peers were asked for of the same heights is taken back. False where its epoch is no
    /// longer known.
    fn place_submission(&mut self, place: usize) -> bool {
        let Some(submission) = self.submissions.held.get(place) else { return false };
        let Stage::Proven { segment, frames, .. } = submission.stage.clone() else { return false };
        let executed = submission.executed;
        if submission.first != self.window.planned().next() {
            self.reset_blocks();
        }
        let (facts, proof) = proven_by(&segment);
        let epoch = self.epochs.get(segment.epoch()).cloned();
        let held = epoch.and_then(|epoch| self.window.insert_followed(epoch, segment, frames, executed));
        let Some(held) = held else { return false };
        // The line holds the blocks from now on, and the bytes are the same.
        self.budget.reserve_forced(held);
        if let Some(submission) = self.submissions.held.get_mut(place) {
            self.budget.release(core::mem::take(&mut submission.reserved));
            if let Stage::Proven { placed, .. } = &mut submission.stage {
                *placed = true;
            }
        }
        self.raise_target(facts, proof);
        true
    }

    /// Has submissions above a state that is live now wait for their turn again: the line that they stood in is gone.
    pub(super) fn wait_again(&mut self) {
        let planned = self.window.planned();
        for submission in &mut self.submissions.held {
            if let Stage::Proven { segment, frames, placed } = &mut submission.stage
                && *placed
                && segment.range().last() > planned
            {
                *placed = false;
                submission.reserved = held_bytes(segment, frames);
                self.budget.reserve_forced(submission.reserved);
            }
        }
    }

    /// Trusts the epochs that proven handovers begin, once the blocks below are in line or applied. Whether there was one.
    fn trust_endings(&mut self) -> bool {
        let mut any = false;
        for place in 0..self.submissions.held.len() {
            let Some(submission) = self.submissions.held.get_mut(place) else { break };
            let planned = self.window.planned().max(self.standing.applied);
            let in_line = submission.last().is_some_and(|last| last <= planned);
            let Ending::Proven(links) = &mut submission.ending else { continue };
            if !in_line {
                continue;
            }
            let links = core::mem::take(links);
            let ended = links.last().map(|link| link.ended);
            // Peers may have given the same one meanwhile.
            self.take_handovers(None, links, None);
            let begins = ended.map_or_else(|| self.epochs.newest().epoch(), Epoch::next);
            self.set_ending(place, Ending::Trusted(begins));
            any = true;
        }
        any
    }

    /// Has peers fill the gap below a submission where nothing else that is proven is missing: up to the block that the
    /// submission's first one names, which is as proven as that.
    fn aim_at_submissions(&mut self) {
        let planned = self.window.planned();
        if self.target().is_some_and(|target| target > planned) {
            return;
        }
        let above = self.submissions.held.iter().filter_map(|held| match &held.stage {
            Stage::Proven { segment, placed: false, .. } if held.first > planned.next() => Some(segment),
            _ => None,
        });
        let Some(segment) = above.min_by_key(|segment| segment.range().first()) else { return };
        let Some(height) = segment.range().first().prev() else { return };
        let epoch = self.epochs.of_height(height).map_or(segment.epoch(), EpochRef::epoch);
        let (id, timestamp) = (segment.parent_id(), UnixMillis::default());
        let facts = TipFacts { height, id, epoch, timestamp, state_root: None };
        let proof = segment.finalized(None, height);
        self.claims.changed = true;
        self.raise_target(facts, proof);
    }

    /// Answers submissions whose blocks are stored and executed, and those of which some blocks are here and some are not.
    fn answer_submissions(&mut self) {
        let mut place = 0usize;
        while let Some(submission) = self.submissions.held.get(place) {
            let Stage::Proven { segment, placed, .. } = &submission.stage else {
                place = place.saturating_add(1);
                continue;
            };
            let range = segment.range();
            let planned = self.window.planned();
            let ended = match submission.ending {
                Ending::Absent => true,
                Ending::Waiting(_) | Ending::Checking(_) | Ending::Proven(_) => false,
                Ending::Trusted(epoch) => self.durable_epoch() >= epoch,
            };
            if range.last() <= self.standing.applied && ended {
                self.end_submission(place, Ok(self.standing.applied));
            } else if !placed && range.contains(planned) && planned < range.last() {
                self.end_submission(place, Err(DecidedError::Overlap { next: planned.next() }));
            } else {
                place = place.saturating_add(1);
            }
        }
    }

    /// Two proven blocks at one height were checked again, and one of the proofs doesn't hold: what was handed in is not
    /// to be trusted either.
    pub(super) fn refuse_disputed(&mut self) {
        let mut place = 0usize;
        while let Some(submission) = self.submissions.held.get(place) {
            let height = match &submission.stage {
                Stage::Disputed(height) => *height,
                Stage::Proven { segment, .. } => segment.range().last(),
                Stage::Waiting(_) | Stage::Checking(_) => {
                    place = place.saturating_add(1);
                    continue;
                }
            };
            self.end_submission(place, Err(DecidedError::Contradicted(height)));
        }
    }
}

/// Bytes of proven blocks that wait.
fn held_bytes(segment: &SegmentRef, frames: &[BodyFrame]) -> u64 {
    let bytes = frames.iter().map(|frame| u64::try_from(frame.raw.len()).unwrap_or(u64::MAX));
    bytes.fold(u64::try_from(segment.bytes().len()).unwrap_or(u64::MAX), u64::saturating_add)
}

/// Facts and proof of a certified segment's last block.
pub(super) fn proven_by(segment: &SegmentRef) -> (TipFacts, Finalized) {
    let height = segment.range().last();
    let (id, epoch, timestamp) = (segment.last_id(), segment.epoch(), segment.last_timestamp());
    let facts = TipFacts { height, id, epoch, timestamp, state_root: None };
    (facts, segment.finalized(None, height))
}
