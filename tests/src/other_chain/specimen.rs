//! [`OtherSpecimen`]: what the conformance kit wants to see of this chain.

use bytes::Bytes;
use hotstuff2_sync::chain::EpochRef;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;

use super::chain::OtherChain;
use super::maker::{OtherMaker, Signers};
use super::rule::Rule;
use crate::conformance::{Bend, Specimen};

/// Blocks that are played with, and more: a few payloads are empty, none is large.
const BLOCKS: u8 = 60;
/// The bent blocks begin here.
const BENT: Height = Height::new(9);

/// Honest bytes of the chain, and ways to bend them.
pub struct OtherSpecimen {
    maker: OtherMaker,
    fork: OtherMaker,
    chain: OtherChain,
}

impl Default for OtherSpecimen {
    fn default() -> Self {
        let maker = OtherMaker::new(1, (0..BLOCKS).map(|number| vec![number; usize::from(number % 7)]));
        let fork = maker.bent(Height::new(1), |view| view + 1, &Signers::default());
        let chain = maker.chain();
        Self { maker, fork, chain }
    }
}

impl OtherSpecimen {
    /// The same of a chain that doesn't look at one of its rules.
    #[must_use]
    pub fn without(self, rule: Rule) -> Self {
        Self { chain: self.maker.chain().without(rule), ..self }
    }
}

impl Specimen for OtherSpecimen {
    type Chain = OtherChain;

    fn chain(&self) -> &OtherChain {
        &self.chain
    }

    fn epoch(&self) -> EpochRef {
        self.maker.anchor().1
    }

    fn first(&self) -> Height {
        Height::new(1)
    }

    fn id(&self, height: Height) -> Hash {
        self.maker.id(height)
    }

    fn payload(&self, height: Height) -> Bytes {
        self.maker.payload(height).cloned().unwrap_or_default()
    }

    fn segment(&self, range: HeightRange, proven: bool) -> Option<Bytes> {
        self.maker.segment(range, proven)
    }

    fn audit(&self, _: HeightRange) -> Option<Bytes> {
        None
    }

    fn bends(&self) -> Vec<Bend> {
        let range = |first, last| HeightRange::new(Height::new(first), Height::new(last));
        let signed = |name, signers: Signers| {
            let range = range(5, 16)?;
            Some(Bend { name, range, segment: self.maker.bent(BENT, |view| view, &signers).segment(range, true)? })
        };
        let views_fall = || {
            let range = range(5, 16)?;
            let bent = self.maker.bent(BENT, |view| view.saturating_sub(5), &Signers::default());
            Some(Bend { name: "views fall", range, segment: bent.segment(range, true)? })
        };
        // The view above that of block 15 is silent.
        let not_decided = || {
            let range = range(5, 15)?;
            Some(Bend { name: "not decided", range, segment: self.maker.hastily_proven(range)? })
        };
        let unsigned_fork = || {
            let (range, signers) = (range(5, 16)?, Signers { places: vec![0, 1], ..Signers::default() });
            let bent = self.maker.bent(BENT, |view| view + 1, &signers);
            Some(Bend { name: "another history by too few signers", range, segment: bent.segment(range, true)? })
        };
        let honest = Signers::default;
        [
            signed("too few signers", Signers { places: vec![0, 1], ..honest() }),
            signed("a signer twice", Signers { places: vec![0, 1, 1], ..honest() }),
            unsigned_fork(),
            signed("strangers", Signers { own_keys: false, ..honest() }),
            signed("the certificate of another block", Signers { own_block: false, ..honest() }),
            views_fall(),
            not_decided(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn fork(&self, range: HeightRange) -> Option<Bytes> {
        self.fork.segment(range, true)
    }

    fn foreign_tip(&self) -> Option<Bytes> {
        None
    }

    fn handovers(&self) -> Vec<Bytes> {
        Vec::new()
    }

    fn false_handovers(&self) -> Vec<(&'static str, Bytes)> {
        Vec::new()
    }
}
