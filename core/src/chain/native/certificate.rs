//! A quorum's signatures over one block in one phase.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::codec;
use super::header::Header;
use super::rules::EpochContext;
use super::signature::{Signature, ValidatorKey};
use super::validators::{Validator, ValidatorSet, sum};
use super::vote::{Phase, Vote};
use crate::chain::Fault;
use crate::hash::Hash;
use crate::ids::{Epoch, Height, View};
use crate::limits::{MAX_TIP_BYTES, MAX_VALIDATORS};

pub(super) const MAX_BITMAP_BYTES: usize = MAX_VALIDATORS / 8;

/// Signatures of validators with more than two thirds of an epoch's power, over one vote.
///
/// Every field but the last two is in the signed bytes, and equals the one of the header that it is verified for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QuorumCertificate {
    /// The block's epoch.
    pub epoch: Epoch,
    /// The block's view.
    pub view: View,
    /// The block's height.
    pub height: Height,
    /// The block's id.
    pub block: Hash,
    /// What was voted for.
    pub phase: Phase,
    /// Who signed: bit `i % 8` (the lowest first) of byte `i / 8` for the validator at index `i`, and no byte more.
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_BITMAP_BYTES>")]
    pub signers: Vec<u8>,
    /// The signatures, in the order of the signers' indices.
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_VALIDATORS>")]
    pub signatures: Vec<Signature>,
}

/// Why a certificate doesn't hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CertificateError {
    /// It is for height or view zero. Nobody votes for a genesis block.
    #[error("nobody certifies the genesis block or view 0")]
    Genesis,
    /// It is for another block, height, view or epoch than the header it came with.
    #[error("the certificate is for another header")]
    OtherHeader,
    /// It is for another epoch than the one whose validators it is checked with.
    #[error("the certificate is of another epoch")]
    OtherEpoch,
    /// It is for another phase than the proof needs.
    #[error("the certificate is of another phase")]
    OtherPhase,
    /// The bitmap hasn't exactly one bit for each validator.
    #[error("the bitmap of signers does not fit the validator set")]
    Bitmap,
    /// There aren't as many signatures as signers.
    #[error("there are not as many signatures as signers")]
    SignatureCount,
    /// The signers hold two thirds of the power or less.
    #[error("the signers hold too little power")]
    NoQuorum,
    /// At least one signature isn't valid.
    #[error("a signature is not valid")]
    Signature,
}

impl QuorumCertificate {
    /// The canonical encoding, as consensus gets it to begin with.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes a certificate; nothing is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        codec::decode(bytes, MAX_TIP_BYTES as usize)
    }

    /// Checks that a quorum of `epoch` signed for `header` in `phase`. All cheap checks come before the signatures.
    pub fn verify(&self, phase: Phase, header: &Header, epoch: &EpochContext) -> Result<(), CertificateError> {
        let mut batch = Batch::new(epoch.validators().keys());
        self.verify_into(&mut batch, phase, header, header.id(), epoch)?;
        if batch.holds() { Ok(()) } else { Err(CertificateError::Signature) }
    }

    /// The same but for the signatures, which go into `batch`, a batch of the epoch's keys. `id` is the header's.
    pub(super) fn verify_into(
        &self,
        batch: &mut Batch<'_>,
        phase: Phase,
        header: &Header,
        id: Hash,
        epoch: &EpochContext,
    ) -> Result<(), CertificateError> {
        self.check_fields(phase, epoch)?;
        if self.epoch != header.epoch || self.view != header.view || self.height != header.height || self.block != id {
            return Err(CertificateError::OtherHeader);
        }
        self.add_to(batch, epoch)
    }

    /// Checks that a quorum of `epoch` signed for the block that the certificate names, in `phase`. The block itself need not
    /// be there, so nothing is said of it: enough to know how far votes went, and no proof of anything else.
    pub(super) fn verify_alone(&self, phase: Phase, epoch: &EpochContext) -> Result<(), CertificateError> {
        self.check_fields(phase, epoch)?;
        let mut batch = Batch::new(epoch.validators().keys());
        self.add_to(&mut batch, epoch)?;
        if batch.holds() { Ok(()) } else { Err(CertificateError::Signature) }
    }

    fn check_fields(&self, phase: Phase, epoch: &EpochContext) -> Result<(), CertificateError> {
        if self.height == Height::ZERO || self.view == View::ZERO {
            return Err(CertificateError::Genesis);
        }
        if self.epoch != epoch.epoch() {
            return Err(CertificateError::OtherEpoch);
        }
        if self.phase != phase { Err(CertificateError::OtherPhase) } else { Ok(()) }
    }

    /// Counts the signers, and puts the signatures into `batch`.
    fn add_to(&self, batch: &mut Batch<'_>, epoch: &EpochContext) -> Result<(), CertificateError> {
        let set = epoch.validators();
        let signers = self.signer_places(set.count())?;
        if signers.len() != self.signatures.len() {
            return Err(CertificateError::SignatureCount);
        }
        if !set.is_quorum(sum(signed(&signers, set).map(|(_, validator)| validator))) {
            return Err(CertificateError::NoQuorum);
        }
        let Self { epoch: number, view, height, block, phase, .. } = *self;
        let vote = Vote { chain_id: epoch.chain_id(), epoch: number, view, height, block, phase };
        let signatures = signed(&signers, set).zip(&self.signatures);
        batch.add(&vote.bytes(), signatures.map(|((place, signer), signature)| (place, &signer.key, signature)));
        Ok(())
    }

    /// The validators in `set` that the bitmap names, in the set's order.
    pub fn signers<'a>(&self, set: &'a ValidatorSet) -> Result<Vec<&'a Validator>, CertificateError> {
        let places = self.signer_places(set.count())?;
        Ok(places.into_iter().filter_map(|place| set.validators().get(place)).collect())
    }

    /// Places of the signers in a set of `count` validators, ascending.
    pub(super) fn signer_places(&self, count: usize) -> Result<Vec<usize>, CertificateError> {
        places(&self.signers, count)
    }

    /// Writes down the votes `signatures` of validators in `set` for `header`, whoever and how many they are. Keys
    /// outside of the set are left out; of two signatures by one key the later counts.
    pub fn collect(
        phase: Phase,
        header: &Header,
        set: &ValidatorSet,
        signatures: impl IntoIterator<Item = (ValidatorKey, Signature)>,
    ) -> Self {
        let Header { epoch, view, height, .. } = *header;
        let (signers, signatures) = bitmap(set, signatures);
        Self { epoch, view, height, block: header.id(), phase, signers, signatures }
    }
}

/// Places that a bitmap of signers names in a set of `count` validators, ascending.
pub(super) fn places(bitmap: &[u8], count: usize) -> Result<Vec<usize>, CertificateError> {
    if bitmap.len() != count.div_ceil(8) {
        return Err(CertificateError::Bitmap);
    }
    let bits = bitmap.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    let places: Vec<usize> = bits.enumerate().filter(|(_, signed)| *signed).map(|(place, _)| place).collect();
    if places.last().is_some_and(|last| *last >= count) { Err(CertificateError::Bitmap) } else { Ok(places) }
}

/// The validators at `places`, with their places.
pub(super) fn signed<'a>(places: &'a [usize], set: &'a ValidatorSet) -> impl Iterator<Item = (usize, &'a Validator)> {
    places.iter().filter_map(|&place| Some((place, set.validators().get(place)?)))
}

/// The bitmap of those who signed, and their signatures in its order. Keys outside of the set are left out; of two signatures
/// by one key the later counts.
pub(super) fn bitmap(
    set: &ValidatorSet,
    signatures: impl IntoIterator<Item = (ValidatorKey, Signature)>,
) -> (Vec<u8>, Vec<Signature>) {
    let by_index: alloc::collections::BTreeMap<usize, Signature> =
        signatures.into_iter().filter_map(|(key, signature)| Some((set.index_of(&key)?, signature))).collect();
    let signers = (0..set.count().div_ceil(8))
        .map(|byte| {
            (0..8).fold(0, |bits, bit| {
                bits | u8::from(by_index.contains_key(&byte.saturating_mul(8).saturating_add(bit))) << bit
            })
        })
        .collect();
    (signers, by_index.into_values().collect())
}
