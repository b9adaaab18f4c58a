//! What the machine itself costs for each block, by the number of connected peers: real time inside the machine, in a
//! world of virtual time with real answers and real verification outside of it.
//!
//! `cargo run --release -p hotstuff2-sync-testkit --example coordination [PEERS...]`

use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world::{Honest, World};

const BLOCKS: u64 = 100_000;
const ROUNDS: usize = 5;
/// Together the peers that are asked give so many bytes a second, as fast as this machine syncs over loopback.
const RATE: u64 = 180_000_000;

fn main() {
    let spec = ChainSpec { blocks: BLOCKS, epochs: 1, ..ChainSpec::default() };
    let chain = match TestChain::with_payloads(spec, 1024, None) {
        Ok(chain) => chain,
        Err(error) => unreachable!("a plain chain: {error}"),
    };
    println!("{:>6} {:>14} {:>14} {:>14} {:>14}", "peers", "us per block", "the least", "us per cell", "virtual s");
    let named: Vec<u64> = std::env::args().skip(1).filter_map(|count| count.parse().ok()).collect();
    for count in if named.is_empty() { vec![3, 100, 1000] } else { named } {
        let mut times: Vec<(Duration, u64)> = (0..ROUNDS).map(|_| run(&chain, count)).collect();
        times.sort_unstable();
        let (median, virtual_micros) = times[ROUNDS / 2];
        let [block, least] = [median, times[0].0].map(|time| time.as_secs_f64() * 1e6 / BLOCKS as f64);
        let (cell, virtual_seconds) = (block * 1024.0, virtual_micros as f64 / 1e6);
        println!("{count:>6} {block:>14.4} {least:>14.4} {cell:>14.1} {virtual_seconds:>14.2}");
    }
}

fn run(chain: &TestChain, count: u64) -> (Duration, u64) {
    let config = SyncConfig { default_strategy: SyncStrategyType::Parallel, ..SyncConfig::default() };
    let mut world = match World::new(chain.clone(), config) {
        Ok(world) => world,
        Err(error) => unreachable!("the defaults are in range: {error}"),
    };
    let asked = count.min(SyncConfig::default().max_sync_peers as u64);
    for number in 0..count {
        let mut name = [0; 32];
        // Spread over the table, as keys are.
        name[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        name[8..16].copy_from_slice(&number.to_be_bytes());
        let honest = Honest { rate: RATE / asked, latency: Duration::from_millis(5), ..Honest::default() };
        world.join_as(PeerId::from_bytes(name), number, honest);
    }
    world.start();
    // Everyone has said what it has; from here on blocks are all there is to do.
    world.run_until(Duration::from_millis(1), |_| false);
    let (before, since) = (world.machine_time, world.now());
    let done = world.run_until(Duration::from_secs(600), |world| world.machine.applied() == Height::new(BLOCKS));
    assert!(done, "{:#?}", world.machine.progress());
    (world.machine_time - before, world.now().as_micros() - since.as_micros())
}
