//! A leader proposes a block.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::native::{EpochContext, Header, build};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::time::UnixMillis;

use super::{Output, Replica};
use crate::replica::execution::{Execution, Next};
use crate::replica::message::{Block, Message};

impl<E: Execution> Replica<E> {
    pub(super) fn propose(&mut self) {
        if !self.speaks() || (self.settings.laws.once && self.proposed >= self.view) {
            return;
        }
        let (parent_id, _) = self.lock();
        let (Some(parent), Some((index, _))) =
            (self.tree.header(parent_id).cloned(), self.committee.leader(&self.epoch, self.view))
        else {
            return;
        };
        if self.high.is_none() && parent.height > Height::ZERO {
            // Nothing here shows that the parent is certified: who knows says so.
            return;
        }
        let from_then_on = self
            .settings
            .pace
            .saturating_sub(Duration::from_millis(self.clock().get().saturating_sub(parent.timestamp.get())));
        if !from_then_on.is_zero() && parent.height > Height::ZERO {
            self.propose_at = Some(self.now.after(from_then_on));
            return;
        }
        let last = self.epoch.range().last();
        let mut payload = Bytes::new();
        let header = if parent.epoch == self.epoch.epoch() && parent.height >= last {
            build::closing(&parent, self.view, index)
        } else {
            payload = self.execution.payload(self.view, index);
            let timestamp = self.clock().max(parent.timestamp);
            let Some(state_root) = self.root_after(&parent, timestamp, &payload) else {
                self.propose_at = Some(self.now.after(self.settings.delta));
                return;
            };
            let next = self.committee.context(self.epoch.epoch().next()).map(EpochContext::hash);
            let proposal = build::Proposal {
                view: self.view,
                proposer: index,
                timestamp,
                payload: &payload,
                state_root,
                next_epoch_hash: if parent.height.next() == last { next } else { None },
            };
            build::child_of(&parent, parent_id, self.epoch.info(), self.epoch.hash(), &proposal)
        };
        self.proposed = self.view;
        let crosses = header.epoch != parent.epoch;
        let block = Arc::new(Block {
            id: header.id(),
            header,
            payload,
            justify: self.high.as_deref().cloned(),
            boundary: if crosses { self.endings.get(&parent.epoch).cloned() } else { None },
        });
        self.tell_all(Message::Propose(block, self.entered_by.clone()));
    }

    /// The state root after a payload above `parent`, as far as it can be told.
    pub(super) fn root_after(&mut self, parent: &Header, timestamp: UnixMillis, payload: &Bytes) -> Option<Hash> {
        let path = self.tree.path(parent.id(), self.execution.executed())?;
        let path: Vec<_> = path.into_iter().cloned().collect();
        self.execution.root_after(&Next { parent, path: &path, timestamp, payload })
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
