//! [`ParticipationGate`]: the one place that says whether this validator takes part in consensus.

use alloc::collections::VecDeque;

use crate::calls::BlockPoint;
use crate::chain::{AdvertFacts, CertifiedSuffix, TipFacts};
use crate::hash::Hash;
use crate::ids::{Epoch, Height, View};
use crate::participation::{Permit, RollCall, VoteRecord};
use crate::time::UnixMillis;

/// Settings of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GateSettings {
    /// Blocks that proven ones may be ahead of this node before it leaves consensus.
    pub max_behind_blocks: u64,
    /// Age in ms up to which a proven tip shows by itself that nothing newer is withheld: some times the time between
    /// two blocks.
    pub fresh_tip_ms: u64,
    /// Age in ms up to which the word of a validator counts.
    pub fresh_word_ms: u64,
    /// How far a clock elsewhere may be ahead of this node's, in ms.
    pub clock_error_ms: u64,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self { max_behind_blocks: 64, fresh_tip_ms: 10_000, fresh_word_ms: 30_000, clock_error_ms: 5_000 }
    }
}

/// Where the sync of this node stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SyncFacts {
    /// The highest block that is stored and executed; `None` while a state is being put in place.
    pub applied: Option<BlockPoint>,
    /// The highest block that was proven final.
    pub proven: Option<TipFacts>,
    /// The epoch whose validators decide over the next block.
    pub epoch: Epoch,
    /// What that proof shows above the block.
    pub suffix: Option<CertifiedSuffix>,
}

/// Why there is no permit. Each ends by itself when its cause does, but for the lost record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WaitReason {
    /// Proven blocks are not applied yet, or a state is being put in place.
    #[error("proven blocks up to {proven} are not applied yet")]
    Applying {
        /// The highest proven height.
        proven: Height,
    },
    /// Nothing shows that the tip is the network's.
    #[error(
        "the proven tip is too old to show that nothing newer is withheld, and validators with two thirds of the power have not said so"
    )]
    NotKnownToBeCaughtUp,
    /// [`VoteRecord::Lost`]. Nothing that other validators say ends this: only a record does.
    #[error(
        "the record of votes is lost, and with it the lock, without which a vote may help to make two blocks final: bring the record back and start again, or leave the validator set and return with a new key"
    )]
    VoteRecordLost,
    /// The host has not said what it knows of its own votes.
    #[error("the host has not brought its record of votes")]
    NoVoteRecord,
}

/// Why a permit was withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PauseReason {
    /// Proven blocks are too far ahead.
    #[error("{gap} proven blocks ahead of this node")]
    Behind {
        /// How many.
        gap: u64,
    },
    /// The host asked for it, as where consensus itself found that it misses blocks.
    #[error("asked for by the host")]
    Asked,
    /// The host has brought [`VoteRecord::Lost`].
    #[error("the record of votes is lost")]
    VoteRecordLost,
}

/// An order of the gate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GateOutput {
    /// Cast no vote any more and make no proposal: the permit is withdrawn.
    Pause(PauseReason),
    /// Take part.
    Resume(Permit),
    /// Ask every validator that can be reached for its word, with this challenge.
    Ask(Hash),
    /// Nothing now. There is no permit for this reason, or there is one.
    Wait(Option<WaitReason>),
}

/// Decides when a validator takes part in consensus. See the [module](super) for what it rests on.
///
/// Drive it like the machine: bring facts in, then call [`poll_output`](Self::poll_output) until [`GateOutput::Wait`],
/// which comes last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParticipationGate {
    settings: GateSettings,
    own_power: u64,
    record: Option<VoteRecord>,
    /// Names this start of the node: answers to it were given since.
    challenge: Hash,
    roll: RollCall,
    epoch: Option<Epoch>,
    facts: Option<SyncFacts>,
    wall: UnixMillis,
    permitted: bool,
    /// Consensus said that it misses blocks up to here.
    wanted: Option<Height>,
    outputs: VecDeque<GateOutput>,
    asked_at: Option<UnixMillis>,
}

impl ParticipationGate {
    /// A gate that is closed. `own` is this validator in the set, with its power; `challenge` must be new at each start and
    /// unknown before: random bytes.
    pub fn new(settings: GateSettings, own: Option<(Hash, u64)>, challenge: Hash) -> Self {
        Self {
            settings,
            own_power: own.map_or(0, |(_, power)| power),
            record: None,
            challenge,
            roll: RollCall::new(own.map(|(validator, _)| validator)),
            epoch: None,
            facts: None,
            wall: UnixMillis::default(),
            permitted: false,
            wanted: None,
            outputs: VecDeque::new(),
            asked_at: None,
        }
    }

    /// Whether there is a permit.
    pub fn is_permitted(&self) -> bool {
        self.permitted
    }

    /// What the host knows of its own votes, read back from its disk; again before every return to consensus.
    pub fn handle_vote_record(&mut self, record: VoteRecord) {
        if self.permitted && record == VoteRecord::Lost {
            self.pause(PauseReason::VoteRecordLost);
        }
        self.record = Some(record);
    }

    /// This validator in the set that is in force, with its power; `None` where it isn't one.
    pub fn handle_validator(&mut self, own: Option<(Hash, u64)>) {
        self.own_power = own.map_or(0, |(_, power)| power);
        self.roll.set_own(own.map(|(validator, _)| validator));
    }

    /// Where the sync stands now, at `wall` by the host's clock. Words of another epoch's validators are forgotten.
    pub fn handle_sync(&mut self, wall: UnixMillis, facts: SyncFacts) {
        self.wall = wall;
        if self.epoch != Some(facts.epoch) {
            self.epoch = Some(facts.epoch);
            self.roll.clear();
            self.asked_at = None;
        }
        let gap = match (facts.applied, facts.proven) {
            (Some(applied), Some(proven)) => proven.height.above(applied.height),
            (None, _) => u64::MAX,
            (Some(_), None) => 0,
        };
        self.facts = Some(facts);
        if self.permitted && gap > self.settings.max_behind_blocks {
            self.pause(PauseReason::Behind { gap });
        }
    }

    /// A validator's word, verified under the epoch that the sync's facts named last.
    pub fn handle_advert(&mut self, wall: UnixMillis, word: AdvertFacts) {
        self.wall = wall;
        self.roll.hear(word);
    }

    /// Time has passed.
    pub fn handle_time(&mut self, wall: UnixMillis) {
        self.wall = wall;
    }

    /// Consensus has verified that the network stands at `height` or above and misses what leads there: the permit is
    /// withdrawn where that is too far, and there is none before it is applied. Returns whether it was too far.
    pub fn fall_behind(&mut self, height: Height) -> bool {
        let applied = self.facts.as_ref().and_then(|facts| facts.applied).map_or(Height::ZERO, |point| point.height);
        let gap = height.above(applied);
        if gap <= self.settings.max_behind_blocks {
            return false;
        }
        self.wanted = self.wanted.max(Some(height));
        if self.permitted {
            self.pause(PauseReason::Behind { gap });
        }
        true
    }

    /// Withdraws the permit until the next facts.
    pub fn close(&mut self) {
        if self.permitted {
            self.pause(PauseReason::Asked);
        }
    }

    fn pause(&mut self, reason: PauseReason) {
        self.permitted = false;
        // What was voted since the last record is in a newer one.
        self.record = None;
        self.roll.clear();
        self.asked_at = None;
        self.outputs.push_back(GateOutput::Pause(reason));
    }

    /// The next order; [`GateOutput::Wait`] comes last.
    pub fn poll_output(&mut self) -> GateOutput {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        if self.permitted {
            return GateOutput::Wait(None);
        }
        match self.permit() {
            Ok(permit) => {
                self.permitted = true;
                self.wanted = None;
                GateOutput::Resume(permit)
            }
            Err(reason) => {
                if reason == WaitReason::NotKnownToBeCaughtUp && self.ask_again() {
                    return GateOutput::Ask(self.challenge);
                }
                GateOutput::Wait(Some(reason))
            }
        }
    }

    /// Whether it is time to ask validators (again): each third of the time for which their words count.
    fn ask_again(&mut self) -> bool {
        let pause = self.settings.fresh_word_ms / 3;
        let due = self.asked_at.is_none_or(|at| self.wall.get() >= at.get().saturating_add(pause) || self.wall < at);
        if due {
            self.asked_at = Some(self.wall);
        }
        due
    }

    /// The permit that the facts allow, or why there is none.
    fn permit(&self) -> Result<Permit, WaitReason> {
        let vote_above = match self.record {
            // First of all reasons: nothing that the sync or others bring changes it.
            Some(VoteRecord::Lost) => return Err(WaitReason::VoteRecordLost),
            Some(VoteRecord::Never) => Some(View::ZERO),
            Some(VoteRecord::Last(view)) => Some(view),
            None => None,
        };
        let applying = |proven| WaitReason::Applying { proven };
        let facts = self.facts.as_ref().ok_or(WaitReason::NotKnownToBeCaughtUp)?;
        let proven = facts.proven.map_or(Height::ZERO, |tip| tip.height).max(self.wanted.unwrap_or(Height::ZERO));
        let head = facts.applied.filter(|head| head.height >= proven).ok_or(applying(proven))?;
        if !self.is_caught_up(head, facts) {
            return Err(WaitReason::NotKnownToBeCaughtUp);
        }
        let vote_above = vote_above.ok_or(WaitReason::NoVoteRecord)?;
        // What was proven of a lower block shows nothing above the head.
        let suffix = facts.suffix.clone().filter(|_| facts.proven.is_some_and(|tip| tip.id == head.id));
        Ok(Permit { head, vote_above, suffix })
    }

    fn is_caught_up(&self, head: BlockPoint, facts: &SyncFacts) -> bool {
        let latest = self.wall.get().saturating_add(self.settings.clock_error_ms);
        let fresh = facts.proven.is_some_and(|tip| {
            let at = tip.timestamp.get();
            tip.height == head.height
                && at <= latest
                && self.wall.get().saturating_sub(at) <= self.settings.fresh_tip_ms
        });
        let since = UnixMillis::new(self.wall.get().saturating_sub(self.settings.fresh_word_ms));
        fresh || self.roll.nothing_above(head.height, self.own_power, since, UnixMillis::new(latest))
    }
}
