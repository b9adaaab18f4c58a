//! Epochs: one by one, and skipping.

use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::light::{LightEvent, LightWay};
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain, Turnover};
use hotstuff2_sync_testkit::light::LightWorld;
use hotstuff2_sync_testkit::world::Honest;

use super::{MINUTE, config};

/// A tenth of the set changes each ten epochs.
fn slow(epochs: u64) -> TestChain {
    let turnover = Turnover::Some { replaced: 1, epochs: 10 };
    let spec = ChainSpec { blocks: epochs, epochs, validators: 10, turnover, ..ChainSpec::default() };
    TestChain::new(spec).unwrap()
}

fn world(source: &TestChain, way: LightWay) -> LightWorld {
    let mut world = LightWorld::new(source.clone(), config(way)).unwrap();
    for name in 1..=4 {
        world.join(name, Honest::default());
    }
    world
}

#[test]
fn epochs_are_proven_one_by_one() {
    let source = slow(150);
    let mut world = world(&source, LightWay::OneByOne);
    assert!(world.run_to_tip(MINUTE));
    assert_eq!(world.client.position().epoch.epoch(), Epoch::new(149));
    assert!(world.quorum_checks >= 149, "{}", world.quorum_checks);
    assert!(!world.events.iter().any(|(_, event)| matches!(event, LightEvent::Skipped { .. })));
    assert!(world.bans.is_empty());
}

#[test]
fn epochs_are_skipped_as_far_as_a_third_of_the_power_stays() {
    let source = slow(150);
    let mut world = world(&source, LightWay::Skipping);
    assert!(world.run_to_tip(MINUTE));
    assert_eq!(world.told().map(|block| block.height), Some(Height::new(150)));
    // Two thirds are gone after about seventy epochs, so a few skips are enough, each of two certificates.
    let skips: Vec<_> = world
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            LightEvent::Skipped { from, to } => Some((from.get(), to.get())),
            _ => None,
        })
        .collect();
    assert!((2..=8).contains(&skips.len()), "{skips:?}");
    assert!(world.quorum_checks <= 40, "{} checks for {skips:?}", world.quorum_checks);
    assert!(world.bans.is_empty(), "too far is nobody's fault");
    // No more handovers than the skips take, and those that were too far.
    let asked = world.requests.iter().filter(|(_, _, request)| matches!(request, Request::Handovers { .. }));
    assert!(asked.count() <= 40);
}

#[test]
fn where_every_epoch_has_a_new_set_skipping_goes_one_by_one() {
    let turnover = Turnover::Some { replaced: 10, epochs: 1 };
    let spec = ChainSpec { blocks: 12, epochs: 12, validators: 10, turnover, ..ChainSpec::default() };
    let source = TestChain::new(spec).unwrap();
    let mut world = world(&source, LightWay::Skipping);
    assert!(world.run_to_tip(MINUTE));
    assert!(!world.events.iter().any(|(_, event)| matches!(event, LightEvent::Skipped { .. })));
    assert!(world.bans.is_empty());
}

#[test]
fn an_epoch_that_begins_while_the_client_runs_is_entered() {
    use std::time::Duration;

    use hotstuff2_sync_testkit::light::Growing;

    for way in [LightWay::OneByOne, LightWay::Skipping] {
        let source = TestChain::new(ChainSpec { blocks: 200, epochs: 20, ..ChainSpec::default() }).unwrap();
        let mut world = LightWorld::new(source, config(way)).unwrap();
        for name in 1..=3 {
            let every = Duration::from_millis(500);
            world.join(name, Growing { honest: Honest::default(), from: Height::new(15), every });
        }
        world.run(MINUTE);
        assert!(world.client.position().epoch.epoch() > Epoch::new(10));
        assert!(world.told().unwrap().height > Height::new(120));
        assert!(world.bans.is_empty());
    }
}
