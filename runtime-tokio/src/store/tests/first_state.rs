//! The state that a chain begins with comes in parts, and is there as a whole or not at all.

use std::sync::{Arc, Mutex};

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::state::{PageKey, Record};

use super::staging::{Peer, check_live};
use super::{Store, append_all, create, following, open, toy};
use crate::store::db::Space;
use crate::store::{Activation, StateStore as _, StoreFailure};

/// The records of a state that takes many batches.
fn records(peer: &Peer) -> Vec<Record> {
    peer.0.store().records().map(|(_, record)| Record::decode(record.clone()).unwrap()).collect()
}

fn is_there(store: &Store) -> bool {
    store.db.get(Space::Pages, &PageKey::ROOT.to_bytes()).unwrap().is_some()
}

#[test]
fn kill_at_every_write_of_a_first_state() {
    let (toy, peer) = (toy(), Peer::new(0..2000));
    let (records, root) = (records(&peer), peer.0.root());
    for nth in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let store = create(dir.path(), &toy);
        let steps = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&steps);
        store.steps.set(Some(Box::new(move |_, _| {
            let mut steps = counted.lock().unwrap();
            *steps += 1;
            if *steps > nth { Err(std::io::Error::other("killed")) } else { Ok(()) }
        })));
        let put = store.put_first_state(root, &mut records.iter().cloned());
        let steps = *steps.lock().unwrap();
        drop(store);
        let store = open(dir.path()).unwrap();
        if !is_there(&store) {
            assert!(put.is_err(), "{nth}");
            assert_eq!(store.put_first_state(root, &mut records.iter().cloned()).unwrap(), Activation::Activated);
        }
        check_live(&store, &peer);
        append_all(&store, &following(&toy, 100)[..2]);
        assert_eq!(store.applied(), Height::ZERO);
        if put.is_ok() {
            // Values and pages took a batch after the other; then one that exchanges the tables.
            assert!(steps > 20, "{steps}");
            return;
        }
    }
}

#[test]
fn a_first_state_of_another_root_or_beside_another_is_refused() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    let (peer, other) = (Peer::new(0..300), Peer::new(0..301));
    let put = |peer: &Peer, root: Hash| store.put_first_state(root, &mut records(peer).into_iter());
    let found = other.0.root();
    assert_eq!(put(&other, peer.0.root()).unwrap(), Activation::RootMismatch { found });
    assert!(!is_there(&store));
    // Nothing of what was refused is left in the one that fits.
    assert_eq!(put(&peer, peer.0.root()).unwrap(), Activation::Activated);
    check_live(&store, &peer);
    let error = put(&peer, peer.0.root()).unwrap_err();
    assert!(matches!(error, StoreFailure::RefusedState { .. }) && error.to_string().contains("height 0"), "{error}");
    check_live(&store, &peer);
}
