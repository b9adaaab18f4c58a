//! [`Committee`], and the [`Certificate`]s that it signs: ECDSA over secp256k1, each signature by itself.

use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, View};
use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use k256::ecdsa::{Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::rule::{Rule, Rules};

/// Most signers of a committee: what a header's stated size has room for.
pub const MAX_SIGNERS: usize = 8;
/// Bytes of a compressed key.
const KEY_BYTES: usize = 33;

/// SHA-256 of some parts after a tag, with each part's length in front: no two lists of parts are the same bytes.
pub(super) fn digest(tag: &str, parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in std::iter::once(tag.as_bytes()).chain(parts.iter().copied()) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Hash::from_bytes(hasher.finalize().into())
}

/// The signers that decide: up to [`MAX_SIGNERS`] keys of equal weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee(Vec<VerifyingKey>);

impl Committee {
    /// Reads compressed keys, end to end, each larger than the one before: so a key has one seat, and a set one encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let count = bytes.len() / KEY_BYTES;
        if !bytes.len().is_multiple_of(KEY_BYTES) || count == 0 || count > MAX_SIGNERS {
            return Err(Fault::BadValidatorSet);
        }
        let encoded: Vec<&[u8]> = bytes.chunks_exact(KEY_BYTES).collect();
        if !encoded.windows(2).all(|pair| pair.first() < pair.last()) {
            return Err(Fault::BadValidatorSet);
        }
        let keys = encoded.into_iter().map(VerifyingKey::from_sec1_bytes).collect::<Result<_, _>>();
        keys.map(Self).map_err(|_| Fault::BadValidatorSet)
    }

    /// The encoding of the set of these keys.
    pub fn encode(keys: &[SigningKey]) -> Vec<u8> {
        let mut encoded: Vec<_> = keys.iter().map(|key| key.verifying_key().to_sec1_bytes()).collect();
        encoded.sort_unstable();
        encoded.concat()
    }
}

/// Statement that is signed for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    pub(super) view: View,
    pub(super) height: Height,
    pub(super) id: Hash,
}

impl Vote {
    fn message(&self, chain_id: Hash) -> Hash {
        let (view, height) = (self.view.get().to_le_bytes(), self.height.get().to_le_bytes());
        digest("other chain: vote", &[chain_id.as_bytes(), &view, &height, self.id.as_bytes()])
    }
}

/// Signatures of more than two thirds of a committee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Each signer's place in the committee, ascending, and the two halves of its signature.
    signatures: Vec<(u8, Hash, Hash)>,
}

impl Certificate {
    /// The certificate of `keys`, whose order is that of their places.
    pub(super) fn sign(keys: &[SigningKey], places: &[u8], chain_id: Hash, vote: &Vote) -> Self {
        use k256::ecdsa::signature::hazmat::PrehashSigner as _;
        let message = vote.message(chain_id);
        let sign = |&place: &u8| {
            let signature: Signature = keys.get(usize::from(place))?.sign_prehash(message.as_bytes()).ok()?;
            let bytes = signature.to_bytes();
            let (r, s) = bytes.split_first_chunk::<32>()?;
            Some((place, Hash::from_bytes(*r), Hash::from_bytes(s.try_into().ok()?)))
        };
        Self { signatures: places.iter().filter_map(sign).collect() }
    }

    /// Whether more than two thirds of the committee signed `vote` on the chain.
    pub(super) fn check(&self, committee: &Committee, chain_id: Hash, vote: &Vote, rules: Rules) -> Result<(), Fault> {
        let ascending = self.signatures.windows(2).all(|pair| match pair {
            [one, other] => one.0 < other.0,
            _ => false,
        });
        let quorum = 3 * self.signatures.len() > 2 * committee.0.len();
        let few = self.signatures.len() <= MAX_SIGNERS;
        rules.demand(Rule::Quorum, ascending && quorum && few, Fault::BadCertificate)?;
        let message = vote.message(chain_id);
        for (place, r, s) in &self.signatures {
            let signed = committee.0.get(usize::from(*place)).is_some_and(|key| {
                let signature = Signature::from_scalars(*r.as_bytes(), *s.as_bytes());
                // Of the two that hold for a message the one with the lower half: nobody makes another out of it.
                let lower = signature.ok().filter(|signature| signature.normalize_s() == *signature);
                lower.is_some_and(|signature| key.verify_prehash(message.as_bytes(), &signature).is_ok())
            });
            rules.demand(Rule::Signature, signed, Fault::BadCertificate)?;
        }
        Ok(())
    }
}
