//! Attacks on epoch boundaries and handovers.

use super::*;
use crate::chain::{Chain, CheckError, Fault, TipCheck};

fn same_keys() -> Net {
    // The same validators in every epoch: signatures hold whatever the epoch, so that only the rules are left.
    Net::new(&Shape { same_keys: true, gaps_after: vec![], ..Shape::default() })
}

fn two_chain_signed(net: &Net, descendants: Vec<Header>, epoch: usize) -> FinalityProof {
    let last = descendants.last().unwrap();
    let qc = build::certify(last, Phase::One, net.epochs[epoch].validators(), &net.keys[epoch]);
    FinalityProof::TwoChain { descendants, qc }
}

#[test]
fn next_set_cannot_finalize_the_boundary() {
    for net in [same_keys(), Net::new(&Shape { gaps_after: vec![], ..Shape::default() })] {
        let (chain, epoch) = (net.chain(), net.context(0));
        // A dead fork's last block, which names a set of the attacker's. It was even certified by its own epoch.
        let attackers = keys("attacker", 4);
        let next = EpochInfo::new(Epoch::new(1), range(21, 40), set(&attackers, &[1; 4]));
        let boundary = with(net.header(20), |header| header.next_epoch_hash = Some(next.hash()));
        let first = build::child(
            &boundary,
            boundary.id(),
            &next,
            &Proposal {
                view: boundary.view.next(),
                proposer: 0,
                timestamp: boundary.timestamp,
                // Empty, as a closing header is: nothing but its epoch tells it from one.
                payload: b"",
                state_root: boundary.state_root,
                next_epoch_hash: None,
            },
        );
        let qc = build::certify(&first, Phase::One, next.validators(), &attackers);
        let circular = FinalityProof::TwoChain { descendants: vec![first.clone()], qc };
        // The same block under signatures that the old set's keys made.
        let relabelled = two_chain_signed(&net, vec![first.clone()], 0);
        let qc = build::certify(&first, Phase::Two, net.epochs[0].validators(), &net.keys[0]);
        let double = FinalityProof::DoubleCertificate { descendants: vec![first], qc };
        for proof in [circular, relabelled, double] {
            let handover = Handover::new(boundary.clone(), proof.clone(), &next).encode();
            assert_eq!(chain.verify_handover(&epoch, &handover).err(), Some(CheckError::False(Fault::BadEpoch)));
            let tip = FinalizedHeader::new(boundary.clone(), proof.clone()).encode();
            assert_eq!(chain.verify_tip(&epoch, &tip), Err(CheckError::False(Fault::BadEpoch)));
            let segment = Segment::new(net.header(19).clone(), vec![boundary.clone()], proof).unwrap().encode();
            let result = chain.verify_segment(&epoch, &certified(20, 20), &segment, &[]);
            assert_eq!(result.unwrap_err(), CheckError::False(Fault::BadEpoch));
        }
        // Closing headers that the next set signed.
        let closing = build::closing(&boundary, boundary.view.next(), 0);
        let qc = build::certify(&closing, Phase::One, next.validators(), &attackers);
        let proof = FinalityProof::TwoChain { descendants: vec![closing], qc };
        let handover = Handover::new(boundary, proof, &next).encode();
        assert_eq!(chain.verify_handover(&epoch, &handover).err(), Some(CheckError::False(Fault::BadCertificate)));
    }
}

#[test]
fn proof_does_not_straddle_sets() {
    let net = same_keys();
    let (chain, epoch) = (net.chain(), net.context(0));
    // Consecutive views and a real quorum of the same validators; but the path leaves the epoch. Its last header is empty,
    // as a closing header is: nothing but its epoch tells it from one.
    let boundary = net.header(20);
    let first = with(net.header(21), |header| {
        (header.payload_len, header.payload_hash) = (0, payload_hash(&[]));
        header.state_root = boundary.state_root;
    });
    let id = first.id();
    for block in [18, 19, 20] {
        let mut descendants = net.headers[block as usize + 1..=20].to_vec();
        descendants.push(first.clone());
        for number in [0, 1] {
            use ed25519_dalek::Signer;
            let vote = Vote { epoch: Epoch::new(number), ..Vote::new(&first, id, Phase::One) };
            let votes = net.keys[0].iter().map(|key| (ValidatorKey::from(key), key.sign(&vote.bytes()).into()));
            let mut qc = QuorumCertificate::collect(Phase::One, &first, epoch.validators(), votes);
            qc.epoch = vote.epoch;
            let proof = FinalityProof::TwoChain { descendants: descendants.clone(), qc };
            let tip = FinalizedHeader::new(net.header(block).clone(), proof.clone()).encode();
            assert_eq!(chain.verify_tip(&epoch, &tip), Err(CheckError::False(Fault::BadEpoch)));
            let segment = net.segment_with(10, block, proof).encode();
            let result = chain.verify_segment(&epoch, &certified(10, block), &segment, &[]);
            assert_eq!(result.unwrap_err(), CheckError::False(Fault::BadEpoch));
        }
    }
}

#[test]
fn closing_headers_are_never_delivered() {
    let net = Net::new(&Shape { gaps_after: vec![], ..Shape::default() });
    let (chain, epoch) = (net.chain(), net.context(0));
    let last = net.header(20);
    let closing = build::closing(last, last.view.next(), 1);
    let above = build::closing(&closing, closing.view.next(), 2);
    // It proves what is below it.
    for proof in [
        two_chain_signed(&net, vec![closing.clone()], 0),
        two_chain_signed(&net, vec![closing.clone(), above.clone()], 0),
    ] {
        proof.verify(last, &epoch).unwrap();
    }
    // It is not final itself, by whatever proof.
    for proof in [two_chain_signed(&net, vec![above.clone()], 0), net.double_of(&closing)] {
        let tip = FinalizedHeader::new(closing.clone(), proof.clone()).encode();
        assert_eq!(chain.verify_tip(&epoch, &tip), Err(CheckError::False(Fault::BadEpoch)));
        let handover = Handover { header: closing.clone(), ..net.handover(0) }.encode();
        assert_eq!(chain.verify_handover(&epoch, &handover).err(), Some(CheckError::False(Fault::BadEpoch)));
        // A segment can't even hold it: what stands above the last block belongs to the next epoch.
        let headers = vec![last.clone(), closing.clone()];
        assert_eq!(Segment::new(net.header(19).clone(), headers, proof.clone()), Err(NotASegment));
        let parent = with(last, |header| header.next_epoch_hash = None);
        let child = with(&closing, |header| header.parent = parent.id());
        let segment = Segment::new(parent, vec![child], proof).unwrap().encode();
        let result = chain.verify_segment(&epoch, &certified(21, 21), &segment, &[]);
        assert_eq!(result.unwrap_err(), CheckError::False(Fault::WrongRange));
    }
    // No conflict with the next epoch's first block at the same height.
    assert_eq!(closing.height, net.header(21).height);
    let next = net.context(1);
    let first = crate::chain::Finalized::Tip(net.tip(21).encode().into());
    let closed = FinalizedHeader::new(closing.clone(), two_chain_signed(&net, vec![above], 0)).encode();
    let closed = crate::chain::Finalized::Tip(closed.into());
    for epoch in [&epoch, &next] {
        assert!(chain.evidence(epoch, &first, &closed).is_err());
    }
}

#[test]
fn closing_headers_change_nothing() {
    let net = Net::new(&Shape { gaps_after: vec![], ..Shape::default() });
    let epoch = net.context(0);
    let last = net.header(20);
    let closing = build::closing(last, last.view.next(), 1);
    type Change = fn(&mut Header);
    let changes: [Change; 3] = [
        |header| (header.payload_len, header.payload_hash) = (1, payload_hash(b"x")),
        |header| header.state_root = Hash::from_bytes([66; 32]),
        |header| header.next_epoch_hash = Some(Hash::from_bytes([66; 32])),
    ];
    for change in changes {
        let proof = two_chain_signed(&net, vec![with(&closing, change)], 0);
        assert_eq!(proof.verify(last, &epoch), Err(Fault::BadEpoch));
    }
}

#[test]
fn epoch_starts_only_on_a_final_boundary() {
    let net = Net::new(&Shape { gaps_after: vec![], ..Shape::default() });
    let (chain, epoch) = (net.chain(), net.context(0));
    // A rival last block that was certified and nothing more. Its handover isn't proven, so its next epoch isn't entered.
    let rival = with(net.header(20), |header| header.state_root = Hash::from_bytes([66; 32]));
    let qc = net.certify(&rival, Phase::One);
    for proof in
        [FinalityProof::TwoChain { descendants: vec![], qc: qc.clone() }, FinalityProof::Anchored { id: rival.id() }]
    {
        let handover = Handover::new(rival.clone(), proof, &net.epochs[1]).encode();
        assert_eq!(chain.verify_handover(&epoch, &handover).err(), Some(CheckError::False(Fault::NotFinal)));
    }
    let labelled = FinalityProof::DoubleCertificate { descendants: vec![], qc };
    let handover = Handover::new(rival.clone(), labelled, &net.epochs[1]).encode();
    assert_eq!(chain.verify_handover(&epoch, &handover).err(), Some(CheckError::False(Fault::BadCertificate)));
    // Blocks of the next epoch above the rival, by a next set that broke its promise. They show their parent: refused
    // where the boundary is known, and told apart by the facts where it isn't yet.
    let boundary = chain.verify_handover(&epoch, &net.handover(0).encode()).unwrap().1.boundary_id;
    let first = with(net.header(21), |header| header.parent = rival.id());
    let proof = net.double_of(&first);
    let segment = Segment::new(rival.clone(), vec![first], proof).unwrap().encode();
    let next = net.context(1);
    let claim = SegmentClaim { parent: Some(boundary), ..certified(21, 21) };
    assert_eq!(chain.verify_segment(&next, &claim, &segment, &[]).unwrap_err(), CheckError::False(Fault::WrongParent));
    let (_, facts) = chain.verify_segment(&next, &certified(21, 21), &segment, &[]).unwrap();
    assert_eq!(facts.parent_id, rival.id());
    assert_ne!(facts.parent_id, boundary);
}

#[test]
fn an_epoch_begins_above_the_last_block_that_names_it() {
    let net = same_keys();
    let (chain, next) = (net.chain(), net.context(1));
    let segment = |parent: &Header, first: Header| {
        let proof = net.double_of(&first);
        // Not through `Segment::new`, which rebuilds by the rules: a tip's path shows headers as they are.
        let double = net.double_of(&first);
        let qc = double.certificate().unwrap().clone();
        (parent.clone(), first, proof, qc)
    };
    // The boundary names another epoch than the one that its child claims to be of.
    let parent = with(net.header(20), |header| header.next_epoch_hash = Some(Hash::from_bytes([66; 32])));
    let first = with(net.header(21), |header| header.parent = parent.id());
    let (parent, first, ..) = segment(&parent, first);
    assert_eq!(next.check_child(&parent, parent.id(), &first, rules::Place::Chain), Err(Rule::Crossing));
    // The boundary names none, or belongs to no epoch before this one.
    for parent in [
        with(net.header(20), |header| header.next_epoch_hash = None),
        with(net.header(20), |header| header.epoch = Epoch::new(1)),
        with(net.header(20), |header| header.epoch = Epoch::new(7)),
    ] {
        let first = with(net.header(21), |header| header.parent = parent.id());
        assert_eq!(next.check_child(&parent, parent.id(), &first, rules::Place::Chain), Err(Rule::Crossing));
    }
    // The first block's height is taken by the epoch's range, so no later block crosses.
    let parent = with(net.header(24), |header| {
        (header.epoch, header.epoch_hash) = (Epoch::ZERO, net.epochs[0].hash());
        header.next_epoch_hash = Some(net.epochs[1].hash());
    });
    let child = with(net.header(25), |header| header.parent = parent.id());
    assert_eq!(next.check_child(&parent, parent.id(), &child, rules::Place::Chain), Err(Rule::Epoch));
    let bytes = Segment::new(parent, vec![child.clone()], net.double_of(&child)).unwrap().encode();
    assert_eq!(
        chain.verify_segment(&next, &certified(25, 25), &bytes, &[]).unwrap_err(),
        CheckError::False(Fault::BadEpoch)
    );
}

/// A handover that epoch zero's own validators sign for `next`, whatever that is.
fn handover_to(net: &Net, next: &EpochInfo) -> Vec<u8> {
    let last = with(net.header(20), |header| header.next_epoch_hash = Some(next.hash()));
    let proof = net.double_of(&last);
    Handover::new(last, proof, next).encode()
}

#[test]
fn epoch_is_plus_one() {
    let net = Net::new(&Shape::default());
    let (chain, epoch) = (net.chain(), net.context(0));
    let next = |number: u64, first: u64| {
        EpochInfo::new(Epoch::new(number), range(first, 60), net.epochs[1].validators().clone())
    };
    assert!(chain.verify_handover(&epoch, &handover_to(&net, &next(1, 21))).is_ok());
    for (number, first) in [(0, 21), (2, 21), (u64::MAX, 21), (1, 20), (1, 22), (1, 0)] {
        let result = chain.verify_handover(&epoch, &handover_to(&net, &next(number, first)));
        assert_eq!(result, Err(CheckError::False(Fault::BadEpoch)), "epoch {number} from {first}");
    }
    // Not at any height but the last one.
    let early = with(net.header(19), |header| header.next_epoch_hash = Some(net.epochs[1].hash()));
    let handover = Handover::new(early.clone(), net.double_of(&early), &net.epochs[1]).encode();
    assert_eq!(chain.verify_handover(&epoch, &handover).err(), Some(CheckError::False(Fault::BadEpoch)));
}

#[test]
fn handover_set_matches_hash() {
    let net = Net::new(&Shape::default());
    let (chain, epoch) = (net.chain(), net.context(0));
    let attackers = EpochInfo::new(Epoch::new(1), range(21, 40), set(&keys("attacker", 4), &[1; 4]));
    let mut longer = net.epochs[1].clone();
    longer = EpochInfo::new(longer.epoch(), range(21, 41), longer.validators().clone());
    for other in [attackers, longer] {
        let handover = Handover { next: other.encode(), ..net.handover(0) }.encode();
        assert_eq!(chain.verify_handover(&epoch, &handover).err(), Some(CheckError::False(Fault::BadEpoch)));
    }
    // A set that is no set, though the old one signed for it.
    let mut bytes = net.epochs[1].encode();
    let at = bytes.len() - 1;
    assert_eq!(bytes[at], 1);
    bytes[at] = 0;
    let last = with(net.header(20), |header| header.next_epoch_hash = Some(EpochInfo::hash_of(&bytes)));
    let handover = Handover { header: last.clone(), proof: net.double_of(&last), next: bytes, ..net.handover(0) };
    assert_eq!(
        chain.verify_handover(&epoch, &handover.encode()).err(),
        Some(CheckError::False(Fault::BadValidatorSet))
    );
}

#[test]
fn handover_signed_by_the_old_set() {
    let net = Net::new(&Shape::default());
    let (chain, epoch) = (net.chain(), net.context(0));
    let FinalityProof::TwoChain { descendants, .. } = net.two_chain(20) else { unreachable!() };
    let last = descendants.last().unwrap();
    // The new set signs for the old one's end: with the indices of the new set, and with those of the old.
    let qc = build::certify(last, Phase::One, net.epochs[1].validators(), &net.keys[1]);
    let proof = FinalityProof::TwoChain { descendants: descendants.clone(), qc };
    let handover = Handover { proof, ..net.handover(0) }.encode();
    assert_eq!(chain.verify_handover(&epoch, &handover).err(), Some(CheckError::False(Fault::BadCertificate)));
    // And a handover is checked by the epoch that it ends, not by any that is trusted.
    assert_eq!(
        chain.verify_handover(&net.context(1), &net.handover(0).encode()).err(),
        Some(CheckError::False(Fault::BadEpoch))
    );
    assert!(chain.verify_handover(&epoch, &net.handover(0).encode()).is_ok());
}

#[test]
fn a_tip_of_another_epoch_is_nobodys_fault() {
    let net = Net::new(&Shape::default());
    let tip = net.tip(25).encode();
    assert_eq!(net.chain().verify_tip(&net.context(0), &tip), Ok(TipCheck::OtherEpoch(Epoch::new(1))));
    assert!(matches!(net.chain().verify_tip(&net.context(1), &tip), Ok(TipCheck::Final(_))));
}

#[test]
fn a_handovers_proof_stands_for_its_own_block_and_proof_alone() {
    let net = Net::new(&Shape::default());
    let (chain, epoch) = (net.chain(), net.context(0));
    let verify = |segment: &[u8], handover: &Handover| {
        let result = chain.verify_last_segment(&epoch, &certified(15, 20), segment, &[], &handover.encode());
        result.map(|(_, facts)| facts.quorum_checks)
    };
    let (known, own) = (net.handover(0), net.segment(15, 20));
    assert_eq!(verify(&own, &known), Ok(0), "the same bytes proved the same block already");
    // Another proof of the same block is checked, and must hold.
    let other = net.segment_with(15, 20, net.double(20)).encode();
    assert_eq!(verify(&other, &known), Ok(1));
    let FinalityProof::TwoChain { descendants, mut qc } = net.two_chain(20) else { unreachable!() };
    qc.signatures.swap(0, 1);
    let forged = FinalityProof::TwoChain { descendants, qc };
    assert_eq!(
        verify(&net.segment_with(15, 20, forged).encode(), &known),
        Err(CheckError::False(Fault::BadCertificate))
    );
    // The same proof under another last block proves nothing: its path does not start there.
    let rival = with(net.header(20), |header| header.state_root = Hash::from_bytes([66; 32]));
    let headers: Vec<Header> = net.headers[15..20].iter().cloned().chain([rival]).collect();
    let segment = Segment::new(net.header(14).clone(), headers, known.proof.clone()).unwrap().encode();
    assert_eq!(verify(&segment, &known), Err(CheckError::False(Fault::BrokenLink(height(21)))));
    // Nor does a handover stand for a segment that ends elsewhere.
    let inside = chain.verify_last_segment(&epoch, &certified(15, 19), &net.segment(15, 19), &[], &known.encode());
    assert_eq!(inside.unwrap().1.quorum_checks, 1);
    // Bytes that are no handover change nothing.
    let (_, facts) = chain.verify_last_segment(&epoch, &certified(15, 20), &own, &[], &[1, 2, 3]).unwrap();
    assert_eq!(facts.quorum_checks, 1);
}
