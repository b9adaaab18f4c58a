use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::chain::Fault;
use crate::ids::Height;
use crate::limits::{FRAME_BYTES, MAX_REQUEST_BYTES, MAX_STATE_ITEMS};
use crate::ranges::HeightRange;
use crate::state::{MAX_TREE_DEPTH, PLACEHOLDER, Prefix, StateForm, StateItem, key_hash};

fn range(first: u64, last: u64) -> HeightRange {
    HeightRange::new(Height::new(first), Height::new(last)).unwrap()
}

fn frames_of(lens: &[u32], fill: impl Fn(usize) -> u8) -> Bytes {
    let mut out = Vec::new();
    let mut rest = lens;
    while !rest.is_empty() {
        let frame = frame_lens(rest);
        let raw: Vec<u8> = (0..frame.iter().sum::<u32>() as usize).map(&fill).collect();
        encode_frame(&mut out, frame.len() as u32, &raw);
        rest = &rest[frame.len()..];
    }
    out.into()
}

#[test]
fn bodies_come_back_compressed_or_not() {
    let lens = [0, 10, 200_000, 100_000, 300_000, 1];
    for bytes in [frames_of(&lens, |_| 7), frames_of(&lens, |i| ((i * i) >> 3) as u8 ^ (i >> 11) as u8)] {
        let frames = decode_bodies(bytes.clone(), Height::new(5), &lens).unwrap();
        assert_eq!(frames.iter().map(|f| f.range.count()).sum::<u64>(), 6);
        assert_eq!(frames.iter().flat_map(|f| f.wire.to_vec()).collect::<Vec<_>>(), bytes);
        assert_eq!(frames.iter().map(|f| f.raw.len()).sum::<usize>(), 600_011);
    }
}

#[test]
fn an_answer_may_stop_early_but_holds_something_and_nothing_more() {
    let lens = [100, 100, 100];
    let bytes = frames_of(&lens[..2], |_| 1);
    assert_eq!(decode_bodies(bytes.clone(), Height::new(1), &lens).unwrap()[0].range, range(1, 2));
    assert_eq!(decode_bodies(Bytes::new(), Height::new(1), &lens), Err(Fault::Malformed));
    assert_eq!(decode_bodies(bytes.clone(), Height::new(1), &lens[..1]), Err(Fault::WrongRange));
    let trailing: Bytes = [&bytes[..], &[0]].concat().into();
    assert_eq!(decode_bodies(trailing, Height::new(1), &lens), Err(Fault::BadFrame));
}

#[test]
fn decompression_bomb() {
    // A megabyte of zeros in a few hundred bytes, for headers that promise ten bytes.
    let bomb = lz4_flex::block::compress(&vec![0u8; 1 << 20]);
    let mut bytes = Vec::from(1u32.to_le_bytes());
    bytes.push(1);
    bytes.extend_from_slice(&(bomb.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&bomb);
    let bytes = Bytes::from(bytes);
    assert_eq!(decode_bodies(bytes.clone(), Height::new(1), &[10]), Err(Fault::BadFrame));
    // Small enough to pass for compressed: decompression stops at the promised size.
    let promised = bomb.len() as u32 + 1;
    assert_eq!(decode_bodies(bytes.clone(), Height::new(1), &[promised]), Err(Fault::BadFrame));
    // And one that holds less than promised.
    assert_eq!(decode_bodies(bytes, Height::new(1), &[2 << 20]), Err(Fault::BadFrame));
}

#[test]
fn length_prefix_bomb_in_frames_and_sections() {
    let mut bytes = Vec::from(u32::MAX.to_le_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode_bodies(bytes.into(), Height::new(1), &[10]), Err(Fault::BadFrame));
    assert_eq!(Sections::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 1, 2])).take(), None);
    assert_eq!(Sections::new(Bytes::from_static(&[1, 0, 0])).take(), None);
}

#[test]
fn oversize_frame() {
    let lens = [FRAME_BYTES, 1];
    let raw: Vec<u8> = (0..FRAME_BYTES + 1).map(|i| (i >> 3) as u8 ^ i as u8).collect();
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, 2, &raw);
    assert_eq!(decode_bodies(bytes.into(), Height::new(1), &lens), Err(Fault::Oversize));
    let mut alone = Vec::new();
    encode_frame(&mut alone, 1, &raw);
    assert!(decode_bodies(alone.into(), Height::new(1), &[FRAME_BYTES + 1]).is_ok());
}

#[test]
fn a_frame_is_cut_at_block_boundaries() {
    let lens = [3, 4, 5];
    let raw: Vec<u8> = (0..12).collect();
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, 3, &raw);
    let frame = decode_bodies(bytes.into(), Height::new(10), &lens).unwrap().remove(0);
    let cut = cut_frame(&frame, &lens, range(11, 20)).unwrap();
    let cut = decode_bodies(cut.into(), Height::new(11), &lens[1..]).unwrap().remove(0);
    assert_eq!((cut.range, &cut.raw[..]), (range(11, 12), &raw[3..]));
    assert_eq!(split_payloads(&cut.raw, &lens[1..]).map(<[u8]>::len).collect::<Vec<_>>(), [4, 5]);
}

/// A request for `items` subtrees, as long as it gets.
fn state(form: StateForm, items: usize) -> Request {
    let item = StateItem { prefix: Prefix::new(key_hash(b"k"), 256).unwrap(), hash: PLACEHOLDER };
    Request::State { height: Height::MAX, form, items: vec![item; items], max_bytes: u32::MAX }
}

#[test]
fn requests_have_one_encoding() {
    let requests = [
        Request::Status,
        Request::Tip,
        Request::Segment { range: range(1, 1023), certified: true, audit: false, bodies: 0 },
        Request::Bodies { range: range(300, 300), max_bytes: 1 << 20 },
        state(StateForm::Leaves, MAX_STATE_ITEMS),
        state(StateForm::Tree { depth: MAX_TREE_DEPTH }, 1),
        Request::Proof { height: Height::MAX, root: PLACEHOLDER, key_hash: key_hash(b"k") },
        Request::Read { key_hash: key_hash(b"k") },
        Request::Advert { challenge: PLACEHOLDER },
        Request::BackedAdvert { challenge: PLACEHOLDER },
    ];
    for request in requests {
        let bytes = request.encode();
        assert!(bytes.len() <= MAX_REQUEST_BYTES);
        assert_eq!(Request::decode(&bytes).as_ref(), Ok(&request));
        assert_eq!(Request::decode(&[&bytes[..], &[0]].concat()), Err(RequestError::Malformed), "trailing byte");
    }
    for (form, items) in [
        (StateForm::Leaves, 0),
        (StateForm::Leaves, MAX_STATE_ITEMS + 1),
        (StateForm::Tree { depth: 0 }, 1),
        (StateForm::Tree { depth: MAX_TREE_DEPTH + 1 }, 1),
    ] {
        assert_eq!(Request::decode(&state(form, items).encode()), Err(RequestError::Malformed), "{form:?}, {items}");
    }
    // Height 1 as a padded varint.
    let padded = [PROTOCOL_VERSION, 4, 0x81, 0x00, 1, 0];
    assert_eq!(Request::decode(&padded), Err(RequestError::Malformed));
    let upside_down = [PROTOCOL_VERSION, 4, 2, 1, 0];
    assert_eq!(Request::decode(&upside_down), Err(RequestError::Malformed));
}

#[test]
fn unsupported_version_is_told_apart_from_malformed() {
    let mut bytes = Request::Tip.encode();
    bytes[0] = 9;
    assert_eq!(Request::decode(&bytes), Err(RequestError::Version(9)));
    assert_eq!(Answer::decode(Bytes::from_static(&[200, 1])), Ok(Answer::Refused(Refusal::Unsupported)));
}

proptest! {
    #[test]
    fn decoders_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), lens in proptest::collection::vec(0u32..500, 0..8)) {
        let _ = Request::decode(&bytes);
        let _ = Answer::decode(bytes.clone().into());
        let _ = decode_bodies(bytes.into(), Height::new(1), &lens);
    }

    #[test]
    fn refusals_round_trip(ms in any::<u32>()) {
        for refusal in [Refusal::NotAvailable, Refusal::Unsupported, Refusal::Busy { retry_after_ms: ms }] {
            prop_assert_eq!(Answer::decode(encode_refusal(refusal)), Ok(Answer::Refused(refusal)));
        }
    }
}
