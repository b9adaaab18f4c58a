//! [`Batch`]: signatures of one validator set, checked with one equation.
//!
//! The rules are those of ZIP-215: `s` is below the group order, `R` decodes to a curve point (any encoding of it), and
//! `8·s·B = 8·R + 8·k·A` with `k = SHA-512(R ‖ A ‖ message)`. The batch holds if
//!
//! ```text
//! 8·( Σ zᵢ·Rᵢ + Σ zᵢ·kᵢ·Aᵢ − (Σ zᵢ·sᵢ)·B ) = 0
//! ```
//!
//! for coefficients `zᵢ` of 128 bits. If every signature is valid the sum is zero under any coefficients; if one is not,
//! it is zero in one of 2^128 cases. Multiplication by the cofactor 8 is what makes batch and single check agree on every
//! signature: without it, signatures with a component of small order pass one and fail the other.

use alloc::vec::Vec;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};

use super::key_points::KeyPoints;
use super::signature::{Signature, ValidatorKey};
use crate::hash::Context;

static BATCH: Context = Context::new("hotstuff2-sync v1 signature batch");

/// Signatures by keys of one set, over any number of messages.
pub(super) struct Batch<'a> {
    keys: &'a KeyPoints,
    entries: Vec<Entry>,
    /// Whether all entries could be decoded.
    decoded: bool,
    hasher: blake3::Hasher,
}

struct Entry {
    /// Place of the key in its set.
    key: usize,
    r: EdwardsPoint,
    s: Scalar,
    k: Scalar,
}

impl<'a> Batch<'a> {
    /// An empty batch of signatures by `keys`; it holds.
    pub(super) fn new(keys: &'a KeyPoints) -> Self {
        Self { keys, entries: Vec::new(), decoded: true, hasher: BATCH.hasher() }
    }

    /// Adds the signatures over `message`: for each the key's place in the set, the key, and the signature.
    pub(super) fn add<'b>(
        &mut self,
        message: &[u8],
        signatures: impl IntoIterator<Item = (usize, &'b ValidatorKey, &'b Signature)>,
    ) {
        // The coefficients must be unpredictable for whoever made the signatures. They come from a hash over all that was
        // added, so a forger would have to fix the signatures before it knows them, and no source of randomness is
        // needed. Keys and signatures have fixed lengths, and behind a message stand its length and their number: one
        // reading only.
        let before = self.entries.len();
        for (key, encoded, signature) in signatures {
            self.hasher.update(encoded.as_bytes()).update(signature.r()).update(signature.s());
            match Entry::decode(key, encoded, signature, message).filter(|_| key < self.keys.len()) {
                Some(entry) => self.entries.push(entry),
                None => self.decoded = false,
            }
        }
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes();
        let added = self.entries.len().saturating_sub(before);
        self.hasher.update(message).update(&count(message.len())).update(&count(added));
    }

    /// How many signatures there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether every signature is valid.
    // Scalars are numbers modulo the group order: nothing overflows.
    #[allow(clippy::arithmetic_side_effects)]
    pub(super) fn holds(self) -> bool {
        if !self.decoded {
            return false;
        }
        let mut coefficients = self.hasher.finalize_xof();
        let mut base = Scalar::ZERO;
        let mut factors = alloc::vec![Scalar::ZERO; self.keys.len()];
        let mut scalars = Vec::with_capacity(self.entries.len());
        let mut points = Vec::with_capacity(self.entries.len());
        for entry in self.entries {
            let mut z = [0; 16];
            coefficients.fill(&mut z);
            let z = Scalar::from(u128::from_le_bytes(z));
            base -= z * entry.s;
            if let Some(factor) = factors.get_mut(entry.key) {
                *factor += z * entry.k;
            }
            scalars.push(z);
            points.push(entry.r);
        }
        self.keys.sum(base, &factors, &scalars, &points).mul_by_cofactor().is_identity()
    }
}

impl Entry {
    /// `None` where `s` is not below the group order or `R` is no point.
    fn decode(key: usize, encoded: &ValidatorKey, signature: &Signature, message: &[u8]) -> Option<Self> {
        let s = Option::from(Scalar::from_canonical_bytes(*signature.s()))?;
        let r = CompressedEdwardsY(*signature.r()).decompress()?;
        let k = Sha512::new().chain_update(signature.r()).chain_update(encoded.as_bytes()).chain_update(message);
        Some(Self { key, r, s, k: Scalar::from_bytes_mod_order_wide(&k.finalize().into()) })
    }
}
