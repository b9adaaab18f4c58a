//! False answers that look right, and useless ones: what adversaries in the simulator and those of the command make of
//! honest answers.

use bytes::Bytes;
use hotstuff2_sync::chain::native::{
    EpochInfo, FinalityProof, Handover, QuorumCertificate, Segment, Signature, Validator, ValidatorSet,
};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::{PeerStatus, Request, Sections, put_section};

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
    let proof = forge_proof(segment.proof().clone())?;
    Segment::new(segment.parent().clone(), segment.headers().to_vec(), proof).ok()
}

/// Changes a signature in the proof's certificate; `None` where there is none.
pub fn forge_proof(proof: FinalityProof) -> Option<FinalityProof> {
    let forged = |mut qc: QuorumCertificate| {
        let signature = qc.signatures.first_mut()?;
        let mut s = *signature.s();
        s[0] ^= 1;
        *signature = Signature::from_parts(*signature.r(), s);
        Some(qc)
    };
    Some(match proof {
        FinalityProof::TwoChain { descendants, qc } => FinalityProof::TwoChain { descendants, qc: forged(qc)? },
        FinalityProof::DoubleCertificate { descendants, qc } => {
            FinalityProof::DoubleCertificate { descendants, qc: forged(qc)? }
        }
        FinalityProof::Anchored { .. } => return None,
    })
}

/// Gives each epoch that handovers name to its first validator alone.
pub fn forge_handovers(data: &Bytes) -> Option<Vec<u8>> {
    let mut sections = Sections::new(data.clone());
    let mut bent = Vec::new();
    while !sections.is_empty() {
        let handover = Handover::decode(&sections.take()?).ok()?;
        if !put_section(&mut bent, &usurp(handover)?.encode()) {
            return None;
        }
    }
    Some(bent)
}

/// Gives the epoch that a handover names to its first validator alone.
pub fn usurp(handover: Handover) -> Option<Handover> {
    let next = EpochInfo::decode(&handover.next).ok()?;
    let usurper = Validator { power: u64::MAX, ..*next.validators().validators().first()? };
    let forged = EpochInfo::new(next.epoch(), next.range(), ValidatorSet::new(vec![usurper]).ok()?);
    Some(Handover::new(handover.header, handover.proof, &forged))
}

/// The same status, of another chain.
pub fn foreign_status(data: &[u8]) -> Option<Vec<u8>> {
    let status: PeerStatus = postcard::from_bytes(data).ok()?;
    postcard::to_allocvec(&PeerStatus { chain_id: Hash::ZERO, ..status }).ok()
}

/// A request whose answer is as little as one that asks for this can get: one block, or one subtree.
pub fn crumb(request: &Request) -> Option<Request> {
    match request {
        Request::Bodies { range, .. } => {
            Some(Request::Bodies { range: HeightRange::single(range.first()), max_bytes: 1 })
        }
        Request::State { height, form, items, max_bytes } => {
            let items = items.iter().take(1).copied().collect();
            Some(Request::State { height: *height, form: *form, items, max_bytes: *max_bytes })
        }
        _ => None,
    }
}
