use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::state::{MAX_KEY_BYTES, MAX_VALUE_BYTES, MemoryStateStore, StateWrites};

use super::*;
use Transaction::{Delete, Memo, Put, Transfer};

type TestLedger = Ledger<MemoryStateStore>;

fn ledger() -> TestLedger {
    Ledger::genesis(MemoryStateStore::default(), 10).unwrap()
}

fn run(ledger: &mut TestLedger, transactions: &[Transaction<'_>]) {
    ledger.execute(&encode(transactions)).unwrap();
}

fn balances(ledger: &mut TestLedger, accounts: &[u32]) -> Vec<Option<u64>> {
    accounts.iter().map(|account| ledger.balance(*account).unwrap()).collect()
}

#[test]
fn a_transfer_moves_tokens_and_the_root() {
    let mut ledger = ledger();
    let before = ledger.root();
    run(&mut ledger, &[Transfer { from: 1, to: 2, amount: 30 }]);
    assert_eq!(balances(&mut ledger, &[1, 2]), [Some(START_BALANCE - 30), Some(START_BALANCE + 30)]);
    assert_ne!(ledger.root(), before);
    run(&mut ledger, &[Transfer { from: 2, to: 1, amount: 30 }]);
    assert_eq!(ledger.root(), before);
}

#[test]
fn later_transactions_see_earlier_ones_of_their_block() {
    let mut ledger = ledger();
    let all = START_BALANCE;
    run(
        &mut ledger,
        &[
            Transfer { from: 0, to: 77, amount: all },
            Transfer { from: 0, to: 1, amount: 1 },
            Transfer { from: 77, to: 2, amount: all },
        ],
    );
    assert_eq!(balances(&mut ledger, &[0, 77, 1, 2]), [Some(0), Some(0), Some(all), Some(2 * all)]);
}

#[test]
fn impossible_transfers_do_nothing() {
    let mut ledger = ledger();
    let before = ledger.root();
    run(
        &mut ledger,
        &[
            Transfer { from: 1, to: 2, amount: START_BALANCE + 1 },
            Transfer { from: 99, to: 1, amount: 0 },
            Transfer { from: 3, to: 3, amount: 5 },
        ],
    );
    assert_eq!(ledger.root(), before);
    run(&mut ledger, &[Transfer { from: 1, to: 2, amount: u64::MAX }, Transfer { from: 1, to: 2, amount: 1 }]);
    assert_eq!(balances(&mut ledger, &[1, 2]), [Some(START_BALANCE - 1), Some(START_BALANCE + 1)]);
}

#[test]
fn entries_are_put_and_deleted_and_never_meet_accounts() {
    let mut ledger = ledger();
    let before = ledger.root();
    let account_like = [b'a', 0, 0, 0, 1];
    run(&mut ledger, &[Put { key: b"k", value: b"1" }, Put { key: b"k", value: b"2" }]);
    run(&mut ledger, &[Put { key: &account_like, value: b"rich" }]);
    assert_eq!(ledger.entry(b"k").unwrap(), Some(&b"2"[..]));
    assert_eq!(ledger.balance(1).unwrap(), Some(START_BALANCE));
    run(&mut ledger, &[Delete { key: b"k" }, Delete { key: &account_like }, Delete { key: b"never was" }]);
    assert_eq!(ledger.root(), before);
}

#[test]
fn entries_over_the_limits_do_nothing() {
    let mut ledger = ledger();
    let before = ledger.root();
    let (key, value) = (vec![0; MAX_KEY_BYTES], vec![0; MAX_VALUE_BYTES + 1]);
    run(&mut ledger, &[Put { key: &key, value: b"" }, Delete { key: &key }, Put { key: b"k", value: &value }]);
    assert_eq!(ledger.root(), before);
    run(&mut ledger, &[Put { key: &key[1..], value: &value[1..] }]);
    assert_eq!(ledger.entry(&key[1..]).unwrap(), Some(&value[1..]));
}

#[test]
fn a_payload_that_does_not_decode_does_nothing_at_all() {
    let good = encode(&[Transfer { from: 1, to: 2, amount: 30 }, Memo(b"memo")]);
    let mut ledger = ledger();
    let before = ledger.root();
    let mut trailing = good.clone();
    trailing.push(0);
    assert_eq!(decode(&trailing), Err(DecodeError::Trailing(1)));
    assert_eq!(ledger.execute(&trailing), Ok(before));
    for cut in 0..good.len() {
        assert_eq!(decode(&good[..cut]), Err(DecodeError::Malformed));
        assert_eq!(ledger.execute(&good[..cut]), Ok(before));
    }
    assert_eq!(decode(&[9]), Err(DecodeError::Malformed));
}

#[test]
fn length_prefix_bomb() {
    let count = postcard::to_allocvec(&u32::MAX).unwrap();
    assert_eq!(decode(&count), Err(DecodeError::TooMany(u32::MAX)));
    let memo = [&[1, 3][..], &postcard::to_allocvec(&u64::MAX).unwrap()].concat();
    assert_eq!(decode(&memo), Err(DecodeError::Malformed));
    let most = vec![Memo(&[]); MAX_TRANSACTIONS as usize];
    assert_eq!(decode(&encode(&most)), Ok(most));
}

#[test]
fn random_payloads_never_fail_and_always_agree() {
    let (mut a, mut b) = (ledger(), ledger());
    let mut rng = Rng::new(1);
    for _ in 0..2000 {
        let mut payload = vec![0; rng.below(40) as usize];
        rng.fill(&mut payload);
        if let Some(first) = payload.first_mut() {
            *first %= 4;
        }
        assert_eq!(a.execute(&payload).unwrap(), b.execute(&payload).unwrap());
    }
}

#[test]
fn genesis_wants_an_empty_store() {
    let mut first = ledger();
    let root = first.root();
    let writes = first.take_writes();
    first.store_mut().write(writes);
    assert_eq!(Ledger::genesis(first.store(), 10).unwrap_err(), LedgerError::NotEmpty(root));
    assert_eq!(Ledger::open(first.store()).unwrap().root(), root);
}

#[test]
fn a_restart_between_batches_loses_only_what_was_not_written() {
    let payloads: Vec<Vec<u8>> = {
        let mut rng = Rng::new(2);
        (0..30).map(|_| transfers(&mut rng, 10, TOUCHED_KEYS, 0)).collect()
    };
    let mut straight = ledger();
    let roots: Vec<_> = payloads.iter().map(|payload| straight.execute(payload).unwrap()).collect();

    let mut ledger = ledger();
    let genesis = ledger.take_writes();
    ledger.store_mut().write(genesis);
    for (batch, expected) in payloads.chunks(10).zip(roots.chunks(10)) {
        let mut lost = Ledger::open(ledger.store().clone()).unwrap();
        for payload in batch {
            lost.execute(payload).unwrap();
        }
        for payload in batch {
            ledger.execute(payload).unwrap();
        }
        let writes = ledger.take_writes();
        ledger.store_mut().write(writes);
        assert_eq!(ledger.take_writes(), StateWrites::default());
        ledger = Ledger::open(ledger.store().clone()).unwrap();
        assert_eq!(Some(&ledger.root()), expected.last());
        assert_eq!(lost.root(), ledger.root());
    }
}

#[test]
fn an_account_is_proven_to_a_light_client() {
    let mut ledger = ledger();
    run(&mut ledger, &[Transfer { from: 1, to: 2, amount: 30 }]);
    let (key, proof) = ledger.prove_account(2).unwrap();
    let balance = (START_BALANCE + 30).to_le_bytes();
    assert_eq!(proof.verify(&ledger.root(), &key, Some(&balance)), Ok(()));
    assert!(proof.verify(&ledger.root(), &key, Some(&START_BALANCE.to_le_bytes())).is_err());
}

#[test]
fn generated_payloads_touch_distinct_accounts_and_have_their_size() {
    let mut rng = Rng::new(3);
    for size in (80..400).chain(16_430..16_480).chain([65_536]) {
        let payload = transfers(&mut rng, 100_000, TOUCHED_KEYS, size);
        assert_eq!(payload.len(), size);
        let mut touched: Vec<u32> = decode(&payload)
            .unwrap()
            .iter()
            .flat_map(|transaction| match transaction {
                Transfer { from, to, .. } => vec![*from, *to],
                _ => vec![],
            })
            .collect();
        touched.sort_unstable();
        touched.dedup();
        assert_eq!(touched.len(), TOUCHED_KEYS as usize);
    }
    assert!(transfers(&mut rng, 100, TOUCHED_KEYS, 0).len() > 16);
    assert_eq!(decode(&transfers(&mut rng, 1, TOUCHED_KEYS, 2)), Ok(vec![]));
}

#[test]
fn generated_payloads_follow_from_the_seed() {
    let make = |seed| transfers(&mut Rng::new(seed), 1000, TOUCHED_KEYS, 1024);
    assert_eq!(make(4), make(4));
    assert_ne!(make(4), make(5));
}

/// The state root of a small chain: a change here is a change of the demo's genesis and of every generated chain.
#[test]
fn encodings_are_fixed() {
    let transfer = encode(&[Transfer { from: 1, to: 200, amount: 3 }, Memo(b"x")]);
    assert_eq!(transfer, [2, 0, 1, 0xc8, 1, 3, 3, 1, b'x']);
    let put = encode(&[Put { key: b"k", value: b"v" }, Delete { key: b"k" }]);
    assert_eq!(put, [2, 1, 1, b'k', 1, b'v', 2, 1, b'k']);
    let mut ledger = ledger();
    ledger.execute(&transfer).unwrap();
    assert_eq!(ledger.root().to_string(), "716c56907e4911f706940558e9c06dc3d5928cc542be0ede26680ed0a850f76a");
}
