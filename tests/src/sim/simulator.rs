//! [`NetworkSimulator`]: nodes that synchronize, serve and lie, in virtual time, from one seed.
//!
//! The real thing runs: machines, requests and answers in their encoding, `respond`, and verification jobs. A
//! [`VirtualNetwork`], a [`Disk`] for each node, and time stand in for the world. Every node that synchronizes is
//! watched by an [`Oracle`](super::Oracle); the first law that is broken ends the run.
//!
//! **What is not checked again.** With [`share_verdicts`](NetworkSimulator::share_verdicts) a job that equals one that ran
//! before takes that one's result: a job is a pure function, so nothing is believed that was not proven, and a thousand
//! nodes that download one chain cost the signatures of one.

mod connections;
mod decides;
mod lives;
mod looks;
mod machines;
mod questions;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::{CallDone, HostWork};
use hotstuff2_sync::chain::CheckError;
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::hash::Context;
use hotstuff2_sync::ids::{Height, JobId, PeerId, RequestId};
use hotstuff2_sync::machine::{Input, PeerEvent, RequestFailure};
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::verify::{Job, Outcome, Task};

use super::disk::Disk;
use super::network::{Happening, Line, Link, NodeId, VirtualNetwork};
use super::node::{Joiner, JoinerSpec, Node, Role, Server, ServerSpec};
use super::oracle::{Law, Oracle, Violation};
use super::source::Source;
use super::trace::Trace;

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
    /// The engine of a node has decided the block at this height.
    Decide(NodeId, Height),
}

#[derive(Clone, Debug)]
enum Wire {
    Ask { id: RequestId, life: u32, max: u64, request: Bytes },
    Answer { id: RequestId, life: u32, answer: Result<Bytes, RequestFailure> },
}

enum Tick {
    Wake(NodeId, u32),
    Begun(NodeId, u32, JobId),
    Verdict(NodeId, u32, Box<Job>),
    Done(NodeId, u32, Box<HostWork>, CallDone),
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

type Known = HashMap<Task, (Result<Outcome, CheckError>, u32)>;

/// A network of nodes on virtual time. See the module for what is real in it.
pub struct NetworkSimulator {
    source: Arc<dyn Source>,
    /// Other blocks that validators made final, where they equivocate.
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
            decided: Vec::new(),
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
            Tick::Begun(node, life, job) => {
                if self.living(node, life).is_some() {
                    self.input(node, Input::Begun(job));
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
            Tick::Done(node, life, work, done) => self.done(node, life, &work, done),
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

    /// The joiner, if it is in this life of its.
    fn living(&mut self, node: NodeId, life: u32) -> Option<&mut Joiner> {
        let node = &mut self.nodes[node.index()];
        if !node.up || node.life != life {
            return None;
        }
        node.joiner_mut()
    }
}
