//! A handover: the last block of an epoch, the proof that it is final, and the epoch that it names.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::codec::{self, Version};
use super::epoch::{ClaimedEpoch, EpochInfo, MAX_EPOCH_BYTES};
use super::finality::FinalityProof;
use super::header::Header;
use super::rules::EpochContext;
use crate::chain::{Fault, HandoverFacts};
use crate::hash::Hash;
use crate::limits::MAX_HANDOVER_BYTES;

/// Proves one epoch to whoever trusts the one before.
///
/// Only the set that ends decides whether its last block is final. Above that block its proof holds closing headers:
/// empty ones of the same epoch, which live inside proofs only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Handover {
    /// Version of the format.
    pub version: Version,
    /// The epoch's last header.
    pub header: Header,
    /// Why it is final; not an anchor.
    pub proof: FinalityProof,
    /// The next epoch as [`EpochInfo::encode`] writes it. Encoded, because its hash is compared before anything in it is
    /// looked at.
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_EPOCH_BYTES>")]
    pub next: Vec<u8>,
}

impl Handover {
    /// Puts a handover together, without a check.
    pub fn new(header: Header, proof: FinalityProof, next: &EpochInfo) -> Self {
        Self { version: Version, header, proof, next: next.encode() }
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes a handover; nothing is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        codec::decode(bytes, MAX_HANDOVER_BYTES as usize)
    }

    /// Checks by hashes and numbers that this ends the encoded `epoch`, which may not be proven yet, and that the set which
    /// comes along is the one that the header names. Says what comes next, without looking at a key or a signature.
    pub(super) fn link(self, chain_id: Hash, epoch: &[u8]) -> Result<HandoverFacts, Fault> {
        if self.header.chain_id != chain_id {
            return Err(Fault::WrongChain);
        }
        let ended = ClaimedEpoch::decode(epoch)?;
        let follows = self.header.epoch == ended.epoch
            && self.header.height == ended.range.last()
            && self.header.epoch_hash == EpochInfo::hash_of(epoch)
            && self.header.next_epoch_hash == Some(EpochInfo::hash_of(&self.next));
        if !follows {
            return Err(Fault::BadEpoch);
        }
        let next = ClaimedEpoch::decode(&self.next)?;
        if !next.epoch.is_next_of(ended.epoch) || !next.range.first().is_next_of(ended.range.last()) {
            return Err(Fault::BadEpoch);
        }
        let boundary_id = self.header.id();
        let boundary_time = self.header.timestamp;
        Ok(HandoverFacts { boundary_id, boundary_time, epoch: next.epoch, range: next.range, bytes: self.next.into() })
    }

    /// Checks that `epoch` ended with this header and that the set which it names comes next, and returns that epoch
    /// too. The signatures come before the new validators' keys, so that a made-up set of thousands costs nothing.
    pub fn verify(&self, epoch: &EpochContext) -> Result<(EpochContext, HandoverFacts), Fault> {
        // That no header but the epoch's last names a next epoch is a rule of headers, which the proof checks.
        let hash = EpochInfo::hash_of(&self.next);
        if self.header.next_epoch_hash != Some(hash) {
            return Err(Fault::BadEpoch);
        }
        self.proof.verify(&self.header, epoch)?;
        let next = ClaimedEpoch::decode(&self.next)?;
        if !next.epoch.is_next_of(epoch.epoch()) || !next.range.first().is_next_of(self.header.height) {
            return Err(Fault::BadEpoch);
        }
        let facts = HandoverFacts {
            boundary_id: self.header.id(),
            boundary_time: self.header.timestamp,
            epoch: next.epoch,
            range: next.range,
            bytes: self.next.clone().into(),
        };
        Ok((epoch.sibling(next.check(Some(epoch.validators()))?, hash), facts))
    }
}
