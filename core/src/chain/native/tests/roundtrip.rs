//! What is honest is accepted: segments, tips, handovers, bodies and audits, through the `Chain` trait.

use super::*;
use crate::chain::{Chain, CheckError, Fault, TipCheck};

#[test]
fn a_whole_chain_verifies_from_genesis() {
    let net = Net::new(&Shape::default());
    let chain = net.chain();
    let mut epoch = chain.decode_epoch(&net.genesis.epoch().encode(), None).unwrap();
    let mut parent = net.genesis.id();
    for (index, info) in net.epochs.iter().enumerate() {
        let (first, last) = (info.range().first().get().max(1), info.range().last().get());
        for (first, last) in [(first, first + 4), (first + 5, last)] {
            let claim = SegmentClaim { parent: Some(parent), ..certified(first, last) };
            let (segment, facts) = chain.verify_segment(&epoch, &claim, &net.segment(first, last), &[]).unwrap();
            assert_eq!((facts.range, facts.quorum_checks), (range(first, last), 1));
            assert_eq!((facts.parent_id, facts.last_id), (parent, net.header(last).id()));
            for number in first..=last {
                let facts = chain.header(&segment, height(number)).unwrap();
                assert_eq!(facts.id, net.header(number).id());
                chain.check_payload(&segment, height(number), &net.payloads[number as usize]).unwrap();
            }
            parent = facts.last_id;
        }
        let handover = net.handover(index).encode();
        let (next, facts) = chain.verify_handover(&epoch, &handover).unwrap();
        assert_eq!(facts.boundary_id, parent);
        let tip = chain.verify_tip(&epoch, &net.tip(last).encode()).unwrap();
        assert!(matches!(tip, TipCheck::Final(facts) if facts.id == parent && facts.height == height(last)));
        epoch = chain.decode_epoch(&facts.bytes, None).unwrap();
        assert_eq!(next, epoch);
        let other = chain.verify_tip(&epoch, &net.tip(last).encode()).unwrap();
        assert_eq!(other, TipCheck::OtherEpoch(info.epoch()));
    }
}

#[test]
fn a_payload_is_the_one_that_its_header_names() {
    let net = Net::new(&Shape::default());
    let chain = net.chain();
    let segment = chain.decode_segment(&net.segment(5, 9)).unwrap();
    for number in 5..=9 {
        let right = &net.payloads[number as usize];
        let check = |payload: &[u8]| chain.check_payload(&segment, height(number), payload);
        assert_eq!(check(right), Ok(()));
        for at in 0..right.len() {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            assert_eq!(check(&wrong), Err(CheckError::False(Fault::BadPayload(height(number)))));
        }
        assert_eq!(
            check(&[right.as_slice(), &[0]].concat()),
            Err(CheckError::False(Fault::BadPayload(height(number))))
        );
    }
    assert_eq!(chain.check_payload(&segment, height(10), &[]), Err(CheckError::False(Fault::WrongRange)));
    // A header whose own length and hash don't go together has no payload at all.
    let odd = with(net.header(9), |header| header.payload_len += 1);
    let segment = Segment::new(net.header(8).clone(), vec![odd], net.double(9)).unwrap();
    assert_eq!(
        chain.check_payload(&segment, height(9), &net.payloads[9]),
        Err(CheckError::False(Fault::BadPayload(height(9))))
    );
}

#[test]
fn both_forms_of_finality_and_anchors_are_accepted() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    for number in 1..=20 {
        net.two_chain(number).verify(net.header(number), &epoch).unwrap();
        net.double(number).verify(net.header(number), &epoch).unwrap();
    }
    let anchored = claim(3, 9, SegmentEnd::Anchored(net.header(9).id()));
    for bytes in [net.anchored(3, 9), net.segment(3, 9)] {
        net.chain().verify_segment(&epoch, &anchored, &bytes, &[]).unwrap();
    }
    let up_to = claim(3, 9, SegmentEnd::CertifiedUpTo);
    let (_, facts) = net.chain().verify_segment(&epoch, &up_to, &net.segment(3, 7), &[]).unwrap();
    assert_eq!(facts.range, range(3, 7));
}
