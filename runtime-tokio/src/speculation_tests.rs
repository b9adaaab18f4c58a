//! Branches: executed once, taken back where another one is final, and never durable.

use std::path::Path;

use super::*;
use crate::key_value::tests::{Store, store};
use crate::store::StateStore as _;

type Function = fn(&AppBlock<'_>, &mut BlockState<'_>) -> Result<(), ExecuteError>;

/// Counts each payload, takes the keys away that begin with `-`, and fails at one payload.
fn execute(block: &AppBlock<'_>, state: &mut BlockState<'_>) -> Result<(), ExecuteError> {
    if block.payload == b"fails" {
        return Err(ExecuteError::Transient("not now".into()));
    }
    if let [b'-', key @ ..] = block.payload {
        state.delete(key);
        return Ok(());
    }
    let count = state.get(block.payload)?.and_then(|count| count.try_into().ok()).map_or(0, u64::from_le_bytes);
    state.put(block.payload, &(count + 1).to_le_bytes())?;
    Ok(())
}

fn plain(store: &Arc<Store>) -> KeyValueApplication<Function> {
    let function: Function = execute;
    KeyValueApplication::open(Arc::clone(store), function).unwrap()
}

fn shared(dir: &Path) -> (SpeculativeApplication<Function>, Arc<Store>) {
    let store = store(dir);
    (SpeculativeApplication::new(plain(&store)), store)
}

fn final_block(height: u64, state_root: Hash, payload: &[u8]) -> AppBlock<'_> {
    AppBlock { height: Height::new(height), id: Hash::ZERO, timestamp: UnixMillis::new(height), state_root, payload }
}

/// The blocks from `first` on with these payloads.
fn branch<'a>(first: u64, payloads: &[&'a [u8]]) -> Vec<BranchBlock<'a>> {
    (first..)
        .zip(payloads)
        .map(|(height, payload)| BranchBlock {
            height: Height::new(height),
            timestamp: UnixMillis::new(height),
            payload,
        })
        .collect()
}

/// The root after blocks with these payloads, executed one after another as final ones.
fn root_after(payloads: &[&[u8]]) -> Hash {
    let folder = tempfile::tempdir().unwrap();
    let mut application = plain(&store(folder.path())).without_roots();
    for (height, payload) in (1..).zip(payloads) {
        application.execute(&[final_block(height, Hash::ZERO, payload)]).unwrap();
    }
    application.root()
}

#[test]
fn a_branch_leads_where_its_blocks_would_lead_if_they_were_final() {
    let folder = tempfile::tempdir().unwrap();
    let (shared, _) = shared(folder.path());
    let branches: [&[&[u8]]; 6] =
        [&[b"a"], &[b"a", b"b"], &[b"a", b"-a", b"c"], &[b"b"], &[b"a", b"-a", b"c", b"a"], &[b"a", b"-a"]];
    for payloads in branches {
        assert_eq!(shared.root_after(&branch(1, payloads)).unwrap(), root_after(payloads), "{payloads:?}");
    }
    // The last one is the beginning of the one before it, and was not executed again.
    assert_eq!(shared.taken_back(), 1 + 3 + 1);
    assert_eq!(shared.final_root().unwrap(), root_after(&[]), "nothing of it is final");
    assert_eq!(shared.applied(), Height::ZERO);
}

#[test]
fn a_final_block_of_the_branch_is_not_executed_again_and_another_takes_the_branch_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut shared, _) = shared(folder.path());
    shared.root_after(&branch(1, &[b"a", b"b", b"c"])).unwrap();
    shared.execute(&[final_block(1, root_after(&[b"a"]), b"a")]).unwrap();
    assert_eq!((shared.applied(), shared.taken_back()), (Height::new(1), 0));
    assert_eq!(shared.root_after(&branch(2, &[b"b", b"c"])).unwrap(), root_after(&[b"a", b"b", b"c"]));
    // Blocks that are final by now are passed over.
    assert_eq!(shared.root_after(&branch(1, &[b"a", b"b"])).unwrap(), root_after(&[b"a", b"b"]));
    // At height 2 another block is final.
    shared.execute(&[final_block(2, root_after(&[b"a", b"x"]), b"x")]).unwrap();
    assert_eq!((shared.applied(), shared.taken_back()), (Height::new(2), 2));
    assert_eq!(shared.final_root().unwrap(), root_after(&[b"a", b"x"]));
}

#[test]
fn nothing_that_is_not_final_becomes_durable() {
    let folder = tempfile::tempdir().unwrap();
    let after = root_after(&[b"a"]);
    {
        let (mut shared, store) = shared(folder.path());
        shared.execute(&[final_block(1, after, b"a")]).unwrap();
        shared.root_after(&branch(2, &[b"b", b"-a"])).unwrap();
        shared.persist().unwrap();
        assert_eq!(store.applied(), Height::new(1));
        assert_eq!(shared.root_after(&branch(2, &[b"b"])).unwrap(), root_after(&[b"a", b"b"]), "it goes on");
        shared.commit().unwrap();
    }
    let (shared, _) = shared(folder.path());
    assert_eq!((shared.applied(), shared.final_root().unwrap()), (Height::new(1), after));
}

#[test]
fn a_branch_that_fails_changes_nothing_and_gaps_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (shared, _) = shared(folder.path());
    assert!(matches!(shared.root_after(&branch(1, &[b"a", b"fails"])), Err(BranchError::Execute(_))));
    assert_eq!(shared.root_after(&branch(1, &[b"a", b"b"])).unwrap(), root_after(&[b"a", b"b"]));
    let executed = Height::ZERO;
    for blocks in [branch(2, &[b"a"]), Vec::new(), [branch(1, &[b"a"]), branch(3, &[b"b"])].concat()] {
        assert!(matches!(shared.root_after(&blocks), Err(BranchError::Gap { executed: at }) if at == executed));
    }
    let long = branch(1, &[&b"a"[..]; MAX_BRANCH + 1]);
    assert!(matches!(shared.root_after(&long), Err(BranchError::TooLong(blocks)) if blocks == MAX_BRANCH + 1));
}
