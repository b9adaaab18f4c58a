//! [`NativeSpecimen`]: the native chain in the kit.

use bytes::Bytes;
use hotstuff2_sync::chain::native::{FinalityProof, Handover, NativeChain, Segment};
use hotstuff2_sync::chain::{EpochRef, SegmentEnd};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;

use super::specimen::{Bend, Specimen};
use crate::chain::{ChainSpec, TestChain, TestChainError};
use crate::forgery::{forge_header, forge_proof, forge_signature, usurp};

/// Blocks of each of the three epochs.
const EPOCH_BLOCKS: u64 = 50;

/// Honest bytes of the native chain, and ways to bend them.
pub struct NativeSpecimen {
    source: TestChain,
    fork: TestChain,
    chain: NativeChain,
}

impl NativeSpecimen {
    /// A chain of three epochs, on which every block is certified.
    ///
    /// # Errors
    /// None: the chain can be made.
    pub fn new() -> Result<Self, TestChainError> {
        let spec = ChainSpec { blocks: 3 * EPOCH_BLOCKS, epochs: 3, certify_every: 1, ..ChainSpec::default() };
        let source = TestChain::new(spec)?;
        let (fork, chain) = (source.fork(Height::new(1))?, source.chain());
        Ok(Self { source, fork, chain })
    }

    fn honest(&self, range: HeightRange) -> Option<Segment> {
        self.source.segment(range, SegmentEnd::Certified)
    }
}

impl Specimen for NativeSpecimen {
    type Chain = NativeChain;

    fn chain(&self) -> &NativeChain {
        &self.chain
    }

    fn epoch(&self) -> EpochRef {
        let all =
            HeightRange::new(Height::new(1), Height::new(EPOCH_BLOCKS)).unwrap_or(HeightRange::single(Height::ZERO));
        self.source.epoch_ref(Epoch::ZERO).unwrap_or_else(|| EpochRef::trusted(Epoch::ZERO, all, Bytes::new()))
    }

    fn first(&self) -> Height {
        Height::new(1)
    }

    fn id(&self, height: Height) -> Hash {
        self.source.id(height).unwrap_or_default()
    }

    fn payload(&self, height: Height) -> Bytes {
        self.source.payload(height).unwrap_or_default()
    }

    fn segment(&self, range: HeightRange, proven: bool) -> Option<Bytes> {
        let end = if proven { SegmentEnd::Certified } else { SegmentEnd::Anchored(self.source.id(range.last())?) };
        Some(self.source.segment(range, end)?.encode().into())
    }

    fn audit(&self, range: HeightRange) -> Option<Bytes> {
        self.source.audit(range)
    }

    fn bends(&self) -> Vec<Bend> {
        let bend = |name, change: &dyn Fn(Segment) -> Option<Segment>| {
            let range = HeightRange::new(Height::new(5), Height::new(16))?;
            Some(Bend { name, range, segment: change(self.honest(range)?)?.encode().into() })
        };
        let stolen = |segment: Segment| {
            let proof = self.fork.segment(segment.range(), SegmentEnd::Certified)?.proof().clone();
            Segment::new(segment.parent().clone(), segment.headers().to_vec(), proof).ok()
        };
        let unsigned = |segment: Segment| forge_signature(self.fork.segment(segment.range(), SegmentEnd::Certified)?);
        [
            bend("a signature is false", &forge_signature),
            bend("another history, a signature is false", &unsigned),
            bend("another header", &forge_header),
            bend("the certificate of another block", &stolen),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn fork(&self, range: HeightRange) -> Option<Bytes> {
        Some(self.fork.segment(range, SegmentEnd::Certified)?.encode().into())
    }

    fn foreign_tip(&self) -> Option<Bytes> {
        self.source.tip(Height::new(3 * EPOCH_BLOCKS))
    }

    fn handovers(&self) -> Vec<Bytes> {
        self.source.handovers().iter().map(|link| link.bytes.clone()).collect()
    }
    fn false_handovers(&self) -> Vec<(&'static str, Bytes)> {
        let Some(honest) = self.source.handovers().first().and_then(|link| Handover::decode(&link.bytes).ok()) else {
            return Vec::new();
        };
        let id = honest.header.id();
        let bare = Handover { proof: FinalityProof::Anchored { id }, ..honest.clone() };
        let false_signature = forge_proof(honest.proof.clone()).map(|proof| Handover { proof, ..honest.clone() });
        [
            ("a handover without a proof", Some(bare)),
            ("a handover with a false signature", false_signature),
            ("a handover to another set", usurp(honest)),
        ]
        .into_iter()
        .filter_map(|(name, bent)| Some((name, bent?.encode().into())))
        .collect()
    }
}
