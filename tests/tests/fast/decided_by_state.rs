//! A node whose own engine decides blocks while it fetches a state: neither disturbs the other, and nothing that was
//! answered as durable is taken back.

use std::time::Duration;

use hotstuff2_sync::calls::{Apply, HostError, HostReply, HostWork, Start};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{DecidedId, Height};
use hotstuff2_sync::machine::{Decided, Event, Input};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::state::MemoryStateStore;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::ledger::Ledger;
use hotstuff2_sync_testkit::world::{Applied, Applier, Honest, StateHost, World};

use crate::MINUTE;

const SECOND: Duration = Duration::from_secs(1);
const ACCOUNTS: u32 = 3000;

pub(crate) fn one(height: u64) -> HeightRange {
    HeightRange::single(Height::new(height))
}

fn range(first: u64, last: u64) -> HeightRange {
    HeightRange::new(Height::new(first), Height::new(last)).unwrap()
}

/// A node that is to fetch a state, on a chain of `blocks` blocks in one epoch.
fn world(blocks: u64) -> (World, StateHost) {
    world_of(chain(blocks, 1, 500), ACCOUNTS, SyncStrategyType::Fast)
}

fn chain(blocks: u64, epochs: u64, snapshot_interval: u64) -> TestChain {
    let spec = ChainSpec { blocks, epochs, snapshot_interval, ..ChainSpec::default() };
    TestChain::with_ledger(spec, ACCOUNTS, 100).unwrap()
}

/// A node that is to fetch a state of `source`, and holds the one that the chain begins with, so that it can execute the first
/// block.
pub(crate) fn world_of(source: TestChain, accounts: u32, default_strategy: SyncStrategyType) -> (World, StateHost) {
    let mut genesis = Ledger::genesis(MemoryStateStore::default(), accounts).unwrap();
    let writes = genesis.take_writes();
    genesis.store_mut().write(writes);
    let host = StateHost::with_state(source.chain(), std::mem::take(genesis.store_mut()), Height::ZERO);
    let start = Start { stages_state: true, ..source.start() };
    let config = SyncConfig { default_strategy, ..SyncConfig::default() };
    let mut world = World::from(source, config, start).unwrap();
    world.set_host(host.clone());
    (world, host)
}

/// A peer with blocks up to `tip` and the state of `state`, slow enough for something to happen meanwhile.
fn slow(tip: u64, state: u64) -> Honest {
    Honest { tip: Height::new(tip), states: Some(one(state)), rate: 20_000, ..Honest::default() }
}

fn walks(world: &World) -> bool {
    !aims(world).is_empty()
}

fn is_live(world: &World) -> bool {
    world.events.iter().any(|(_, event)| matches!(event, Event::StateActive(_)))
}

/// Heights of the states that were aimed at, and how often the aim moved.
fn aims(world: &World) -> Vec<(u64, u64)> {
    let aim = |event: &Event| match event {
        Event::StateTarget { height, moves, .. } => Some((height.get(), *moves)),
        _ => None,
    };
    world.events.iter().filter_map(|(_, event)| aim(event)).collect()
}

/// Runs until everything is answered: with what is there.
fn all_are_there(world: &mut World, ids: &[DecidedId]) {
    let done = world.run_until(MINUTE * 10, |world| ids.iter().all(|&id| world.answer(id).is_some()));
    assert!(done, "{:?} {:?}", world.machine.waiting(), world.decided);
    for &id in ids {
        assert!(
            matches!(world.answer(id), Some(Ok(height)) if height.get() >= id.get()),
            "{id}: {:?}",
            world.answer(id)
        );
    }
}

/// The ledger's state is that of its last block.
fn is_right(world: &World, host: &StateHost, tip: u64) {
    assert_eq!(host.held.borrow().applied, Height::new(tip));
    assert_eq!(world.machine.applied(), Height::new(tip));
    let root = world.source.header(Height::new(tip)).unwrap().state_root;
    assert_eq!(host.root(), root);
    assert_eq!(world.bans, []);
}

#[test]
fn decided_blocks_above_a_state_wait_for_it() {
    let (mut world, host) = world(2100);
    for name in 1..=2 {
        world.join(name, slow(2050, 2000));
    }
    world.start();
    assert!(world.run_until(MINUTE, walks), "{:#?}", world.events);
    let mut ids = Vec::new();
    for height in 2051..=2060 {
        ids.push(world.decide(one(height)));
        world.run_until(Duration::from_millis(20), |_| false);
    }
    assert!(!is_live(&world), "the state is still on its way");
    assert_eq!(world.decided, [], "nothing is said before it is so");
    all_are_there(&mut world, &ids);
    assert_eq!(aims(&world), [(2000, 0)]);
    assert_eq!(world.applied, (2001..=2060).map(Height::new).collect::<Vec<_>>(), "each once, in order");
    is_right(&world, &host, 2060);
}

#[test]
fn decided_blocks_next_to_the_store_go_on_while_a_state_is_fetched() {
    let (mut world, host) = world(2100);
    for name in 1..=2 {
        world.join(name, slow(2100, 2000));
    }
    world.start();
    assert!(world.run_until(MINUTE, walks));
    let ids: Vec<DecidedId> = (1..=10).map(|height| world.decide(one(height))).collect();
    all_are_there(&mut world, &ids);
    assert!(!is_live(&world), "they wait for no state");
    assert_eq!(world.machine.applied(), Height::new(10));
    assert!(world.run_to_tip(MINUTE * 10), "{:?}", world.machine.waiting());
    assert_eq!(aims(&world), [(2000, 0)]);
    assert!(is_live(&world));
    is_right(&world, &host, 2100);
}

#[test]
fn a_state_that_the_engine_has_overtaken_is_left() {
    // Far below the tip, and with so few blocks left that nobody would look for a state.
    for (state, decided) in [(500, 510), (1000, 1010), (1000, 1190)] {
        let (mut world, host) = world(1200);
        for name in 1..=2 {
            world.join(name, slow(1200, state));
        }
        world.start();
        assert!(world.run_until(MINUTE, walks));
        // Blocks beyond the state's own, of two cells.
        let mut ids = vec![world.decide(range(1, decided.min(1023)))];
        if decided > 1023 {
            ids.push(world.decide(range(1024, decided)));
        }
        all_are_there(&mut world, &ids);
        assert!(!is_live(&world), "the state is still on its way");
        let mut highest = world.machine.applied();
        let arrived = world.run_until(MINUTE * 10, |world| {
            assert!(
                world.machine.applied() >= highest,
                "{state}, {decided}: what was answered as durable is taken back"
            );
            highest = world.machine.applied();
            world.reached() == Some(Height::new(1200))
        });
        assert!(arrived, "{:?}", world.machine.waiting());
        assert!(!is_live(&world));
        is_right(&world, &host, 1200);
    }
}

/// Takes its time to make a state live.
struct Hashing(StateHost, Duration);

impl Applier for Hashing {
    fn apply(&mut self, apply: &Apply) -> Option<(Duration, Applied)> {
        self.0.apply(apply)
    }

    fn state(&mut self, work: &HostWork) -> Option<(Duration, Result<HostReply, HostError>)> {
        let (after, result) = self.0.state(work)?;
        Some((if matches!(work, HostWork::Activate(_)) { self.1 } else { after }, result))
    }
}

#[test]
fn no_decided_block_is_applied_while_a_state_is_made_live() {
    let (mut world, host) = world(2100);
    world.set_host(Hashing(host.clone(), SECOND * 5));
    world.join(1, Honest { states: Some(one(2000)), ..Honest::default() });
    world.start();
    let hashes = |world: &World| world.calls.iter().any(|(_, work)| *work == "activate");
    assert!(world.run_until(MINUTE, hashes), "{:#?}", world.calls);
    let ids = [world.decide(range(1, 3))];
    world.run_until(SECOND * 3, |_| false);
    assert!(!is_live(&world) && world.applies.is_empty(), "{:?}", world.applies.len());
    all_are_there(&mut world, &ids);
    assert!(is_live(&world));
    assert!(world.run_to_tip(MINUTE), "{:?}", world.machine.waiting());
    assert_eq!(world.applied, (2001..=2100).map(Height::new).collect::<Vec<_>>());
    is_right(&world, &host, 2100);
}

#[test]
fn an_engine_without_peers_needs_no_state() {
    let (mut world, host) = world(700);
    world.start();
    let ids: Vec<DecidedId> = (1..=60).map(|height| world.decide(one(height))).collect();
    all_are_there(&mut world, &ids);
    assert_eq!(world.reached(), Some(Height::new(60)));
    // Above a gap a block waits, until the engine has the rest of them.
    let above = world.decide(one(700));
    world.run_until(MINUTE * 5, |_| false);
    assert_eq!(world.answer(above), None);
    let ids = [world.decide(range(61, 699)), above];
    all_are_there(&mut world, &ids);
    is_right(&world, &host, 700);
}

/// An engine that hands in whatever it likes while states are fetched and made live: what was answered as durable stays,
/// each submission is answered once, and the state at the end is right.
#[test]
fn any_sequence_of_decided_blocks_around_a_state_ends_well() {
    let chains: Vec<TestChain> = [1, 3].into_iter().map(|epochs| chain(700, epochs, 100)).collect();
    let mut lives = 0;
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let source = chains[rng.below(2) as usize].clone();
        let strategy = [SyncStrategyType::Fast, SyncStrategyType::Auto][rng.below(2) as usize];
        let (mut world, host) = world_of(source, ACCOUNTS, strategy);
        let hashes = SECOND * rng.below(4) as u32;
        world.set_host(Hashing(host.clone(), hashes));
        world.start();
        let (mut joined, mut ids, mut highest) = (0u8, 0, Height::ZERO);
        for _ in 0..80 {
            match rng.below(10) {
                0 | 1 if joined < 4 => {
                    joined += 1;
                    let state = 100 * (1 + rng.below(6));
                    let rate = [20_000, 100_000, 10_000_000][rng.below(3) as usize];
                    world.join(joined, Honest { rate, ..slow(state + rng.below(701 - state), state) });
                }
                2 => {
                    world.run_until(Duration::from_millis(rng.below(4000)), |_| false);
                }
                _ => {
                    let next = world.machine.applied().get() + 1;
                    let first = if rng.below(3) == 0 { 1 + rng.below(690) } else { next };
                    let most = [1, 5, 150][rng.below(3) as usize];
                    let blocks = range(first.min(700), (first + rng.below(most)).min(700));
                    // Not across the end of an epoch.
                    if let Some(decided) = world.source.decided(blocks) {
                        ids += 1;
                        let id = DecidedId::from_raw(10_000 + ids);
                        world.tell(Input::Decided(Decided { id, ..decided }));
                    }
                }
            }
            world.run_until(Duration::from_millis(rng.below(300)), |world| {
                assert!(world.machine.applied() >= highest, "seed {seed}: blocks are taken back");
                highest = world.machine.applied();
                false
            });
        }
        world.join(9, Honest::default());
        assert!(world.run_to_tip(MINUTE * 10), "seed {seed}: {:?}", world.machine.waiting());
        world.run_until(MINUTE, |_| false);
        is_right(&world, &host, 700);
        assert_eq!(world.decided.len(), ids as usize, "seed {seed}: {:?}", world.decided);
        let twice = (1..=ids).filter(|id| {
            world.decided.iter().filter(|(answered, _)| *answered == DecidedId::from_raw(10_000 + id)).count() != 1
        });
        assert_eq!(twice.collect::<Vec<_>>(), [], "seed {seed}: not answered once");
        lives += u32::from(is_live(&world));
        world.stop();
        assert_eq!(world.machine.progress().buffered_bytes, 0, "seed {seed}: every reservation was given back");
    }
    assert!(lives > 5, "states were made live in {lives} worlds");
}
