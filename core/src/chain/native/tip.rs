//! A finalized header: what a peer shows to prove how far its chain is final.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::codec::{self, Version};
use super::finality::FinalityProof;
use super::header::Header;
use super::rules::EpochContext;
use crate::chain::{Fault, TipCheck, TipFacts};
use crate::limits::MAX_TIP_BYTES;

/// A header and the proof that it is final.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FinalizedHeader {
    /// Version of the format.
    pub version: Version,
    /// The header.
    pub header: Header,
    /// Why it is final; not an anchor.
    pub proof: FinalityProof,
}

impl FinalizedHeader {
    /// Puts `header` and its proof together, without a check.
    pub fn new(header: Header, proof: FinalityProof) -> Self {
        Self { version: Version, header, proof }
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes a tip; nothing is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        codec::decode(bytes, MAX_TIP_BYTES as usize)
    }

    /// Checks that the header is final, if it says that it belongs to `epoch`.
    pub fn verify(&self, epoch: &EpochContext) -> Result<TipCheck, Fault> {
        if self.header.chain_id != epoch.chain_id() {
            return Err(Fault::WrongChain);
        }
        if self.header.epoch != epoch.epoch() {
            return Ok(TipCheck::OtherEpoch(self.header.epoch));
        }
        self.proof.verify(&self.header, epoch)?;
        Ok(TipCheck::Final(TipFacts {
            height: self.header.height,
            id: self.header.id(),
            epoch: self.header.epoch,
            timestamp: self.header.timestamp,
            state_root: Some(self.header.state_root),
        }))
    }
}
