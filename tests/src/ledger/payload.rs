//! Payloads for generated chains: transfers between random accounts, filled up with bytes that don't compress.

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
    let mut transactions: Vec<Transaction<'_>> = chosen
        .chunks_exact(2)
        .map(|pair| Transaction::Transfer { from: pair[0], to: pair[1], amount: 1 + rng.below(MAX_AMOUNT) })
        .collect();
    let mut filler = vec![0; payload_bytes];
    rng.fill(&mut filler);

    let bare = encode(&transactions);
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
