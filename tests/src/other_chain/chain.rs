//! [`OtherChain`]: the chain behind the [`Chain`] trait.

use bytes::Bytes;
use hotstuff2_sync::chain::{
    AdvertFacts, Audits, CertifiedSuffix, Chain, ChainProfile, CheckError, EpochRef, Fault, Finalized, HandoverFacts,
    HeaderFacts, SegmentClaim, SegmentEnd, SegmentFacts, Skipped, TipCheck, TipFacts,
};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::MAX_SEGMENT_BYTES;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::wire::put_section;

use super::certificate::{Committee, MAX_SIGNERS, digest};
use super::rule::{Rule, Rules};
use super::segment::{MAX_ABOVE, OtherHeader, OtherSegment, Tip, Wire, deciding, decode, encode};

/// Largest header: a view, a hash, a length, a number of signatures, and as many as there may be.
const HEADER_BYTES: u32 = 10 + 32 + 5 + 1 + MAX_SIGNERS as u32 * 65;

/// The sizes of this chain.
const PROFILE: ChainProfile = ChainProfile {
    header_bytes: HEADER_BYTES,
    payload_bytes: 16 << 10,
    // A height, a parent's id and two counts; a header; those above it.
    tip_bytes: 64 + HEADER_BYTES * (MAX_ABOVE as u32 + 1),
    // The committee never changes.
    handover_bytes: 0,
    // Each header has its certificate.
    audits: Audits::InSegments,
    // Ids don't cover the lengths of payloads.
    proves_lengths: false,
};

/// A chain of a committee that never changes, on which each block has a certificate.
#[derive(Clone, Debug)]
pub struct OtherChain {
    chain_id: Hash,
    rules: Rules,
}

impl OtherChain {
    /// The chain with this id, which every signature names.
    pub fn new(chain_id: Hash) -> Self {
        Self { chain_id, rules: Rules::default() }
    }

    /// The same, which doesn't look at one of its rules: for the test that sees whether the conformance kit notices.
    pub fn without(self, rule: Rule) -> Self {
        Self { rules: Rules::without(rule), ..self }
    }

    /// The one epoch, from height 1 on without an end.
    pub fn epoch(committee: Vec<u8>) -> EpochRef {
        let all = HeightRange::new(Height::new(1), Height::MAX).unwrap_or(HeightRange::single(Height::MAX));
        EpochRef::trusted(Epoch::ZERO, all, committee.into())
    }

    /// The hash by which a header names its payload.
    pub fn payload_hash(payload: &[u8]) -> Hash {
        digest("other chain: payload", &[payload])
    }

    /// The block that a proof proves final.
    fn proven(&self, committee: &Committee, proof: &Finalized) -> Result<(Height, Hash), CheckError> {
        let in_segment = |segment: &OtherSegment, height| segment.id_or_parent(height).ok_or(Fault::WrongRange);
        match proof {
            Finalized::Tip(tip) => match self.verify_tip(committee, tip)? {
                TipCheck::Final(tip) => Ok((tip.height, tip.id)),
                TipCheck::OtherEpoch(_) => Err(Fault::BadEpoch.into()),
            },
            Finalized::Segment(segment, height) => {
                let segment = self.decode_segment(segment)?;
                if segment.wire.above.is_empty() {
                    return Err(Fault::NotFinal.into());
                }
                segment.check(committee, self.chain_id, self.rules)?;
                Ok((*height, in_segment(&segment, *height)?))
            }
            Finalized::Anchored { segment, tip, height } => {
                let segment = self.decode_segment(segment)?;
                match self.verify_tip(committee, tip)? {
                    TipCheck::Final(tip) if tip.id == segment.last_id() => {
                        Ok((*height, in_segment(&segment, *height)?))
                    }
                    _ => Err(Fault::WrongAnchor.into()),
                }
            }
            // There are no handovers.
            Finalized::Handover(_) => Err(Fault::Malformed.into()),
        }
    }

    /// The headers of parts that follow each other, with those above the last that its proof shows.
    fn joined(&self, parts: &[Bytes]) -> Option<(Vec<OtherSegment>, Vec<OtherHeader>)> {
        let parts: Vec<OtherSegment> =
            parts.iter().map(|part| self.decode_segment(part).ok()).collect::<Option<_>>()?;
        let follows = |pair: &[OtherSegment]| match pair {
            [one, next] => next.range.first().is_next_of(one.range.last()) && next.wire.parent_id == one.last_id(),
            _ => false,
        };
        if !parts.windows(2).all(follows) {
            return None;
        }
        let headers = parts.iter().flat_map(|part| part.wire.headers.iter().map(|(header, _)| header.clone()));
        let above = parts.last()?.wire.above.iter().cloned();
        let headers = headers.chain(above).collect();
        Some((parts, headers))
    }
}

impl Chain for OtherChain {
    type Epoch = Committee;
    type Segment = OtherSegment;

    fn profile(&self) -> ChainProfile {
        PROFILE
    }

    fn has_state_roots(&self) -> bool {
        false
    }

    fn decode_epoch(&self, epoch: &[u8], _: Option<&Committee>) -> Result<Committee, CheckError> {
        Ok(Committee::decode(epoch)?)
    }

    fn link_handover(&self, _: &[u8], _: &[u8]) -> Result<HandoverFacts, CheckError> {
        // The epoch never ends.
        Err(Fault::BadEpoch.into())
    }

    fn verify_handover(&self, _: &Committee, _: &[u8]) -> Result<(Committee, HandoverFacts), CheckError> {
        // The epoch never ends.
        Err(Fault::BadEpoch.into())
    }

    fn verify_skip(&self, _: &Committee, _: &[u8], _: &[u8]) -> Result<Skipped<Committee>, CheckError> {
        // There is no epoch to skip to.
        Err(Fault::BadEpoch.into())
    }

    fn verify_tip(&self, committee: &Committee, tip: &[u8]) -> Result<TipCheck, CheckError> {
        let tip: Tip = decode(tip, PROFILE.tip_bytes.into(), self.rules)?;
        let id = tip.check(committee, self.chain_id, self.rules)?;
        // Without a clock nothing says how old the tip is.
        let (epoch, timestamp, state_root) = (Epoch::ZERO, UnixMillis::default(), None);
        Ok(TipCheck::Final(TipFacts { height: tip.height, id, epoch, timestamp, state_root }))
    }

    fn verify_segment(
        &self,
        committee: &Committee,
        claim: &SegmentClaim,
        segment: &[u8],
        _: &[u8],
    ) -> Result<(OtherSegment, SegmentFacts), CheckError> {
        let segment = self.decode_segment(segment)?;
        let (range, rules) = (segment.range, self.rules);
        let fits = match claim.end {
            SegmentEnd::Certified | SegmentEnd::Anchored(_) => range == claim.range,
            SegmentEnd::CertifiedUpTo => range.first() == claim.range.first() && range.last() <= claim.range.last(),
        };
        rules.demand(Rule::Range, fits, Fault::WrongRange)?;
        let hangs = claim.parent.is_none_or(|parent| parent == segment.wire.parent_id);
        rules.demand(Rule::Parent, hangs, Fault::WrongParent)?;
        let is_proven = !segment.wire.above.is_empty();
        match claim.end {
            SegmentEnd::Anchored(id) => rules.demand(Rule::Anchor, id == segment.last_id(), Fault::WrongAnchor)?,
            _ => rules.demand(Rule::Proof, is_proven, Fault::NotFinal)?,
        }
        // Last, since they are what costs. All of them, whatever was asked for: what is stored here is served later.
        let asked = !matches!(claim.end, SegmentEnd::Anchored(_));
        if asked || rules.has(Rule::UnaskedProof) {
            segment.check(committee, self.chain_id, rules)?;
        }
        let facts = SegmentFacts {
            range,
            parent_id: segment.wire.parent_id,
            last_id: segment.last_id(),
            last_timestamp: UnixMillis::default(),
            payload_lens: segment.wire.headers.iter().map(|&(_, len)| len).collect(),
            quorum_checks: u32::try_from(segment.wire.headers.len() + segment.wire.above.len()).unwrap_or(u32::MAX),
        };
        Ok((segment, facts))
    }

    fn verify_last_segment(
        &self,
        committee: &Committee,
        claim: &SegmentClaim,
        segment: &[u8],
        audit: &[u8],
        _: &[u8],
    ) -> Result<(OtherSegment, SegmentFacts), CheckError> {
        self.verify_segment(committee, claim, segment, audit)
    }

    fn decode_segment(&self, segment: &[u8]) -> Result<OtherSegment, CheckError> {
        Ok(OtherSegment::new(decode(segment, MAX_SEGMENT_BYTES.into(), self.rules)?)?)
    }

    fn header(&self, segment: &OtherSegment, height: Height) -> Option<HeaderFacts> {
        segment.facts(height)
    }

    fn check_payload(&self, segment: &OtherSegment, height: Height, payload: &[u8]) -> Result<(), CheckError> {
        let (header, _) = segment.header(height).ok_or(Fault::WrongRange)?;
        let named = header.payload_hash == Self::payload_hash(payload);
        Ok(self.rules.demand(Rule::Payload, named, Fault::BadPayload(height))?)
    }

    fn assemble(&self, parts: &[Bytes], range: HeightRange, end: SegmentEnd) -> Option<Bytes> {
        let (parts, all) = self.joined(parts)?;
        let (low, high) = (parts.first()?, parts.last()?);
        let held = HeightRange::new(low.range.first(), high.range.last())?;
        if !held.covers(range) || range.count() > PROFILE.grid() {
            return None;
        }
        // The proof of a block: the headers above it, as far as they decide it.
        let proof = |last: Height| {
            let at = held.index_of(last)?;
            let above = all.get(at.checked_add(1)?..)?;
            above.get(..deciding(all.get(at)?, above)?).map(<[OtherHeader]>::to_vec)
        };
        let (last, above) = match end {
            SegmentEnd::Anchored(_) => (range.last(), Vec::new()),
            SegmentEnd::Certified if self.rules.has(Rule::AssembledEnd) => (range.last(), proof(range.last())?),
            SegmentEnd::Certified | SegmentEnd::CertifiedUpTo => {
                let mut last = range.last();
                loop {
                    if let Some(above) = proof(last) {
                        break (last, above);
                    }
                    last = last.prev().filter(|last| range.contains(*last))?;
                }
            }
        };
        let range = HeightRange::new(range.first(), last)?;
        let id = |height| parts.iter().find_map(|part| part.id(height));
        if matches!(end, SegmentEnd::Anchored(wanted) if id(last) != Some(wanted)) {
            return None;
        }
        let below = range.first().prev()?;
        let parent_id = if low.range.first() == range.first() { low.wire.parent_id } else { id(below)? };
        let headers: Vec<(OtherHeader, u32)> =
            parts.iter().flat_map(|part| part.wire.headers.iter().cloned()).collect();
        let headers = headers.get(held.index_of(range.first())?..=held.index_of(last)?)?.to_vec();
        Some(encode(&Wire { first: range.first(), parent_id, headers, above }).into())
    }

    fn tip_of(&self, segment: &[u8]) -> Option<Bytes> {
        let segment = self.decode_segment(segment).ok()?;
        if segment.wire.above.is_empty() && self.rules.has(Rule::TipOfProven) {
            return None;
        }
        let height = segment.range.last();
        let parent_id = segment.id_or_parent(height.prev()?)?;
        let (header, _) = segment.header(height)?.clone();
        Some(encode(&Tip { height, parent_id, header, above: segment.wire.above }).into())
    }

    fn evidence(&self, committee: &Committee, one: &Finalized, other: &Finalized) -> Result<Bytes, CheckError> {
        let (at, id) = self.proven(committee, one)?;
        let (other_at, other_id) = self.proven(committee, other)?;
        self.rules.demand(Rule::Conflict, at == other_at && id != other_id, Fault::NoConflict)?;
        let mut evidence = Vec::new();
        for proof in [one, other] {
            let (bytes, tip) = proof.parts();
            if !put_section(&mut evidence, bytes) || !put_section(&mut evidence, tip.map_or(&[], |tip| tip)) {
                return Err(Fault::Oversize.into());
            }
        }
        Ok(evidence.into())
    }

    fn verify_advert(&self, _: &Committee, _: &[u8]) -> Result<AdvertFacts, CheckError> {
        // Signers say nothing of themselves.
        Err(Fault::Malformed.into())
    }

    fn certified_suffix(&self, _: &Finalized) -> Option<CertifiedSuffix> {
        // Certified blocks above the final one are in its proof; the engine that this chain doesn't have would want
        // them.
        None
    }
}
