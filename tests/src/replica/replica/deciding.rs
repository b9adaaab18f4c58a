//! Consequences of certificates: locks, final blocks, and the ends of epochs.

use std::sync::Arc;

use hotstuff2_sync::chain::native::{FinalityProof, Handover, Header, Phase, QuorumCertificate, ValidatorKey};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, View};
use hotstuff2_sync::limits::MAX_PROOF_PATH;

use super::{Final, MOST_FETCHED, Output, Replica, Waiting};
use crate::replica::execution::Execution;
use crate::replica::message::Message;

impl<E: Execution> Replica<E> {
    pub(super) fn on_certificate(&mut self, from: ValidatorKey, certificate: Arc<QuorumCertificate>) {
        let Some(header) = self.tree.header(certificate.block) else {
            self.fetch(from, certificate.block);
            self.keep(certificate.block, Waiting::Certificate(from, certificate));
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
        } else if self.high.is_none() && self.endings.values().any(|ending| ending.header.id() == certificate.block) {
            // The epoch's first block stands on it.
            self.high = Some(certificate.clone());
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
        let Some(path) = self.tree.path(block.id(), self.head.height) else { return };
        let (blocks, closing): (Vec<_>, Vec<_>) =
            path.into_iter().cloned().partition(|block| block.header.height <= last);
        let Some(top) = blocks.last().cloned() else { return };
        let between: Vec<Header> = closing.iter().map(|block| block.header.clone()).collect();
        let Some(proof) = proof.extended_down(&between) else {
            debug_assert!(between.len() < MAX_PROOF_PATH, "an epoch that nothing can end");
            return;
        };
        let next = self.committee.context(self.epoch.epoch().next()).filter(|_| top.header.height == last);
        let handover = next.map(|next| Arc::new(Handover::new(top.header.clone(), proof.clone(), next.info())));
        let parent = std::mem::replace(&mut self.head, top.header.clone());
        self.committed.extend(blocks.iter().cloned());
        self.outputs.push_back(Output::Commit(Final { parent, blocks, proof, handover: handover.clone() }));
        if handover.is_some() {
            self.ending = handover;
            self.end_epoch();
        }
    }

    /// Ends the epoch, if it is known how, and its last block, final by that, and the block's certificate are there.
    fn end_epoch(&mut self) {
        let Some(handover) = self.ending.take_if(|handover| {
            let id = handover.header.id();
            self.tree.block(id).is_some() && self.tree.certificate(id).is_some()
        }) else {
            return;
        };
        if handover.header.epoch != self.epoch.epoch() {
            return;
        }
        if self.head.height == self.epoch.range().last() {
            self.cross(handover);
        } else {
            self.finalize(&handover.header, handover.proof.clone());
        }
    }

    /// Goes on in the next epoch, in the view above its last block. That is final; whatever the old epoch certified above it
    /// counts no more, and the lock is on that block.
    pub(super) fn cross(&mut self, handover: Arc<Handover>) {
        let Some(next) = self.committee.context(self.epoch.epoch().next()).cloned() else { return };
        let last = handover.header.view;
        self.high = self.tree.certificate(handover.header.id()).cloned();
        self.endings.insert(handover.header.epoch, handover);
        self.epoch = next;
        self.quitters.clear();
        self.votes.clear();
        (self.entered_by, self.floor, self.view) = (None, View::ZERO, last);
        self.enter(last.next(), None);
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
        if from != self.key {
            self.outputs.push_back(Output::Send(from, Message::Fetch(id, self.head.height)));
        }
    }

    pub(super) fn on_fetch(&mut self, from: ValidatorKey, id: Hash, above: Height) {
        let blocks: Vec<_> = self.tree.path(id, above).unwrap_or_default().into_iter().cloned().collect();
        if (1..=MOST_FETCHED).contains(&blocks.len()) {
            self.outputs.push_back(Output::Send(from, Message::Blocks(blocks)));
        }
        if let Some(certificate) = self.tree.certificate(id).cloned() {
            self.outputs.push_back(Output::Send(from, Message::Certificate(certificate)));
        }
    }
}
