//! Managers that begin from a checkpoint, and checkpoints that are refused.

use std::time::Duration;

use hotstuff2_sync::chain::TipFacts;
use hotstuff2_sync::chain::native::AnchorError;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::LightCheckpoint;
use hotstuff2_sync::machine::NewMachineError;
use hotstuff2_sync_testkit::chain::TestChain;

use super::tests::{TIP, full, soon};
use super::{BuildError, SyncManager as _, SyncManagerBuilder};
use crate::checkpoint::{CHECKPOINT_FILE, CheckpointError, read_checkpoint};
use crate::driver::StartError;
use crate::store::{BlockStore as _, OpenError};
use crate::test_world::World;

fn checkpoint(chain: &TestChain, height: u64) -> LightCheckpoint {
    let height = Height::new(height);
    let header = chain.header(height).unwrap();
    let tip = TipFacts {
        height,
        id: chain.id(height).unwrap(),
        epoch: header.epoch,
        timestamp: header.timestamp,
        state_root: Some(header.state_root),
    };
    let epoch = chain.epoch_of(height).unwrap().info().to_ref();
    LightCheckpoint { chain_id: chain.genesis().chain_id(), epoch, tip, proof: chain.tip(height).unwrap() }
}

fn open(world: &World, checkpoint: &LightCheckpoint, name: &str) -> Result<SyncManagerBuilder, BuildError> {
    let builder = SyncManagerBuilder::open_from(world.chain.genesis(), checkpoint, world.path(name))?;
    Ok(builder.with_listen("127.0.0.1:0".parse().unwrap()))
}

fn refused(world: &World, checkpoint: &LightCheckpoint, name: &str) -> CheckpointError {
    match open(world, checkpoint, name) {
        Err(BuildError::Checkpoint(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_begins_above_a_checkpoint_and_goes_on_from_there() {
    let world = World::new();
    let server = full(&world);
    let begin = checkpoint(&world.chain, 150);
    let mut sync = open(&world, &begin, "new").unwrap().with_peers([server.address()]).build().unwrap();
    soon(sync.start_sync(None)).await.unwrap();
    assert_eq!(soon(sync.synced()).await.unwrap().height, TIP);
    soon(sync.shutdown()).await;
    drop(sync);
    // Later it needs no word of it any more; nothing below was fetched.
    assert_eq!(read_checkpoint(&world.path("new").join(CHECKPOINT_FILE)).unwrap(), begin);
    let builder = soon(async {
        loop {
            match SyncManagerBuilder::open(world.chain.genesis(), world.path("new")) {
                // Tasks of the network may hold the store for a moment longer.
                Err(BuildError::Open(OpenError::InUse(_))) => tokio::time::sleep(Duration::from_millis(10)).await,
                opened => break opened.unwrap(),
            }
        }
    })
    .await;
    let store = builder.store();
    assert_eq!((store.anchor().height, store.stored().height), (Height::new(150), TIP));
    assert_eq!(store.header_at(Height::new(150)).unwrap(), None);
    assert_eq!(store.header_at(Height::new(151)).unwrap().map(|it| it.id), world.chain.id(Height::new(151)));
    drop(builder);
    // A newer one that the store holds is as good; the same one too.
    for height in [150, 151, 200, TIP.get()] {
        open(&world, &checkpoint(&world.chain, height), "new").unwrap();
    }
}

#[tokio::test]
async fn a_store_of_another_chain_than_the_checkpoint_is_named() {
    let world = World::new();
    drop(world.full());
    let fork = world.chain.fork(Height::new(100)).unwrap();
    for height in [101, 200, TIP.get()] {
        let (ours, other) = (world.chain.id(Height::new(height)).unwrap(), checkpoint(&fork, height));
        let error = refused(&world, &other, "full");
        let text = error.to_string();
        assert!(text.contains(&ours.to_string()) && text.contains(&other.tip.id.to_string()), "{text}");
        match error {
            CheckpointError::Differs { height: at, checkpoint, stored } => {
                assert_eq!((at.get(), checkpoint, stored), (height, other.tip.id, ours));
            }
            other => panic!("{other}"),
        }
    }
    // Below where they part it is the same chain, and a checkpoint of the chain itself holds everywhere.
    open(&world, &checkpoint(&fork, 50), "full").unwrap();
    open(&world, &checkpoint(&world.chain, 200), "full").unwrap();
}

#[tokio::test]
async fn checkpoints_that_do_not_hold_or_can_not_be_compared_are_refused() {
    let world = World::new();
    let right = checkpoint(&world.chain, 150);
    // Its own proof is checked before a store is made.
    let mut bent = right.clone();
    bent.tip.id = Hash::from_bytes([7; 32]);
    assert!(matches!(refused(&world, &bent, "bent"), CheckpointError::NotProven { height, .. } if height.get() == 150));
    let stranger = LightCheckpoint { chain_id: Hash::ZERO, ..right.clone() };
    assert!(matches!(refused(&world, &stranger, "bent"), CheckpointError::OtherChain { .. }));
    assert!(!world.path("bent").exists());
    // A store that stands below: what lies between is not the checkpoint's to prove.
    drop(SyncManagerBuilder::open(world.chain.genesis(), world.path("old")).unwrap());
    let error = refused(&world, &right, "old");
    assert!(matches!(error, CheckpointError::Above { stored: Height::ZERO, .. }), "{error}");
    // A store that begins above.
    drop(open(&world, &checkpoint(&world.chain, 200), "young").unwrap());
    let error = refused(&world, &right, "young");
    assert!(matches!(error, CheckpointError::Below { begins, .. } if begins.get() == 200), "{error}");
}

#[tokio::test]
async fn an_aged_checkpoint_is_refused() {
    let world = World::new();
    let old = checkpoint(&world.chain, 150);
    let builder = open(&world, &old, "old").unwrap();
    let error = builder.with_trusting_period(Duration::from_secs(60), old.tip.timestamp).build().unwrap_err();
    let BuildError::Start(StartError::Machine(NewMachineError::Trust(why))) = &error else { panic!("{error}") };
    assert!(matches!(why, AnchorError::TooOld { trusting_period_ms: 60_000, .. }), "{why}");
    assert!(error.to_string().contains("take a newer checkpoint"), "{error}");
}
