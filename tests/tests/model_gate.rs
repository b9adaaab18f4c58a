//! All that four validators can do in three views, one of them faulty and one losing its record of votes, in any order: the
//! real roll call restores it, and never a vote twice in a view, never two final blocks, never a validator that is muted for
//! good. And where a rule is missing, the attack that it stands against is found. The view below the three was given up by all.
//!
//! Blocks and certificates are as the faulty one likes: it proposes anything, shows a certificate to whom it wants, votes for
//! everything, and says of itself what it wants, as far as the certificates beside a word must be true ones. Left out is what
//! can't help it: nobody is shown a certificate that only raises a lock, and nobody gives up the last view.

use hotstuff2_sync::chain::AdvertFacts;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, View};
use hotstuff2_sync::participation::RollCall;
use hotstuff2_sync::time::UnixMillis;
use stateright::{Checker as _, Model, Property, Representative};

/// Honest validators; the first may lose its record. The other two are alike.
const HONEST: usize = 3;
const VIEWS: u8 = 3;
const CHALLENGE: Hash = Hash::from_bytes([9; 32]);
/// The faulty validator's number.
const LIAR: u8 = 3;
/// The view that is called 0 here, as the roll call sees it.
const BELOW: u64 = 10;

/// A block by the views of its branch from the first block on, a bit each. Genesis has none. Its own view is the highest.
type Block = u8;
/// Numbers that a block may have.
const BLOCKS: usize = 1 << (VIEWS + 1);

const SAFE: &str = "what is certified above a final block extends it";
const ONCE: &str = "nobody honest votes twice in one view";
const HEARD: &str = "a restored validator can vote in a view that the others reach";

const fn view_of(block: Block) -> u8 {
    match block {
        0 => 0,
        block => block.ilog2() as u8,
    }
}

const fn parent_of(block: Block) -> Block {
    block & !(1 << view_of(block))
}

/// Which rules hold.
#[derive(Clone, Copy)]
struct Rules {
    /// A restored validator takes the highest certificate that it was shown as its lock.
    restores_the_lock: bool,
    /// There is no permit before a quorum has left the views in which the validator can have voted.
    waits_for_the_views: bool,
    /// A view in a word counts for no more than the certificates beside it.
    backs_the_views: bool,
    /// The view above one that others have finished, and not left, may hold a lost vote.
    counts_finished_views: bool,
    /// Promise 7: views are entered by certificates, and not by a clock.
    certifies_views: bool,
    /// What is looked at: the checker stops once one of these is broken.
    properties: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Voter {
    view: u8,
    /// Votes in this view are over.
    done: bool,
    lock: u8,
    /// The view that a quorum was seen to give up before this validator entered its own.
    entered_by: u8,
}

/// What a validator says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Word {
    speaker: u8,
    view: u8,
    /// The view whose end the certificates beside it show.
    shown: u8,
    /// 0 for none.
    lock: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Record {
    Kept,
    /// Words are asked for; those that were heard, but for what others say as well.
    Lost(Vec<Word>),
    Restored,
    /// It votes no more in any view that the others reach.
    Muted,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct State {
    voters: [Voter; HONEST],
    /// Honest voters of each block, a bit each; the faulty one votes for all.
    votes: [u8; BLOCKS],
    /// Honest validators that gave up on each view, a bit each.
    quitters: [u8; VIEWS as usize + 1],
    record: Record,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Vote(usize, Block),
    GiveUp(usize),
    /// By the certificate of a block in the view before.
    EnterByBlock(usize, u8),
    /// By a time-out of the view before; without promise 7, by the clock.
    EnterByTime(usize, u8),
    Lose,
    Say(usize),
    Restore,
}

/// Votes of two honest validators and the faulty one are a quorum.
const fn enough(honest: u8) -> bool {
    honest.count_ones() >= 2
}

impl State {
    fn certified(&self) -> impl Iterator<Item = Block> + Clone {
        (1..BLOCKS).filter(|&block| enough(self.votes[block])).map(|block| block as Block)
    }

    fn block_in(&self, view: u8) -> bool {
        self.certified().any(|block| view_of(block) == view)
    }

    fn given_up(&self, view: u8) -> bool {
        enough(self.quitters[usize::from(view)])
    }

    /// A block is final once it is certified and so is a child in the view above its own; what is certified in a higher
    /// view is of its branch.
    fn is_safe(&self) -> bool {
        let deciding = self.certified().filter(|&child| {
            let parent = parent_of(child);
            parent != 0 && view_of(parent) + 1 == view_of(child)
        });
        deciding.map(parent_of).all(|last| {
            let branch = (2u8 << view_of(last)) - 1;
            self.certified().filter(|&block| view_of(block) > view_of(last)).all(|block| block & branch == last)
        })
    }

    fn is_once(&self) -> bool {
        (1..=VIEWS).all(|view| {
            let blocks = (1..BLOCKS).filter(|&block| view_of(block as Block) == view);
            blocks
                .map(|block| self.votes[block])
                .try_fold(0, |all, voters| (all & voters == 0).then_some(all | voters))
                .is_some()
        })
    }

    fn acts(&self, voter: usize) -> bool {
        voter != 0 || matches!(self.record, Record::Kept | Record::Restored)
    }
}

/// The two validators that keep their records are alike.
impl Representative for State {
    fn representative(&self) -> Self {
        let swap = |bits: u8| bits & 1 | (bits & 2) << 1 | (bits & 4) >> 1;
        let mut other = self.clone();
        other.voters.swap(1, 2);
        other.votes.iter_mut().chain(&mut other.quitters).for_each(|voters| *voters = swap(*voters));
        if let Record::Lost(words) = &mut other.record {
            for word in words.iter_mut() {
                word.speaker = match word.speaker {
                    1 => 2,
                    2 => 1,
                    speaker => speaker,
                };
            }
            words.sort_unstable();
        }
        if other < *self { other } else { self.clone() }
    }
}

impl Rules {
    fn facts(self, word: Word) -> AdvertFacts {
        let at = |view: u8| View::new(BELOW + u64::from(view));
        let view = if word.speaker == LIAR { View::new(u64::MAX - 2) } else { at(word.view) };
        AdvertFacts {
            validator: Hash::from_bytes([word.speaker + 1; 32]),
            power: 1,
            total_power: 4,
            height: Height::ZERO,
            id: Hash::ZERO,
            view,
            backed: Some(match self {
                Self { backs_the_views: false, .. } => view,
                Self { counts_finished_views: false, .. } => at(word.shown),
                _ => at(word.shown).next(),
            }),
            lock: if word.lock > 0 { at(word.lock) } else { View::ZERO },
            certificate: (word.lock > 0).then(|| vec![word.lock].into()),
            timestamp: UnixMillis::new(0),
            challenge: CHALLENGE,
        }
    }

    fn roll_call(self, words: &[Word]) -> RollCall {
        let mut roll = RollCall::new(Some(Hash::from_bytes([1; 32])), CHALLENGE);
        for &word in words {
            let facts = self.facts(word);
            if !self.waits_for_the_views {
                // As if everybody had left all views by now.
                roll.hear(AdvertFacts { view: View::MAX, ..facts.clone() }, UnixMillis::new(0));
            }
            roll.hear(facts, UnixMillis::new(0));
        }
        roll
    }

    /// The words with one more, but for those without which the roll call is the same.
    fn hear(self, words: &[Word], word: Word) -> Vec<Word> {
        let mut all = [words, &[word]].concat();
        all.sort_unstable();
        all.dedup();
        let full = self.roll_call(&all);
        let mut place = 0;
        while place < all.len() {
            let rest = [&all[..place], &all[place + 1..]].concat();
            if self.roll_call(&rest) == full {
                all = rest;
            } else {
                place += 1;
            }
        }
        all
    }

    /// The faulty one shows the certificate of the lowest view, and names the highest view there is.
    const LIE: Word = Word { speaker: LIAR, view: 0, shown: 0, lock: 0 };

    fn word(state: &State, speaker: usize) -> Word {
        let Voter { view, lock, entered_by, .. } = state.voters[speaker];
        Word { speaker: speaker as u8, view, shown: entered_by.max(lock), lock }
    }
}

impl Model for Rules {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let voter = Voter { view: 1, done: false, lock: 0, entered_by: 0 };
        let quitters = [0; VIEWS as usize + 1];
        vec![State { voters: [voter; HONEST], votes: [0; BLOCKS], quitters, record: Record::Kept }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for voter in (0..HONEST).filter(|&voter| state.acts(voter)) {
            let Voter { view, done, lock, .. } = state.voters[voter];
            if !done {
                let parents = state.certified().chain([0]);
                let may = parents.filter(|&parent| view_of(parent) >= lock && view_of(parent) < view);
                actions.extend(may.map(|parent| Action::Vote(voter, parent | 1 << view)));
            }
            if state.quitters[usize::from(view)] & 1 << voter == 0 && view < VIEWS {
                actions.push(Action::GiveUp(voter));
            }
            for next in view + 1..=VIEWS {
                if state.block_in(next - 1) {
                    actions.push(Action::EnterByBlock(voter, next));
                }
                if state.given_up(next - 1) || !self.certifies_views {
                    actions.push(Action::EnterByTime(voter, next));
                }
            }
        }
        match &state.record {
            // Who has voted for nothing has nothing to lose.
            Record::Kept if state.votes.iter().any(|voters| voters & 1 == 1) => actions.push(Action::Lose),
            Record::Kept | Record::Restored | Record::Muted => {}
            Record::Lost(words) => {
                actions.extend((1..HONEST).map(Action::Say));
                if self.roll_call(words).restored().is_some() {
                    actions.push(Action::Restore);
                }
            }
        }
        // What is pushed last is tried first: so attacks are found soon.
        actions.reverse();
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match (action, &last.record) {
            (Action::Vote(voter, block), _) => {
                let known = &mut state.voters[voter];
                (known.done, known.lock) = (true, known.lock.max(view_of(parent_of(block))));
                state.votes[usize::from(block)] |= 1 << voter;
            }
            (Action::GiveUp(voter), _) => {
                let known = &mut state.voters[voter];
                known.done = true;
                state.quitters[usize::from(known.view)] |= 1 << voter;
            }
            (Action::EnterByBlock(voter, view), _) => {
                let lock = state.voters[voter].lock.max(view - 1);
                state.voters[voter] = Voter { view, done: false, lock, entered_by: 0 };
            }
            (Action::EnterByTime(voter, view), _) => {
                let entered_by = if last.given_up(view - 1) { view - 1 } else { 0 };
                let lock = state.voters[voter].lock;
                state.voters[voter] = Voter { view, done: false, lock, entered_by };
            }
            (Action::Lose, _) => {
                state.voters[0] = Voter { view: 0, done: true, lock: 0, entered_by: 0 };
                // Without the faulty one's word there are too few, and none is lower.
                state.record = Record::Lost(vec![Self::LIE]);
            }
            (Action::Say(voter), Record::Lost(words)) => {
                state.record = Record::Lost(self.hear(words, Self::word(last, voter)));
            }
            (Action::Restore, Record::Lost(words)) => {
                let restored = self.roll_call(words).restored()?;
                let lock = restored.lock.map_or(0, |lock| lock.bytes[0]);
                let lock = if self.restores_the_lock { lock } else { 0 };
                match restored.vote_above.get() - BELOW {
                    // Votes above the last view are not played.
                    above if above <= u64::from(VIEWS) + 1 => {
                        let view = VIEWS.min(above as u8);
                        state.voters[0] = Voter { view, done: true, lock, entered_by: 0 };
                        state.record = Record::Restored;
                    }
                    _ => state.record = Record::Muted,
                }
            }
            (Action::Say(_) | Action::Restore, _) => return None,
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let of = |name| match name {
            SAFE => Property::always(SAFE, |_: &Self, state: &State| state.is_safe()),
            ONCE => Property::always(ONCE, |_: &Self, state: &State| state.is_once()),
            _ => Property::always(HEARD, |_: &Self, state: &State| state.record != Record::Muted),
        };
        self.properties.iter().copied().map(of).collect()
    }
}

const ALL: Rules = Rules {
    restores_the_lock: true,
    waits_for_the_views: true,
    backs_the_views: true,
    counts_finished_views: true,
    certifies_views: true,
    properties: &[SAFE, ONCE, HEARD],
};

/// The properties that don't hold, once every state was looked at, or all of them are broken.
fn broken(rules: Rules) -> Vec<&'static str> {
    let checker = rules.checker().symmetry().spawn_dfs().join();
    println!("{} states, {} deep", checker.unique_state_count(), checker.max_depth());
    checker.discoveries().into_keys().collect()
}

#[test]
fn no_lost_record_makes_two_final_blocks() {
    assert!(broken(ALL).is_empty());
}

#[test]
fn without_the_lock_two_blocks_are_final() {
    assert_eq!(broken(Rules { restores_the_lock: false, properties: &[SAFE], ..ALL }), [SAFE]);
}

#[test]
fn without_waiting_for_the_views_an_old_vote_makes_a_second_block_final() {
    assert_eq!(broken(Rules { waits_for_the_views: false, properties: &[SAFE], ..ALL }), [SAFE]);
}

#[test]
fn with_views_that_nothing_backs_one_liar_mutes_a_validator() {
    // Were it given a permit before a quorum is beyond, as nobody ever is beyond the highest view.
    let rules = Rules { backs_the_views: false, waits_for_the_views: false, properties: &[HEARD], ..ALL };
    assert_eq!(broken(rules), [HEARD]);
}

#[test]
fn where_finished_views_are_not_counted_a_restored_validator_votes_twice() {
    for property in [&[ONCE], &[SAFE]] {
        assert_eq!(broken(Rules { counts_finished_views: false, properties: property, ..ALL }), *property);
    }
}

#[test]
fn with_views_by_the_clock_a_restored_validator_votes_twice() {
    for property in [&[ONCE], &[SAFE]] {
        assert_eq!(broken(Rules { certifies_views: false, properties: property, ..ALL }), *property);
    }
}
