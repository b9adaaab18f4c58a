//! [`Specimen`]: what an implementor brings.

use bytes::Bytes;
use hotstuff2_sync::chain::{Chain, EpochRef};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

/// A segment in which one thing is false and all else is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bend {
    /// Name of the fault.
    pub name: &'static str,
    /// The heights.
    pub range: HeightRange,
    /// The segment, with a proof of its end.
    pub segment: Bytes,
}

/// An honest chain of some 40 blocks or more, and ways to bend what it says.
///
/// The heights from [`first`](Self::first) on are all of one epoch, 40 at least, and the chain can prove the blocks that lie
/// 15 and 35 above the first; where epochs end, its last block as well.
pub trait Specimen {
    /// The chain.
    type Chain: Chain;

    /// The chain, as a node verifies it.
    fn chain(&self) -> &Self::Chain;

    /// The epoch that is played in.
    fn epoch(&self) -> EpochRef;

    /// The lowest height that is played with: the anchor lies below.
    fn first(&self) -> Height;

    /// The id of a block, or of the one below the first.
    fn id(&self, height: Height) -> Hash;

    /// The payload of a block.
    fn payload(&self, height: Height) -> Bytes;

    /// The honest segment of `range`, with a proof of its end or without one. `None` where there is no such proof.
    fn segment(&self, range: HeightRange, proven: bool) -> Option<Bytes>;

    /// The certificates of the single blocks of `range`, where they are [beside](hotstuff2_sync::chain::Audits::Apart) the
    /// segment; else `None`.
    fn audit(&self, range: HeightRange) -> Option<Bytes>;

    /// Segments that break one of the chain's own rules each: signers, signatures, certificates, views. Evidence is made with
    /// each too, so let one be a block of the [`fork`](Self::fork) that too few signed.
    fn bends(&self) -> Vec<Bend>;

    /// A proven segment of `range` of another history by the same signers, all of whose blocks are others. Asked for with the
    /// end 15 above the first, and with that 35 above.
    fn fork(&self, range: HeightRange) -> Option<Bytes>;

    /// A tip of another epoch, where epochs end.
    fn foreign_tip(&self) -> Option<Bytes>;

    /// The handovers that end this epoch and the next one, in order, where epochs end.
    fn handovers(&self) -> Vec<Bytes>;

    /// Handovers that would end this epoch and break one rule each, with the name of the fault: without a proof, signed by too
    /// few, with another set. Empty where epochs never end.
    fn false_handovers(&self) -> Vec<(&'static str, Bytes)>;
}
