//! A validator's signed word on how far its chain goes.
//!
//! No proof of anything: a node that holds the proven tip uses adverts of more than two thirds of the power to tell "the
//! chain stands still" from "nobody shows me what is newer". The signed bytes begin with a tag of their own, so that an
//! advert can't pass for a vote, whatever its fields are.

use alloc::vec::Vec;

use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};

use super::codec::{self, Version};
use super::rules::EpochContext;
use super::signature::{Signature, ValidatorKey, verify_all};
use crate::chain::Fault;
use crate::hash::Hash;
use crate::ids::Height;
use crate::time::UnixMillis;

/// Begins the signed bytes of every advert.
pub const ADVERT_TAG: [u8; 16] = *b"hs2-sync/1 head\n";

/// Largest encoded advert, in bytes: the version, a key, a hash, two numbers and a signature.
pub const MAX_ADVERT_BYTES: usize = 1 + 32 + 10 + 32 + 10 + 64;

/// What a validator says its highest finalized block is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Advert {
    version: Version,
    /// Who says it.
    pub key: ValidatorKey,
    /// The block's height.
    pub height: Height,
    /// The block's id.
    pub block: Hash,
    /// When it was said, by the validator's clock.
    pub timestamp: UnixMillis,
    signature: Signature,
}

impl Advert {
    /// Signs an advert for the chain `chain_id`.
    pub fn sign(key: &SigningKey, chain_id: Hash, height: Height, block: Hash, timestamp: UnixMillis) -> Self {
        let signature = key.sign(&bytes(chain_id, height, block, timestamp)).into();
        Self { version: Version, key: key.into(), height, block, timestamp, signature }
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

    /// Checks that a validator of `epoch` signed this, and returns its power.
    pub fn verify(&self, epoch: &EpochContext) -> Result<u64, Fault> {
        let set = epoch.validators();
        let validator =
            set.index_of(&self.key).and_then(|index| set.validators().get(index)).ok_or(Fault::BadCertificate)?;
        let signed = bytes(epoch.chain_id(), self.height, self.block, self.timestamp);
        if verify_all(&signed, core::iter::once((&self.key, &self.signature))) {
            Ok(validator.power)
        } else {
            Err(Fault::BadCertificate)
        }
    }
}

/// The bytes to sign: tag, chain id, height, block id, timestamp; each of fixed length.
pub(super) fn bytes(chain_id: Hash, height: Height, block: Hash, timestamp: UnixMillis) -> Vec<u8> {
    let mut bytes = ADVERT_TAG.to_vec();
    bytes.extend_from_slice(chain_id.as_bytes());
    bytes.extend_from_slice(&height.get().to_le_bytes());
    bytes.extend_from_slice(block.as_bytes());
    bytes.extend_from_slice(&timestamp.get().to_le_bytes());
    bytes
}
