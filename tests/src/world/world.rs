//! [`World`]: carries out a machine's outputs in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::{
    Apply, CallDone, HistoryGap, HistoryPiece, HostCall, HostError, HostReply, HostWork, Start,
};
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{CallId, DecidedId, Height, JobId, PeerId, RequestId};
use hotstuff2_sync::machine::{
    DecidedError, Event, Input, Machine, NewMachineError, Output, PeerEvent, Penalty, RequestFailure,
};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::trace::TraceHeader;
use hotstuff2_sync::verify::{HandoverLink, Job, Verdict};
use hotstuff2_sync::wire::Request;

use super::behaviour::Behaviour;
use super::recording::Recording;
use crate::chain::TestChain;

/// How far a host got with blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The highest height that is stored and executed.
    pub through: Height,
    /// Why it is no higher.
    pub stopped: Option<HostError>,
}

/// What the host makes of calls. The default stores and executes everything after a millisecond.
pub trait Applier {
    /// Blocks are to be stored and executed. `None`: never answered.
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        let through = apply.range().map_or(Height::ZERO, HeightRange::last);
        Some((Duration::from_millis(1), Applied { through, stopped: None }))
    }

    /// Stored blocks are to be executed. `None`: never answered.
    fn replay(&mut self, range: HeightRange) -> Option<(Duration, Applied)> {
        Some((Duration::from_millis(1), Applied { through: range.last(), stopped: None }))
    }

    /// Handovers are to be stored. `None`: never answered.
    fn store(&mut self, _: &[HandoverLink]) -> Option<(Duration, Result<(), HostError>)> {
        Some((Duration::from_millis(1), Ok(())))
    }

    /// Something is to be done in the staging area. `None`: never answered. The default has no such area.
    fn state(&mut self, _: &HostWork) -> Option<(Duration, Result<HostReply, HostError>)> {
        Some((Duration::from_millis(1), Err(HostError::Permanent)))
    }

    /// A piece of history is to be stored; the answer says what is missing below. `None`: never answered. The default
    /// refuses it.
    fn history(&mut self, _: &HistoryPiece) -> Option<(Duration, Result<Option<HistoryGap>, HostError>)> {
        Some((Duration::from_millis(1), Err(HostError::Permanent)))
    }
}

/// What `host` makes of a call, and after which time. `None`: never answered.
pub fn carry_out(host: &mut dyn Applier, call: &HostCall) -> Option<(Duration, CallDone)> {
    let id = call.id;
    let applied = |(after, done): (Duration, Applied)| (after, CallDone::applied(id, done.through, done.stopped));
    let with = |(after, result): (Duration, Result<HostReply, HostError>)| (after, CallDone { id, result });
    match &call.work {
        HostWork::Apply(apply) => host.apply(apply).map(applied),
        HostWork::Replay(range) => host.replay(*range).map(applied),
        HostWork::StoreHandovers(links) => {
            let (after, result) = host.store(links)?;
            Some(with((after, result.map(|()| HostReply::HandoversStored))))
        }
        HostWork::AddHistory(piece) => {
            let (after, result) = host.history(piece)?;
            Some(with((after, result.map(|history_gap| HostReply::HistoryAdded { history_gap }))))
        }
        work => host.state(work).map(with),
    }
}

/// Feeds the machine's choices.
const SEED: u64 = 7;

struct Willing;

impl Applier for Willing {}

/// What bad memory makes of a job's verdict.
pub type Tamper = Box<dyn FnMut(&Job, Verdict) -> Verdict>;

enum Happening {
    Begun(JobId),
    Response(RequestId, Result<Bytes, RequestFailure>),
    Verdict(Box<Job>),
    Done(CallDone),
    Peer(PeerEvent),
}

/// One machine, its peers, its host and its clock.
pub struct World {
    /// The machine under test.
    pub machine: Machine,
    /// The chain that peers answer from.
    pub source: TestChain,
    /// What happened: events with their times.
    pub events: Vec<(Instant, Event)>,
    /// Requests with their times, their peers and whether they were cancelled later.
    pub requests: Vec<(Instant, PeerId, Request)>,
    /// Real time that the machine took, for measurements: nothing depends on it.
    pub machine_time: Duration,
    /// Jobs that were given out.
    pub jobs: u64,
    /// Blocks that the node's own engine has handed in.
    pub told: Vec<DecidedId>,
    /// Answers to blocks of the node's own engine.
    pub decided: Vec<(DecidedId, Result<Height, DecidedError>)>,
    /// Bans that were asked for.
    pub bans: Vec<(Instant, PeerId)>,
    /// All blocks that were applied, in order.
    pub applied: Vec<Height>,
    /// Blocks that were handed to the host.
    pub applies: Vec<(Instant, Apply)>,
    /// Calls that were made to the host, each with the name of its work.
    pub calls: Vec<(CallId, &'static str)>,
    /// Jobs that are lost instead of run, by the number in which they are given out.
    pub lose_jobs: BTreeSet<u64>,
    /// The group of peers that join from here on; a group of its own for each where there is none.
    pub group: Option<u64>,
    /// How long a thread takes for a job.
    pub job_time: Box<dyn Fn(&Job) -> Duration>,
    /// Threads that run jobs, the lowest heights first; any number of them where there is none.
    pub threads: Option<usize>,
    /// Whether the host says when a thread begins a job.
    pub says_begun: bool,
    /// Changes verdicts on their way to the machine, as a flipped bit would.
    pub tamper: Option<Tamper>,
    /// What the machine was made from.
    header: TraceHeader,
    recording: Option<Recording>,
    chain: NativeChain,
    host: Box<dyn Applier>,
    now: Instant,
    peers: BTreeMap<PeerId, Box<dyn Behaviour>>,
    open: BTreeMap<RequestId, Request>,
    jobs_out: BTreeSet<JobId>,
    queued: BTreeMap<(Height, JobId), (u64, Job)>,
    running: BTreeSet<JobId>,
    waiting: BTreeMap<(Instant, u64), Happening>,
    order: u64,
    deadline: Option<Instant>,
}

impl World {
    /// A new node in a world whose peers hold `source`.
    pub fn new(source: TestChain, config: SyncConfig) -> Result<Self, NewMachineError> {
        let start = source.start();
        Self::from(source, config, start)
    }

    /// A node that stands at `start`.
    pub fn from(source: TestChain, config: SyncConfig, start: Start) -> Result<Self, NewMachineError> {
        let header = TraceHeader::new(&config, &start, SEED, Instant::ZERO);
        let machine = Machine::new(config, start, SEED, Instant::ZERO)?;
        Ok(Self {
            header,
            recording: None,
            machine,
            chain: source.chain(),
            source,
            events: Vec::new(),
            requests: Vec::new(),
            machine_time: Duration::ZERO,
            jobs: 0,
            told: Vec::new(),
            decided: Vec::new(),
            bans: Vec::new(),
            applied: Vec::new(),
            applies: Vec::new(),
            calls: Vec::new(),
            lose_jobs: BTreeSet::new(),
            group: None,
            job_time: Box::new(|_| Duration::from_micros(500)),
            threads: None,
            says_begun: true,
            jobs_out: BTreeSet::new(),
            queued: BTreeMap::new(),
            running: BTreeSet::new(),
            tamper: None,
            host: Box::new(Willing),
            now: Instant::ZERO,
            peers: BTreeMap::new(),
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            order: 0,
            deadline: None,
        })
    }

    /// Records everything from here on; to be called before anything happens.
    pub fn record(&mut self) {
        self.recording = Some(Recording::new(&self.header, true));
    }

    /// The trace so far, if one is recorded.
    pub fn trace(&self) -> Option<&Recording> {
        self.recording.as_ref()
    }

    /// Lets `host` answer calls.
    pub fn set_host(&mut self, host: impl Applier + 'static) {
        self.host = Box::new(host);
    }

    /// A peer connects.
    pub fn join(&mut self, name: u8, behaviour: impl Behaviour + 'static) -> PeerId {
        let peer = PeerId::from_bytes([name; 32]);
        self.join_as(peer, self.group.unwrap_or(u64::from(name)), behaviour);
        peer
    }

    /// A peer of this name and group connects.
    pub fn join_as(&mut self, peer: PeerId, group: u64, behaviour: impl Behaviour + 'static) {
        self.peers.insert(peer, Box::new(behaviour));
        self.input(Input::Peer(PeerEvent::Connected { peer, group }));
        self.drain();
    }

    /// A peer goes away; what it was asked is never answered.
    pub fn leave(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
        self.input(Input::Peer(PeerEvent::Disconnected { peer }));
        self.drain();
    }

    /// A peer comes or goes at some time.
    pub fn schedule(&mut self, at: Instant, event: PeerEvent) {
        self.later(at, Happening::Peer(event));
    }

    /// Starts the machine.
    pub fn start(&mut self) {
        self.input(Input::Start(None));
        self.drain();
    }

    /// Stops the machine.
    pub fn stop(&mut self) {
        self.input(Input::Stop);
        self.drain();
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Runs until `done`, or until `limit` has passed. True if it is done.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now.after(limit);
        while !done(self) {
            let next = self.waiting.first_key_value().map(|(&(at, _), _)| at);
            let at = match (next, self.deadline) {
                (Some(next), Some(deadline)) => next.min(deadline),
                (Some(at), None) | (None, Some(at)) => at,
                (None, None) => return false,
            };
            if at > end {
                self.now = end;
                return false;
            }
            self.now = self.now.max(at);
            match next {
                Some(next) if next <= at => {
                    if let Some((_, happening)) = self.waiting.pop_first() {
                        self.happen(happening);
                    }
                }
                _ => self.input(Input::Timeout),
            }
            self.drain();
        }
        true
    }

    /// The machine is told something.
    pub fn tell(&mut self, input: Input) {
        self.input(input);
        self.drain();
    }

    /// The node's engine has decided the blocks of `range`, which lies in one cell. Named after the last of them. At the end
    /// of an epoch the handover comes with them.
    pub fn decide(&mut self, range: HeightRange) -> DecidedId {
        let decided = self.source.decided(range).unwrap_or_else(|| unreachable!("{range} is not on the chain"));
        let id = decided.id;
        self.tell(Input::Decided(decided));
        id
    }

    /// The answer to a submission of the engine.
    pub fn answer(&self, id: DecidedId) -> Option<Result<Height, DecidedError>> {
        self.decided.iter().find(|&&(answered, _)| answered == id).map(|&(_, result)| result)
    }

    /// Runs until everything is applied and the machine says so.
    pub fn run_to_tip(&mut self, limit: Duration) -> bool {
        let tip = self.source.tip_height();
        self.run_until(limit, |world| world.reached() == Some(tip))
    }

    /// The height that the machine said it reached last.
    pub fn reached(&self) -> Option<Height> {
        self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Reached(point) => Some(point.height),
            _ => None,
        })
    }

    /// Requests of some kind that are neither answered nor cancelled.
    pub fn open(&self, kind: impl Fn(&Request) -> bool) -> usize {
        self.open.values().filter(|request| kind(request)).count()
    }

    /// Jobs that were given out and have not come back.
    pub fn jobs_out(&self) -> usize {
        self.jobs_out.len()
    }

    /// Whether `peer` was banned.
    pub fn is_banned(&self, peer: PeerId) -> bool {
        self.bans.iter().any(|&(_, banned)| banned == peer)
    }

    fn later(&mut self, at: Instant, happening: Happening) {
        self.order += 1;
        self.waiting.insert((at, self.order), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Response(id, answer) => {
                if self.open.remove(&id).is_some() {
                    self.input(Input::Response(id, answer));
                }
            }
            Happening::Begun(id) => self.input(Input::Begun(id)),
            Happening::Verdict(job) => {
                self.running.remove(&job.id());
                self.jobs_out.remove(&job.id());
                self.run_jobs();
                let verdict = job.run(&self.chain);
                let verdict = match &mut self.tamper {
                    Some(tamper) => tamper(&job, verdict),
                    None => verdict,
                };
                self.input(Input::Verdict(verdict));
            }
            Happening::Done(done) => self.input(Input::Done(done)),
            Happening::Peer(event) => self.input(Input::Peer(event)),
        }
    }

    /// Gives jobs that wait to threads that have none.
    fn run_jobs(&mut self) {
        while self.threads.is_none_or(|threads| self.running.len() < threads)
            && let Some((_, (number, job))) = self.queued.pop_first()
        {
            // A thread that dies over a job is followed by another one.
            let lost = self.lose_jobs.contains(&number);
            if !lost {
                self.running.insert(job.id());
            }
            if self.says_begun {
                self.later(self.now, Happening::Begun(job.id()));
            }
            if !lost {
                self.later(self.now.after((self.job_time)(&job)), Happening::Verdict(Box::new(job)));
            }
        }
    }

    fn input(&mut self, input: Input) {
        if let Input::Decided(decided) = &input {
            self.told.push(decided.id);
        }
        if let Some(recording) = &mut self.recording {
            recording.input(&self.machine, self.now, &input);
        }
        let begun = std::time::Instant::now();
        self.machine.handle(self.now, input);
        self.machine_time += begun.elapsed();
    }

    fn drain(&mut self) {
        loop {
            let begun = std::time::Instant::now();
            let output = self.machine.poll_output();
            self.machine_time += begun.elapsed();
            if let Some(recording) = &mut self.recording {
                recording.output(&output);
            }
            match output {
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
                output => self.carry_out(output),
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Request { id, peer, request, max_response_bytes } => {
                self.requests.push((self.now, peer, request.clone()));
                self.open.insert(id, request.clone());
                let Some(behaviour) = self.peers.get_mut(&peer) else { return };
                let reply = behaviour.reply_at(self.now, &request, &self.source);
                let Some((after, answer)) = reply.received(max_response_bytes) else { return };
                self.later(self.now.after(after), Happening::Response(id, answer));
            }
            Output::Decided { id, result } => self.decided.push((id, result)),
            Output::CancelRequest(id) => {
                self.open.remove(&id);
            }
            Output::Verify(job) => {
                self.jobs += 1;
                self.jobs_out.insert(job.id());
                // One that a thread is at already is not run twice.
                if !self.running.contains(&job.id()) {
                    self.queued.insert((job.height(), job.id()), (self.jobs, job));
                } else if self.says_begun {
                    self.later(self.now, Happening::Begun(job.id()));
                }
                self.run_jobs();
            }
            Output::Call(call) => {
                self.calls.push((call.id, call.work.name()));
                let done = carry_out(&mut *self.host, &call);
                if let HostWork::Apply(apply) = call.work {
                    if let Some((_, CallDone { result: Ok(HostReply::Applied { through, stopped: None }), .. })) = &done
                        && let Some(range) = apply.range()
                    {
                        let new = self.applied.last().map_or(range.first(), |last| last.next());
                        self.applied.extend((new.get()..=(*through).min(range.last()).get()).map(Height::new));
                    }
                    self.applies.push((self.now, apply));
                }
                if let Some((after, done)) = done {
                    self.later(self.now.after(after), Happening::Done(done));
                }
            }
            Output::Penalize { penalty: Penalty::Lift, .. } => {}
            Output::Penalize { peer, .. } => {
                self.bans.push((self.now, peer));
                // A transport that bans a peer also says that it is gone.
                self.later(self.now, Happening::Peer(PeerEvent::Disconnected { peer }));
            }
            Output::Event(event) => self.events.push((self.now, event)),
            Output::CancelJob(id) => {
                self.jobs_out.remove(&id);
                self.queued.retain(|&(_, queued), _| queued != id);
            }
            Output::Wait(_) => {}
            other => unreachable!("an output that this world doesn't know: {other:?}"),
        }
    }
}
