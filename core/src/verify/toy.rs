//! [`Toy`], the chain of this module's tests, and what its jobs are made of.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::chain::{
    AdvertFacts, CertifiedSuffix, Chain, ChainProfile, CheckError, EpochRef, Fault, Finalized, HandoverFacts,
    HeaderFacts, SegmentClaim, SegmentEnd, SegmentFacts, SkipFacts, Skipped, TipCheck, TipFacts, native,
};
use crate::hash::Hash;
use crate::ids::{Epoch, Height};
use crate::ranges::HeightRange;
use crate::state::key_hash;
use crate::time::UnixMillis;
use crate::wire::{encode_frame, put_section};

/// A chain that believes whatever it is told, so that a job's own checks are all that is left:
/// * an epoch is its number; a handover is two numbers, of the epoch that ends and the one that begins, and a range;
/// * a tip is an epoch and a height;
/// * a segment is the first and the last height, and the payload lengths; zeros where there are none;
/// * a payload is right if each of its bytes is its height.
pub(super) struct Toy;

pub(super) fn id(height: Height) -> Hash {
    key_hash(&height.get().to_le_bytes())
}

fn heights(first: u8, last: u8) -> Result<HeightRange, Fault> {
    HeightRange::new(Height::new(first.into()), Height::new(last.into())).ok_or(Fault::Malformed)
}

impl Chain for Toy {
    type Epoch = u8;
    type Segment = HeightRange;

    fn profile(&self) -> ChainProfile {
        native::PROFILE
    }

    fn has_state_roots(&self) -> bool {
        false
    }

    fn decode_epoch(&self, epoch: &[u8], _: Option<&u8>) -> Result<u8, CheckError> {
        epoch.first().copied().ok_or(Fault::BadEpoch.into())
    }

    fn link_handover(&self, _: &[u8], handover: &[u8]) -> Result<HandoverFacts, CheckError> {
        let &[_, begins, first, last, ..] = handover else { return Err(Fault::Malformed.into()) };
        let range = heights(first, last)?;
        let boundary_id = id(range.first().prev().unwrap_or_default());
        let (epoch, bytes) = (Epoch::new(begins.into()), vec![begins].into());
        Ok(HandoverFacts { boundary_id, boundary_time: UnixMillis::default(), epoch, range, bytes })
    }

    fn verify_handover(&self, epoch: &u8, handover: &[u8]) -> Result<(u8, HandoverFacts), CheckError> {
        let &[ends, begins, first, last, ..] = handover else { return Err(Fault::Malformed.into()) };
        if ends != *epoch {
            return Err(Fault::BadCertificate.into());
        }
        let range = heights(first, last)?;
        let boundary_id = id(range.first().prev().unwrap_or_default());
        let (epoch, bytes) = (Epoch::new(begins.into()), vec![begins].into());
        Ok((begins, HandoverFacts { boundary_id, boundary_time: UnixMillis::default(), epoch, range, bytes }))
    }

    fn verify_skip(&self, _: &u8, begins: &[u8], ends: &[u8]) -> Result<Skipped<u8>, CheckError> {
        let (&[_, epoch, first, last], &[ended, ..]) = (begins, ends) else {
            return Err(Fault::Malformed.into());
        };
        let range = heights(first, last)?;
        let (height, timestamp) = (range.last(), UnixMillis::default());
        let number = Epoch::new(epoch.into());
        let last = TipFacts { height, id: id(height), epoch: Epoch::new(ended.into()), timestamp, state_root: None };
        Ok(Skipped::To(epoch, SkipFacts { epoch: number, range, bytes: vec![epoch].into(), last }))
    }

    fn verify_tip(&self, epoch: &u8, tip: &[u8]) -> Result<TipCheck, CheckError> {
        match *tip {
            [other] if other != *epoch => Ok(TipCheck::OtherEpoch(Epoch::new(other.into()))),
            [epoch, height] => {
                let height = Height::new(height.into());
                let epoch = Epoch::new(epoch.into());
                let (timestamp, state_root) = (UnixMillis::default(), None);
                Ok(TipCheck::Final(TipFacts { height, id: id(height), epoch, timestamp, state_root }))
            }
            _ => Err(Fault::Malformed.into()),
        }
    }

    fn verify_segment(
        &self,
        _: &u8,
        _: &SegmentClaim,
        segment: &[u8],
        _: &[u8],
    ) -> Result<(HeightRange, SegmentFacts), CheckError> {
        let range = self.decode_segment(segment)?;
        let lens = &segment[2..];
        let facts = SegmentFacts {
            range,
            parent_id: id(range.first().prev().unwrap_or_default()),
            last_id: id(range.last()),
            last_timestamp: UnixMillis::default(),
            payload_lens: match lens {
                [] => vec![0; range.count() as usize],
                lens => lens.iter().map(|&len| len.into()).collect(),
            },
            quorum_checks: 1,
        };
        Ok((range, facts))
    }

    fn verify_last_segment(
        &self,
        epoch: &u8,
        claim: &SegmentClaim,
        segment: &[u8],
        audit: &[u8],
        _: &[u8],
    ) -> Result<(HeightRange, SegmentFacts), CheckError> {
        let (range, facts) = self.verify_segment(epoch, claim, segment, audit)?;
        Ok((range, SegmentFacts { quorum_checks: 0, ..facts }))
    }

    fn decode_segment(&self, segment: &[u8]) -> Result<HeightRange, CheckError> {
        let &[first, last, ..] = segment else { return Err(Fault::Malformed.into()) };
        Ok(heights(first, last)?)
    }

    fn header(&self, segment: &HeightRange, height: Height) -> Option<HeaderFacts> {
        let header = HeaderFacts { id: id(height), state_root: Hash::ZERO, timestamp: UnixMillis::default() };
        segment.contains(height).then_some(header)
    }

    fn check_payload(&self, _: &HeightRange, height: Height, payload: &[u8]) -> Result<(), CheckError> {
        let right = payload.iter().all(|&byte| u64::from(byte) == height.get());
        if right { Ok(()) } else { Err(Fault::BadPayload(height).into()) }
    }

    fn assemble(&self, _: &[Bytes], _: HeightRange, _: SegmentEnd) -> Option<Bytes> {
        None
    }

    fn tip_of(&self, _: &[u8]) -> Option<Bytes> {
        None
    }

    fn evidence(&self, _: &u8, one: &Finalized, other: &Finalized) -> Result<Bytes, CheckError> {
        if one == other { Err(Fault::NoConflict.into()) } else { Ok(Bytes::from_static(b"evidence")) }
    }

    fn verify_advert(&self, _: &u8, _: &[u8]) -> Result<AdvertFacts, CheckError> {
        Err(Fault::Malformed.into())
    }

    fn certified_suffix(&self, _: &Finalized) -> Option<CertifiedSuffix> {
        None
    }
}

pub(super) fn range(first: u64, last: u64) -> HeightRange {
    HeightRange::new(Height::new(first), Height::new(last)).unwrap()
}

/// The epoch 0, of the heights 0 to 100.
pub(super) fn epoch() -> EpochRef {
    EpochRef::trusted(Epoch::ZERO, range(0, 100), vec![0].into())
}

pub(super) fn claim(first: u64, last: u64, end: SegmentEnd) -> SegmentClaim {
    SegmentClaim { range: range(first, last), parent: None, end, audit: false }
}

/// Length-prefixed parts, and something behind them.
pub(super) fn sections(parts: &[&[u8]], rest: &[u8]) -> Bytes {
    let mut bytes = Vec::new();
    assert!(parts.iter().all(|part| put_section(&mut bytes, part)));
    bytes.extend_from_slice(rest);
    bytes.into()
}

/// A frame with the payloads of the heights from `first` on, of these lengths.
pub(super) fn frame(first: u8, lens: &[usize]) -> Vec<u8> {
    let payloads: Vec<u8> = (first..).zip(lens).flat_map(|(height, &len)| vec![height; len]).collect();
    let mut out = Vec::new();
    encode_frame(&mut out, lens.len() as u32, &payloads);
    out
}
