//! The notary's chain: honest bytes are proven, and each rule refuses what breaks it alone.

use bytes::Bytes;
use hotstuff2_sync::chain::{Chain as _, CheckError, EpochRef, Fault, Finalized, SegmentClaim, SegmentEnd, TipCheck};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

use super::{Notary, NotaryChain};

fn range(first: u64, last: u64) -> HeightRange {
    HeightRange::new(Height::new(first), Height::new(last)).unwrap()
}

fn notary(seed: u8) -> Notary {
    let mut notary = Notary::new(seed);
    (1..=40u8).for_each(|number| notary.push(vec![number; usize::from(number)]));
    notary
}

fn claim(range: HeightRange, end: SegmentEnd) -> SegmentClaim {
    SegmentClaim { range, parent: None, end, audit: false }
}

fn epoch(notary: &Notary) -> EpochRef {
    notary.anchor().1
}

#[test]
fn each_rule_of_a_segment_stands_alone() {
    let (notary, other) = (notary(1), notary(2));
    let (chain, epoch) = (notary.chain(), epoch(&notary));
    let key = epoch.decoded(&chain).unwrap();
    let verify = |claim: SegmentClaim, segment: &[u8], audit: &[u8]| {
        chain.verify_segment(key, &claim, segment, audit).map(|(_, facts)| facts)
    };
    let (signed, bare) = (notary.segment(range(5, 20), true), notary.segment(range(5, 20), false));
    let certified = claim(range(5, 20), SegmentEnd::Certified);
    let anchored = claim(range(5, 20), SegmentEnd::Anchored(notary.id(Height::new(20))));
    let facts = verify(certified, &signed, &[]).unwrap();
    assert_eq!((facts.range, facts.parent_id), (range(5, 20), notary.id(Height::new(4))));
    assert_eq!(facts.payload_lens, (5..=20).collect::<Vec<u32>>());
    assert!(verify(claim(range(5, 30), SegmentEnd::CertifiedUpTo), &signed, &[]).is_ok());
    // A segment that was asked for without a certificate may come with one.
    assert!(verify(anchored, &bare, &[]).is_ok() && verify(anchored, &signed, &[]).is_ok());

    assert_eq!(verify(certified, &bare, &[]), Err(CheckError::False(Fault::NotFinal)));
    let fork = SegmentClaim { end: SegmentEnd::Anchored(Hash::ZERO), ..anchored };
    assert_eq!(verify(fork, &bare, &[]), Err(CheckError::False(Fault::WrongAnchor)));
    assert_eq!(
        verify(SegmentClaim { parent: Some(Hash::ZERO), ..certified }, &signed, &[]),
        Err(CheckError::False(Fault::WrongParent))
    );
    assert_eq!(
        verify(claim(range(5, 21), SegmentEnd::Certified), &signed, &[]),
        Err(CheckError::False(Fault::WrongRange))
    );
    assert_eq!(
        verify(claim(range(4, 20), SegmentEnd::CertifiedUpTo), &signed, &[]),
        Err(CheckError::False(Fault::WrongRange))
    );
    assert_eq!(verify(certified, &signed, b"x"), Err(CheckError::False(Fault::Malformed)));
    assert_eq!(
        verify(SegmentClaim { audit: true, ..certified }, &signed, &[]),
        Err(CheckError::False(Fault::Malformed))
    );
    assert_eq!(verify(certified, &[&signed[..], &[0]].concat(), &[]), Err(CheckError::False(Fault::NonCanonical)));
    assert_eq!(verify(certified, &signed[..9], &[]), Err(CheckError::False(Fault::Malformed)));
    // Another notary's signature, and a false one that nobody asked for.
    assert_eq!(
        verify(certified, &other.segment(range(5, 20), true), &[]),
        Err(CheckError::False(Fault::BadCertificate))
    );
    let mut bent = signed.to_vec();
    *bent.last_mut().unwrap() ^= 1;
    assert_eq!(verify(anchored, &bent, &[]), Err(CheckError::False(Fault::BadCertificate)), "what is stored is served");
}

#[test]
fn segments_are_cut_and_joined() {
    let notary = notary(1);
    let chain = notary.chain();
    let parts = [notary.segment(range(5, 20), true), notary.segment(range(21, 30), true)];
    let anchored = |last| SegmentEnd::Anchored(notary.id(Height::new(last)));
    let assemble = |range, end| chain.assemble(&parts, range, end);
    assert_eq!(assemble(range(5, 20), SegmentEnd::Certified), Some(parts[0].clone()));
    assert_eq!(assemble(range(7, 30), SegmentEnd::Certified), Some(notary.segment(range(7, 30), true)));
    assert_eq!(assemble(range(7, 29), SegmentEnd::CertifiedUpTo), Some(notary.segment(range(7, 20), true)));
    assert_eq!(assemble(range(7, 25), anchored(25)), Some(notary.segment(range(7, 25), false)));
    assert_eq!(assemble(range(7, 25), anchored(24)), None);
    assert_eq!(assemble(range(7, 25), SegmentEnd::Certified), None);
    assert_eq!(assemble(range(4, 25), anchored(25)), None);
    assert_eq!(chain.assemble(&[parts[1].clone(), parts[0].clone()], range(7, 25), anchored(25)), None);
    assert_eq!(chain.assemble(&[], range(7, 25), anchored(25)), None);
    assert!(chain.tip_of(&parts[0]).is_some() && chain.tip_of(&notary.segment(range(5, 20), false)).is_none());
}

#[test]
fn two_final_blocks_at_one_height_are_evidence() {
    let notary = notary(1);
    // The same key on another history.
    let mut fork = Notary::new(1);
    (1..=40u8).for_each(|number| fork.push(vec![number]));
    let (chain, epoch) = (notary.chain(), epoch(&notary));
    let key = epoch.decoded(&chain).unwrap();
    let tip = |notary: &Notary| chain.tip_of(&notary.segment(range(5, 20), true)).unwrap();
    assert!(matches!(chain.verify_tip(key, &tip(&notary)), Ok(TipCheck::Final(tip)) if tip.height == Height::new(20)));
    let ours = Finalized::Tip(tip(&notary));
    let segment = |notary: &Notary, height| Finalized::Segment(notary.segment(range(5, 20), true), Height::new(height));
    let anchored =
        |tip: Bytes| Finalized::Anchored { segment: fork.segment(range(5, 20), false), tip, height: Height::new(20) };
    assert!(chain.evidence(key, &ours, &segment(&fork, 20)).is_ok());
    assert!(chain.evidence(key, &ours, &anchored(tip(&fork))).is_ok());
    assert!(chain.evidence(key, &segment(&notary, 4), &segment(&fork, 4)).is_ok(), "the parent of the first header");
    assert_eq!(chain.evidence(key, &ours, &segment(&notary, 20)), Err(CheckError::False(Fault::NoConflict)));
    assert_eq!(chain.evidence(key, &ours, &segment(&fork, 19)), Err(CheckError::False(Fault::NoConflict)));
    assert_eq!(chain.evidence(key, &ours, &anchored(tip(&notary))), Err(CheckError::False(Fault::WrongAnchor)));
    assert_eq!(chain.evidence(key, &ours, &Finalized::Handover(tip(&fork))), Err(CheckError::False(Fault::Malformed)));
    assert_eq!(
        NotaryChain::new(Hash::ZERO).verify_tip(key, &tip(&notary)),
        Err(CheckError::False(Fault::BadCertificate))
    );
}
