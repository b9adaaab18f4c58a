//! A whole block: header, payload, and why it is final. What a node hands to its users; between nodes the parts travel
//! in segments and frames.

use bytes::Bytes;

use super::finality::FinalityProof;
use super::header::Header;
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
}
