//! A validator's signed word on how far its chain goes, in which view it is, and on what it is locked.
//!
//! No proof of any block: a node that holds the proven tip uses adverts of more than two thirds of the power to tell "the
//! chain stands still" from "nobody shows me what is newer" (see [`participation`](crate::participation)). The signed
//! bytes begin with a tag of their own, so that an advert can't pass for a vote, whatever its fields are.
//!
//! The certificates that back the view and the lock are not under the signature but for the lock's view: they are sent only
//! where somebody needs them, and whoever leaves them out, or puts others in their place, can't make the word say less.

use alloc::vec::Vec;

use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::certificate::QuorumCertificate;
use super::codec::{self, Version};
use super::rules::EpochContext;
use super::signature::{Signature, ValidatorKey};
use super::timeout::TimeoutCertificate;
use super::vote::Phase;
use crate::chain::{AdvertFacts, Fault};
use crate::hash::Hash;
use crate::ids::{Epoch, Height, View};
use crate::limits::MAX_BACKED_ADVERT_BYTES;
use crate::time::UnixMillis;

/// Begins the signed bytes of every advert.
pub const ADVERT_TAG: [u8; 16] = *b"hs2-sync/2 head\n";

/// What a validator says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AdvertClaim {
    /// The epoch that it is in: it takes part in no earlier one any more, and in no later one yet.
    pub epoch: Epoch,
    /// Height of its highest finalized block.
    pub height: Height,
    /// Id of that block.
    pub block: Hash,
    /// The view that it is in, by a record that survives a crash: it votes in no lower one any more.
    pub view: View,
    /// Its lock: the view of the highest phase-one certificate of this epoch that it has seen; 0 where it has seen none.
    pub lock: View,
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
    high: Option<QuorumCertificate>,
    entered_by: Option<TimeoutCertificate>,
}

impl Advert {
    /// Signs an advert for the chain `chain_id`.
    pub fn sign(key: &SigningKey, chain_id: Hash, claim: AdvertClaim) -> Self {
        let signature = key.sign(&bytes(chain_id, &claim)).into();
        Self { version: Version, key: key.into(), claim, signature, high: None, entered_by: None }
    }

    /// Adds what backs the claim: the certificate that the lock is on, and the one by which the view was entered where it was
    /// not that.
    #[must_use]
    pub fn backed(self, high: Option<QuorumCertificate>, entered_by: Option<TimeoutCertificate>) -> Self {
        Self { high, entered_by, ..self }
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
        codec::decode(bytes, MAX_BACKED_ADVERT_BYTES as usize)
    }

    /// Checks that a validator of `epoch` signed this for that epoch, and the certificates, and says what it counts for.
    pub fn verify(&self, epoch: &EpochContext) -> Result<AdvertFacts, Fault> {
        if self.claim.epoch != epoch.epoch() || self.high.as_ref().is_some_and(|high| high.view != self.claim.lock) {
            return Err(Fault::BadCertificate);
        }
        let set = epoch.validators();
        let index = set.index_of(&self.key).ok_or(Fault::BadCertificate)?;
        let validator = set.validators().get(index).ok_or(Fault::BadCertificate)?;
        let mut batch = Batch::new(set.keys());
        batch.add(&bytes(epoch.chain_id(), &self.claim), [(index, &self.key, &self.signature)]);
        if !batch.holds() {
            return Err(Fault::BadCertificate);
        }
        if let Some(high) = &self.high {
            high.verify_alone(Phase::One, epoch).map_err(|_| Fault::BadCertificate)?;
        }
        if let Some(entered_by) = &self.entered_by {
            entered_by.verify(epoch).map_err(|_| Fault::BadCertificate)?;
        }
        let finished = self.high.as_ref().map(|high| high.view).max(self.entered_by.as_ref().map(|by| by.view));
        let AdvertClaim { height, block, view, lock, timestamp, challenge, .. } = self.claim;
        Ok(AdvertFacts {
            validator: Hash::from_bytes(*self.key.as_bytes()),
            power: validator.power,
            total_power: set.total_power(),
            height,
            id: block,
            view,
            backed: finished.map(View::next),
            lock,
            certificate: self.high.as_ref().map(|high| high.encode().into()),
            timestamp,
            challenge,
        })
    }
}

/// The bytes to sign: tag, chain id, epoch, height, block id, view, lock, timestamp, challenge; each of fixed length.
pub(super) fn bytes(chain_id: Hash, claim: &AdvertClaim) -> Vec<u8> {
    let mut bytes = ADVERT_TAG.to_vec();
    bytes.extend_from_slice(chain_id.as_bytes());
    bytes.extend_from_slice(&claim.epoch.get().to_le_bytes());
    bytes.extend_from_slice(&claim.height.get().to_le_bytes());
    bytes.extend_from_slice(claim.block.as_bytes());
    bytes.extend_from_slice(&claim.view.get().to_le_bytes());
    bytes.extend_from_slice(&claim.lock.get().to_le_bytes());
    bytes.extend_from_slice(&claim.timestamp.get().to_le_bytes());
    bytes.extend_from_slice(claim.challenge.as_bytes());
    bytes
}
