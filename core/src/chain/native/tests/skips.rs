//! Attacks on skipping: who vouches for a far epoch, and for what.

use super::*;
use crate::chain::Fault;

/// Epochs of the same nine validators, seven of which sign everything.
fn net() -> Net {
    Net::new(&Shape { powers: vec![1; 9], same_keys: true, ..Shape::default() })
}

/// A skip to height 50 in epoch two for a set of `keys`, all of whom sign.
fn skip_to(net: &Net, keys: &[SigningKey], powers: &[u64], signers: &[SigningKey]) -> Skip {
    let epoch = EpochInfo::new(Epoch::new(2), range(41, 60), set(keys, powers));
    let header = with(net.header(50), |header| {
        header.epoch_hash = epoch.hash();
        header.proposer = 0;
    });
    let qc = build::certify(&header, Phase::Two, epoch.validators(), signers);
    Skip::new(header, FinalityProof::DoubleCertificate { descendants: vec![], qc }, &epoch)
}

/// A skip to height 50 in epoch two for a made-up set that nobody decoded, all of whom sign.
pub(super) fn skip_with(net: &Net, claimed: Vec<Validator>) -> Skip {
    let signers = vec![0xff; claimed.len().div_ceil(8)];
    let epoch = codec::encode(&(Version, Epoch::new(2), height(41), height(60), claimed));
    let header = with(net.header(50), |header| {
        header.epoch_hash = EpochInfo::hash_of(&epoch);
        header.proposer = 0;
    });
    let qc = QuorumCertificate { signers, signatures: vec![], ..net.certify(&header, Phase::Two) };
    Skip { version: Version, header, proof: FinalityProof::DoubleCertificate { descendants: vec![], qc }, epoch }
}

fn sorted(mut keys: Vec<SigningKey>) -> Vec<SigningKey> {
    keys.sort_by_key(|key| ValidatorKey::from(key));
    keys
}

#[test]
fn skipping_needs_a_third_of_trusted_power() {
    let net = net();
    let trusted = net.context(0);
    let old = &net.keys[0];
    let strangers = keys("stranger", 9);
    for known in 0..=9 {
        let mixed = sorted(old[..known].iter().chain(&strangers[known..]).cloned().collect());
        let check = skip_to(&net, &mixed, &[1; 9], &mixed).verify(&trusted).unwrap();
        // Three of nine are a third and no more.
        assert_eq!(matches!(check, SkipCheck::Proven(..)), known > 3, "{known}");
    }
    // It is the trusted power that counts, not the power that the far set gives.
    let mixed = sorted(old[..3].iter().chain(&strangers[3..]).cloned().collect());
    let powers: Vec<u64> = mixed.iter().map(|key| if old.contains(key) { 1_000_000 } else { 1 }).collect();
    assert_eq!(skip_to(&net, &mixed, &powers, &mixed).verify(&trusted), Ok(SkipCheck::TooFar));
    // Members that didn't sign vouch for nothing: five are in the set, three signed.
    let mixed = sorted(old[..5].iter().chain(&strangers[..12 - 5 - 3]).cloned().collect());
    let signers = sorted(old[..3].iter().chain(&strangers[..4]).cloned().collect());
    let powers = vec![1; mixed.len()];
    assert_eq!(skip_to(&net, &mixed, &powers, &signers).verify(&trusted), Ok(SkipCheck::TooFar));
    // Honest skips, and what follows from them.
    let skip = Skip::new(net.header(50).clone(), net.two_chain(50), &net.epochs[2]);
    let Ok(SkipCheck::Proven(facts, epoch)) = skip.verify(&trusted) else { panic!() };
    assert_eq!((facts.height, facts.id), (height(50), net.header(50).id()));
    assert_eq!(*epoch, net.context(2));
}

#[test]
fn a_skip_is_final_by_its_own_epoch() {
    let net = net();
    let trusted = net.context(0);
    let old = &net.keys[0];
    // Named signers whose signatures are not there: vouching is by signature, not by name.
    let mut skip = skip_to(&net, old, &[1; 9], old);
    if let FinalityProof::DoubleCertificate { qc, .. } = &mut skip.proof {
        qc.signatures.rotate_left(1);
    }
    assert_eq!(skip.verify(&trusted), Err(Fault::BadCertificate));
    // More than a third of the trusted power, but no quorum of the far set.
    assert_eq!(skip_to(&net, old, &[1; 9], &old[..6]).verify(&trusted), Err(Fault::BadCertificate));
    // A certified block that is not final; a deciding pair that leaves the epoch.
    let qc = net.certify(net.header(50), Phase::One);
    let one = FinalityProof::TwoChain { descendants: vec![], qc };
    assert_eq!(Skip::new(net.header(50).clone(), one, &net.epochs[2]).verify(&trusted), Err(Fault::NotFinal));
    let qc = net.certify(net.header(42), Phase::One);
    let straddling = FinalityProof::TwoChain { descendants: vec![net.header(41).clone(), net.header(42).clone()], qc };
    let result = Skip::new(net.header(40).clone(), straddling, &net.epochs[1]).verify(&trusted);
    assert_eq!(result, Err(Fault::BadEpoch));
    // A set whose preimage doesn't match, an epoch that is not ahead, heights of an epoch that is trusted already.
    let skip = Skip::new(net.header(50).clone(), net.two_chain(50), &net.epochs[1]);
    assert_eq!(skip.verify(&trusted), Err(Fault::BadEpoch));
    let fabricated = Skip { epoch: vec![0; 100], ..skip };
    assert_eq!(fabricated.verify(&trusted), Err(Fault::BadEpoch));
    let skip = Skip::new(net.header(50).clone(), net.two_chain(50), &net.epochs[2]);
    assert_eq!(skip.verify(&net.context(2)), Err(Fault::BadEpoch));
    let same_number = EpochInfo::new(Epoch::ZERO, range(41, 60), net.epochs[2].validators().clone());
    let header = with(net.header(50), |header| (header.epoch, header.epoch_hash) = (Epoch::ZERO, same_number.hash()));
    let proof = net.double_of(&header);
    assert_eq!(Skip::new(header, proof, &same_number).verify(&trusted), Err(Fault::BadEpoch));
    let overlapping = EpochInfo::new(Epoch::new(2), range(20, 60), net.epochs[2].validators().clone());
    let header = with(net.header(50), |header| header.epoch_hash = overlapping.hash());
    let qc = build::certify(&header, Phase::Two, overlapping.validators(), old);
    let proof = FinalityProof::DoubleCertificate { descendants: vec![], qc };
    assert_eq!(Skip::new(header, proof, &overlapping).verify(&trusted), Err(Fault::BadEpoch));
    let mut other = net.genesis.document().clone();
    other.name.push('2');
    let other = EpochContext::new(&other.check().unwrap(), net.epochs[0].clone());
    let skip = Skip::new(net.header(50).clone(), net.two_chain(50), &net.epochs[2]);
    assert_eq!(skip.verify(&other), Err(Fault::WrongChain));
    let far = skip_to(&net, &keys("stranger", 9), &[1; 9], &keys("stranger", 9));
    assert_eq!(far.verify(&other), Err(Fault::WrongChain));
}
