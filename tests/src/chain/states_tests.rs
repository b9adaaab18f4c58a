use std::collections::BTreeMap;

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::{
    MemoryStateStore, Prefix, StateAnswer, StateForm, StateItem, decode_state, key_hash, subtree,
};
use hotstuff2_sync::wire::{Answer, PeerStatus, Refusal, Request, verify_read};

use super::*;

fn height(height: u64) -> Height {
    Height::new(height)
}

fn range(first: u64, last: u64) -> Option<HeightRange> {
    HeightRange::new(height(first), height(last))
}

/// Blocks 1 to 50; states at 10, 20, 30, 40 and 50.
fn ledger_chain() -> TestChain {
    let spec = ChainSpec { blocks: 50, epochs: 2, snapshot_interval: 10, ..ChainSpec::default() };
    TestChain::with_ledger(spec, 200, 100).unwrap()
}

fn data(answer: Bytes) -> Bytes {
    match Answer::decode(answer) {
        Ok(Answer::Data(data)) => data,
        other => panic!("{other:?}"),
    }
}

fn snapshots(view: ChainView<'_>) -> Option<(u64, u64, u64, u64)> {
    let status: PeerStatus = postcard::from_bytes(&data(view.respond(&Request::Status))).unwrap();
    status.snapshots.map(|claim| (claim.oldest.get(), claim.newest.get(), claim.keys, claim.bytes))
}

fn ask(at: u64, items: Vec<StateItem>) -> Request {
    Request::State { height: height(at), form: StateForm::Leaves, items, max_bytes: 1 << 20 }
}

fn root(chain: &TestChain, at: u64) -> Hash {
    chain.header(height(at)).unwrap().state_root
}

#[test]
fn states_are_offered_as_far_as_they_are_kept() {
    let mut chain = ledger_chain();
    // 200 accounts of five bytes with balances of eight.
    assert_eq!(snapshots(chain.view(height(1), height(50))), Some((10, 50, 200, 2600)));
    assert_eq!(snapshots(chain.view(height(1), height(39))), Some((10, 30, 200, 2600)));
    assert_eq!(snapshots(chain.view(height(1), height(50)).with_states(range(15, 44))), Some((20, 40, 200, 2600)));
    assert_eq!(snapshots(chain.view(height(1), height(50)).with_states(None)), None);
    chain.retain_states(|height| height.get() != 30);
    assert_eq!(snapshots(chain.view(height(1), height(50))), Some((40, 50, 200, 2600)), "without a gap");
    chain.retain_states(|_| false);
    assert_eq!(snapshots(chain.view(height(1), height(50))), None);
    assert_eq!(snapshots(TestChain::new(ChainSpec::default()).unwrap().view(height(1), height(9))), None);
}

#[test]
fn a_state_is_served_by_hash_whatever_height_was_named() {
    let chain = ledger_chain();
    let view = chain.view(height(1), height(50));
    for at in [10, 50] {
        let items = vec![StateItem { prefix: Prefix::ROOT, hash: root(&chain, at) }];
        for near in [10, 20, 7, u64::MAX] {
            let answer = data(view.respond(&ask(near, items.clone())));
            let answers = decode_state(StateForm::Leaves, &items, &answer).unwrap();
            let [StateAnswer::Leaves(leaves)] = &answers[..] else { panic!("all leaves") };
            let found: BTreeMap<&Hash, &Bytes> = leaves.records.iter().map(|(key, record)| (key, record)).collect();
            assert_eq!(found, chain.state(height(at)).unwrap().records().collect());
        }
        let elsewhere = view.with_states(range(20, 40)).respond(&ask(at, items));
        assert_eq!(Answer::decode(elsewhere), Ok(Answer::Refused(Refusal::NotAvailable)));
    }
}

#[test]
fn items_come_from_several_states_and_what_is_missing_is_said() {
    let chain = ledger_chain();
    let item = |state: &MemoryStateStore, first: u8| {
        let mut path = [0; 32];
        path[0] = first;
        let prefix = Prefix::new(Hash::from_bytes(path), 4).unwrap();
        StateItem { prefix, hash: subtree(state, &prefix).unwrap().0 }
    };
    let items = vec![
        StateItem { hash: root(&chain, 10), ..item(chain.state(height(10)).unwrap(), 0) },
        item(chain.state(height(10)).unwrap(), 0x20),
        item(chain.state(height(50)).unwrap(), 0x20),
    ];
    let answer = data(chain.respond(&ask(50, items.clone())));
    let answers = decode_state(StateForm::Leaves, &items, &answer).unwrap();
    assert!(matches!(
        &answers[..],
        [StateAnswer::Missing(missing), StateAnswer::Leaves(old), StateAnswer::Leaves(new)]
            if *missing == items[0] && old.item == items[1] && new.item == items[2]
    ));
}

#[test]
fn a_light_read_is_about_the_root_that_it_names() {
    let chain = ledger_chain();
    let account = [b'a', 0, 0, 0, 7];
    let mut values = Vec::new();
    for at in [10, 20, 30, 40, 50] {
        let root = root(&chain, at);
        for key in [&account[..], b"nobody"] {
            // Whatever height is named with it.
            let request = Request::Proof { height: height(30), root, key_hash: key_hash(key) };
            let value = verify_read(&root, key, data(chain.respond(&request))).unwrap();
            assert_eq!(value.is_some(), key == account);
            values.extend(value);
        }
    }
    values.dedup();
    assert!(values.len() > 1, "the balance changes");
    let unknown = Request::Proof { height: height(30), root: key_hash(b"no root"), key_hash: key_hash(&account) };
    assert_eq!(Answer::decode(chain.respond(&unknown)), Ok(Answer::Refused(Refusal::NotAvailable)));
}

#[test]
fn a_fork_of_a_ledger_chain_has_the_same_states() {
    let chain = ledger_chain();
    let fork = chain.fork(height(25)).unwrap();
    assert_ne!(fork.id(height(50)), chain.id(height(50)));
    assert_eq!(root(&fork, 50), root(&chain, 50));
    assert_eq!(fork.state(height(50)), chain.state(height(50)));
}
