//! The machine itself in small worlds, in every order in which things can happen: answers overtake each other, come
//! after they were given up or never, one peer lies, time-outs fire early, the node crashes and starts again from what
//! its host had made durable.
//!
//! Two things are shown for all interleavings. Safety: what is handed on to be applied is proven, is the chain's, and is
//! in order; the budget holds. Completion: whatever happened, the chain is complete in the end, by a bounded number of
//! deadlines that pass with nothing else to happen.
//!
//! Time is abstract: it moves to the machine's next deadline, when nothing else can happen or, a few times, at any
//! moment. Lies and crashes are bounded too, so that the worlds are finite. Jobs and answers are the real ones.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, BlockPoint, CallDone, HostCall, HostReply, HostWork, Start};
use hotstuff2_sync::chain::native::NativeChain;
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{CallId, Height, PeerId, RequestId};
use hotstuff2_sync::machine::{Input, Machine, Output, PeerEvent, Penalty};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::verify::{HandoverLink, Job, Verdict};
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use stateright::{Checker as _, Model, Property};

const SAFE: &str = "only proven blocks, in order and within the budget, and nobody honest is banned";
const COMPLETE: &str = "the chain is complete in the end";

#[derive(Clone)]
struct World {
    chain: Arc<TestChain>,
    native: NativeChain,
    config: SyncConfig,
    honest: u8,
    liars: u8,
    /// Lies that may be told, all in all.
    lies: u32,
    crashes: u32,
    /// Deadlines that may pass although something else could happen.
    early: u32,
    /// Deadlines that may pass with nothing else to happen before the chain must be complete.
    patience: u32,
    /// Whether answers still come that were given up.
    late: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    machine: Machine,
    now: Instant,
    deadline: Option<Instant>,
    pending: Vec<Pending>,
    /// What the host has made durable.
    applied: Height,
    handovers: Vec<HandoverLink>,
    lies: u32,
    crashes: u32,
    early: u32,
    /// Deadlines that passed with nothing else to happen.
    idle: u32,
    violation: Option<&'static str>,
}

/// What may happen next. The machine's ids in it are never used again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Pending {
    Answer { id: RequestId, peer: PeerId, request: Request, given_up: bool },
    Job(Box<Job>),
    Apply(CallId, Apply),
    Store(CallId, Vec<HandoverLink>),
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    /// An answer is honest, a job or call is done.
    Happens(usize),
    /// A liar's answer.
    Lie(usize, Lie),
    /// The next deadline passes.
    Deadline,
    /// The node dies and starts again; calls were carried out before, or not.
    Crash { done: bool },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    /// One bit is another.
    Flipped,
    /// It has nothing.
    Refused,
    /// From a chain of its own making.
    Forged,
    /// Nothing is ever said.
    Silent,
}

/// The liars' own chain: the same heights under other validators.
static FORGED: LazyLock<TestChain> = LazyLock::new(|| chain(99, 3, 2));
static VERDICTS: LazyLock<Mutex<HashMap<Vec<u8>, Verdict>>> = LazyLock::new(Mutex::default);

fn chain(seed: u64, blocks: u64, epochs: u64) -> TestChain {
    TestChain::with_payloads(ChainSpec { seed, blocks, epochs, ..ChainSpec::default() }, 10, None).unwrap()
}

impl World {
    fn new(chain: TestChain, strategy: SyncStrategyType) -> Self {
        let config = SyncConfig { default_strategy: strategy, ..SyncConfig::default() };
        let native = chain.chain();
        Self {
            chain: Arc::new(chain),
            native,
            config,
            honest: 1,
            liars: 0,
            lies: 0,
            crashes: 0,
            early: 0,
            patience: 40,
            late: false,
        }
    }

    fn peers(&self) -> impl Iterator<Item = PeerId> {
        (1..=self.honest + self.liars).map(|name| PeerId::from_bytes([name; 32]))
    }

    fn lies(&self, peer: PeerId) -> bool {
        peer.as_bytes()[0] > self.honest
    }

    /// A node that starts from what is durable.
    fn boot(&self, applied: Height, handovers: &[HandoverLink], now: Instant) -> Machine {
        let genesis = self.chain.start();
        let own = self.chain.epoch_of(applied).unwrap().info().to_ref();
        let start = Start {
            stored: BlockPoint { height: applied, id: self.chain.id(applied).unwrap() },
            applied,
            handovers: handovers.iter().filter(|link| link.ended >= own.epoch()).cloned().collect(),
            epoch: own,
            ..genesis
        };
        let mut machine = Machine::new(self.config.clone(), start, 7, now).unwrap();
        for peer in self.peers() {
            let group = u64::from(peer.as_bytes()[0]);
            machine.handle(now, Input::Peer(PeerEvent::Connected { peer, group }));
        }
        machine.handle(now, Input::Start(None));
        machine
    }

    fn drain(&self, state: &mut State) {
        loop {
            match state.machine.poll_output() {
                Output::Wait(deadline) => {
                    state.deadline = deadline;
                    break;
                }
                Output::Request { id, peer, request, .. } => {
                    state.pending.push(Pending::Answer { id, peer, request, given_up: false });
                }
                Output::CancelRequest(given) => {
                    for pending in &mut state.pending {
                        if let Pending::Answer { id, given_up, .. } = pending
                            && *id == given
                        {
                            *given_up = true;
                        }
                    }
                }
                Output::CancelJob(id) => {
                    state.pending.retain(|pending| !matches!(pending, Pending::Job(job) if job.id() == id));
                }
                Output::Verify(job) => {
                    // One that comes again is out already.
                    let is_out = |pending: &Pending| matches!(pending, Pending::Job(out) if out.id() == job.id());
                    if !state.pending.iter().any(is_out) {
                        state.pending.push(Pending::Job(Box::new(job)));
                    }
                }
                Output::Call(HostCall { id, work: HostWork::Apply(apply) }) => {
                    if !self.is_right(&apply, state) {
                        state.violation = Some("a block that is not the chain's next");
                    }
                    state.pending.push(Pending::Apply(id, apply));
                }
                Output::Call(HostCall { id, work: HostWork::StoreHandovers(links) }) => {
                    state.pending.push(Pending::Store(id, links));
                }
                Output::Penalize { peer, penalty: Penalty::Ban { .. } } => {
                    if !self.lies(peer) {
                        state.violation = Some("an honest peer is banned");
                    }
                    state.machine.handle(state.now, Input::Peer(PeerEvent::Disconnected { peer }));
                }
                Output::Event(_) => {}
                other => panic!("nothing of this kind belongs here: {other:?}"),
            }
        }
        if !self.late {
            state.pending.retain(|pending| !matches!(pending, Pending::Answer { given_up: true, .. }));
        }
        let progress = state.machine.progress();
        if progress.buffered_bytes > progress.budget_bytes {
            state.violation = Some("more than the budget");
        }
        if self.is_done(state) {
            // Whatever may still happen changes nothing that is looked at.
            state.pending.clear();
        }
    }

    /// Whether the blocks to apply are the chain's, and follow what was applied or is on its way to be.
    fn is_right(&self, apply: &Apply, state: &State) -> bool {
        let on_its_way = state.pending.iter().filter_map(|pending| match pending {
            Pending::Apply(_, apply) => apply.range().map(HeightRange::last),
            _ => None,
        });
        let highest = on_its_way.fold(state.applied, Height::max);
        let Some(range) = apply.range() else { return false };
        let ids = apply.parts.iter().flat_map(|part| {
            let own = part.range().unwrap();
            let ids = part.segment.ids(&self.native, own).unwrap();
            (own.first().get()..).map(Height::new).zip(ids)
        });
        let bodies = apply.parts.iter().flat_map(|part| &part.frames).all(|frame| {
            let honest: Vec<u8> = (frame.range.first().get()..=frame.range.last().get())
                .flat_map(|height| self.chain.payload(Height::new(height)).unwrap())
                .collect();
            frame.raw == honest
        });
        let mut ids = ids;
        range.first() <= highest.next() && ids.all(|(height, id)| self.chain.id(height) == Some(id)) && bodies
    }

    fn is_done(&self, state: &State) -> bool {
        state.applied == self.chain.tip_height()
    }

    fn answer(&self, request: &Request, lie: Option<Lie>) -> Bytes {
        match lie {
            None => self.chain.respond(request),
            Some(Lie::Forged) => FORGED.respond(request),
            Some(Lie::Refused) => encode_refusal(Refusal::NotAvailable),
            Some(Lie::Flipped) => {
                let mut bytes = self.chain.respond(request).to_vec();
                *bytes.last_mut().unwrap() ^= 1;
                bytes.into()
            }
            Some(Lie::Silent) => unreachable!("that is no answer"),
        }
    }

    /// A peer that has nothing new holds the question: it says nothing.
    fn is_held(&self, request: &Request) -> bool {
        matches!(request, Request::Follow { after, .. } if *after >= self.chain.tip_height())
    }

    fn verdict(&self, job: &Job) -> Verdict {
        let name = format!("{:?}", (job.id(), job.task())).into_bytes();
        VERDICTS.lock().unwrap().entry(name).or_insert_with(|| job.run(&self.native)).clone()
    }

    fn carried_out(&self, state: &mut State, pending: &Pending) {
        match pending {
            Pending::Apply(_, apply) => state.applied = state.applied.max(apply.range().unwrap().last()),
            Pending::Store(_, links) => {
                for link in links {
                    if !state.handovers.iter().any(|known| known.ended == link.ended) {
                        state.handovers.push(link.clone());
                    }
                }
            }
            Pending::Answer { .. } | Pending::Job(_) => {}
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let now = Instant::ZERO;
        let mut state = State {
            machine: self.boot(Height::ZERO, &[], now),
            now,
            deadline: None,
            pending: Vec::new(),
            applied: Height::ZERO,
            handovers: Vec::new(),
            lies: self.lies,
            crashes: self.crashes,
            early: self.early,
            idle: 0,
            violation: None,
        };
        self.drain(&mut state);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if self.is_done(state) || state.violation.is_some() {
            return;
        }
        for (index, pending) in state.pending.iter().enumerate() {
            match pending {
                Pending::Answer { request, .. } if self.is_held(request) => {}
                Pending::Answer { peer, .. } => {
                    actions.push(Action::Happens(index));
                    if self.lies(*peer) && state.lies > 0 {
                        let lies = [Lie::Flipped, Lie::Refused, Lie::Forged, Lie::Silent];
                        actions.extend(lies.map(|lie| Action::Lie(index, lie)));
                    }
                }
                Pending::Job(_) | Pending::Apply(..) | Pending::Store(..) => actions.push(Action::Happens(index)),
            }
        }
        let nothing_else = actions.is_empty();
        if state.deadline.is_some() && (state.early > 0 || (nothing_else && state.idle < self.patience)) {
            actions.push(Action::Deadline);
        }
        if state.crashes > 0 {
            actions.push(Action::Crash { done: false });
            if state.pending.iter().any(|pending| matches!(pending, Pending::Apply(..) | Pending::Store(..))) {
                actions.push(Action::Crash { done: true });
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Happens(index) => match state.pending.remove(index) {
                Pending::Answer { id, request, .. } => {
                    state.machine.handle(state.now, Input::Response(id, Ok(self.answer(&request, None))));
                }
                Pending::Job(job) => state.machine.handle(state.now, Input::Verdict(self.verdict(&job))),
                done => {
                    self.carried_out(&mut state, &done);
                    let done = match done {
                        Pending::Apply(id, _) => CallDone::applied(id, state.applied, None),
                        Pending::Store(id, _) => CallDone { id, result: Ok(HostReply::HandoversStored) },
                        Pending::Answer { .. } | Pending::Job(_) => return None,
                    };
                    state.machine.handle(state.now, Input::Done(done));
                }
            },
            Action::Lie(index, lie) => {
                state.lies -= 1;
                let Pending::Answer { id, request, .. } = state.pending.remove(index) else { return None };
                if lie != Lie::Silent {
                    state.machine.handle(state.now, Input::Response(id, Ok(self.answer(&request, Some(lie)))));
                }
            }
            Action::Deadline => {
                let nothing_else = !state.pending.iter().any(|pending| match pending {
                    Pending::Answer { request, .. } => !self.is_held(request),
                    _ => true,
                });
                if nothing_else {
                    state.idle += 1;
                } else {
                    state.early -= 1;
                }
                state.now = state.now.max(state.deadline?);
                state.machine.handle(state.now, Input::Timeout);
            }
            Action::Crash { done } => {
                state.crashes -= 1;
                for pending in std::mem::take(&mut state.pending) {
                    if done {
                        self.carried_out(&mut state, &pending);
                    }
                }
                state.machine = self.boot(state.applied, &state.handovers, state.now);
            }
        }
        self.drain(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |_: &Self, state: &State| state.violation.is_none()),
            Property::always(COMPLETE, |world: &Self, state: &State| {
                let mut next = Vec::new();
                world.actions(state, &mut next);
                !next.is_empty() || world.is_done(state) || state.violation.is_some()
            }),
        ]
    }
}

fn explore(name: &str, world: World) {
    let checker = world.checker().threads(2).spawn_bfs().join();
    println!("{name}: {} states, depth {}", checker.unique_state_count(), checker.max_depth());
    for property in [SAFE, COMPLETE] {
        if let Some(path) = checker.discovery(property) {
            let last = path.last_state();
            panic!(
                "{name}, {property}: {:?}\n{:#?}\n{:#?}",
                last.violation,
                path.clone().into_actions(),
                last.machine.progress()
            );
        }
    }
    assert!(checker.is_done() && checker.unique_state_count() > 50);
}

/// A small chain, with both strategies that fetch blocks.
fn worlds(blocks: u64, epochs: u64) -> [(&'static str, World); 2] {
    [("incremental", SyncStrategyType::Incremental), ("parallel", SyncStrategyType::Parallel)]
        .map(|(name, strategy)| (name, World::new(chain(1, blocks, epochs), strategy)))
}

#[test]
fn two_honest_peers_in_every_order() {
    for (name, world) in worlds(3, 1) {
        explore(&format!("{name}, two honest peers"), World { honest: 2, late: true, ..world });
    }
    let [_, (name, world)] = worlds(3, 2);
    explore(&format!("{name}, two honest peers, two epochs"), World { honest: 2, ..world });
}

#[test]
fn a_liar_costs_time_and_nothing_else() {
    for (name, world) in worlds(3, 1) {
        explore(&format!("{name}, a liar that lies twice"), World { liars: 1, lies: 2, ..world });
    }
}

#[test]
fn crashes_and_early_deadlines_lose_nothing() {
    for (name, world) in worlds(3, 2) {
        let world = World { crashes: 2, early: 1, late: true, ..world };
        explore(&format!("{name}, two crashes, two epochs"), world);
    }
    for (name, world) in worlds(2, 1) {
        let world = World { honest: 2, crashes: 1, early: 1, late: true, ..world };
        explore(&format!("{name}, two peers, a crash, an early deadline"), world);
    }
}

#[test]
fn a_world_without_time_is_found_to_stand_still() {
    // The only peer may fall silent, and no deadline passes.
    let [(_, world), _] = worlds(3, 1);
    let checker = World { honest: 0, liars: 1, lies: 1, patience: 0, ..world }.checker().spawn_bfs().join();
    assert!(checker.discovery(SAFE).is_none() && checker.discovery(COMPLETE).is_some());
}
