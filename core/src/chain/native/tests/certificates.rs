//! Attacks on certificates: what is signed, by whom, and how much power that is.

use super::*;
use crate::chain::{CheckError, Fault};

/// A certificate with `fields` of its own, for which all validators of epoch zero really signed `vote`.
fn signed(net: &Net, header: &Header, vote: &Vote) -> QuorumCertificate {
    use ed25519_dalek::Signer;
    let votes = net.keys[0].iter().map(|key| (ValidatorKey::from(key), key.sign(&vote.bytes()).into()));
    QuorumCertificate::collect(vote.phase, header, net.epochs[0].validators(), votes)
}

fn vote_for(header: &Header, phase: Phase) -> Vote {
    Vote::new(header, header.id(), phase)
}

#[test]
fn qc_signed_bytes_bind_everything() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    let header = net.header(9);
    let right = vote_for(header, Phase::One);
    signed(&net, header, &right).verify(Phase::One, header, &epoch).unwrap();
    let others = [
        Vote { chain_id: Hash::from_bytes([1; 32]), ..right },
        Vote { epoch: right.epoch.next(), ..right },
        Vote { view: right.view.next(), ..right },
        Vote { height: right.height.next(), ..right },
        Vote { block: Hash::from_bytes([1; 32]), ..right },
    ];
    for other in others {
        // The outer fields say what they must; the signatures are for something else.
        let qc = signed(&net, header, &other);
        assert_eq!(qc.verify(Phase::One, header, &epoch), Err(CertificateError::Signature), "{other:?}");
    }
    let two = QuorumCertificate { phase: Phase::One, ..signed(&net, header, &Vote { phase: Phase::Two, ..right }) };
    assert_eq!(two.verify(Phase::One, header, &epoch), Err(CertificateError::Signature));
}

#[test]
fn qc_binds_to_its_header() {
    let net = Net::new(&Shape { same_keys: true, ..Shape::default() });
    let epoch = net.context(0);
    let header = net.header(9);
    let right = signed(&net, header, &vote_for(header, Phase::One));
    // Each certificate is sound by itself: a quorum signed exactly what it says.
    type Change = fn(&mut QuorumCertificate);
    let changes: [Change; 3] =
        [|qc| qc.view = qc.view.next(), |qc| qc.height = qc.height.next(), |qc| qc.block = Hash::from_bytes([1; 32])];
    for change in changes {
        let mut qc = right.clone();
        change(&mut qc);
        let vote = Vote { view: qc.view, height: qc.height, block: qc.block, ..vote_for(header, Phase::One) };
        qc.signatures = signed(&net, header, &vote).signatures;
        assert_eq!(qc.verify(Phase::One, header, &epoch), Err(CertificateError::OtherHeader));
    }
    // A header of the next epoch under a certificate of this one, and a certificate of the next epoch in this one.
    let next = net.header(25);
    let mut qc = signed(&net, next, &Vote { epoch: epoch.epoch(), ..vote_for(next, Phase::One) });
    qc.epoch = epoch.epoch();
    assert_eq!(qc.verify(Phase::One, next, &epoch), Err(CertificateError::OtherHeader));
    let qc = signed(&net, next, &vote_for(next, Phase::One));
    assert_eq!(qc.verify(Phase::One, next, &epoch), Err(CertificateError::OtherEpoch));
}

#[test]
fn phase_tag_separates() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    let header = net.header(9);
    let one = net.certify(header, Phase::One);
    assert_eq!(one.verify(Phase::Two, header, &epoch), Err(CertificateError::OtherPhase));
    let relabelled = QuorumCertificate { phase: Phase::Two, ..one };
    assert_eq!(relabelled.verify(Phase::Two, header, &epoch), Err(CertificateError::Signature));
    let proof = FinalityProof::DoubleCertificate { descendants: Vec::new(), qc: relabelled };
    assert_eq!(proof.verify(header, &epoch), Err(Fault::BadCertificate));
    // Nor does phase two stand in for phase one, whose certificate says that the block was justified.
    let FinalityProof::TwoChain { descendants, .. } = net.two_chain(9) else { unreachable!() };
    let qc = net.certify(descendants.last().unwrap(), Phase::Two);
    let proof = FinalityProof::TwoChain { descendants, qc };
    assert_eq!(proof.verify(header, &epoch), Err(Fault::BadCertificate));
}

#[test]
fn adverts_are_not_votes() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    let header = net.header(9);
    let claim = net.advert_claim(header);
    let adverts: Vec<Advert> = net.keys[0].iter().map(|key| Advert::sign(key, header.chain_id, claim)).collect();
    assert!(adverts.iter().all(|advert| advert.verify(&epoch).unwrap().power == 1));
    let votes = adverts.iter().map(|advert| (advert.key, advert.signature()));
    let qc = QuorumCertificate::collect(Phase::One, header, epoch.validators(), votes);
    assert_eq!(qc.verify(Phase::One, header, &epoch), Err(CertificateError::Signature));
    // Whatever the fields: the first bytes differ, and so do the lengths.
    let vote = vote_for(header, Phase::One).bytes();
    assert_ne!(VOTE_TAG, ADVERT_TAG);
    assert!(vote.starts_with(&VOTE_TAG));
    let signed = super::super::advert::bytes(header.chain_id, &claim);
    assert!(signed.starts_with(&ADVERT_TAG));
    assert_ne!(signed.len(), vote.len());
    // An advert is bound to its chain, its fields and its signer.
    let other = Advert::sign(&net.keys[0][0], Hash::ZERO, claim);
    assert_eq!(other.verify(&epoch), Err(Fault::BadCertificate));
    let changes: [fn(&mut AdvertClaim); 6] = [
        |claim| claim.height = claim.height.next(),
        |claim| claim.block = Hash::ZERO,
        |claim| claim.view = claim.view.next(),
        |claim| claim.lock = claim.lock.next(),
        |claim| claim.timestamp = UnixMillis::new(claim.timestamp.get() + 1),
        |claim| claim.challenge = Hash::from_bytes([1; 32]),
    ];
    for change in changes {
        let mut changed = adverts[0].clone();
        change(&mut changed.claim);
        assert_eq!(changed.verify(&epoch), Err(Fault::BadCertificate), "{changed:?}");
    }
    let stranger = Advert::sign(&net.keys[1][0], header.chain_id, claim);
    assert_eq!(stranger.verify(&epoch), Err(Fault::BadCertificate));
}

#[test]
fn chain_id_is_signed() {
    let net = Net::new(&Shape::default());
    // The same validators, keys and heights; only the name differs.
    let mut document = net.genesis.document().clone();
    document.name = "other".to_string();
    let other = EpochContext::new(&document.clone().check().unwrap(), net.epochs[0].clone());
    assert_eq!(other.hash(), net.context(0).hash());
    let chain = NativeChain::new(&document.check().unwrap());
    use crate::chain::Chain;
    assert_eq!(chain.verify_tip(&other, &net.tip(9).encode()), Err(CheckError::False(Fault::WrongChain)));
    assert_eq!(chain.verify_tip(&other, &net.tip(25).encode()), Err(CheckError::False(Fault::WrongChain)));
    assert_eq!(
        chain.verify_handover(&other, &net.handover(0).encode()).err(),
        Some(CheckError::False(Fault::WrongChain))
    );
    let result = chain.verify_segment(&other, &certified(3, 9), &net.segment(3, 9), &[]);
    assert_eq!(result.unwrap_err(), CheckError::False(Fault::WrongChain));
    // A header relabelled for the other chain, under votes of this one for the relabelled header.
    let moved = with(net.header(9), |header| header.chain_id = other.chain_id());
    let vote = Vote { chain_id: net.genesis.chain_id(), ..vote_for(&moved, Phase::Two) };
    let qc = signed(&net, &moved, &vote);
    assert_eq!(qc.verify(Phase::Two, &moved, &other), Err(CertificateError::Signature));
}

#[test]
fn duplicate_signer() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    let header = net.header(9);
    let right = net.certify(header, Phase::One);
    let [a, b, c, _] = right.signatures[..] else { unreachable!() };
    let forge = |signers: u8, signatures: &[Signature]| QuorumCertificate {
        signers: vec![signers],
        signatures: signatures.to_vec(),
        ..right.clone()
    };
    forge(0b0111, &[a, b, c]).verify(Phase::One, header, &epoch).unwrap();
    // Two validators, one of them twice: as a third signer, and as a third signature.
    let error = forge(0b0111, &[a, b, b]).verify(Phase::One, header, &epoch);
    assert_eq!(error, Err(CertificateError::Signature));
    for signatures in [&[a, b, b][..], &[a, b, b, b], &[a]] {
        let error = forge(0b0011, signatures).verify(Phase::One, header, &epoch);
        assert_eq!(error, Err(CertificateError::SignatureCount));
    }
    // More signatures than signers, where the first ones would do.
    let error = forge(0b0111, &[a, b, c, c]).verify(Phase::One, header, &epoch);
    assert_eq!(error, Err(CertificateError::SignatureCount));
    // A builder that is given one key's votes many times counts them once.
    let key = &net.keys[0][1];
    let qc = build::certify(header, Phase::One, epoch.validators(), [key, key, key]);
    assert_eq!((qc.signers.as_slice(), qc.signatures.len()), (&[0b0010][..], 1));
}

#[test]
fn one_bad_signature_among_many_is_found() {
    let net = Net::new(&Shape { powers: vec![1; 10], ..Shape::default() });
    let epoch = net.context(0);
    let header = net.header(9);
    let right = net.certify(header, Phase::One);
    for index in 0..10 {
        // Seven good ones would be a quorum without it.
        let mut qc = right.clone();
        let bad = qc.signatures[index];
        qc.signatures[index] = Signature::from_parts(*bad.r(), *right.signatures[(index + 1) % 10].s());
        assert_eq!(qc.verify(Phase::One, header, &epoch), Err(CertificateError::Signature), "{index}");
    }
}

#[test]
fn bitmap_length_and_trailing_bits() {
    for count in [4, 7, 8, 9] {
        let net = Net::new(&Shape { powers: vec![1; count], ..Shape::default() });
        let epoch = net.context(0);
        let header = net.header(9);
        let right = net.certify(header, Phase::One);
        right.verify(Phase::One, header, &epoch).unwrap();
        let with_bitmap =
            |signers: Vec<u8>| QuorumCertificate { signers, ..right.clone() }.verify(Phase::One, header, &epoch);
        let mut long = right.signers.clone();
        long.push(0);
        assert_eq!(with_bitmap(long), Err(CertificateError::Bitmap));
        let mut short = right.signers.clone();
        short.pop();
        assert_eq!(with_bitmap(short), Err(CertificateError::Bitmap));
        for bit in count..count.div_ceil(8) * 8 {
            let mut trailing = right.signers.clone();
            trailing[bit / 8] |= 1 << (bit % 8);
            assert_eq!(with_bitmap(trailing), Err(CertificateError::Bitmap), "bit {bit} of {count}");
        }
    }
}

/// All subsets of a set with `powers`, as bit masks, with their power.
fn subsets(powers: &[u64]) -> Vec<(u32, u128)> {
    (0..1u32 << powers.len())
        .map(|mask| {
            let power = powers.iter().enumerate().filter(|(index, _)| mask >> index & 1 == 1);
            (mask, power.map(|(_, power)| u128::from(*power)).sum())
        })
        .collect()
}

#[test]
fn quorum_is_strictly_more_than_two_thirds() {
    for count in 4..=10 {
        let equal = vec![1; count];
        let rising: Vec<u64> = (1..=count as u64).collect();
        let one_large: Vec<u64> = (0..count).map(|index| if index == 0 { 2 * count as u64 } else { 1 }).collect();
        let thirds: Vec<u64> = (0..count).map(|index| 3 + 3 * (index as u64 % 2)).collect();
        for powers in [equal, rising, one_large, thirds] {
            let net_keys = keys("quorum", count);
            let set = set(&net_keys, &powers);
            let total: u128 = powers.iter().copied().map(u128::from).sum();
            assert_eq!(set.total_power(), total);
            let all = subsets(&powers);
            // Said the other way round: what is left out is strictly less than a third.
            for (_, power) in &all {
                assert_eq!(set.is_quorum(*power), 3 * (total - power) < total, "{power} of {total}");
            }
            // What it is for: two quorums share more than a third, so at least one honest validator.
            let quorums: Vec<u32> =
                all.iter().filter(|(_, power)| set.is_quorum(*power)).map(|(mask, _)| *mask).collect();
            for one in &quorums {
                for other in &quorums {
                    let (_, shared) = all[(one & other) as usize];
                    assert!(3 * shared > total, "{one:b} and {other:b} of {powers:?}");
                }
            }
        }
    }
}

#[test]
fn quorum_is_counted_in_certificates() {
    for count in 4..=10 {
        for weighted in [false, true] {
            let powers: Vec<u64> = (0..count).map(|index| if weighted { index as u64 + 1 } else { 1 }).collect();
            let net = Net::new(&Shape { powers: powers.clone(), last_heights: vec![3], ..Shape::default() });
            let epoch = net.context(0);
            let header = net.header(2);
            let all = net.certify(header, Phase::One);
            let total: u64 = powers.iter().sum();
            for signers in 0..1u32 << count {
                let named = |index: &usize| signers >> index & 1 == 1;
                let power: u64 = (0..count).filter(named).map(|index| powers[index]).sum();
                let qc = QuorumCertificate {
                    signers: signers.to_le_bytes()[..count.div_ceil(8)].to_vec(),
                    signatures: (0..count).filter(named).map(|index| all.signatures[index]).collect(),
                    ..all.clone()
                };
                // Signatures are costly: check them where the count is within one of the bound, else the power alone.
                if 3 * power <= 2 * total {
                    assert_eq!(qc.verify(Phase::One, header, &epoch), Err(CertificateError::NoQuorum));
                } else if 3 * (power - 1) <= 2 * total {
                    qc.verify(Phase::One, header, &epoch).unwrap();
                }
            }
        }
    }
}
