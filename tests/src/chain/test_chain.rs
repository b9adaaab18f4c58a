//! [`TestChain`]: a small chain in memory, with all of its headers and keys, that answers requests and can be bent.

use std::convert::Infallible;

use bytes::Bytes;
use hotstuff2_sync::calls::{ApplyPart, BlockPoint, Start};
use hotstuff2_sync::chain::native::{
    self, EpochContext, EpochInfo, FinalityProof, FinalizedHeader, Genesis, Header, NativeChain, Phase,
    QuorumCertificate, Segment, build,
};
use hotstuff2_sync::chain::{EpochRef, SegmentEnd};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::state::MemoryStateStore;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::verify::HandoverLink;
use hotstuff2_sync::wire::{BodyFrame, Request};

use super::agreed::Certificates;
use super::chain_view::ChainView;
use super::generator::{ChainGenerator, GenerateError, HeaderHook, Piece};
use super::ledger_payload::LedgerPayloads;
use super::payload::{Payloads, RandomPayloads};
use super::roster::{Roster, SigningEpoch};
use super::spec::{ChainSpec, SpecError};
use super::states::States;
use crate::ledger::LedgerError;

/// Payload bytes of a test chain's blocks.
const PAYLOAD_BYTES: u32 = 100;

/// A whole chain in memory. Unlike a store it can prove every height, because it holds the keys.
#[derive(Clone, Debug)]
pub struct TestChain {
    pub(super) spec: ChainSpec,
    pub(super) genesis: Genesis,
    pub(super) epochs: Vec<SigningEpoch>,
    /// From genesis to the tip.
    pub(super) headers: Vec<Header>,
    /// Headers above the last block of each epoch, or above the tip: they only prove.
    pub(super) closing: Vec<Vec<Header>>,
    pub(super) parts: Vec<ApplyPart>,
    pub(super) handovers: Vec<HandoverLink>,
    pub(super) contents: Contents,
    pub(super) states: States,
    /// The certificates of a chain that was agreed on; others are signed when they are asked for.
    pub(super) certificates: Option<Certificates>,
}

/// What is in the blocks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Contents {
    /// Whatever was agreed on.
    Agreed,
    Random {
        bytes: u32,
    },
    Ledger {
        accounts: u32,
        bytes: u32,
    },
}

/// Why a test chain can't be made.
#[derive(Debug, thiserror::Error)]
pub enum TestChainError {
    /// There is no such chain.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A piece of it can't be made.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// Its payloads can't be executed, which would be a defect: the ledger's store is in memory.
    #[error(transparent)]
    Ledger(#[from] LedgerError<Infallible>),
    /// The ledger's states are not those that the headers name.
    #[error("the state after block {0} is not the one in its header")]
    State(Height),
    /// Agreement didn't come as far as the chain should.
    #[error("the chain was not agreed on to its end")]
    Unfinished,
    /// Another history of a chain that came out of agreement would have to be agreed on.
    #[error("the chain was agreed on and can't be generated again")]
    NotGenerated,
}

impl TestChain {
    /// A chain after `spec`, with small random payloads.
    ///
    /// # Errors
    /// Where there is no such chain.
    pub fn new(spec: ChainSpec) -> Result<Self, TestChainError> {
        Self::with_payloads(spec, PAYLOAD_BYTES, None)
    }

    /// A chain whose headers `hook` changes before they are hashed and signed: it may break any rule, and everything
    /// above is consistent with that.
    ///
    /// # Errors
    /// Where there is no such chain, or the changed headers don't fit into a segment.
    pub fn with_hook(spec: ChainSpec, hook: impl FnMut(&mut Header) + Send + 'static) -> Result<Self, TestChainError> {
        Self::with_payloads(spec, PAYLOAD_BYTES, Some(Box::new(hook)))
    }

    /// Another history from `height` on, valid and signed by the same validators, with the same payloads.
    ///
    /// # Errors
    /// As for the chain itself.
    pub fn fork(&self, height: Height) -> Result<Self, TestChainError> {
        let hook: HeaderHook = Box::new(move |header| {
            if header.height >= height {
                header.timestamp = UnixMillis::new(header.timestamp.get() + 1);
            }
        });
        Self::make(self.spec.clone(), self.contents, Some(hook))
    }

    /// A chain with payloads of `payload_bytes` and, if given, a hook.
    ///
    /// # Errors
    /// Where there is no such chain.
    pub fn with_payloads(
        spec: ChainSpec,
        payload_bytes: u32,
        hook: Option<HeaderHook>,
    ) -> Result<Self, TestChainError> {
        Self::make(spec, Contents::Random { bytes: payload_bytes }, hook)
    }

    /// A chain that the demo ledger executes, with `accounts` accounts and payloads of `payload_bytes`, or of what the
    /// transfers take if that is more. It serves the state at every multiple of the spec's snapshot interval.
    ///
    /// # Errors
    /// Where there is no such chain.
    pub fn with_ledger(spec: ChainSpec, accounts: u32, payload_bytes: u32) -> Result<Self, TestChainError> {
        Self::make(spec, Contents::Ledger { accounts, bytes: payload_bytes }, None)
    }

    fn make(spec: ChainSpec, contents: Contents, hook: Option<HeaderHook>) -> Result<Self, TestChainError> {
        let payloads: Box<dyn Payloads + Send> = match contents {
            Contents::Agreed => return Err(TestChainError::NotGenerated),
            Contents::Random { bytes } => Box::new(RandomPayloads::new(spec.seed, bytes)),
            Contents::Ledger { accounts, bytes } => {
                Box::new(LedgerPayloads::new(spec.seed, accounts, bytes).map_err(GenerateError::Payload)?)
            }
        };
        let mut generator = ChainGenerator::new(spec.clone(), payloads)?;
        if let Some(hook) = hook {
            generator = generator.with_hook(hook);
        }
        let genesis = generator.genesis().clone();
        let mut chain = Self {
            epochs: vec![generator.epoch().clone()],
            headers: vec![genesis.header().clone()],
            genesis,
            closing: Vec::new(),
            parts: Vec::new(),
            handovers: Vec::new(),
            contents,
            states: States::default(),
            certificates: None,
            spec,
        };
        while let Some(piece) = generator.next_piece()? {
            match piece {
                Piece::Blocks(blocks) => {
                    let last = blocks.part.segment.range().last();
                    chain.headers.extend(blocks.headers);
                    chain.parts.push(blocks.part);
                    let epoch_ends = chain.epochs.last().is_some_and(|epoch| epoch.info().range().last() == last);
                    if epoch_ends || last == chain.tip_height() {
                        chain.closing.push(blocks.proof.descendants().to_vec());
                    }
                }
                Piece::Handover(link) => {
                    chain.handovers.push(link);
                    chain.epochs.push(generator.epoch().clone());
                }
                Piece::Tip(_) => {}
            }
        }
        if let Contents::Ledger { accounts, .. } = contents {
            let payloads = (1..=chain.spec.blocks).map_while(|height| chain.payload(Height::new(height)));
            chain.states = States::execute(accounts, chain.spec.snapshot_interval, payloads)?;
            let named = |height| chain.header(height).map(|header| header.state_root);
            if let Some((height, _)) = chain.states.roots().find(|&(height, root)| named(height) != Some(root)) {
                return Err(TestChainError::State(height));
            }
        }
        Ok(chain)
    }

    /// The genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The chain to verify with.
    pub fn chain(&self) -> NativeChain {
        NativeChain::new(&self.genesis)
    }

    /// Where a new node stands.
    pub fn start(&self) -> Start {
        Start {
            stages_state: false,
            chain_id: self.genesis.chain_id(),
            profile: native::PROFILE,
            stored: BlockPoint { height: Height::ZERO, id: self.genesis.id() },
            stored_time: UnixMillis::default(),
            stored_proof: None,
            applied: Height::ZERO,
            epoch: self.genesis.epoch().to_ref(),
            handovers: Vec::new(),
            history_gap: None,
            lacks_state: false,
            trust: None,
        }
    }

    /// The last block's height.
    pub fn tip_height(&self) -> Height {
        self.spec.tip()
    }

    /// The epochs with their keys, up to the one that the blocks above the tip would belong to.
    pub fn epochs(&self) -> &[SigningEpoch] {
        &self.epochs
    }

    /// The epoch that `height` belongs to.
    pub fn epoch_of(&self, height: Height) -> Option<&SigningEpoch> {
        self.epochs.iter().find(|epoch| epoch.info().range().contains(height))
    }

    /// An epoch as the machine holds it.
    pub fn epoch_ref(&self, epoch: Epoch) -> Option<EpochRef> {
        self.epochs.iter().map(SigningEpoch::info).find(|info| info.epoch() == epoch).map(EpochInfo::to_ref)
    }

    /// An epoch as headers are checked against.
    pub fn context(&self, epoch: Epoch) -> Option<EpochContext> {
        let info = self.epochs.iter().map(SigningEpoch::info).find(|info| info.epoch() == epoch)?;
        Some(EpochContext::new(&self.genesis, info.clone()))
    }

    /// All headers, from genesis to the tip.
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// The header at `height`.
    pub fn header(&self, height: Height) -> Option<&Header> {
        self.headers.get(usize::try_from(height.get()).ok()?)
    }

    /// The id of the block at `height`.
    pub fn id(&self, height: Height) -> Option<Hash> {
        self.header(height).map(Header::id)
    }

    /// The blocks as a store gets them: one part for each grid cell.
    pub fn parts(&self) -> &[ApplyPart] {
        &self.parts
    }

    /// The handovers.
    pub fn handovers(&self) -> &[HandoverLink] {
        &self.handovers
    }

    /// The payload at `height`.
    pub fn payload(&self, height: Height) -> Option<Bytes> {
        let (part, frame) = self.frame(height)?;
        let before = HeightRange::new(frame.range.first(), height)?;
        let lens = part.segment.payload_lens_of(before)?;
        let (len, skipped) = lens.split_last()?;
        let start: usize = skipped.iter().map(|&len| len as usize).sum();
        Some(frame.raw.slice(start..start + *len as usize))
    }

    /// A proof for the block at `height`: the first two blocks in consecutive views at or above it, the upper one
    /// certified; or a certificate of phase two where one was made.
    pub fn proof(&self, height: Height) -> Option<FinalityProof> {
        let epoch = self.epoch_of(height)?;
        let index = usize::try_from(height.get()).ok()?;
        let end = usize::try_from(epoch.info().range().last().min(self.tip_height()).get()).ok()?;
        let closing = self.closing.get(usize::try_from(epoch.info().epoch().get()).ok()?)?;
        let block = self.headers.get(index)?;
        if let Some(qc) = self.double_certificate(block) {
            return Some(FinalityProof::DoubleCertificate { descendants: Vec::new(), qc });
        }
        let mut before = block.view;
        let mut descendants = Vec::new();
        for header in self.headers.get(index + 1..=end)?.iter().chain(closing) {
            descendants.push(header.clone());
            if header.view.is_next_of(before) {
                return Some(FinalityProof::TwoChain { qc: self.certificate(epoch, header)?, descendants });
            }
            if let Some(qc) = self.double_certificate(header) {
                return Some(FinalityProof::DoubleCertificate { descendants, qc });
            }
            before = header.view;
        }
        None
    }

    /// The block at `height` with its proof, as a tip message.
    pub fn tip(&self, height: Height) -> Option<Bytes> {
        Some(FinalizedHeader::new(self.header(height)?.clone(), self.proof(height)?).encode().into())
    }

    /// The headers of `range`, which lies in one epoch and grid cell, with the proof for the end that is asked for.
    pub fn segment(&self, range: HeightRange, end: SegmentEnd) -> Option<Segment> {
        let proof = match end {
            SegmentEnd::Anchored(id) => FinalityProof::Anchored { id },
            SegmentEnd::Certified | SegmentEnd::CertifiedUpTo => self.proof(range.last())?,
        };
        let index = |height: Height| usize::try_from(height.get()).ok();
        let headers = self.headers.get(index(range.first())?..=index(range.last())?)?.to_vec();
        Segment::new(self.header(range.first().prev()?)?.clone(), headers, proof).ok()
    }

    /// A certificate for every block of `range`.
    pub fn audit(&self, range: HeightRange) -> Option<Bytes> {
        let epoch = self.epoch_of(range.first())?;
        let index = |height: Height| usize::try_from(height.get()).ok();
        let headers = self.headers.get(index(range.first())?..=index(range.last())?)?;
        let certificates = headers.iter().map(|header| self.certificate(epoch, header)).collect::<Option<_>>()?;
        Some(build::audit_trail(certificates).into())
    }

    /// The state after the block at `height`, a snapshot height of a chain with a ledger.
    pub fn state(&self, height: Height) -> Option<&MemoryStateStore> {
        self.states.get(height)
    }

    /// Drops the states for which `keep` says no, whoever serves them.
    pub fn retain_states(&mut self, keep: impl FnMut(Height) -> bool) {
        self.states.retain(keep);
    }

    /// What a server holds that has the blocks from `earliest` to `tip`, and all states up to there.
    pub fn view(&self, earliest: Height, tip: Height) -> ChainView<'_> {
        let tip = tip.min(self.tip_height());
        ChainView::new(self, earliest, tip)
    }

    /// The answer of a server that holds everything.
    pub fn respond(&self, request: &Request) -> Bytes {
        self.view(Height::new(1), self.tip_height()).respond(request)
    }

    fn certificate(&self, epoch: &SigningEpoch, header: &Header) -> Option<QuorumCertificate> {
        match &self.certificates {
            Some(made) => made.one.get(&header.id()).cloned(),
            None => Some(epoch.certify(Phase::One, header)),
        }
    }

    fn double_certificate(&self, header: &Header) -> Option<QuorumCertificate> {
        self.certificates.as_ref()?.two.get(&header.id()).cloned()
    }

    pub(super) fn frame(&self, height: Height) -> Option<(&ApplyPart, &BodyFrame)> {
        let part = self.parts.iter().find(|part| part.segment.range().contains(height))?;
        Some((part, part.frames.iter().find(|frame| frame.range.contains(height))?))
    }
}

/// The validators of `epoch` on a chain of `spec`, for tests that need more of them than the chain uses.
///
/// # Errors
/// Where they don't form a set.
pub fn signing_epoch(spec: &ChainSpec, epoch: Epoch) -> Result<SigningEpoch, SpecError> {
    Ok(Roster::of(spec).epoch(epoch, spec.epoch_range(epoch))?)
}
