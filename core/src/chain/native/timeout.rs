//! Certificates that a view was given up: why a validator is in the next one without a block.
//!
//! They prove nothing of any block, and no proof of finality holds one. A validator that lost its record of votes learns from
//! them, and from certificates of blocks, how far its votes can have gone (see [`participation`](crate::participation)).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::certificate::{CertificateError, MAX_BITMAP_BYTES, bitmap, places, signed};
use super::codec;
use super::rules::EpochContext;
use super::signature::{Signature, ValidatorKey};
use super::validators::{ValidatorSet, sum};
use crate::chain::Fault;
use crate::hash::Hash;
use crate::ids::{Epoch, View};
use crate::limits::{MAX_TIP_BYTES, MAX_VALIDATORS};

/// Begins the signed bytes of every given-up view.
pub const GIVE_UP_TAG: [u8; 16] = *b"hs2-sync/1 skip\n";

/// Validators with more than two thirds of an epoch's power wait no longer for a view, and vote for nothing in it any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimeoutCertificate {
    /// The epoch.
    pub epoch: Epoch,
    /// The view that was given up.
    pub view: View,
    /// Bits of the signers, as in a [`QuorumCertificate`](super::QuorumCertificate).
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_BITMAP_BYTES>")]
    pub signers: Vec<u8>,
    /// The signatures, in the order of the signers' indices.
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_VALIDATORS>")]
    pub signatures: Vec<Signature>,
}

impl TimeoutCertificate {
    /// Writes down the signatures of [`give_up_bytes`] by validators in `set`, whoever and how many they are.
    pub fn collect(
        epoch: Epoch,
        view: View,
        set: &ValidatorSet,
        signatures: impl IntoIterator<Item = (ValidatorKey, Signature)>,
    ) -> Self {
        let (signers, signatures) = bitmap(set, signatures);
        Self { epoch, view, signers, signatures }
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes a certificate; nothing is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        codec::decode(bytes, MAX_TIP_BYTES as usize)
    }

    /// Checks that a quorum of `epoch` gave up on the view. All cheap checks come before the signatures.
    pub fn verify(&self, epoch: &EpochContext) -> Result<(), CertificateError> {
        if self.view == View::ZERO {
            return Err(CertificateError::Genesis);
        }
        if self.epoch != epoch.epoch() {
            return Err(CertificateError::OtherEpoch);
        }
        let set = epoch.validators();
        let places = places(&self.signers, set.count())?;
        if places.len() != self.signatures.len() {
            return Err(CertificateError::SignatureCount);
        }
        if !set.is_quorum(sum(signed(&places, set).map(|(_, validator)| validator))) {
            return Err(CertificateError::NoQuorum);
        }
        let bytes = give_up_bytes(epoch.chain_id(), self.epoch, self.view);
        let mut batch = Batch::new(set.keys());
        let signatures = signed(&places, set).zip(&self.signatures);
        batch.add(&bytes, signatures.map(|((place, signer), signature)| (place, &signer.key, signature)));
        if batch.holds() { Ok(()) } else { Err(CertificateError::Signature) }
    }
}

/// The bytes that a validator signs to give up on a view: tag, chain id, epoch, view; numbers in little-endian order.
pub fn give_up_bytes(chain_id: Hash, epoch: Epoch, view: View) -> Vec<u8> {
    let mut bytes = GIVE_UP_TAG.to_vec();
    bytes.extend_from_slice(chain_id.as_bytes());
    bytes.extend_from_slice(&epoch.get().to_le_bytes());
    bytes.extend_from_slice(&view.get().to_le_bytes());
    bytes
}
