//! Time to hand in a decided block: until it is durable and executed, and until each follower over loopback has executed
//! it. One block at a time, each handed in when all followers have the one before; or so many a second, as an engine
//! decides them.
//!
//! `cargo bench -p hotstuff2-sync-tokio --bench submit`. `HS2_BLOCKS` and `HS2_VALIDATORS` change the chain, `HS2_FOLLOWERS`
//! how many follow, and `HS2_RATE` is the blocks a second (0: one at a time).

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::chain::native::Block;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_tokio::net::{Identity, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{DiskStore, StoreAnchor};
use hotstuff2_sync_tokio::{DecidedBlocks, PeerAddress, StoreHandler, SyncBuilder, SyncHandle};
use tokio::time::{Instant, sleep_until};

/// Blocks whose times do not count: the nodes get to know each other meanwhile.
const FIRST: u64 = 100;

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

/// When the follower had executed each block, from height 1 to `last`.
async fn executions(follower: SyncHandle, last: u64) -> Result<Vec<Instant>, String> {
    let mut position = follower.position();
    let mut times = Vec::new();
    while (times.len() as u64) < last {
        position.changed().await.map_err(|_| "the follower ended".to_owned())?;
        let now = Instant::now();
        let head = position.borrow_and_update().applied.map_or(0, |head| head.height.get());
        times.resize(usize::try_from(head).unwrap_or(usize::MAX).max(times.len()), now);
    }
    follower.shutdown().await;
    Ok(times)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (blocks, validators) = (setting("HS2_BLOCKS", 10_000), setting("HS2_VALIDATORS", 100));
    let (followers, rate) = (setting("HS2_FOLLOWERS", 1), setting("HS2_RATE", 0));
    let spec = ChainSpec { blocks, validators, ..ChainSpec::default() };
    let chain = TestChain::with_payloads(spec, 1024, None)?;
    let heights = || (1..=blocks).map(Height::new);
    let all: Option<Vec<DecidedBlocks>> = heights().map(|height| decided(&chain, height)).collect();
    let folder = tempfile::tempdir()?;
    let (validator, address) = node(&chain, &folder.path().join("validator"), Vec::new())?;
    let (mut following, mut positions) = (Vec::new(), Vec::new());
    for number in 0..followers {
        let (follower, _) = node(&chain, &folder.path().join(format!("follower-{number}")), vec![address])?;
        positions.push(follower.position());
        following.push(tokio::spawn(executions(follower, blocks)));
    }
    let (mut begun, mut durable) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let mut before = 0;
    for (blocks, height) in all.ok_or("the chain has all of its blocks")?.into_iter().zip(heights()) {
        if rate > 0 {
            sleep_until(start + Duration::from_secs(1) * u32::try_from(height.get())? / u32::try_from(rate)?).await;
        }
        let now = Instant::now();
        begun.push(now);
        validator.submit(blocks).await?;
        durable.push(now.elapsed());
        if rate == 0 {
            for position in &mut positions {
                position.wait_for(|at| at.applied.is_some_and(|head| head.height >= height)).await?;
            }
        }
        if height == Height::new(FIRST) {
            before = validator.usage().wire_bytes_received;
        }
    }
    let pace = if rate == 0 { "one at a time".to_owned() } else { format!("{rate} a second") };
    println!(
        "{blocks} blocks of 1 KiB, {validators} validators, {pace}, {followers} followers, stores that are forced to disk"
    );
    let counted = usize::try_from(FIRST)?;
    print("until durable and executed", durable.into_iter().skip(counted).collect());
    for (number, times) in following.into_iter().enumerate() {
        let taken = times.await??.into_iter().zip(&begun).map(|(at, begun)| at.saturating_duration_since(*begun));
        print(&format!("until follower {number} has executed it"), taken.skip(counted).collect());
    }
    let received = validator.usage().wire_bytes_received - before;
    let taken: u64 = validator.progress().borrow().peers.iter().map(|peer| peer.blocks).sum();
    println!("the validator received {received} bytes, and {taken} blocks, from its followers");
    validator.shutdown().await;
    Ok(())
}
