//! [`whole_part`]: blocks of a cell as a node stores them, from honest bytes.

use bytes::Bytes;
use hotstuff2_sync::calls::ApplyPart;
use hotstuff2_sync::chain::{Chain, EpochRef, SegmentClaim};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::verify::{Outcome, Task};
use hotstuff2_sync::wire::{decode_bodies, encode_frame, frame_lens, put_section};

/// The blocks of a segment with all of their payloads, verified; `None` where the segment is not proven.
pub fn whole_part<C: Chain>(
    chain: &C,
    epoch: &EpochRef,
    claim: SegmentClaim,
    segment: &[u8],
    payload: impl Fn(Height) -> Option<Bytes>,
) -> Option<ApplyPart> {
    let mut bytes = Vec::new();
    let whole = put_section(&mut bytes, segment) && put_section(&mut bytes, &[]);
    let task = Task::Segment { epoch: epoch.clone(), claim, bodies: 0, handover: None, bytes: bytes.into() };
    let segment = match task.prove(chain) {
        Ok(Outcome::Segment { segment, .. }) if whole => segment,
        _ => return None,
    };
    let (mut wire, mut height, mut lens) = (Vec::new(), segment.range().first(), segment.payload_lens());
    while !lens.is_empty() {
        let framed = frame_lens(lens);
        let mut raw = Vec::new();
        for _ in framed {
            raw.extend_from_slice(&payload(height)?);
            height = height.next();
        }
        encode_frame(&mut wire, u32::try_from(framed.len()).ok()?, &raw);
        lens = lens.get(framed.len()..)?;
    }
    let frames = decode_bodies(wire.into(), segment.range().first(), segment.payload_lens()).ok()?;
    Some(ApplyPart { segment, frames, executed: false })
}
