//! Portable evidence that a chain finalized two blocks at one height.
//!
//! It proves that at least a third of an epoch's power broke its promises, to anyone who holds the epoch. It names the
//! validators that signed in both branches. Which branch is right it does not say: that is for people to decide.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::certificate::QuorumCertificate;
use super::codec::{self, Version};
use super::finality::FinalityProof;
use super::handover::Handover;
use super::header::Header;
use super::rules::{EpochContext, Place};
use super::segment::{MAX_SEGMENT_HEADERS, Segment};
use super::signature::ValidatorKey;
use super::tip::FinalizedHeader;
use crate::chain::{Fault, Finalized};
use crate::hash::Hash;
use crate::ids::Height;
use crate::limits::MAX_SEGMENT_BYTES;

/// Largest encoded evidence, in bytes: two branches of a segment each, with full headers.
pub const MAX_EVIDENCE_BYTES: usize = 2 * MAX_SEGMENT_BYTES as usize;

/// A segment's headers and its parent.
const MAX_BRANCH_HEADERS: usize = MAX_SEGMENT_HEADERS + 1;

/// Two branches of one epoch that begin at one height with different blocks, both final.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConflictEvidence {
    version: Version,
    /// The branch whose first block has the smaller id, so that one conflict has one encoding.
    one: Branch,
    other: Branch,
}

/// Headers of one branch, each the child of the one before, and the proof that the last one is final.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Branch {
    /// The headers.
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_BRANCH_HEADERS>")]
    pub headers: Vec<Header>,
    /// Why the last is final; not an anchor.
    pub proof: FinalityProof,
}

/// What verified evidence says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conflict {
    /// The height of the two blocks.
    pub height: Height,
    /// Their ids.
    pub blocks: [Hash; 2],
    /// Their common parent, where the bytes reach down to it: then the two blocks are where the chain forked.
    pub common_parent: Option<Hash>,
    /// The validators that signed both certificates.
    pub signers_of_both: Vec<ValidatorKey>,
}

impl ConflictEvidence {
    /// Puts together what two proofs show, from the lowest height on at which both hold different blocks. An error where
    /// there is none.
    pub fn new(epoch: &EpochContext, one: &Finalized, other: &Finalized) -> Result<Self, Fault> {
        let (one, other) = (Branch::of(one, epoch)?, Branch::of(other, epoch)?);
        let height = one
            .headers
            .iter()
            .filter(|header| other.header(header.height).is_some_and(|twin| twin != *header))
            .map(|header| header.height)
            .min()
            .ok_or(Fault::NoConflict)?;
        let (one, other) = (one.from(height), other.from(height));
        let ordered = one.headers.first().map(Header::id) <= other.headers.first().map(Header::id);
        Ok(if ordered { Self::of(one, other) } else { Self::of(other, one) })
    }

    /// Puts two branches together, without a check.
    pub fn of(one: Branch, other: Branch) -> Self {
        Self { version: Version, one, other }
    }

    /// The two branches.
    pub fn branches(&self) -> [&Branch; 2] {
        [&self.one, &self.other]
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes evidence; nothing is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        codec::decode(bytes, MAX_EVIDENCE_BYTES)
    }

    /// Checks that `epoch` finalized both branches and that they conflict.
    pub fn verify(&self, epoch: &EpochContext) -> Result<Conflict, Fault> {
        let (Some(one), Some(other)) = (self.one.headers.first(), self.other.headers.first()) else {
            return Err(Fault::NoConflict);
        };
        let blocks = [one.id(), other.id()];
        if one.height != other.height || blocks[0] == blocks[1] {
            return Err(Fault::NoConflict);
        }
        if blocks[0] > blocks[1] {
            return Err(Fault::NonCanonical);
        }
        let signers = self.one.verify(epoch)?;
        let also = self.other.verify(epoch)?;
        Ok(Conflict {
            height: one.height,
            blocks,
            common_parent: (one.parent == other.parent).then_some(one.parent),
            signers_of_both: signers.into_iter().filter(|key| also.binary_search(key).is_ok()).collect(),
        })
    }
}

impl Branch {
    /// The headers of `epoch` that `finalized` proves, without a check.
    fn of(finalized: &Finalized, epoch: &EpochContext) -> Result<Self, Fault> {
        let with_parent =
            |segment: &Segment| core::iter::once(segment.parent()).chain(segment.headers()).cloned().collect();
        let (mut headers, proof): (Vec<Header>, FinalityProof) = match finalized {
            Finalized::Segment(bytes, _) => {
                let segment = Segment::decode(bytes)?;
                (with_parent(&segment), segment.proof().clone())
            }
            Finalized::Anchored { segment, tip, .. } => {
                let segment = Segment::decode(segment)?;
                let FinalizedHeader { header, proof, .. } = FinalizedHeader::decode(tip)?;
                if segment.headers().last() != Some(&header) {
                    return Err(Fault::WrongAnchor);
                }
                (with_parent(&segment), proof)
            }
            Finalized::Tip(bytes) => {
                let FinalizedHeader { header, proof, .. } = FinalizedHeader::decode(bytes)?;
                (Vec::from([header]), proof)
            }
            Finalized::Handover(bytes) => {
                let Handover { header, proof, .. } = Handover::decode(bytes)?;
                (Vec::from([header]), proof)
            }
        };
        // The genesis block, or the last one of the epoch before, isn't proven by this epoch.
        headers.retain(|header: &Header| header.epoch == epoch.epoch() && header.height != Height::ZERO);
        Ok(Self { headers, proof })
    }

    fn header(&self, height: Height) -> Option<&Header> {
        let first = self.headers.first()?.height;
        self.headers.get(usize::try_from(height.get().checked_sub(first.get())?).ok()?)
    }

    fn from(mut self, height: Height) -> Self {
        self.headers.retain(|header| header.height >= height);
        self
    }

    /// Checks the branch and returns the keys that signed its certificate, in ascending order.
    fn verify(&self, epoch: &EpochContext) -> Result<Vec<ValidatorKey>, Fault> {
        let (first, above) = self.headers.split_first().ok_or(Fault::NotFinal)?;
        epoch.check_header(first, Place::Chain).map_err(|rule| rule.fault(first.height))?;
        let mut last = first;
        for header in above {
            epoch.check_child(last, last.id(), header, Place::Chain).map_err(|rule| rule.fault(header.height))?;
            last = header;
        }
        self.proof.verify(last, epoch)?;
        let signers = self.proof.certificate().map(|qc: &QuorumCertificate| qc.signers(epoch.validators()));
        let signers = signers.ok_or(Fault::NotFinal)?.map_err(|_| Fault::BadCertificate)?;
        Ok(signers.into_iter().map(|signer| signer.key).collect())
    }
}
