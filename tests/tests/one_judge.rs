//! What counts as progress: one judge for events, progress, metrics and the patience of programs. Nothing that moves beside
//! the sync, and nothing that is tried again, hides that the node comes no nearer.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use hotstuff2_sync::calls::{Apply, HostError, HostReply, HostWork, Start};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Event, StallReason, StallStep};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Applied, Applier, Behaviour, Honest, Reply, StateHost, World};

const MINUTE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);

/// A peer whose chain grows by so many blocks a second, and that keeps the newest snapshots only.
struct Growing {
    blocks: Honest,
    from: u64,
    per_second: u64,
}

impl Behaviour for Growing {
    fn reply(&mut self, request: &Request, chain: &TestChain) -> Reply {
        self.reply_at(Instant::ZERO, request, chain)
    }

    fn reply_at(&mut self, now: Instant, request: &Request, chain: &TestChain) -> Reply {
        let grown = now.as_micros() * self.per_second / 1_000_000;
        let tip = Height::new((self.from + grown).min(chain.tip_height().get()));
        let oldest = Height::new(tip.get().saturating_sub(250));
        Honest { tip, states: HeightRange::new(oldest, tip), ..self.blocks }.reply(request, chain)
    }
}

fn growing(from: u64) -> Growing {
    Growing { blocks: Honest::default(), from, per_second: 20 }
}

/// A host whose disk is full while that is set: it reads what is there, and writes nothing.
struct Filling<A> {
    host: A,
    full: Rc<Cell<bool>>,
}

impl<A: Applier> Applier for Filling<A> {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        if self.full.get() {
            let through = apply.range()?.first().prev()?;
            return Some((MOMENT, Applied { through, stopped: Some(HostError::NoSpace) }));
        }
        self.host.apply(apply)
    }

    fn state(&mut self, work: &HostWork) -> Option<(Duration, Result<HostReply, HostError>)> {
        match work {
            HostWork::Stage(_) | HostWork::Activate(_) if self.full.get() => Some((MOMENT, Err(HostError::NoSpace))),
            _ => self.host.state(work),
        }
    }
}

struct Willing;

impl Applier for Willing {}

fn with_blocks(blocks: u64, host: impl Applier + 'static) -> World {
    let spec = ChainSpec { blocks, epochs: 3, ..ChainSpec::default() };
    let mut world = World::new(TestChain::with_payloads(spec, 300, None).unwrap(), SyncConfig::default()).unwrap();
    world.set_host(host);
    world
}

fn with_state(host: impl FnOnce(StateHost) -> Box<dyn Applier>) -> World {
    let spec = ChainSpec { blocks: 3000, snapshot_interval: 100, ..ChainSpec::default() };
    let chain = TestChain::with_ledger(spec, 3000, 100).unwrap();
    let state_host = StateHost::new(chain.chain());
    let config = SyncConfig { default_strategy: SyncStrategyType::Fast, ..SyncConfig::default() };
    let start = Start { stages_state: true, ..chain.start() };
    let mut world = World::from(chain, config, start).unwrap();
    world.set_host(Boxed(host(state_host)));
    world
}

struct Boxed(Box<dyn Applier>);

impl Applier for Boxed {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        self.0.apply(apply)
    }

    fn state(&mut self, work: &HostWork) -> Option<(Duration, Result<HostReply, HostError>)> {
        self.0.state(work)
    }
}

fn run(world: &mut World, time: Duration) {
    world.run_until(time, |_| false);
}

/// What was told of stalls: the reason of each, and `None` where it went on.
fn told(world: &World) -> Vec<Option<StallReason>> {
    let told = world.events.iter().filter_map(|(_, event)| match event {
        Event::Stalled { reason, .. } => Some(Some(*reason)),
        Event::Resumed => Some(None),
        _ => None,
    });
    told.collect()
}

fn targets(world: &World) -> usize {
    world.events.iter().filter(|(_, event)| matches!(event, Event::Target { .. })).count()
}

fn assert_full(world: &World, since: Duration) {
    assert_eq!(told(world), [Some(StallReason::DiskFull)], "said once, and never taken back: {:#?}", world.events);
    let progress = world.machine.progress();
    let stall = progress.stall.expect("who looks later sees it");
    assert_eq!((stall.reason, stall.step), (StallReason::DiskFull, StallStep::CallAgain));
    assert!(world.now().since(stall.since) >= since, "{stall:?} at {:?}", world.now());
    assert_eq!((progress.eta, progress.remaining), (None, None), "nobody knows when it goes on");
    assert_eq!(progress.state.and_then(|state| state.remaining), None);
}

#[test]
fn a_full_disk_is_a_stall_whatever_else_moves() {
    // The network goes on: a higher block is proven every few seconds, and none is stored.
    let full = Rc::new(Cell::new(true));
    let mut world = with_blocks(6000, Filling { host: Willing, full: Rc::clone(&full) });
    world.join(1, growing(300));
    world.start();
    run(&mut world, MINUTE);
    assert!(targets(&world) > 5, "{:#?}", world.events);
    assert_full(&world, MINUTE - Duration::from_secs(5));
    full.set(false);
    assert!(world.run_until(MINUTE, |world| world.machine.progress().stall.is_none()), "{:#?}", world.events);
    assert_eq!(told(&world).last(), Some(&None));
    assert!(world.run_to_tip(10 * MINUTE), "{:#?}", world.events);

    // The same while a state is fetched: when its parts are to be stored, and when it is to be made live.
    for at_the_end in [false, true] {
        let full = Rc::new(Cell::new(true));
        let at = Rc::clone(&full);
        let mut world = with_state(move |host| Box::new(Filling { host, full: at }));
        world.join(1, growing(1000));
        world.start();
        if at_the_end {
            full.set(false);
            let staged = |world: &World| world.machine.progress().state.is_some_and(|state| state.done_ppm > 500_000);
            assert!(world.run_until(MINUTE, staged), "{:#?}", world.events);
            full.set(true);
        }
        run(&mut world, MINUTE);
        assert!(targets(&world) > 5, "{:#?}", world.events);
        assert_full(&world, MINUTE - Duration::from_secs(5));
        full.set(false);
        assert!(world.run_to_tip(10 * MINUTE), "{:#?}", world.events);
        assert!(world.machine.progress().state.is_some_and(|state| state.done_ppm == 1_000_000));
    }
}

#[test]
fn a_target_that_moves_away_is_no_progress() {
    // Nobody has the blocks that come next, and the network goes on.
    let mut world = with_blocks(6000, Willing);
    let pruned = Honest { earliest: Height::new(200), ..Honest::default() };
    world.join(1, Growing { blocks: pruned, ..growing(300) });
    world.start();
    run(&mut world, MINUTE);
    assert!(targets(&world) > 5, "{:#?}", world.events);
    let told = told(&world);
    assert!(told.iter().all(Option::is_some), "{told:?}");
    assert!(told.iter().any(|reason| matches!(reason, Some(StallReason::HistoryMissing { .. }))), "{told:?}");
}

/// Hashes a complete state for so long, or for ever.
struct Hashing(StateHost, Option<Duration>);

impl Applier for Hashing {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        self.0.apply(apply)
    }

    fn state(&mut self, work: &HostWork) -> Option<(Duration, Result<HostReply, HostError>)> {
        match (&work, self.1) {
            (HostWork::Activate(_), None) => None,
            (HostWork::Activate(_), Some(time)) => Some((time, self.0.state(work)?.1)),
            _ => self.0.state(work),
        }
    }
}

#[test]
fn a_state_that_is_hashed_is_no_stall_until_that_is_late() {
    let time = SyncConfig::default().call_timeout * 9 / 10;
    let mut world = with_state(move |host| Box::new(Hashing(host, Some(time))));
    world.join(1, Honest::default());
    world.start();
    run(&mut world, time * 9 / 10);
    let progress = world.machine.progress();
    assert_eq!(progress.state.map(|state| state.done_ppm), Some(1_000_000));
    assert_eq!(progress.eta, None, "hashing shows no steps");
    assert!(world.machine.waiting().is_some_and(|stall| stall.step == StallStep::CallAgain));
    assert!(world.run_to_tip(MINUTE), "{:#?}", world.events);
    assert_eq!(told(&world), []);

    let mut world = with_state(|host| Box::new(Hashing(host, None)));
    world.join(1, Honest::default());
    world.start();
    run(&mut world, 3 * MINUTE);
    assert_eq!(told(&world), [Some(StallReason::HostLate)]);
}

#[test]
fn time_at_the_goal_is_left_out_of_the_pace() {
    let mut world = with_blocks(3000, Willing);
    let first = world.join(1, Honest { tip: Height::new(1000), ..Honest::default() });
    world.start();
    assert!(world.run_until(MINUTE, |world| world.reached().is_some()), "{:#?}", world.events);
    let before = world.machine.progress();
    assert!(before.idle < Duration::from_secs(1) && before.blocks_per_second > 100, "{before:?}");
    run(&mut world, 60 * MINUTE);
    let after = world.machine.progress();
    assert!(after.idle > 59 * MINUTE, "{after:?}");
    assert_eq!(after.blocks_per_second, before.blocks_per_second, "nothing was slow, there was nothing to do");
    world.leave(first);
    world.join(2, Honest { rate: 1_000_000, ..Honest::default() });
    let goes_on = |world: &World| world.machine.applied() > Height::new(1000);
    assert!(world.run_until(MINUTE, goes_on), "{:#?}", world.events);
    assert!(world.machine.progress().blocks_per_second > 50, "{:?}", world.machine.progress());
}
