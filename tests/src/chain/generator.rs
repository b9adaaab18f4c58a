//! [`ChainGenerator`]: a chain, piece by piece, in constant memory.
//!
//! What comes out is what a node that verified the whole chain would have stored: headers in segments with the proofs
//! that serving needs, payloads in frames, handovers, and the tip. Votes are real signatures.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use hotstuff2_sync::calls::ApplyPart;
use hotstuff2_sync::chain::native::{
    FinalityProof, FinalizedHeader, Genesis, GenesisDocument, Handover, Header, Phase, Segment, ValidatorSetError,
    Version, build,
};
use hotstuff2_sync::chain::{Memo, SegmentRef};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height, View};
use hotstuff2_sync::limits::GRID;
use hotstuff2_sync::ranges::{HeightRange, grid_cell};
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::verify::HandoverLink;
use hotstuff2_sync::wire::{BodyFrame, encode_frame, frame_lens};

use super::payload::Payloads;
use super::roster::{Roster, SigningEpoch};
use super::spec::{ChainSpec, SpecError};

/// Time between two blocks in milliseconds, if no view fails.
pub const BLOCK_MS: u64 = 500;

/// One block in so many comes after failed views.
const BLOCKS_PER_GAP: u64 = 20;

/// Most views that fail in a row.
const LONGEST_GAP: u64 = 3;

/// Views that a chain that goes on leaves out: more than the headers took that proved its last block before, which nobody
/// who voted for them votes against.
const RESUMED_AFTER: u64 = 1000;

/// Payload bytes after which a segment ends before its grid cell does: what bounds memory when payloads are large.
const PART_BYTES: usize = 32 << 20;

/// A piece of a chain, in the order in which a store takes them.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Blocks that continue where the ones before ended.
    Blocks(Blocks),
    /// What ends the epoch of the blocks before. Comes before any block of the next.
    Handover(HandoverLink),
    /// The proof that the last block is final. Comes last.
    Tip(Bytes),
}

/// Blocks with a proof for the last of them.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// The blocks as the machine would hand them to a store.
    pub part: ApplyPart,
    /// Their headers.
    pub headers: Vec<Header>,
    /// Why the last one is final.
    pub proof: FinalityProof,
}

/// Why generating stopped.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The payloads can't be read.
    #[error("a payload can't be read: {0}")]
    Payload(#[from] io::Error),
    /// A later epoch's validators don't form a set.
    #[error("a validator set is not valid: {0}")]
    Set(#[from] ValidatorSetError),
    /// Something passes the protocol's limits.
    #[error("the blocks up to {0} can't be encoded within the protocol's limits; make payloads smaller")]
    Encode(Height),
    /// The block to go on from was not made by the same spec and payloads.
    #[error("block {0} is of another chain than the one that is to go on")]
    OtherChain(Height),
}

/// Changes a header before it is hashed and signed, for chains that break a rule.
pub type HeaderHook = Box<dyn FnMut(&mut Header) + Send>;

/// Makes a chain.
pub struct ChainGenerator {
    spec: ChainSpec,
    payloads: Box<dyn Payloads + Send>,
    hook: Option<HeaderHook>,
    roster: Roster,
    genesis: Genesis,
    epoch: SigningEpoch,
    next_epoch: SigningEpoch,
    /// The last header that was handed out.
    parent: (Header, Hash),
    /// Blocks that are made and not handed out, from the parent's child on.
    upcoming: VecDeque<Block>,
    /// Empty headers above the last block of the epoch, or of the chain, which only prove.
    above: Vec<(Header, Hash)>,
    /// The last view that closing headers of earlier epochs took.
    view_floor: View,
    /// The last height, and its time.
    tip: (Height, UnixMillis),
    ready: VecDeque<Piece>,
    done: bool,
}

pub(super) struct Block {
    pub(super) header: Header,
    pub(super) id: Hash,
    pub(super) payload: Vec<u8>,
}

impl ChainGenerator {
    /// A generator for `spec`, with payloads from `payloads`.
    ///
    /// # Errors
    /// Where no such chain exists.
    pub fn new(spec: ChainSpec, payloads: Box<dyn Payloads + Send>) -> Result<Self, SpecError> {
        spec.check()?;
        let roster = Roster::of(&spec);
        let epoch = roster.epoch(Epoch::ZERO, spec.epoch_range(Epoch::ZERO))?;
        let next_epoch = roster.epoch(Epoch::new(1), spec.epoch_range(Epoch::new(1)))?;
        let genesis = GenesisDocument {
            version: Version,
            name: spec.name.clone(),
            timestamp: timestamp((spec.tip(), spec.last_timestamp), Height::ZERO),
            validators: epoch.info().validators().validators().to_vec(),
            last_height: epoch.info().range().last(),
            state_root: payloads.genesis_root(),
            trusting_period_ms: None,
            snapshot_interval: spec.snapshot_interval,
        }
        .check()?;
        let parent = (genesis.header().clone(), genesis.id());
        let tip = (spec.tip(), spec.last_timestamp);
        Ok(Self {
            tip,
            spec,
            payloads,
            hook: None,
            roster,
            genesis,
            epoch,
            next_epoch,
            parent,
            upcoming: VecDeque::new(),
            above: Vec::new(),
            view_floor: View::ZERO,
            ready: VecDeque::new(),
            done: false,
        })
    }

    /// Has `hook` change each header before it is hashed and signed.
    #[must_use]
    pub fn with_hook(mut self, hook: HeaderHook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Goes on above `last`, a block of the chain of `genesis`, which this spec once made at another time. It may lie above the
    /// spec's tip. The new tip is at the height `tip` and the time `tip_time`. The payloads up to `last` are made again and
    /// passed over. To be called before the first piece.
    ///
    /// # Errors
    /// Where `last` is not of this chain, or its payloads can't be read.
    pub fn resume(
        &mut self,
        genesis: Genesis,
        last: Header,
        tip: Height,
        tip_time: UnixMillis,
    ) -> Result<(), GenerateError> {
        self.genesis = genesis;
        let (mut payload, mut root) = (Vec::new(), self.genesis.header().state_root);
        for _ in 0..last.height.get() {
            payload.clear();
            root = self.payloads.next(&mut payload)?;
        }
        let epoch = self.roster.epoch(last.epoch, self.spec.range_beyond(last.epoch))?;
        let same = (last.chain_id, last.epoch_hash, last.state_root) == (self.genesis.chain_id(), epoch.hash(), root);
        if !same || !epoch.info().range().contains(last.height) {
            return Err(GenerateError::OtherChain(last.height));
        }
        let ended = epoch.info().range().last() == last.height;
        let (this, next) =
            if ended { (last.epoch.next(), last.epoch.next().next()) } else { (last.epoch, last.epoch.next()) };
        self.epoch = self.roster.epoch(this, self.spec.range_beyond(this))?;
        self.next_epoch = self.roster.epoch(next, self.spec.range_beyond(next))?;
        self.view_floor = last.view.plus(RESUMED_AFTER);
        let id = last.id();
        (self.parent, self.tip) = ((last, id), (tip, tip_time));
        Ok(())
    }

    /// The chain's genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The epoch of the blocks that come next.
    pub fn epoch(&self) -> &SigningEpoch {
        &self.epoch
    }

    /// The next piece; `None` behind the tip.
    ///
    /// # Errors
    /// Where payloads can't be read or encoded.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, GenerateError> {
        if self.ready.is_empty() && !self.done {
            self.make()?;
        }
        Ok(self.ready.pop_front())
    }

    /// Makes the next blocks, and what belongs behind them.
    fn make(&mut self) -> Result<(), GenerateError> {
        let count = self.fill()?;
        let proof = self.prove(count)?;
        let blocks: Vec<Block> = self.upcoming.drain(..count).collect();
        let last = &blocks[count - 1];
        let (last, at) = ((last.header.clone(), last.id), last.header.height);
        let headers: Vec<Header> = blocks.iter().map(|block| block.header.clone()).collect();
        let part = self.part(&blocks, headers.clone(), proof.clone()).ok_or(GenerateError::Encode(at))?;
        self.ready.push_back(Piece::Blocks(Blocks { part, headers, proof: proof.clone() }));
        self.parent = last;
        if at == self.epoch.info().range().last() {
            self.cross(proof.clone())?;
        }
        if at == self.tip.0 {
            let tip = FinalizedHeader::new(self.parent.0.clone(), proof);
            self.ready.push_back(Piece::Tip(tip.encode().into()));
            self.done = true;
        }
        Ok(())
    }

    /// Makes the blocks of the next segment, at least one; says how many belong to it.
    fn fill(&mut self) -> Result<usize, GenerateError> {
        let first = self.parent.0.height.next();
        let cell = grid_cell(first, self.epoch.info().range(), GRID).unwrap_or(HeightRange::single(first));
        let mut last = cell.last().min(self.tip.0);
        // With 1, the audit trails say it all.
        if self.spec.certify_every > 1 {
            let every = self.spec.certify_every;
            last = last.min(Height::new(first.get().div_ceil(every).saturating_mul(every)));
        }
        let most = usize::try_from(HeightRange::new(first, last).map_or(1, HeightRange::count)).unwrap_or(1);
        let mut bytes = 0;
        let mut count = 0;
        while count < most && bytes < PART_BYTES {
            bytes += self.upcoming(count)?.payload.len();
            count += 1;
        }
        Ok(count)
    }

    /// The block that is `index` above the parent's child, made if it isn't there. It must be in the parent's child's
    /// epoch, and not above the tip.
    fn upcoming(&mut self, index: usize) -> Result<&Block, GenerateError> {
        while self.upcoming.len() <= index {
            let mut payload = Vec::new();
            let state_root = self.payloads.next(&mut payload)?;
            let parent = self.upcoming.back().map_or_else(|| self.parent.clone(), |b| (b.header.clone(), b.id));
            let (header, id) = self.child(&parent, &payload, state_root);
            self.upcoming.push_back(Block { header, id, payload });
        }
        Ok(&self.upcoming[index])
    }

    /// The header that is `index` above the parent's child: a block's, or an empty one behind the end of epoch or chain.
    fn descendant(&mut self, index: usize) -> Result<&Header, GenerateError> {
        let end = self.epoch.info().range().last().min(self.tip.0);
        let blocks = usize::try_from(end.above(self.parent.0.height)).unwrap_or(usize::MAX);
        if index < blocks {
            return Ok(&self.upcoming(index)?.header);
        }
        let last_block = match blocks.checked_sub(1) {
            Some(last) => self.upcoming(last).map(|block| (block.header.clone(), block.id))?,
            None => self.parent.clone(),
        };
        while self.above.len() <= index - blocks {
            let parent = self.above.last().unwrap_or(&last_block).clone();
            let child = self.child(&parent, &[], parent.0.state_root);
            self.above.push(child);
        }
        Ok(&self.above[index - blocks].0)
    }

    /// The child of `parent`, in the first view that doesn't fail.
    fn child(&mut self, parent: &(Header, Hash), payload: &[u8], state_root: Hash) -> (Header, Hash) {
        let (parent, parent_id) = (&parent.0, parent.1);
        let height = parent.height.next();
        let view = parent.view.max(self.view_floor).plus(1 + failed_views(self.spec.seed, height));
        let proposer = view.get() % self.epoch.keys().len().max(1) as u64;
        let proposal = build::Proposal {
            view,
            proposer: u16::try_from(proposer).unwrap_or(0),
            timestamp: timestamp(self.tip, height).max(parent.timestamp),
            payload,
            state_root,
            next_epoch_hash: (height == self.epoch.info().range().last()).then(|| self.next_epoch.hash()),
        };
        let mut header = build::child_of(parent, parent_id, self.epoch.info(), self.epoch.hash(), &proposal);
        if let Some(hook) = &mut self.hook {
            hook(&mut header);
        }
        let id = header.id();
        (header, id)
    }

    /// Proves the last of the first `count` upcoming blocks, by the first two headers above it in consecutive views.
    fn prove(&mut self, count: usize) -> Result<FinalityProof, GenerateError> {
        let mut before = self.upcoming(count - 1)?.header.view;
        let mut descendants = Vec::new();
        loop {
            let next = self.descendant(count + descendants.len())?.clone();
            let decides = next.view.is_next_of(before);
            before = next.view;
            descendants.push(next);
            if let (true, Some(last)) = (decides, descendants.last()) {
                let qc = self.epoch.certify(Phase::One, last);
                return Ok(FinalityProof::TwoChain { descendants, qc });
            }
        }
    }

    /// Ends the epoch at the parent.
    fn cross(&mut self, proof: FinalityProof) -> Result<(), GenerateError> {
        let info = self.next_epoch.info();
        self.ready.push_back(Piece::Handover(HandoverLink {
            ended: self.epoch.info().epoch(),
            boundary: self.parent.0.height,
            boundary_id: self.parent.1,
            boundary_time: self.parent.0.timestamp,
            epoch: info.to_ref(),
            bytes: Handover::new(self.parent.0.clone(), proof, info).encode().into(),
        }));
        let after = info.epoch().next();
        let next_epoch = self.roster.epoch(after, self.spec.range_beyond(after))?;
        self.epoch = std::mem::replace(&mut self.next_epoch, next_epoch);
        if let Some((closing, _)) = self.above.last() {
            self.view_floor = closing.view;
        }
        self.above.clear();
        Ok(())
    }

    fn part(&self, blocks: &[Block], headers: Vec<Header>, proof: FinalityProof) -> Option<ApplyPart> {
        let audit: Bytes = if self.spec.certify_every == 1 {
            build::audit_trail(headers.iter().map(|header| self.epoch.certify(Phase::One, header)).collect()).into()
        } else {
            Bytes::new()
        };
        let segment = Segment::new(self.parent.0.clone(), headers, proof).ok()?;
        let facts = segment.facts(1).ok()?;
        let bytes: Bytes = segment.encode().into();
        let frames = frames(blocks, &facts.payload_lens)?;
        let epoch = self.epoch.info().epoch();
        let segment = SegmentRef::trusted(epoch, facts, bytes, audit, Memo::with(segment));
        Some(ApplyPart { segment, frames, executed: false })
    }
}

/// Packs the payloads of `blocks` into frames.
pub(super) fn frames(blocks: &[Block], mut lens: &[u32]) -> Option<Vec<BodyFrame>> {
    let mut frames = Vec::new();
    let mut rest = blocks;
    while let (Some(first), false) = (rest.first(), lens.is_empty()) {
        let count = frame_lens(lens).len();
        let (packed, after) = rest.split_at_checked(count)?;
        let raw: Vec<u8> = packed.iter().flat_map(|block| block.payload.iter().copied()).collect();
        let mut wire = Vec::with_capacity(raw.len() + 16);
        encode_frame(&mut wire, u32::try_from(count).ok()?, &raw);
        let range = HeightRange::new(first.header.height, packed.last()?.header.height)?;
        frames.push(BodyFrame { range, wire: wire.into(), raw: raw.into() });
        rest = after;
        lens = lens.get(count..)?;
    }
    Some(frames)
}

/// How many views failed before the block at `height`.
fn failed_views(seed: u64, height: Height) -> u64 {
    let mut rng = Rng::new(seed.rotate_left(17) ^ height.get());
    if rng.below(BLOCKS_PER_GAP) == 0 { 1 + rng.below(LONGEST_GAP) } else { 0 }
}

/// When the block at `height` was proposed: at a steady pace with some jitter, the last one at the time of the tip.
fn timestamp((tip, tip_time): (Height, UnixMillis), height: Height) -> UnixMillis {
    let ago = tip.above(height).saturating_mul(BLOCK_MS);
    let jitter = if ago == 0 { 0 } else { Rng::new(height.get()).below(BLOCK_MS) };
    UnixMillis::new(tip_time.get().saturating_sub(ago).saturating_add(jitter))
}
