//! The light client against peers that answer with real bytes, truthfully or not, on virtual time.

mod attacks;
mod epochs;
mod queries;
mod skips;
mod tips;
mod worlds;

use std::time::Duration;

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::{LightConfig, LightWay};
use hotstuff2_sync::state::{MemoryStateStore, Record};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::light::LightWorld;
use hotstuff2_sync_testkit::world::Honest;

const MINUTE: Duration = Duration::from_secs(60);

fn config(way: LightWay) -> LightConfig {
    LightConfig { way, ..LightConfig::default() }
}

fn chain(blocks: u64, epochs: u64) -> TestChain {
    TestChain::new(ChainSpec { blocks, epochs, ..ChainSpec::default() }).unwrap()
}

/// A chain with a ledger that serves the state after every fifth block.
fn ledger(blocks: u64, epochs: u64) -> TestChain {
    let spec = ChainSpec { blocks, epochs, snapshot_interval: 5, ..ChainSpec::default() };
    TestChain::with_ledger(spec, 30, 200).unwrap()
}

/// A client of `source` with `honest` honest peers, each of a group of its own.
fn world(source: TestChain, way: LightWay, honest: u8) -> LightWorld {
    let mut world = LightWorld::new(source, config(way)).unwrap();
    for name in 1..=honest {
        world.join(name, Honest::default());
    }
    world
}

/// The keys and values of the state after the block at `height`.
fn entries(chain: &TestChain, height: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let records = chain.state(Height::new(height)).into_iter().flat_map(MemoryStateStore::records);
    let records = records.map(|(_, record)| Record::decode(record.clone()).unwrap());
    records.map(|record| (record.key().to_vec(), record.value().to_vec())).collect()
}
