//! Attacks on validator sets and on Ed25519 itself.

use super::batches::verify_all;
use super::*;
use crate::chain::Fault;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as BASE, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use ed25519_zebra::{VerificationKey, VerificationKeyBytes};
use sha2::{Digest, Sha512};

fn validators(keys: &[SigningKey]) -> Vec<Validator> {
    keys.iter().map(|key| Validator { key: key.into(), power: 1 }).collect()
}

fn refused(validators: Vec<Validator>, error: ValidatorSetError) {
    assert_eq!(ValidatorSet::new(validators.clone()), Err(error));
    // Through the door that peers use.
    #[derive(serde::Serialize)]
    struct Wire(Version, Epoch, Height, Height, Vec<Validator>);
    let bytes = super::super::codec::encode(&Wire(Version, Epoch::ZERO, height(0), height(9), validators));
    let fault = EpochInfo::decode(&bytes).unwrap_err();
    assert!(matches!(fault, Fault::BadValidatorSet | Fault::Malformed), "{fault}");
}

#[test]
fn an_epoch_has_at_least_one_height() {
    #[derive(serde::Serialize)]
    struct Wire(Version, Epoch, Height, Height, Vec<Validator>);
    let epoch = |first, last| {
        let validators = validators(&keys("set", 4));
        EpochInfo::decode(&super::super::codec::encode(&Wire(Version, Epoch::ZERO, first, last, validators)))
    };
    assert!(epoch(height(9), height(9)).is_ok());
    assert_eq!(epoch(height(9), height(8)), Err(Fault::BadEpoch));
}

#[test]
fn empty_set() {
    refused(Vec::new(), ValidatorSetError::Empty);
}

#[test]
fn oversized_set() {
    let many = vec![Validator { key: ValidatorKey::from_bytes([1; 32]), power: 1 }; 4097];
    refused(many, ValidatorSetError::TooMany(4097));
}

#[test]
fn duplicate_key() {
    let mut validators = validators(&keys("set", 4));
    validators[2].key = validators[1].key;
    refused(validators, ValidatorSetError::DuplicateKey(2));
}

#[test]
fn keys_have_one_order() {
    let mut validators = validators(&keys("set", 4));
    validators.swap(1, 2);
    refused(validators.clone(), ValidatorSetError::NotAscending(2));
    ValidatorSet::sorted(validators).unwrap();
}

#[test]
fn zero_power() {
    let mut validators = validators(&keys("set", 4));
    validators[3].power = 0;
    refused(validators, ValidatorSetError::ZeroPower(3));
}

#[test]
fn power_overflow() {
    // Sums of 64 bits would wrap: four times the maximum to -4, three times the sum of three to something small.
    let set = set(&keys("set", 4), &[u64::MAX; 4]);
    let one = u128::from(u64::MAX);
    assert_eq!(set.total_power(), 4 * one);
    assert_eq!([0, 1, 2, 3, 4].map(|count| set.is_quorum(count * one)), [false, false, false, true, true]);
    let net = Net::new(&Shape { powers: vec![u64::MAX, 1, 1, 1], ..Shape::default() });
    let (epoch, header) = (net.context(0), net.header(9));
    let by = |keys: &[SigningKey]| {
        build::certify(header, Phase::One, epoch.validators(), keys).verify(Phase::One, header, &epoch)
    };
    assert_eq!(by(&net.keys[0][1..]), Err(CertificateError::NoQuorum));
    assert_eq!(by(&net.keys[0][..1]), Ok(()));
}

/// All 14 encodings of points of small order that decode, canonical and not.
pub(super) fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut encodings: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
    // y = 0 and 1 also as p and p + 1, and x = 0 with a sign.
    let prime = |low: u8| {
        let mut bytes = [0xff; 32];
        bytes[0] = low;
        bytes[31] = 0x7f;
        bytes
    };
    for low in [0xed, 0xee] {
        encodings.push(prime(low));
    }
    encodings.push(prime(0xec));
    let signed: Vec<[u8; 32]> = encodings
        .iter()
        .map(|encoding| {
            let mut signed = *encoding;
            signed[31] |= 0x80;
            signed
        })
        .collect();
    encodings.extend(signed);
    encodings.push({
        let mut one_signed = [0; 32];
        one_signed[0] = 1;
        one_signed[31] = 0x80;
        one_signed
    });
    encodings.sort_unstable();
    encodings.dedup();
    encodings.retain(|bytes| VerificationKey::try_from(*bytes).is_ok());
    encodings
}

#[test]
fn weak_key() {
    let encodings = small_order_encodings();
    assert_eq!(encodings.len(), 14);
    for bytes in &encodings {
        // Why: R of small order and s = 0 are a signature that holds for every message.
        let forged = Signature::from_parts(EdwardsPoint::identity().compress().to_bytes(), [0; 32]);
        let key = ValidatorKey::from_bytes(*bytes);
        assert!(verify_all(b"anything", &[(key, forged)]));
        let error = ValidatorSet::new(vec![Validator { key, power: 1 }]).unwrap_err();
        assert!(matches!(error, ValidatorSetError::WeakKey(0) | ValidatorSetError::InvalidKey(0)));
    }
    let weak = EIGHT_TORSION[1].compress().to_bytes();
    refused(vec![Validator { key: ValidatorKey::from_bytes(weak), power: 1 }], ValidatorSetError::WeakKey(0));
}

#[test]
fn key_with_a_second_encoding() {
    // Every y from 0 to 18 also fits into 255 bits as y + p. Of these only some are on the curve; two sets with one
    // key in two spellings would be two sets.
    let mut decodable = 0;
    for low in 0xed..=0xff {
        for sign in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, sign);
            decodable += u32::from(VerificationKey::try_from(bytes).is_ok());
            let key = ValidatorKey::from_bytes(bytes);
            refused(vec![Validator { key, power: 1 }], ValidatorSetError::InvalidKey(0));
        }
    }
    assert!(decodable > 10);
    // No point at all.
    let key = ValidatorKey::from_bytes([2; 32]);
    assert!(VerificationKey::try_from([2; 32]).is_err());
    refused(vec![Validator { key, power: 1 }], ValidatorSetError::InvalidKey(0));
}

#[test]
fn keys_that_only_look_like_a_second_encoding_are_taken() {
    // One key in 64 ends with the bits that the prime ends with; that alone says nothing.
    let points = (1u64..2000).map(|scalar| (BASE * Scalar::from(scalar)).compress().to_bytes());
    let alike: Vec<[u8; 32]> = points.filter(|bytes| bytes[31] & 0x7f == 0x7f).collect();
    assert!(alike.len() > 3 && alike.iter().any(|bytes| bytes[0] >= 0xed));
    for bytes in alike {
        assert!(ValidatorSet::new(vec![Validator { key: ValidatorKey::from_bytes(bytes), power: 1 }]).is_ok());
    }
}

fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let digest = Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&digest.into())
}

/// A signature by the secret scalar `secret` with `torsion` added to `R`, as a validator that wants nodes to disagree
/// would make it.
fn crafted(secret: &Scalar, key: &[u8; 32], message: &[u8], nonce: u64, torsion: EdwardsPoint) -> Signature {
    let nonce = Scalar::from(nonce + 12345);
    let r = (BASE * nonce + torsion).compress().to_bytes();
    let s = nonce + challenge(&r, key, message) * secret;
    Signature::from_parts(r, s.to_bytes())
}

pub(super) fn single(key: &ValidatorKey, signature: &Signature, message: &[u8]) -> bool {
    let signature = ed25519_zebra::Signature::from_components(*signature.r(), *signature.s());
    VerificationKey::try_from(VerificationKeyBytes::from(*key.as_bytes()))
        .is_ok_and(|key| key.verify(&signature, message).is_ok())
}

#[test]
fn non_canonical_signature() {
    let net = Net::new(&Shape::default());
    let (epoch, header) = (net.context(0), net.header(9));
    let right = net.certify(header, Phase::One);
    let with_first = |signature: Signature| {
        let mut qc = right.clone();
        qc.signatures[0] = signature;
        qc.verify(Phase::One, header, &epoch)
    };
    // Malleated: s plus the group order is the same scalar, and a second signature that nobody made.
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut s = *right.signatures[0].s();
    let mut carry = 0;
    for (byte, add) in s.iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    let malleated = Signature::from_parts(*right.signatures[0].r(), s);
    assert_eq!(with_first(malleated), Err(CertificateError::Signature));
    assert!(!single(&ValidatorKey::from(&net.keys[0][0]), &malleated, b""));
    // R that is no point.
    assert_eq!(with_first(Signature::from_parts([2; 32], *right.signatures[0].s())), Err(CertificateError::Signature));
    // R of small order, canonical or not: valid by ZIP-215, in batches as alone, and only the key's holder can make it.
    let key = &net.keys[0][0];
    let public = ValidatorKey::from(key);
    let message = Vote::new(header, header.id(), Phase::One).bytes();
    for r in small_order_encodings() {
        let s = challenge(&r, public.as_bytes(), &message) * key.to_scalar();
        let signature = Signature::from_parts(r, s.to_bytes());
        assert!(single(&public, &signature, &message));
        assert_eq!(with_first(signature), Ok(()));
        let stranger = challenge(&r, public.as_bytes(), &message) * net.keys[0][1].to_scalar();
        assert_eq!(with_first(Signature::from_parts(r, stranger.to_bytes())), Err(CertificateError::Signature));
    }
}

#[test]
fn batch_equals_single() {
    let message = b"one message for all";
    let signers = keys("batch", 8);
    let mut crafted_ones = Vec::new();
    for (index, torsion) in EIGHT_TORSION.iter().enumerate().cycle().take(200) {
        let nonce = crafted_ones.len() as u64;
        let key = &signers[index];
        let public = ValidatorKey::from(key);
        crafted_ones.push((public, crafted(&key.to_scalar(), public.as_bytes(), message, nonce, *torsion)));
    }
    // Keys with a component of small order, too: not weak, and valid under the cofactor.
    for (index, torsion) in EIGHT_TORSION.iter().enumerate().skip(1) {
        let secret = signers[index].to_scalar();
        let public = (BASE * secret + torsion).compress().to_bytes();
        let signature = crafted(&secret, &public, message, 1000 + index as u64, EIGHT_TORSION[8 - index]);
        crafted_ones.push((ValidatorKey::from_bytes(public), signature));
    }
    let all = |items: &[(ValidatorKey, Signature)]| verify_all(message, items);
    for item in &crafted_ones {
        assert!(single(&item.0, &item.1, message));
        assert!(all(core::slice::from_ref(item)));
    }
    assert!(all(&crafted_ones));
    assert!(all(&[]));
    for index in 0..8 {
        let mut spoiled = crafted_ones[..16].to_vec();
        spoiled[index].1 = crafted_ones[index + 16].1;
        spoiled[index].0 = crafted_ones[index + 17].0;
        assert!(!single(&spoiled[index].0, &spoiled[index].1, message));
        assert!(!all(&spoiled));
    }
}

#[test]
fn errors_that_cancel_are_refused() {
    // Two signatures wrong by opposite amounts: a sum without unpredictable coefficients doesn't see them.
    let message = b"one message for all";
    let signers = keys("batch", 2);
    let error = Scalar::from(77u64);
    let items: Vec<(ValidatorKey, Signature)> = signers
        .iter()
        .zip([error, -error])
        .map(|(key, error)| {
            let public = ValidatorKey::from(key);
            let right = crafted(&key.to_scalar(), public.as_bytes(), message, 5, EdwardsPoint::identity());
            let s = Scalar::from_canonical_bytes(*right.s()).unwrap() + error;
            (public, Signature::from_parts(*right.r(), s.to_bytes()))
        })
        .collect();
    assert!(items.iter().all(|(key, signature)| !single(key, signature, message)));
    assert!(!verify_all(message, &items));
}
