//! The serving side.

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::{MAX_BODIES_BYTES, MAX_SEGMENT_BYTES, MAX_STATE_BYTES};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::{Prefix, StateForm, StateItem};
use hotstuff2_sync::wire::{Answer, Request};

use super::input::Input;
use super::jobs::CHAIN;

/// A request, as the bytes say or made of them, to a server of a small chain: the answer is one, and of bounded size.
pub fn respond(data: &[u8]) {
    let mut input = Input(data);
    let request = match input.byte() % 2 {
        0 => match Request::decode(input.rest()) {
            Ok(request) => request,
            Err(_) => return,
        },
        _ => made(&mut input),
    };
    let earliest = Height::new(1 + input.number() % 14);
    let tip = Height::new(input.number() % 14);
    let answer: Bytes = CHAIN.view(earliest, tip).respond(&request);
    // All that a request can ask for at once, and its envelope.
    let most = MAX_SEGMENT_BYTES + MAX_BODIES_BYTES + MAX_STATE_BYTES;
    assert!(answer.len() as u64 <= u64::from(most));
    assert!(Answer::decode(answer).is_ok(), "{request:?}");
}

fn made(input: &mut Input<'_>) -> Request {
    let height = |input: &mut Input<'_>| match input.byte() {
        255 => Height::MAX,
        254 => Height::new(u64::MAX - 1),
        near => Height::new(u64::from(near % 20)),
    };
    let (one, other) = (height(input), height(input));
    let range = HeightRange::new(one.min(other), one.max(other)).unwrap_or(HeightRange::single(one));
    let max_bytes = if input.byte() == 0 { u32::MAX } else { input.number() as u32 };
    let flag = input.byte();
    match input.byte() % 9 {
        0 => Request::Status,
        1 => Request::Handovers { from: Epoch::new(one.get()), max: max_bytes },
        2 => Request::Tip,
        3 => Request::Segment { range, certified: flag & 1 == 1, audit: flag & 2 == 2, bodies: max_bytes },
        4 => Request::Bodies { range, max_bytes },
        5 => Request::Follow { after: one, max_bytes, audit: flag & 1 == 1 },
        6 => {
            let root = CHAIN.header(one).map_or(Hash::ZERO, |header| header.state_root);
            let form = if flag & 1 == 1 { StateForm::Leaves } else { StateForm::Tree { depth: 1 + flag % 10 } };
            Request::State { height: one, form, items: vec![StateItem { prefix: Prefix::ROOT, hash: root }], max_bytes }
        }
        7 => Request::Read { key_hash: Hash::from_bytes([flag; 32]) },
        _ => {
            let root = CHAIN.header(one).map_or(Hash::ZERO, |header| header.state_root);
            Request::Proof { height: one, root, key_hash: Hash::from_bytes([flag; 32]) }
        }
    }
}
