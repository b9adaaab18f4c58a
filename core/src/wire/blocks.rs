//! Whole blocks as they travel to a follower: headers with the proof of the last, then payloads.

use alloc::vec::Vec;

use super::bodies::{encode_frame, frame_lens};
use crate::sections::put_section;

/// The content of an answer to [`Request::Follow`](super::Request::Follow), which is also the form in which an engine
/// hands in the blocks that it has [decided](crate::machine::Decided): `segment` ends with the proof of finality of its
/// last block, `audit` is empty unless every block is to have a certificate of its own, and there is one payload for each
/// header, in order. `None` where there is no payload, or a part is longer than its length in front can say.
pub fn encode_blocks<P: AsRef<[u8]>>(segment: &[u8], audit: &[u8], payloads: &[P]) -> Option<Vec<u8>> {
    let lens: Option<Vec<u32>> = payloads.iter().map(|payload| u32::try_from(payload.as_ref().len()).ok()).collect();
    let lens = lens.filter(|lens| !lens.is_empty())?;
    let mut out = Vec::new();
    if !put_section(&mut out, segment) || !put_section(&mut out, audit) {
        return None;
    }
    let (mut lens, mut payloads) = (lens.as_slice(), payloads);
    while !lens.is_empty() {
        let count = frame_lens(lens).len();
        let (framed, rest) = payloads.split_at_checked(count)?;
        let raw: Vec<u8> = framed.iter().flat_map(|payload| payload.as_ref().iter().copied()).collect();
        encode_frame(&mut out, u32::try_from(count).ok()?, &raw);
        (lens, payloads) = (lens.get(count..)?, rest);
    }
    Some(out)
}
