//! Every oracle of the simulator on trial: a [`Doctor`] breaks the rule that it watches, or the world does, and it must
//! say so. Without that the same world keeps every law.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, HistoryPiece, HostCall, HostError, HostWork, Start};
use hotstuff2_sync::chain::native::{FinalityProof, FinalizedHeader, Phase, Segment};
use hotstuff2_sync::chain::{CheckError, Fault};
use hotstuff2_sync::config::{SyncConfig, SyncHistory, SyncStrategyType};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{CallId, Height};
use hotstuff2_sync::machine::{Event, HaltReason, Output};
use hotstuff2_sync::state::MemoryStateStore;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::verify::{Job, Outcome, Task, Verdict};
use hotstuff2_sync::wire::{BodyFrame, Sections, put_section};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::sim::{
    Adversary, CachedChain, Doctor, JoinerSpec, Law, Lie, Line, Link, Minority, NetworkSimulator, NodeId, Nuisance,
    ServerSpec, Source, Step, Violation,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A doctor of outputs.
struct Bends<F>(F);

/// The blocks of an output that has blocks applied.
fn apply_of(output: &mut Output) -> Option<&mut Apply> {
    match output {
        Output::Call(HostCall { work: HostWork::Apply(apply), .. }) => Some(apply),
        _ => None,
    }
}

/// The piece of an output that has history added.
fn history_of(output: &mut Output) -> Option<&mut HistoryPiece> {
    match output {
        Output::Call(HostCall { work: HostWork::AddHistory(piece), .. }) => Some(piece),
        _ => None,
    }
}

impl<F: FnMut(Output) -> Option<Output>> Doctor for Bends<F> {
    fn output(&mut self, output: Output) -> Option<Output> {
        (self.0)(output)
    }
}

/// A doctor of what verification says.
struct Believes<F>(F);

impl<F: FnMut(&Job) -> Option<Result<Outcome, Fault>>> Doctor for Believes<F> {
    fn verdict(&mut self, job: &Job, verdict: Verdict) -> Verdict {
        (self.0)(job).map_or(verdict, |outcome| Verdict::from_host(job, outcome.map_err(CheckError::False), 1))
    }
}

fn source(blocks: u64, epochs: u64, payload: u32) -> Arc<dyn Source> {
    let spec = ChainSpec { blocks, epochs, ..ChainSpec::default() };
    Arc::new(CachedChain::new(TestChain::with_payloads(spec, payload, None).unwrap(), None))
}

fn ledger(blocks: u64, accounts: u32) -> Arc<dyn Source> {
    let spec = ChainSpec { blocks, epochs: 2, snapshot_interval: blocks / 2, ..ChainSpec::default() };
    Arc::new(CachedChain::new(TestChain::with_ledger(spec, accounts, 100).unwrap(), Some(accounts)))
}

fn lying(adversary: impl Adversary + 'static) -> ServerSpec {
    ServerSpec { adversaries: vec![Box::new(adversary)], ..ServerSpec::default() }
}

fn world(source: &Arc<dyn Source>, server: ServerSpec, joiner: JoinerSpec) -> (NetworkSimulator, NodeId) {
    let mut sim = NetworkSimulator::new(1, Arc::clone(source), Link::with_latency(Duration::from_millis(10)));
    let server = sim.add_server(server);
    let joiner = sim.add_joiner(JoinerSpec { contacts: vec![server], ..joiner });
    sim.schedule(Instant::ZERO, Step::Start(joiner));
    (sim, joiner)
}

/// What the oracles say to a node with this doctor. With none they must say nothing.
fn trial(source: &Arc<dyn Source>, config: &SyncConfig, doctor: impl Doctor + 'static) -> Violation {
    let spec = || JoinerSpec { config: config.clone(), ..JoinerSpec::default() };
    let (mut healthy, _) = world(source, ServerSpec::default(), spec());
    assert_eq!(healthy.run_to_history(MINUTE * 10), Ok(()));
    let (mut sim, _) = world(source, ServerSpec::default(), JoinerSpec { doctor: Some(Box::new(doctor)), ..spec() });
    sim.run_until(MINUTE * 10, |_| false).expect_err("a law is broken")
}

fn parallel() -> SyncConfig {
    SyncConfig { default_strategy: SyncStrategyType::Parallel, ..SyncConfig::default() }
}

fn fast() -> SyncConfig {
    SyncConfig {
        default_strategy: SyncStrategyType::Fast,
        state_after: Duration::ZERO,
        memory_budget: 8 << 20,
        ..SyncConfig::default()
    }
}

#[track_caller]
fn assert_says(violation: &Violation, law: Law, words: &str) {
    assert!(violation.law == law && violation.what.contains(words), "{violation}");
}

/// The proof with a quorum's certificate in the place of whatever signs it.
fn signed(chain: &TestChain, proof: &FinalityProof) -> Option<FinalityProof> {
    let FinalityProof::TwoChain { descendants, .. } = proof.clone() else { return None };
    let qc = chain.epochs().first()?.certify(Phase::One, descendants.last()?);
    Some(FinalityProof::TwoChain { descendants, qc })
}

/// What a job would find if signatures were not counted.
fn uncounted(chain: &TestChain, job: &Job) -> Option<Outcome> {
    let mut task = job.task().clone();
    match &mut task {
        Task::Tip { bytes, .. } => {
            let tip = FinalizedHeader::decode(bytes).ok()?;
            let proof = signed(chain, &tip.proof)?;
            *bytes = FinalizedHeader::new(tip.header, proof).encode().into();
        }
        Task::Segment { bytes, .. } | Task::Follow { bytes, .. } => {
            let mut sections = Sections::new(bytes.clone());
            let segment = Segment::decode(&sections.take()?).ok()?;
            let proof = signed(chain, segment.proof())?;
            let segment = Segment::new(segment.parent().clone(), segment.headers().to_vec(), proof).ok()?;
            let mut counted = Vec::new();
            put_section(&mut counted, &segment.encode()).then_some(())?;
            counted.extend_from_slice(&sections.rest());
            *bytes = Bytes::from(counted);
        }
        _ => return None,
    }
    task.prove(&chain.chain()).ok()
}

#[test]
fn the_oracle_sees_an_unproven_block() {
    // Those who may be faulty sign a chain of their own, and the node doesn't count them.
    let source = source(1300, 1, 100);
    let fork = source.test_chain().unwrap().fork(Height::new(400)).unwrap();
    let served: Arc<dyn Source> = Arc::new(CachedChain::new(fork.clone(), None));
    let strict = world(&source, lying(Minority(Arc::clone(&served))), JoinerSpec::default());
    let (mut sim, joiner) = strict;
    assert_eq!(sim.run_until(MINUTE, |_| false), Ok(false), "who counts believes nothing of it");
    assert_eq!(sim.applied(joiner), Height::ZERO);
    let doctor = Believes(move |job: &Job| uncounted(&fork, job).map(Ok));
    let careless = JoinerSpec { doctor: Some(Box::new(doctor)), ..JoinerSpec::default() };
    let (mut sim, _) = world(&source, lying(Minority(served)), careless);
    assert_says(&sim.run_until(MINUTE, |_| false).unwrap_err(), Law::Truth, "is not the block at");
}

#[test]
fn the_oracle_sees_another_payload() {
    let bend = |mut output: Output| {
        if let Some(apply) = apply_of(&mut output) {
            let frame = &mut apply.parts[0].frames[0];
            let mut raw = frame.raw.to_vec();
            raw[17] ^= 1;
            frame.raw = raw.into();
        }
        Some(output)
    };
    assert_says(&trial(&source(300, 2, 100), &parallel(), Bends(bend)), Law::Truth, "other payloads in");
}

#[test]
fn the_oracle_sees_a_false_arrival() {
    let bend = |mut output: Output| {
        if let Output::Event(Event::Reached(point)) = &mut output {
            point.height = point.height.next();
        }
        Some(output)
    };
    assert_says(&trial(&source(300, 2, 100), &parallel(), Bends(bend)), Law::Truth, "is applied");
    let bend = |mut output: Output| {
        if let Output::Event(Event::Reached(point)) = &mut output {
            point.id = Hash::ZERO;
        }
        Some(output)
    };
    assert_says(&trial(&source(300, 2, 100), &parallel(), Bends(bend)), Law::Truth, "is not the block at");
}

#[test]
fn the_oracle_sees_blocks_out_of_order() {
    let bent = |source: &Arc<dyn Source>, bend: fn(&mut Output)| {
        let doctor = Bends(move |mut output: Output| {
            bend(&mut output);
            Some(output)
        });
        trial(source, &parallel(), doctor)
    };
    let source = source(600, 2, 10_000);
    let first_is_missing = bent(&source, |output| {
        if let Some(apply) = apply_of(output)
            && apply.parts[0].frames.len() > 1
        {
            apply.parts[0].frames.remove(0);
        }
    });
    assert_says(&first_is_missing, Law::Order, "belongs");
    let turned = bent(&source, |output| {
        if let Some(apply) = apply_of(output)
            && apply.parts[0].frames.len() > 2
        {
            apply.parts[0].frames.swap(0, 1);
        }
    });
    assert_says(&turned, Law::Order, "belongs");
    let nothing = bent(&source, |output| {
        if let Some(apply) = apply_of(output) {
            apply.parts.clear();
        }
    });
    assert_says(&nothing, Law::Order, "an empty call");
    let one_name = bent(&source, |output| {
        if let Output::Call(call @ HostCall { work: HostWork::Apply(_), .. }) = output {
            call.id = CallId::FIRST;
        }
    });
    assert_says(&one_name, Law::Order, "came with");
    let before_its_handover = bent(&source, |output| {
        if let Output::Call(HostCall { work: HostWork::StoreHandovers(links), .. }) = output {
            links.clear();
        }
    });
    assert_says(&before_its_handover, Law::Order, "handovers to 0 stored");
}

#[test]
fn the_oracle_sees_two_states_at_one_height() {
    let executed = ledger(120, 30);
    let (mut sim, joiner) =
        world(&executed, ServerSpec::default(), JoinerSpec { config: parallel(), ..Default::default() });
    assert_eq!(sim.run_until(MINUTE, |sim| sim.applied(joiner) > Height::ZERO), Ok(true));
    // The disk forgets between the execution and its acknowledgement.
    sim.disk(joiner).state().unwrap().held.borrow_mut().live = MemoryStateStore::default();
    assert_says(&sim.run_until(MINUTE, |_| false).unwrap_err(), Law::Truth, "is not the state root at");

    let fetched = ledger(300, 2000);
    let of_another_root = |mut output: Output| {
        if let Output::Call(HostCall { work: HostWork::Activate(base), .. }) = &mut output {
            base.state_root = Hash::ZERO;
        }
        Some(output)
    };
    assert_says(&trial(&fetched, &fast(), Bends(of_another_root)), Law::Truth, "is not the state root at");
    let of_another_block = |mut output: Output| {
        if let Output::Call(HostCall { work: HostWork::Activate(base), .. }) = &mut output {
            base.point.id = Hash::ZERO;
        }
        Some(output)
    };
    assert_says(&trial(&fetched, &fast(), Bends(of_another_block)), Law::Truth, "is not the block at");
}

/// The machine was given more memory than the node has.
struct Generous;

impl Doctor for Generous {
    fn config(&mut self, config: SyncConfig) -> SyncConfig {
        SyncConfig { memory_budget: 16 * config.memory_budget, ..config }
    }
}

#[test]
fn the_oracle_sees_more_memory_than_the_budget() {
    let source = source(400, 1, 60_000);
    let slow = |doctor| {
        let config = SyncConfig { memory_budget: 8 << 20, call_timeout: MINUTE, ..parallel() };
        let line = Line { up: u64::MAX, down: u64::MAX };
        let spec = JoinerSpec { config, line, disk: Duration::from_secs(20), doctor, ..JoinerSpec::default() };
        world(&source, ServerSpec { line, ..ServerSpec::default() }, spec)
    };
    let (mut healthy, _) = slow(None);
    assert_eq!(healthy.run_to_tip(MINUTE * 10), Ok(()));
    // What is given out alone is too much, whatever the machine says that it holds.
    let (mut sim, _) = slow(Some(Box::new(Generous)));
    assert_says(&sim.run_until(MINUTE * 10, |_| false).unwrap_err(), Law::Budget, "are given out");
    // And where little is given out, the machine's own accounts are held against the budget.
    let doctor = Bends(|output| {
        Some(output).filter(|output| !matches!(output, Output::Call(HostCall { work: HostWork::Apply(_), .. })))
    });
    let (mut sim, _) = slow(Some(Box::new(Both(Generous, doctor))));
    let broken = sim.run_until(MINUTE, |_| false).and_then(|_| sim.account()).unwrap_err();
    assert_says(&broken, Law::Budget, "bytes");
    assert!(!broken.what.contains("given out"), "{broken}");
}

/// One doctor after the other.
struct Both<A, B>(A, B);

impl<A: Doctor, B: Doctor> Doctor for Both<A, B> {
    fn config(&mut self, config: SyncConfig) -> SyncConfig {
        self.1.config(self.0.config(config))
    }

    fn start(&mut self, start: Start) -> Start {
        self.1.start(self.0.start(start))
    }

    fn verdict(&mut self, job: &Job, verdict: Verdict) -> Verdict {
        let verdict = self.0.verdict(job, verdict);
        self.1.verdict(job, verdict)
    }

    fn output(&mut self, output: Output) -> Option<Output> {
        self.1.output(self.0.output(output)?)
    }
}

#[test]
fn the_oracle_sees_an_honest_peer_banned() {
    // Verification that finds fault with what is right.
    let doctor = Believes(|job: &Job| matches!(job.task(), Task::Segment { .. }).then_some(Err(Fault::Malformed)));
    assert_says(&trial(&source(300, 2, 100), &parallel(), doctor), Law::Blame, "never said anything false");
}

#[test]
fn the_oracle_sees_a_silent_stall() {
    let source = source(300, 2, 100);
    let stalled = |doctor: Option<Box<dyn Doctor>>| {
        let spec = JoinerSpec { doctor, ..JoinerSpec::default() };
        let (mut sim, _) = world(&source, lying(Nuisance::Silent), spec);
        sim.run_until(MINUTE * 5, |_| false)
    };
    assert_eq!(stalled(None), Ok(false), "who says why may stand still");
    let says_nothing = |output| Some(output).filter(|output| !matches!(output, Output::Event(Event::Stalled { .. })));
    assert_says(&stalled(Some(Box::new(Bends(says_nothing)))).unwrap_err(), Law::Stall, "not a word about it");
    let plans_nothing = |output| Some(output).filter(|output| !matches!(output, Output::Wait(_)));
    assert_says(&stalled(Some(Box::new(Bends(plans_nothing)))).unwrap_err(), Law::Stall, "no deadline");
    let plans_for_yesterday = |mut output: Output| {
        if let Output::Event(Event::Stalled { next, .. }) = &mut output {
            *next = Instant::ZERO;
        }
        Some(output)
    };
    assert_says(&stalled(Some(Box::new(Bends(plans_for_yesterday)))).unwrap_err(), Law::Stall, "next step");
}

#[test]
fn the_oracle_sees_a_halt_without_evidence() {
    let halts = |reason: HaltReason| {
        Bends(move |output: Output| match output {
            Output::Event(Event::Reached(_)) => Some(Output::Event(Event::Halted(reason.clone()))),
            other => Some(other),
        })
    };
    let source = source(300, 1, 100);
    let broken = trial(&source, &parallel(), halts(HaltReason::Store(HostError::Permanent)));
    assert_says(&broken, Law::Halt, "storing handovers");
    let conflict = || HaltReason::ConflictingFinality { height: Height::new(200), evidence: Bytes::new() };
    assert_says(&trial(&source, &parallel(), halts(conflict())), Law::Halt, "only one chain is final");
    // Even where validators equivocate, evidence has to show it.
    let fork: Arc<dyn Source> =
        Arc::new(CachedChain::new(source.test_chain().unwrap().fork(Height::new(100)).unwrap(), None));
    let mut sim =
        NetworkSimulator::new(1, Arc::clone(&source), Link::with_latency(Duration::from_millis(10))).with_fork(fork);
    let contacts = vec![sim.add_server(ServerSpec::default())];
    let doctor: Option<Box<dyn Doctor>> = Some(Box::new(halts(conflict())));
    let joiner = sim.add_joiner(JoinerSpec { contacts, doctor, ..JoinerSpec::default() });
    sim.schedule(Instant::ZERO, Step::Start(joiner));
    assert_says(&sim.run_until(MINUTE, |_| false).unwrap_err(), Law::Halt, "evidence that doesn't hold");
}

#[test]
fn the_oracle_sees_false_history() {
    let config = SyncConfig { history: SyncHistory::Blocks, memory_budget: 16 << 20, ..fast() };
    let source = ledger(300, 200);
    let bent = |bend: fn(&mut Vec<BodyFrame>)| {
        let doctor = Bends(move |mut output: Output| {
            if let Some(piece) = history_of(&mut output)
                && let Some(frames) = &mut piece.frames
            {
                bend(frames);
            }
            Some(output)
        });
        trial(&source, &config, doctor)
    };
    let other = bent(|frames| {
        let mut raw = frames[0].raw.to_vec();
        raw[0] ^= 1;
        frames[0].raw = raw.into();
    });
    assert_says(&other, Law::Truth, "other payloads in");
    assert_says(&bent(|frames| frames.push(frames[0].clone())), Law::Order, "belongs");
    assert_says(&bent(|frames| drop(frames.pop())), Law::Order, "without all of its blocks");
    // The machine is told of one piece, and the host gets another that lies deeper.
    let mut held: Option<HistoryPiece> = None;
    let left_out = Bends(move |mut output: Output| {
        if let Some(piece) = history_of(&mut output) {
            match &held {
                Some(before) => *piece = before.clone(),
                None => held = Some(piece.clone()),
            }
        }
        Some(output)
    });
    assert_says(&trial(&source, &config, left_out), Law::Order, "where");
}

#[test]
fn the_oracle_sees_history_that_is_forgotten() {
    let config = SyncConfig { history: SyncHistory::Headers, ..fast() };
    let (mut sim, joiner) =
        world(&ledger(300, 200), ServerSpec::default(), JoinerSpec { config, ..JoinerSpec::default() });
    assert_eq!(sim.run_to_history(MINUTE), Ok(()));
    restart(&mut sim, joiner);
    assert_eq!(sim.run_until(MINUTE, |_| false), Ok(false), "a restart alone loses nothing");
    sim.disk(joiner).lose_history();
    restart(&mut sim, joiner);
    assert_says(&sim.run_until(MINUTE, |_| false).unwrap_err(), Law::Durability, "history is stored down to");
}

/// The machine of a second life is told that the node has nothing.
struct Forgetful(Start, u32);

impl Doctor for Forgetful {
    fn start(&mut self, start: Start) -> Start {
        self.1 += 1;
        if self.1 == 1 { start } else { self.0.clone() }
    }
}

fn restart(sim: &mut NetworkSimulator, joiner: NodeId) {
    sim.schedule(sim.now(), Step::Crash(joiner));
    sim.schedule(sim.now(), Step::Start(joiner));
}

#[test]
fn the_oracle_sees_a_disk_that_forgets() {
    let source = source(300, 2, 100);
    let (mut sim, joiner) = world(&source, ServerSpec::default(), JoinerSpec::default());
    assert_eq!(sim.run_to_tip(MINUTE), Ok(()));
    restart(&mut sim, joiner);
    assert_eq!(sim.run_until(MINUTE, |_| false), Ok(false), "a restart alone loses nothing");
    // As if the file system had thrown away what it had promised to keep.
    sim.disk(joiner).lose(&*source);
    restart(&mut sim, joiner);
    assert_says(&sim.run_until(MINUTE, |_| false).unwrap_err(), Law::Durability, "acknowledged were");
}

#[test]
fn the_oracle_sees_what_is_asked_for_again() {
    let source = source(300, 2, 100);
    let doctor: Option<Box<dyn Doctor>> = Some(Box::new(Forgetful(source.start(), 0)));
    let (mut sim, joiner) = world(&source, ServerSpec::default(), JoinerSpec { doctor, ..JoinerSpec::default() });
    assert_eq!(sim.run_to_tip(MINUTE), Ok(()));
    restart(&mut sim, joiner);
    assert_says(&sim.run_until(MINUTE, |_| false).unwrap_err(), Law::Durability, "asks for what was acknowledged");

    let states = ledger(300, 20_000);
    let slow = || JoinerSpec { config: fast(), ..JoinerSpec::default() };
    let staged = |sim: &mut NetworkSimulator, joiner: NodeId| {
        let held = std::rc::Rc::clone(&sim.disk(joiner).state().unwrap().held);
        assert_eq!(sim.run_until(MINUTE, |_| held.borrow().stagings.len() >= 2), Ok(true));
        // Until it is acknowledged, and before all is there.
        assert_eq!(sim.run_until(Duration::from_millis(5), |_| false), Ok(false));
        assert!(held.borrow().activated.is_none());
    };
    let (mut sim, joiner) = world(&states, ServerSpec::default(), slow());
    staged(&mut sim, joiner);
    restart(&mut sim, joiner);
    assert_eq!(sim.run_to_tip(MINUTE * 10), Ok(()), "what is staged is not fetched again");
    let (mut sim, joiner) = world(&states, ServerSpec::default(), slow());
    staged(&mut sim, joiner);
    sim.disk(joiner).state().unwrap().held.borrow_mut().staged.clear();
    restart(&mut sim, joiner);
    let broken = sim.run_until(MINUTE * 10, |_| false).unwrap_err();
    assert_says(&broken, Law::Durability, "asks for what was acknowledged");
}

#[test]
fn the_oracle_sees_who_does_not_arrive() {
    let source = source(300, 2, 100);
    let (mut sim, _) = world(&source, lying(Lie::LastBit), JoinerSpec::default());
    assert_says(&sim.run_to_tip(MINUTE * 10).unwrap_err(), Law::Arrival, "stands at");
}
