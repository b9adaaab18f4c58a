//! Validators' public keys and signatures: Ed25519 under ZIP-215, checked in batches ([`super::batch`]).
//!
//! Nodes must agree on every signature, or honest ones would ban each other. ZIP-215 says exactly what is valid: `s` is
//! below the group order, `R` and `A` decode to curve points (any encoding of them), and the equation holds after
//! multiplication by the cofactor. Under these rules a batch accepts what single checks accept. Libraries that check
//! without the cofactor can't promise that.
//!
//! Refused, and where: a malleated `s` here; a key that has small order or a second encoding when its set is formed
//! ([`super::ValidatorSet`]), since such a key can have signatures that hold for every message. An `R` of small order
//! or with a second encoding is valid by the rules: it makes nothing valid that the key's holder didn't sign.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use super::codec::hex32;
use crate::hash::{Hash, ParseHashError, read_32};

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
    #[serde(deserialize_with = "read_32")]
    r: [u8; 32],
    #[serde(deserialize_with = "read_32")]
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
