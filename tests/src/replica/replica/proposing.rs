//! A leader proposes a block.

use std::sync::Arc;

use hotstuff2_sync::chain::native::{EpochContext, build};
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::UnixMillis;

use super::{Output, Replica};
use crate::replica::message::{Block, Message};

impl Replica {
    pub(super) fn propose(&mut self) {
        if !self.member() || (self.settings.laws.once && self.proposed >= self.view) {
            return;
        }
        let (parent_id, _) = self.lock();
        let (Some(parent), Some((index, _))) =
            (self.tree.header(parent_id).cloned(), self.committee.leader(&self.epoch, self.view))
        else {
            return;
        };
        self.proposed = self.view;
        let last = self.epoch.range().last();
        let mut payload = Vec::new();
        let header = if parent.epoch == self.epoch.epoch() && parent.height >= last {
            build::closing(&parent, self.view, index)
        } else {
            let mut noise = Rng::new(self.settings.noise ^ self.view.get().rotate_left(20) ^ u64::from(index));
            let len = noise.below(self.settings.payload_bytes.saturating_add(1));
            payload.resize(usize::try_from(len).unwrap_or(0), 0);
            noise.fill(&mut payload);
            let next = self.committee.context(self.epoch.epoch().next()).map(EpochContext::hash);
            let proposal = build::Proposal {
                view: self.view,
                proposer: index,
                timestamp: self.clock().max(parent.timestamp),
                payload: &payload,
                state_root: parent.state_root,
                next_epoch_hash: if parent.height.next() == last { next } else { None },
            };
            build::child_of(&parent, parent_id, self.epoch.info(), self.epoch.hash(), &proposal)
        };
        let crosses = header.epoch != parent.epoch;
        let block = Arc::new(Block {
            id: header.id(),
            header,
            payload: payload.into(),
            justify: self.high.as_deref().cloned(),
            boundary: if crosses { self.endings.last().cloned() } else { None },
        });
        self.tell_all(Message::Propose(block, self.entered_by.clone()));
    }

    pub(super) fn clock(&self) -> UnixMillis {
        let genesis = self.committee.genesis().header().timestamp.get();
        UnixMillis::new(genesis.saturating_add(self.now.as_micros() / 1000))
    }

    pub(super) fn tell_all(&mut self, message: Message) {
        self.outputs.push_back(Output::Broadcast(message.clone()));
        self.handle_message(self.now, self.key, message);
    }
}
