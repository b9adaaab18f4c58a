//! [`Replica`]: one validator, or an observer where its key is in no set.
//!
//! What survives a crash is all but its timers and what it collected of others: a replica writes down before it speaks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use hotstuff2_sync::chain::native::{
    EpochContext, FinalityProof, Handover, Header, Phase, QuorumCertificate, Signature, ValidatorKey, Vote, build,
    payload_hash,
};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, View};
use hotstuff2_sync::limits::MAX_PROOF_PATH;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::{Instant, UnixMillis};

use super::committee::{Committee, power};
use super::message::{Block, GiveUp, Message, SignedVote, TimeoutCertificate};
use super::tree::Tree;

/// How far ahead of its own clock a replica lets a block's time be.
const CLOCK_LEAD_MS: u64 = 10_000;

/// Most doublings of the time that a view gets.
const LONGEST_BACKOFF: u32 = 5;

/// Timing, and what is in the blocks.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The longest that a message takes once the network is well: what a leader waits to hear of the highest lock.
    pub delta: Duration,
    /// How long the first view gets before it is given up; twice as long with each that fails.
    pub patience: Duration,
    /// Whether certificates of phase two are made as well.
    pub phase_two: bool,
    /// What payloads follow from.
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

/// What a replica wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// A message to everybody else.
    Broadcast(Message),
    /// A message to one, who may be the sender.
    Send(ValidatorKey, Message),
    /// A final block; they come in order.
    Commit(Arc<Block>),
    /// Nothing more until then, unless something happens. Always last.
    Wait(Instant),
}

/// A replica.
#[derive(Clone, Debug)]
pub struct Replica {
    committee: Arc<Committee>,
    secret: SigningKey,
    key: ValidatorKey,
    settings: Settings,
    now: Instant,
    tree: Tree,
    epoch: EpochContext,
    view: View,
    /// The lock: the highest certificate of the epoch, or the one of the last block below it.
    high: Option<Arc<QuorumCertificate>>,
    /// The views of its last votes in phases one and two.
    voted: [View; 2],
    given_up: View,
    committed: Vec<Arc<Block>>,
    /// How each epoch that is over ended.
    endings: Vec<Arc<Handover>>,
    proposed: View,
    propose_at: Option<Instant>,
    deadline: Instant,
    failures: u32,
    entered_by: Option<Arc<TimeoutCertificate>>,
    votes: BTreeMap<(View, Hash, Phase), BTreeMap<ValidatorKey, Signature>>,
    quitters: BTreeMap<View, BTreeMap<ValidatorKey, Signature>>,
    /// What waits for a block: the parent's id, or the certified one's.
    orphans: BTreeMap<Hash, Vec<Waiting>>,
    /// How the epoch ended, while the last block or its certificate is missing.
    ending: Option<Arc<Handover>>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Debug)]
enum Waiting {
    Block(ValidatorKey, Arc<Block>, Option<Arc<TimeoutCertificate>>),
    Certificate(ValidatorKey, Arc<QuorumCertificate>),
}

impl Replica {
    /// A replica that has seen nothing.
    ///
    /// # Panics
    /// Where the committee has no epoch.
    pub fn new(committee: Arc<Committee>, secret: SigningKey, settings: Settings, now: Instant) -> Self {
        let epoch = committee.context(Epoch::ZERO).expect("a committee has a first epoch").clone();
        let mut replica = Self {
            tree: Tree::new(committee.genesis().header().clone()),
            key: (&secret).into(),
            secret,
            settings,
            now,
            epoch,
            view: View::ZERO,
            high: None,
            voted: [View::ZERO; 2],
            given_up: View::ZERO,
            committed: Vec::new(),
            endings: Vec::new(),
            proposed: View::ZERO,
            propose_at: None,
            deadline: now,
            failures: 0,
            entered_by: None,
            votes: BTreeMap::new(),
            quitters: BTreeMap::new(),
            orphans: BTreeMap::new(),
            ending: None,
            outputs: VecDeque::new(),
            committee,
        };
        replica.enter(View::new(1), None);
        replica
    }

    /// The replica after a crash, with what it had written down.
    #[must_use]
    pub fn restarted(self, now: Instant) -> Self {
        let mut replica = Self {
            now,
            propose_at: None,
            entered_by: None,
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

    /// The final blocks, in order.
    pub fn committed(&self) -> &[Arc<Block>] {
        &self.committed
    }

    /// How the epochs that are over ended.
    pub fn endings(&self) -> &[Arc<Handover>] {
        &self.endings
    }

    /// All blocks that it knows.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The highest certificate of its epoch.
    pub fn high(&self) -> Option<&QuorumCertificate> {
        self.high.as_deref()
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
            Message::Behind(epoch) => {
                if let Some(ending) = usize::try_from(epoch.get()).ok().and_then(|index| self.endings.get(index)) {
                    self.outputs.push_back(Output::Send(from, Message::Handover(ending.clone())));
                }
            }
            Message::Handover(handover) => self.on_handover(from, handover),
            Message::Fetch(id, above) => {
                let blocks: Vec<_> = self.tree.path(id, above).unwrap_or_default().into_iter().cloned().collect();
                if !blocks.is_empty() {
                    self.outputs.push_back(Output::Send(from, Message::Blocks(blocks)));
                }
                if let Some(certificate) = self.tree.certificate(id).cloned() {
                    self.outputs.push_back(Output::Send(from, Message::Certificate(certificate)));
                }
            }
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
            self.given_up = self.given_up.max(self.view);
            self.failures = self.failures.saturating_add(1);
            self.deadline = now.after(self.patience());
            self.say_given_up();
        }
    }

    /// What it wants done.
    pub fn poll_output(&mut self) -> Output {
        let wait = self.propose_at.map_or(self.deadline, |at| at.min(self.deadline));
        self.outputs.pop_front().unwrap_or(Output::Wait(wait))
    }

    fn member(&self) -> bool {
        self.epoch.validators().index_of(&self.key).is_some()
    }

    fn leader(&self, view: View) -> Option<ValidatorKey> {
        self.committee.leader(&self.epoch, view).map(|(_, key)| key)
    }

    fn patience(&self) -> Duration {
        self.settings.patience * 2u32.pow(self.failures.min(LONGEST_BACKOFF))
    }

    /// Id and view of the block that the lock is on.
    fn lock(&self) -> (Hash, View) {
        let genesis = self.committee.genesis();
        self.high.as_ref().map_or((genesis.id(), View::ZERO), |high| (high.block, high.view))
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

    fn propose(&mut self) {
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

    fn clock(&self) -> UnixMillis {
        let genesis = self.committee.genesis().header().timestamp.get();
        UnixMillis::new(genesis.saturating_add(self.now.as_micros() / 1000))
    }

    fn tell_all(&mut self, message: Message) {
        self.outputs.push_back(Output::Broadcast(message.clone()));
        self.handle_message(self.now, self.key, message);
    }

    fn on_proposal(&mut self, from: ValidatorKey, block: Arc<Block>, timeout: Option<Arc<TimeoutCertificate>>) {
        if let Some(timeout) = &timeout {
            self.on_timeout_certificate(from, timeout.clone());
        }
        if self.tree.header(block.header.parent).is_none() {
            self.fetch(from, block.header.parent);
            let waiting = Waiting::Block(from, block.clone(), timeout);
            self.orphans.entry(block.header.parent).or_default().push(waiting);
            return;
        }
        if self.learn(from, &block) {
            self.vote_one(from, &block);
        }
    }

    /// Takes a block into the tree, if it keeps the rules of headers and its parent is certified and known.
    fn learn(&mut self, from: ValidatorKey, block: &Arc<Block>) -> bool {
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

    /// Promises 1, 2 and 6: all that a block itself must be.
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
            // Executing changes nothing here.
            && header.state_root == parent.state_root
    }

    /// Votes in phase one for a valid block, if promises 3, 4 and 5 allow it.
    fn vote_one(&mut self, from: ValidatorKey, block: &Block) {
        let header = &block.header;
        let laws = self.settings.laws;
        if !self.member() || header.epoch != self.epoch.epoch() || self.leader(header.view) != Some(from) {
            return;
        }
        let fresh = header.view == self.view && self.voted[0] < header.view && self.given_up < header.view;
        if laws.once && !fresh {
            return;
        }
        if laws.lock && header.justify_view < self.lock().1 {
            return;
        }
        // Being in the epoch means that the ending was verified; it must be of this very parent.
        let begins = header.height == self.epoch.range().first();
        if begins && self.endings.last().is_none_or(|ending| ending.header.id() != header.parent) {
            return;
        }
        self.voted[0] = self.voted[0].max(header.view);
        let vote = Vote::new(header, block.id, Phase::One);
        self.send_vote(vote);
    }

    /// Votes in phase two for a block that was certified in time.
    fn vote_two(&mut self, header: &Header, id: Hash) {
        let fresh = header.view == self.view && self.voted[1] < header.view && self.given_up < header.view;
        if !self.settings.phase_two || !self.member() || (self.settings.laws.once && !fresh) {
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

    fn on_vote(&mut self, signed: SignedVote) {
        let SignedVote { vote, key, signature } = signed;
        let set = self.epoch.validators();
        if vote.epoch != self.epoch.epoch() || set.index_of(&key).is_none() || !signed.holds() {
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

    fn on_certificate(&mut self, from: ValidatorKey, certificate: Arc<QuorumCertificate>) {
        let Some(header) = self.tree.header(certificate.block) else {
            self.fetch(from, certificate.block);
            self.orphans.entry(certificate.block).or_default().push(Waiting::Certificate(from, certificate));
            return;
        };
        let epoch = self.committee.context(header.epoch);
        let known = self.tree.certificate(certificate.block) == Some(&certificate);
        if known || epoch.is_some_and(|epoch| certificate.verify(certificate.phase, header, epoch).is_ok()) {
            self.take_certificate(&certificate);
        }
        if certificate.epoch > self.epoch.epoch() {
            self.outputs.push_back(Output::Send(from, Message::Behind(self.epoch.epoch())));
        }
    }

    /// What a verified certificate of a known block changes.
    fn take_certificate(&mut self, certificate: &Arc<QuorumCertificate>) {
        let Some(header) = self.tree.header(certificate.block).cloned() else { return };
        if certificate.phase == Phase::Two {
            self.tree.certify_doubly(certificate.clone());
            let qc = QuorumCertificate::clone(certificate);
            self.finalize(&header, FinalityProof::DoubleCertificate { descendants: Vec::new(), qc });
            return;
        }
        self.tree.certify(certificate.clone());
        if certificate.epoch == self.epoch.epoch() {
            if certificate.view > self.lock().1 {
                self.high = Some(certificate.clone());
            }
            self.vote_two(&header, certificate.block);
        }
        let Some(parent) = self.tree.header(header.parent).cloned() else { return };
        if header.view.is_next_of(parent.view) && header.epoch == parent.epoch && parent.height > Height::ZERO {
            let qc = QuorumCertificate::clone(certificate);
            self.finalize(&parent, FinalityProof::TwoChain { descendants: vec![header.clone()], qc });
        }
        if certificate.epoch == self.epoch.epoch() {
            self.enter(certificate.view.next(), None);
        }
        self.end_epoch();
    }

    /// Commits everything up to `block`, which `proof` makes final, and ends the epoch where its last block is.
    fn finalize(&mut self, block: &Header, proof: FinalityProof) {
        if block.epoch != self.epoch.epoch() {
            return;
        }
        let last = self.epoch.range().last();
        let above = self.committed.last().map_or(Height::ZERO, |block| block.header.height);
        let Some(path) = self.tree.path(block.id(), above) else { return };
        let (blocks, closing): (Vec<_>, Vec<_>) =
            path.into_iter().cloned().partition(|block| block.header.height <= last);
        let boundary = blocks.last().filter(|block| block.header.height == last).cloned();
        for block in blocks {
            self.committed.push(block.clone());
            self.outputs.push_back(Output::Commit(block));
        }
        let between: Vec<Header> = closing.iter().map(|block| block.header.clone()).collect();
        let Some(boundary) = boundary else { return };
        let (Some(proof), Some(next)) =
            (proof.extended_down(&between), self.committee.context(self.epoch.epoch().next()))
        else {
            debug_assert!(between.len() < MAX_PROOF_PATH, "an epoch that nothing can end");
            return;
        };
        self.ending = Some(Arc::new(Handover::new(boundary.header.clone(), proof, next.info())));
        self.end_epoch();
    }

    /// Ends the epoch, if it is known how, and its last block, final by that, and the block's certificate are there.
    fn end_epoch(&mut self) {
        let Some(handover) = self.ending.take_if(|handover| {
            let id = handover.header.id();
            self.tree.block(id).is_some() && self.tree.certificate(id).is_some()
        }) else {
            return;
        };
        let done = self.committed.last().map_or(Height::ZERO, |block| block.header.height);
        if handover.header.epoch != self.epoch.epoch() {
            return;
        }
        if done == self.epoch.range().last() {
            self.cross(handover);
        } else {
            self.finalize(&handover.header, handover.proof.clone());
        }
    }

    /// Goes on in the next epoch. The boundary is final; whatever the old epoch certified above it counts no more, and
    /// the lock is on the boundary.
    fn cross(&mut self, handover: Arc<Handover>) {
        let Some(next) = self.committee.context(self.epoch.epoch().next()).cloned() else { return };
        let floor = handover.proof.certificate().map_or(View::ZERO, |qc| qc.view);
        self.high = self.tree.certificate(handover.header.id()).cloned();
        self.endings.push(handover);
        self.epoch = next;
        self.quitters.clear();
        self.votes.clear();
        self.entered_by = None;
        self.enter(floor.max(self.view).next(), None);
    }

    fn on_handover(&mut self, from: ValidatorKey, handover: Arc<Handover>) {
        if handover.header.epoch != self.epoch.epoch() || handover.verify(&self.epoch).is_err() {
            return;
        }
        let id = handover.header.id();
        self.ending = Some(handover);
        if self.tree.block(id).is_none() || self.tree.certificate(id).is_none() {
            self.fetch(from, id);
        }
        self.end_epoch();
    }

    fn fetch(&mut self, from: ValidatorKey, id: Hash) {
        let above = self.committed.last().map_or(Height::ZERO, |block| block.header.height);
        if from != self.key {
            self.outputs.push_back(Output::Send(from, Message::Fetch(id, above)));
        }
    }

    fn say_given_up(&mut self) {
        let quit = GiveUp::sign(&self.secret, self.epoch.chain_id(), self.epoch.epoch(), self.view);
        if self.member() {
            self.tell_all(Message::GiveUp(quit, self.high.clone()));
        } else {
            // An observer has no say; but what others answer brings it up to date.
            self.outputs.push_back(Output::Broadcast(Message::GiveUp(quit, self.high.clone())));
        }
    }

    fn on_give_up(&mut self, from: ValidatorKey, quit: GiveUp, high: Option<Arc<QuorumCertificate>>) {
        if let Some(high) = high {
            self.on_certificate(from, high);
        }
        if quit.epoch != self.epoch.epoch() || quit.view < self.view {
            // One of the two is behind the other.
            let answer = match usize::try_from(quit.epoch.get()).ok().and_then(|index| self.endings.get(index)) {
                Some(ending) => Some(Message::Handover(ending.clone())),
                None if quit.epoch > self.epoch.epoch() => Some(Message::Behind(self.epoch.epoch())),
                None => match (&self.entered_by, &self.high) {
                    (Some(timeout), _) => Some(Message::Timeout(timeout.clone())),
                    (None, high) => high.clone().map(Message::Certificate),
                },
            };
            if let Some(answer) = answer.filter(|_| from != self.key) {
                self.outputs.push_back(Output::Send(from, answer));
            }
            return;
        }
        let set = self.epoch.validators();
        if set.index_of(&quit.key).is_none() || !quit.holds(self.epoch.chain_id()) {
            return;
        }
        let quitters = self.quitters.entry(quit.view).or_default();
        quitters.insert(quit.key, quit.signature);
        let behind = power(set, quitters.keys());
        if set.is_quorum(behind) {
            let signatures = quitters.clone();
            let timeout = Arc::new(TimeoutCertificate { epoch: quit.epoch, view: quit.view, signatures });
            self.tell_all(Message::Timeout(timeout));
        } else if behind * 3 > set.total_power() && self.given_up < quit.view && self.member() {
            // Somebody honest gave up on it: waiting in an earlier view helps nobody.
            self.given_up = quit.view;
            self.view = self.view.max(quit.view);
            self.propose_at = None;
            self.deadline = self.now.after(self.patience());
            self.say_given_up();
        }
    }

    fn on_timeout_certificate(&mut self, from: ValidatorKey, timeout: Arc<TimeoutCertificate>) {
        if timeout.epoch > self.epoch.epoch() {
            self.outputs.push_back(Output::Send(from, Message::Behind(self.epoch.epoch())));
        }
        if timeout.view >= self.view && timeout.holds(&self.epoch) {
            self.enter(timeout.view.next(), Some(timeout));
        }
    }
}
