//! Blocks and epochs from the store, as a manager hands them out.

use std::sync::Arc;

use hotstuff2_sync::calls::ApplyPart;
use hotstuff2_sync::chain::native::{
    Block, BlockValidator, EpochContext, EpochInfo, FinalityProof, Handover, NativeChain, Segment,
};
use hotstuff2_sync::chain::{Chain as _, EpochRef, Fault};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::{BodyFrame, split_payloads};

use super::{SyncError, SyncResult};
use crate::store::{BlockStore, StoreFailure};

/// Blocks that one call returns, up to a bound of payload bytes.
pub(super) struct Gathered {
    from: Height,
    most_bytes: u64,
    bytes: u64,
    blocks: Vec<Block>,
}

impl Gathered {
    /// None yet of those from `from` on.
    pub(super) fn new(from: Height, most_bytes: u64) -> Self {
        Self { from, most_bytes, bytes: 0, blocks: Vec::new() }
    }

    /// Takes in the next block, if there is room for it.
    pub(super) fn push(&mut self, block: Block) -> SyncResult<()> {
        self.bytes = self.bytes.saturating_add(block.payload.len() as u64);
        if self.bytes > self.most_bytes {
            return Err(SyncError::TooManyBytes { from: self.from, through: block.height() });
        }
        self.blocks.push(block);
        Ok(())
    }

    /// All of them.
    pub(super) fn into_blocks(self) -> Vec<Block> {
        self.blocks
    }
}

/// A store with what it takes to read blocks from it. Every call may wait for the disk.
#[derive(Clone)]
pub(super) struct StoredBlocks {
    pub(super) store: Arc<dyn BlockStore>,
    pub(super) chain: Arc<NativeChain>,
    /// The epoch that needs no handover.
    pub(super) first: EpochInfo,
}

impl StoredBlocks {
    /// The stored blocks from the first of `range` on, at most `max_bytes` of payload but at least one. Empty where the
    /// first isn't stored.
    pub(super) fn read(&self, range: HeightRange, max_bytes: u64) -> SyncResult<Vec<Block>> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut left = max_bytes;
        let mut rest = Some(range);
        while let Some(range) = rest {
            let Some(part) = self.store.read(range, left)? else { break };
            let read = self.blocks_of(&part, range)?;
            let Some(last) = read.last().map(Block::height) else { break };
            let bytes = read.iter().fold(0, |sum, block| sum + block.payload.len() as u64);
            // What one read returns may have more than it was asked for, if it is a single frame.
            if bytes > left && !blocks.is_empty() {
                break;
            }
            left = left.saturating_sub(bytes);
            blocks.extend(read);
            rest = HeightRange::new(last.next(), range.last()).filter(|_| left > 0);
        }
        Ok(blocks)
    }

    /// All blocks of `range`, the last of them and of each epoch with a certificate where the store can give one. `None`
    /// where one isn't stored. An error where they have more than `most_bytes` of payload.
    pub(super) fn read_all(&self, range: HeightRange, most_bytes: u64) -> SyncResult<Option<Vec<Block>>> {
        let mut gathered = Gathered::new(range.first(), most_bytes);
        for block in self.read(range, most_bytes)? {
            gathered.push(block)?;
        }
        let mut blocks = gathered.into_blocks();
        let Some(last) = blocks.last().map(Block::height) else { return Ok(None) };
        if last != range.last() {
            let there = self.store.read(HeightRange::single(last.next()), 0)?.is_some();
            return if there {
                Err(SyncError::TooManyBytes { from: range.first(), through: last.next() })
            } else {
                Ok(None)
            };
        }
        for block in &mut blocks {
            if block.height() == last || block.header.next_epoch_hash.is_some() {
                self.certify(block)?;
            }
        }
        Ok(Some(blocks))
    }

    /// One block with a certificate where the store can give one.
    pub(super) fn block(&self, height: Height) -> SyncResult<Option<Block>> {
        let mut block = self.read(HeightRange::single(height), 0)?.into_iter().next();
        block.as_mut().map_or(Ok(()), |block| self.certify(block))?;
        Ok(block)
    }

    /// The id of the stored block at `height`; `None` where there is none that can be read.
    pub(super) fn id_at(&self, height: Height) -> Result<Option<Hash>, StoreFailure> {
        let Some(part) = self.store.read(HeightRange::single(height), 0)? else { return Ok(None) };
        let segment = part.segment.decoded(&*self.chain).ok();
        Ok(segment.and_then(|segment| segment.header(height)).map(|(_, id)| id))
    }

    /// The blocks of `frames`, whose headers `segment` holds.
    pub(super) fn blocks_in(segment: &Segment, lens: &[u32], frames: &[BodyFrame]) -> Option<Vec<Block>> {
        let mut blocks = Vec::new();
        for frame in frames {
            let from = segment.range().index_of(frame.range.first())?;
            let lens = lens.get(from..)?.get(..usize::try_from(frame.range.count()).ok()?)?;
            let mut height = frame.range.first();
            for payload in split_payloads(&frame.raw, lens) {
                let (header, id) = segment.header(height)?;
                let proof = FinalityProof::Anchored { id };
                blocks.push(Block { header: header.clone(), payload: frame.raw.slice_ref(payload), proof });
                height = height.next();
            }
        }
        Some(blocks)
    }

    /// The trusted epoch with this number.
    fn epoch(&self, number: Epoch) -> Result<Option<EpochRef>, StoreFailure> {
        if number == self.first.epoch() {
            return Ok(Some(self.first.to_ref()));
        }
        let Some(before) = number.prev() else { return Ok(None) };
        let Some(bytes) = self.store.handover(before)? else { return Ok(None) };
        // It was verified before it was stored; what doesn't decode now is as good as not there.
        let next = Handover::decode(&bytes).ok().and_then(|handover| EpochInfo::decode(&handover.next).ok());
        Ok(next.map(|info| info.to_ref()))
    }

    /// A validator with the epochs that `numbers` name, as far as they are known.
    pub(super) fn validator(&self, mut numbers: Vec<Epoch>) -> Result<BlockValidator, StoreFailure> {
        numbers.sort_unstable();
        numbers.dedup();
        let mut contexts: Vec<EpochContext> = Vec::new();
        for number in numbers {
            let Some(epoch) = self.epoch(number)? else { continue };
            contexts.extend(self.chain.decode_epoch(epoch.bytes()));
        }
        Ok(BlockValidator::new(contexts))
    }

    fn certify(&self, block: &mut Block) -> SyncResult<()> {
        let alone = HeightRange::single(block.height());
        let Some(stored) = self.store.segment(alone, true, false)? else { return Ok(()) };
        let damaged = |fault| SyncError::Damaged { height: block.height(), fault };
        let segment = Segment::decode(&stored.segment).map_err(damaged)?;
        block.proof = segment.proof().clone();
        Ok(())
    }

    fn blocks_of(&self, part: &ApplyPart, range: HeightRange) -> SyncResult<Vec<Block>> {
        let damaged = |fault| SyncError::Damaged { height: range.first(), fault };
        let segment = part.segment.decoded(&*self.chain).map_err(damaged)?;
        let blocks = Self::blocks_in(segment, part.segment.payload_lens(), &part.frames);
        blocks.ok_or(damaged(Fault::WrongRange))
    }
}
