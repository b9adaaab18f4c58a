//! Conflicting finality: two proven blocks at one height. Both proofs are verified again (a bit may have flipped); if both
//! still hold, the sync halts with evidence. The machine never chooses between them.

use bytes::Bytes;

use crate::chain::{Fault, Finalized, SegmentRef};
use crate::ids::Height;
use crate::machine::output::HaltReason;
use crate::machine::state::Machine;
use crate::strategy::Broken;
use crate::verify::{Outcome, Task};

impl Machine {
    /// Two proofs seem to name different blocks at `height`. `one` is `None` where the older is no longer at hand.
    pub(super) fn check_conflict(&mut self, height: Height, one: Option<Finalized>, other: Finalized) {
        let checking = self.jobs.values().any(|pending| matches!(pending.job.task(), Task::Conflict { .. }));
        if checking {
            return;
        }
        let epoch = self.epochs.of_height(height).cloned();
        match (one, epoch) {
            (Some(one), Some(epoch)) => {
                self.conflict_height = Some(height);
                self.send_job(Task::Conflict { epoch, one, other }, None, 0, 0);
            }
            _ => self.halt(HaltReason::ConflictingFinality { height, evidence: Bytes::new() }),
        }
    }

    /// The next blocks don't link to the last ones.
    pub(super) fn check_broken_link(&mut self, broken: &Broken) {
        let Some(height) = broken.upper.range().first().prev() else { return };
        let lower = broken.lower.as_ref().map(|lower: &SegmentRef| match &broken.lower_anchor {
            Some(tip) => Finalized::Anchored { segment: lower.bytes().clone(), tip: tip.clone(), height },
            None => Finalized::Segment(lower.bytes().clone(), height),
        });
        let upper = match &broken.anchor {
            Some(tip) => Finalized::Anchored { segment: broken.upper.bytes().clone(), tip: tip.clone(), height },
            None => Finalized::Segment(broken.upper.bytes().clone(), height),
        };
        let lower = lower.or_else(|| self.stored_proof.clone());
        self.check_conflict(height, lower, upper);
    }

    /// Both proofs of a conflict were verified again.
    pub(super) fn take_conflict(&mut self, outcome: Result<Outcome, Fault>) {
        let height = self.conflict_height.take().unwrap_or(self.applied);
        match outcome {
            Ok(Outcome::Conflict(evidence)) => self.halt(HaltReason::ConflictingFinality { height, evidence }),
            // One of the two doesn't hold when looked at again: memory is bad, or was. Start again from durable ground.
            _ => {
                self.target = None;
                self.claims_changed = true;
                self.reset_blocks();
            }
        }
    }
}
