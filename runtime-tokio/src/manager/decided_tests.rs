//! A node that decides, over real QUIC and a store on disk.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::chain::native::{Block, NotASegment};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::DecidedError;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync_testkit::chain::TestChain;

use super::tests::{builder, soon};
use super::*;
use crate::net::{Identity, QuicLimits, QuicNetwork};
use crate::store::{BlockStore as _, StoreConfig};
use crate::test_world::{World, copy};
use crate::{DecidedBlocks, PeerAddress, StoreHandler, SyncBuilder};

/// The block at `height` as a validator's engine hands it in.
pub(crate) fn decided(chain: &TestChain, height: u64) -> DecidedBlocks {
    let height = Height::new(height);
    let (header, payload) = (chain.header(height).unwrap().clone(), chain.payload(height).unwrap());
    let block = Block { header, payload, proof: chain.proof(height).unwrap() };
    let blocks = DecidedBlocks::native(chain.header(height.prev().unwrap()).unwrap(), &[block]).unwrap();
    match chain.handovers().iter().find(|link| link.boundary == height) {
        Some(link) => blocks.with_handover(link.bytes.clone()),
        None => blocks,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn submitted_blocks_are_durable_when_they_are_answered() {
    let world = World::new();
    let mut sync = builder(&world, "node").build().unwrap();
    let early = soon(sync.submit(decided(&world.chain, 1))).await;
    assert!(matches!(early, Err(SyncError::Decided(DecidedError::Stopped))), "{early:?}");
    soon(sync.start_sync(None)).await.unwrap();
    for height in 1..=120 {
        let at = soon(sync.submit(decided(&world.chain, height))).await.unwrap();
        assert_eq!(at, Height::new(height));
        if [1, 60, 100, 120].contains(&height) {
            // Files that a process leaves behind that is killed now.
            let name = format!("killed at {height}");
            for part in ["db", "segments"] {
                copy(&world.path("node").join(part), &world.path(&name).join(part));
            }
            std::fs::copy(world.path("node").join("genesis"), world.path(&name).join("genesis")).unwrap();
            assert_eq!(world.open(&name).stored().height, Height::new(height));
        }
    }
    let synced = soon(sync.synced()).await;
    assert!(synced.is_ok(), "nobody is there but itself: {synced:?}");
    soon(sync.shutdown()).await;
    let late = sync.submit(decided(&world.chain, 121)).await;
    assert!(matches!(late, Err(SyncError::ShutDown)), "{late:?}");
    drop(sync);
    // The node goes on after a restart, and blocks that are handed in again are there. Tasks let go of the store in
    // the background.
    let reopened = async {
        loop {
            match SyncManagerBuilder::open(world.chain.genesis(), world.path("node")) {
                Ok(builder) => break builder,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let builder = soon(reopened).await.with_listen("127.0.0.1:0".parse().unwrap());
    let mut sync = builder.build().unwrap();
    soon(sync.start_sync(None)).await.unwrap();
    for height in [119, 121, 122] {
        assert!(soon(sync.submit(decided(&world.chain, height))).await.unwrap() >= Height::new(height));
    }
    let gone = DecidedBlocks::native(world.chain.header(Height::ZERO).unwrap(), &[]);
    assert_eq!(gone, Err(NotASegment));
    assert_eq!(DecidedBlocks::of_segment::<Bytes>(Height::new(1), b"", b"", &[]), None);
    soon(sync.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_submitted_is_served_at_once_and_asked_of_nobody() {
    let world = World::new();
    let node = |name: &str, peers: Vec<PeerAddress>| {
        let store = Arc::new(world.create(name));
        let handler = Arc::new(StoreHandler::new(Arc::clone(&store)));
        let (address, identity) = ("127.0.0.1:0".parse().unwrap(), Identity::generate().unwrap());
        let (network, events) = QuicNetwork::bind(address, identity, QuicLimits::default(), Some(handler)).unwrap();
        let address = network.local_addr().unwrap();
        let chain = Arc::new(world.chain.chain());
        let sync = SyncBuilder::new(chain, store as _, Arc::new(network), events).with_peers(peers).start().unwrap();
        (sync, PeerAddress { address, id: None })
    };
    let (validator, address) = node("validator", Vec::new());
    let (follower, _) = node("follower", vec![address]);
    // More than one is on its way, through the ends of two epochs.
    let answers: Vec<_> = (1..=20).map(|height| validator.submit(decided(&world.chain, height))).collect();
    for answer in answers {
        soon(answer).await.unwrap();
    }
    for height in 21..=250 {
        assert_eq!(soon(validator.submit(decided(&world.chain, height))).await, Ok(Height::new(height)));
        let mut position = follower.position();
        let there = position.wait_for(|at| at.applied.is_some_and(|head| head.height >= Height::new(height)));
        soon(there).await.unwrap();
    }
    let progress = validator.progress().borrow().clone();
    assert_eq!(progress.peers.iter().map(|peer| peer.blocks).sum::<u64>(), 0, "{progress:?}");
    soon(follower.shutdown()).await;
    soon(validator.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_blocks_go_while_a_manager_runs() {
    let world = World::new();
    let run = async |blocks: std::ops::RangeInclusive<u64>, config: StoreConfig| {
        let opened = async {
            loop {
                // Tasks of the run before let go of the store in the background.
                match SyncManagerBuilder::open(world.chain.genesis(), world.path("node")) {
                    Ok(builder) => break builder,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let builder = soon(opened).await.with_listen("127.0.0.1:0".parse().unwrap()).with_store_config(config);
        let store = Arc::clone(builder.store());
        let mut sync = builder.build().unwrap();
        soon(sync.start_sync(None)).await.unwrap();
        for height in blocks {
            soon(sync.submit(decided(&world.chain, height))).await.unwrap();
        }
        soon(sync.shutdown()).await;
        store.status().earliest
    };
    assert_eq!(run(1..=250, StoreConfig::default()).await, Height::new(1));
    // The epochs end at 100 and 200. All of it is executed durably when the node starts.
    let config = StoreConfig { retain_blocks: 20, ..StoreConfig::default() };
    assert_eq!(run(251..=251, config).await, Height::new(201));
}
