//! [`OwnChain`]: a host's chain, as a table of functions, behind the trait that jobs verify with. It lives for one call.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::mem::MaybeUninit;

use bytes::Bytes;
use hotstuff2_sync::chain::{
    AdvertFacts, CertifiedSuffix, Chain, ChainProfile, CheckError, Fault, Finalized, HandoverFacts, HeaderFacts,
    SegmentClaim, SegmentEnd, SegmentFacts, Skipped, TipCheck, TipFacts, native,
};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::{GRID, MAX_PAYLOAD_BYTES, MAX_SEGMENT_BYTES, MAX_TIP_BYTES};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::put_section;

use crate::failure::Failure;
use crate::pointer::bytes;
use crate::types::{
    HS2_END_ANCHORED, HS2_END_CERTIFIED, HS2_END_CERTIFIED_UP_TO, HS2_HOST_NONE, HS2_HOST_OK, hs2_chain_table,
    hs2_claim, hs2_header_facts, hs2_id, hs2_link, hs2_segment_facts, hs2_slice, hs2_tip,
};

type HandoverFn = unsafe extern "C" fn(*mut c_void, hs2_slice, hs2_slice, *mut hs2_link) -> i32;

/// Largest header, in bytes: with the largest certificate, a full cell of them fits into an answer.
const OWN_HEADER_BYTES: u32 = (MAX_SEGMENT_BYTES - MAX_TIP_BYTES) / (GRID as u32 + 1);

/// The number of "could not be checked" where a function wrote what can't be.
const IMPOSSIBLE: u32 = 0;

/// A host's chain, for one call.
pub(crate) struct OwnChain(hs2_chain_table);

// SAFETY: the trait wants chains that threads may share. This one is made inside of one call, used on its thread, and gone
// when it ends: no other thread ever sees it.
unsafe impl Send for OwnChain {}
// SAFETY: as above.
unsafe impl Sync for OwnChain {}

/// A segment as the host's chain described it.
pub(crate) struct OwnSegment {
    bytes: Bytes,
    first: Height,
    headers: Vec<HeaderFacts>,
}

const ZERO: hs2_id = hs2_id { bytes: [0; 32] };

/// A function that can't be null: `new` has looked.
fn missing() -> CheckError {
    CheckError::Unable(IMPOSSIBLE)
}

impl OwnChain {
    pub(crate) fn new(table: &hs2_chain_table) -> Result<Self, Failure> {
        let there = [
            ("epoch", table.epoch.is_some()),
            ("link", table.link.is_some()),
            ("handover", table.handover.is_some()),
            ("tip", table.tip.is_some()),
            ("segment", table.segment.is_some()),
            ("stored", table.stored.is_some()),
            ("payload", table.payload.is_some()),
            ("assemble", table.assemble.is_some()),
            ("tip_of", table.tip_of.is_some()),
        ];
        match there.iter().find(|(_, there)| !there) {
            Some((name, _)) => Err(Failure::argument(name, "is null in the chain's table")),
            None => Ok(Self(*table)),
        }
    }

    /// The facts that one of the two functions for handovers wrote.
    fn handover_facts(&self, check: HandoverFn, epoch: &[u8], handover: &[u8]) -> Result<HandoverFacts, CheckError> {
        let none = hs2_slice::of(&[]);
        let mut link = hs2_link {
            ended: 0,
            boundary: 0,
            boundary_id: ZERO,
            epoch: 0,
            first: 0,
            last: 0,
            boundary_time_ms: 0,
            encoded_epoch: none,
            handover: none,
        };
        // SAFETY: a function of the host's table, called as its docs say.
        let result = unsafe { check(self.0.context, hs2_slice::of(epoch), hs2_slice::of(handover), &raw mut link) };
        proven(result)?;
        let range = HeightRange::new(Height::new(link.first), Height::new(link.last));
        Ok(HandoverFacts {
            boundary_id: link.boundary_id.into(),
            boundary_time: UnixMillis::new(link.boundary_time_ms),
            epoch: Epoch::new(link.epoch),
            range: range.ok_or(CheckError::Unable(IMPOSSIBLE))?,
            bytes: copied(link.encoded_epoch)?,
        })
    }

    /// The facts that a function gives of a segment's headers: first height, parent, quorum checks, headers.
    fn facts(
        call: impl FnOnce(*mut hs2_segment_facts) -> i32,
    ) -> Result<(Height, Hash, u32, Vec<hs2_header_facts>), CheckError> {
        const CAPACITY: usize = GRID as usize;
        let zero = hs2_header_facts { id: ZERO, state_root: ZERO, timestamp_ms: 0, payload_len: 0, reserved: 0 };
        let mut headers = vec![zero; CAPACITY];
        let mut facts = hs2_segment_facts {
            headers: headers.as_mut_ptr(),
            capacity: CAPACITY,
            count: 0,
            first: 0,
            parent_id: ZERO,
            quorum_checks: 0,
            reserved: 0,
        };
        proven(call(&raw mut facts))?;
        let fits = headers.iter().take(facts.count).all(|header| header.payload_len <= MAX_PAYLOAD_BYTES);
        if facts.count == 0 || facts.count > CAPACITY || !fits {
            return Err(CheckError::Unable(IMPOSSIBLE));
        }
        headers.truncate(facts.count);
        Ok((Height::new(facts.first), facts.parent_id.into(), facts.quorum_checks, headers))
    }
}

/// The meaning of a result, where there is nothing between true and false.
fn proven(result: i32) -> Result<(), CheckError> {
    match result {
        HS2_HOST_OK => Ok(()),
        HS2_HOST_NONE => Err(CheckError::Unable(IMPOSSIBLE)),
        ..0 => Err(CheckError::Unable(result.unsigned_abs())),
        number => Err(fault_of(number.unsigned_abs()).into()),
    }
}

/// The fault with this number, or the host's own.
fn fault_of(number: u32) -> Fault {
    let plain = [
        Fault::Malformed,
        Fault::NonCanonical,
        Fault::Oversize,
        Fault::WrongRange,
        Fault::WrongChain,
        Fault::WrongAnchor,
        Fault::WrongParent,
        Fault::BadCertificate,
        Fault::NotFinal,
        Fault::BadEpoch,
        Fault::BadValidatorSet,
        Fault::BadFrame,
        Fault::NoConflict,
    ];
    plain.into_iter().find(|fault| u32::from(fault.code()) == number).unwrap_or(Fault::Host(number))
}

/// A copy of what a function pointed to.
fn copied(slice: hs2_slice) -> Result<Bytes, CheckError> {
    // SAFETY: the host keeps the bytes until its next function is called.
    let read = unsafe { bytes(slice, "result") };
    read.map(Bytes::copy_from_slice).map_err(|_| CheckError::Unable(IMPOSSIBLE))
}

fn claim_of(range: HeightRange, end: SegmentEnd, parent: Option<Hash>, audit: bool) -> hs2_claim {
    let (number, anchor) = match end {
        SegmentEnd::Certified => (HS2_END_CERTIFIED, ZERO),
        SegmentEnd::CertifiedUpTo => (HS2_END_CERTIFIED_UP_TO, ZERO),
        SegmentEnd::Anchored(id) => (HS2_END_ANCHORED, id.into()),
    };
    hs2_claim {
        first: range.first().get(),
        last: range.last().get(),
        end: number,
        audit: audit.into(),
        has_parent: parent.is_some().into(),
        parent: parent.map_or(ZERO, hs2_id::from),
        anchor,
    }
}

fn segment_of(bytes: &[u8], first: Height, headers: &[hs2_header_facts]) -> OwnSegment {
    let facts = |header: &hs2_header_facts| HeaderFacts {
        id: header.id.into(),
        state_root: header.state_root.into(),
        timestamp: UnixMillis::new(header.timestamp_ms),
    };
    OwnSegment { bytes: Bytes::copy_from_slice(bytes), first, headers: headers.iter().map(facts).collect() }
}

impl Chain for OwnChain {
    type Epoch = Bytes;
    type Segment = OwnSegment;

    /// Sizes that every chain can have with cells of the full length.
    fn profile(&self) -> ChainProfile {
        ChainProfile { header_bytes: OWN_HEADER_BYTES, ..native::PROFILE }
    }

    /// No states pass this interface, whatever the roots in the headers are.
    fn has_state_roots(&self) -> bool {
        false
    }

    fn decode_epoch(&self, epoch: &[u8], _: Option<&Bytes>) -> Result<Bytes, CheckError> {
        let check = self.0.epoch.ok_or_else(missing)?;
        // SAFETY: a function of the host's table, called as its docs say.
        proven(unsafe { check(self.0.context, hs2_slice::of(epoch)) })?;
        Ok(Bytes::copy_from_slice(epoch))
    }

    fn link_handover(&self, epoch: &[u8], handover: &[u8]) -> Result<HandoverFacts, CheckError> {
        self.handover_facts(self.0.link.ok_or_else(missing)?, epoch, handover)
    }

    fn verify_handover(&self, epoch: &Bytes, handover: &[u8]) -> Result<(Bytes, HandoverFacts), CheckError> {
        let facts = self.handover_facts(self.0.handover.ok_or_else(missing)?, epoch, handover)?;
        Ok((facts.bytes.clone(), facts))
    }

    /// Light clients of such a chain go epoch by epoch.
    fn verify_skip(&self, _: &Bytes, _: &[u8], _: &[u8]) -> Result<Skipped<Bytes>, CheckError> {
        Err(Fault::BadEpoch.into())
    }

    fn verify_tip(&self, epoch: &Bytes, tip: &[u8]) -> Result<TipCheck, CheckError> {
        let check = self.0.tip.ok_or_else(missing)?;
        let mut facts = hs2_tip { height: 0, id: ZERO, epoch: 0, timestamp_ms: 0 };
        // SAFETY: a function of the host's table, called as its docs say.
        let result = unsafe { check(self.0.context, hs2_slice::of(epoch), hs2_slice::of(tip), &raw mut facts) };
        if result == HS2_HOST_NONE {
            return Ok(TipCheck::OtherEpoch(Epoch::new(facts.epoch)));
        }
        proven(result)?;
        Ok(TipCheck::Final(TipFacts {
            height: Height::new(facts.height),
            id: facts.id.into(),
            epoch: Epoch::new(facts.epoch),
            timestamp: UnixMillis::new(facts.timestamp_ms),
            state_root: None,
        }))
    }

    fn verify_segment(
        &self,
        epoch: &Bytes,
        claim: &SegmentClaim,
        segment: &[u8],
        audit: &[u8],
    ) -> Result<(OwnSegment, SegmentFacts), CheckError> {
        let check = self.0.segment.ok_or_else(missing)?;
        let asked = claim_of(claim.range, claim.end, claim.parent, claim.audit);
        let (epoch, bytes, audit) = (hs2_slice::of(epoch), hs2_slice::of(segment), hs2_slice::of(audit));
        // SAFETY: a function of the host's table, called as its docs say.
        let call = |facts| unsafe { check(self.0.context, epoch, &raw const asked, bytes, audit, facts) };
        let (first, parent_id, quorum_checks, headers) = Self::facts(call)?;
        let more = u64::try_from(headers.len()).map_or(0, |count| count.saturating_sub(1));
        let last = headers.last().ok_or(CheckError::Unable(IMPOSSIBLE))?;
        let facts = SegmentFacts {
            range: HeightRange::new(first, first.plus(more)).ok_or(CheckError::Unable(IMPOSSIBLE))?,
            parent_id,
            last_id: last.id.into(),
            last_timestamp: UnixMillis::new(last.timestamp_ms),
            payload_lens: headers.iter().map(|header| header.payload_len).collect(),
            quorum_checks,
        };
        Ok((segment_of(segment, first, &headers), facts))
    }

    fn verify_last_segment(
        &self,
        epoch: &Bytes,
        claim: &SegmentClaim,
        segment: &[u8],
        audit: &[u8],
        _: &[u8],
    ) -> Result<(OwnSegment, SegmentFacts), CheckError> {
        self.verify_segment(epoch, claim, segment, audit)
    }

    fn decode_segment(&self, segment: &[u8]) -> Result<OwnSegment, CheckError> {
        let decode = self.0.stored.ok_or_else(missing)?;
        // SAFETY: a function of the host's table, called as its docs say.
        let call = |facts| unsafe { decode(self.0.context, hs2_slice::of(segment), facts) };
        let (first, _, _, headers) = Self::facts(call)?;
        Ok(segment_of(segment, first, &headers))
    }

    fn header(&self, segment: &OwnSegment, height: Height) -> Option<HeaderFacts> {
        let place = height.get().checked_sub(segment.first.get())?;
        segment.headers.get(usize::try_from(place).ok()?).copied()
    }

    fn check_payload(&self, segment: &OwnSegment, height: Height, payload: &[u8]) -> Result<(), CheckError> {
        let check = self.0.payload.ok_or_else(missing)?;
        let (headers, payload) = (hs2_slice::of(&segment.bytes), hs2_slice::of(payload));
        // SAFETY: a function of the host's table, called as its docs say.
        proven(unsafe { check(self.0.context, headers, height.get(), payload) }).map_err(|error| match error {
            CheckError::False(Fault::Host(number)) if number == u32::from(Fault::BadPayload(height).code()) => {
                Fault::BadPayload(height).into()
            }
            other => other,
        })
    }

    fn assemble(&self, parts: &[Bytes], range: HeightRange, end: SegmentEnd) -> Option<Bytes> {
        let join = self.0.assemble?;
        let slices: Vec<hs2_slice> = parts.iter().map(|part| hs2_slice::of(part)).collect();
        let asked = claim_of(range, end, None, false);
        let mut out = MaybeUninit::new(hs2_slice::of(&[]));
        // SAFETY: a function of the host's table, called as its docs say.
        let result = unsafe { join(self.0.context, slices.as_ptr(), slices.len(), &raw const asked, out.as_mut_ptr()) };
        // SAFETY: it was initialized before the call.
        if result == HS2_HOST_OK { copied(unsafe { out.assume_init() }).ok() } else { None }
    }

    fn tip_of(&self, segment: &[u8]) -> Option<Bytes> {
        let make = self.0.tip_of?;
        let mut out = MaybeUninit::new(hs2_slice::of(&[]));
        // SAFETY: a function of the host's table, called as its docs say.
        let result = unsafe { make(self.0.context, hs2_slice::of(segment), out.as_mut_ptr()) };
        // SAFETY: it was initialized before the call.
        if result == HS2_HOST_OK { copied(unsafe { out.assume_init() }).ok() } else { None }
    }

    /// Both proofs, one after the other: what they mean is the host's to say.
    fn evidence(&self, _: &Bytes, one: &Finalized, other: &Finalized) -> Result<Bytes, CheckError> {
        let mut both = Vec::new();
        for (bytes, tip) in [one.parts(), other.parts()] {
            if !put_section(&mut both, tip.unwrap_or(bytes)) {
                return Err(Fault::Oversize.into());
            }
        }
        Ok(both.into())
    }

    fn verify_advert(&self, _: &Bytes, _: &[u8]) -> Result<AdvertFacts, CheckError> {
        Err(Fault::Malformed.into())
    }

    fn certified_suffix(&self, _: &Finalized) -> Option<CertifiedSuffix> {
        None
    }
}
