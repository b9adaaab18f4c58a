//! [`AgreedChain`]: a chain that came out of agreement, as a [`TestChain`].

use std::collections::BTreeMap;

use bytes::Bytes;
use hotstuff2_sync::calls::ApplyPart;
use hotstuff2_sync::chain::native::{Genesis, Handover, Header, QuorumCertificate, Segment};
use hotstuff2_sync::chain::{Memo, SegmentRef};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::limits::GRID;
use hotstuff2_sync::ranges::grid_cell;
use hotstuff2_sync::verify::HandoverLink;

use super::generator::{Block, frames};
use super::roster::SigningEpoch;
use super::spec::ChainSpec;
use super::states::States;
use super::test_chain::{Contents, TestChain, TestChainError};

/// What agreement left behind.
#[derive(Clone, Debug)]
pub struct AgreedChain {
    /// The chain's shape.
    pub spec: ChainSpec,
    /// The genesis.
    pub genesis: Genesis,
    /// The epochs, up to the one that the block above the tip belongs to.
    pub epochs: Vec<SigningEpoch>,
    /// Headers and payloads, from height 1 to the tip.
    pub blocks: Vec<(Header, Bytes)>,
    /// How the epochs ended that end at or below the tip.
    pub endings: Vec<Handover>,
    /// The headers above the tip that prove it.
    pub above: Vec<Header>,
    /// Phase-one certificates of all these.
    pub certificates: Vec<QuorumCertificate>,
    /// Phase-two certificates of all these.
    pub double_certificates: Vec<QuorumCertificate>,
}

/// The certificates that were really made, by the ids of their blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Certificates {
    pub(super) one: BTreeMap<Hash, QuorumCertificate>,
    pub(super) two: BTreeMap<Hash, QuorumCertificate>,
}

impl TestChain {
    /// A chain that came out of agreement. It can prove what was proven then, and signs nothing itself.
    ///
    /// # Errors
    /// Where the chain isn't whole.
    pub fn agreed(agreed: AgreedChain) -> Result<Self, TestChainError> {
        let by_block =
            |certificates: Vec<QuorumCertificate>| certificates.into_iter().map(|qc| (qc.block, qc)).collect();
        let certificates =
            Certificates { one: by_block(agreed.certificates), two: by_block(agreed.double_certificates) };
        let mut closing: Vec<Vec<Header>> =
            agreed.endings.iter().map(|ending| ending.proof.descendants().to_vec()).collect();
        closing.push(agreed.above);
        let handovers = agreed.endings.iter().zip(agreed.epochs.iter().skip(1)).map(|(ending, next)| HandoverLink {
            ended: ending.header.epoch,
            boundary: ending.header.height,
            boundary_id: ending.header.id(),
            boundary_time: ending.header.timestamp,
            epoch: next.info().to_ref(),
            bytes: ending.encode().into(),
        });
        let mut chain = Self {
            handovers: handovers.collect(),
            headers: std::iter::once(agreed.genesis.header().clone())
                .chain(agreed.blocks.iter().map(|(header, _)| header.clone()))
                .collect(),
            genesis: agreed.genesis,
            epochs: agreed.epochs,
            closing,
            parts: Vec::new(),
            contents: Contents::Agreed,
            states: States::default(),
            certificates: Some(certificates),
            spec: agreed.spec,
        };
        let mut rest = agreed.blocks.as_slice();
        while let Some((header, _)) = rest.first() {
            let first = header.height;
            let part = chain.part(first, &mut rest).ok_or(TestChainError::Unfinished)?;
            chain.parts.push(part);
        }
        let tip = Height::new(agreed.blocks.len() as u64);
        if tip == chain.tip_height() && chain.proof(tip).is_some() {
            Ok(chain)
        } else {
            Err(TestChainError::Unfinished)
        }
    }

    /// The cell that begins at `first`, as far as the chain goes; takes its blocks off `rest`.
    fn part(&self, first: Height, rest: &mut &[(Header, Bytes)]) -> Option<ApplyPart> {
        let epoch = self.epoch_of(first)?.info();
        let last = grid_cell(first, epoch.range(), GRID)?.last().min(self.tip_height());
        let count = usize::try_from(last.above(first)).ok()?.checked_add(1)?;
        let (own, after) = rest.split_at_checked(count)?;
        *rest = after;
        let headers: Vec<Header> = own.iter().map(|(header, _)| header.clone()).collect();
        let segment = Segment::new(self.header(first.prev()?)?.clone(), headers, self.proof(last)?).ok()?;
        let facts = segment.facts(1).ok()?;
        let blocks: Vec<Block> = own
            .iter()
            .zip(segment.ids())
            .map(|((header, payload), id)| Block { header: header.clone(), id: *id, payload: payload.to_vec() })
            .collect();
        let frames = frames(&blocks, &facts.payload_lens)?;
        let bytes: Bytes = segment.encode().into();
        let segment = SegmentRef::trusted(epoch.epoch(), facts, bytes, Bytes::new(), Memo::with(segment));
        Some(ApplyPart { segment, frames, executed: false })
    }
}
