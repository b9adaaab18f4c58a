//! The validator over a store of a small chain, and the state calls over a sync into another one.

use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::state::{KeyValueState, Record};

use super::*;
use crate::net::{Identity, QuicLimits, QuicNetwork};
use crate::store::{BlockStore as _, StateSpace};
use crate::test_world::{HEIGHT, Store, World};
use crate::{Application, NoApplication, PeerAddress, StateSyncError, StoreHandler, SyncBuilder};

type E = ValidationError<StoreFailure>;

fn id(world: &World) -> SnapshotId {
    SnapshotId::of(HEIGHT, &world.header(HEIGHT))
}

#[tokio::test]
async fn states_and_snapshots_are_those_that_blocks_name() {
    let world = World::new();
    let store = Arc::new(world.full());
    let validator = SyncStateValidator::new(Arc::clone(&store) as _);
    let (id, header, other) = (id(&world), world.header(HEIGHT), world.header(Height::new(241)));
    assert!(validator.validate_state_root(&header, &header.state_root).await.is_ok());
    let wrong = validator.validate_state_root(&header, &other.state_root).await;
    assert!(matches!(wrong, Err(E::WrongRoot { .. })), "{wrong:?}");

    assert!(validator.validate_snapshot_integrity(&id).await.is_ok());
    assert!(validator.validate_state_at(HEIGHT).await.is_ok());
    let state = StateManager::state_at(&*store, HEIGHT).unwrap().unwrap();
    assert!(validator.validate_snapshot(&StateSnapshot { id, state: Arc::clone(&state) }).await.is_ok());
    let refused = async |id| validator.validate_snapshot_integrity(&id).await.unwrap_err();
    assert!(matches!(refused(SnapshotId { block: other.id, ..id }).await, E::OtherBlock { .. }));
    assert!(matches!(refused(SnapshotId { state_root: other.state_root, ..id }).await, E::WrongRoot { .. }));
    // A block without a kept state, and no block at all.
    let kept = SnapshotId::of(Height::new(241), &other);
    assert!(matches!(refused(kept).await, E::NotStored(height) if height == Height::new(241)));
    let above = SnapshotId { height: Height::new(999), ..id };
    assert!(matches!(refused(above).await, E::NotStored(_)));
    let passed_off = StateSnapshot { id: kept, state };
    assert!(matches!(validator.validate_snapshot(&passed_off).await, Err(E::WrongRoot { .. })));
}

#[tokio::test]
async fn a_snapshot_with_a_lost_record_is_found() {
    let world = World::new();
    let store = Arc::new(world.full_of(world.chain.parts().to_vec(), None, 1));
    let validator = SyncStateValidator::new(store);
    let found = validator.validate_snapshot_integrity(&id(&world)).await;
    assert!(matches!(found, Err(E::WrongRoot { .. })), "{found:?}");
}

/// The changes between the states at two heights.
fn delta(world: &World, from: Height, to: Height) -> StateDelta {
    let (before, after) = (world.chain.state(from).unwrap(), world.chain.state(to).unwrap());
    let pair = |bytes: &bytes::Bytes| {
        let record = Record::decode(bytes.clone()).unwrap();
        (record.key().to_vec(), record.value().to_vec())
    };
    let old: std::collections::BTreeMap<_, _> = before.records().map(|(_, bytes)| pair(bytes)).collect();
    let new: std::collections::BTreeMap<_, _> = after.records().map(|(_, bytes)| pair(bytes)).collect();
    let mut changes: Vec<_> = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .chain(old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), None)))
        .collect();
    changes.sort();
    StateDelta { from: world.header(from).state_root, to: world.header(to).state_root, changes }
}

#[tokio::test]
async fn a_delta_leads_from_a_kept_state_to_a_blocks() {
    let world = World::new();
    let store = Arc::new(world.full());
    let validator = SyncStateValidator::new(Arc::clone(&store) as _);
    // Downwards, since the store's state is the newest: roots don't know which is the older.
    let (from, to) = (world.header(HEIGHT), world.header(Height::new(80)));
    let good = delta(&world, HEIGHT, Height::new(80));
    assert!(good.changes.len() > 10);
    assert!(validator.validate_state_transition(&from, &to, &good).await.is_ok());
    assert!(validator.validate_state_delta(&good, &from.state_root).await.is_ok());
    let wrong = validator.validate_state_transition(&from, &from, &good).await;
    assert!(matches!(wrong, Err(E::OtherEnd { .. })), "{wrong:?}");
    let unknown = validator.validate_state_delta(&good, &to.state_root).await;
    assert!(matches!(unknown, Err(E::UnknownRoot(root)) if root == to.state_root), "{unknown:?}");
    let mut bad = good.clone();
    bad.changes.pop();
    let bad = validator.validate_state_delta(&bad, &from.state_root).await;
    assert!(matches!(bad, Err(E::WrongRoot { .. })), "{bad:?}");
    // Nothing of it reached the store.
    let state = StateManager::state_at(&*store, HEIGHT).unwrap().unwrap();
    assert_eq!(KeyValueState::load(state).unwrap().root(), from.state_root);
}

fn bind(store: &Arc<Store>) -> (Arc<QuicNetwork>, tokio::sync::mpsc::Receiver<crate::net::NetworkEvent>) {
    let handler = Arc::new(StoreHandler::new(Arc::clone(store)));
    let address = "127.0.0.1:0".parse().unwrap();
    let (network, events) =
        QuicNetwork::bind(address, Identity::generate().unwrap(), QuicLimits::default(), Some(handler)).unwrap();
    (Arc::new(network), events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_synced_to_a_height_and_found_consistent() {
    let world = World::new();
    let (server, _events) = bind(&Arc::new(world.full()));
    let store = Arc::new(world.create("late"));
    let (network, events) = bind(&store);
    let config =
        SyncConfig { default_strategy: SyncStrategyType::Fast, strategy_switch_threshold: 0, ..SyncConfig::default() };
    let application: Box<dyn Application> = Box::new(NoApplication::new(store.stored().height));
    let chain = Arc::new(world.chain.chain());
    let handle = SyncBuilder::new(chain, Arc::clone(&store) as _, network, events)
        .with_config(config)
        .with_application(application)
        .with_staging(Arc::clone(&store) as _)
        .with_peers(vec![PeerAddress { address: server.local_addr().unwrap(), id: None }])
        .start()
        .unwrap();
    let states = handle.state_sync(Arc::clone(&store) as _);
    let soon = Duration::from_secs(60);
    let id = id(&world);
    tokio::time::timeout(soon, states.download_state_snapshot(&id)).await.unwrap().unwrap();
    assert!(states.verify_state_consistency(HEIGHT).await.unwrap());
    let other = SnapshotId { block: Hash::ZERO, ..id };
    let wrong = states.download_state_snapshot(&other).await;
    assert!(matches!(wrong, Err(StateSyncError::Invalid { source: E::OtherBlock { .. }, .. })), "{wrong:?}");
    let none = states.verify_state_consistency(Height::new(120)).await;
    assert!(matches!(none, Err(StateSyncError::Invalid { source: E::NotStored(_), .. })), "{none:?}");
    tokio::time::timeout(soon, states.sync_state_to_height(Height::new(290))).await.unwrap().unwrap();
    handle.shutdown().await;
    assert!(store.stored().height >= Height::new(290));
    // What the disk lost afterwards is found.
    let (key, _) = world.chain.state(HEIGHT).unwrap().records().next().unwrap();
    let row = (StateSpace::Values, bytes::Bytes::copy_from_slice(key.as_bytes()), None);
    store.drop_snapshot(HEIGHT).unwrap();
    store.commit(HEIGHT, &mut std::iter::once(row)).unwrap();
    assert!(!states.verify_state_consistency(HEIGHT).await.unwrap());
    let ended = states.sync_state_to_height(Height::new(999)).await;
    assert!(matches!(ended, Err(StateSyncError::Ended { .. })), "{ended:?}");
}
