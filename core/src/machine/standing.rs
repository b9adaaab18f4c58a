//! Where the node stands: what its store holds, and how far its application has executed it.

use crate::calls::BlockPoint;
use crate::chain::Finalized;
use crate::hash::Hash;
use crate::ids::Height;
use crate::time::UnixMillis;

/// The store's newest block when the machine was made or a state became live, and the newest block that is executed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Standing {
    /// Height that was executed when the machine was made.
    pub(super) start: Height,
    /// The block that the store ended with.
    pub(super) stored: BlockPoint,
    /// Proof of it, as the host kept it: needed only if a conflict shows there.
    pub(super) stored_proof: Option<Finalized>,
    /// The time in its header; zero where it is not known.
    stored_time: UnixMillis,
    /// Height that is stored and executed.
    pub(super) applied: Height,
    /// Id of the block there; `None` where it is not known.
    applied_id: Option<Hash>,
    /// The time in its header; zero where it is not known.
    applied_time: UnixMillis,
}

impl Standing {
    /// A node whose store ends with `stored`, and whose application is at `applied`, which isn't above it.
    pub(super) fn new(stored: BlockPoint, time: UnixMillis, proof: Option<Finalized>, applied: Height) -> Self {
        Self {
            start: applied,
            stored,
            stored_proof: proof,
            stored_time: time,
            applied,
            applied_id: (applied == stored.height).then_some(stored.id),
            applied_time: time,
        }
    }

    /// The newest executed block, where its id is known.
    pub(super) fn point(&self) -> Option<BlockPoint> {
        self.applied_id.map(|id| BlockPoint { height: self.applied, id })
    }

    /// The time in that block's header; zero where it is not known.
    pub(super) const fn time(&self) -> UnixMillis {
        self.applied_time
    }

    /// Whether all blocks that the store held are executed.
    pub(super) fn has_replayed(&self) -> bool {
        self.applied >= self.stored.height
    }

    /// Id and time of the block that the store ended with, if that is the one at `height`.
    pub(super) fn stored_at(&self, height: Height) -> Option<(Hash, UnixMillis)> {
        (height == self.stored.height).then_some((self.stored.id, self.stored_time))
    }

    /// Proof of the block that the store ended with, if that is the one at `height`.
    pub(super) fn proof_at(&self, height: Height) -> Option<Finalized> {
        self.stored_proof.clone().filter(|_| self.stored.height == height)
    }

    /// Notes that blocks are executed up to `through`, with id and time of that block where they are known. False where they
    /// were already.
    pub(super) fn execute(&mut self, through: Height, last: Option<(Hash, UnixMillis)>) -> bool {
        let is_new = through > self.applied;
        if is_new {
            self.applied = through;
            self.applied_id = last.map(|(id, _)| id);
            self.applied_time = last.map_or(UnixMillis::default(), |(_, time)| time);
        }
        is_new
    }

    /// Notes that the state of the block `point` is live, and that `proof` proves it. Its time is not known here: a tip at
    /// this very block has its own, and blocks above it bring theirs.
    pub(super) fn rebase(&mut self, point: BlockPoint, proof: Finalized) {
        *self = Self { start: self.start, ..Self::new(point, UnixMillis::default(), Some(proof), point.height) };
    }
}
