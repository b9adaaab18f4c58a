//! [`NetworkSimulator`]: nodes that synchronize, serve and lie, in virtual time, from one seed.
//!
//! What runs is the real thing: machines, requests and answers in their encoding, `respond`, and verification jobs. What
//! stands in for the world are a [`VirtualNetwork`], a [`Disk`] for each node, and time. Every node that synchronizes is
//! watched by an [`Oracle`](super::Oracle); the first law that is broken ends the run.
//!
//! **What is not checked again.** With [`share_verdicts`](NetworkSimulator::share_verdicts) a job that equals one that ran
//! before takes that one's result: a job is a pure function, so nothing is believed that was not proven, and a thousand
//! nodes that download one chain cost the signatures of one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::config::SyncHistory;
use hotstuff2_sync::hash::{Context, Hash};
use hotstuff2_sync::ids::{CallId, Height, PeerId, RequestId};
use hotstuff2_sync::machine::{
    Applied, Event, HistoryDone, Input, Machine, NewMachineError, Output, PeerEvent, Penalty, Progress, RequestFailure,
    StateDone, StateWork, StoreError,
};
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::serve::{ChainReader as _, respond};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::trace::TraceHeader;
use hotstuff2_sync::verify::{Job, Outcome, Task, Verdict};
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};

use super::adversary::{Answering, Ask, Says};
use super::disk::{Crashed, Disk};
use super::network::{Happening, Line, Link, NodeId, VirtualNetwork};
use super::node::{Joiner, JoinerSpec, Node, Open, Role, Server, ServerSpec};
use super::oracle::{Law, Oracle, Violation};
use super::source::Source;
use super::trace::Trace;
use crate::world::Recording;

static PEER: Context = Context::new("hotstuff2-sync testkit v1 simulated peer");

/// How long a connection lives on which nothing comes any more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two dials of who is not connected.
const DIAL_INTERVAL: Duration = Duration::from_secs(1);
/// How long a server holds the request of a follower for whom it has nothing.
const FOLLOW_HOLD: Duration = Duration::from_secs(10);
/// How often a node that serves what it gets looks whether it got something for a follower.
const FOLLOW_LOOK: Duration = Duration::from_millis(200);
/// Between two looks of the oracles at nodes to which nothing happens.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// Time that a job takes at least, and bytes that it reads in a microsecond.
const JOB_TIME: Duration = Duration::from_micros(200);
const JOB_BYTES_PER_MICRO: u64 = 500;
/// Longest time that a job waits for a thread.
const JOB_WAIT_MICROS: u64 = 1000;
/// Bytes that a message takes on the line beside what is in it.
const MESSAGE_OVERHEAD: u64 = 60;

/// Something that a script does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node is switched on. Servers are on from the start.
    Start(NodeId),
    /// A machine is told to stop; the node stays where it is.
    Pause(NodeId),
    /// A machine is told to go on.
    Resume(NodeId),
    /// A node crashes. What was not acknowledged may be gone.
    Crash(NodeId),
    /// The disk of a node that is switched off is replaced with an empty one.
    LoseDisk(NodeId),
    /// A node goes to this side of a partition.
    Side(NodeId, u32),
    /// All partitions end.
    Heal,
    /// A node's line changes.
    Line(NodeId, Line),
}

#[derive(Clone, Debug)]
enum Wire {
    Ask { id: RequestId, life: u32, max: u64, request: Bytes },
    Answer { id: RequestId, life: u32, answer: Result<Bytes, RequestFailure> },
}

enum Done {
    Applied(Applied),
    Stored(CallId, Result<(), StoreError>),
    State(StateDone, Box<StateWork>),
    History(HistoryDone),
}

enum Tick {
    Wake(NodeId, u32),
    Verdict(NodeId, u32, Box<Job>),
    Done(NodeId, u32, Done, Height),
    Asked(NodeId, NodeId, Held),
    Answers {
        from: NodeId,
        to: NodeId,
        id: RequestId,
        life: u32,
        answer: Result<Bytes, RequestFailure>,
    },
    Dial(NodeId, u32),
    /// The connection to a peer that was banned is gone.
    HungUp(NodeId, u32, PeerId),
    /// The node says what is missing below its blocks.
    Gap(NodeId, u32),
    Idle,
    Watch,
    Step(Step),
}

/// A request that waits at a server.
struct Held {
    id: RequestId,
    life: u32,
    max: u64,
    request: Bytes,
    /// When it came; a follower is held for a while.
    came: Instant,
}

type Known = HashMap<Task, (Result<Outcome, Fault>, u32)>;

/// A network of nodes on virtual time. See the module for what is real in it.
pub struct NetworkSimulator {
    source: Arc<dyn Source>,
    /// What else validators made final, where they equivocate.
    forks: Vec<Arc<dyn Source>>,
    chain: NativeChain,
    net: VirtualNetwork<Wire, Tick>,
    nodes: Vec<Node>,
    by_peer: HashMap<PeerId, NodeId>,
    rng: Rng,
    trace: Trace,
    /// Whether recordings of machines are kept.
    records: bool,
    known: Option<Known>,
    /// The network's tip at the start, and the time between two blocks.
    growth: Option<(Height, Duration)>,
    violation: Option<Violation>,
    /// Joiners that have not said that they reached the source's tip.
    behind: usize,
    events: u64,
}

impl NetworkSimulator {
    /// A network without nodes, whose links are `link` unless told otherwise.
    pub fn new(seed: u64, source: Arc<dyn Source>, link: Link) -> Self {
        let mut rng = Rng::new(seed);
        let mut net = VirtualNetwork::new(rng.next_u64(), link);
        net.at(Instant::ZERO, Tick::Watch);
        Self {
            chain: source.chain(),
            source,
            forks: Vec::new(),
            net,
            nodes: Vec::new(),
            by_peer: HashMap::new(),
            rng,
            trace: Trace::default(),
            records: false,
            known: None,
            growth: None,
            violation: None,
            behind: 0,
            events: 0,
        }
    }

    /// Keeps a line for everything that happens, for [`trace`](Self::trace).
    #[must_use]
    pub fn with_timeline(mut self) -> Self {
        self.trace = Trace::kept();
        self
    }

    /// Keeps what goes in and out of every machine, for [`recordings`](Self::recordings).
    #[must_use]
    pub fn with_recordings(mut self) -> Self {
        self.records = true;
        self
    }

    /// Lets equal jobs run once.
    #[must_use]
    pub fn share_verdicts(mut self) -> Self {
        self.known = Some(HashMap::new());
        self
    }

    /// Another chain that validators made final with the same keys. A node that learns of both must halt.
    #[must_use]
    pub fn with_fork(mut self, fork: Arc<dyn Source>) -> Self {
        self.forks.push(fork);
        self
    }

    /// Lets the chain grow: its tip is `from` at first, and one higher after every `interval`.
    #[must_use]
    pub fn growing(mut self, from: Height, interval: Duration) -> Self {
        self.growth = Some((from, interval));
        self
    }

    /// Adds a node that serves.
    pub fn add_server(&mut self, spec: ServerSpec) -> NodeId {
        let ServerSpec { line, held, adversaries, thinks, group } = spec;
        let rng = Rng::new(self.rng.next_u64());
        let id = self.add(line, group, Role::Server(Server { held, adversaries, thinks, rng, asked: 0 }));
        self.nodes[id.index()].up = true;
        id
    }

    /// Adds a node that synchronizes, switched off: [`Step::Start`] switches it on.
    pub fn add_joiner(&mut self, spec: JoinerSpec) -> NodeId {
        let JoinerSpec { line, config, serves, contacts, lost_jobs_ppm, disk, doctor } = spec;
        let truths = std::iter::once(&self.source).chain(&self.forks).cloned().collect();
        let joiner = Joiner {
            machine: None,
            recording: None,
            recorded: Vec::new(),
            disk: Disk::new(&*self.source, serves),
            oracle: Oracle::new(truths, &config),
            doctor,
            config,
            serves,
            contacts,
            lost_jobs_ppm,
            disk_time: disk,
            rng: Rng::new(self.rng.next_u64()),
            open: Default::default(),
            connected: Default::default(),
            banned: Default::default(),
            deadline: None,
            wakes: None,
            dials: false,
            events: Vec::new(),
            bans: 0,
            applied_at: None,
            reached_at: None,
            requests: 0,
            jobs: 0,
        };
        self.behind += 1;
        self.add(line, None, Role::Joiner(Box::new(joiner)))
    }

    fn add(&mut self, line: Line, group: Option<u64>, role: Role) -> NodeId {
        let id = self.net.add_node(line);
        let number = id.index() as u64;
        let peer = PeerId::from_bytes(*PEER.hash(&number.to_le_bytes()).as_bytes());
        self.by_peer.insert(peer, id);
        self.nodes.push(Node { peer, group: group.unwrap_or(number), life: 0, up: false, role });
        id
    }

    /// Whom a joiner dials, beside those that it dials already.
    pub fn add_contacts(&mut self, joiner: NodeId, contacts: impl IntoIterator<Item = NodeId>) {
        let joiner_id = joiner;
        if let Some(joiner) = self.nodes[joiner.index()].joiner_mut() {
            joiner.contacts.extend(contacts);
        }
        // It dials when it starts, and now if it is on.
        self.dial(joiner_id);
    }

    /// Disconnects a joiner from a node, and lets it dial that one no more.
    pub fn remove_contact(&mut self, joiner: NodeId, contact: NodeId) {
        if let Some(joiner) = self.nodes[joiner.index()].joiner_mut() {
            joiner.contacts.retain(|&other| other != contact);
        }
        if self.joiner(joiner).is_some_and(|joiner| joiner.connected.contains_key(&contact)) {
            self.disconnect(joiner, contact);
        }
    }

    /// The peers that a joiner is connected with.
    pub fn connections(&self, joiner: NodeId) -> Vec<PeerId> {
        let connected = self.joiner(joiner).map(|joiner| joiner.connected.keys());
        connected.into_iter().flatten().map(|&node| self.peer(node)).collect()
    }

    /// The peers that a joiner has banned, now or before.
    pub fn banned(&self, joiner: NodeId) -> Vec<PeerId> {
        let banned = self.joiner(joiner).map(|joiner| joiner.banned.keys());
        banned.into_iter().flatten().map(|&node| self.peer(node)).collect()
    }

    /// Changes what lies between two nodes.
    pub fn set_link(&mut self, one: NodeId, other: NodeId, link: Link) {
        self.net.set_link(one, other, link);
    }

    /// Has something done at some time.
    pub fn schedule(&mut self, at: Instant, step: Step) {
        self.net.at(at, Tick::Step(step));
    }

    /// A joiner's disk, to plan crashes and failures.
    ///
    /// # Panics
    /// Where the node is no joiner.
    pub fn disk(&mut self, joiner: NodeId) -> &mut Disk {
        &mut self.nodes[joiner.index()].joiner_mut().expect("a joiner").disk
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.net.now()
    }

    /// What happened so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What went in and out of a joiner's machines, one for each of its lives; nothing where recordings are not kept.
    pub fn recordings(&self, joiner: NodeId) -> impl Iterator<Item = &Recording> {
        let lives = self.joiner(joiner).filter(|_| self.records);
        lives.into_iter().flat_map(|joiner| joiner.recorded.iter().chain(&joiner.recording))
    }

    /// Hash of all that happened so far, between nodes and in and out of every machine: equal for equal runs.
    pub fn trace_hash(&self) -> Hash {
        self.trace.hash()
    }

    /// How many events happened.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Height that a joiner has stored and executed.
    pub fn applied(&self, joiner: NodeId) -> Height {
        self.joiner(joiner).map_or(Height::ZERO, |joiner| joiner.disk.applied())
    }

    /// How many joiners have not said yet that they reached the source's tip.
    pub fn behind(&self) -> usize {
        self.behind
    }

    /// When a joiner had stored and executed all blocks to the source's tip.
    pub fn applied_at(&self, joiner: NodeId) -> Option<Instant> {
        self.joiner(joiner)?.applied_at
    }

    /// When a joiner said that it reached the source's tip.
    pub fn reached_at(&self, joiner: NodeId) -> Option<Instant> {
        self.joiner(joiner)?.reached_at
    }

    /// What a joiner's machine told, in all of its lives.
    pub fn told(&self, joiner: NodeId) -> &[(Instant, Event)] {
        self.joiner(joiner).map_or(&[], |joiner| &joiner.events)
    }

    /// How far a joiner's machine is, if it is on.
    pub fn progress(&self, joiner: NodeId) -> Option<Progress> {
        self.joiner(joiner)?.machine.as_ref().map(Machine::progress)
    }

    /// A joiner's machine, if it is on.
    pub fn machine(&self, joiner: NodeId) -> Option<&Machine> {
        self.joiner(joiner)?.machine.as_ref()
    }

    /// Whether a joiner's machine has halted.
    pub fn halted(&self, joiner: NodeId) -> bool {
        self.joiner(joiner).is_some_and(|joiner| joiner.oracle.halted())
    }

    /// Whether a joiner holds all that its settings want of the blocks below its state.
    pub fn has_history(&self, joiner: NodeId) -> bool {
        let wants = |joiner: &&Joiner| joiner.config.history != SyncHistory::None;
        self.joiner(joiner).filter(wants).is_none_or(|joiner| joiner.disk.history_gap().is_none())
    }

    /// Bans that a joiner's machine asked for.
    pub fn bans(&self, joiner: NodeId) -> u64 {
        self.joiner(joiner).map_or(0, |joiner| joiner.bans)
    }

    /// Requests that a joiner sent and jobs that it ran.
    pub fn work(&self, joiner: NodeId) -> (u64, u64) {
        self.joiner(joiner).map_or((0, 0), |joiner| (joiner.requests, joiner.jobs))
    }

    /// Bytes that a node has sent and got.
    pub fn traffic(&self, node: NodeId) -> (u64, u64) {
        self.net.traffic(node)
    }

    /// The peer id of a node.
    pub fn peer(&self, node: NodeId) -> PeerId {
        self.nodes[node.index()].peer
    }

    /// The chain that is synchronized.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    fn joiner(&self, node: NodeId) -> Option<&Joiner> {
        self.nodes.get(node.index())?.joiner()
    }

    /// Runs until `done`, or until `limit` has passed. True if it is done.
    ///
    /// # Errors
    /// The first law that a node broke.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> Result<bool, Violation> {
        let end = self.now().after(limit);
        loop {
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
            if done(self) {
                return Ok(true);
            }
            let Some(happening) = self.net.poll(end) else {
                self.net.rest_until(end);
                return Ok(false);
            };
            self.events += 1;
            self.happen(happening);
        }
    }

    /// Runs until all joiners say that they reached the source's tip.
    ///
    /// # Errors
    /// The first law that a node broke; [`Law::Arrival`] where one is behind when `limit` has passed.
    pub fn run_to_tip(&mut self, limit: Duration) -> Result<(), Violation> {
        if self.run_until(limit, |sim| sim.behind == 0)? {
            return self.account();
        }
        let late = self.net.nodes().filter(|&node| self.joiner(node).is_some_and(|joiner| joiner.reached_at.is_none()));
        let what: Vec<String> = late.take(3).map(|node| self.describe(node)).collect();
        Err(Violation { law: Law::Arrival, at: self.now(), what: what.join("; ") })
    }

    /// Runs until all joiners say that they reached the source's tip, and hold the history that they want.
    ///
    /// # Errors
    /// The first law that a node broke; [`Law::Arrival`] where one is behind when `limit` has passed.
    pub fn run_to_history(&mut self, limit: Duration) -> Result<(), Violation> {
        let end = self.now().after(limit);
        self.run_to_tip(limit)?;
        let joiners: Vec<NodeId> = self.net.nodes().filter(|&node| self.joiner(node).is_some()).collect();
        let complete = |sim: &Self| joiners.iter().all(|&node| sim.has_history(node));
        if self.run_until(end.since(self.now()), complete)? {
            return self.account();
        }
        let late = joiners.iter().find(|&&node| !self.has_history(node)).map(|&node| self.describe(node));
        let what = format!("without its history: {}", late.unwrap_or_default());
        Err(Violation { law: Law::Arrival, at: self.now(), what })
    }

    fn describe(&self, node: NodeId) -> String {
        let Some(joiner) = self.joiner(node) else { return String::new() };
        let last: Vec<_> = joiner.events.iter().rev().take(3).collect();
        format!("{node} stands at {} of {}, and told last {last:?}", joiner.disk.applied(), self.source.tip_height())
    }

    /// Checks what can be checked at the end only.
    ///
    /// # Errors
    /// The first law that a node broke.
    pub fn account(&mut self) -> Result<(), Violation> {
        for node in self.net.nodes() {
            self.check_accounts(node);
        }
        self.violation.take().map_or(Ok(()), Err)
    }

    fn check_accounts(&mut self, node: NodeId) {
        if let Some(progress) = self.progress(node) {
            let checked = self.joiner(node).map_or(Ok(()), |joiner| joiner.oracle.accounts(&progress));
            self.check(node, checked);
        }
    }

    /// The height that the network has finalized by now.
    fn network_tip(&self) -> Height {
        match self.growth {
            Some((from, interval)) => {
                let blocks = self.now().as_micros().checked_div(interval.as_micros().max(1) as u64);
                from.plus(blocks.unwrap_or(0)).min(self.source.tip_height())
            }
            None => self.source.tip_height(),
        }
    }

    /// When the network's tip passes `height`.
    fn grows_above(&self, height: Height) -> Option<Instant> {
        let (from, interval) = self.growth.filter(|_| height < self.source.tip_height())?;
        let blocks = height.next().above(from);
        Some(Instant::from_micros(blocks.saturating_mul(interval.as_micros() as u64)))
    }

    fn check(&mut self, node: NodeId, result: Result<(), (Law, String)>) {
        if let (Err((law, what)), None) = (result, &self.violation) {
            let what = format!("{node}: {what}");
            self.trace.note(self.net.now(), format_args!("VIOLATION {law:?} {what}"));
            self.violation = Some(Violation { law, at: self.net.now(), what });
        }
    }

    fn happen(&mut self, happening: Happening<Wire, Tick>) {
        match happening {
            Happening::Message { from, to, message: Wire::Ask { id, life, max, request } } => {
                let came = self.now();
                self.asked(to, from, Held { id, life, max, request, came });
            }
            Happening::Message { from, to, message: Wire::Answer { id, life, answer } } => {
                self.answered(from, to, id, life, answer);
            }
            Happening::Broken { to: from, from: to, message: Wire::Ask { id, life, .. } } => {
                self.answered(from, to, id, life, Err(RequestFailure::Broken));
            }
            Happening::Broken { from, to, message: Wire::Answer { id, life, .. } } => {
                self.answered(from, to, id, life, Err(RequestFailure::Broken));
            }
            Happening::Event(tick) => self.tick(tick),
        }
    }

    fn tick(&mut self, tick: Tick) {
        match tick {
            Tick::Wake(node, life) => {
                let now = self.now();
                let Some(joiner) = self.living(node, life) else { return };
                if joiner.wakes.is_some_and(|wakes| wakes <= now) {
                    joiner.wakes = None;
                }
                if joiner.deadline.is_some_and(|deadline| deadline <= now) {
                    self.trace.note(now, format_args!("{node} wakes"));
                    self.input(node, Input::Timeout);
                } else {
                    self.wake_later(node);
                }
            }
            Tick::Verdict(node, life, job) => {
                if self.living(node, life).is_none() {
                    return;
                }
                let mut verdict = self.prove(&job);
                if let Some(joiner) = self.living(node, life) {
                    joiner.oracle.verified(job.id());
                    if let Some(doctor) = &mut joiner.doctor {
                        verdict = doctor.verdict(&job, verdict);
                    }
                }
                let outcome = if verdict.outcome().is_ok() { "holds" } else { "is false" };
                self.trace.note(self.net.now(), format_args!("{node} job {} {outcome}", job.id()));
                self.input(node, Input::Verdict(verdict));
            }
            Tick::Done(node, life, done, applied_before) => self.done(node, life, done, applied_before),
            Tick::Asked(server, asker, held) => self.asked(server, asker, held),
            Tick::Answers { from, to, id, life, answer } => self.send_answer(from, to, id, life, answer),
            Tick::Dial(node, life) => {
                if let Some(joiner) = self.living(node, life) {
                    joiner.dials = false;
                    self.dial(node);
                }
            }
            Tick::HungUp(node, life, peer) => {
                if self.living(node, life).is_some() {
                    self.input(node, Input::Peer(PeerEvent::Disconnected { peer }));
                }
            }
            Tick::Gap(node, life) => {
                if self.living(node, life).is_some() {
                    self.say_gap(node);
                    self.drain(node);
                }
            }
            Tick::Idle => self.drop_dead_connections(),
            Tick::Watch => {
                for node in self.net.nodes() {
                    self.watch(node);
                }
                self.net.after(WATCH_INTERVAL, Tick::Watch);
            }
            Tick::Step(step) => {
                self.trace.note(self.net.now(), format_args!("step {step:?}"));
                self.step(step);
            }
        }
    }

    /// Does something now.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Start(node) => self.start(node),
            Step::Pause(node) => {
                if let Some(joiner) = self.nodes[node.index()].joiner_mut() {
                    joiner.oracle.stopped();
                }
                self.input(node, Input::Stop);
            }
            Step::Resume(node) => self.go_on(node, None),
            Step::Crash(node) => self.crash(node),
            Step::LoseDisk(node) => {
                let source = Arc::clone(&self.source);
                let node = &mut self.nodes[node.index()];
                if let (false, Some(joiner)) = (node.up, node.joiner_mut()) {
                    self.behind += usize::from(joiner.reached_at.take().is_some());
                    joiner.applied_at = None;
                    joiner.disk.lose(&*source);
                    joiner.oracle.disk_lost();
                }
            }
            Step::Side(node, side) => {
                self.net.set_side(node, side);
                self.net.after(IDLE_TIMEOUT, Tick::Idle);
            }
            Step::Heal => self.net.heal(),
            Step::Line(node, line) => self.net.set_line(node, line),
        }
    }

    /// Tells a machine to go on; with `until`, to the first proven segment that holds that height.
    pub fn go_on(&mut self, node: NodeId, until: Option<Height>) {
        let now = self.now();
        let joiner = self.nodes[node.index()].joiner_mut();
        if let Some(joiner) = joiner.filter(|joiner| joiner.machine.is_some() && !joiner.oracle.halted()) {
            joiner.oracle.resumed(now);
        }
        self.input(node, Input::Start(until));
    }

    fn start(&mut self, id: NodeId) {
        let now = self.now();
        let node = &mut self.nodes[id.index()];
        if node.up {
            return;
        }
        node.up = true;
        node.life += 1;
        let Some(joiner) = node.joiner_mut() else { return };
        let seed = joiner.rng.next_u64();
        let (mut config, mut start) = (joiner.config.clone(), joiner.disk.start());
        if let Some(doctor) = &mut joiner.doctor {
            (config, start) = (doctor.config(config), doctor.start(start));
        }
        // Which release it is says nothing about what happens.
        let head = TraceHeader { software: String::new(), ..TraceHeader::new(&config, &start, seed, now) };
        let machine = match Machine::new(config, start, seed, now) {
            Ok(machine) => machine,
            Err(error) => return self.refused(id, error),
        };
        joiner.machine = Some(machine);
        joiner.recording = Some(Recording::new(&head, self.records));
        joiner.deadline = None;
        joiner.wakes = None;
        joiner.dials = false;
        let started = joiner.oracle.started(now, &joiner.disk);
        self.check(id, started);
        self.say_gap(id);
        self.input(id, Input::Start(None));
        self.dial(id);
    }

    fn say_gap(&mut self, id: NodeId) {
        if let Some(joiner) = self.joiner(id).filter(|joiner| joiner.config.history != SyncHistory::None) {
            let gap = joiner.disk.history_gap();
            self.give(id, Input::HistoryGap(gap));
        }
    }

    fn refused(&mut self, node: NodeId, error: NewMachineError) {
        self.check(node, Err((Law::Durability, format!("its disk is refused: {error}"))));
    }

    fn crash(&mut self, id: NodeId) {
        self.check_accounts(id);
        let node = &mut self.nodes[id.index()];
        node.up = false;
        let Some(joiner) = node.joiner_mut() else {
            self.net.after(IDLE_TIMEOUT, Tick::Idle);
            return;
        };
        joiner.machine = None;
        let recording = joiner.recording.take().filter(|_| self.records);
        joiner.recorded.extend(recording);
        joiner.oracle.stopped();
        joiner.connected.clear();
        for open in std::mem::take(&mut joiner.open).into_values() {
            self.net.cancel(open.asking);
            open.answering.into_iter().for_each(|answering| self.net.cancel(answering));
        }
        self.net.after(IDLE_TIMEOUT, Tick::Idle);
    }

    /// The joiner, if it is in this life of its.
    fn living(&mut self, node: NodeId, life: u32) -> Option<&mut Joiner> {
        let node = &mut self.nodes[node.index()];
        if !node.up || node.life != life {
            return None;
        }
        node.joiner_mut()
    }

    /// Gives a machine an input and does what it asks for.
    fn input(&mut self, node: NodeId, input: Input) {
        self.give(node, input);
        self.drain(node);
    }

    /// Gives a machine an input, and nothing more.
    fn give(&mut self, node: NodeId, input: Input) {
        let now = self.now();
        let Some(joiner) = self.nodes[node.index()].joiner_mut() else { return };
        let (Some(machine), Some(recording)) = (&mut joiner.machine, &mut joiner.recording) else { return };
        recording.input(machine, now, &input);
        machine.handle(now, input);
    }

    fn drain(&mut self, node: NodeId) {
        loop {
            let Some(joiner) = self.nodes[node.index()].joiner_mut() else { return };
            let (Some(machine), Some(recording)) = (&mut joiner.machine, &mut joiner.recording) else { return };
            let output = machine.poll_output();
            if let Some(step) = recording.output(&output) {
                self.trace.absorb(&step);
            }
            let doctored = match &mut joiner.doctor {
                Some(doctor) => {
                    let waits = matches!(output, Output::Wait(_));
                    doctor.output(output).or(waits.then_some(Output::Wait(None)))
                }
                None => Some(output),
            };
            match doctored {
                None => {}
                Some(Output::Wait(deadline)) => {
                    joiner.deadline = deadline;
                    self.wake_later(node);
                    return self.watch(node);
                }
                Some(output) => self.carry_out(node, output),
            }
        }
    }

    fn wake_later(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.index()];
        let life = node.life;
        let Some(joiner) = node.joiner_mut() else { return };
        let Some(deadline) = joiner.deadline else { return };
        if joiner.wakes.is_none_or(|wakes| wakes > deadline) {
            joiner.wakes = Some(deadline);
            self.net.at(deadline, Tick::Wake(id, life));
        }
    }

    fn watch(&mut self, node: NodeId) {
        let now = self.now();
        let Some(joiner) = self.joiner(node).filter(|joiner| joiner.machine.is_some()) else { return };
        let waits = joiner.oracle.waits(now, joiner.deadline);
        self.check(node, waits);
    }

    fn carry_out(&mut self, id: NodeId, output: Output) {
        let now = self.now();
        let node = &mut self.nodes[id.index()];
        let life = node.life;
        let Some(joiner) = node.joiner_mut() else { return };
        match output {
            Output::Request { id: request_id, peer, request, max_response_bytes } => {
                joiner.requests += 1;
                let checked = joiner.oracle.requested(&request);
                let Some(&to) = self.by_peer.get(&peer) else { return };
                self.trace.note(now, format_args!("{id} asks {to} {request_id} {request:?}"));
                self.check(id, checked);
                let request: Bytes = request.encode().into();
                let bytes = request.len() as u64 + MESSAGE_OVERHEAD;
                let ask = Wire::Ask { id: request_id, life, max: max_response_bytes, request };
                let asking = self.net.stream(id, to, bytes, ask);
                if let Some(joiner) = self.nodes[id.index()].joiner_mut() {
                    joiner.open.insert(request_id, Open { to, asking, answering: None });
                }
            }
            Output::CancelRequest(request) => {
                if let Some(open) = joiner.open.remove(&request) {
                    self.net.cancel(open.asking);
                    open.answering.into_iter().for_each(|answering| self.net.cancel(answering));
                }
            }
            Output::Verify(job) => {
                joiner.jobs += 1;
                let checked = joiner.oracle.verifies(&job);
                let lost = joiner.rng.below(1_000_000) < u64::from(joiner.lost_jobs_ppm);
                let reading = Duration::from_micros(job.input_bytes() as u64 / JOB_BYTES_PER_MICRO);
                let waiting = Duration::from_micros(joiner.rng.below(JOB_WAIT_MICROS));
                if !lost {
                    self.net.after(JOB_TIME + reading + waiting, Tick::Verdict(id, life, Box::new(job)));
                }
                self.check(id, checked);
            }
            Output::Apply(apply) => {
                let checked = joiner.oracle.applies(&apply, &joiner.disk);
                let before = joiner.disk.applied();
                let done = joiner.disk.apply(&apply).map(Done::Applied);
                self.trace.note(now, format_args!("{id} stores {:?}", apply.range()));
                self.check(id, checked);
                self.acknowledge(id, done, before);
            }
            Output::Replay(replay) => {
                let before = joiner.disk.applied();
                let done = joiner.disk.replay(&replay).map(Done::Applied);
                self.trace.note(now, format_args!("{id} replays {}", replay.range));
                self.acknowledge(id, done, before);
            }
            Output::Store(call) => {
                let before = joiner.disk.applied();
                let done = joiner.disk.store(&call).map(|result| Done::Stored(call.id, result));
                self.trace.note(now, format_args!("{id} stores {} handovers", call.handovers.len()));
                self.acknowledge(id, done, before);
            }
            Output::State(call) => {
                let before = joiner.disk.applied();
                let checked = match &call.work {
                    StateWork::Activate(base) => joiner.oracle.activates(base),
                    _ => Ok(()),
                };
                let (call_id, done) = (call.id, joiner.disk.stage(&call));
                let done = done.map(|result| Done::State(StateDone { id: call_id, result }, Box::new(call.work)));
                self.trace.note(now, format_args!("{id} works on its state"));
                self.check(id, checked);
                self.acknowledge(id, done, before);
            }
            Output::History(call) => {
                let checked = joiner.oracle.backfills(&call);
                let before = joiner.disk.applied();
                let done = joiner.disk.backfill(&call);
                let done = done.map(|result| Done::History(HistoryDone { id: call.id, result }));
                self.trace.note(now, format_args!("{id} stores history {}", call.segment.range()));
                self.check(id, checked);
                self.acknowledge(id, done, before);
            }
            Output::Penalize { peer, penalty: Penalty::Ban { fault, until } } => {
                let Some(&banned) = self.by_peer.get(&peer) else { return };
                joiner.bans += 1;
                joiner.banned.insert(banned, until);
                joiner.connected.remove(&banned);
                let truthful = self.nodes[banned.index()].is_truthful();
                self.trace.note(now, format_args!("{id} bans {banned} for {fault:?}"));
                if let Some(joiner) = self.joiner(id) {
                    let checked = joiner.oracle.bans(&banned.to_string(), truthful, &fault.to_string());
                    self.check(id, checked);
                }
                // A transport that bans a peer also says that it is gone.
                self.net.after(Duration::ZERO, Tick::HungUp(id, life, peer));
                self.dial_later(id);
            }
            Output::Event(event) => {
                let checked = joiner.oracle.tells(now, &event, &joiner.disk);
                self.trace.note(now, format_args!("{id} tells {}", told(&event)));
                let tip = self.source.tip_height();
                if matches!(event, Event::Reached(point) if point.height == tip) && joiner.reached_at.is_none() {
                    joiner.applied_at.get_or_insert(now);
                    joiner.reached_at = Some(now);
                    self.behind -= 1;
                }
                if matches!(event, Event::StateActive { .. }) {
                    self.net.after(Duration::ZERO, Tick::Gap(id, life));
                }
                joiner.events.push((now, event));
                self.check(id, checked);
            }
            Output::CancelJob(job) => joiner.oracle.verified(job),
            Output::Wait(_) => {}
            other => self.check(id, Err((Law::Order, format!("an output that nobody knows: {other:?}")))),
        }
    }

    /// Has a call answered after a while, or lets the node crash.
    fn acknowledge(&mut self, id: NodeId, done: Result<Done, Crashed>, before: Height) {
        let life = self.nodes[id.index()].life;
        match done {
            Ok(done) => {
                let Some(joiner) = self.nodes[id.index()].joiner_mut() else { return };
                let most = u64::try_from(joiner.disk_time.as_micros()).unwrap_or(u64::MAX);
                let time = Duration::from_micros(100 + joiner.rng.below(most));
                self.net.after(time, Tick::Done(id, life, done, before));
            }
            Err(Crashed) => {
                self.trace.note(self.net.now(), format_args!("{id} crashes in a write"));
                self.crash(id);
                let pause = Duration::from_millis(self.rng.below(3000));
                self.net.after(pause, Tick::Step(Step::Start(id)));
            }
        }
    }

    fn done(&mut self, node: NodeId, life: u32, done: Done, before: Height) {
        let (now, tip) = (self.now(), self.source.tip_height());
        let Some(joiner) = self.living(node, life) else { return };
        let checked = match &done {
            Done::Applied(applied) => joiner.oracle.applied(now, applied.id, &joiner.disk, before),
            Done::Stored(..) => {
                joiner.oracle.acknowledged(now, &joiner.disk, before);
                Ok(())
            }
            Done::State(StateDone { result: Ok(_), .. }, work) => {
                joiner.oracle.staged(now, work);
                Ok(())
            }
            Done::History(HistoryDone { id, result: Ok(_) }) => {
                joiner.oracle.backfilled(*id, &joiner.disk);
                Ok(())
            }
            Done::State(..) | Done::History(_) => Ok(()),
        };
        if joiner.disk.applied() == tip && joiner.applied_at.is_none() {
            joiner.applied_at = Some(now);
        }
        self.check(node, checked);
        self.input(
            node,
            match done {
                Done::Applied(applied) => Input::Applied(applied),
                Done::Stored(id, result) => Input::Stored(id, result),
                Done::State(done, _) => Input::State(done),
                Done::History(done) => Input::History(done),
            },
        );
    }

    fn prove(&mut self, job: &Job) -> Verdict {
        let Some(known) = &mut self.known else { return job.run(&self.chain) };
        if let Some((outcome, checks)) = known.get(job.task()) {
            return Verdict::from_host(job, outcome.clone(), *checks);
        }
        let verdict = job.run(&self.chain);
        known.insert(job.task().clone(), (verdict.outcome().clone(), verdict.quorum_checks()));
        verdict
    }

    // Peers: what is asked and answered.

    /// A request arrived at `server`, or waited there.
    fn asked(&mut self, server: NodeId, asker: NodeId, held: Held) {
        if !self.nodes[server.index()].up {
            return;
        }
        let request = match Request::decode(&held.request) {
            Ok(request) => request,
            Err(error) => {
                return self.check(asker, Err((Law::Truth, format!("a request that can't be read: {error}"))));
            }
        };
        let now = self.now();
        let network_tip = self.network_tip();
        // A follower for whom there is nothing waits.
        let tip = match &self.nodes[server.index()].role {
            Role::Server(server) => server.held.tip.min(network_tip),
            Role::Joiner(joiner) => joiner.disk.shelf.status().tip,
        };
        if let Request::Follow { after, .. } = request
            && after >= tip
            && now < held.came.after(FOLLOW_HOLD)
        {
            let look = match &self.nodes[server.index()].role {
                Role::Server(_) => self.grows_above(after).map_or(held.came.after(FOLLOW_HOLD), |at| at.max(now)),
                Role::Joiner(_) => now.after(FOLLOW_LOOK),
            };
            let look = look.min(held.came.after(FOLLOW_HOLD)).max(now.after(Duration::from_micros(1)));
            return self.net.at(look, Tick::Asked(server, asker, held));
        }
        let Held { id, life, max, .. } = held;
        let Some((after, answer)) = self.answer(server, &request, network_tip) else { return };
        let answer = match answer {
            Ok(bytes) if bytes.len() as u64 > max => Err(RequestFailure::Oversize),
            other => other,
        };
        self.net.after(after, Tick::Answers { from: server, to: asker, id, life, answer });
    }

    /// What a node answers, and after which time; `None` for nothing.
    fn answer(
        &mut self,
        server: NodeId,
        request: &Request,
        network_tip: Height,
    ) -> Option<(Duration, Result<Bytes, RequestFailure>)> {
        let now = self.now();
        match &mut self.nodes[server.index()].role {
            Role::Joiner(joiner) => {
                let answer = match joiner.serves {
                    true => {
                        respond(request, &joiner.disk.shelf).unwrap_or_else(|_| encode_refusal(Refusal::NotAvailable))
                    }
                    false => encode_refusal(Refusal::NotAvailable),
                };
                Some((Duration::from_micros(200), Ok(answer)))
            }
            Role::Server(server) => {
                let held = super::Holdings { tip: server.held.tip.min(network_tip), ..server.held };
                let honest = self.source.answer(&held, request);
                let mut answering = Answering { after: server.thinks, says: Says::Bytes(honest) };
                let (source, asked) = (&*self.source, server.asked);
                let mut ask = Ask { request, now, source, held, rng: &mut server.rng, asked };
                for adversary in &mut server.adversaries {
                    adversary.bend(&mut ask, &mut answering);
                }
                server.asked += 1;
                match answering.says {
                    Says::Bytes(bytes) => Some((answering.after, Ok(bytes))),
                    Says::Break => Some((answering.after, Err(RequestFailure::Broken))),
                    Says::Nothing => None,
                }
            }
        }
    }

    /// A node sends an answer, if it is still wanted.
    fn send_answer(
        &mut self,
        from: NodeId,
        to: NodeId,
        id: RequestId,
        life: u32,
        answer: Result<Bytes, RequestFailure>,
    ) {
        let up = self.nodes[from.index()].up;
        if !up || self.living(to, life).is_none_or(|joiner| !joiner.open.contains_key(&id)) {
            return;
        }
        let bytes = answer.as_ref().map_or(0, |bytes| bytes.len() as u64) + MESSAGE_OVERHEAD;
        let transfer = self.net.stream(from, to, bytes, Wire::Answer { id, life, answer });
        if let Some(open) = self.living(to, life).and_then(|joiner| joiner.open.get_mut(&id)) {
            open.answering = Some(transfer);
        }
    }

    fn answered(&mut self, from: NodeId, to: NodeId, id: RequestId, life: u32, answer: Result<Bytes, RequestFailure>) {
        let Some(joiner) = self.living(to, life) else { return };
        joiner.open.remove(&id);
        let bytes = answer.as_ref().map_or(0, Bytes::len);
        let how = match &answer {
            Ok(_) => "gets",
            Err(RequestFailure::Oversize) => "gets too much for",
            Err(RequestFailure::Broken) => "loses",
        };
        self.trace.note(self.net.now(), format_args!("{to} {how} {id} from {from}: {bytes}"));
        self.input(to, Input::Response(id, answer));
    }

    // Connections.

    /// Connects a joiner with those of its contacts that it can reach.
    fn dial(&mut self, id: NodeId) {
        let now = self.now();
        let Some(joiner) = self.joiner(id).filter(|joiner| joiner.machine.is_some()) else { return };
        let mut complete = true;
        let mut new = Vec::new();
        for &contact in &joiner.contacts {
            if joiner.connected.contains_key(&contact) {
                continue;
            }
            let free = joiner.banned.get(&contact).is_none_or(|&until| until <= now);
            let other = &self.nodes[contact.index()];
            if free && other.up && self.net.reaches(id, contact) {
                new.push((contact, other.life, PeerEvent::Connected { peer: other.peer, group: other.group }));
            } else {
                complete = false;
            }
        }
        for (contact, life, event) in new {
            // It may have crashed in what the connection before led to.
            let Some(joiner) = self.nodes[id.index()].joiner_mut().filter(|joiner| joiner.machine.is_some()) else {
                return;
            };
            joiner.connected.insert(contact, life);
            self.trace.note(now, format_args!("{id} connects to {contact}"));
            self.input(id, Input::Peer(event));
        }
        if !complete {
            self.dial_later(id);
        }
    }

    fn dial_later(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.index()];
        let life = node.life;
        if let Some(joiner) = node.joiner_mut().filter(|joiner| !joiner.dials) {
            joiner.dials = true;
            self.net.after(DIAL_INTERVAL, Tick::Dial(id, life));
        }
    }

    /// Connections to nodes that are down, were restarted or can't be reached end.
    fn drop_dead_connections(&mut self) {
        for id in self.net.nodes() {
            let Some(joiner) = self.joiner(id).filter(|joiner| joiner.machine.is_some()) else { continue };
            let dead = joiner.connected.iter().filter(|&(&contact, &life)| {
                let other = &self.nodes[contact.index()];
                !other.up || other.life != life || !self.net.reaches(id, contact)
            });
            let dead: Vec<NodeId> = dead.map(|(&contact, _)| contact).collect();
            for contact in dead {
                self.disconnect(id, contact);
            }
        }
    }

    fn disconnect(&mut self, id: NodeId, contact: NodeId) {
        let peer = self.nodes[contact.index()].peer;
        let Some(joiner) = self.nodes[id.index()].joiner_mut() else { return };
        joiner.connected.remove(&contact);
        let gone: Vec<RequestId> =
            joiner.open.iter().filter(|(_, open)| open.to == contact).map(|(&request, _)| request).collect();
        for request in gone {
            if let Some(open) = joiner.open.remove(&request) {
                self.net.cancel(open.asking);
                open.answering.into_iter().for_each(|answering| self.net.cancel(answering));
            }
        }
        self.trace.note(self.net.now(), format_args!("{id} loses its connection to {contact}"));
        self.input(id, Input::Peer(PeerEvent::Disconnected { peer }));
        self.dial_later(id);
    }
}

/// An event in few words.
fn told(event: &Event) -> String {
    match event {
        Event::Strategy { strategy, gap, .. } => format!("strategy {strategy} for {gap} blocks"),
        Event::Halted(reason) => format!("halted: {reason}"),
        Event::Stalled { reason, .. } => format!("stalled: {reason}"),
        other => format!("{other:?}"),
    }
}
