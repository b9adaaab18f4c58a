//! Rotten bits in each table of the state, mended from peers and from what can still be read.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use hotstuff2_sync::calls::Apply;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::serve::ChainReader as _;
use hotstuff2_sync::state::{MemoryStateStore, Prefix, StateReader as _};

use super::HealError;
use super::tests::{HONEST, Net, peer};
use crate::store::{BlockStore as _, StateSpace, StateStore as _, StateWrite, StorePart};
use crate::test_world::{HEIGHT, World};

/// A snapshot below the live state, which stands at [`HEIGHT`].
const KEPT: Height = Height::new(160);

/// The writes that make the state `to` of the state `from`.
fn writes(from: &MemoryStateStore, to: &MemoryStateStore) -> Vec<StateWrite> {
    fn rows(state: &MemoryStateStore) -> std::collections::BTreeMap<(StateSpace, Bytes), Bytes> {
        let values = state
            .records()
            .map(|(key, record)| ((StateSpace::Values, Bytes::copy_from_slice(key.as_bytes())), record.clone()));
        let pages = state.pages().map(|(key, page)| ((StateSpace::Pages, Bytes::from(key.to_bytes())), page.clone()));
        values.chain(pages).collect()
    }
    let (from, to) = (rows(from), rows(to));
    let gone = from.keys().filter(|key| !to.contains_key(*key)).map(|(space, key)| (*space, key.clone(), None));
    let new = to.iter().filter(|(key, row)| from.get(*key) != Some(row));
    gone.chain(new.map(|((space, key), row)| (*space, key.clone(), Some(row.clone())))).collect()
}

/// Stores with all blocks, the state at [`HEIGHT`], and the snapshot at [`KEPT`], whose rows lie aside.
fn net(bends: &[super::tests::Bend]) -> Net {
    let world = World::new();
    let store = world.create("full");
    store.put_handovers(world.chain.handovers()).unwrap();
    store.append(&Apply { target: Height::ZERO, parts: world.chain.parts().to_vec(), tip: None }).unwrap();
    let (kept, live) = (world.chain.state(KEPT).unwrap(), world.chain.state(HEIGHT).unwrap());
    store.commit(KEPT, &mut writes(&MemoryStateStore::default(), kept).into_iter()).unwrap();
    store.commit(HEIGHT, &mut writes(kept, live).into_iter()).unwrap();
    store.flushed_tables();
    store.persist().unwrap();
    drop(store);
    Net::of(world, bends)
}

/// All values of the states that are served, by height.
fn states(net: &Net) -> Vec<(Height, Vec<(Hash, Bytes)>)> {
    let all = |height| {
        let view = net.store.state_at(height).unwrap().unwrap();
        let mut records = Vec::new();
        let visited = view.scan(&Prefix::ROOT, &mut |key, record| {
            records.push((key, record));
            std::ops::ControlFlow::Continue(())
        });
        visited.unwrap();
        (height, records)
    };
    [KEPT, HEIGHT].map(all).into()
}

/// Flips so many bits of a file, spread by `seed`.
fn rot(path: &Path, bits: u64, seed: u64) {
    let mut bytes = fs::read(path).unwrap();
    let mut number = seed;
    for _ in 0..bits {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (number >> 16) as usize % bytes.len();
        bytes[at] ^= 1 << (number % 8);
    }
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_state_heals_from_peers() {
    for table in ["values", "pages", "aside"] {
        for seed in 0..3 {
            let net = net(&[HONEST, HONEST]);
            let (before, snapshots) = (states(&net), net.store.snapshots());
            assert_eq!(snapshots.len(), 2);
            let tables = net.store.flushed_tables();
            let files = &tables.iter().find(|(name, _)| *name == table).unwrap().1;
            assert!(!files.is_empty());
            files.iter().for_each(|file| rot(file, 10, seed));
            let what = format!("{table}, seed {seed}");
            let mut healer = net.healer();
            healer.patrol().await;
            assert_eq!(net.damaged(), [StorePart::State], "{what}");
            assert_eq!(net.store.status().snapshots, None, "{what}: it claims what it can't read");
            let from = healer.heal(StorePart::State).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(!from.contains(&peer(0)), "{what}: {from:?}");
            assert_eq!(net.damaged(), [], "{what}");
            assert!(states(&net) == before, "{what}: other values than before");
            assert_eq!(net.store.snapshots(), snapshots, "{what}");
            assert!(net.store.status().snapshots.is_some());
            let checked = net.store.check_states().unwrap();
            assert_eq!(checked.len(), 2, "{what}");
            assert!(checked.iter().all(Result::is_ok), "{what}: {checked:?}");
            healer.patrol().await;
            assert_eq!(net.damaged(), [], "{what}");
            // The blocks stayed as they were, and all of it survives the process.
            net.store.check(|_| ()).unwrap();
            let Net { world, store, .. } = net;
            drop((healer, store));
            let again = world.open("node");
            assert_eq!((again.snapshots(), again.applied()), (snapshots, HEIGHT), "{what}");
            let checked = again.check_states().unwrap();
            assert!(checked.iter().all(Result::is_ok), "{what}: {checked:?}");
        }
    }
}

#[tokio::test]
async fn a_damaged_state_that_nobody_gives_stays_as_it_is() {
    let net = net(&[HONEST]);
    let values = net.store.flushed_tables().swap_remove(0).1;
    values.iter().for_each(|file| rot(file, 10, 1));
    net.network.links.lock().unwrap().retain(|link| link.peer == peer(0));
    let mut healer = net.healer();
    healer.patrol().await;
    let error = healer.heal(StorePart::State).await.unwrap_err();
    assert!(matches!(error, HealError::NotAvailable { asked: 1 }), "{error}");
    assert_eq!(net.damaged(), [StorePart::State]);
    assert_eq!(net.store.snapshots().len(), 2, "nothing is given up before there is something better");
    let healer = net.healer().without_states();
    let error = { healer }.heal(StorePart::State).await.unwrap_err();
    assert!(matches!(error, HealError::InUse) && error.to_string().contains("repair"), "{error}");
}

#[tokio::test]
async fn a_lie_about_a_damaged_state_is_not_put_in_place() {
    let net = net(&[
        |mut answer| {
            if let Some(byte) = answer.last_mut() {
                *byte ^= 1;
            }
            answer
        },
        HONEST,
    ]);
    let before = states(&net);
    let values = net.store.flushed_tables().swap_remove(0).1;
    values.iter().for_each(|file| rot(file, 10, 2));
    let mut healer = net.healer();
    healer.patrol().await;
    assert_eq!(healer.heal(StorePart::State).await.unwrap(), [peer(2)]);
    assert!(states(&net) == before);
}
