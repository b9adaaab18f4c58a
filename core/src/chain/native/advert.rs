//! A validator's signed word on how far its chain goes, and in which view it is.
//!
//! No proof of any block: a node that holds the proven tip uses adverts of more than two thirds of the power to tell "the
//! chain stands still" from "nobody shows me what is newer" (see [`participation`](crate::participation)). The signed
//! bytes begin with a tag of their own, so that an advert can't pass for a vote, whatever its fields are.

use alloc::vec::Vec;

use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::codec::{self, Version};
use super::rules::EpochContext;
use super::signature::{Signature, ValidatorKey};
use crate::chain::{AdvertFacts, Fault};
use crate::hash::Hash;
use crate::ids::{Height, View};
use crate::time::UnixMillis;

/// Begins the signed bytes of every advert.
pub const ADVERT_TAG: [u8; 16] = *b"hs2-sync/1 head\n";

/// Largest encoded advert, in bytes: the version, a key, what it says, and a signature.
pub const MAX_ADVERT_BYTES: usize = 1 + 32 + 10 + 32 + 10 + 10 + 32 + 64;

/// What a validator says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AdvertClaim {
    /// Height of its highest finalized block.
    pub height: Height,
    /// Id of that block.
    pub block: Hash,
    /// The view that it is in, by a record that survives a crash: it votes in no lower one any more.
    pub view: View,
    /// When it was said, by the validator's clock.
    pub timestamp: UnixMillis,
    /// What the asker sent along, so that it knows that this was said after it asked; zero where nobody asked.
    pub challenge: Hash,
}

/// A validator's claim with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Advert {
    version: Version,
    /// Who says it.
    pub key: ValidatorKey,
    /// What it says.
    pub claim: AdvertClaim,
    signature: Signature,
}

impl Advert {
    /// Signs an advert for the chain `chain_id`.
    pub fn sign(key: &SigningKey, chain_id: Hash, claim: AdvertClaim) -> Self {
        let signature = key.sign(&bytes(chain_id, &claim)).into();
        Self { version: Version, key: key.into(), claim, signature }
    }

    /// The signature.
    pub fn signature(&self) -> Signature {
        self.signature
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes an advert; nothing is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        codec::decode(bytes, MAX_ADVERT_BYTES)
    }

    /// Checks that a validator of `epoch` signed this, and says what it counts for.
    pub fn verify(&self, epoch: &EpochContext) -> Result<AdvertFacts, Fault> {
        let set = epoch.validators();
        let index = set.index_of(&self.key).ok_or(Fault::BadCertificate)?;
        let validator = set.validators().get(index).ok_or(Fault::BadCertificate)?;
        let mut batch = Batch::new(set.keys());
        batch.add(&bytes(epoch.chain_id(), &self.claim), [(index, &self.key, &self.signature)]);
        if !batch.holds() {
            return Err(Fault::BadCertificate);
        }
        let AdvertClaim { height, block, view, timestamp, challenge } = self.claim;
        Ok(AdvertFacts {
            validator: Hash::from_bytes(*self.key.as_bytes()),
            power: validator.power,
            total_power: set.total_power(),
            height,
            id: block,
            view,
            timestamp,
            challenge,
        })
    }
}

/// The bytes to sign: tag, chain id, height, block id, view, timestamp, challenge; each of fixed length.
pub(super) fn bytes(chain_id: Hash, claim: &AdvertClaim) -> Vec<u8> {
    let mut bytes = ADVERT_TAG.to_vec();
    bytes.extend_from_slice(chain_id.as_bytes());
    bytes.extend_from_slice(&claim.height.get().to_le_bytes());
    bytes.extend_from_slice(claim.block.as_bytes());
    bytes.extend_from_slice(&claim.view.get().to_le_bytes());
    bytes.extend_from_slice(&claim.timestamp.get().to_le_bytes());
    bytes.extend_from_slice(claim.challenge.as_bytes());
    bytes
}
