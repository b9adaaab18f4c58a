//! State first: the walk, its liars, its moving targets, and what it does where nobody can help.

mod decided;
mod decided_by_state;
mod host;
mod liars;
mod walk;

use std::time::Duration;

use hotstuff2_sync::calls::Start;
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Input, StateProgress};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, StateHost, World};

const MINUTE: Duration = Duration::from_secs(60);
const INTERVAL: u64 = 500;

fn spec(blocks: u64) -> ChainSpec {
    ChainSpec { blocks, epochs: 3, snapshot_interval: INTERVAL, ..ChainSpec::default() }
}

fn chain(blocks: u64, accounts: u32) -> TestChain {
    TestChain::with_ledger(spec(blocks), accounts, 100).unwrap()
}

fn keeping(first: u64, last: u64) -> Honest {
    Honest { states: HeightRange::new(Height::new(first), Height::new(last)), ..Honest::default() }
}

fn honest() -> Honest {
    Honest::default()
}

fn fast() -> SyncConfig {
    SyncConfig { default_strategy: SyncStrategyType::Fast, ..SyncConfig::default() }
}

fn world_with(chain: TestChain, config: SyncConfig) -> (World, StateHost) {
    let host = StateHost::new(chain.chain());
    let start = Start { stages_state: true, ..chain.start() };
    let mut world = World::from(chain, config, start).unwrap();
    world.set_host(host.clone());
    (world, host)
}

fn state(world: &World) -> StateProgress {
    world.machine.progress().state.unwrap()
}

/// The end is right: everything applied on the right state, in order and without a gap, every byte given back.
fn assert_arrived(world: &mut World, host: &StateHost, base: u64) {
    assert!(world.run_to_tip(MINUTE * 10), "{:#?} {:#?}", world.events, world.machine.progress());
    let tip = world.source.tip_height();
    assert_eq!(host.held.borrow().applied, tip);
    assert_eq!(Some(host.root()), world.source.header(tip).map(|header| header.state_root));
    assert_eq!(host.held.borrow().activated.as_ref().map(|base| base.point.height), Some(Height::new(base)));
    let expected: Vec<Height> = (base + 1..=tip.get()).map(Height::new).collect();
    assert_eq!(world.applied, expected, "blocks go on right above the state");
    world.machine.handle(world.now(), Input::Stop);
    assert_eq!(world.machine.progress().buffered_bytes, 0, "every reservation was given back");
}

fn state_bytes(chain: &TestChain, height: u64) -> u64 {
    let state = chain.state(Height::new(height)).unwrap();
    state.records().map(|(_, record)| record.len() as u64).sum()
}
