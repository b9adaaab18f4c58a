//! When a block is final: the commit rules of HotStuff-2 (Malkhi and Nayak, eprint 2023/397).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::certificate::QuorumCertificate;
use super::codec;
use super::header::Header;
use super::rules::{EpochContext, Place};
use super::vote::Phase;
use crate::chain::Fault;
use crate::hash::Hash;
use crate::limits::MAX_PROOF_PATH;

/// Why a block is final. A phase-one certificate alone makes nothing final: the block may be on a dead fork.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FinalityProof {
    /// Two blocks in consecutive views, the second one certified: everything up to the first of the two is final.
    TwoChain {
        /// The headers above the block, each the child of the one before; at least one, at most [`MAX_PROOF_PATH`].
        #[serde(deserialize_with = "codec::bounded::<_, _, MAX_PROOF_PATH>")]
        descendants: Vec<Header>,
        /// A phase-one certificate for the last of them.
        qc: QuorumCertificate,
    },
    /// A quorum voted in both phases: everything up to the certified block is final.
    DoubleCertificate {
        /// The headers above the block, each the child of the one before; at most [`MAX_PROOF_PATH`].
        #[serde(deserialize_with = "codec::bounded::<_, _, MAX_PROOF_PATH>")]
        descendants: Vec<Header>,
        /// A phase-two certificate for the last of them, or for the block itself where there is none.
        qc: QuorumCertificate,
    },
    /// The block is an ancestor of one that was proven. Means something only to whoever asked for this block by its id.
    Anchored {
        /// The block's id.
        id: Hash,
    },
}

impl FinalityProof {
    /// Checks that this makes `block` final, by certificates of `epoch`. [`FinalityProof::Anchored`] doesn't.
    pub fn verify(&self, block: &Header, epoch: &EpochContext) -> Result<(), Fault> {
        epoch.check_header(block, Place::Chain).map_err(|rule| rule.fault(block.height))?;
        let (phase, descendants, qc) = match self {
            Self::TwoChain { descendants, qc } => (Phase::One, descendants, qc),
            Self::DoubleCertificate { descendants, qc } => (Phase::Two, descendants, qc),
            Self::Anchored { .. } => return Err(Fault::NotFinal),
        };
        if descendants.len() > MAX_PROOF_PATH {
            return Err(Fault::Oversize);
        }
        // All of the path is of the block's own epoch, so that no set ever decides over the one before it: on a dead
        // fork, the last block would name whatever next set its own headers need.
        let mut before = None;
        let mut last = block;
        for child in descendants {
            epoch.check_child(last, last.id(), child, Place::Proof).map_err(|rule| rule.fault(child.height))?;
            before = Some(last);
            last = child;
        }
        if phase == Phase::One && !before.is_some_and(|before| last.view.is_next_of(before.view)) {
            return Err(Fault::NotFinal);
        }
        qc.verify(phase, last, epoch).map_err(|_| Fault::BadCertificate)
    }

    /// The headers above the block, in order.
    pub fn descendants(&self) -> &[Header] {
        match self {
            Self::TwoChain { descendants, .. } | Self::DoubleCertificate { descendants, .. } => descendants,
            Self::Anchored { .. } => &[],
        }
    }

    /// The certificate; none where the proof is an anchor.
    pub fn certificate(&self) -> Option<&QuorumCertificate> {
        match self {
            Self::TwoChain { qc, .. } | Self::DoubleCertificate { qc, .. } => Some(qc),
            Self::Anchored { .. } => None,
        }
    }

    /// This proof for a block further down: `between` are the headers above that block up to the one which this proof
    /// is for. `None` where the path would be too long, or there is no certificate.
    pub fn extended_down(&self, between: &[Header]) -> Option<Self> {
        let mut path = Vec::new();
        if between.len().saturating_add(self.descendants().len()) > MAX_PROOF_PATH {
            return None;
        }
        path.extend_from_slice(between);
        path.extend_from_slice(self.descendants());
        match self {
            Self::TwoChain { qc, .. } => Some(Self::TwoChain { descendants: path, qc: qc.clone() }),
            Self::DoubleCertificate { qc, .. } => Some(Self::DoubleCertificate { descendants: path, qc: qc.clone() }),
            Self::Anchored { .. } => None,
        }
    }
}
