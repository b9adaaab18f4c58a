//! Consequences of certificates: locks, final blocks, and the ends of epochs.

use std::sync::Arc;

use hotstuff2_sync::chain::native::{FinalityProof, Handover, Header, Phase, QuorumCertificate, ValidatorKey};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, View};
use hotstuff2_sync::limits::MAX_PROOF_PATH;

use super::{Output, Replica, Waiting};
use crate::replica::message::Message;

impl Replica {
    pub(super) fn on_certificate(&mut self, from: ValidatorKey, certificate: Arc<QuorumCertificate>) {
        let Some(header) = self.tree.header(certificate.block) else {
            self.fetch(from, certificate.block);
            self.orphans.entry(certificate.block).or_default().push(Waiting::Certificate(from, certificate));
            return;
        };
        let epoch = self.committee.context(header.epoch);
        let known = self.tree.certificate(certificate.block) == Some(&certificate);
        if known || epoch.is_some_and(|epoch| certificate.verify(certificate.phase, header, epoch).is_ok()) {
            self.take_certificate(&certificate);
        }
        if certificate.epoch > self.epoch.epoch() {
            self.outputs.push_back(Output::Send(from, Message::Behind(self.epoch.epoch())));
        }
    }

    /// Takes in a verified certificate of a known block.
    pub(super) fn take_certificate(&mut self, certificate: &Arc<QuorumCertificate>) {
        let Some(header) = self.tree.header(certificate.block).cloned() else { return };
        if certificate.phase == Phase::Two {
            self.tree.certify_doubly(certificate.clone());
            let qc = QuorumCertificate::clone(certificate);
            self.finalize(&header, FinalityProof::DoubleCertificate { descendants: Vec::new(), qc });
            return;
        }
        self.tree.certify(certificate.clone());
        if certificate.epoch == self.epoch.epoch() {
            if certificate.view > self.lock().1 {
                self.high = Some(certificate.clone());
            }
            self.vote_two(&header, certificate.block);
        }
        let Some(parent) = self.tree.header(header.parent).cloned() else { return };
        if header.view.is_next_of(parent.view) && header.epoch == parent.epoch && parent.height > Height::ZERO {
            let qc = QuorumCertificate::clone(certificate);
            self.finalize(&parent, FinalityProof::TwoChain { descendants: vec![header.clone()], qc });
        }
        if certificate.epoch == self.epoch.epoch() {
            self.enter(certificate.view.next(), None);
        }
        self.end_epoch();
    }

    /// Commits everything up to `block`, which `proof` makes final, and ends the epoch where its last block is.
    fn finalize(&mut self, block: &Header, proof: FinalityProof) {
        if block.epoch != self.epoch.epoch() {
            return;
        }
        let last = self.epoch.range().last();
        let above = self.committed.last().map_or(Height::ZERO, |block| block.header.height);
        let Some(path) = self.tree.path(block.id(), above) else { return };
        let (blocks, closing): (Vec<_>, Vec<_>) =
            path.into_iter().cloned().partition(|block| block.header.height <= last);
        let boundary = blocks.last().filter(|block| block.header.height == last).cloned();
        for block in blocks {
            self.committed.push(block.clone());
            self.outputs.push_back(Output::Commit(block));
        }
        let between: Vec<Header> = closing.iter().map(|block| block.header.clone()).collect();
        let Some(boundary) = boundary else { return };
        let (Some(proof), Some(next)) =
            (proof.extended_down(&between), self.committee.context(self.epoch.epoch().next()))
        else {
            debug_assert!(between.len() < MAX_PROOF_PATH, "an epoch that nothing can end");
            return;
        };
        self.ending = Some(Arc::new(Handover::new(boundary.header.clone(), proof, next.info())));
        self.end_epoch();
    }

    /// Ends the epoch, if it is known how, and its last block, final by that, and the block's certificate are there.
    fn end_epoch(&mut self) {
        let Some(handover) = self.ending.take_if(|handover| {
            let id = handover.header.id();
            self.tree.block(id).is_some() && self.tree.certificate(id).is_some()
        }) else {
            return;
        };
        let done = self.committed.last().map_or(Height::ZERO, |block| block.header.height);
        if handover.header.epoch != self.epoch.epoch() {
            return;
        }
        if done == self.epoch.range().last() {
            self.cross(handover);
        } else {
            self.finalize(&handover.header, handover.proof.clone());
        }
    }

    /// Goes on in the next epoch. The boundary is final; whatever the old epoch certified above it counts no more, and
    /// the lock is on the boundary.
    fn cross(&mut self, handover: Arc<Handover>) {
        let Some(next) = self.committee.context(self.epoch.epoch().next()).cloned() else { return };
        let floor = handover.proof.certificate().map_or(View::ZERO, |qc| qc.view);
        self.high = self.tree.certificate(handover.header.id()).cloned();
        self.endings.push(handover);
        self.epoch = next;
        self.quitters.clear();
        self.votes.clear();
        self.entered_by = None;
        self.enter(floor.max(self.view).next(), None);
    }

    pub(super) fn on_handover(&mut self, from: ValidatorKey, handover: Arc<Handover>) {
        if handover.header.epoch != self.epoch.epoch() || handover.verify(&self.epoch).is_err() {
            return;
        }
        let id = handover.header.id();
        self.ending = Some(handover);
        if self.tree.block(id).is_none() || self.tree.certificate(id).is_none() {
            self.fetch(from, id);
        }
        self.end_epoch();
    }

    pub(super) fn fetch(&mut self, from: ValidatorKey, id: Hash) {
        let above = self.committed.last().map_or(Height::ZERO, |block| block.header.height);
        if from != self.key {
            self.outputs.push_back(Output::Send(from, Message::Fetch(id, above)));
        }
    }
}
