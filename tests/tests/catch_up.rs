//! A late node catches up: the machine against honest peers.

use std::time::Duration;

use hotstuff2_sync::calls::{BlockPoint, Start};
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Event, Input};
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, World};

fn chain(blocks: u64, epochs: u64) -> TestChain {
    TestChain::new(ChainSpec { blocks, epochs, ..ChainSpec::default() }).unwrap()
}

fn heights(last: u64) -> Vec<Height> {
    (1..=last).map(Height::new).collect()
}

#[test]
fn one_honest_peer_is_enough() {
    let mut world = World::new(chain(3000, 4), SyncConfig::default()).unwrap();
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_to_tip(Duration::from_secs(60)), "{:?} {:#?}", world.events, world.machine.progress());
    assert_eq!(world.applied, heights(3000));
    world.machine.handle(world.now(), Input::Stop);
    let progress = world.machine.progress();
    assert_eq!(progress.buffered_bytes, 0, "every reservation was given back");
    assert!(progress.quorum_checks <= 3 + 3 + 3, "handovers, grid cells and a tip: {}", progress.quorum_checks);
}

#[test]
fn every_strategy_reaches_the_tip() {
    for strategy in [SyncStrategyType::Auto, SyncStrategyType::Parallel, SyncStrategyType::Incremental] {
        let config = SyncConfig { default_strategy: strategy, ..SyncConfig::default() };
        let mut world = World::new(chain(2500, 2), config).unwrap();
        world.join(1, Honest::default());
        world.join(2, Honest::default());
        world.start();
        assert!(
            world.run_to_tip(Duration::from_secs(60)),
            "{strategy}: {:?} {:#?}",
            world.events,
            world.machine.progress()
        );
        assert_eq!(world.applied, heights(2500), "{strategy}");
        let told = world.events.iter().any(|(_, event)| matches!(event, Event::Strategy { .. }));
        assert!(told, "{strategy}: {:?}", world.events);
        world.machine.handle(world.now(), Input::Stop);
        assert_eq!(world.machine.progress().buffered_bytes, 0, "{strategy}");
    }
}

#[test]
fn a_checkpoint_inside_a_cell_is_a_start_like_any_other() {
    let source = chain(3000, 2);
    for height in [1, 700, 1023, 1024, 1500, 1501, 2999] {
        let height = Height::new(height);
        let start = Start {
            stored: BlockPoint { height, id: source.id(height).unwrap() },
            applied: height,
            epoch: source.epoch_of(height).unwrap().info().to_ref(),
            ..source.start()
        };
        let mut world = World::from(chain(3000, 2), SyncConfig::default(), start).unwrap();
        world.join(1, Honest::default());
        world.start();
        assert!(world.run_to_tip(Duration::from_secs(60)), "{height}: {:?}", world.events);
        assert_eq!(world.applied.first(), Some(&height.next()), "{height}");
    }
}

#[test]
fn stored_blocks_are_replayed_before_anything_is_downloaded() {
    let source = chain(3000, 1);
    let stored = Height::new(2500);
    let start = Start {
        stored: BlockPoint { height: stored, id: source.id(stored).unwrap() },
        applied: Height::new(100),
        ..source.start()
    };
    let mut world = World::from(chain(3000, 1), SyncConfig::default(), start).unwrap();
    world.join(1, Honest::default());
    world.start();
    assert!(world.run_until(Duration::from_secs(60), |world| world.machine.applied() >= stored));
    let bulk = |request: &Request| matches!(request, Request::Segment { .. } | Request::Bodies { .. });
    assert!(!world.requests.iter().any(|(_, _, request)| bulk(request)), "what is here is not downloaded");
    assert!(world.run_to_tip(Duration::from_secs(60)), "{:?}", world.events);
}

#[test]
fn the_strategy_may_change_at_any_moment() {
    let strategies = [SyncStrategyType::Parallel, SyncStrategyType::Incremental, SyncStrategyType::Auto];
    for moment in [0, 1, 3, 7, 20] {
        let mut world = World::new(chain(9000, 3), SyncConfig::default()).unwrap();
        world.join(1, Honest::default());
        world.join(2, Honest::default());
        world.start();
        for strategy in strategies.iter().cycle().take(6) {
            world.run_until(Duration::from_millis(moment), |_| false);
            world.machine.handle(world.now(), Input::Strategy(*strategy));
        }
        assert!(world.run_to_tip(Duration::from_secs(60)), "{moment}: {:?}", world.machine.progress());
        assert_eq!(world.applied, heights(9000), "{moment}");
        assert!(!world.machine.can_use(SyncStrategyType::Fast), "this host can't stage a state");
        world.machine.handle(world.now(), Input::Strategy(SyncStrategyType::Fast));
        assert_eq!(world.machine.strategy(), SyncStrategyType::Incremental, "{moment}: as before");
        world.machine.handle(world.now(), Input::Stop);
        assert_eq!(world.machine.progress().buffered_bytes, 0, "{moment}");
    }
}
