//! Long lines: what is under way on one is no sign of slowness.

use std::rc::Rc;
use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, Line, Lined, World};

/// 20 Mbit/s.
const LINE: u64 = 2_500_000;

/// Part of what a line of this length gives that is used, in percent.
fn used(latency: u64, blocks: u64) -> u64 {
    let spec = ChainSpec { blocks, epochs: 1, ..ChainSpec::default() };
    let config = SyncConfig { default_strategy: SyncStrategyType::Parallel, ..SyncConfig::default() };
    let mut world = World::new(TestChain::with_payloads(spec, 1024, None).unwrap(), config).unwrap();
    let line = Line::new(LINE);
    let peer = Honest { latency: Duration::ZERO, rate: u64::MAX, ..Honest::default() };
    let latency = Duration::from_millis(latency);
    world.join(1, Lined { peer, latency, lines: vec![Rc::clone(&line)] });
    world.start();
    let done = world.run_until(Duration::from_secs(300), |world| world.machine.applied() == Height::new(blocks));
    let (took, progress) = (world.now(), world.machine.progress());
    assert!(done, "{progress:#?}");
    line.borrow().passed * 100_000_000 / LINE / took.as_micros()
}

#[test]
fn a_line_is_filled_however_long_it_is() {
    // Much is under way on a long line, and what was asked for early has waited behind it: that says nothing of its rate.
    let shares = [20, 300, 600].map(|latency| used(latency, 30_000));
    assert!(shares.iter().all(|&share| share >= 65), "{shares:?} %");
}
