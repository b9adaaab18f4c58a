//! A replica learns blocks and votes for them.

use std::sync::Arc;

use hotstuff2_sync::chain::native::{
    EpochContext, Header, Phase, QuorumCertificate, TimeoutCertificate, ValidatorKey, Vote, payload_hash,
};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;

use super::{CLOCK_LEAD_MS, MOST_ORPHANS, Output, Replica, VIEWS_AHEAD, Waiting};
use crate::replica::committee::power;
use crate::replica::execution::Execution;
use crate::replica::message::{Block, Message, SignedVote};

impl<E: Execution> Replica<E> {
    pub(super) fn on_proposal(
        &mut self,
        from: ValidatorKey,
        block: Arc<Block>,
        timeout: Option<Arc<TimeoutCertificate>>,
    ) {
        if let Some(timeout) = &timeout {
            self.on_timeout_certificate(from, timeout.clone());
        }
        if self.tree.header(block.header.parent).is_none() {
            self.fetch(from, block.header.parent);
            self.keep(block.header.parent, Waiting::Block(from, block.clone(), timeout));
            return;
        }
        if self.learn(from, &block) {
            self.vote_one(from, &block);
        }
    }

    /// Keeps what waits for the block `missing`.
    pub(super) fn keep(&mut self, missing: Hash, waiting: Waiting) {
        if self.orphans.values().map(Vec::len).sum::<usize>() >= MOST_ORPHANS {
            // They wait for what never came.
            self.orphans.clear();
        }
        self.orphans.entry(missing).or_default().push(waiting);
    }

    /// Takes a block into the tree, if it keeps the rules of headers and its parent is certified and known.
    pub(super) fn learn(&mut self, from: ValidatorKey, block: &Arc<Block>) -> bool {
        if self.tree.block(block.id).is_some() {
            return true;
        }
        if block.header.epoch > self.epoch.epoch() {
            // Its own epoch may begin with the very proof that the block carries.
            if let Some(boundary) = &block.boundary {
                self.on_handover(from, boundary.clone());
            }
        }
        if !self.is_valid(block) {
            if block.header.epoch > self.epoch.epoch() {
                self.outputs.push_back(Output::Send(from, Message::Behind(self.epoch.epoch())));
            }
            return false;
        }
        self.tree.insert(block.clone());
        if let Some(justify) = &block.justify {
            self.take_certificate(&Arc::new(justify.clone()));
        }
        for waiting in self.orphans.remove(&block.id).unwrap_or_default() {
            match waiting {
                Waiting::Block(from, block, timeout) => self.on_proposal(from, block, timeout),
                Waiting::Certificate(from, certificate) => self.on_certificate(from, certificate),
            }
        }
        true
    }

    /// Promises 1, 2 and 6: all that a block itself must be, but for what executing it gives.
    fn is_valid(&self, block: &Block) -> bool {
        let Block { header, id, payload, justify, .. } = block;
        let Some(parent) = self.tree.header(header.parent) else { return false };
        let Some(epoch) = self.committee.context(header.epoch) else { return false };
        let next = self.committee.context(header.epoch.next()).map(EpochContext::hash);
        let justified = match (justify, self.committee.context(parent.epoch)) {
            (None, _) => parent.height == Height::ZERO,
            (Some(justify), Some(of_parent)) => {
                let known = self.tree.certificate(header.parent).is_some_and(|known| **known == *justify);
                known || justify.verify(Phase::One, parent, of_parent).is_ok()
            }
            (Some(_), None) => false,
        };
        let proposer = self.committee.leader(epoch, header.view).map(|(index, _)| index);
        header.id() == *id
            && justified
            && epoch.check_proposal(parent, header.parent, header).is_ok()
            && (header.next_epoch_hash.is_none() || header.next_epoch_hash == next)
            && proposer == Some(header.proposer)
            && payload_hash(payload) == header.payload_hash
            && u32::try_from(payload.len()) == Ok(header.payload_len)
            && header.timestamp.get() <= self.clock().get().saturating_add(CLOCK_LEAD_MS)
    }

    /// Whether executing the block gives the root in its header. A closing header has nothing to execute.
    fn is_executed_right(&mut self, block: &Block) -> bool {
        let Block { header, payload, .. } = block;
        let Some(parent) = self.tree.header(header.parent).cloned() else { return false };
        let root = if header.height > self.epoch.range().last() {
            Some(parent.state_root)
        } else {
            self.root_after(&parent, header.timestamp, payload)
        };
        root == Some(header.state_root)
    }

    /// Votes in phase one for a valid block, if promises 3, 4 and 5 allow it.
    fn vote_one(&mut self, from: ValidatorKey, block: &Block) {
        let header = &block.header;
        let laws = self.settings.laws;
        if !self.speaks() || header.epoch != self.epoch.epoch() || self.leader(header.view) != Some(from) {
            return;
        }
        let fresh = header.view == self.view && self.voted[0] < header.view && self.given_up < header.view;
        if laws.once && !fresh {
            return;
        }
        if laws.lock && header.justify_view < self.lock().1.max(self.floor) {
            return;
        }
        // Being in the epoch means that the ending was verified; it must be of this very parent.
        let begins = header.height == self.epoch.range().first();
        let before = self.endings.last_key_value().map(|(_, ending)| ending.header.id());
        if begins && before != Some(header.parent) {
            return;
        }
        if !self.is_executed_right(block) {
            return;
        }
        self.voted[0] = self.voted[0].max(header.view);
        let vote = Vote::new(header, block.id, Phase::One);
        self.send_vote(vote);
    }

    /// Votes in phase two for a block that was certified in time.
    pub(super) fn vote_two(&mut self, header: &Header, id: Hash) {
        let fresh = header.view == self.view && self.voted[1] < header.view && self.given_up < header.view;
        if !self.settings.phase_two || !self.speaks() || (self.settings.laws.once && !fresh) {
            return;
        }
        self.voted[1] = self.voted[1].max(header.view);
        self.send_vote(Vote::new(header, id, Phase::Two));
    }

    fn send_vote(&mut self, vote: Vote) {
        let vote = SignedVote::sign(&self.secret, vote);
        if let Some(leader) = self.leader(vote.vote.view.next()) {
            if leader == self.key {
                self.on_vote(vote);
            } else {
                self.outputs.push_back(Output::Send(leader, Message::Vote(vote)));
            }
        }
    }

    pub(super) fn on_vote(&mut self, signed: SignedVote) {
        let SignedVote { vote, key, signature } = signed;
        let set = self.epoch.validators();
        let near = vote.view.get() <= self.view.get().saturating_add(VIEWS_AHEAD);
        if vote.epoch != self.epoch.epoch() || !near || set.index_of(&key).is_none() || !signed.holds() {
            return;
        }
        let votes = self.votes.entry((vote.view, vote.block, vote.phase)).or_default();
        votes.insert(key, signature);
        let Some(header) = self.tree.header(vote.block).filter(|_| set.is_quorum(power(set, votes.keys()))) else {
            return;
        };
        let certificate = QuorumCertificate::collect(vote.phase, header, set, votes.clone());
        self.votes.remove(&(vote.view, vote.block, vote.phase));
        let known = match vote.phase {
            Phase::One => self.tree.certificate(vote.block),
            Phase::Two => self.tree.double_certificate(vote.block),
        };
        if known.is_some() || certificate.verify(vote.phase, header, &self.epoch).is_err() {
            return;
        }
        let message = Message::Certificate(Arc::new(certificate));
        if self.settings.phase_two {
            self.tell_all(message);
        } else {
            // The next proposal carries it.
            self.handle_message(self.now, self.key, message);
        }
    }
}
