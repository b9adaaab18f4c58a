//! Attacks on segments and their claims, audits, cutting and joining, and evidence of conflicts.

use super::*;
use crate::chain::{Chain, CheckError, Fault, Finalized};

fn refused(net: &Net, claim: &SegmentClaim, bytes: &[u8]) -> Fault {
    net.chain().verify_segment(&net.context(0), claim, bytes, &[]).unwrap_err().fault().unwrap()
}

#[test]
fn a_segment_answers_exactly_its_claim() {
    let net = Net::new(&Shape::default());
    let segment = net.segment(5, 9);
    for (first, last) in [(4, 9), (6, 9), (5, 8), (5, 10), (1, 4), (10, 14)] {
        assert_eq!(refused(&net, &certified(first, last), &segment), Fault::WrongRange);
        let anchored = claim(first, last, SegmentEnd::Anchored(net.header(9).id()));
        assert_eq!(refused(&net, &anchored, &segment), Fault::WrongRange);
    }
    // Shorter is allowed where it was asked for; longer, or from another start, never.
    for (first, last) in [(4, 9), (6, 9), (5, 8)] {
        assert_eq!(refused(&net, &claim(first, last, SegmentEnd::CertifiedUpTo), &segment), Fault::WrongRange);
    }
    let parent = SegmentClaim { parent: Some(net.header(3).id()), ..certified(5, 9) };
    assert_eq!(refused(&net, &parent, &segment), Fault::WrongParent);
    for bytes in [&segment, &net.anchored(5, 9)] {
        let anchored = claim(5, 9, SegmentEnd::Anchored(net.header(10).id()));
        assert_eq!(refused(&net, &anchored, bytes), Fault::WrongAnchor);
    }
    // An anchor counts for whoever asked by id, and for that id.
    assert_eq!(refused(&net, &certified(5, 9), &net.anchored(5, 9)), Fault::NotFinal);
    let lies = FinalityProof::Anchored { id: net.header(8).id() };
    let lies = net.segment_with(5, 9, lies).encode();
    let by_id = claim(5, 9, SegmentEnd::Anchored(net.header(9).id()));
    assert_eq!(refused(&net, &by_id, &lies), Fault::WrongAnchor);
    // A certificate that nobody needs is checked before it is kept.
    let useless = FinalityProof::TwoChain { descendants: vec![], qc: net.certify(net.header(9), Phase::One) };
    assert_eq!(refused(&net, &by_id, &net.segment_with(5, 9, useless).encode()), Fault::NotFinal);
}

#[test]
fn a_claim_stays_in_its_cell_and_epoch() {
    let net = Net::new(&Shape { last_heights: vec![1100, 1110], gaps_after: vec![], ..Shape::default() });
    let whole = net.segment(1, 1023);
    net.chain().verify_segment(&net.context(0), &certified(1, 1023), &whole, &[]).unwrap();
    let (chain, epoch) = (net.chain(), net.context(0));
    chain.verify_segment(&epoch, &certified(1024, 1100), &net.segment(1024, 1100), &[]).unwrap();
    for (first, last) in [(1020, 1030), (1095, 1100)] {
        let result = chain.verify_segment(&epoch, &certified(first, last), &net.segment(first, last), &[]);
        assert_eq!(result.is_ok(), first == 1095);
    }
    let beyond = chain.verify_segment(&epoch, &certified(1101, 1102), &net.segment(1101, 1102), &[]);
    assert_eq!(beyond.unwrap_err(), CheckError::False(Fault::WrongRange));
    let other_epoch = chain.verify_segment(&epoch, &certified(1095, 1100), &net.segment(1095, 1100), &[1]);
    assert_eq!(other_epoch.unwrap_err(), CheckError::False(Fault::Malformed));
    // As many headers as a cell has, and not one more.
    let of = |last: usize| Segment::new(net.header(0).clone(), net.headers[1..=last].to_vec(), net.double(1));
    let longest = of(MAX_SEGMENT_HEADERS).unwrap();
    assert_eq!(Segment::decode(&longest.encode()), Ok(longest));
    assert_eq!(of(MAX_SEGMENT_HEADERS + 1), Err(NotASegment));
}

#[test]
fn every_seam_of_a_segment_is_checked() {
    // Rules that compact headers can still break: each under a certificate for the chain that breaks it, by all
    // validators.
    let net = Net::new(&Shape::default());
    type Change = fn(&mut Header);
    let changes: [(u64, Change, Fault); 5] = [
        (7, |header| header.proposer = 9, Fault::BrokenLink(height(7))),
        (7, |header| header.payload_len = 5 << 20, Fault::BrokenLink(height(7))),
        (7, |header| header.payload_hash = payload_hash(&[]), Fault::BrokenLink(height(7))),
        (9, |header| header.next_epoch_hash = Some(Hash::ZERO), Fault::BadEpoch),
        // The parent, which is the only header that comes whole.
        (4, |header| header.proposer = 9, Fault::BrokenLink(height(4))),
    ];
    for (wrong, change, fault) in changes {
        let mut headers = net.headers[4..=9].to_vec();
        change(&mut headers[wrong as usize - 4]);
        for index in 1..headers.len() {
            headers[index].parent = headers[index - 1].id();
        }
        let proof = net.double_of(&headers[5]);
        let segment = Segment::new(headers[0].clone(), headers[1..].to_vec(), proof).unwrap().encode();
        assert_eq!(refused(&net, &certified(5, 9), &segment), fault);
    }
    // A parent of another chain or epoch takes all of its children with it.
    let strangers: [(Change, Fault); 2] = [
        (|header| header.chain_id = Hash::ZERO, Fault::WrongChain),
        (|header| header.epoch_hash = Hash::ZERO, Fault::BadEpoch),
    ];
    for (change, fault) in strangers {
        let mut headers = net.headers[4..=9].to_vec();
        headers.iter_mut().for_each(change);
        for index in 1..headers.len() {
            headers[index].parent = headers[index - 1].id();
        }
        let proof = net.double_of(&headers[5]);
        let segment = Segment::new(headers[0].clone(), headers[1..].to_vec(), proof).unwrap().encode();
        assert_eq!(refused(&net, &certified(5, 9), &segment), fault);
    }
}

#[test]
fn audit_needs_a_certificate_for_every_block() {
    let net = Net::new(&Shape::default());
    let (chain, epoch) = (net.chain(), net.context(0));
    let claim = SegmentClaim { audit: true, ..certified(5, 9) };
    let segment = net.segment(5, 9);
    let certificates: Vec<_> = (5..=9).map(|number| net.certify(net.header(number), Phase::One)).collect();
    let check = |certificates: Vec<QuorumCertificate>| {
        chain.verify_segment(&epoch, &claim, &segment, &build::audit_trail(certificates)).map(|(_, facts)| facts)
    };
    assert_eq!(check(certificates.clone()).unwrap().quorum_checks, 6);
    let mut swapped = certificates.clone();
    swapped.swap(1, 2);
    let mut missing = certificates.clone();
    missing.pop();
    let mut extra = certificates.clone();
    extra.push(certificates[0].clone());
    let mut phase = certificates.clone();
    phase[2] = net.certify(net.header(7), Phase::Two);
    let mut weak = certificates;
    weak[3] = build::certify(net.header(8), Phase::One, epoch.validators(), &net.keys[0][..2]);
    for wrong in [swapped, missing, extra, phase, weak] {
        assert_eq!(check(wrong), Err(CheckError::False(Fault::BadCertificate)));
    }
    assert_eq!(chain.verify_segment(&epoch, &claim, &segment, &[]).unwrap_err(), CheckError::False(Fault::Malformed));
}

#[test]
fn segments_are_cut_and_joined() {
    let net = Net::new(&Shape::default());
    let (chain, epoch) = (net.chain(), net.context(0));
    let parts = [net.segment(1, 4), net.segment(5, 9), net.segment(10, 20)];
    for first in 1..=20 {
        for last in first..=20 {
            let range = range(first, last);
            let bytes = chain.assemble(&parts, range, SegmentEnd::Certified).unwrap();
            let (_, facts) = chain.verify_segment(&epoch, &certified(first, last), &bytes, &[]).unwrap();
            assert_eq!((facts.range, facts.last_id), (range, net.header(last).id()));
            let end = SegmentEnd::Anchored(net.header(last).id());
            let bytes = chain.assemble(&parts, range, end).unwrap();
            let (_, facts) = chain.verify_segment(&epoch, &claim(first, last, end), &bytes, &[]).unwrap();
            assert_eq!(facts.quorum_checks, 0);
            assert_eq!(chain.assemble(&parts, range, SegmentEnd::Anchored(Hash::ZERO)), None);
        }
    }
    // What is stored as it was asked for is served as it is.
    assert_eq!(chain.assemble(&parts, range(5, 9), SegmentEnd::Certified).as_ref(), Some(&parts[1]));
    assert_eq!(chain.tip_of(&parts[1]), Some(net.tip(9).encode().into()));
    assert_eq!(chain.tip_of(&net.anchored(5, 9)), None);
    // Not what isn't there, isn't joined, or isn't in order.
    assert_eq!(chain.assemble(&parts, range(20, 21), SegmentEnd::Certified), None);
    assert_eq!(chain.assemble(&[], range(5, 9), SegmentEnd::Certified), None);
    let gap = [parts[0].clone(), parts[2].clone()];
    let swapped = [parts[1].clone(), parts[0].clone()];
    for parts in [gap, swapped] {
        assert_eq!(chain.assemble(&parts, range(1, 4), SegmentEnd::Certified), None);
    }
}

#[test]
fn the_closest_proof_above_is_used() {
    let net = Net::new(&Shape { last_heights: vec![1700, 1800], gaps_after: vec![], ..Shape::default() });
    let (chain, epoch) = (net.chain(), net.context(0));
    let path = Segment::decode(&net.segment(1024, 1500)).unwrap().proof().descendants().len() as u64;
    // A certificate at 1500 and nothing above but what was anchored: the path reaches so many blocks down, and no further.
    let lowest = 1500 - crate::limits::MAX_PROOF_PATH as u64 + path;
    let parts = [net.segment(1, 20), net.anchored(21, 1023), net.segment(1024, 1500), net.anchored(1501, 1700)];
    let certified_at = |first, last| chain.assemble(&parts, range(first, last), SegmentEnd::Certified);
    for (first, last) in [(21, lowest), (21, 1000), (1024, 1499), (1024, 1500)] {
        let bytes = certified_at(first, last).unwrap();
        chain.verify_segment(&epoch, &certified(first, last), &bytes, &[]).unwrap();
    }
    for (first, last) in [(21, 21), (21, lowest - 1), (1024, 1501), (1024, 1700)] {
        assert_eq!(certified_at(first, last), None, "{first} to {last}");
    }
    // Up to the highest height that can be proven.
    let up_to = [(2, 15, 15), (2, 30, 20), (2, lowest - 1, 20), (2, lowest, lowest), (1024, 1550, 1500)];
    for (first, last, reaches) in up_to {
        let bytes = chain.assemble(&parts, range(first, last), SegmentEnd::CertifiedUpTo).unwrap();
        let claim = claim(first, last, SegmentEnd::CertifiedUpTo);
        let (_, facts) = chain.verify_segment(&epoch, &claim, &bytes, &[]).unwrap();
        assert_eq!(facts.range.last(), height(reaches));
    }
    // A proof of the next epoch proves nothing of this one.
    let across = [net.anchored(1501, 1700), net.segment(1701, 1710)];
    assert_eq!(chain.assemble(&across, range(1650, 1700), SegmentEnd::Certified), None);
    assert_eq!(chain.assemble(&across, range(1690, 1705), SegmentEnd::Certified), None);
}

/// A net whose blocks from `fork` on have rivals, all signed by the same validators.
fn rivals(net: &Net, fork: u64, last: u64) -> Vec<Header> {
    let mut rivals: Vec<Header> = vec![net.header(fork - 1).clone()];
    for number in fork..=last {
        let parent = rivals.last().unwrap().id();
        rivals.push(with(net.header(number), |header| {
            header.parent = parent;
            header.state_root = Hash::from_bytes([66; 32]);
        }));
    }
    rivals
}

#[test]
fn conflicting_finality_halts_with_evidence() {
    let net = Net::new(&Shape::default());
    let (chain, epoch) = (net.chain(), net.context(0));
    let rivals = rivals(&net, 7, 20);
    let rival = rivals.last().unwrap().clone();
    // Three of four sign the rival branch; the fourth is honest.
    let qc = build::certify(&rival, Phase::Two, epoch.validators(), &net.keys[0][1..]);
    let proof = FinalityProof::DoubleCertificate { descendants: vec![], qc };
    let other = Segment::new(rivals[0].clone(), rivals[1..].to_vec(), proof.clone()).unwrap().encode();
    let other_segment = Finalized::Segment(other.into(), height(12));
    let one_segment = Finalized::Segment(net.segment(5, 14), height(12));
    let evidence = chain.evidence(&epoch, &one_segment, &other_segment).unwrap();
    assert_eq!(chain.evidence(&epoch, &other_segment, &one_segment).as_ref(), Ok(&evidence));
    // Anyone with the epoch can check it, down to the fork.
    let decoded = ConflictEvidence::decode(&evidence).unwrap();
    let conflict = decoded.verify(&epoch).unwrap();
    assert_eq!((conflict.height, conflict.common_parent), (height(7), Some(net.header(6).id())));
    let mut blocks = [net.header(7).id(), rivals[1].id()];
    blocks.sort();
    assert_eq!(conflict.blocks, blocks);
    let both: Vec<ValidatorKey> = net.keys[0][1..].iter().map(ValidatorKey::from).collect();
    // A validator that signed two proofs may have kept all promises; one that certified two blocks of one view did
    // not.
    assert_eq!((conflict.culprits.as_slice(), conflict.wanted.len()), (&[][..], 2));
    let shown = |id: &Hash| net.headers.iter().chain(&rivals).find(|header| header.id() == *id).unwrap();
    let certify = |header: &Header| build::certify(header, Phase::One, epoch.validators(), &net.keys[0][1..]);
    let certificates: Vec<_> = conflict.wanted.iter().map(|id| certify(shown(id))).collect();
    let full = decoded.clone().with_certificates(certificates.clone());
    assert_eq!(full.verify(&epoch).unwrap().culprits, both);
    let turned = ConflictEvidence::decode(&full.encode()).unwrap();
    assert_eq!(turned, full);
    assert_eq!(decoded.verify(&net.context(1)), Err(Fault::BadEpoch));
    // Tips and handovers, too.
    let other_tip = Finalized::Tip(FinalizedHeader::new(rival.clone(), proof.clone()).encode().into());
    let other_handover = Finalized::Handover(Handover::new(rival, proof, &net.epochs[1]).encode().into());
    let one_handover = Finalized::Handover(net.handover(0).encode().into());
    for other in [&other_tip, &other_handover] {
        let evidence = chain.evidence(&epoch, &one_handover, other).unwrap();
        let conflict = ConflictEvidence::decode(&evidence).unwrap().verify(&epoch).unwrap();
        assert_eq!((conflict.height, conflict.common_parent), (height(20), None));
    }
    // The parent of a segment's first header is as final as the rest.
    let parent = Finalized::Segment(net.segment(13, 14), height(12));
    assert!(chain.evidence(&epoch, &parent, &other_segment).is_ok());
}

#[test]
fn what_does_not_conflict_is_no_evidence() {
    let net = Net::new(&Shape::default());
    let (chain, epoch) = (net.chain(), net.context(0));
    let segment = |first, last| Finalized::Segment(net.segment(first, last), height(first));
    let tip = Finalized::Tip(net.tip(9).encode().into());
    // The same chain; heights that don't meet; a rival that is certified but not final.
    assert_eq!(chain.evidence(&epoch, &segment(5, 9), &segment(7, 14)), Err(CheckError::False(Fault::NoConflict)));
    assert_eq!(chain.evidence(&epoch, &segment(5, 9), &tip), Err(CheckError::False(Fault::NoConflict)));
    assert_eq!(chain.evidence(&epoch, &segment(1, 4), &segment(7, 14)), Err(CheckError::False(Fault::NoConflict)));
    let rival = rivals(&net, 9, 9).pop().unwrap();
    let qc = net.certify(&rival, Phase::One);
    let not_final = [
        (FinalityProof::TwoChain { descendants: vec![], qc: qc.clone() }, Fault::NotFinal),
        (FinalityProof::DoubleCertificate { descendants: vec![], qc }, Fault::BadCertificate),
        (FinalityProof::Anchored { id: rival.id() }, Fault::NotFinal),
    ];
    for (proof, fault) in not_final {
        let rival = Finalized::Tip(FinalizedHeader::new(rival.clone(), proof).encode().into());
        assert_eq!(chain.evidence(&epoch, &segment(5, 9), &rival), Err(CheckError::False(fault)));
    }
    // Evidence whose branches are one, at two heights, or without links.
    let rival_tip = FinalizedHeader::new(rival.clone(), net.double_of(&rival)).encode();
    let evidence = chain.evidence(&epoch, &segment(5, 9), &Finalized::Tip(rival_tip.into())).unwrap();
    let decoded = ConflictEvidence::decode(&evidence).unwrap();
    let [one, other] = decoded.branches().map(Clone::clone);
    let of = |one: Branch, other: Branch| ConflictEvidence::of(one, other).verify(&epoch);
    assert!(of(one.clone(), other.clone()).is_ok());
    assert_eq!(of(one.clone(), one.clone()), Err(Fault::NoConflict));
    assert_eq!(of(other.clone(), one.clone()), Err(Fault::NonCanonical));
    let (wrong, right) = if one.headers[0] == rival { (one, other) } else { (other, one) };
    let lower = Branch { headers: vec![net.header(8).clone(), wrong.headers[0].clone()], ..wrong.clone() };
    assert_eq!(ConflictEvidence::of(lower, right.clone()).verify(&epoch), Err(Fault::NoConflict));
    // A rival that nobody finalized, below honest blocks that don't build on it: evidence against the innocent.
    let unlinked = Branch { headers: vec![rival.clone(), net.header(10).clone()], proof: net.double(10) };
    let both = [of(unlinked.clone(), right.clone()), of(right.clone(), unlinked)];
    assert!(both.contains(&Err(Fault::BrokenLink(height(10)))), "{both:?}");
    assert!(both.iter().all(Result::is_err));
    let empty = Branch { headers: vec![], ..wrong };
    assert_eq!(of(empty, right), Err(Fault::NoConflict));
}

#[test]
fn bodies_behind_a_segment_stay_within_what_was_asked_for() {
    use crate::chain::EpochRef;
    use crate::ids::JobId;
    use crate::verify::{Job, Outcome, Task};
    use crate::wire::{encode_frame, put_section};

    let net = Net::new(&Shape::default());
    let info = &net.epochs[0];
    let epoch = EpochRef::trusted(info.epoch(), info.range(), info.encode().into());
    // Payloads of 9, 9, 9, 0 and 9 bytes.
    let run = |bodies: u32, last: u64, change: fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        assert!(put_section(&mut bytes, &net.segment(5, 9)) && put_section(&mut bytes, &[]));
        encode_frame(&mut bytes, (last - 4) as u32, &net.payloads[5..=last as usize].concat());
        change(&mut bytes);
        let claim = certified(5, 9);
        let task = Task::Segment { epoch: epoch.clone(), claim, bodies, handover: None, bytes: bytes.into() };
        match Job::new(JobId::FIRST, task).run(&net.chain()).outcome() {
            Ok(Outcome::Segment { frames, .. }) => Ok(frames.iter().map(|frame| frame.range).collect::<Vec<_>>()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(*error),
        }
    };
    let whole = |_: &mut Vec<u8>| {};
    assert_eq!(run(36, 9, whole), Ok(vec![range(5, 9)]));
    assert_eq!(run(36, 6, whole), Ok(vec![range(5, 6)]), "fewer is no fault");
    assert_eq!(run(27, 8, whole), Ok(vec![range(5, 8)]));
    assert_eq!(run(35, 9, whole), Err(CheckError::False(Fault::WrongRange)));
    assert_eq!(run(8, 5, whole), Err(CheckError::False(Fault::Oversize)));
    assert_eq!(run(0, 5, whole), Err(CheckError::False(Fault::NonCanonical)));
    let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(run(36, 9, flip), Err(CheckError::False(Fault::BadPayload(height(9)))));
    assert_eq!(run(36, 9, |bytes| bytes.push(0)), Err(CheckError::False(Fault::BadFrame)));
}
