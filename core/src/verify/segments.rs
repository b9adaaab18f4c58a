//! Jobs about headers and payloads: whatever the chain says of a segment is held against what was asked for, so that
//! these rules hold for every chain.

use alloc::vec::Vec;

use bytes::Bytes;

use super::verdict::Outcome;
use crate::chain::{Chain, CheckError, EpochRef, Fault, Memo, SegmentClaim, SegmentEnd, SegmentFacts, SegmentRef};
use crate::hash::Hash;
use crate::ids::Height;
use crate::limits::MAX_AUDIT_BYTES;
use crate::ranges::HeightRange;
use crate::wire::{BodyFrame, Sections, decode_bodies, split_payloads};

/// Proves headers, and the payloads behind them where `bodies` bytes of payload were asked for at most.
pub(super) fn run_segment<C: Chain>(
    chain: &C,
    epoch: &EpochRef,
    claim: &SegmentClaim,
    bodies: u32,
    handover: Option<&Bytes>,
    bytes: &Bytes,
) -> Result<(Outcome, u32), CheckError> {
    let mut sections = Sections::new(bytes.clone());
    let (segment, checks) = take_segment(chain, epoch, claim, handover, &mut sections)?;
    if sections.is_empty() {
        return Ok((Outcome::Segment { segment, frames: Vec::new() }, checks));
    }
    if bodies == 0 {
        return Err(Fault::NonCanonical.into());
    }
    // No more than was asked for: memory was set aside for that.
    let range = fitting(&segment, u64::from(bodies)).ok_or(Fault::Oversize)?;
    let frames = run_bodies(chain, &segment, range, sections.rest())?;
    Ok((Outcome::Segment { segment, frames }, checks))
}

/// Proves headers and all of their payloads.
pub(super) fn run_follow<C: Chain>(
    chain: &C,
    epoch: &EpochRef,
    claim: &SegmentClaim,
    bytes: &Bytes,
) -> Result<(Outcome, u32), CheckError> {
    let mut sections = Sections::new(bytes.clone());
    let (segment, checks) = take_segment(chain, epoch, claim, None, &mut sections)?;
    let frames = run_bodies(chain, &segment, segment.range(), sections.rest())?;
    Ok((Outcome::Follow { segment, frames }, checks))
}

/// Proves headers, of which the one at `height` names the state.
pub(super) fn run_base<C: Chain>(
    chain: &C,
    epoch: &EpochRef,
    claim: &SegmentClaim,
    height: Height,
    bytes: &Bytes,
) -> Result<(Outcome, u32), CheckError> {
    let (segment, checks) = whole_segment(chain, epoch, claim, bytes)?;
    let header = chain.header(segment.decoded(chain)?, height).ok_or(Fault::WrongRange)?;
    Ok((Outcome::Base { segment, header }, checks))
}

/// Proves payloads of verified headers: frames from the start of `range` on.
pub(super) fn run_bodies<C: Chain>(
    chain: &C,
    segment: &SegmentRef,
    range: HeightRange,
    bytes: Bytes,
) -> Result<Vec<BodyFrame>, CheckError> {
    let decoded = segment.decoded(chain)?;
    let lens = segment.payload_lens_of(range).ok_or(Fault::WrongRange)?;
    let frames = decode_bodies(bytes, range.first(), lens)?;
    for frame in &frames {
        let lens = segment.payload_lens_of(frame.range).ok_or(Fault::WrongRange)?;
        let mut height = frame.range.first();
        for payload in split_payloads(&frame.raw, lens) {
            chain.check_payload(decoded, height, payload)?;
            height = height.next();
        }
    }
    Ok(frames)
}

/// A failed segment counts as one check: how far it got isn't worth a channel.
pub(super) fn counted(result: Result<(Outcome, u32), CheckError>) -> (Result<Outcome, CheckError>, u32) {
    match result {
        Ok((outcome, checks)) => (Ok(outcome), checks),
        Err(fault) => (Err(fault), 1),
    }
}

/// Takes headers and their certificates from the front of an answer and proves them. Returns the certificates checked.
fn take_segment<C: Chain>(
    chain: &C,
    epoch: &EpochRef,
    claim: &SegmentClaim,
    handover: Option<&Bytes>,
    sections: &mut Sections,
) -> Result<(SegmentRef, u32), CheckError> {
    let segment = sections.take().ok_or(Fault::Malformed)?;
    let audit = sections.take().ok_or(Fault::Malformed)?;
    if !claim.audit && !audit.is_empty() {
        return Err(Fault::NonCanonical.into());
    }
    if audit.len() > MAX_AUDIT_BYTES as usize {
        return Err(Fault::Oversize.into());
    }
    if !epoch.range().covers(claim.range) {
        return Err(Fault::BadEpoch.into());
    }
    let set = epoch.decoded(chain)?;
    let (decoded, facts) = match handover {
        Some(handover) => chain.verify_last_segment(set, claim, &segment, &audit, handover)?,
        None => chain.verify_segment(set, claim, &segment, &audit)?,
    };
    check_facts(&facts, claim)?;
    // No honest node stores what passes them.
    if chain.profile().exceeded(segment.len(), &facts.payload_lens).is_some() {
        return Err(Fault::Oversize.into());
    }
    let checks = facts.quorum_checks;
    Ok((SegmentRef::trusted(epoch.epoch(), facts, segment, audit, Memo::with(decoded)), checks))
}

/// An answer that is a segment and nothing else.
fn whole_segment<C: Chain>(
    chain: &C,
    epoch: &EpochRef,
    claim: &SegmentClaim,
    bytes: &Bytes,
) -> Result<(SegmentRef, u32), CheckError> {
    let mut sections = Sections::new(bytes.clone());
    let taken = take_segment(chain, epoch, claim, None, &mut sections)?;
    if sections.is_empty() { Ok(taken) } else { Err(Fault::NonCanonical.into()) }
}

/// Checks what a segment says against what was asked. Chains check it too; here it holds for every chain.
fn check_facts(facts: &SegmentFacts, claim: &SegmentClaim) -> Result<(), Fault> {
    let range_fits = match claim.end {
        SegmentEnd::Certified | SegmentEnd::Anchored(_) => facts.range == claim.range,
        SegmentEnd::CertifiedUpTo => {
            facts.range.first() == claim.range.first() && facts.range.last() <= claim.range.last()
        }
    };
    let counts_fit = u64::try_from(facts.payload_lens.len()) == Ok(facts.range.count());
    if !range_fits || !counts_fit {
        return Err(Fault::WrongRange);
    }
    if claim.parent.is_some_and(|parent: Hash| parent != facts.parent_id) {
        return Err(Fault::WrongParent);
    }
    match claim.end {
        SegmentEnd::Anchored(id) if id != facts.last_id => Err(Fault::WrongAnchor),
        _ => Ok(()),
    }
}

/// The blocks at the start of a segment that have at most `bytes` of payload; `None` where the first has more.
fn fitting(segment: &SegmentRef, bytes: u64) -> Option<HeightRange> {
    let mut sum = 0u64;
    let fit = segment.payload_lens().iter().take_while(|&&len| {
        sum = sum.saturating_add(u64::from(len));
        sum <= bytes
    });
    let more = u64::try_from(fit.count()).ok()?.checked_sub(1)?;
    let first = segment.range().first();
    HeightRange::new(first, first.plus(more))
}
