//! False answers that look right: what liars in the simulator and in the demo make of an honest one.

use bytes::Bytes;
use hotstuff2_sync::chain::native::{
    EpochInfo, FinalityProof, Handover, QuorumCertificate, Segment, Signature, Validator, ValidatorSet,
};
use hotstuff2_sync::wire::{Sections, put_section};

/// Changes the segment at the front of an answer, and leaves what follows.
pub fn bend_segment(data: &Bytes, change: impl FnOnce(Segment) -> Option<Segment>) -> Option<Vec<u8>> {
    let mut sections = Sections::new(data.clone());
    let segment = change(Segment::decode(&sections.take()?).ok()?)?;
    let mut bent = Vec::new();
    if !put_section(&mut bent, &segment.encode()) {
        return None;
    }
    bent.extend_from_slice(&sections.rest());
    Some(bent)
}

/// Gives the last header another state, which nobody signed.
pub fn forge_header(segment: Segment) -> Option<Segment> {
    let mut headers = segment.headers().to_vec();
    let last = headers.last_mut()?;
    last.state_root = last.id();
    Segment::new(segment.parent().clone(), headers, segment.proof().clone()).ok()
}

/// Changes a signature in the certificate; `None` where there is none.
pub fn forge_signature(segment: Segment) -> Option<Segment> {
    let forged = |mut qc: QuorumCertificate| {
        let signature = qc.signatures.first_mut()?;
        let mut s = *signature.s();
        s[0] ^= 1;
        *signature = Signature::from_parts(*signature.r(), s);
        Some(qc)
    };
    let proof = match segment.proof().clone() {
        FinalityProof::TwoChain { descendants, qc } => FinalityProof::TwoChain { descendants, qc: forged(qc)? },
        FinalityProof::DoubleCertificate { descendants, qc } => {
            FinalityProof::DoubleCertificate { descendants, qc: forged(qc)? }
        }
        FinalityProof::Anchored { .. } => return None,
    };
    Segment::new(segment.parent().clone(), segment.headers().to_vec(), proof).ok()
}

/// Gives the next epoch to its first validator alone.
pub fn forge_handovers(data: &Bytes) -> Option<Vec<u8>> {
    let mut sections = Sections::new(data.clone());
    let mut bent = Vec::new();
    while !sections.is_empty() {
        let handover = Handover::decode(&sections.take()?).ok()?;
        let next = EpochInfo::decode(&handover.next).ok()?;
        let usurper = Validator { power: u64::MAX, ..*next.validators().validators().first()? };
        let forged = EpochInfo::new(next.epoch(), next.range(), ValidatorSet::new(vec![usurper]).ok()?);
        if !put_section(&mut bent, &Handover::new(handover.header, handover.proof, &forged).encode()) {
            return None;
        }
    }
    Some(bent)
}
