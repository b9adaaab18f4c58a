//! [`Block`]: a whole block of any chain. What a node hands to its users; between nodes the parts travel in segments and
//! frames.

use bytes::Bytes;

use crate::hash::Hash;
use crate::ids::Height;

/// A block of any chain, in bytes that the chain reads.
///
/// A block of the native chain becomes typed with `native::Block::try_from(&block)`. Other chains read the header with
/// [`Chain::decode_segment`](super::Chain::decode_segment).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// The block's height.
    pub height: Height,
    /// The block's id.
    pub id: Hash,
    /// Id of the block below it.
    pub parent_id: Hash,
    /// The header: a segment of this block alone that ends [`Anchored`](super::SegmentEnd::Anchored) at the block's id.
    pub header: Bytes,
    /// The payload, which the header names.
    pub payload: Bytes,
    /// A tip message for this very block, as [`Chain::verify_tip`](super::Chain::verify_tip) reads it, where one is at
    /// hand. One certificate proves many blocks, so most have none of their own and are proven by one above.
    pub proof: Option<Bytes>,
}
