//! Conflicting finality: two proven blocks at one height. Both proofs are verified again (a bit may have flipped); if both
//! still hold, the sync halts with evidence. The machine never chooses between them.
//!
//! Headers that end at another block than the proven one, or start from another, are a lie or the other half of a conflict.
//! Whoever gives them is asked for its own proof of its block; only if that doesn't hold is it to blame.

use bytes::Bytes;

use crate::chain::{CheckError, EpochRef, Fault, Finalized, SegmentEnd};
use crate::hash::Hash;
use crate::ids::{Height, PeerId};
use crate::machine::event::HaltReason;
use crate::machine::state::{Machine, Timer};
use crate::requests::{Kind, Purpose};
use crate::strategy::Broken;
use crate::verify::{Outcome, Task};
use crate::wire::{Request, Sections};

/// Contradictions that are being looked into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Conflicts {
    /// A peer that contradicts what was proven and is asked for its own proof.
    pub(super) dispute: Option<Dispute>,
    /// The height at which two proofs differ that are verified again.
    checked: Option<Height>,
}

/// A peer's headers contradict a proven block; the peer is asked for its own proof.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Dispute {
    peer: PeerId,
    /// The height of the two blocks.
    height: Height,
    /// Proof of the block that the headers contradict.
    ours: Finalized,
    /// Whether the peer's proof is to be a handover; headers otherwise.
    by_handover: bool,
    /// Fault of the peer's headers, if its proof doesn't hold.
    fault: Fault,
}

impl Machine {
    /// Two proofs seem to name different blocks at `height`. `one` is `None` where the older is no longer at hand.
    pub(super) fn check_conflict(&mut self, height: Height, one: Option<Finalized>, other: Finalized) {
        let checking = self.jobs.iter().any(|pending| matches!(pending.job.task(), Task::Conflict { .. }));
        if checking {
            return;
        }
        let epoch = self.epochs.of_height(height).cloned();
        match (one, epoch) {
            (Some(one), Some(epoch)) => {
                self.conflicts.checked = Some(height);
                self.send_job(Task::Conflict { epoch, one, other }, None, 0, 0);
            }
            _ => self.halt(HaltReason::ConflictingFinality { height, evidence: Bytes::new() }),
        }
    }

    /// The next blocks don't link to the last ones.
    pub(super) fn check_broken_link(&mut self, broken: &Broken) {
        let Some(height) = broken.upper.range().first().prev() else { return };
        let lower = broken.lower.as_ref().map(|lower| lower.finalized(broken.lower_anchor.as_ref(), height));
        let upper = broken.upper.finalized(broken.anchor.as_ref(), height);
        let lower = lower.or_else(|| self.standing.stored_proof.clone());
        // Above an epoch's end the upper segment starts where the handover says, so it is the handover that the lower one
        // contradicts; and evidence is for one epoch.
        let boundary = self.handover_ending_at(height).map(|(_, bytes)| Finalized::Handover(bytes));
        self.check_conflict(height, lower, boundary.unwrap_or(upper));
    }

    /// The block that a handover ended its epoch with at `height`, and the handover.
    pub(super) fn handover_ending_at(&self, height: Height) -> Option<(Hash, Bytes)> {
        let epoch = self.epochs.of_height(height).filter(|epoch| epoch.range().last() == height)?;
        self.epochs.boundary(epoch.epoch()).map(|(id, bytes)| (id, bytes.clone()))
    }

    /// The parent that the first block of an epoch must have. Inside of an epoch, links are compared when all is there,
    /// so that either side can be evidence; across its end they can't, as evidence is for one epoch.
    pub(super) fn parent_at_seam(&self, epoch: &EpochRef, first: Height) -> Option<Hash> {
        let below = first.prev().filter(|_| first == epoch.range().first())?;
        let link = self.window.link();
        let handover = self.handover_ending_at(below).map(|(id, _)| id);
        handover.or_else(|| (link.height == below).then_some(link.id))
    }

    /// A peer's headers were refused. Where they contradict a proven block, the peer is asked for a proof of its own, and
    /// this says that it is not to blame yet.
    pub(super) fn dispute(&mut self, peer: PeerId, task: &Task, fault: Fault) -> bool {
        let (Task::Segment { epoch, claim, .. } | Task::Follow { epoch, claim, .. } | Task::Base { epoch, claim, .. }) =
            task
        else {
            return false;
        };
        let first = claim.range.first();
        let Some(below) = first.prev() else { return false };
        let seam = first == epoch.range().first();
        let (height, ours, request) = match fault {
            Fault::WrongAnchor => {
                let SegmentEnd::Anchored(id) = claim.end else { return false };
                let height = claim.range.last();
                let cell = self.window.cell(first).filter(|cell| cell.end == claim.end);
                let anchor = cell.and_then(|cell| cell.anchor.clone()).map(Finalized::Tip);
                let target = self.target.as_ref().filter(|target| target.facts.id == id);
                let ours = anchor.or_else(|| target.map(|target| target.proof.clone()));
                let asked =
                    ours.map(|ours| (height, ours, Request::Follow { after: below, max_bytes: 1, audit: false }));
                let Some(asked) = asked.or_else(|| self.dispute_of_history(height)) else { return false };
                asked
            }
            Fault::WrongParent if seam && claim.parent.is_some() => {
                if below == Height::ZERO {
                    // Nothing proves another genesis.
                    return false;
                }
                let ours = self.handover_ending_at(below).map(|(_, bytes)| Finalized::Handover(bytes));
                let Some(ended) = self.epochs.of_height(below).map(EpochRef::epoch) else {
                    // The answer is late: what it contradicts is applied, and the proofs of that epoch are let go.
                    self.rest_disputed(peer);
                    return true;
                };
                let Some(ours) = ours.or_else(|| self.standing.stored_proof.clone()) else { return false };
                (below, ours, Request::Handovers { from: ended, max: 1 })
            }
            _ => return false,
        };
        let size = u64::from(request.max_response_bytes());
        if self.conflicts.dispute.is_none() && self.budget.reserve(size, true) {
            let by_handover = matches!(request, Request::Handovers { .. });
            self.conflicts.dispute = Some(Dispute { peer, height, ours, by_handover, fault });
            self.send(peer, Purpose::Dispute(height), request, 0, size);
        }
        self.rest_disputed(peer);
        true
    }

    /// Until it is decided whether a peer is to blame, others are asked.
    fn rest_disputed(&mut self, peer: PeerId) {
        if let Some(rested) = self.peers.get_mut(peer).map(|known| known.suspected(Kind::Segment, self.now)) {
            self.timers.set_sooner(Timer::Peer(peer), rested);
        }
    }

    /// History has no proof of its own: it hangs on the block that the stored ones began with, and who has another
    /// history has another block there too.
    fn dispute_of_history(&self, height: Height) -> Option<(Height, Finalized, Request)> {
        let ours = self.standing.stored_proof.as_ref()?;
        let (Finalized::Segment(_, begun) | Finalized::Anchored { height: begun, .. }) = *ours else { return None };
        if height > begun {
            return None;
        }
        if let Some((_, bytes)) = self.handover_ending_at(begun) {
            let from = self.epochs.of_height(begun)?.epoch();
            return Some((begun, Finalized::Handover(bytes), Request::Handovers { from, max: 1 }));
        }
        let request = Request::Follow { after: begun.prev()?, max_bytes: 1, audit: false };
        Some((begun, ours.clone(), request))
    }

    /// A peer that contradicts a proven block gave its proof.
    pub(super) fn take_disputed(&mut self, peer: PeerId, data: &Bytes, size: u64, reserved: u64) {
        let dispute = self.conflicts.dispute.as_ref().filter(|dispute| dispute.peer == peer);
        let known = dispute.and_then(|dispute| Some((dispute, self.epochs.of_height(dispute.height)?)));
        let Some((Dispute { height, ours, by_handover, fault, .. }, epoch)) = known else {
            self.conflicts.dispute = None;
            self.budget.release(reserved);
            return;
        };
        let (height, by_handover, fault) = (*height, *by_handover, *fault);
        let (epoch, one) = (epoch.clone(), ours.clone());
        let Some(proof) = Sections::new(data.clone()).take() else {
            self.conflicts.dispute = None;
            self.budget.release(reserved);
            self.on_fault(peer, Kind::Segment, fault);
            return;
        };
        let other = if by_handover { Finalized::Handover(proof) } else { Finalized::Segment(proof, height) };
        self.send_job(Task::Conflict { epoch, one, other }, Some((peer, Purpose::Dispute(height))), size, reserved);
    }

    /// A peer's proof of the block with which it contradicts a proven one was verified, and the proven one again.
    pub(super) fn take_dispute(&mut self, peer: PeerId, outcome: Result<Outcome, CheckError>) {
        let Some(dispute) = self.conflicts.dispute.take() else { return };
        match outcome {
            Ok(Outcome::Conflict(evidence)) => {
                self.halt(HaltReason::ConflictingFinality { height: dispute.height, evidence });
            }
            _ => self.on_fault(peer, Kind::Segment, dispute.fault),
        }
    }

    /// Both proofs of a conflict were verified again.
    pub(super) fn take_conflict(&mut self, outcome: Result<Outcome, CheckError>) {
        let height = self.conflicts.checked.take().unwrap_or(self.standing.applied);
        match outcome {
            Ok(Outcome::Conflict(evidence)) => self.halt(HaltReason::ConflictingFinality { height, evidence }),
            // One of the two doesn't hold when looked at again: memory is bad, or was. Start again from durable ground.
            _ => {
                self.target = None;
                self.claims.changed = true;
                self.reset_blocks();
                self.refuse_disputed();
            }
        }
    }
}
