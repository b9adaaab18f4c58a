//! The simulator's own promises, and what it shows of the machine: crashes at every durable write, validators that
//! equivocate, and one hash for one seed.

use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncHistory, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::sim::{
    CachedChain, Crash, Equivocation, Holdings, JoinerSpec, Lie, Line, Link, Minority, NetworkSimulator, NodeId,
    Scenario, ServerSpec, Source, Step, Trace, VirtualNetwork,
};

const MINUTE: Duration = Duration::from_secs(60);

fn chain(blocks: u64, epochs: u64) -> Arc<dyn Source> {
    let spec = ChainSpec { blocks, epochs, ..ChainSpec::default() };
    Arc::new(CachedChain::new(TestChain::new(spec).unwrap(), None))
}

fn ledger(blocks: u64, accounts: u32) -> Arc<dyn Source> {
    let spec = ChainSpec { blocks, epochs: 2, snapshot_interval: blocks / 2, ..ChainSpec::default() };
    Arc::new(CachedChain::new(TestChain::with_ledger(spec, accounts, 100).unwrap(), Some(accounts)))
}

fn sim(seed: u64, source: &Arc<dyn Source>) -> NetworkSimulator {
    let link = Link { jitter: Duration::from_millis(5), ..Link::with_latency(Duration::from_millis(10)) };
    NetworkSimulator::new(seed, Arc::clone(source), link)
}

fn joiner(sim: &mut NetworkSimulator, config: SyncConfig, contacts: &[NodeId]) -> NodeId {
    let joiner = sim.add_joiner(JoinerSpec { config, contacts: contacts.to_vec(), ..JoinerSpec::default() });
    sim.schedule(Instant::ZERO, Step::Start(joiner));
    joiner
}

/// The trace of a network without machines, whatever its build. (What machines do in one changes as they do.)
const GOLDEN: &str = "61948eedfd5ac75d855e126ef5e6fbbc9da746dd681ef6c92daf43d5074c8827";

#[test]
fn a_network_has_one_trace_in_debug_and_release() {
    let link = Link {
        latency: Duration::from_millis(20),
        jitter: Duration::from_millis(30),
        rate: 500_000,
        loss_ppm: 20_000,
        reorder_ppm: 100_000,
        reorder_by: Duration::from_millis(200),
        duplicate_ppm: 50_000,
        break_ppm: 20_000,
    };
    let mut net = VirtualNetwork::<u64, ()>::new(7, link);
    let nodes: Vec<NodeId> =
        (0..20).map(|node| net.add_node(Line { up: 100_000 * (node + 1), down: 900_000 })).collect();
    let mut trace = Trace::default();
    for round in 0..20 {
        for (index, &node) in nodes.iter().enumerate() {
            let other = nodes[(index + round + 1) % nodes.len()];
            net.stream(node, other, 3000 * (1 + round as u64), round as u64);
            net.send(other, node, 1000, round as u64);
        }
        let until = net.now().after(Duration::from_millis(50));
        net.set_side(nodes[round], 1);
        while let Some(happening) = net.poll(until) {
            trace.note(net.now(), format_args!("{happening:?}"));
        }
        net.rest_until(until);
        if round % 5 == 4 {
            net.heal();
        }
    }
    while let Some(happening) = net.poll(Instant::from_micros(u64::MAX)) {
        trace.note(net.now(), format_args!("{happening:?}"));
    }
    assert!(trace.len() > 700, "{}", trace.len());
    assert_eq!(trace.hash().to_string(), GOLDEN);
}

#[test]
fn one_seed_is_one_trace() {
    for seed in 0..30 {
        let (one, again) = (Scenario::new(seed).run(), Scenario::new(seed).run_with_timeline());
        assert_eq!((one.trace_hash, one.events), (again.trace_hash, again.events), "seed {seed}");
        assert!(!again.timeline.is_empty());
    }
    assert_ne!(Scenario::new(0).run().trace_hash, Scenario::new(1).run().trace_hash);
}

/// Worlds that broke a law once.
const BROKEN_ONCE: [u64; 10] = [653, 691, 1614, 1990, 2046, 2088, 4658, 5044, 5507, 5658];

#[test]
fn any_scenario_keeps_every_law() {
    for seed in (0..300).chain(BROKEN_ONCE) {
        if let Err(violation) = Scenario::new(seed).run().result {
            panic!("{violation}\nagain, with everything that happens: cargo xtask soak --seed {seed}");
        }
    }
}

/// Plays one world again and again, each time with a crash at the next durable write, until there is none left.
fn crash_at_every_write(source: &Arc<dyn Source>, strategy: SyncStrategyType, history: SyncHistory) -> u64 {
    let config = SyncConfig {
        default_strategy: strategy,
        state_after: Duration::ZERO,
        history,
        memory_budget: if history == SyncHistory::Blocks { 16 << 20 } else { 8 << 20 },
        ..SyncConfig::default()
    };
    let run = |crash: Option<(u64, Crash)>| {
        let mut sim = sim(1, source);
        let servers = [sim.add_server(ServerSpec::default()), sim.add_server(ServerSpec::default())];
        let joiner = joiner(&mut sim, config.clone(), &servers);
        if let Some((write, crash)) = crash {
            sim.disk(joiner).crash_at(write, crash);
        }
        let result = sim.run_to_history(MINUTE * 5);
        assert_eq!(result, Ok(()), "{strategy}, crash {crash:?}");
        sim.disk(joiner).writes()
    };
    let writes = run(None);
    for write in 1..=writes {
        for crash in Crash::ALL {
            run(Some((write, crash)));
        }
    }
    writes
}

#[test]
fn a_crash_at_any_durable_write_loses_nothing_that_was_acknowledged() {
    let blocks = crash_at_every_write(&chain(12_000, 6), SyncStrategyType::Parallel, SyncHistory::None);
    let executed = crash_at_every_write(&ledger(120, 30), SyncStrategyType::Parallel, SyncHistory::None);
    let state = crash_at_every_write(&ledger(300, 2000), SyncStrategyType::Fast, SyncHistory::Blocks);
    crash_at_every_write(&ledger(100, 200), SyncStrategyType::Fast, SyncHistory::Headers);
    assert!(blocks >= 5 && executed >= 3 && state >= 5, "{blocks}, {executed} and {state} writes");
}

fn forked(source: &Arc<dyn Source>, height: u64) -> Arc<dyn Source> {
    let fork = source.test_chain().unwrap().fork(Height::new(height)).unwrap();
    Arc::new(CachedChain::new(fork, None))
}

#[test]
fn validators_below_a_third_change_nothing() {
    let source = chain(1300, 2);
    for seed in 0..5 {
        let mut sim = sim(seed, &source);
        let minority = || Minority(forked(&source, 400));
        let liars = [(); 3]
            .map(|()| sim.add_server(ServerSpec { adversaries: vec![Box::new(minority())], ..ServerSpec::default() }));
        let honest = sim.add_server(ServerSpec::default());
        let joiner = joiner(&mut sim, SyncConfig::default(), &[liars[0], liars[1], liars[2], honest]);
        assert_eq!(sim.run_to_tip(MINUTE * 10), Ok(()));
        assert!(!sim.halted(joiner));
    }
}

#[test]
fn validators_above_a_third_make_it_halt_with_evidence() {
    // It follows one history up to where those end who serve it; the rest it can get only from who serves the other.
    let source = chain(1300, 1);
    let fork = forked(&source, 400);
    for seed in 0..5 {
        let mut sim = sim(seed, &source).with_fork(Arc::clone(&fork));
        let held = Holdings { tip: Height::new(1100), ..ServerSpec::default().held };
        let one = sim.add_server(ServerSpec { held, ..ServerSpec::default() });
        let joiner = joiner(&mut sim, SyncConfig::default(), &[one]);
        assert_eq!(sim.run_until(MINUTE, |sim| sim.applied(joiner) == Height::new(1100)), Ok(true));
        let adversaries: Vec<Box<dyn hotstuff2_sync_testkit::sim::Adversary>> =
            vec![Box::new(Equivocation(Arc::clone(&fork)))];
        let other = sim.add_server(ServerSpec { adversaries, ..ServerSpec::default() });
        sim.add_contacts(joiner, [other]);
        sim.schedule(sim.now(), Step::Crash(joiner));
        sim.schedule(sim.now(), Step::Start(joiner));
        assert_eq!(sim.run_until(MINUTE * 5, |sim| sim.halted(joiner)), Ok(true), "{:?}", sim.told(joiner));
        assert_eq!(sim.bans(joiner), 0, "nobody is to blame");
        assert_eq!(sim.applied(joiner), Height::new(1100));
    }
}

#[test]
fn a_node_serves_what_it_has_verified() {
    // The server is gone when the second node comes: all that it gets is from the first, proofs too.
    let source = chain(1500, 3);
    let mut sim = sim(1, &source);
    let server = sim.add_server(ServerSpec::default());
    let first = joiner(&mut sim, SyncConfig::default(), &[server]);
    assert_eq!(sim.run_to_tip(MINUTE), Ok(()));
    sim.schedule(sim.now(), Step::Crash(server));
    joiner(&mut sim, SyncConfig::default(), &[first]);
    assert_eq!(sim.run_to_tip(MINUTE), Ok(()), "{:?}", sim.trace().lines());
}

#[test]
fn history_is_filled_in_after_a_state_and_served_from_then_on() {
    let source = ledger(2500, 500);
    let fast = |history| SyncConfig {
        default_strategy: SyncStrategyType::Fast,
        state_after: Duration::ZERO,
        history,
        ..SyncConfig::default()
    };
    for (history, serves) in [(SyncHistory::None, false), (SyncHistory::Headers, false), (SyncHistory::Blocks, true)] {
        let mut sim = sim(1, &source);
        let honest = sim.add_server(ServerSpec::default());
        let liar = sim.add_server(ServerSpec { adversaries: vec![Box::new(Lie::LastBit)], ..ServerSpec::default() });
        let first = joiner(&mut sim, fast(history), &[liar, honest]);
        assert_eq!(sim.run_to_tip(MINUTE), Ok(()));
        assert_eq!(sim.has_history(first), history == SyncHistory::None, "the tip comes first");
        assert_eq!(sim.run_to_history(MINUTE), Ok(()));
        assert!(history == SyncHistory::None || sim.disk(first).history_gap().is_none());
        // Who comes next finds the state at a node without old blocks, and those at the first alone, if it has them.
        sim.schedule(sim.now(), Step::Crash(honest));
        sim.schedule(sim.now(), Step::Crash(liar));
        let held = Holdings { earliest: Height::new(2200), ..ServerSpec::default().held };
        let pruned = sim.add_server(ServerSpec { held, ..ServerSpec::default() });
        let second = joiner(&mut sim, fast(SyncHistory::Blocks), &[first, pruned]);
        let outcome = sim.run_to_history(MINUTE);
        assert_eq!(outcome.is_ok(), serves, "{history:?}: {outcome:?}");
        assert!(sim.reached_at(second).is_some(), "whoever lacks history is at the tip all the same");
    }
}

#[test]
fn history_needs_no_more_than_the_smallest_budget() {
    // The long poll at the tip holds half of it, and the other half is kept for the next block.
    let source = ledger(300, 200);
    for (history, budget) in [(SyncHistory::Headers, 8 << 20), (SyncHistory::Blocks, 16 << 20)] {
        let config = SyncConfig {
            default_strategy: SyncStrategyType::Fast,
            state_after: Duration::ZERO,
            history,
            memory_budget: budget,
            ..SyncConfig::default()
        };
        assert_eq!(config.validate(), Ok(()));
        let less = SyncConfig { memory_budget: budget - 1, ..config.clone() };
        assert!(less.validate().is_err());
        let mut sim = sim(1, &source);
        let server = sim.add_server(ServerSpec::default());
        // Who claims more than there is makes a second long poll worth while, but not at the cost of history.
        let boaster = || ServerSpec { adversaries: vec![Box::new(Lie::Claim)], ..ServerSpec::default() };
        let mut peers: Vec<NodeId> = (0..20).map(|_| sim.add_server(boaster())).collect();
        peers.push(server);
        joiner(&mut sim, config, &peers);
        assert_eq!(sim.run_to_history(MINUTE), Ok(()));
    }
}

#[test]
fn history_of_another_chain_is_a_lie_or_the_end() {
    // Whom it fetched the state from has no old blocks; whoever has them has those of another chain.
    for (equivocates, interval) in [(false, 1250), (true, 1250), (false, 1000), (true, 1000)] {
        let spec = ChainSpec { blocks: 2500, epochs: 2, snapshot_interval: interval, ..ChainSpec::default() };
        let chain = TestChain::with_ledger(spec, 200, 100).unwrap();
        let fork: Arc<dyn Source> = Arc::new(CachedChain::new(chain.fork(Height::new(400)).unwrap(), Some(200)));
        let source: Arc<dyn Source> = Arc::new(CachedChain::new(chain, Some(200)));
        let mut sim = sim(1, &source).with_fork(Arc::clone(&fork));
        let held = Holdings { earliest: Height::new(1900), ..ServerSpec::default().held };
        let pruned = sim.add_server(ServerSpec { held, ..ServerSpec::default() });
        let config = SyncConfig {
            default_strategy: SyncStrategyType::Fast,
            state_after: Duration::ZERO,
            history: SyncHistory::Headers,
            ..SyncConfig::default()
        };
        let joiner = joiner(&mut sim, config, &[pruned]);
        assert_eq!(sim.run_to_tip(MINUTE), Ok(()));
        let adversary: Box<dyn hotstuff2_sync_testkit::sim::Adversary> = match equivocates {
            true => Box::new(Equivocation(Arc::clone(&fork))),
            false => Box::new(Minority(Arc::clone(&fork))),
        };
        let other = sim.add_server(ServerSpec { adversaries: vec![adversary], ..ServerSpec::default() });
        sim.add_contacts(joiner, [other]);
        // Who can prove its history proves that validators broke their promise; who can't is banned.
        assert_eq!(sim.run_until(MINUTE, |sim| sim.halted(joiner)), Ok(equivocates), "{:?}", sim.told(joiner));
        assert_eq!(sim.banned(joiner), if equivocates { vec![] } else { vec![sim.peer(other)] }, "{interval}");
    }
}

#[test]
fn validators_that_decide_need_no_server_and_lose_nothing_in_crashes() {
    let source = chain(160, 4);
    for seed in 0..8 {
        let mut sim = sim(seed, &source).with_recordings();
        let strategy = [SyncStrategyType::Auto, SyncStrategyType::Parallel][seed as usize % 2];
        let config = || SyncConfig { default_strategy: strategy, ..SyncConfig::default() };
        let nodes: Vec<NodeId> =
            (0..4).map(|_| sim.add_joiner(JoinerSpec { config: config(), ..JoinerSpec::default() })).collect();
        for &node in &nodes {
            sim.add_contacts(node, nodes.iter().copied().filter(|&other| other != node));
        }
        // Two are there all the time, one crashes in a write and once more, and one comes late. Nobody serves but they.
        let at = |millis: u64| Instant::ZERO.after(Duration::from_millis(millis));
        for &node in &nodes[..3] {
            sim.schedule(at(0), Step::Start(node));
        }
        sim.schedule(at(9_000), Step::Start(nodes[3]));
        sim.disk(nodes[2]).crash_at(20 + seed, Crash::ALL[seed as usize % Crash::ALL.len()]);
        sim.schedule(at(11_000), Step::Crash(nodes[2]));
        sim.schedule(at(12_500), Step::Start(nodes[2]));
        for height in 1..=160 {
            for (&node, late) in nodes.iter().zip([1, 17, 40, 23]) {
                // A node that is off decides nothing, and has what it missed from the others.
                sim.schedule(at(100 * height + late * (1 + seed)), Step::Decide(node, Height::new(height)));
            }
        }
        assert_eq!(sim.run_to_tip(MINUTE * 10), Ok(()), "seed {seed}");
        for &node in &nodes {
            assert_eq!(sim.bans(node), 0, "seed {seed}");
            for recording in sim.recordings(node) {
                recording.replay().unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
            }
        }
        // Those that were there had each block from their own engines, and said so to them.
        let said = sim.answers(nodes[0]).iter().filter(|(_, result)| result.is_ok()).count();
        assert_eq!(said, 160, "seed {seed}: {:?}", sim.answers(nodes[0]));
    }
}
