//! Verdicts taken in: targets rise, headers and bodies take their places, liars are named.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::chain::{CheckError, Finalized, SegmentRef, TipCheck, TipFacts};
use crate::ids::PeerId;
use crate::machine::decided::proven_by;
use crate::machine::event::Event;
use crate::machine::jobs::PendingJob;
use crate::machine::state::{Machine, Target, Timer};
use crate::peers::PeerOutcome;
use crate::ranges::HeightRange;
use crate::requests::{Capability, Kind, Purpose};
use crate::strategy::{HandoverCheck, Source};
use crate::verify::{Outcome, Task, Verdict};
use crate::wire::BodyFrame;

/// An answer that could have held more is needlessly small below this share of what was asked for.
const SMALL_ANSWER_SHARE: u64 = 4;
/// Blocks that a follower may be behind before answers with a few blocks at a quorum check each are needlessly small.
const FOLLOW_SLACK: u64 = 8;

impl Machine {
    pub(super) fn take_verdict(&mut self, pending: PendingJob, verdict: Verdict) {
        let verdict_job = verdict.job();
        let source = Source::Job(verdict_job);
        self.budget.release(pending.reserved);
        let Some((peer, purpose)) = pending.origin else {
            match pending.job.task() {
                Task::Conflict { .. } => self.take_conflict(verdict.into_outcome()),
                _ => self.take_decided(verdict),
            }
            return;
        };
        let (bytes, shared) = (pending.bytes, pending.shared);
        if let Purpose::Dispute(_) = purpose {
            self.take_dispute(peer, verdict.into_outcome());
            return;
        }
        match verdict.into_outcome() {
            // The job rests, and was not taken out.
            Err(CheckError::Unable(_)) => {}
            Err(CheckError::False(fault)) => {
                self.unassign(purpose, source);
                if self.dispute(peer, pending.job.task(), fault) {
                    return;
                }
                self.on_fault(peer, purpose.kind(), fault);
                for (peer, _) in shared {
                    self.on_fault(peer, purpose.kind(), fault);
                }
                if purpose.kind() == Kind::Handovers {
                    self.check_handovers();
                }
            }
            Ok(Outcome::Handovers { links, ahead, fault }) if ahead.is_empty() => {
                self.take_handovers(Some((peer, bytes)), links, fault);
            }
            Ok(Outcome::Handovers { links, ahead, fault }) => {
                self.check_parts(peer, purpose, HandoverCheck::new(peer, bytes, links, ahead, fault));
            }
            Ok(Outcome::HandoverPart { proven, fault }) => self.take_part(verdict_job, purpose, proven, fault),
            Ok(Outcome::Tip(check, proof)) => {
                self.take_tip(peer, check, proof.clone(), bytes);
                for (peer, bytes) in shared {
                    self.take_tip(peer, check, proof.clone(), bytes);
                }
            }
            Ok(Outcome::Segment { segment, frames } | Outcome::Follow { segment, frames })
                if !self.is_whole(&segment, &frames) =>
            {
                self.unassign(purpose, source);
                let rested = self.peers.not_available(peer, purpose.kind(), self.now);
                self.timers.set_sooner(Timer::Peer(peer), rested);
            }
            Ok(Outcome::Segment { segment, frames }) => self.take_segment(peer, purpose, segment, frames, bytes),
            Ok(Outcome::Bodies(frames)) => self.take_bodies(peer, purpose, frames, bytes),
            Ok(Outcome::Base { segment, header }) => self.take_base(peer, segment, header, bytes),
            Ok(Outcome::State(answers)) => match purpose {
                Purpose::State(batch) => self.take_state(peer, batch, source, answers, bytes),
                _ => self.counters.strays = self.counters.strays.saturating_add(1),
            },
            Ok(Outcome::Follow { segment, frames }) => self.take_followed(peer, segment, frames, bytes),
            // A conflict's verdict for a peer's answer, or a light client's: the claim was compared, so it can't be.
            Ok(Outcome::Conflict(_) | Outcome::Skip(_) | Outcome::Read { .. } | Outcome::Proof(_)) => {
                self.counters.strays = self.counters.strays.saturating_add(1);
            }
        }
    }

    pub(super) fn take_tip(&mut self, id: PeerId, check: TipCheck, proof: Bytes, bytes: u64) {
        self.claims.changed = true;
        let newest = self.epochs.newest().epoch();
        let Some(peer) = self.peers.get_mut(id) else { return };
        let claimed = peer.status.map(|status| status.tip);
        match check {
            TipCheck::OtherEpoch(epoch) => {
                // The handover above the tip may be known already, as where the chain stands still at an epoch's end.
                if let Some(epoch) = self.epochs.get(epoch).filter(|epoch| epoch.epoch() < newest).cloned() {
                    // Just given back.
                    self.budget.reserve_forced(bytes);
                    self.check_tip(id, epoch, proof, bytes, bytes);
                    return;
                }
                let until = peer.failed_to_prove(self.now);
                self.timers.set_sooner(Timer::Peer(id), until);
                if epoch > newest
                    && let Some(status) = &mut peer.status
                {
                    status.epoch = epoch;
                    peer.unpause(Kind::Handovers);
                }
            }
            TipCheck::Final(facts) => {
                if claimed.is_some_and(|claimed| claimed > facts.height) {
                    let until = peer.failed_to_prove(self.now);
                    self.timers.set_sooner(Timer::Peer(id), until);
                } else {
                    peer.unproven = None;
                }
                if let Some(status) = &mut peer.status {
                    status.tip = status.tip.max(facts.height);
                }
                self.on_valid(id, Kind::Tip, bytes);
                self.raise_target(facts, Finalized::Tip(proof));
            }
        }
    }

    /// A block was proven final: it becomes the target if it is the highest, and must be the same block if it is not new.
    pub(super) fn raise_target(&mut self, facts: TipFacts, proof: Finalized) {
        self.trust.rests_on(self.now, facts.timestamp);
        let link = self.window.link();
        if facts.height == link.height && facts.id != link.id {
            // The last block that was proven and handed on, be it the one that the node began with.
            let target = self.target.as_ref().filter(|target| target.facts.id == link.id);
            let ours = target.map(|target| target.proof.clone());
            let ours = ours.or_else(|| self.standing.proof_at(link.height).filter(|_| self.standing.stored == link));
            self.check_conflict(facts.height, ours, proof);
            return;
        }
        match &self.target {
            Some(target) if facts.height == target.facts.height && facts.id != target.facts.id => {
                let (one, other) = (target.proof.clone(), proof);
                self.check_conflict(facts.height, Some(one), other);
            }
            Some(target) if facts.height == target.facts.height && self.lacks_anchor() => {
                if matches!(proof, Finalized::Tip(_)) {
                    self.target = Some(Target { facts, proof });
                }
            }
            Some(target) if facts.height <= target.facts.height => {}
            _ if facts.height < self.standing.applied => {}
            _ => {
                if facts.height > self.standing.applied {
                    let goes_on = self.target().is_none_or(|target| target <= self.standing.applied);
                    self.goal.reopen();
                    self.emit(Event::Target { height: facts.height, epoch: facts.epoch });
                    self.note_target(&facts, &proof);
                    // One that moves away brings nobody nearer.
                    if goes_on {
                        self.found_more();
                    }
                }
                self.target = Some(Target { facts, proof });
            }
        }
    }

    /// Whether the target lies above what is in line and was proven by a segment: inside a cell only a tip says of the
    /// headers below it that they are the right ones.
    pub(super) fn lacks_anchor(&self) -> bool {
        let target = self.target.as_ref().filter(|target| matches!(target.proof, Finalized::Segment(..)));
        target.is_some_and(|target| target.facts.height > self.window.planned())
    }

    /// Whether the lengths that a segment states are proven: by its ids, or by all of its payloads, which came along.
    pub(super) fn is_whole(&self, segment: &SegmentRef, frames: &[BodyFrame]) -> bool {
        let all = frames.last().is_some_and(|frame| frame.range.last() == segment.range().last());
        self.profile.knows_lengths() || all
    }

    fn take_segment(
        &mut self,
        peer: PeerId,
        purpose: Purpose,
        segment: SegmentRef,
        frames: Vec<BodyFrame>,
        bytes: u64,
    ) {
        let with_bodies = !frames.is_empty();
        self.on_valid(peer, Capability { kind: Kind::Segment, with_bodies }, bytes);
        let (last, id) = (segment.range().last(), segment.last_id());
        let boundary = self.epochs.get(segment.epoch()).filter(|epoch| epoch.range().last() == last);
        let boundary = boundary.and_then(|epoch| self.epochs.boundary(epoch.epoch()));
        let handover = boundary.filter(|&(other, _)| other != id).map(|(_, bytes)| Finalized::Handover(bytes.clone()));
        let tip = self.target.as_ref().filter(|target| target.facts.height == last && target.facts.id != id);
        if let Some(other) = handover.or_else(|| tip.map(|target| target.proof.clone())) {
            self.check_conflict(last, Some(other), Finalized::Segment(segment.bytes().clone(), last));
            return;
        }
        let first = segment.range().first();
        if !matches!(purpose, Purpose::Segment { first: asked, .. } if asked == first) {
            return;
        }
        let delivered = frames.last().map_or(0, |frame| frame.range.last().above(first).saturating_add(1));
        let (held, obsolete) = self.window.set_headers(first, segment, frames);
        // Their share of what was reserved when they were asked for, which has just been given back.
        self.budget.reserve_forced(held);
        if let Some(known) = self.peers.get_mut(peer).filter(|_| held > 0) {
            known.blocks = known.blocks.saturating_add(delivered);
        }
        self.hedge_lost(&obsolete);
        self.cancel_sources(obsolete);
    }

    fn take_bodies(&mut self, peer: PeerId, purpose: Purpose, frames: Vec<BodyFrame>, bytes: u64) {
        let Purpose::Bodies(asked) = purpose else { return };
        let delivered = frames.last().map_or(asked.first(), |frame| frame.range.last());
        let slot_bytes = self.window.slot_of(asked.first()).map_or(0, |slot| slot.bytes);
        let Some((freed, obsolete)) = self.window.fill(asked.first(), frames) else {
            self.counters.duplicate_bytes = self.counters.duplicate_bytes.saturating_add(bytes);
            return;
        };
        self.budget.release(freed);
        self.hedge_lost(&obsolete);
        self.cancel_sources(obsolete);
        self.on_valid(peer, Kind::Bodies, bytes);
        let small = delivered < asked.last() && slot_bytes.saturating_sub(freed) < slot_bytes / SMALL_ANSWER_SHARE;
        if let Some(known) = self.peers.get_mut(peer) {
            known.blocks = known.blocks.saturating_add(delivered.above(asked.first()).saturating_add(1));
        }
        if small {
            self.undersized(peer, Kind::Bodies);
        }
    }

    fn take_followed(&mut self, peer: PeerId, segment: SegmentRef, frames: Vec<BodyFrame>, bytes: u64) {
        let range = segment.range();
        let (facts, proof) = proven_by(&segment);
        let delivered = frames.last().map_or(range.first(), |frame| frame.range.last());
        let epoch = self.epochs.get(segment.epoch()).cloned();
        let cell_end =
            epoch.as_ref().and_then(|epoch| self.profile.cell(range.first(), epoch.range())).map(HeightRange::last);
        let held = epoch.and_then(|epoch| self.window.insert_followed(epoch, segment, frames, false));
        let Some(held) = held else {
            self.counters.duplicate_bytes = self.counters.duplicate_bytes.saturating_add(bytes);
            return;
        };
        // The answer is here already; the head of line may take more than its share for one answer.
        self.budget.reserve_forced(held);
        self.on_valid(peer, Kind::Follow, bytes);
        self.claims.told_last = Some(peer);
        self.raise_target(facts, proof);
        if let Some(known) = self.peers.get_mut(peer) {
            known.blocks = known.blocks.saturating_add(delivered.above(range.first()).saturating_add(1));
            let behind = known.status.map_or(0, |status| status.tip.above(range.last()));
            let small = range.count() <= FOLLOW_SLACK && behind > FOLLOW_SLACK && cell_end != Some(range.last());
            if let Some(status) = &mut known.status {
                status.tip = status.tip.max(range.last());
            }
            if small {
                self.undersized(peer, Kind::Follow);
            }
        }
    }

    /// Something came from a second peer. Where the first has sent nothing since it was asked, what else it is asked for is
    /// taken from it as well, before it holds up one thing after the other.
    pub(super) fn hedge_lost(&mut self, obsolete: &[Source]) {
        for source in obsolete {
            let Source::Request(id) = *source else { continue };
            let Some(request) = self.requests.get(id).cloned() else { continue };
            if !self.peers.timed_out_unheard(&request, self.now) {
                continue;
            }
            for other in self.requests.of_peer(request.peer) {
                let taken = self.requests.get(other).is_some_and(|task| task.purpose.kind().is_bulk());
                if taken
                    && other != id
                    && let Some(request) = self.abandon_request(other)
                {
                    self.not_given(request.peer, request.purpose, false);
                }
            }
            self.record(&request, request.size, PeerOutcome::NoAnswer);
        }
    }
}
