//! [`NativeChain`]: the native chain behind the [`Chain`] trait.

use bytes::Bytes;

use super::advert::Advert;
use super::anchor::{AnchorFacts, AnchorPoint};
use super::assemble::assemble;
use super::codec::Version;
use super::epoch::{ClaimedEpoch, EpochInfo};
use super::evidence::ConflictEvidence;
use super::genesis::Genesis;
use super::handover::Handover;
use super::header::payload_hash;
use super::rules::EpochContext;
use super::segment::Segment;
use super::skip::{Skip, SkipCheck};
use super::tip::FinalizedHeader;
use crate::chain::{
    AdvertFacts, Audits, CertifiedSuffix, Chain, ChainProfile, CheckError, Fault, Finalized, HandoverFacts,
    HeaderFacts, SegmentClaim, SegmentEnd, SegmentFacts, SkipFacts, Skipped, TipCheck,
};
use crate::hash::Hash;
use crate::ids::Height;
use crate::limits::{MAX_HANDOVER_BYTES, MAX_PAYLOAD_BYTES, MAX_TIP_BYTES};
use crate::ranges::HeightRange;

/// The sizes of the native chain.
pub const PROFILE: ChainProfile = ChainProfile {
    // Five numbers, two of them of up to ten bytes, and two hashes: 94.
    header_bytes: 96,
    payload_bytes: MAX_PAYLOAD_BYTES,
    tip_bytes: MAX_TIP_BYTES,
    handover_bytes: MAX_HANDOVER_BYTES,
    // A signature of 64 bytes and a bit for each key of 32 bytes, which its power follows.
    audits: Audits::Apart(2),
    proves_lengths: true,
};

/// One native chain: what its verification needs beside an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeChain {
    chain_id: Hash,
    genesis_id: Hash,
    anchor: AnchorPoint,
}

impl NativeChain {
    /// The chain that begins with `genesis`, trusted from there on.
    pub fn new(genesis: &Genesis) -> Self {
        let anchor = AnchorPoint { height: Height::ZERO, id: genesis.id() };
        Self { chain_id: genesis.chain_id(), genesis_id: genesis.id(), anchor }
    }

    /// The chain that begins with `genesis`, trusted from `anchor` on: at and below it no certificate proves anything.
    pub fn with_anchor(genesis: &Genesis, anchor: &AnchorFacts) -> Self {
        Self { anchor: AnchorPoint { height: anchor.height, id: anchor.id }, ..Self::new(genesis) }
    }

    /// The chain's id.
    pub fn chain_id(&self) -> Hash {
        self.chain_id
    }
}

impl Chain for NativeChain {
    type Epoch = EpochContext;
    type Segment = Segment;

    fn profile(&self) -> ChainProfile {
        PROFILE
    }

    fn has_state_roots(&self) -> bool {
        true
    }

    fn decode_epoch(&self, epoch: &[u8], before: Option<&EpochContext>) -> Result<EpochContext, CheckError> {
        let info = ClaimedEpoch::decode(epoch)?.check(before.map(EpochContext::validators))?;
        let hash = EpochInfo::hash_of(epoch);
        Ok(EpochContext::of_chain(self.chain_id, self.genesis_id, info, hash))
    }

    fn link_handover(&self, epoch: &[u8], handover: &[u8]) -> Result<HandoverFacts, CheckError> {
        Ok(Handover::decode(handover)?.link(self.chain_id, epoch)?)
    }

    fn verify_handover(
        &self,
        epoch: &EpochContext,
        handover: &[u8],
    ) -> Result<(EpochContext, HandoverFacts), CheckError> {
        let (next, facts) = Handover::decode(handover)?.verify(epoch)?;
        // The anchor may be its epoch's last block. Then no certificate puts another one in its place.
        if epoch.range().last() == self.anchor.height && facts.boundary_id != self.anchor.id {
            return Err(Fault::WrongAnchor.into());
        }
        Ok((next, facts))
    }

    fn verify_skip(
        &self,
        trusted: &EpochContext,
        begins: &[u8],
        ends: &[u8],
    ) -> Result<Skipped<EpochContext>, CheckError> {
        let epoch = Handover::decode(begins)?.next;
        let Handover { header, proof, .. } = Handover::decode(ends)?;
        let bytes = epoch.clone().into();
        match (Skip { version: Version, header, proof, epoch }).verify(trusted)? {
            SkipCheck::TooFar => Ok(Skipped::TooFar),
            SkipCheck::Proven(last, own) => {
                let facts = SkipFacts { epoch: own.epoch(), range: own.range(), bytes, last };
                Ok(Skipped::To(*own, facts))
            }
        }
    }

    fn verify_tip(&self, epoch: &EpochContext, tip: &[u8]) -> Result<TipCheck, CheckError> {
        Ok(FinalizedHeader::decode(tip)?.verify(epoch)?)
    }

    fn verify_segment(
        &self,
        epoch: &EpochContext,
        claim: &SegmentClaim,
        segment: &[u8],
        audit: &[u8],
    ) -> Result<(Segment, SegmentFacts), CheckError> {
        Ok(Segment::verify(segment, audit, claim, epoch, self.anchor, None)?)
    }

    fn verify_last_segment(
        &self,
        epoch: &EpochContext,
        claim: &SegmentClaim,
        segment: &[u8],
        audit: &[u8],
        handover: &[u8],
    ) -> Result<(Segment, SegmentFacts), CheckError> {
        // The handover was decoded when it was verified; should it not be now, it helps nothing.
        let handover = Handover::decode(handover).ok();
        Ok(Segment::verify(segment, audit, claim, epoch, self.anchor, handover.as_ref())?)
    }

    fn decode_segment(&self, segment: &[u8]) -> Result<Segment, CheckError> {
        Ok(Segment::decode(segment)?)
    }

    fn header(&self, segment: &Segment, height: Height) -> Option<HeaderFacts> {
        let (header, id) = segment.header(height)?;
        Some(HeaderFacts { id, state_root: header.state_root, timestamp: header.timestamp })
    }

    fn check_payload(&self, segment: &Segment, height: Height, payload: &[u8]) -> Result<(), CheckError> {
        let (header, _) = segment.header(height).ok_or(Fault::WrongRange)?;
        // The length first: it costs nothing, and a longer payload needn't be hashed.
        if usize::try_from(header.payload_len) != Ok(payload.len()) || payload_hash(payload) != header.payload_hash {
            return Err(Fault::BadPayload(height).into());
        }
        Ok(())
    }

    fn assemble(&self, parts: &[Bytes], range: HeightRange, end: SegmentEnd) -> Option<Bytes> {
        assemble(parts, range, end)
    }

    fn tip_of(&self, segment: &[u8]) -> Option<Bytes> {
        let segment = Segment::decode(segment).ok()?;
        segment.proof().certificate()?;
        Some(FinalizedHeader::new(segment.headers().last()?.clone(), segment.proof().clone()).encode().into())
    }

    fn evidence(&self, epoch: &EpochContext, one: &Finalized, other: &Finalized) -> Result<Bytes, CheckError> {
        let evidence = ConflictEvidence::new(epoch, one, other)?;
        evidence.verify(epoch)?;
        Ok(evidence.encode().into())
    }

    fn verify_advert(&self, epoch: &EpochContext, advert: &[u8]) -> Result<AdvertFacts, CheckError> {
        Ok(Advert::decode(advert)?.verify(epoch)?)
    }

    fn certified_suffix(&self, proof: &Finalized) -> Option<CertifiedSuffix> {
        let proof = match proof {
            Finalized::Tip(tip) => FinalizedHeader::decode(tip).ok()?.proof,
            Finalized::Segment(segment, height) => {
                let segment = Segment::decode(segment).ok()?;
                if segment.headers().last()?.height != *height {
                    return None;
                }
                segment.proof().clone()
            }
            Finalized::Anchored { tip, .. } => FinalizedHeader::decode(tip).ok()?.proof,
            // Above an epoch's last block stand closing headers, which no consensus goes on from.
            Finalized::Handover(_) => return None,
        };
        let headers = proof.descendants().iter().map(|header| header.encode().into()).collect();
        Some(CertifiedSuffix { headers, certificate: proof.certificate()?.encode().into() })
    }
}
