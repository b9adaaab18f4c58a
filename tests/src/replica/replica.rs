//! [`Replica`]: one validator, or an observer where its key is in no set.
//!
//! A crash costs a replica its timers and what it collected of others, and nothing else: it writes down before it
//! speaks.

mod deciding;
mod giving_up;
mod proposing;
mod resuming;
mod voting;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use hotstuff2_sync::chain::native::{
    EpochContext, FinalityProof, Handover, Header, Phase, QuorumCertificate, Signature, TimeoutCertificate,
    ValidatorKey,
};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, View};
use hotstuff2_sync::time::Instant;

use super::committee::Committee;
use super::execution::{Execution, Noise};
use super::message::{Block, Message};
use super::tree::Tree;

/// How far ahead of its own clock a replica lets a block's time be.
const CLOCK_LEAD_MS: u64 = 10_000;

/// Most doublings of the time that a view gets.
const LONGEST_BACKOFF: u32 = 5;

/// Most messages that wait for a block.
const MOST_ORPHANS: usize = 512;

/// Views ahead of its own for which a replica keeps words of others: by those further ahead it learns that it is behind.
const VIEWS_AHEAD: u64 = 128;

/// Most blocks that are sent to somebody who lacks them. Who lacks more gets them from the sync.
const MOST_FETCHED: usize = 64;

/// Timing, and what is in the blocks.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The longest that a message takes once the network is well: what a leader waits to hear of the highest lock.
    pub delta: Duration,
    /// How long the first view gets before it is given up; twice as long with each that fails.
    pub patience: Duration,
    /// Time between two blocks at least.
    pub pace: Duration,
    /// Whether certificates of phase two are made as well.
    pub phase_two: bool,
    /// Seed of the payloads.
    pub noise: u64,
    /// Most payload bytes.
    pub payload_bytes: u64,
    /// The promises that it keeps.
    pub laws: Laws,
}

/// Promises of a voter that tests can lift, to see what stands on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Laws {
    /// Votes only for what extends its lock.
    pub lock: bool,
    /// Votes once in a view and phase, and not in one that it gave up.
    pub once: bool,
}

impl Laws {
    /// All of them.
    pub const KEPT: Self = Self { lock: true, once: true };
    /// None of them: a faulty validator.
    pub const BROKEN: Self = Self { lock: false, once: false };
}

/// Work that a replica wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// A message to everybody else.
    Broadcast(Message),
    /// A message to one, who may be the sender.
    Send(ValidatorKey, Message),
    /// Final blocks.
    Commit(Final),
    /// Nothing more until then, unless something happens. Always last.
    Wait(Instant),
}

/// Consecutive final blocks above those of before.
#[derive(Clone, Debug)]
pub struct Final {
    /// Header of the block below.
    pub parent: Header,
    /// The blocks, lowest first.
    pub blocks: Vec<Arc<Block>>,
    /// Proof of the last.
    pub proof: FinalityProof,
    /// The handover to the next epoch, where the last ends one.
    pub handover: Option<Arc<Handover>>,
}

/// A replica.
#[derive(Clone, Debug)]
pub struct Replica<E = Noise> {
    committee: Arc<Committee>,
    secret: SigningKey,
    key: ValidatorKey,
    settings: Settings,
    execution: E,
    now: Instant,
    tree: Tree,
    /// The highest final block.
    head: Header,
    epoch: EpochContext,
    view: View,
    /// The lock: the highest certificate of the epoch, or the one of the last block below it.
    high: Option<Arc<QuorumCertificate>>,
    /// A lock that others restored.
    floor: View,
    /// The views of its last votes in phases one and two.
    voted: [View; 2],
    given_up: View,
    committed: Vec<Arc<Block>>,
    /// How the epochs that are over ended, as far as it is known.
    endings: BTreeMap<Epoch, Arc<Handover>>,
    proposed: View,
    propose_at: Option<Instant>,
    deadline: Instant,
    failures: u32,
    entered_by: Option<Arc<TimeoutCertificate>>,
    votes: BTreeMap<(View, Hash, Phase), BTreeMap<ValidatorKey, Signature>>,
    quitters: BTreeMap<View, BTreeMap<ValidatorKey, Signature>>,
    /// Messages that wait for a block: the parent's id, or the certified one's.
    orphans: BTreeMap<Hash, Vec<Waiting>>,
    /// How the epoch ended, while the last block or its certificate is missing.
    ending: Option<Arc<Handover>>,
    /// Signs nothing, and listens.
    muted: bool,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Debug)]
enum Waiting {
    Block(ValidatorKey, Arc<Block>, Option<Arc<TimeoutCertificate>>),
    Certificate(ValidatorKey, Arc<QuorumCertificate>),
}

impl Replica {
    /// A replica that has seen nothing, and whose payloads are noise.
    ///
    /// # Panics
    /// Where the committee has no epoch.
    pub fn new(committee: Arc<Committee>, secret: SigningKey, settings: Settings, now: Instant) -> Self {
        let execution = Noise { seed: settings.noise, most_bytes: settings.payload_bytes };
        let genesis = committee.genesis().header().clone();
        let mut replica = Self::at(committee, secret, settings, execution, genesis, now);
        replica.enter(View::new(1), None);
        replica
    }
}

impl<E: Execution> Replica<E> {
    /// The replica after a crash, with what it had written down.
    #[must_use]
    pub fn restarted(self, now: Instant) -> Self {
        let mut replica = Self {
            now,
            propose_at: None,
            votes: BTreeMap::new(),
            quitters: BTreeMap::new(),
            orphans: BTreeMap::new(),
            ending: None,
            outputs: VecDeque::new(),
            ..self
        };
        replica.deadline = now.after(replica.patience());
        replica
    }

    /// Its key.
    pub fn key(&self) -> ValidatorKey {
        self.key
    }

    /// The view that it is in.
    pub fn view(&self) -> View {
        self.view
    }

    /// The epoch that it is in.
    pub fn epoch(&self) -> Epoch {
        self.epoch.epoch()
    }

    /// The highest final block.
    pub fn head(&self) -> &Header {
        &self.head
    }

    /// The final blocks that came out of its own agreement, in order, from where it began or [forgot](Self::forget) them.
    pub fn committed(&self) -> &[Arc<Block>] {
        &self.committed
    }

    /// How the epochs that are over ended, as far as it is known.
    pub fn endings(&self) -> impl Iterator<Item = &Arc<Handover>> {
        self.endings.values()
    }

    /// All blocks that it knows.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The highest certificate of its epoch.
    pub fn high(&self) -> Option<&QuorumCertificate> {
        self.high.as_deref()
    }

    /// The certificate by which it entered its view, where that was not the highest one of votes.
    pub fn entered_by(&self) -> Option<&TimeoutCertificate> {
        self.entered_by.as_deref()
    }

    /// Whether it is a validator of its epoch.
    pub fn is_member(&self) -> bool {
        self.epoch.validators().index_of(&self.key).is_some()
    }

    /// Key of the leader of `view` in its epoch.
    pub fn leader_of(&self, view: View) -> Option<ValidatorKey> {
        self.leader(view)
    }

    /// A message arrived.
    pub fn handle_message(&mut self, now: Instant, from: ValidatorKey, message: Message) {
        self.now = now;
        match message {
            Message::Propose(block, timeout) => self.on_proposal(from, block, timeout),
            Message::Vote(vote) => self.on_vote(vote),
            Message::Certificate(certificate) => self.on_certificate(from, certificate),
            Message::GiveUp(quit, high) => self.on_give_up(from, quit, high),
            Message::Timeout(timeout) => self.on_timeout_certificate(from, timeout),
            Message::NewView(_, high) => {
                if let Some(high) = high {
                    self.on_certificate(from, high);
                }
            }
            Message::Where(epoch, view) => self.answer_behind(from, epoch, view),
            Message::Behind(epoch) => {
                if let Some(ending) = self.endings.get(&epoch) {
                    self.outputs.push_back(Output::Send(from, Message::Handover(ending.clone())));
                }
            }
            Message::Handover(handover) => self.on_handover(from, handover),
            Message::Fetch(id, above) => self.on_fetch(from, id, above),
            Message::Blocks(blocks) => {
                for block in blocks {
                    self.learn(from, &block);
                }
            }
        }
    }

    /// The time of the last [`Output::Wait`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.propose_at.is_some_and(|at| at <= now) {
            self.propose_at = None;
            self.propose();
        }
        if self.deadline <= now {
            // The word is repeated as long as nothing changes: it may have been lost.
            if self.speaks() {
                self.given_up = self.given_up.max(self.view);
            }
            self.failures = self.failures.saturating_add(1);
            self.deadline = now.after(self.patience());
            self.say_given_up();
        }
    }

    /// The next piece of work.
    pub fn poll_output(&mut self) -> Output {
        let wait = self.propose_at.map_or(self.deadline, |at| at.min(self.deadline));
        self.outputs.pop_front().unwrap_or(Output::Wait(wait))
    }

    /// Whether it may sign: a validator of its epoch that is not muted.
    fn speaks(&self) -> bool {
        !self.muted && self.is_member()
    }

    fn leader(&self, view: View) -> Option<ValidatorKey> {
        self.committee.leader(&self.epoch, view).map(|(_, key)| key)
    }

    fn patience(&self) -> Duration {
        // A silent leader costs two views: the votes for the block below were for it as well.
        self.settings.patience * 2u32.pow(self.failures.saturating_sub(1).min(LONGEST_BACKOFF))
    }

    /// Id and view of the block that the lock is on.
    fn lock(&self) -> (Hash, View) {
        let root = self.tree.root();
        self.high.as_ref().map_or_else(|| (root.id(), root.view), |high| (high.block, high.view))
    }

    fn enter(&mut self, view: View, by: Option<Arc<TimeoutCertificate>>) {
        if view <= self.view {
            return;
        }
        self.view = view;
        self.votes = self.votes.split_off(&(View::new(view.get().saturating_sub(2)), Hash::ZERO, Phase::One));
        self.quitters = self.quitters.split_off(&view);
        let failed = by.is_some();
        self.entered_by = by;
        if !failed {
            self.failures = 0;
        }
        self.deadline = self.now.after(self.patience());
        self.propose_at = None;
        if self.speaks() && self.voted[0].max(self.voted[1]).max(self.given_up) >= view {
            // Nothing can be voted for in it: above an epoch's last block, views of closing headers come again.
            self.deadline = self.now;
        }
        if self.leader(view) == Some(self.key) {
            if self.lock().1.next() == view {
                self.propose();
            } else {
                // Until everybody's highest certificate must have come.
                self.propose_at = Some(self.now.after(self.settings.delta * 2));
            }
        } else if failed && let Some(leader) = self.leader(view) {
            self.outputs.push_back(Output::Send(leader, Message::NewView(view, self.high.clone())));
        }
    }
}
