//! Batches against single checks by another implementation of ZIP-215, with tables of the keys and without.

use curve25519_dalek::edwards::CompressedEdwardsY;
use proptest::prelude::*;

use super::*;
use crate::chain::native::batch::Batch;
use crate::chain::native::key_points::KeyPoints;
use crate::limits::MAX_VALIDATORS;

/// A few more than the checks after which a set gets tables, on any machine.
const ENOUGH_FOR_TABLES: usize = 300;

fn check(keys: &KeyPoints, message: &[u8], items: &[(ValidatorKey, Signature)]) -> bool {
    let mut batch = Batch::new(keys);
    batch.add(message, items.iter().enumerate().map(|(place, (key, signature))| (place, key, signature)));
    assert!(batch.len() <= items.len());
    batch.holds()
}

/// Whether all signatures over `message` are valid, by one batch; false where a key is no point. Checked with fresh keys
/// and with ones that have tables, which must not differ.
pub(super) fn verify_all(message: &[u8], items: &[(ValidatorKey, Signature)]) -> bool {
    let points = items.iter().map(|(key, _)| CompressedEdwardsY(*key.as_bytes()).decompress()).collect::<Option<_>>();
    let Some(points) = points else { return false };
    let keys = KeyPoints::new(points);
    let first = check(&keys, message, items);
    (0..ENOUGH_FOR_TABLES).for_each(|_| {
        check(&keys, message, &[]);
    });
    assert_eq!(check(&keys, message, items), first);
    first
}

#[test]
fn tables_come_with_use_and_are_shared_by_clones() {
    let set = Net::new(&Shape::default()).context(0).validators().clone();
    let copy = set.clone();
    assert!(!set.keys().has_tables());
    (0..ENOUGH_FOR_TABLES).for_each(|_| {
        check(copy.keys(), b"", &[]);
    });
    assert!(set.keys().has_tables());
}

#[test]
fn a_batch_over_many_messages_is_all_of_them() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    let certified: Vec<_> =
        (1..=9).map(|height| (net.header(height), net.certify(net.header(height), Phase::One))).collect();
    let holds = |certified: &[(&Header, QuorumCertificate)]| {
        let mut batch = Batch::new(epoch.validators().keys());
        for (header, certificate) in certified {
            certificate.verify_into(&mut batch, Phase::One, header, header.id(), &epoch).unwrap();
        }
        batch.holds()
    };
    assert!(holds(&certified));
    for bad in 0..certified.len() {
        let mut spoiled = certified.clone();
        // A right signature over another message of the same batch.
        let other = spoiled[(bad + 1) % certified.len()].1.signatures.clone();
        spoiled[bad].1.signatures = other;
        assert!(!holds(&spoiled), "{bad}");
    }
}

#[test]
fn a_place_outside_of_the_set_holds_nothing() {
    let net = Net::new(&Shape::default());
    let epoch = net.context(0);
    let (key, signature) = (ValidatorKey::from(&net.keys[0][0]), net.certify(net.header(9), Phase::One).signatures[0]);
    let mut batch = Batch::new(epoch.validators().keys());
    batch.add(b"", [(epoch.validators().count(), &key, &signature)]);
    assert!(!batch.holds());
}

#[test]
fn a_set_after_another_is_the_set_by_itself() {
    let validators = |keys: &[SigningKey]| -> Vec<Validator> {
        let mut all: Vec<_> = keys.iter().map(|key| Validator { key: key.into(), power: 1 }).collect();
        all.sort_by_key(|validator| validator.key);
        all
    };
    let keys = super::keys("turnover", 12);
    let before = ValidatorSet::new(validators(&keys[..8])).unwrap();
    for range in [0..8, 1..8, 0..12, 4..12, 8..12] {
        let listed = validators(&keys[range.clone()]);
        let (after, alone) =
            (ValidatorSet::new_after(&before, listed.clone()).unwrap(), ValidatorSet::new(listed).unwrap());
        assert_eq!(after, alone);
        for place in 0..alone.count() {
            assert_eq!(after.keys().get(place), alone.keys().get(place), "{range:?}");
        }
    }
    // A fault of a set is found whatever came before it.
    let mut weak = validators(&keys[..3]);
    weak.insert(0, Validator { key: ValidatorKey::from_bytes([0; 32]), power: 1 });
    assert_eq!(ValidatorSet::new_after(&before, weak.clone()), ValidatorSet::new(weak));
    assert!(ValidatorSet::new_after(&before, Vec::new()).is_err());
}

#[test]
fn a_made_up_set_is_not_decoded_for_a_skip() {
    // 4,096 keys that are no points: were one of them decoded, the set would be refused as such.
    let net = Net::new(&Shape::default());
    let claimed: Vec<Validator> = (0..MAX_VALIDATORS)
        .map(|place| {
            let mut bytes = [2; 32];
            bytes[..8].copy_from_slice(&(place as u64).to_be_bytes());
            Validator { key: ValidatorKey::from_bytes(bytes), power: 1 }
        })
        .collect();
    let skip = super::skips::skip_with(&net, claimed);
    assert_eq!(skip.verify(&net.context(0)), Ok(SkipCheck::TooFar));
}

proptest! {
    #[test]
    fn any_bytes_are_judged_as_by_the_other_implementation(
        seed in any::<u64>(), flip in 0usize..64 * 8, r in any::<[u8; 32]>(), which in 0u8..3,
    ) {
        let key = &super::keys(&format!("{seed}"), 1)[0];
        let public = ValidatorKey::from(key);
        let right: Signature = ed25519_dalek::Signer::sign(key, b"message").into();
        let mut both = [0; 64];
        both[..32].copy_from_slice(right.r());
        both[32..].copy_from_slice(right.s());
        match which {
            0 => {}
            1 => both[flip / 8] ^= 1 << (flip % 8),
            _ => both[..32].copy_from_slice(&r),
        }
        let signature = Signature::from_parts(both[..32].try_into().unwrap(), both[32..].try_into().unwrap());
        let single = super::validators::single(&public, &signature, b"message");
        prop_assert_eq!(verify_all(b"message", &[(public, signature)]), single);
        prop_assert_eq!(which == 0, single);
    }
}
