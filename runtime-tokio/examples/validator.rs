//! A network of four validators in one process. Each has an engine that decides blocks, hands them in, and serves them to
//! whoever asks; one comes late, catches up from the others, and decides on.
//!
//! `cargo run -p hotstuff2-sync-tokio --example validator`

mod peer;

use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::chain::native::Block;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_tokio::net::{Identity, QuicLimits, QuicNetwork};
use hotstuff2_sync_tokio::store::{DiskStore, StoreAnchor};
use hotstuff2_sync_tokio::{DecidedBlocks, PeerAddress, StoreHandler, SyncBuilder, SyncManager, TokioSyncManager};
use tokio::sync::watch;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The block that the late one waits for before it starts.
const LATE: Height = Height::new(80);

/// The blocks that consensus would have agreed on: a generated chain of three epochs, signed by all four.
fn agreed() -> Result<TestChain, Error> {
    Ok(TestChain::new(ChainSpec { blocks: 150, validators: 4, ..ChainSpec::default() })?)
}

/// The block at `height` as an engine has it once it is decided: header, payload, and proof that it is final.
fn decided(chain: &TestChain, height: Height) -> Option<DecidedBlocks> {
    let (parent, header) = (chain.header(height.prev()?)?, chain.header(height)?.clone());
    let block = Block { header, payload: chain.payload(height)?, proof: chain.proof(height)? };
    let blocks = DecidedBlocks::native(parent, &[block]).ok()?;
    // The last block of an epoch comes with the handover to the next one, or nobody could prove what follows.
    Some(match chain.handovers().iter().find(|link| link.boundary == height) {
        Some(link) => blocks.with_handover(link.bytes.clone()),
        None => blocks,
    })
}

/// A node with a store, which serves what it has to its peers.
fn node(
    chain: &TestChain,
    dir: &std::path::Path,
    peers: Vec<PeerAddress>,
) -> Result<(TokioSyncManager, PeerAddress), Error> {
    let rules = Arc::new(chain.chain());
    let (store, _) = DiskStore::open_or_create(dir, Arc::clone(&rules), &StoreAnchor::from(chain.genesis()))?;
    let store = Arc::new(store);
    let handler = Arc::new(StoreHandler::new(Arc::clone(&store)));
    let (network, events) = QuicNetwork::bind(peer::HERE, Identity::generate()?, QuicLimits::default(), Some(handler))?;
    let address = PeerAddress { address: network.local_addr()?, id: None };
    let sync = SyncBuilder::new(rules, Arc::clone(&store) as _, Arc::new(network), events).with_peers(peers);
    Ok((sync.manage(store)?, address))
}

/// A validator's engine, once it takes part: whatever the network decides it hands in, and waits until that is durable.
async fn engine(
    chain: Arc<TestChain>,
    sync: Arc<dyn SyncManager>,
    from: Height,
    mut decides: watch::Receiver<Height>,
) -> Result<(), Error> {
    let mut next = from;
    while next <= chain.tip_height() {
        decides.wait_for(|height| *height >= next).await?;
        let blocks = decided(&chain, next).ok_or("the chain has all blocks up to its tip")?;
        // Stored, executed and served when this returns; where a peer was quicker, it is there already.
        sync.submit(blocks).await?;
        next = next.next();
    }
    Ok(())
}

#[tokio::main]
pub(crate) async fn main() -> peer::Outcome {
    run().await.map_err(|error| error.to_string().into())
}

async fn run() -> Result<(), Error> {
    let (chain, folder) = (Arc::new(agreed()?), tempfile::tempdir()?);
    let (decides, deciding) = watch::channel(Height::ZERO);
    let (mut nodes, mut addresses, mut engines) = (Vec::new(), Vec::new(), Vec::new());
    for name in ["one", "two", "three", "late"] {
        let (sync, address) = node(&chain, &folder.path().join(name), addresses.clone())?;
        addresses.push(address);
        nodes.push(sync);
    }
    let late = nodes.pop().ok_or("there are four")?;
    for sync in &nodes {
        sync.clone().start_sync(None).await?;
        let sync: Arc<dyn SyncManager> = Arc::new(sync.clone());
        engines.push(tokio::spawn(engine(Arc::clone(&chain), sync, Height::new(1), deciding.clone())));
    }
    // The network decides a block every ten milliseconds.
    let tip = chain.tip_height();
    let network = tokio::spawn(async move {
        for height in (1..=tip.get()).map(Height::new) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            decides.send_replace(height);
        }
    });

    // One comes late, and has the blocks so far from the others; then its engine takes part.
    deciding.clone().wait_for(|height| *height >= LATE).await?;
    late.clone().start_sync(None).await?;
    let at = late.synced().await?;
    println!("the late one has caught up at height {}", at.height);
    let sync: Arc<dyn SyncManager> = Arc::new(late.clone());
    engines.push(tokio::spawn(engine(Arc::clone(&chain), sync, at.height.next(), deciding)));

    network.await?;
    for engine in engines {
        engine.await??;
    }
    for sync in nodes.iter().chain([&late]) {
        let progress = sync.get_sync_progress().await?;
        println!("a validator stands at height {}", progress.current_height);
    }
    for sync in nodes.iter().chain([&late]) {
        assert!(sync.shutdown().await.progress.current >= tip);
    }
    Ok(())
}
