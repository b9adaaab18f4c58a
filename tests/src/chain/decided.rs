//! Blocks of a [`TestChain`] as a node's own engine hands them in.

use bytes::Bytes;
use hotstuff2_sync::chain::SegmentEnd;
use hotstuff2_sync::ids::{DecidedId, Height};
use hotstuff2_sync::machine::Decided;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::encode_blocks;

use super::test_chain::TestChain;

impl TestChain {
    /// The blocks of `range`, as the engine of a node that has decided them hands them in, named after the last of them.
    /// With the handover, where that ends an epoch. `None` where they are not on the chain, or not of one cell.
    pub fn decided(&self, range: HeightRange) -> Option<Decided> {
        let segment = self.segment(range, SegmentEnd::CertifiedUpTo)?;
        let heights = (range.first().get()..=range.last().get()).map(Height::new);
        let payloads: Vec<Bytes> = heights.map(|height| self.payload(height)).collect::<Option<_>>()?;
        let bytes = encode_blocks(&segment.encode(), &[], &payloads)?;
        let ends = self.handovers().iter().find(|link| link.boundary == range.last());
        Some(Decided {
            id: DecidedId::from_raw(range.last().get()),
            first: range.first(),
            bytes: bytes.into(),
            handover: ends.map(|link| link.bytes.clone()),
            executed: false,
        })
    }
}
