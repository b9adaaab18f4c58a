//! Skipping: a tip many epochs ahead, proven without the handovers between. For light clients only.
//!
//! A skip rests on less than a handover does. Validators of the trusted epoch who hold more than a third of its power
//! also signed the far tip, so with less than a third of it faulty an honest one did, and an honest one follows the
//! chain. It is right only within the trusting period, which the caller must check: keys that were sold later sign
//! anything.

use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::codec::{self, Version};
use super::epoch::{ClaimedEpoch, EpochInfo, MAX_EPOCH_BYTES};
use super::finality::FinalityProof;
use super::header::Header;
use super::rules::EpochContext;
use super::tip::FinalizedHeader;
use super::validators::{ValidatorSet, sum};
use crate::chain::{Fault, TipCheck, TipFacts};
use crate::limits::MAX_HANDOVER_BYTES;

/// A finalized header with its own epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Skip {
    /// Version of the format.
    pub version: Version,
    /// The header.
    pub header: Header,
    /// Why it is final by its own epoch; not an anchor.
    pub proof: FinalityProof,
    /// The header's epoch as [`EpochInfo::encode`] writes it.
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_EPOCH_BYTES>")]
    pub epoch: Vec<u8>,
}

/// Result of a skip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipCheck {
    /// The block is final, and its epoch is as trusted as the one before.
    Proven(TipFacts, Box<EpochContext>),
    /// A third of the trusted power or less is among the signers. Nothing was proven, and nobody is to blame: a nearer
    /// epoch may do.
    TooFar,
}

impl Skip {
    /// Puts a skip together, without a check.
    pub fn new(header: Header, proof: FinalityProof, epoch: &EpochInfo) -> Self {
        Self { version: Version, header, proof, epoch: epoch.encode() }
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes a skip; nothing is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        codec::decode(bytes, MAX_HANDOVER_BYTES as usize)
    }

    /// Checks that the header is final by its own epoch, and that signers with strictly more than a third of the power of
    /// `trusted`, an earlier epoch within the trusting period, vouch for it.
    pub fn verify(&self, trusted: &EpochContext) -> Result<SkipCheck, Fault> {
        if self.header.chain_id != trusted.chain_id() {
            return Err(Fault::WrongChain);
        }
        if self.header.epoch <= trusted.epoch() || self.header.epoch_hash != EpochInfo::hash_of(&self.epoch) {
            return Err(Fault::BadEpoch);
        }
        let claimed = ClaimedEpoch::decode(&self.epoch)?;
        if claimed.range.first() <= trusted.range().last() {
            return Err(Fault::BadEpoch);
        }
        // Counted on the bytes of the keys, before one of them is decoded: a made-up set costs next to nothing.
        if !vouched(&self.proof, &claimed, trusted.validators())? {
            return Ok(SkipCheck::TooFar);
        }
        let own = trusted.sibling(claimed.check(Some(trusted.validators()))?, self.header.epoch_hash);
        match FinalizedHeader::new(self.header.clone(), self.proof.clone()).verify(&own)? {
            TipCheck::Final(facts) => Ok(SkipCheck::Proven(facts, Box::new(own))),
            TipCheck::OtherEpoch(_) => Err(Fault::BadEpoch),
        }
    }
}

/// Whether the signers that the proof's certificate names hold strictly more than a third of the trusted power.
fn vouched(proof: &FinalityProof, own: &ClaimedEpoch, trusted: &ValidatorSet) -> Result<bool, Fault> {
    let certificate = proof.certificate().ok_or(Fault::NotFinal)?;
    let places = certificate.signer_places(own.validators.len()).map_err(|_| Fault::BadCertificate)?;
    // A bitmap over unique keys names each signer once. What it counts for is its power in the trusted set.
    let power = sum(places
        .into_iter()
        .filter_map(|place| own.validators.get(place))
        .filter_map(|signer| trusted.index_of(&signer.key).and_then(|index| trusted.validators().get(index))));
    Ok(power.saturating_mul(3) > trusted.total_power())
}
