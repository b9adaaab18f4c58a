//! [`LightWorld`]: carries out a light client's outputs in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::native::{NativeChain, PROFILE, TrustAnchor};
use hotstuff2_sync::hash::{Context, Hash};
use hotstuff2_sync::ids::{PeerId, QueryId, RequestId};
use hotstuff2_sync::light::{
    LightAnswer, LightBlock, LightCheckpoint, LightClient, LightConfig, LightError, LightEvent, LightHalt, LightInput,
    LightOutput, LightStall, LightStart, NewLightError, Query,
};
use hotstuff2_sync::machine::{PeerEvent, Penalty, RequestFailure};
use hotstuff2_sync::time::{Instant, UnixMillis};
use hotstuff2_sync::verify::Job;
use hotstuff2_sync::wire::Request;

use crate::chain::TestChain;
use crate::world::Behaviour;

/// Feeds the client's choices.
const SEED: u64 = 7;
/// Age of the chain's last block when the world begins.
const FIRST_AGE_MS: u64 = 1000;

static STEP: Context = Context::new("hotstuff2-sync testkit v1 light step");

enum Happening {
    Response(RequestId, Result<Bytes, RequestFailure>),
    Verdict(Box<Job>),
    Peer(PeerEvent),
    Wall(UnixMillis),
}

/// One light client, its peers and its clocks.
pub struct LightWorld {
    /// The client under test.
    pub client: LightClient,
    /// The chain that peers answer from.
    pub source: TestChain,
    /// Events with their times.
    pub events: Vec<(Instant, LightEvent)>,
    /// Answers to questions.
    pub answers: BTreeMap<QueryId, Result<LightAnswer, LightError>>,
    /// Points that were to be kept.
    pub kept: Vec<LightCheckpoint>,
    /// Requests with their times and peers.
    pub requests: Vec<(Instant, PeerId, Request)>,
    /// Peers that were to be banned.
    pub bans: BTreeSet<PeerId>,
    /// Certificates that were checked against a quorum.
    pub quorum_checks: u64,
    /// A hash over all outputs, in their order.
    pub digest: Hash,
    chain: NativeChain,
    now: Instant,
    peers: BTreeMap<PeerId, Box<dyn Behaviour>>,
    open: BTreeSet<RequestId>,
    waiting: BTreeMap<(Instant, u64), Happening>,
    order: u64,
    deadline: Option<Instant>,
}

impl LightWorld {
    /// A client that trusts the genesis of `source`, whose last block was made a second ago.
    ///
    /// # Errors
    /// As [`LightClient::new`].
    pub fn new(source: TestChain, config: LightConfig) -> Result<Self, NewLightError> {
        let start = Self::genesis(&source, None);
        let wall = Self::wall_of(&source);
        Self::from(source, config, start, wall)
    }

    /// The time of day at which a world of `source` begins.
    pub fn wall_of(source: &TestChain) -> UnixMillis {
        let last = source.headers().last().map_or(0, |header| header.timestamp.get());
        UnixMillis::new(last + FIRST_AGE_MS)
    }

    /// The start of a client that trusts the genesis of `source`, for so long.
    pub fn genesis(source: &TestChain, trusting_period: Option<Duration>) -> LightStart {
        let anchor = TrustAnchor::Genesis.check(source.genesis(), UnixMillis::default(), true);
        let anchor = anchor.unwrap_or_else(|error| unreachable!("genesis without a look at its age: {error}"));
        LightStart { chain_id: source.genesis().chain_id(), profile: PROFILE, anchor, trusting_period, tip: None }
    }

    /// A client that stands at `start` at the time of day `wall`.
    ///
    /// # Errors
    /// As [`LightClient::new`].
    pub fn from(
        source: TestChain,
        config: LightConfig,
        start: LightStart,
        wall: UnixMillis,
    ) -> Result<Self, NewLightError> {
        Self::with_seed(source, config, start, wall, SEED)
    }

    /// The same with other choices.
    ///
    /// # Errors
    /// As [`LightClient::new`].
    pub fn with_seed(
        source: TestChain,
        config: LightConfig,
        start: LightStart,
        wall: UnixMillis,
        seed: u64,
    ) -> Result<Self, NewLightError> {
        let mut client = LightClient::new(config, start, seed, Instant::ZERO, wall)?;
        client.handle(Instant::ZERO, LightInput::Start);
        Ok(Self {
            client,
            chain: source.chain(),
            source,
            events: Vec::new(),
            answers: BTreeMap::new(),
            kept: Vec::new(),
            requests: Vec::new(),
            bans: BTreeSet::new(),
            quorum_checks: 0,
            digest: Hash::ZERO,
            now: Instant::ZERO,
            peers: BTreeMap::new(),
            open: BTreeSet::new(),
            waiting: BTreeMap::new(),
            order: 0,
            deadline: None,
        })
    }

    /// A peer of a group of its own connects.
    pub fn join(&mut self, name: u8, behaviour: impl Behaviour + 'static) -> PeerId {
        self.join_group(name, u64::from(name), behaviour)
    }

    /// A peer of this group connects.
    pub fn join_group(&mut self, name: u8, group: u64, behaviour: impl Behaviour + 'static) -> PeerId {
        let peer = PeerId::from_bytes([name; 32]);
        self.peers.insert(peer, Box::new(behaviour));
        self.input(LightInput::Peer(PeerEvent::Connected { peer, group }));
        peer
    }

    /// A peer goes away; questions to it are never answered.
    pub fn leave(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
        self.input(LightInput::Peer(PeerEvent::Disconnected { peer }));
    }

    /// The user asks.
    pub fn ask(&mut self, query: Query) -> QueryId {
        let id = self.client.ask(self.now, query);
        self.drain();
        id
    }

    /// The host's clock is set, after so long.
    pub fn set_wall(&mut self, after: Duration, wall: UnixMillis) {
        self.later(self.now.after(after), Happening::Wall(wall));
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Something happens to the client.
    pub fn input(&mut self, input: LightInput) {
        self.client.handle(self.now, input);
        self.drain();
    }

    /// Runs until `done`, or until `limit` has passed. True if it is done.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now.after(limit);
        while !done(self) {
            let next = self.waiting.first_key_value().map(|(&(at, _), _)| at);
            let at = [next, self.deadline].into_iter().flatten().min().unwrap_or(Instant::from_micros(u64::MAX));
            if at > end {
                self.now = end;
                return false;
            }
            self.now = self.now.max(at);
            let due = next.is_some_and(|next| next <= at);
            let happening = if due { self.waiting.pop_first() } else { None };
            match happening {
                Some((_, happening)) => self.happen(happening),
                None => self.input(LightInput::Timeout),
            }
        }
        true
    }

    /// Runs for so long.
    pub fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until the chain's tip is told.
    pub fn run_to_tip(&mut self, limit: Duration) -> bool {
        let tip = self.source.tip_height();
        self.run_until(limit, |world| world.told().is_some_and(|block| block.height == tip))
    }

    /// Runs until the question is answered.
    pub fn run_to_answer(&mut self, limit: Duration, id: QueryId) -> Option<Result<LightAnswer, LightError>> {
        self.run_until(limit, |world| world.answers.contains_key(&id));
        self.answers.get(&id).cloned()
    }

    /// The last tip that was told.
    pub fn told(&self) -> Option<LightBlock> {
        self.events.iter().rev().find_map(|(_, event)| match event {
            LightEvent::Tip { block, .. } => Some(*block),
            _ => None,
        })
    }

    /// The last reason that was told for a stall which is not over.
    pub fn stalled(&self) -> Option<LightStall> {
        let mut events = self.events.iter().rev().map(|(_, event)| event);
        events.find_map(|event| match event {
            LightEvent::Stalled { reason, .. } => Some(Some(*reason)),
            LightEvent::Resumed => Some(None),
            _ => None,
        })?
    }

    /// Why the client halted, if it did.
    pub fn halted(&self) -> Option<&LightHalt> {
        self.events.iter().find_map(|(_, event)| match event {
            LightEvent::Halted(reason) => Some(reason),
            _ => None,
        })
    }

    fn later(&mut self, at: Instant, happening: Happening) {
        self.order += 1;
        self.waiting.insert((at, self.order), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Response(id, answer) => {
                if self.open.remove(&id) {
                    self.input(LightInput::Response(id, answer));
                }
            }
            Happening::Verdict(job) => {
                let verdict = job.run_light(&self.chain);
                self.quorum_checks += u64::from(verdict.quorum_checks());
                self.input(LightInput::Verdict(verdict));
            }
            Happening::Peer(event) => self.input(LightInput::Peer(event)),
            Happening::Wall(wall) => self.input(LightInput::Wall(wall)),
        }
    }

    fn drain(&mut self) {
        loop {
            let output = self.client.poll_output();
            let told = format!("{} {output:?}", self.now.as_micros());
            self.digest = STEP.hash(&[self.digest.as_bytes(), told.as_bytes()].concat());
            match output {
                LightOutput::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
                output => self.carry_out(output),
            }
        }
    }

    fn carry_out(&mut self, output: LightOutput) {
        match output {
            LightOutput::Request { id, peer, request, max_response_bytes } => {
                self.requests.push((self.now, peer, request.clone()));
                self.open.insert(id);
                let Some(behaviour) = self.peers.get_mut(&peer) else { return };
                let reply = behaviour.reply_at(self.now, &request, &self.source);
                let Some((after, answer)) = reply.received(max_response_bytes) else { return };
                self.later(self.now.after(after), Happening::Response(id, answer));
            }
            LightOutput::CancelRequest(id) => {
                self.open.remove(&id);
            }
            LightOutput::Verify(job) => {
                self.later(self.now.after(Duration::from_micros(500)), Happening::Verdict(Box::new(job)));
            }
            LightOutput::Penalize { peer, penalty: Penalty::Lift } => {
                self.bans.remove(&peer);
            }
            LightOutput::Penalize { peer, .. } => {
                self.bans.insert(peer);
                // A transport that bans a peer also says that it is gone.
                self.later(self.now, Happening::Peer(PeerEvent::Disconnected { peer }));
            }
            LightOutput::Answer { query, result } => {
                let before = self.answers.insert(query, result);
                assert!(before.is_none(), "question {query} was answered twice");
            }
            LightOutput::Keep(checkpoint) => self.kept.push(checkpoint),
            LightOutput::Event(event) => self.events.push((self.now, event)),
            LightOutput::CancelJob(_) | LightOutput::Wait(_) => {}
            other => unreachable!("an output that this world doesn't know: {other:?}"),
        }
    }
}
