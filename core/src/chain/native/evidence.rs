//! Portable evidence that a chain finalized two blocks at one height.
//!
//! Evidence proves to anyone who holds the epoch that at least a third of its power broke a promise. Whose, the
//! proofs alone show only where both decide in one view: a validator may sign in both branches and keep every
//! promise. Certificates of single blocks are needed beside them, which proofs don't carry: [`Conflict::wanted`] says
//! of which. Nodes that audit have them, and engines. Which branch is right the evidence does not say: that is for
//! people to decide.

use alloc::vec::Vec;
use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::certificate::QuorumCertificate;
use super::codec::{self, Version};
use super::culprits::{Signed, culprits};
use super::finality::FinalityProof;
use super::handover::Handover;
use super::header::Header;
use super::rules::{EpochContext, Place};
use super::segment::{MAX_SEGMENT_HEADERS, Segment};
use super::signature::ValidatorKey;
use super::tip::FinalizedHeader;
use super::vote::Phase;
use crate::chain::{Fault, Finalized};
use crate::hash::Hash;
use crate::ids::{Height, View};
use crate::limits::MAX_SEGMENT_BYTES;

/// Largest encoded evidence, in bytes: two branches of a segment each, with full headers, and two certificates.
pub const MAX_EVIDENCE_BYTES: usize = 3 * MAX_SEGMENT_BYTES as usize;

/// Most certificates of single blocks in evidence: one block in each branch, or one in one.
const MAX_CERTIFICATES: usize = 2;

/// A segment's headers and its parent.
const MAX_BRANCH_HEADERS: usize = MAX_SEGMENT_HEADERS + 1;

/// Two branches of one epoch that begin at one height with different blocks, both final.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConflictEvidence {
    version: Version,
    /// The branch whose first block has the smaller id, so that one conflict has one encoding.
    one: Branch,
    other: Branch,
    /// Of phase one, for blocks that the branches show, in the order of the blocks' ids.
    #[serde(deserialize_with = "codec::bounded::<_, _, MAX_CERTIFICATES>")]
    certificates: Vec<QuorumCertificate>,
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
    /// The validators that broke a promise, in ascending order: each signed two things of which an honest one signs at most
    /// one. Empty where the certificates don't show it; to have signed in both branches is no offence.
    pub culprits: Vec<ValidatorKey>,
    /// The blocks whose phase-one certificates show who broke a promise, for
    /// [`with_certificates`](ConflictEvidence::with_certificates): the first one in a branch above the view in which the other
    /// was decided, or the two of that very view. Empty where culprits are known, and where the bytes don't reach down to it.
    pub wanted: Vec<Hash>,
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
        Self { version: Version, one, other, certificates: Vec::new() }
    }

    /// Adds what [`Conflict::wanted`] asks for, as far as it is in `certificates`. Nothing is checked: see
    /// [`verify`](Self::verify).
    #[must_use]
    pub fn with_certificates(self, certificates: impl IntoIterator<Item = QuorumCertificate>) -> Self {
        let wanted = self.wanted();
        let useful =
            |certificate: &QuorumCertificate| certificate.phase == Phase::One && wanted.contains(&certificate.block);
        let mut certificates: Vec<_> = certificates.into_iter().filter(useful).collect();
        certificates.sort_by_key(|certificate| certificate.block);
        certificates.dedup_by_key(|certificate| certificate.block);
        Self { certificates, ..self }
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
        let mut signed = Vec::from([self.one.verify(epoch)?, self.other.verify(epoch)?]);
        if !self.certificates.is_sorted_by(|lower, higher| lower.block < higher.block) {
            return Err(Fault::NonCanonical);
        }
        for certificate in &self.certificates {
            let shown = self.branches().into_iter().flat_map(Branch::shown);
            let header = shown.into_iter().find(|header| header.id() == certificate.block);
            let header = header.ok_or(Fault::BadCertificate)?;
            certificate.verify(Phase::One, header, epoch).map_err(|_| Fault::BadCertificate)?;
            signed.push(Signed::new(header, certificate, epoch.validators())?);
        }
        let culprits = culprits(&signed, epoch.validators());
        let wanted = if culprits.is_empty() { self.wanted() } else { Vec::new() };
        Ok(Conflict {
            height: one.height,
            blocks,
            common_parent: (one.parent == other.parent).then_some(one.parent),
            culprits,
            wanted,
        })
    }

    /// The blocks whose certificates show who broke a promise, beside those of the proofs.
    ///
    /// The signers of what decided one branch had a lock on that view. The first block of the other branch in a
    /// higher view has a justification of at most that view. Below it, those who voted for both broke their lock; and
    /// in the same view there are two certified blocks.
    fn wanted(&self) -> Vec<Hash> {
        let orders = [(&self.one, &self.other), (&self.other, &self.one)];
        let found = orders.into_iter().find_map(|(decided, rival)| {
            let view = decided.decided_in()?;
            let above = rival.shown().find(|header| header.view > view)?;
            match above.justify_view.cmp(&view) {
                Ordering::Less => Some(Vec::from([above.id()])),
                Ordering::Equal => {
                    let twin = decided.shown().find(|header| header.view == view)?;
                    Some(Vec::from([twin.id(), above.parent]))
                }
                Ordering::Greater => None,
            }
        });
        found.unwrap_or_default()
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

    /// All headers that the branch shows, in order: also those in the proof.
    fn shown(&self) -> impl Iterator<Item = &Header> {
        self.headers.iter().chain(self.proof.descendants())
    }

    /// The view of the block that is final by its own, whose certificate all saw that signed the proof's.
    fn decided_in(&self) -> Option<View> {
        let certified = self.shown().last()?;
        Some(if self.proof.certificate()?.phase == Phase::One { certified.justify_view } else { certified.view })
    }

    /// Checks the branch and returns its certificate with the block that it is for.
    fn verify(&self, epoch: &EpochContext) -> Result<Signed, Fault> {
        let (first, above) = self.headers.split_first().ok_or(Fault::NotFinal)?;
        epoch.check_header(first, Place::Chain).map_err(|rule| rule.fault(first.height))?;
        let mut last = first;
        for header in above {
            epoch.check_child(last, last.id(), header, Place::Chain).map_err(|rule| rule.fault(header.height))?;
            last = header;
        }
        self.proof.verify(last, epoch)?;
        let certified = self.shown().last().ok_or(Fault::NotFinal)?;
        let certificate = self.proof.certificate().ok_or(Fault::NotFinal)?;
        Signed::new(certified, certificate, epoch.validators())
    }
}
