//! Published signature vectors: what others hold to be valid, and what not.

use super::batches::verify_all;
use super::validators::small_order_encodings;
use super::*;
use crate::chain::native::{Signature, Validator, ValidatorKey, ValidatorSet, ValidatorSetError};

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    assert_eq!(hex.len(), 2 * N);
    core::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
}

fn holds(key: &str, r: &str, s: &str, message: &[u8]) -> bool {
    let (key, signature) = (ValidatorKey::from_bytes(bytes(key)), Signature::from_parts(bytes(r), bytes(s)));
    verify_all(message, &[(key, signature)])
}

/// RFC 8032, section 7.1, tests 1 to 3: key, `R`, `s`, message.
#[test]
fn rfc_8032() {
    let vectors: [(&str, &str, &str, &[u8]); 3] = [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            &[],
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            &[0x72],
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            &[0xaf, 0x82],
        ),
    ];
    for (key, r, s, message) in vectors {
        assert!(holds(key, r, s, message), "{key}");
        assert!(!holds(key, r, s, b"another"), "{key}");
    }
}

/// ZIP-215's own cases: `R` and `A` in each of the 14 encodings of points of small order, `s` zero, all valid. Such keys
/// never come into a set, so none of these proves anything here.
#[test]
fn zip_215() {
    let zero = [0; 32];
    let mut cases = 0;
    for key in small_order_encodings() {
        for r in small_order_encodings() {
            let (key, signature) = (ValidatorKey::from_bytes(key), Signature::from_parts(r, zero));
            assert!(verify_all(b"Zcash", &[(key, signature)]));
            let error = ValidatorSet::new(vec![Validator { key, power: 1 }]).unwrap_err();
            assert!(matches!(error, ValidatorSetError::WeakKey(0) | ValidatorSetError::InvalidKey(0)));
            cases += 1;
        }
    }
    assert_eq!(cases, 196);
}

/// "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko; 2020/1244), where libraries differ most: message, key, `R`,
/// `s`, and whether ZIP-215 takes it.
#[test]
fn taming_the_many_eddsas() {
    const MIXED: &str = "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d";
    const SMALL: &str = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa";
    const TWISTED: &str = "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43";
    const LARGE: &str = "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623";
    // y is the prime itself: zero, written in another way.
    const SECOND_ZERO: &str = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
    let cases = [
        (
            "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
            SMALL,
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "0000000000000000000000000000000000000000000000000000000000000000",
            true,
        ),
        (
            "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
            SMALL,
            TWISTED,
            "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
            true,
        ),
        (
            "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
            TWISTED,
            SMALL,
            "8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
            true,
        ),
        (
            "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
            MIXED,
            "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f",
            "87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
            true,
        ),
        // Holds with the cofactor only.
        (
            "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
            MIXED,
            "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512",
            "5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
            true,
        ),
        // Holds where the challenge isn't reduced after it was multiplied by the cofactor.
        (
            "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
            MIXED,
            "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7",
            "e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
            true,
        ),
        // s is not below the group order: a little, and far above it.
        (
            "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
            LARGE,
            "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e",
            "547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
            false,
        ),
        (
            "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
            LARGE,
            "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942",
            "7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
            false,
        ),
        // R in its second encoding: made for whoever hashes the first instead of what came, and for us.
        (
            "fdaebc429f4a735932a160da1301080c13280eea8bc280d1b392c6b9e6ba3a5a",
            TWISTED,
            SECOND_ZERO,
            "454d370c8d9fc323a41450f8d513eafeb5b0697390c1e505a0d4ddc71f566607",
            false,
        ),
        (
            "84b698d39be126ff55fe45079e6c8bf64a0d7db6994560b4e96b7021eb39c1a1",
            TWISTED,
            SECOND_ZERO,
            "084d5b99c2a9463d9c8bd5026916996984eeec87ddf1d3be329006ace1b37b09",
            true,
        ),
    ];
    for (number, (message, key, r, s, valid)) in cases.into_iter().enumerate() {
        assert_eq!(holds(key, r, s, &bytes::<32>(message)), valid, "case {number}");
    }
}
