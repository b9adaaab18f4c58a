//! The application of one function: what is durable, what a failure leaves, and what is never made durable.

use std::path::Path;

use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync_testkit::notary::{Notary, NotaryChain};

use super::*;
use crate::store::{DiskStore, StoreAnchor};

pub(crate) type Store = DiskStore<NotaryChain>;

/// A store of a small chain.
pub(crate) fn store(dir: &Path) -> Arc<Store> {
    let notary = Notary::new(1);
    let (point, epoch) = notary.anchor();
    let (chain_id, genesis, snapshot_interval) = (notary.chain_id(), notary.genesis(), Notary::snapshot_interval());
    let anchor = StoreAnchor { chain_id, genesis, point, epoch, snapshot_interval };
    Arc::new(Store::open_or_create(dir, Arc::new(notary.chain()), &anchor).unwrap().0)
}

/// Keeps the height under the payload; fails at a payload that says so.
fn execute(block: &AppBlock<'_>, state: &mut BlockState<'_>) -> Result<(), ExecuteError> {
    state.put(block.payload, &block.height.get().to_le_bytes())?;
    if block.payload == b"fails" {
        return Err(ExecuteError::Transient("not now".into()));
    }
    Ok(())
}

fn genesis(state: &mut BlockState<'_>) -> Result<(), ExecuteError> {
    assert_eq!(state.get(b"genesis")?, None, "put in once");
    Ok(state.put(b"genesis", b"here")?)
}

type Function = fn(&AppBlock<'_>, &mut BlockState<'_>) -> Result<(), ExecuteError>;

fn open(store: &Arc<Store>) -> KeyValueApplication<Function> {
    let function: Function = execute;
    KeyValueApplication::open(Arc::clone(store), function).unwrap().with_genesis(genesis).unwrap()
}

fn block(height: u64, state_root: Hash, payload: &[u8]) -> AppBlock<'_> {
    AppBlock { height: Height::new(height), id: Hash::ZERO, timestamp: UnixMillis::default(), state_root, payload }
}

/// The root after these payloads.
fn root_after(payloads: &[&[u8]]) -> Hash {
    let folder = tempfile::tempdir().unwrap();
    let mut application = open(&store(folder.path())).without_roots();
    for (height, payload) in (1..).zip(payloads) {
        application.execute(&[block(height, Hash::ZERO, payload)]).unwrap();
    }
    application.root()
}

#[test]
fn what_was_executed_is_there_after_a_restart_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let roots = [root_after(&[b"a"]), root_after(&[b"a", b"b"]), root_after(&[b"a", b"b", b"a"])];
    {
        let store = store(folder.path());
        let mut application = open(&store);
        assert!(application.is_new());
        application.execute(&[block(1, roots[0], b"a"), block(2, roots[1], b"b")]).unwrap();
        assert!(application.uncommitted() > 0 && store.applied() == Height::ZERO);
        application.persist().unwrap();
        assert!(!application.is_new() && store.applied() == Height::new(2));
    }
    let mut application = open(&store(folder.path()));
    assert_eq!((application.applied(), application.root(), application.is_new()), (Height::new(2), roots[1], false));
    application.execute(&[block(3, roots[2], b"a")]).unwrap();
    // Without a commit the store's own state is what there is.
    application.restore(Height::new(2)).unwrap();
    assert_eq!((application.applied(), application.root()), (Height::new(2), roots[1]));
}

#[test]
fn a_state_that_is_not_the_networks_is_never_made_durable() {
    let folder = tempfile::tempdir().unwrap();
    let good = root_after(&[b"a"]);
    let store = store(folder.path());
    let mut application = open(&store);
    application.execute(&[block(1, good, b"a")]).unwrap();
    application.commit().unwrap();
    let found = root_after(&[b"a", b"b"]);
    let wrong = |result| matches!(result, Err(ExecuteError::StateMismatch { found: is, .. }) if is == found);
    assert!(wrong(application.execute(&[block(2, Hash::ZERO, b"b")])));
    assert_eq!(application.applied(), Height::new(1));
    assert!(wrong(application.commit()) && wrong(application.persist()));
    assert!(wrong(application.execute(&[block(2, found, b"b")])), "nobody knows whose mistake it was");
    assert_eq!(store.applied(), Height::new(1));
    drop(application);
    assert_eq!(open(&store).root(), good);
    // Where headers name no state there is nothing to compare.
    open(&store).without_roots().execute(&[block(2, Hash::ZERO, b"b")]).unwrap();
}

#[test]
fn a_block_that_could_not_be_executed_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut application = open(&store(folder.path()));
    let good = root_after(&[b"a"]);
    let failed = application.execute(&[block(1, good, b"a"), block(2, Hash::ZERO, b"fails")]);
    assert!(matches!(failed, Err(ExecuteError::Transient(_))), "{failed:?}");
    assert_eq!((application.applied(), application.root()), (Height::new(1), good));
    application.commit().unwrap();
    application.execute(&[block(2, root_after(&[b"a", b"c"]), b"c")]).unwrap();
    assert_eq!(application.applied(), Height::new(2));
}
