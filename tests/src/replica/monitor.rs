//! [`Monitor`]: looks over the shoulders of honest replicas, at what they send and commit and at nothing else.

use std::collections::BTreeMap;

use hotstuff2_sync::chain::native::{Header, Phase, ValidatorKey};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, View};

use super::message::{Block, Message, SignedVote};

/// Something that must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two honest replicas hold different blocks at one height for final.
    #[error("two blocks are final at height {0}")]
    Conflict(Height),
    /// A replica left out a block.
    #[error("block {0} was committed out of order")]
    Order(Height),
    /// A replica voted twice in a view and phase, or in an earlier view than before.
    #[error("a second vote in view {0}")]
    SecondVote(View),
    /// A replica voted for a block that doesn't extend its lock.
    #[error("a vote in view {0} against the lock")]
    Lock(View),
    /// A replica voted in a view that it had given up.
    #[error("a vote in view {0}, which was given up")]
    GivenUp(View),
    /// A replica voted for an epoch's first block before the one below was final.
    #[error("a vote in view {0} for a block above a boundary that is not final")]
    Boundary(View),
    /// A vote for a block that nobody proposed.
    #[error("a vote in view {0} for an unknown block")]
    Unknown(View),
}

/// Watcher of all replicas.
#[derive(Clone, Debug, Default)]
pub struct Monitor {
    proposed: BTreeMap<Hash, Header>,
    final_blocks: BTreeMap<Height, Hash>,
    replicas: BTreeMap<ValidatorKey, Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    voted: [View; 2],
    given_up: View,
    /// The lock that follows from its votes, and the epoch that it counts in.
    lock: (Epoch, View),
    committed: Height,
}

impl Monitor {
    /// Final blocks, by height.
    pub fn final_blocks(&self) -> &BTreeMap<Height, Hash> {
        &self.final_blocks
    }

    /// In how many views somebody proposed two blocks.
    pub fn equivocations(&self) -> usize {
        let mut views: Vec<(Epoch, View)> = self.proposed.values().map(|header| (header.epoch, header.view)).collect();
        views.sort_unstable();
        let before = views.len();
        views.dedup();
        before - views.len()
    }

    /// Anybody proposed `block`, honest or not.
    pub(super) fn on_block(&mut self, block: &Block) {
        self.proposed.insert(block.id, block.header.clone());
    }

    /// An honest replica sent `message`.
    pub(super) fn on_sent(&mut self, from: ValidatorKey, message: &Message) -> Result<(), Violation> {
        match message {
            Message::GiveUp(quit, _) => {
                let seen = self.replicas.entry(from).or_default();
                seen.given_up = seen.given_up.max(quit.view);
                Ok(())
            }
            Message::Vote(vote) => self.on_vote(from, vote),
            _ => Ok(()),
        }
    }

    fn on_vote(&mut self, from: ValidatorKey, signed: &SignedVote) -> Result<(), Violation> {
        let vote = signed.vote;
        let header = self.proposed.get(&vote.block).ok_or(Violation::Unknown(vote.view))?;
        let seen = self.replicas.entry(from).or_default();
        let [one, two] = &mut seen.voted;
        let before = if vote.phase == Phase::One { one } else { two };
        if vote.view <= *before {
            return Err(Violation::SecondVote(vote.view));
        }
        *before = vote.view;
        if vote.view <= seen.given_up {
            return Err(Violation::GivenUp(vote.view));
        }
        if header.epoch != seen.lock.0 {
            // The boundary is final, and stands below all that this epoch can vote for.
            seen.lock = (header.epoch, View::ZERO);
        }
        let justified = if vote.phase == Phase::One { header.justify_view } else { header.view };
        if justified < seen.lock.1 {
            return Err(Violation::Lock(vote.view));
        }
        seen.lock.1 = justified;
        let parent = self.proposed.get(&header.parent);
        if parent.is_some_and(|parent| parent.epoch != header.epoch && seen.committed < parent.height) {
            return Err(Violation::Boundary(vote.view));
        }
        Ok(())
    }

    /// An honest replica committed `block`.
    pub(super) fn on_commit(&mut self, by: ValidatorKey, block: &Block) -> Result<(), Violation> {
        let height = block.header.height;
        let seen = self.replicas.entry(by).or_default();
        if !height.is_next_of(seen.committed) {
            return Err(Violation::Order(height));
        }
        seen.committed = height;
        if *self.final_blocks.entry(height).or_insert(block.id) != block.id {
            return Err(Violation::Conflict(height));
        }
        Ok(())
    }
}
