//! A late node catches up: the machine against honest peers.

use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
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
    world.machine.stop(world.now());
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
        world.machine.stop(world.now());
        assert_eq!(world.machine.progress().buffered_bytes, 0, "{strategy}");
    }
}
