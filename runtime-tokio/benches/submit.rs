//! Time to hand in a decided block: until it is durable and executed, and until a follower over loopback has executed
//! it. One block at a time, each handed in when the follower has the one before.
//!
//! `cargo bench -p hotstuff2-sync-tokio --bench submit`; `HS2_BLOCKS` and `HS2_VALIDATORS` change the chain.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotstuff2_sync::chain::native::Block;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_tokio::net::{Identity, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{DiskStore, StoreAnchor};
use hotstuff2_sync_tokio::{DecidedBlocks, PeerAddress, StoreHandler, SyncBuilder, SyncHandle};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn decided(chain: &TestChain, height: Height) -> Option<DecidedBlocks> {
    let (parent, header) = (chain.header(height.prev()?)?, chain.header(height)?.clone());
    let block = Block { header, payload: chain.payload(height)?, proof: chain.proof(height)? };
    let blocks = DecidedBlocks::native(parent, &[block]).ok()?;
    Some(match chain.handovers().iter().find(|link| link.boundary == height) {
        Some(link) => blocks.with_handover(link.bytes.clone()),
        None => blocks,
    })
}

fn node(chain: &TestChain, dir: &Path, peers: Vec<PeerAddress>) -> Result<(SyncHandle, PeerAddress), Box<dyn Error>> {
    let rules = Arc::new(chain.chain());
    let store = Arc::new(DiskStore::create(dir, Arc::clone(&rules), &StoreAnchor::from(chain.genesis()))?);
    let handler = Arc::new(StoreHandler::new(Arc::clone(&store)));
    let here = "127.0.0.1:0".parse()?;
    let (network, events) = QuicNetwork::bind(here, Identity::generate()?, QuicLimits::default(), Some(handler))?;
    let address = PeerAddress { address: network.local_addr()?, id: None };
    Ok((SyncBuilder::new(rules, store as _, Arc::new(network), events).with_peers(peers).start()?, address))
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    println!("{what}: p50 {:?}, p99 {:?}, most {:?}", at(50), at(99), times.last().copied().unwrap_or_default());
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (blocks, validators) = (setting("HS2_BLOCKS", 10_000), setting("HS2_VALIDATORS", 100));
    let spec = ChainSpec { blocks, validators, ..ChainSpec::default() };
    let chain = TestChain::with_payloads(spec, 1024, None)?;
    let heights = || (1..=blocks).map(Height::new);
    let all: Option<Vec<DecidedBlocks>> = heights().map(|height| decided(&chain, height)).collect();
    let folder = tempfile::tempdir()?;
    let (validator, address) = node(&chain, &folder.path().join("validator"), Vec::new())?;
    let (follower, _) = node(&chain, &folder.path().join("follower"), vec![address])?;
    let (mut durable, mut followed) = (Vec::new(), Vec::new());
    let mut position = follower.position();
    let mut before = 0;
    for (blocks, height) in all.ok_or("the chain has all of its blocks")?.into_iter().zip(heights()) {
        let begun = Instant::now();
        validator.submit(blocks).await?;
        durable.push(begun.elapsed());
        position.wait_for(|at| at.applied.is_some_and(|head| head.height >= height)).await?;
        followed.push(begun.elapsed());
        // The first ones come while the two get to know each other.
        if height == Height::new(100) {
            (durable, followed) = (Vec::new(), Vec::new());
            before = validator.usage().wire_bytes_received;
        }
    }
    println!(
        "{blocks} blocks of 1 KiB, {validators} validators, one at a time, a store that is forced to disk for each"
    );
    print("until durable and executed", durable);
    print("until the follower has executed it", followed);
    let received = validator.usage().wire_bytes_received - before;
    let taken: u64 = validator.progress().borrow().peers.iter().map(|peer| peer.blocks).sum();
    println!("the validator received {received} bytes, and {taken} blocks, from the follower");
    follower.shutdown().await;
    validator.shutdown().await;
    Ok(())
}
