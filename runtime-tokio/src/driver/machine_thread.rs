//! The machine's own thread: inputs in, outputs carried out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant as Clock};

use hotstuff2_sync::calls::{Apply, HostWork};
use hotstuff2_sync::chain::SegmentRef;
use hotstuff2_sync::config::SyncStrategyType;
use hotstuff2_sync::ids::{CallId, Height, PeerId, RequestId};
use hotstuff2_sync::machine::{
    Event, Input as MachineInput, Machine, Output, PeerEvent, Position, Progress, RequestFailure,
};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::Request;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::apply::{Appliers, ToStore};
use super::cost::Cost;
use super::decided::Submitted;
use super::handle::{Events, SyncEvent};
use super::observe;
use super::pool::Pool;
use super::record::Recording;
use super::{Input, Inputs, StartCall};
use crate::discovery::Discovery;
use crate::monitor::{PeerFailureType, SyncPerformanceMonitor};
use crate::net::Network;
use crate::net::address::group_of;
use crate::penalty::penalize;
use crate::wall_clock;

/// Blocks behind the proven tip up to which a node serves others as much as it may: what one answer closes.
const SERVES_FULLY_WITHIN: u64 = 64;

/// Share that a node may spend on others while it is further behind, in percent: it needs its disk and its CPUs more
/// urgently, and the sooner it is there, the sooner it serves well.
const SERVES_WHILE_BEHIND: u8 = 50;

/// While blocks are downloaded in bulk, inputs are gathered for so long before they go in together. Each time that this
/// thread wakes costs more than an input, the caches being cold; and it is little against the time that a request takes.
const GATHER: Duration = Duration::from_millis(12);
/// The same while so many requests are in flight that others are under way at any moment. With fewer it would cost time:
/// three peers gave a third less where this was used all the time.
const GATHER_FROM_MANY: Duration = Duration::from_millis(24);
/// Requests in flight that are many: more than three peers are asked at once on a short line.
const MANY_REQUESTS: usize = 16;
/// Time between two words to the machine of the time of day, where it asks for them: its own clock stands still while the computer sleeps.
const SAY_TIME_EVERY: Duration = Duration::from_secs(60);
/// Most inputs that go in together.
const MOST_INPUTS: usize = 256;

pub(super) struct MachineThread {
    pub(super) machine: Machine,
    /// Writes down what the machine is told and what it asks for, where that is wanted.
    pub(super) recording: Option<Recording>,
    /// Height at which the sync stops by itself, once it was reached.
    pub(super) until: Option<Height>,
    /// The start of the machine's time.
    pub(super) clock: Clock,
    /// Whether the machine is told the time of day, by which a trusting period ends.
    pub(super) says_time: bool,
    pub(super) runtime: Handle,
    pub(super) network: Arc<dyn Network>,
    pub(super) discovery: Discovery,
    pub(super) pool: Pool,
    pub(super) appliers: Appliers,
    pub(super) inputs: Inputs,
    pub(super) events: Events,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) position: watch::Sender<Position>,
    pub(super) cost: Arc<Cost>,
    pub(super) requests: HashMap<RequestId, (PeerId, AbortHandle)>,
    /// Shortest time between two publications of progress.
    pub(super) publish_every: Duration,
    /// Takes in what all of this costs, where that is wanted.
    pub(super) monitor: Option<SyncPerformanceMonitor>,
    /// Receivers of answers to decided blocks, and the name of the next ones.
    pub(super) submitted: Submitted,
    /// Calls that are out. Kept so that their blocks are freed elsewhere.
    pub(super) applies: HashMap<CallId, Apply>,
    /// The headers that the next blocks link to, kept for the same reason: the machine lets go of them later than of their
    /// blocks.
    pub(super) link: Option<SegmentRef>,
}

impl MachineThread {
    pub(super) fn run(mut self, work: &Receiver<(Clock, Input)>) {
        let mut published = self.clock;
        let mut told = self.clock;
        loop {
            if self.says_time && told.elapsed() >= SAY_TIME_EVERY {
                told = Clock::now();
                self.feed(told, MachineInput::Wall(wall_clock()));
            }
            let mut deadline = self.drain();
            if self.is_at_end() {
                self.until = None;
                self.stop();
                deadline = self.drain();
                self.publish();
            }
            self.publish_position();
            if published.elapsed() >= self.publish_every {
                published = Clock::now();
                self.publish();
            }
            if self.machine.strategy() == SyncStrategyType::Parallel {
                let most = if self.requests.len() < MANY_REQUESTS { GATHER } else { GATHER_FROM_MANY };
                let until = deadline.map_or(most, |at| at.since(self.now()));
                thread::sleep(until.min(most));
            }
            let input = match deadline {
                // The timer fires whether or not others keep the thread busy: inputs carry the time too.
                Some(at) => match work.recv_timeout(at.since(self.now())) {
                    Ok(input) => input,
                    Err(RecvTimeoutError::Timeout) => {
                        self.feed(Clock::now(), MachineInput::Timeout);
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                },
                None => match work.recv() {
                    Ok(input) => input,
                    Err(_) => break,
                },
            };
            let more = work.try_iter().take(MOST_INPUTS);
            if !std::iter::once(input).chain(more).all(|(at, input)| self.take(at, input)) {
                break;
            }
            // What to do about them is decided by the time that it is now.
            self.feed(Clock::now(), MachineInput::Timeout);
        }
        self.stop();
        self.drain();
        // What was handed over is stored, and what was executed persisted, before the last word on progress.
        self.appliers.finish();
        while let Ok((at, input)) = work.try_recv() {
            if let Input::Done(done) = input {
                self.feed(at, MachineInput::Done(done));
            }
        }
        // Nobody is left to do what it asks for now.
        while !matches!(self.poll(), Output::Wait(_)) {}
        // Waits until the trace is written.
        self.recording = None;
        self.progress.send_replace(self.machine.progress());
        // What it takes to free all this belongs to it.
        let cost = Arc::clone(&self.cost);
        drop(self);
        cost.note_machine();
    }

    fn now(&self) -> Instant {
        self.time_of(Clock::now())
    }

    /// The machine's time at `at`.
    fn time_of(&self, at: Clock) -> Instant {
        Instant::from_micros(u64::try_from(at.duration_since(self.clock).as_micros()).unwrap_or(u64::MAX))
    }

    /// Says where the node stands, if that has changed.
    fn publish_position(&self) {
        let position = self.machine.position();
        let height = |position: &Position| position.proven.as_ref().map(|(facts, _)| facts.height);
        self.position.send_if_modified(|known| {
            let same = known.applied == position.applied
                && known.decided == position.decided
                && height(known) == height(&position)
                && known.epoch.epoch() == position.epoch.epoch();
            if !same {
                *known = position;
            }
            !same
        });
    }

    fn publish(&self) {
        self.cost.note_machine();
        let progress = self.machine.progress();
        let is_behind = progress.target.above(progress.current) > SERVES_FULLY_WITHIN;
        self.network.set_serving_percent(if is_behind { SERVES_WHILE_BEHIND } else { 100 });
        if let Some(monitor) = &self.monitor {
            monitor.record_progress(&progress);
        }
        self.progress.send_replace(progress);
    }

    /// All inputs of the machine come this way, so that a trace has all of them.
    fn feed(&mut self, at: Clock, input: MachineInput) {
        let now = self.time_of(at);
        if let Some(recording) = &mut self.recording {
            recording.input(&self.machine, now, &input);
        }
        self.machine.handle(now, input);
    }

    fn poll(&mut self) -> Output {
        let output = self.machine.poll_output();
        if let Some(recording) = &mut self.recording {
            recording.output(&output);
        }
        output
    }

    /// Brings one input to the machine, with the time at which it came. False when it is time to go.
    fn take(&mut self, at: Clock, input: Input) -> bool {
        match input {
            Input::Connected(peer, address) => {
                if let Some(monitor) = &self.monitor {
                    monitor.keep_peer(&peer);
                }
                self.feed(at, MachineInput::Peer(PeerEvent::Connected { peer, group: group_of(address) }));
            }
            Input::Disconnected(peer) => {
                self.let_go(|asked| asked == peer);
                self.feed(at, MachineInput::Peer(PeerEvent::Disconnected { peer }));
                if let Some(monitor) = &self.monitor {
                    monitor.record_peer_failure(&peer, PeerFailureType::Disconnected);
                    monitor.forget_peer(&peer);
                }
            }
            Input::Response(id, answer) => {
                self.requests.remove(&id);
                self.feed(at, MachineInput::Response(id, answer));
            }
            Input::Begun(id) => self.feed(at, MachineInput::Begun(id)),
            Input::Verdict(verdict) => self.feed(at, MachineInput::Verdict(*verdict)),
            Input::Done(done) => {
                let apply = self.applies.remove(&done.id);
                self.feed(at, MachineInput::Done(done));
                if let Some(apply) = apply {
                    let link = apply.parts.last().map(|part| part.segment.clone());
                    let before = std::mem::replace(&mut self.link, link);
                    self.appliers.send(ToStore::Free(apply, before));
                }
            }
            Input::Decided(blocks, answer) => {
                let decided = self.submitted.name(blocks, answer);
                self.feed(at, MachineInput::Decided(decided));
            }
            Input::Start(StartCall { call, until, strategy }) => {
                if let Some(strategy) = strategy {
                    self.feed(at, MachineInput::Strategy(strategy));
                }
                self.until = until;
                self.feed(at, MachineInput::Start(until));
                self.events.send(SyncEvent::Started { until, call });
            }
            Input::Stop(call) => {
                self.stop();
                self.events.send(SyncEvent::Stopped { call });
            }
            Input::Shutdown => return false,
        }
        true
    }

    fn stop(&mut self) {
        self.let_go(|_| true);
        self.feed(Clock::now(), MachineInput::Stop);
    }

    /// Ends requests through no fault of those who were asked. That the machine cancels them then counts for nothing.
    fn let_go(&mut self, asked: impl Fn(PeerId) -> bool) {
        self.requests.retain(|_, (peer, task)| {
            let goes = asked(*peer);
            if goes {
                task.abort();
            }
            !goes
        });
    }

    /// Carries out what the machine asks for, until it asks to wait. Returns the deadline.
    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.poll() {
                Output::Request { id, peer, request, max_response_bytes } => {
                    self.request(id, peer, &request, max_response_bytes);
                }
                Output::CancelRequest(id) => {
                    if let Some((peer, task)) = self.requests.remove(&id) {
                        task.abort();
                        if let Some(monitor) = &self.monitor {
                            monitor.record_peer_failure(&peer, PeerFailureType::GivenUp);
                        }
                    }
                }
                Output::Verify(job) => self.pool.push(job),
                Output::CancelJob(id) => self.pool.cancel(id),
                Output::Call(call) => {
                    if let HostWork::Apply(apply) = &call.work {
                        self.applies.insert(call.id, apply.clone());
                    }
                    self.appliers.send(ToStore::Call(call));
                }
                Output::Decided { id, result } => {
                    // A caller that hears of it finds the position that belongs to it.
                    self.publish_position();
                    self.submitted.answer(id, result);
                }
                Output::Penalize { peer, penalty } => {
                    penalize(&*self.network, Some(&self.discovery), peer, penalty, self.now());
                }
                Output::Event(event) => {
                    if let Some(monitor) = &self.monitor {
                        observe::event(monitor, &event);
                    }
                    // Whoever hears of it finds the position and the progress that belong to it.
                    if matches!(event, Event::Reached(_) | Event::Halted(_) | Event::Stalled { .. } | Event::Resumed) {
                        self.publish_position();
                        self.publish();
                    }
                    self.events.send(SyncEvent::Machine(event));
                }
                Output::Wait(deadline) => return deadline,
                // The enum may grow; what this driver doesn't know it can't do.
                other => tracing::warn!(?other, "the machine asks for something unknown"),
            }
        }
    }

    /// Whether the height is reached at which the sync stops by itself.
    fn is_at_end(&self) -> bool {
        self.until.is_some_and(|until| self.machine.reached().is_some_and(|reached| reached >= until))
    }

    fn request(&mut self, id: RequestId, peer: PeerId, request: &Request, max_response_bytes: u64) {
        let most = usize::try_from(max_response_bytes).unwrap_or(usize::MAX);
        let answer = self.network.request(peer, request.encode().into(), most);
        let inputs = self.inputs.clone();
        let watch = self.monitor.clone().map(|monitor| observe::Asked::new(monitor, peer, request));
        let task = self.runtime.spawn(async move {
            let answer = answer.await.map_err(RequestFailure::from);
            if let Some(asked) = watch {
                asked.answered(&answer);
            }
            inputs.send(Input::Response(id, answer));
        });
        self.requests.insert(id, (peer, task.abort_handle()));
    }
}
