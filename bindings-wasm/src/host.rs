//! [`Host`]: a light client with everything but sockets, clocks and randomness.

use std::collections::VecDeque;

use bytes::Bytes;
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::chain::{CheckError, TipCheck};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{PeerId, QueryId, RequestId};
use hotstuff2_sync::light::{LightAnswer, LightClient, LightEvent, LightInput, LightOutput, LightPosition, Query};
use hotstuff2_sync::machine::{PeerEvent, Penalty, RequestFailure};
use hotstuff2_sync::session::SessionIdentity;
use hotstuff2_sync::state::{StateProof, key_hash};
use hotstuff2_sync::time::{Instant, UnixMillis};
use hotstuff2_sync::verify::{Job, Outcome, Task, Verdict};
use hotstuff2_sync::wire::Sections;

use crate::connections::{Connections, Happened};
use crate::output::{Blame, HostOutput, Read};
use crate::settings::{Settings, StartError, genesis};

/// Proofs of reads that are remembered until their answer is told: more than there can be questions.
const MAX_PROOFS: usize = 64;
/// Requests whose question and answer are remembered, so that a false answer can be shown.
const MAX_SHOWN: usize = 64;

/// 32 random bytes for the identity of this client, 32 for its choices.
pub type Randomness = [[u8; 32]; 2];

/// A light client. After every input, [`poll`](Self::poll) until there is nothing, and [`work`](Self::work) while there are
/// jobs.
pub struct Host {
    chain: NativeChain,
    client: LightClient,
    connections: Connections,
    jobs: VecDeque<Job>,
    /// Verdicts, with the answer that each finds false.
    done: VecDeque<(Verdict, Option<Bytes>)>,
    outputs: VecDeque<HostOutput>,
    happened: VecDeque<Happened>,
    deadline: Option<Instant>,
    /// The newest requests, in order.
    asked: VecDeque<Asked>,
    /// Keys of open reads.
    keys: Vec<(QueryId, Bytes)>,
    /// Proven answers to reads: state root, key, proof.
    proofs: VecDeque<(Hash, Bytes, Bytes)>,
    /// The answer that is judged at the moment.
    judged: Option<Bytes>,
    /// The answer that the last ban is for.
    blame: Option<Blame>,
}

/// A request that was sent.
struct Asked {
    id: RequestId,
    peer: PeerId,
    question: Bytes,
    /// Empty until it is there.
    answer: Bytes,
}

impl Host {
    /// A client of the chain of this genesis file that trusts it, or the checkpoint.
    ///
    /// # Errors
    /// Where one of them is not valid, or too old to be trusted.
    pub fn new(
        genesis_file: &str,
        checkpoint: Option<&[u8]>,
        settings: &Settings,
        [secret, seed]: Randomness,
        now: Instant,
        wall: UnixMillis,
    ) -> Result<Self, StartError> {
        let genesis = genesis(genesis_file)?;
        let start = settings.start(&genesis, checkpoint, wall)?;
        let chain = NativeChain::with_anchor(&genesis, &start.anchor);
        let seed = seed.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let mut client = LightClient::new(settings.config(), start, seed, now, wall)?;
        client.handle(now, LightInput::Start);
        let connections = Connections::new(SessionIdentity::from_secret(&secret), genesis.chain_id());
        let mut host = Self {
            chain,
            client,
            connections,
            jobs: VecDeque::new(),
            done: VecDeque::new(),
            outputs: VecDeque::new(),
            happened: VecDeque::new(),
            deadline: None,
            asked: VecDeque::new(),
            keys: Vec::new(),
            proofs: VecDeque::new(),
            judged: None,
            blame: None,
        };
        host.settle(now);
        Ok(host)
    }

    /// Where the client stands.
    pub fn position(&self) -> LightPosition {
        self.client.position()
    }

    /// A socket was opened to a node of this group, where `expected` must be, if anybody. Numbers of sockets are JavaScript's.
    /// `seed` is 32 fresh random bytes.
    pub fn open(&mut self, now: Instant, connection: u32, group: u64, expected: Option<PeerId>, seed: [u8; 32]) {
        if let Err(reason) = self.connections.open(now, connection, group, expected, seed) {
            self.outputs.push_back(HostOutput::Close { connection, reason, banned_for: None });
        }
        self.settle(now);
    }

    /// Bytes came in from a socket.
    pub fn receive(&mut self, now: Instant, connection: u32, bytes: &[u8]) {
        self.connections.receive(now, connection, bytes, &mut self.happened);
        self.settle(now);
    }

    /// A socket is gone.
    pub fn closed(&mut self, now: Instant, connection: u32) {
        self.connections.end(connection, "the socket was closed".to_owned(), &mut self.happened);
        self.settle(now);
    }

    /// Time has passed, or work is done.
    pub fn tick(&mut self, now: Instant) {
        while let Some((verdict, answer)) = self.done.pop_front() {
            self.judged = answer;
            self.client.handle(now, LightInput::Verdict(verdict));
            self.drain(now);
            self.judged = None;
        }
        self.connections.look(now, &mut self.happened);
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.client.handle(now, LightInput::Timeout);
        }
        self.settle(now);
    }

    /// The time of day was set, or is said again.
    pub fn wall(&mut self, now: Instant, wall: UnixMillis) {
        self.client.handle(now, LightInput::Wall(wall));
        self.settle(now);
    }

    /// Asks. The answer comes out with this number.
    pub fn ask(&mut self, now: Instant, query: Query) -> QueryId {
        let key = if let Query::Read { key, .. } = &query { Some(key.clone()) } else { None };
        let id = self.client.ask(now, query);
        self.keys.extend(key.map(|key| (id, key)));
        self.settle(now);
        id
    }

    /// Nobody waits for this answer any more.
    pub fn drop_query(&mut self, now: Instant, query: QueryId) {
        self.take_key(query);
        self.client.handle(now, LightInput::Drop(query));
        self.settle(now);
    }

    /// Does one job, if there is one: some milliseconds. Its verdict is taken by the next [`tick`](Self::tick).
    pub fn work(&mut self) -> bool {
        let Some(job) = self.jobs.pop_front() else { return false };
        let verdict = job.run_light(&self.chain);
        self.remember(&job, &verdict);
        let is_false = matches!(verdict.outcome(), Err(CheckError::False(_)));
        let answer = if is_false { answer_of(job.task()) } else { None };
        self.done.push_back((verdict, answer));
        true
    }

    /// Whether there are jobs.
    pub fn has_work(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<HostOutput> {
        self.outputs.pop_front()
    }

    /// When to [`tick`](Self::tick) at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let (own, sockets) = (self.deadline, self.connections.deadline());
        own.into_iter().chain(sockets).min()
    }

    /// Keeps the proof of a read.
    fn remember(&mut self, job: &Job, verdict: &Verdict) {
        let proven = match (job.task(), verdict.outcome()) {
            (Task::Read { key, bytes, .. }, Ok(Outcome::Read { tip: TipCheck::Final(tip), .. })) => {
                // The tip stands in front.
                let mut sections = Sections::new(bytes.clone());
                let proof = sections.take().and_then(|_| sections.take());
                tip.state_root.zip(proof).map(|(root, proof)| (root, key.clone(), proof))
            }
            (Task::Proof { root, key, bytes }, Ok(Outcome::Proof(_))) => {
                Sections::new(bytes.clone()).take().map(|proof| (*root, key.clone(), proof))
            }
            _ => None,
        };
        if let Some(proven) = proven {
            if self.proofs.len() >= MAX_PROOFS {
                self.proofs.pop_front();
            }
            self.proofs.push_back(proven);
        }
    }

    /// Carries news of sockets to the client and what it wants to sockets, until neither has anything.
    fn settle(&mut self, now: Instant) {
        loop {
            self.drain(now);
            for (connection, bytes) in self.connections.write(&mut self.happened) {
                self.outputs.push_back(HostOutput::Send { connection, bytes });
            }
            let Some(happened) = self.happened.pop_front() else { return };
            match happened {
                Happened::Open { connection, peer, group } => {
                    self.outputs.push_back(HostOutput::Open { connection, peer });
                    self.client.handle(now, LightInput::Peer(PeerEvent::Connected { peer, group }));
                }
                Happened::Answered { request, answer } => {
                    if let Some(asked) = self.asked.iter_mut().find(|asked| asked.id == request) {
                        asked.answer = answer.clone().unwrap_or_default();
                    }
                    // An answer that is false at first sight is judged here.
                    self.judged.clone_from(&answer);
                    self.client.handle(now, LightInput::Response(request, answer.ok_or(RequestFailure::Oversize)));
                    self.drain(now);
                    self.judged = None;
                }
                Happened::Lost { request } => {
                    self.asked.retain(|asked| asked.id != request);
                    self.client.handle(now, LightInput::Response(request, Err(RequestFailure::Broken)));
                }
                Happened::Ended { connection, peer, reason, banned_for } => {
                    self.outputs.push_back(HostOutput::Close { connection, reason, banned_for });
                    if let Some(peer) = peer {
                        self.client.handle(now, LightInput::Peer(PeerEvent::Disconnected { peer }));
                    }
                }
            }
        }
    }

    /// Carries out what the client wants.
    fn drain(&mut self, now: Instant) {
        loop {
            match self.client.poll_output() {
                LightOutput::Request { id, peer, request, max_response_bytes } => {
                    let question = Bytes::from(request.encode());
                    if self.asked.len() >= MAX_SHOWN {
                        self.asked.pop_front();
                    }
                    self.asked.push_back(Asked { id, peer, question: question.clone(), answer: Bytes::new() });
                    if !self.connections.ask(id, peer, question, max_response_bytes) {
                        self.happened.push_back(Happened::Lost { request: id });
                    }
                }
                LightOutput::CancelRequest(id) => self.connections.cancel(id),
                LightOutput::Verify(job) => self.jobs.push_back(job),
                LightOutput::CancelJob(id) => self.jobs.retain(|job| job.id() != id),
                LightOutput::Penalize { peer, penalty } => self.penalize(now, peer, penalty),
                LightOutput::Answer { query, result } => {
                    let key = self.take_key(query);
                    let result = result.map(|answer| {
                        let read = key.and_then(|key| self.read_of(&key, &answer));
                        (answer, read)
                    });
                    self.outputs.push_back(HostOutput::Answer { query, result });
                }
                LightOutput::Keep(checkpoint) => self.outputs.push_back(HostOutput::Keep(checkpoint.encode())),
                LightOutput::Event(event) => {
                    let of = if let LightEvent::Banned { peer, .. } = &event { Some(*peer) } else { None };
                    let blame = of.and_then(|peer| self.blame.take_if(|blame| blame.peer == peer));
                    self.outputs.push_back(HostOutput::Event(event, blame));
                }
                LightOutput::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
                // Outputs that only a later version of the core has.
                _ => {}
            }
        }
    }

    fn penalize(&mut self, now: Instant, peer: PeerId, penalty: Penalty) {
        let (reason, until) = match penalty {
            Penalty::Ban { fault, until } => (fault.to_string(), until),
            Penalty::Exclude { reason, until } => (reason.to_string(), until),
            _ => return self.connections.lift(peer),
        };
        if let Penalty::Ban { fault, .. } = penalty {
            let answer = self.judged.clone().unwrap_or_default();
            // The answer that holds what was judged: a part of it, without the envelope.
            let holds = |known: &Bytes| !answer.is_empty() && known.len() >= answer.len() && known.ends_with(&answer);
            let request = self.asked.iter().find(|asked| asked.peer == peer && holds(&asked.answer));
            let request = request.map(|asked| asked.question.clone()).unwrap_or_default();
            self.blame = Some(Blame { peer, fault, request, answer });
        }
        self.connections.ban(now, peer, until, &reason);
    }

    /// The key of a read that ends.
    fn take_key(&mut self, query: QueryId) -> Option<Bytes> {
        let place = self.keys.iter().position(|(of, _)| *of == query)?;
        Some(self.keys.remove(place).1)
    }

    /// The way on which a value was proven.
    fn read_of(&mut self, key: &Bytes, answer: &LightAnswer) -> Option<Read> {
        let LightAnswer::Value { block, .. } = answer else { return None };
        let root = block.state_root?;
        let at = self.proofs.iter().position(|(known, of, _)| *known == root && of == key)?;
        let (_, _, bytes) = self.proofs.remove(at)?;
        let proof = StateProof::decode(&bytes).ok()?;
        let leaf = proof.leaf().map(|leaf| (*leaf.key_hash.as_bytes(), *leaf.value_hash.as_bytes()));
        let siblings = proof.siblings().iter().map(|hash| *hash.as_bytes()).collect();
        Some(Read { key_hash: *key_hash(key).as_bytes(), leaf, siblings })
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("client", &self.client).finish_non_exhaustive()
    }
}

/// The bytes of a peer that a job checks.
fn answer_of(task: &Task) -> Option<Bytes> {
    match task {
        Task::Handovers { bytes, .. }
        | Task::Tip { bytes, .. }
        | Task::Segment { bytes, .. }
        | Task::Bodies { bytes, .. }
        | Task::Base { bytes, .. }
        | Task::Skip { bytes, .. }
        | Task::Read { bytes, .. }
        | Task::Proof { bytes, .. } => Some(bytes.clone()),
        Task::HandoverPart { links, .. } => links.first().map(|link| link.bytes.clone()),
        _ => None,
    }
}
