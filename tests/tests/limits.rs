//! Limits that hold, and that what never came is not held against.

use std::cell::Cell;
use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::Input;
use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, Reply, Scripted, World};

const MINUTE: Duration = Duration::from_secs(60);

fn parallel() -> SyncConfig {
    SyncConfig { default_strategy: SyncStrategyType::Parallel, ..SyncConfig::default() }
}

fn chain(blocks: u64) -> TestChain {
    let spec = ChainSpec { blocks, epochs: 1, ..ChainSpec::default() };
    TestChain::with_payloads(spec, 1024, None).unwrap()
}

#[test]
fn no_more_requests_are_out_than_configured() {
    let config = SyncConfig { parallel_download_limit: 3, ..parallel() };
    let mut world = World::new(chain(10_000), config).unwrap();
    for name in 1..=6 {
        world.join(name, Honest { rate: 2_000_000, ..Honest::default() });
    }
    world.start();
    let most = Cell::new(0);
    let done = world.run_until(MINUTE, |world| {
        most.set(most.get().max(world.machine.downloads().tasks().count()));
        world.reached() == Some(world.source.tip_height())
    });
    assert!(done, "{:?}", world.events);
    assert_eq!(most.get(), 3);
}

#[test]
fn what_never_came_is_not_charged_to_the_bandwidth() {
    // Half of the peers never answer for bodies: what they were asked for comes from the others, at the full rate.
    let limit = 1_000_000;
    let mut world = World::new(chain(12_000), SyncConfig { max_download_bandwidth: limit, ..parallel() }).unwrap();
    for name in 1..=3 {
        world.join(
            name,
            Scripted(|request: &Request, _: &TestChain, honest| match request {
                Request::Bodies { .. } => Reply::Never,
                _ => honest,
            }),
        );
    }
    for name in 4..=6 {
        world.join(name, Honest::default());
    }
    world.start();
    world.run_until(Duration::from_secs(2), |_| false);
    let (before, since) = (world.machine.progress().useful_bytes, world.now());
    world.run_until(Duration::from_secs(8), |_| false);
    let bytes = world.machine.progress().useful_bytes - before;
    let rate = bytes * 1_000_000 / (world.now().as_micros() - since.as_micros());
    assert!((limit * 90 / 100..=limit * 105 / 100).contains(&rate), "{rate} bytes a second");
}

#[test]
fn who_went_away_has_no_share_of_the_bandwidth() {
    let limit = 1_000_000;
    let mut world = World::new(chain(12_000), SyncConfig { max_download_bandwidth: limit, ..parallel() }).unwrap();
    let peers: Vec<_> = (1..=3).map(|name| world.join(name, Honest::default())).collect();
    world.start();
    world.run_until(Duration::from_secs(3), |_| false);
    let share = |world: &World| world.machine.bandwidth().share_of(peers[0]).unwrap();
    assert!(share(&world) < limit * 2 / 3, "{}", share(&world));
    world.leave(peers[1]);
    world.leave(peers[2]);
    assert_eq!(share(&world), limit);
}

#[test]
fn downloads_end_with_the_segment_that_holds_the_height_that_was_asked_for() {
    let mut world = World::new(chain(5000), parallel()).unwrap();
    world.machine.handle(world.now(), Input::Start(Some(Height::new(1500))));
    world.join(1, Honest::default());
    world.run_until(MINUTE, |_| false);
    assert_eq!(world.machine.applied(), Height::new(2047));
}
