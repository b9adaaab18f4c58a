use std::sync::Mutex;

use bytes::Bytes;
use hotstuff2_sync::chain::native::{ConflictEvidence, EpochContext, FinalityProof, Handover, NativeChain, Segment};
use hotstuff2_sync::chain::{
    AdvertFacts, CertifiedSuffix, Chain, ChainProfile, CheckError, EpochRef, Finalized, HandoverFacts, HeaderFacts,
    SegmentClaim, SegmentEnd, SegmentFacts, Skipped, TipCheck,
};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

use super::{Bend, Broken, NativeSpecimen, Specimen, check};

#[test]
fn the_native_chain_passes_the_conformance_kit() {
    let specimen = NativeSpecimen::new().unwrap();
    assert_eq!(specimen.bends().len(), 4, "each way to bend it works");
    assert_eq!(specimen.false_handovers().len(), 3, "each way to bend a handover works");
    assert_eq!(check(&specimen), Ok(()));
}

#[test]
fn a_chain_that_is_careless_with_handovers_ends_or_evidence_fails_by_name() {
    for (neglect, rule) in [
        (Neglect::BareHandover, "bent: a handover without a proof"),
        (Neglect::LastSegment, "ends"),
        (Neglect::EndAssembled, "assemble"),
        (Neglect::Evidence, "evidence"),
    ] {
        let specimen = NativeSpecimen::new().unwrap();
        let chain = Careless { chain: specimen.chain().clone(), neglect, last: Mutex::default() };
        let found: Result<(), Broken> = check(&CarelessSpecimen { specimen, chain });
        assert_eq!(found.unwrap_err().rule, rule, "{neglect:?}");
    }
}

/// One rule that isn't kept.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Neglect {
    /// A handover that says itself that it has no proof is believed.
    BareHandover,
    /// Any segment that comes with a proven handover is believed.
    LastSegment,
    /// Nothing is assembled where an epoch ends.
    EndAssembled,
    /// Evidence is put together and not checked.
    Evidence,
}

/// The native chain, which neglects one rule.
struct Careless {
    chain: NativeChain,
    neglect: Neglect,
    /// Facts of the last segment that was proven at an epoch's end.
    last: Mutex<Option<SegmentFacts>>,
}

impl Chain for Careless {
    type Epoch = EpochContext;
    type Segment = Segment;

    fn profile(&self) -> ChainProfile {
        self.chain.profile()
    }

    fn has_state_roots(&self) -> bool {
        self.chain.has_state_roots()
    }

    fn decode_epoch(&self, epoch: &[u8], before: Option<&EpochContext>) -> Result<EpochContext, CheckError> {
        self.chain.decode_epoch(epoch, before)
    }

    fn link_handover(&self, epoch: &[u8], handover: &[u8]) -> Result<HandoverFacts, CheckError> {
        self.chain.link_handover(epoch, handover)
    }

    fn verify_handover(
        &self,
        epoch: &EpochContext,
        handover: &[u8],
    ) -> Result<(EpochContext, HandoverFacts), CheckError> {
        let bare = Handover::decode(handover).is_ok_and(
            |handover| matches!(handover.proof, FinalityProof::Anchored { id } if id == handover.header.id()),
        );
        if self.neglect != Neglect::BareHandover || !bare {
            return self.chain.verify_handover(epoch, handover);
        }
        let facts = self.chain.link_handover(&epoch.info().encode(), handover)?;
        Ok((self.chain.decode_epoch(&facts.bytes, None)?, facts))
    }

    fn verify_skip(
        &self,
        trusted: &EpochContext,
        begins: &[u8],
        ends: &[u8],
    ) -> Result<Skipped<EpochContext>, CheckError> {
        self.chain.verify_skip(trusted, begins, ends)
    }

    fn verify_tip(&self, epoch: &EpochContext, tip: &[u8]) -> Result<TipCheck, CheckError> {
        self.chain.verify_tip(epoch, tip)
    }

    fn verify_segment(
        &self,
        epoch: &EpochContext,
        claim: &SegmentClaim,
        segment: &[u8],
        audit: &[u8],
    ) -> Result<(Segment, SegmentFacts), CheckError> {
        self.chain.verify_segment(epoch, claim, segment, audit)
    }

    fn verify_last_segment(
        &self,
        epoch: &EpochContext,
        claim: &SegmentClaim,
        segment: &[u8],
        audit: &[u8],
        handover: &[u8],
    ) -> Result<(Segment, SegmentFacts), CheckError> {
        let mut last = self.last.lock().unwrap();
        let found = self.chain.verify_last_segment(epoch, claim, segment, audit, handover);
        if let Ok((_, facts)) = &found {
            *last = Some(facts.clone());
        }
        match (found, last.clone()) {
            (Err(_), Some(facts)) if self.neglect == Neglect::LastSegment => {
                Ok((self.chain.decode_segment(segment)?, facts))
            }
            (found, _) => found,
        }
    }

    fn decode_segment(&self, segment: &[u8]) -> Result<Segment, CheckError> {
        self.chain.decode_segment(segment)
    }

    fn header(&self, segment: &Segment, height: Height) -> Option<HeaderFacts> {
        self.chain.header(segment, height)
    }

    fn check_payload(&self, segment: &Segment, height: Height, payload: &[u8]) -> Result<(), CheckError> {
        self.chain.check_payload(segment, height, payload)
    }

    fn assemble(&self, parts: &[Bytes], range: HeightRange, end: SegmentEnd) -> Option<Bytes> {
        let ends = || Segment::decode(parts.last()?).ok()?.headers().last()?.next_epoch_hash;
        if self.neglect == Neglect::EndAssembled && ends().is_some() {
            return None;
        }
        self.chain.assemble(parts, range, end)
    }

    fn tip_of(&self, segment: &[u8]) -> Option<Bytes> {
        self.chain.tip_of(segment)
    }

    fn evidence(&self, epoch: &EpochContext, one: &Finalized, other: &Finalized) -> Result<Bytes, CheckError> {
        if self.neglect == Neglect::Evidence {
            return Ok(ConflictEvidence::new(epoch, one, other)?.encode().into());
        }
        self.chain.evidence(epoch, one, other)
    }

    fn verify_advert(&self, epoch: &EpochContext, advert: &[u8]) -> Result<AdvertFacts, CheckError> {
        self.chain.verify_advert(epoch, advert)
    }

    fn certified_suffix(&self, proof: &Finalized) -> Option<CertifiedSuffix> {
        self.chain.certified_suffix(proof)
    }
}

/// The native chain's honest bytes, for a careless one.
struct CarelessSpecimen {
    specimen: NativeSpecimen,
    chain: Careless,
}

impl Specimen for CarelessSpecimen {
    type Chain = Careless;

    fn chain(&self) -> &Careless {
        &self.chain
    }

    fn epoch(&self) -> EpochRef {
        self.specimen.epoch()
    }

    fn first(&self) -> Height {
        self.specimen.first()
    }

    fn id(&self, height: Height) -> Hash {
        self.specimen.id(height)
    }

    fn payload(&self, height: Height) -> Bytes {
        self.specimen.payload(height)
    }

    fn segment(&self, range: HeightRange, proven: bool) -> Option<Bytes> {
        self.specimen.segment(range, proven)
    }

    fn audit(&self, range: HeightRange) -> Option<Bytes> {
        self.specimen.audit(range)
    }

    fn bends(&self) -> Vec<Bend> {
        self.specimen.bends()
    }

    fn fork(&self, range: HeightRange) -> Option<Bytes> {
        self.specimen.fork(range)
    }

    fn foreign_tip(&self) -> Option<Bytes> {
        self.specimen.foreign_tip()
    }

    fn handovers(&self) -> Vec<Bytes> {
        self.specimen.handovers()
    }

    fn false_handovers(&self) -> Vec<(&'static str, Bytes)> {
        self.specimen.false_handovers()
    }
}
