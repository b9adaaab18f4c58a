//! Body frames: consecutive payloads, packed together, compressed where it pays.
//!
//! A frame is a head of nine bytes (block count u32, codec u8, length u32, little-endian) and its content. The payload
//! lengths aren't in it: verified headers say them, so the exact decompressed size is known before anything is allocated.
//! The same bytes are stored in sealed segment files and served from there.

use alloc::vec;
use alloc::vec::Vec;

use bytes::{Buf as _, Bytes};

use crate::chain::Fault;
use crate::ids::Height;
use crate::limits::FRAME_BYTES;
use crate::ranges::HeightRange;

const CODEC_RAW: u8 = 0;
const CODEC_LZ4: u8 = 1;
/// Bytes before a frame's content.
const HEAD_BYTES: usize = 9;

/// One frame of an answer, checked against the lengths that verified headers give.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct BodyFrame {
    /// The blocks whose payloads it holds.
    pub range: HeightRange,
    /// The frame as it travels and is stored.
    pub wire: Bytes,
    /// The payloads, end to end.
    pub raw: Bytes,
}

/// Total of payload lengths; can't overflow a u64 for any slice that fits in memory.
fn total(lens: &[u32]) -> u64 {
    lens.iter().map(|&len| u64::from(len)).sum()
}

/// How many of the payloads at the front of `lens` go into one frame: as many as fit in [`FRAME_BYTES`], at least one.
pub fn frame_lens(lens: &[u32]) -> &[u32] {
    let mut bytes = 0u64;
    let fitting = lens
        .iter()
        .take_while(|&&len| {
            bytes = bytes.saturating_add(u64::from(len));
            bytes <= u64::from(FRAME_BYTES)
        })
        .count();
    lens.get(..fitting.max(1)).unwrap_or(lens)
}

/// Appends a frame with `count` payloads that lie end to end in `raw`. Compressed where that saves an eighth or more.
pub fn encode_frame(out: &mut Vec<u8>, count: u32, raw: &[u8]) {
    let compressed = lz4_flex::block::compress(raw);
    let pays = compressed.len() < raw.len().saturating_sub(raw.len() / 8);
    let (codec, content) = if pays { (CODEC_LZ4, compressed.as_slice()) } else { (CODEC_RAW, raw) };
    put_frame(out, count, codec, content);
}

fn put_frame(out: &mut Vec<u8>, count: u32, codec: u8, content: &[u8]) {
    out.extend_from_slice(&count.to_le_bytes());
    out.push(codec);
    // Content is at most one payload of `MAX_PAYLOAD_BYTES` or a frame, so the length fits.
    out.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(content);
}

/// Block count and whole size in bytes of the frame at the front of `bytes`, without reading its content.
pub fn frame_sizes(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut head = bytes.get(..HEAD_BYTES)?;
    let (count, _codec, len) = (head.get_u32_le(), head.get_u8(), head.get_u32_le());
    let size = usize::try_from(len).ok()?.checked_add(HEAD_BYTES)?;
    (count > 0 && size <= bytes.len()).then_some((count, size))
}

/// Takes one frame off the front of `bytes`, whose first payload is at `first` and whose payload lengths start `lens`.
fn take_frame(bytes: &mut Bytes, first: Height, lens: &[u32]) -> Result<BodyFrame, Fault> {
    let (count, size) = frame_sizes(bytes).ok_or(Fault::BadFrame)?;
    let lens = usize::try_from(count).ok().and_then(|count| lens.get(..count)).ok_or(Fault::WrongRange)?;
    let raw_len = total(lens);
    if raw_len > u64::from(FRAME_BYTES) && count > 1 {
        return Err(Fault::Oversize);
    }
    let wire = bytes.split_to(size);
    let content = wire.slice(HEAD_BYTES..);
    let raw_len = usize::try_from(raw_len).map_err(|_| Fault::Oversize)?;
    let raw = match wire.get(4) {
        Some(&CODEC_RAW) if content.len() == raw_len => content,
        Some(&CODEC_LZ4) if content.len() < raw_len => {
            let mut raw = vec![0; raw_len];
            let written = lz4_flex::block::decompress_into(&content, &mut raw).map_err(|_| Fault::BadFrame)?;
            if written != raw_len {
                return Err(Fault::BadFrame);
            }
            raw.into()
        }
        _ => return Err(Fault::BadFrame),
    };
    let last = first.plus(u64::from(count).saturating_sub(1));
    let range = HeightRange::new(first, last).ok_or(Fault::BadFrame)?;
    Ok(BodyFrame { range, wire, raw })
}

/// Reads the frames of an answer for blocks from `first` on with payload lengths `lens`. The answer may stop before the
/// last of them, at the end of a frame, but holds at least one block and nothing else.
pub fn decode_bodies(mut bytes: Bytes, first: Height, mut lens: &[u32]) -> Result<Vec<BodyFrame>, Fault> {
    let mut frames = Vec::new();
    let mut height = first;
    while !bytes.is_empty() {
        let frame = take_frame(&mut bytes, height, lens)?;
        let count = usize::try_from(frame.range.count()).unwrap_or(usize::MAX);
        lens = lens.get(count..).unwrap_or_default();
        height = frame.range.last().next();
        frames.push(frame);
    }
    if frames.is_empty() { Err(Fault::Malformed) } else { Ok(frames) }
}

/// The payloads of `raw`, one for each of `lens`.
pub fn split_payloads<'a>(raw: &'a [u8], lens: &'a [u32]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = raw;
    lens.iter().map_while(move |&len| {
        let (payload, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        rest = after;
        Some(payload)
    })
}

/// The part of a stored frame that lies in `range`, as a frame of its own. `lens` are the payload lengths of the whole
/// frame. For the two ends of an answer that doesn't fall on stored frames.
pub fn cut_frame(frame: &BodyFrame, lens: &[u32], range: HeightRange) -> Option<Vec<u8>> {
    let kept = frame.range.intersection(range)?;
    let (from, to) = (frame.range.index_of(kept.first())?, frame.range.index_of(kept.last())?);
    let start = usize::try_from(total(lens.get(..from)?)).ok()?;
    let size = usize::try_from(total(lens.get(from..=to)?)).ok()?;
    let raw = frame.raw.get(start..start.checked_add(size)?)?;
    let mut out = Vec::with_capacity(raw.len().saturating_add(HEAD_BYTES));
    encode_frame(&mut out, u32::try_from(kept.count()).ok()?, raw);
    Some(out)
}
