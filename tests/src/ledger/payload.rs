//! Payloads for generated chains: transfers between random accounts, and entries of the map, filled up with bytes that
//! don't compress.

use std::collections::BTreeSet;
use std::ops::Range;

use hotstuff2_sync::rng::Rng;

use super::transaction::{Transaction, encode};

/// Keys that a block of a demo chain touches: four transfers between eight accounts.
pub const TOUCHED_KEYS: u32 = 8;

/// Largest amount of one generated transfer.
const MAX_AMOUNT: u64 = 100;

/// A payload of `touched_keys / 2` transfers, each between two of the first `accounts` accounts, all of them distinct
/// (as far as there are enough), and memos that make it exactly `payload_bytes` long. Where that is less than the
/// transfers take and an empty memo, the payload is the transfers alone. The same stream gives the same payloads.
pub fn transfers(rng: &mut Rng, accounts: u32, touched_keys: u32, payload_bytes: usize) -> Vec<u8> {
    let mut chosen: Vec<u32> = Vec::new();
    while chosen.len() < (touched_keys.min(accounts) & !1) as usize {
        let account = rng.below(u64::from(accounts)) as u32;
        if !chosen.contains(&account) {
            chosen.push(account);
        }
    }
    let transactions = chosen
        .chunks_exact(2)
        .map(|pair| Transaction::Transfer { from: pair[0], to: pair[1], amount: 1 + rng.below(MAX_AMOUNT) })
        .collect();
    padded(rng, transactions, payload_bytes)
}

/// A payload that sets the entries with these numbers to random values of `value_bytes` bytes.
pub fn entries(rng: &mut Rng, numbers: Range<u64>, value_bytes: usize) -> Vec<u8> {
    set(rng, numbers, value_bytes, 0)
}

/// A payload that gives `count` of the first `entries` entries new values (fewer where there are not so many), and is
/// filled up to `payload_bytes`.
pub fn changed_entries(rng: &mut Rng, entries: u64, count: u32, value_bytes: usize, payload_bytes: usize) -> Vec<u8> {
    let mut chosen = BTreeSet::new();
    while (chosen.len() as u64) < u64::from(count).min(entries) {
        chosen.insert(rng.below(entries));
    }
    set(rng, chosen, value_bytes, payload_bytes)
}

fn set(rng: &mut Rng, numbers: impl IntoIterator<Item = u64>, value_bytes: usize, payload_bytes: usize) -> Vec<u8> {
    let pairs: Vec<(String, Vec<u8>)> = numbers
        .into_iter()
        .map(|number| {
            let mut value = vec![0; value_bytes];
            rng.fill(&mut value);
            (format!("entry-{number:09}"), value)
        })
        .collect();
    let puts = pairs.iter().map(|(key, value)| Transaction::Put { key: key.as_bytes(), value }).collect();
    padded(rng, puts, payload_bytes)
}

/// The transactions, with memos that make the payload exactly `payload_bytes` long. Where that is less than the
/// transactions take and an empty memo, the payload is the transactions alone.
fn padded(rng: &mut Rng, transactions: Vec<Transaction<'_>>, payload_bytes: usize) -> Vec<u8> {
    let bare = encode(&transactions);
    let mut filler = vec![0; payload_bytes];
    rng.fill(&mut filler);
    // Behind the filler, which it borrows from.
    let mut transactions = transactions;
    transactions.push(Transaction::Memo(&[]));
    let Some(mut room) = payload_bytes.checked_sub(encode(&transactions).len()) else { return bare };
    // A longer memo also has a longer length field, which may leave one byte over that no single memo can fill: then
    // an empty one stays in front.
    if room > 0 {
        if memo_length(room).is_none() {
            transactions.push(Transaction::Memo(&[]));
            room = room.saturating_sub(2);
        }
        if let Some(length) = memo_length(room) {
            transactions.pop();
            transactions.push(Transaction::Memo(&filler[..length]));
        }
    }
    encode(&transactions)
}

/// How many bytes an empty memo must get to be `room` bytes longer, if it can.
fn memo_length(room: usize) -> Option<usize> {
    (1..=5).filter_map(|field: usize| room.checked_sub(field - 1).map(|length| (field, length))).find_map(
        |(field, length)| {
            let bits = (usize::BITS - length.leading_zeros()).max(1) as usize;
            (bits.div_ceil(7) == field).then_some(length)
        },
    )
}
