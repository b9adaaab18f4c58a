//! The watch on progress: when a stall is told and its end, what it is counted from, and what an estimate rests on.

use std::time::Duration;

use hotstuff2_sync::calls::{Apply, HostError, Start};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Bottleneck, Event, Input, Output, PeerEvent, StallReason, StallStep};
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{
    Applied, Applier, Behaviour, Honest, Line, Lined, Reply, Scripted, StateHost, World, claiming, status_answer,
};

const MINUTE: Duration = Duration::from_secs(60);

fn world_with(config: SyncConfig) -> World {
    let spec = ChainSpec { blocks: 3000, epochs: 3, ..ChainSpec::default() };
    World::new(TestChain::with_payloads(spec, 3000, None).unwrap(), config).unwrap()
}

fn world() -> World {
    world_with(SyncConfig::default())
}

/// A peer at the end of a line of so many bytes a second: about 3,500 are a block.
fn at_line<B: Behaviour>(peer: B, rate: u64) -> Lined<B> {
    Lined { peer, latency: Duration::from_millis(20), lines: vec![Line::new(rate)] }
}

/// A peer that gives some 150 blocks a second.
fn steady() -> impl Behaviour {
    at_line(Honest::default(), 500_000)
}

/// When a stall was told, with the time that it is counted from.
fn stalls(world: &World) -> Vec<(Instant, Instant)> {
    let stalls = world.events.iter().filter_map(|(at, event)| match event {
        Event::Stalled { since, .. } => Some((*at, *since)),
        _ => None,
    });
    stalls.collect()
}

fn run(world: &mut World, time: Duration) {
    world.run_until(time, |_| false);
}

#[test]
fn a_stall_is_told_after_a_time_without_progress_and_its_end_once() {
    let stall_after = Duration::from_secs(1);
    let mut world = world_with(SyncConfig { stall_after, ..SyncConfig::default() });
    let mut told = Vec::new();
    for name in [1, 2] {
        let peer = world.join(name, steady());
        world.start();
        run(&mut world, MINUTE / 15);
        assert!(world.machine.waiting().is_some(), "something is waited for all the time");
        assert_eq!(world.machine.progress().stall, None, "and for nothing for long");
        world.leave(peer);
        let left = world.now();
        run(&mut world, MINUTE);
        let stalls: Vec<_> = stalls(&world).into_iter().filter(|&(at, _)| at > left).collect();
        let (first, since) = stalls[0];
        assert!(since <= left && first.since(since) >= stall_after, "{first:?} {since:?}");
        assert!(stalls.iter().all(|&(_, other)| other == since), "it is one stall: {stalls:?}");
        assert_eq!(world.machine.progress().stall.map(|stall| stall.since), Some(since));
        told.push(stalls.windows(2).map(|two| two[1].0.since(two[0].0)).collect::<Vec<_>>());
    }
    assert!(told[0].len() > 3);
    assert_eq!(told[0], told[1], "each is told as often as the other at first");
    world.join(3, steady());
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    let resumed = world.events.iter().filter(|(_, event)| *event == Event::Resumed).count();
    assert_eq!(resumed, 2, "{:?}", world.events);
    let early: Vec<_> = stalls(&world).into_iter().filter(|(at, since)| at.since(*since) < stall_after).collect();
    assert_eq!(early, [], "there was progress");
}

#[test]
fn who_waits_for_long_is_not_reminded_sooner() {
    let stall_after = MINUTE * 5;
    let mut world = world_with(SyncConfig { stall_after, ..SyncConfig::default() });
    world.start();
    run(&mut world, MINUTE * 60);
    let stalls = stalls(&world);
    assert!(stalls.len() > 2);
    assert!(stalls.windows(2).all(|two| two[1].0.since(two[0].0) >= stall_after), "{stalls:?}");
}

/// A host that can take nothing now.
struct Full;

impl Applier for Full {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        let through = apply.range()?.first().prev()?;
        Some((Duration::from_millis(1), Applied { through, stopped: Some(HostError::Transient) }))
    }
}

/// Why nothing moves, the first time that it is told.
fn reason(world: &mut World) -> StallReason {
    let find = |world: &World| {
        world.events.iter().find_map(|(_, event)| match event {
            Event::Stalled { reason, .. } => Some(*reason),
            _ => None,
        })
    };
    assert!(world.run_until(MINUTE, |world| find(world).is_some()), "{:?}", world.events);
    find(world).unwrap()
}

#[test]
fn a_host_that_says_no_is_told_from_one_that_says_nothing() {
    let mut world = world();
    world.join(1, Honest::default());
    world.set_host(Full);
    world.start();
    assert_eq!(reason(&mut world), StallReason::HostBusy);
    assert_eq!(world.machine.waiting().map(|stall| stall.step), Some(StallStep::CallAgain));
}

/// Says this of itself after a while, and proves nothing.
fn claims(after: Duration, tip: u64, epoch: u64, prove: impl Fn() -> Reply + 'static) -> impl Behaviour {
    Scripted(move |request: &Request, chain: &TestChain, _| match request {
        Request::Status => Reply::After(after, status_answer(&claiming(chain, tip, epoch))),
        _ => prove(),
    })
}

fn nothing() -> Reply {
    Reply::After(Duration::from_millis(5), encode_refusal(Refusal::NotAvailable))
}

#[test]
fn that_peers_are_asked_how_they_are_is_no_reason_to_wait() {
    let stall_after = Duration::from_millis(300);
    let mut world = world_with(SyncConfig { stall_after, ..SyncConfig::default() });
    // The question is open when the stall is told.
    world.join(1, claims(2 * stall_after, 500, 0, nothing));
    world.start();
    run(&mut world, MINUTE);
    let reasons: Vec<StallReason> = world
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Stalled { reason, .. } => Some(*reason),
            _ => None,
        })
        .collect();
    assert!(!reasons.is_empty());
    assert!(reasons.iter().all(|reason| *reason == StallReason::NoTarget(Height::ZERO)), "{reasons:?}");
}

#[test]
fn a_state_is_not_missed_before_there_is_a_target() {
    let spec = ChainSpec { blocks: 300, ..ChainSpec::default() };
    let chain = TestChain::with_ledger(spec, 50, 10).unwrap();
    let host = StateHost::new(chain.chain());
    let config = SyncConfig { default_strategy: SyncStrategyType::Fast, ..SyncConfig::default() };
    let start = Start { stages_state: true, ..chain.start() };
    let mut world = World::from(chain, config, start).unwrap();
    world.set_host(host);
    world.join(1, claims(Duration::from_millis(5), 50_000, 0, nothing));
    world.start();
    assert_eq!(reason(&mut world), StallReason::NoTarget(Height::ZERO));
}

/// Takes its time with blocks.
struct Slow(Duration);

impl Applier for Slow {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        Some((self.0, Applied { through: apply.range()?.last(), stopped: None }))
    }
}

#[test]
fn the_bottleneck_is_of_the_time_in_which_something_was_to_do() {
    let chain = TestChain::new(ChainSpec { blocks: 300, ..ChainSpec::default() }).unwrap();
    let mut world = World::new(chain, SyncConfig::default()).unwrap();
    world.join(1, Honest::default());
    world.set_host(Slow(Duration::from_secs(3)));
    world.start();
    assert!(world.run_to_tip(MINUTE), "{:?}", world.events);
    assert_eq!(world.machine.progress().bottleneck, Bottleneck::Apply);
    run(&mut world, MINUTE * 10);
    assert_eq!(world.machine.progress().bottleneck, Bottleneck::Apply, "at the tip it waits for nothing");

    let mut world = self::world();
    world.start();
    run(&mut world, MINUTE / 10);
    let peer = world.join(1, steady());
    run(&mut world, MINUTE / 30);
    world.stop();
    world.schedule(world.now().after(MINUTE * 10), PeerEvent::Disconnected { peer });
    run(&mut world, MINUTE * 20);
    assert_eq!(world.machine.progress().bottleneck, Bottleneck::Peers, "nor when it is stopped");
}

#[test]
fn a_stopped_machine_looks_for_no_progress() {
    let mut world = world();
    world.start();
    assert!(matches!(world.machine.poll_output(), Output::Wait(Some(_))));
    world.stop();
    assert_eq!(world.machine.poll_output(), Output::Wait(None));
}

#[test]
fn the_pace_shown_is_that_of_the_last_seconds() {
    let mut world = world();
    let quick = world.join(1, at_line(Honest::default(), 2_000_000));
    world.start();
    assert!(world.run_until(MINUTE, |world| world.machine.applied() > Height::new(1200)));
    world.leave(quick);
    world.join(2, at_line(Honest::default(), 100_000));
    run(&mut world, MINUTE);
    let pace = world.machine.progress().blocks_per_second;
    assert!((10..40).contains(&pace), "{pace}: about 30 a second come");
}

/// The likely time that is left after ten seconds with a steady peer, a second after these came.
fn likely(others: Vec<Box<dyn Behaviour>>, until: Option<Height>) -> Duration {
    let mut world = world();
    world.machine.handle(world.now(), Input::Start(until));
    world.join(1, steady());
    run(&mut world, MINUTE * 3 / 20);
    for (name, other) in (2..).zip(others) {
        world.join(name, other);
    }
    run(&mut world, MINUTE / 60);
    let progress = world.machine.progress();
    assert!(progress.current > Height::ZERO && progress.current < Height::new(2500), "{progress:?}");
    progress.eta.expect("there is a pace").likely
}

#[test]
fn an_estimate_ends_where_the_sync_does() {
    let (whole, part) = (likely(Vec::new(), None), likely(Vec::new(), Some(Height::new(2000))));
    assert!(part < whole * 2 / 3, "{part:?} of {whole:?}");
}

#[test]
fn claims_of_a_few_and_of_who_failed_to_prove_them_move_no_estimate() {
    let honest = likely(Vec::new(), None);
    let tall =
        |prove: fn() -> Reply| Box::new(claims(Duration::from_millis(5), 1 << 40, 9, prove)) as Box<dyn Behaviour>;
    // One of two, of whom nothing is known yet.
    let beside_one = likely(vec![tall(|| Reply::Never)], None);
    assert!(beside_one < honest * 2, "{beside_one:?} beside {honest:?}");
    // The most of them, when they were asked.
    let among_many = likely((0..3).map(|_| tall(nothing)).collect(), None);
    assert!(among_many < honest * 2, "{among_many:?} beside {honest:?}");
}

#[test]
fn a_state_on_its_way_has_a_pace() {
    let spec = ChainSpec { blocks: 1990, snapshot_interval: 1000, ..ChainSpec::default() };
    let chain = TestChain::with_ledger(spec, 20_000, 100).unwrap();
    let host = StateHost::new(chain.chain());
    // A small budget, so that it is staged in several parts.
    let config =
        SyncConfig { default_strategy: SyncStrategyType::Fast, memory_budget: 8 << 20, ..SyncConfig::default() };
    let start = Start { stages_state: true, ..chain.start() };
    let mut world = World::from(chain, config, start).unwrap();
    world.set_host(host);
    world.join(1, at_line(Honest::default(), 100_000));
    world.start();
    let part = 300_000..1_000_000;
    let staged = |world: &World| world.machine.progress().state.is_some_and(|state| part.contains(&state.done_ppm));
    assert!(world.run_until(MINUTE * 10, staged), "{:?}", world.machine.progress());
    assert!(world.machine.progress().eta.is_some());
}
