//! Handovers that were given: an answer at the trusted end is linked by hash, its signatures are checked in parts on all
//! threads, and what is proven of it moves the trusted end. One answer at a time.

use alloc::vec::Vec;

use crate::chain::{Fault, Finalized, TipFacts};
use crate::ids::{JobId, PeerId};
use crate::machine::state::Machine;
use crate::requests::{Kind, Purpose};
use crate::strategy::{HandoverCheck, HandoverPart, Waiting};
use crate::verify::{HandoverLink, Task};

impl Machine {
    /// Hands the answer at the trusted end to a job, if there is one and none is being checked.
    pub(super) fn check_handovers(&mut self) {
        for passed in self.epochs.take_passed() {
            self.forget_handovers(&passed);
        }
        let linking = self.jobs.iter().any(|pending| matches!(pending.job.task(), Task::Handovers { .. }));
        if linking || self.epochs.check.is_some() {
            return;
        }
        if let Some((from, answer)) = self.epochs.take_next() {
            let size = u64::try_from(answer.bytes.len()).unwrap_or(u64::MAX);
            let origin = Some((answer.peer, Purpose::Handovers(from.epoch())));
            self.send_job(Task::Handovers { from, bytes: answer.bytes }, origin, size, answer.reserved);
        }
    }

    /// An answer with handovers will not be checked.
    pub(super) fn forget_handovers(&mut self, answer: &Waiting) {
        self.budget.release(answer.reserved);
        self.end_probation(answer.peer, Kind::Handovers);
    }

    /// An answer is linked, and its first handover proven: the signatures of the others are checked side by side.
    pub(super) fn check_parts(
        &mut self,
        peer: PeerId,
        purpose: Purpose,
        (mut check, parts): (HandoverCheck, Vec<HandoverPart>),
    ) {
        for HandoverPart { place, from, links } in parts {
            let known = self.epochs.newest().clone();
            // Memory that the answer reserved has just been given back, and is held in parts until they are judged.
            let held = links.iter().map(|link| u64::try_from(link.bytes.len()).unwrap_or(u64::MAX));
            let held = held.fold(0, u64::saturating_add);
            self.budget.reserve_forced(held);
            let job = self.send_job(Task::HandoverPart { known, from, links }, Some((peer, purpose)), 0, held);
            check.sent(job, place);
        }
        self.epochs.check = Some(check);
    }

    /// Signatures of a part were checked. With the last part it is known what of the answer is proven.
    pub(super) fn take_part(&mut self, job: JobId, purpose: Purpose, proven: u32, fault: Option<Fault>) {
        let Some(check) = &mut self.epochs.check else { return };
        for needless in check.judged(job, proven, fault) {
            self.drop_job(needless);
        }
        match self.epochs.check.take_if(|check| check.is_done()) {
            Some(check) => {
                let (peer, bytes) = (check.peer, check.bytes);
                let (links, fault) = check.into_proven();
                self.take_handovers(Some((peer, bytes)), links, fault);
            }
            // The verdict on its answer is still to come.
            None => {
                if let Some(peer) = self.epochs.check.as_ref().map(|check| check.peer) {
                    self.peers.under_check(peer, purpose);
                }
            }
        }
    }

    /// Handovers are proven, in order, and what comes behind them in the same answer has this fault. `giver` is the peer
    /// that gave the answer, and its size; `None` where this node's own engine did.
    pub(super) fn take_handovers(
        &mut self,
        giver: Option<(PeerId, u64)>,
        links: Vec<HandoverLink>,
        fault: Option<Fault>,
    ) {
        if !self.epochs.extend(&links) {
            self.counters.strays = self.counters.strays.saturating_add(1);
            return;
        }
        if let Some((peer, bytes)) = giver {
            self.on_valid(peer, Kind::Handovers, bytes);
        }
        let newest = self.epochs.newest().epoch();
        self.take_back(|purpose| matches!(purpose, Purpose::Handovers(from) if from < newest));
        if let Some(last) = links.last() {
            let facts = TipFacts {
                height: last.boundary,
                id: last.boundary_id,
                epoch: last.ended,
                timestamp: last.boundary_time,
                state_root: None,
            };
            self.raise_target(facts, Finalized::Handover(last.bytes.clone()));
        }
        // Tips of epochs that were unknown until now can be proven.
        let waiting: Vec<PeerId> = self.peers.active_ids().collect();
        for id in waiting {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.unproven = None;
                peer.unpause(Kind::Tip);
            }
        }
        self.store_handovers(links);
        if let (Some((peer, _)), Some(fault)) = (giver, fault) {
            self.on_fault(peer, Kind::Handovers, fault);
        }
        self.claims.changed = true;
        self.found_more();
        self.check_handovers();
    }
}
