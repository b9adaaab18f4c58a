//! [`ParticipationGate`]: the one place that says whether this validator takes part in consensus.

use alloc::collections::VecDeque;

use crate::calls::BlockPoint;
use crate::chain::{AdvertFacts, CertifiedSuffix, TipFacts};
use crate::hash::{Context, Hash};
use crate::ids::{Epoch, Height, View};
use crate::participation::{Permit, RollCall, VoteRecord};
use crate::time::UnixMillis;

static CHALLENGE: Context = Context::new("hotstuff2-sync v1 challenge");

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
    /// Whether the engines of all validators keep promise 7 of the [native chain's](crate::chain::native) voters: a view is
    /// entered by a certificate of the one before. Only then can [`VoteRecord::Lost`] lead to a permit: with views that go by a
    /// clock a validator can have voted far above what anybody says.
    pub views_are_certified: bool,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            max_behind_blocks: 64,
            fresh_tip_ms: 10_000,
            fresh_word_ms: 30_000,
            clock_error_ms: 5_000,
            views_are_certified: false,
        }
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

/// Why there is no permit. Each ends by itself when its cause does, but for those of which
/// [`is_final`](Self::is_final) says otherwise.
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
    /// [`VoteRecord::Lost`], and not all hosts keep promise 7. Nothing that other validators say ends this: only a record does.
    #[error(
        "the record of votes is lost, and with it the lock, without which a vote may help to make two blocks final: bring the record back and start again, or leave the validator set and return with a new key"
    )]
    VoteRecordLost,
    /// [`VoteRecord::Lost`], and too few validators have said how far this one can have voted.
    #[error(
        "the record of votes is lost: validators with more than two thirds of the power, this one not counted, must show their certificates and leave the views in which it may have voted; those that are silent, or stay behind, are waited for"
    )]
    RestoringVotes,
    /// This validator's key signs elsewhere, or signed what its record doesn't know of.
    #[error(
        "a word under this validator's own key, in view {view}, is not from here: stop the other instance that has the key, or bring back the newest record of votes, and start again"
    )]
    OwnKeyElsewhere {
        /// The view that the word names.
        view: View,
    },
    /// Another block is proven final at the head's height.
    #[error("another block than this node's is proven final at height {height}: decide by hand which chain is yours")]
    Forked {
        /// The height.
        height: Height,
    },
    /// The host has not said what it knows of its own votes.
    #[error("the host has not brought its record of votes")]
    NoVoteRecord,
    /// This node is in no place of the set that is in force. It follows, and takes part once an epoch comes that has it.
    #[error("this node's key is not in the validator set that is in force: it follows until it is")]
    NoValidator,
}

impl WaitReason {
    /// Whether nothing but a new start, with what the reason asks for, ends this.
    pub fn is_final(self) -> bool {
        matches!(self, Self::VoteRecordLost | Self::OwnKeyElsewhere { .. } | Self::Forked { .. })
    }
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
    /// Another block is proven final at the head's height.
    #[error("another block than this node's is proven final at height {height}")]
    Forked {
        /// The height.
        height: Height,
    },
    /// The votes were restored by others, for the epoch that is over now.
    #[error("the epoch is over for which the others knew of this validator's votes")]
    EpochEnded,
    /// This node is no validator any more.
    #[error("this node's key is not in the validator set that is in force any more")]
    NoValidator,
}

/// An order of the gate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GateOutput {
    /// Cast no vote any more and make no proposal: the permit is withdrawn.
    Pause(PauseReason),
    /// Take part.
    Resume(Permit),
    /// Ask every validator that can be reached for its word.
    Ask {
        /// The challenge that words must answer: unknown to anybody before.
        challenge: Hash,
        /// Whether the certificates are needed that back the words.
        certificates: bool,
    },
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
    /// Power of this validator in the set; 0 where it is in none.
    own_power: u64,
    record: Option<VoteRecord>,
    /// Known to nobody: challenges follow from it.
    seed: Hash,
    /// How many challenges came before the one in use.
    round: u64,
    /// The words that answer it: they were given since it was made.
    roll: RollCall,
    /// The view of a word under this validator's key that isn't from here.
    elsewhere: Option<View>,
    /// The epoch for which others knew of this validator's votes. From then on it is asked of them in each.
    restored_in: Option<Epoch>,
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
    /// A gate that is closed. `own` is this validator in the set, with its power, and `None` where it isn't one: then there is no
    /// permit before [`handle_validator`](Self::handle_validator) says otherwise. `seed` must be new at each start and stay
    /// unknown to others: random bytes.
    pub fn new(settings: GateSettings, own: Option<(Hash, u64)>, seed: Hash) -> Self {
        Self {
            settings,
            own_power: own.map_or(0, |(_, power)| power),
            record: None,
            seed,
            round: 0,
            roll: RollCall::new(own.map(|(validator, _)| validator), challenge(seed, 0)),
            elsewhere: None,
            restored_in: None,
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

    /// The challenge that words must answer to count.
    pub fn challenge(&self) -> Hash {
        challenge(self.seed, self.round)
    }

    /// What the host knows of its own votes, read back from its disk; again before every return to consensus.
    pub fn handle_vote_record(&mut self, record: VoteRecord) {
        if self.permitted && record == VoteRecord::Lost {
            self.pause(PauseReason::VoteRecordLost);
        }
        self.record = Some(record);
    }

    /// This validator in the set that is in force, with its power; `None` where it isn't one, which withdraws the permit. To be
    /// told whenever an epoch ends, before the facts of the next one ([`handle_sync`](Self::handle_sync)): the gate knows no sets.
    pub fn handle_validator(&mut self, own: Option<(Hash, u64)>) {
        self.own_power = own.map_or(0, |(_, power)| power);
        self.roll.set_own(own.map(|(validator, _)| validator));
        if self.permitted && self.own_power == 0 {
            self.pause(PauseReason::NoValidator);
        }
    }

    /// Where the sync stands now, at `wall` by the host's clock. Words of another epoch's validators are forgotten.
    pub fn handle_sync(&mut self, wall: UnixMillis, facts: SyncFacts) {
        self.wall = wall;
        if self.epoch != Some(facts.epoch) {
            self.epoch = Some(facts.epoch);
            self.roll.clear();
            self.asked_at = None;
            if self.permitted && self.restored_in.is_some() {
                self.pause(PauseReason::EpochEnded);
            }
        }
        let gap = match (facts.applied, facts.proven) {
            (Some(applied), Some(proven)) => proven.height.above(applied.height),
            (None, _) => u64::MAX,
            (Some(_), None) => 0,
        };
        let forked = facts.forked();
        self.facts = Some(facts);
        if let Some(height) = forked.filter(|_| self.permitted) {
            self.pause(PauseReason::Forked { height });
        }
        if self.permitted && gap > self.settings.max_behind_blocks {
            self.pause(PauseReason::Behind { gap });
        }
    }

    /// A validator's word, verified under the epoch that the sync's facts named last.
    pub fn handle_advert(&mut self, wall: UnixMillis, word: AdvertFacts) {
        self.wall = wall;
        if self.roll.own() == Some(word.validator) {
            self.hear_itself(&word);
            return;
        }
        let until = UnixMillis::new(wall.get().saturating_add(self.settings.clock_error_ms));
        self.roll.hear(word, until);
    }

    /// A word under this validator's own key. Whoever relays one that was given here shows nothing: it names a view that the
    /// record knows of. While there is a permit the record here is an old one, and so nothing can be told from it.
    fn hear_itself(&mut self, word: &AdvertFacts) {
        let known = match self.record {
            _ if self.permitted => return,
            // A validator that has lost its record gives no word, and the challenge was unknown before.
            Some(VoteRecord::Lost) if word.challenge != self.challenge() => return,
            Some(VoteRecord::Lost) => None,
            // In view v it has given up on none above v - 1.
            Some(VoteRecord::Last(view)) => Some(view.next()),
            Some(VoteRecord::Never) => Some(View::new(1)),
            None => return,
        };
        if known.is_none_or(|known| word.view > known) {
            self.elsewhere = self.elsewhere.max(Some(word.view));
        }
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
        // Votes since the last record are in a newer one, and words of before those votes don't know of them.
        self.record = None;
        self.round = self.round.saturating_add(1);
        self.roll = RollCall::new(self.roll.own(), self.challenge());
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
                if self.is_lost() {
                    self.restored_in = self.epoch;
                }
                GateOutput::Resume(permit)
            }
            Err(reason) => {
                let asks = matches!(reason, WaitReason::NotKnownToBeCaughtUp | WaitReason::RestoringVotes);
                if asks && self.ask_again() {
                    return GateOutput::Ask { challenge: self.challenge(), certificates: self.is_lost() };
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

    /// Whether nothing here says what this validator may have voted for in the epoch that is in force.
    fn is_lost(&self) -> bool {
        let elsewhen = self.restored_in.is_some() && self.restored_in != self.epoch;
        self.record == Some(VoteRecord::Lost) || (self.record.is_some() && elsewhen)
    }

    /// The permit that the facts allow, or why there is none.
    fn permit(&self) -> Result<Permit, WaitReason> {
        // First of all reasons: nothing that the sync or others bring changes them.
        if let Some(view) = self.elsewhere {
            return Err(WaitReason::OwnKeyElsewhere { view });
        }
        if let Some(height) = self.facts.as_ref().and_then(SyncFacts::forked) {
            return Err(WaitReason::Forked { height });
        }
        if self.own_power == 0 {
            return Err(WaitReason::NoValidator);
        }
        if self.is_lost() && !self.settings.views_are_certified {
            return Err(WaitReason::VoteRecordLost);
        }
        let applying = |proven| WaitReason::Applying { proven };
        let facts = self.facts.as_ref().ok_or(WaitReason::NotKnownToBeCaughtUp)?;
        let proven = facts.proven.map_or(Height::ZERO, |tip| tip.height).max(self.wanted.unwrap_or(Height::ZERO));
        let head = facts.applied.filter(|head| head.height >= proven).ok_or(applying(proven))?;
        if !self.is_caught_up(head, facts) {
            return Err(WaitReason::NotKnownToBeCaughtUp);
        }
        let known = match self.record.ok_or(WaitReason::NoVoteRecord)? {
            VoteRecord::Never | VoteRecord::Lost => View::ZERO,
            VoteRecord::Last(view) => view,
        };
        let restored =
            if self.is_lost() { Some(self.roll.restored().ok_or(WaitReason::RestoringVotes)?) } else { None };
        let (floor, lock) = restored.map_or((View::ZERO, None), |restored| (restored.vote_above, restored.lock));
        let vote_above = known.max(floor);
        // What was proven of a lower block shows nothing above the head.
        let suffix = facts.suffix.clone().filter(|_| facts.proven.is_some_and(|tip| tip.id == head.id));
        Ok(Permit { head, vote_above, suffix, lock })
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
        fresh || self.roll.nothing_above(head.height, self.own_power, since)
    }
}

impl SyncFacts {
    /// The height at which the proven block is not the applied one.
    fn forked(&self) -> Option<Height> {
        let (applied, proven) = (self.applied?, self.proven?);
        (applied.height == proven.height && applied.id != proven.id).then_some(applied.height)
    }
}

/// The challenge `round` of the gate with this seed.
fn challenge(seed: Hash, round: u64) -> Hash {
    let mut bytes = seed.as_bytes().to_vec();
    bytes.extend_from_slice(&round.to_le_bytes());
    CHALLENGE.hash(&bytes)
}
