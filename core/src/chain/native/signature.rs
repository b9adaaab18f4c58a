//! Validators' public keys and signatures: Ed25519 under ZIP-215, one batch for all signatures of a certificate.
//!
//! Nodes must agree on every signature, or honest ones would ban each other. ZIP-215 says exactly what is valid: `s` is
//! below the group order, `R` and `A` decode to curve points (any encoding of them), and the equation holds after
//! multiplication by the cofactor. Under these rules a batch accepts what single checks accept. Libraries that check
//! without the cofactor can't promise that.
//!
//! What is refused, and where: a malleated `s` here; a key that has small order or a second encoding when its set is
//! formed ([`super::ValidatorSet`]), since such a key can have signatures that hold for every message. An `R` of small
//! order or with a second encoding is valid by the rules: it makes nothing valid that the key's holder didn't sign.

use core::convert::Infallible;
use core::fmt;
use core::str::FromStr;

use ed25519_zebra::{VerificationKeyBytes, batch};
use rand_core::{TryCryptoRng, TryRng};
use serde::{Deserialize, Serialize};

use super::codec::hex32;
use crate::hash::{Context, Hash, ParseHashError};

static BATCH: Context = Context::new("hotstuff2-sync v1 signature batch");

/// A validator's Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ValidatorKey(#[serde(with = "hex32")] [u8; 32]);

impl ValidatorKey {
    /// The key with these bytes. Whether they are a key at all is checked when a set is formed.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<&ed25519_dalek::SigningKey> for ValidatorKey {
    fn from(key: &ed25519_dalek::SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }
}

impl fmt::Display for ValidatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hash::from_bytes(self.0), f)
    }
}

impl fmt::Debug for ValidatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a validator's key is 64 hexadecimal digits: its Ed25519 public key")]
pub struct ParseValidatorKeyError;

impl FromStr for ValidatorKey {
    type Err = ParseValidatorKeyError;

    fn from_str(text: &str) -> Result<Self, ParseValidatorKeyError> {
        let parsed: Result<Hash, ParseHashError> = text.parse();
        parsed.map(|hash| Self(*hash.as_bytes())).map_err(|_| ParseValidatorKeyError)
    }
}

/// An Ed25519 signature: the point `R` and the scalar `s`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signature {
    r: [u8; 32],
    s: [u8; 32],
}

impl Signature {
    /// The signature with these two halves.
    pub const fn from_parts(r: [u8; 32], s: [u8; 32]) -> Self {
        Self { r, s }
    }

    /// The encoding of `R`.
    pub const fn r(&self) -> &[u8; 32] {
        &self.r
    }

    /// The encoding of `s`.
    pub const fn s(&self) -> &[u8; 32] {
        &self.s
    }
}

impl From<ed25519_dalek::Signature> for Signature {
    fn from(signature: ed25519_dalek::Signature) -> Self {
        Self { r: *signature.r_bytes(), s: *signature.s_bytes() }
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Hash::from_bytes(self.r), Hash::from_bytes(self.s))
    }
}

/// Whether every one of `signatures` over `message` is valid; true for none.
///
/// The batch's coefficients must be unpredictable for whoever made the signatures. They are the output of a hash over
/// all keys, all signatures and the message, so a forger would have to fix the signatures before it knows them, and no
/// source of randomness is needed. zebra hands the coefficients out in the order of a hash map, which may vary from run
/// to run. That can't show: if all signatures are valid the sum is zero under any coefficients, and if one is invalid
/// it is zero in one of 2^128 cases whichever coefficient meets which signature.
pub(crate) fn verify_all<'a>(
    message: &[u8],
    signatures: impl Iterator<Item = (&'a ValidatorKey, &'a Signature)>,
) -> bool {
    let mut verifier = batch::Verifier::new();
    let mut hasher = BATCH.hasher();
    // Keys and signatures have fixed lengths and the message comes last but for its length: one reading only.
    for (key, signature) in signatures {
        hasher.update(&key.0).update(&signature.r).update(&signature.s);
        let signature = ed25519_zebra::Signature::from_components(signature.r, signature.s);
        verifier.queue((VerificationKeyBytes::from(key.0), signature, message));
    }
    hasher.update(message).update(&u64::try_from(message.len()).unwrap_or(u64::MAX).to_le_bytes());
    verifier.verify(Coefficients(hasher.finalize_xof())).is_ok()
}

/// Deterministic coefficients for one batch.
struct Coefficients(blake3::OutputReader);

impl TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Coefficients {}
