//! A whole block: header, payload, and why it is final. What a node hands to its users; between nodes the parts travel
//! in segments and frames.

use alloc::vec;

use bytes::Bytes;

use super::finality::FinalityProof;
use super::header::Header;
use super::segment::{NotASegment, Segment};
use super::tip::FinalizedHeader;
use crate::chain::{self, Fault};
use crate::hash::Hash;
use crate::ids::Height;

/// A block without its payload.
pub type BlockHeader = Header;

/// A block with its payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// The header, which the block's id is the hash of.
    pub header: BlockHeader,
    /// The payload, whose hash and length the header names.
    pub payload: Bytes,
    /// Why the block is final. One certificate proves up to 1,024 blocks, so that most have none of their own: those are
    /// [`FinalityProof::Anchored`], and proven by a block above them.
    pub proof: FinalityProof,
}

impl Block {
    /// A block that is proven by one above it, or known otherwise.
    pub fn anchored(header: BlockHeader, payload: Bytes) -> Self {
        let proof = FinalityProof::Anchored { id: header.id() };
        Self { header, payload, proof }
    }

    /// The block's height.
    pub fn height(&self) -> Height {
        self.header.height
    }

    /// The block's id.
    pub fn id(&self) -> Hash {
        self.header.id()
    }

    /// The block as bytes, with the header of the block below it, which the bytes begin with.
    ///
    /// # Errors
    /// Where `parent` isn't the block below.
    pub fn to_bytes(&self, parent: &BlockHeader) -> Result<chain::Block, NotASegment> {
        let id = self.id();
        let anchored = FinalityProof::Anchored { id };
        let segment = Segment::new(parent.clone(), vec![self.header.clone()], anchored)?;
        let tip = || FinalizedHeader::new(self.header.clone(), self.proof.clone()).encode().into();
        Ok(chain::Block {
            height: self.height(),
            id,
            parent_id: segment.parent_id(),
            header: segment.encode().into(),
            payload: self.payload.clone(),
            proof: self.proof.certificate().map(|_| tip()),
        })
    }
}

impl TryFrom<&chain::Block> for Block {
    type Error = Fault;

    /// Decodes the block. That its parts belong together is checked, that it is final is not.
    fn try_from(block: &chain::Block) -> Result<Self, Fault> {
        let segment = Segment::decode(&block.header)?;
        let (header, id) = segment.header(block.height).ok_or(Fault::WrongRange)?;
        if id != block.id {
            return Err(Fault::WrongAnchor);
        }
        if segment.parent_id() != block.parent_id {
            return Err(Fault::WrongParent);
        }
        let proof = match &block.proof {
            None => FinalityProof::Anchored { id },
            Some(tip) => {
                let tip = FinalizedHeader::decode(tip)?;
                if tip.header.id() != id {
                    return Err(Fault::WrongAnchor);
                }
                tip.proof
            }
        };
        Ok(Self { header: header.clone(), payload: block.payload.clone(), proof })
    }
}
