//! A replica begins above a final block, with what it remembers; and goes on above one that its node's sync has brought.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hotstuff2_sync::chain::native::{Handover, Header, QuorumCertificate};
use hotstuff2_sync::ids::{Epoch, Height, View};
use hotstuff2_sync::time::Instant;

use super::{Replica, Settings};
use crate::replica::committee::Committee;
use crate::replica::execution::Execution;
use crate::replica::record::Record;
use crate::replica::tree::Tree;

impl<E: Execution> Replica<E> {
    /// A replica that stands at the final block `head`.
    ///
    /// # Panics
    /// Where the committee doesn't know the epoch of `head`.
    pub(super) fn at(
        committee: Arc<Committee>,
        secret: SigningKey,
        settings: Settings,
        execution: E,
        head: Header,
        now: Instant,
    ) -> Self {
        let epoch = if head.height == Height::ZERO { Epoch::ZERO } else { head.epoch };
        let epoch = committee.context(epoch).expect("a committee knows the epochs of its chain").clone();
        Self {
            tree: Tree::new(head.clone()),
            head,
            key: (&secret).into(),
            secret,
            settings,
            execution,
            now,
            epoch,
            view: View::ZERO,
            high: None,
            floor: View::ZERO,
            voted: [View::ZERO; 2],
            given_up: View::ZERO,
            committed: Vec::new(),
            endings: BTreeMap::new(),
            proposed: View::ZERO,
            propose_at: None,
            deadline: now,
            failures: 0,
            entered_by: None,
            votes: BTreeMap::new(),
            quitters: BTreeMap::new(),
            orphans: BTreeMap::new(),
            ending: None,
            muted: false,
            outputs: VecDeque::new(),
            committee,
        }
    }

    /// A replica that stands at the final block `head`, which its node has stored, and remembers `record`. It signs nothing
    /// before it [may](Self::speak).
    ///
    /// # Panics
    /// Where the committee doesn't know the epoch of `head`.
    pub fn resumed(
        committee: Arc<Committee>,
        secret: SigningKey,
        settings: Settings,
        execution: E,
        head: Header,
        record: Record,
        now: Instant,
    ) -> Self {
        let mut replica = Self::at(committee, secret, settings, execution, head, now);
        replica.muted = true;
        let Record { epoch, view, voted, given_up, proposed, floor, high, entered_by, ending, blocks } = record;
        (replica.voted, replica.given_up, replica.proposed) = (voted, given_up, proposed);
        let own = replica.key;
        if replica.head.height == Height::ZERO {
            replica.enter(View::new(1), None);
        }
        if let Some(ending) = ending {
            replica.handle_ending(Arc::new(ending));
        }
        for block in blocks {
            replica.learn(own, &Arc::new(block));
        }
        if replica.epoch.epoch() == epoch {
            replica.floor = floor;
            if let Some(high) = high {
                // Also where its block came to be unknown: a lock is never lowered within an epoch.
                if high.epoch == epoch {
                    replica.floor = replica.floor.max(high.view);
                }
                replica.on_certificate(own, Arc::new(high));
            }
            // The view stands in the record, whatever the certificates lead to.
            if view > replica.view {
                replica.view = view;
                replica.entered_by = entered_by.map(Arc::new);
            }
        }
        replica.propose_at = None;
        replica.deadline = now;
        replica
    }

    /// What it must remember: to be durable before anything is sent that came out before. Blocks up to `stored` are in the
    /// node's store.
    pub fn record(&self, stored: Height) -> Record {
        let mut blocks: Vec<_> = self.tree.blocks().filter(|block| block.header.height > stored).collect();
        blocks.sort_by_key(|block| block.header.height);
        Record {
            epoch: self.epoch.epoch(),
            view: self.view,
            voted: self.voted,
            given_up: self.given_up,
            proposed: self.proposed,
            floor: self.floor,
            high: self.high.as_deref().cloned(),
            entered_by: self.entered_by.as_deref().cloned(),
            ending: self.endings.last_key_value().map(|(_, ending)| Handover::clone(ending)),
            blocks: blocks.into_iter().map(|block| block.as_ref().clone()).collect(),
        }
    }

    /// May sign from now on, in views above `above`; what others restored of its lock binds it.
    pub fn speak(&mut self, now: Instant, above: View, lock: Option<QuorumCertificate>) {
        self.now = now;
        self.given_up = self.given_up.max(above);
        if let Some(lock) = lock {
            self.floor = self.floor.max(lock.view);
            self.on_certificate(self.key, Arc::new(lock));
        }
        self.muted = false;
        // Who is ahead says so when the first view is given up.
        self.failures = 0;
        self.deadline = now.after(self.patience());
        if self.leader(self.view) == Some(self.key) {
            self.propose_at = Some(now.after(self.settings.delta * 2));
        }
    }

    /// Signs nothing from now on.
    pub fn mute(&mut self) {
        self.muted = true;
        self.propose_at = None;
    }

    /// The node's sync has stored the final block with this header, and the handover to the next epoch where it ends one.
    pub fn handle_final(&mut self, now: Instant, header: &Header, handover: Option<Arc<Handover>>) {
        self.now = now;
        if header.height <= self.head.height {
            return;
        }
        if self.tree.header(header.id()).is_none() {
            // It has come another way. The lock binds, whether or not its block is there.
            self.floor = self.floor.max(self.lock().1);
            self.tree = Tree::new(header.clone());
            self.high = None;
            self.orphans.clear();
        }
        self.head = header.clone();
        if header.epoch != self.epoch.epoch()
            && let Some(epoch) = self.committee.context(header.epoch)
        {
            self.epoch = epoch.clone();
            (self.floor, self.entered_by, self.ending) = (View::ZERO, None, None);
            self.high = self.high.take().filter(|high| high.epoch == header.epoch);
            self.votes.clear();
            self.quitters.clear();
        }
        if let Some(handover) = handover {
            self.handle_ending(handover);
        }
    }

    /// Forgets blocks below `height` that are final: whoever lacks them gets them from the sync.
    pub fn forget(&mut self, height: Height) {
        let floor = self.committed.iter().find(|block| block.header.height == height).map(|block| block.header.clone());
        if let Some(root) = floor.filter(|root| root.height > self.tree.root().height) {
            self.tree.rise(root);
            self.committed.retain(|block| block.header.height > height);
        }
        while self.endings.len() > 2 {
            self.endings.pop_first();
        }
    }

    /// The node's sync has stored the handover that ends the epoch of its head.
    pub fn handle_ending(&mut self, handover: Arc<Handover>) {
        if handover.header.id() == self.head.id() && handover.header.epoch == self.epoch.epoch() {
            self.cross(handover);
        } else if handover.header.epoch.next() == self.epoch.epoch() {
            self.endings.insert(handover.header.epoch, handover);
        }
    }
}
