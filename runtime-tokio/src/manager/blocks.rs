//! Blocks and epochs from the store, as a manager hands them out.

use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::calls::ApplyPart;
use hotstuff2_sync::chain::{Block, CheckError, Fault, SegmentEnd, SegmentRef};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::wire::{BodyFrame, split_payloads};

use super::any_chain::AnyChain;
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
            return Err(SyncError::TooManyBytes { from: self.from, through: block.height });
        }
        self.blocks.push(block);
        Ok(())
    }

    /// All of them.
    pub(super) fn into_blocks(self) -> Vec<Block> {
        self.blocks
    }
}

/// A store with the chain that reads what is in it. Every call may wait for the disk.
#[derive(Clone)]
pub(super) struct StoredBlocks {
    pub(super) store: Arc<dyn BlockStore>,
    pub(super) chain: Arc<dyn AnyChain>,
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
            let Some(last) = read.last().map(|block| block.height) else { break };
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
        let Some(last) = blocks.last().map(|block| block.height) else { return Ok(None) };
        if last != range.last() {
            let there = self.store.read(HeightRange::single(last.next()), 0)?.is_some();
            return if there {
                Err(SyncError::TooManyBytes { from: range.first(), through: last.next() })
            } else {
                Ok(None)
            };
        }
        // The end of the epoch that a block is of; the anchor's is known from the first block on.
        let mut ends = None;
        for block in &mut blocks {
            if ends.is_none_or(|ends| ends < block.height) {
                ends = self.store.epoch_of(block.height)?.map(|epoch| epoch.range().last());
            }
            if block.height == last || ends == Some(block.height) {
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
        let ids = self.chain.ids(&part.segment, HeightRange::single(height));
        Ok(ids.ok().and_then(|ids| ids.first().copied()))
    }

    /// The blocks of consecutive `frames`, whose headers `segment` holds.
    pub(super) fn blocks_in(&self, segment: &SegmentRef, frames: &[BodyFrame]) -> Result<Vec<Block>, CheckError> {
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return Ok(Vec::new()) };
        let range = HeightRange::new(first.range.first(), last.range.last()).ok_or(Fault::WrongRange)?;
        let ids = self.chain.ids(segment, range)?;
        let below = HeightRange::new(segment.range().first(), range.first()).filter(|below| below.count() > 1);
        let mut parent_id = match below.and_then(|_| range.first().prev()) {
            Some(height) => *self.chain.ids(segment, HeightRange::single(height))?.first().ok_or(Fault::WrongRange)?,
            None => segment.parent_id(),
        };
        let last_id = *ids.last().ok_or(Fault::WrongRange)?;
        let whole = self.chain.cut(segment.bytes(), range, SegmentEnd::Anchored(last_id)).ok_or(Fault::Malformed)?;
        let mut headers = Vec::new();
        self.split(whole, range, &ids, &mut headers)?;
        let mut named = ids.into_iter().zip(headers);
        let mut blocks = Vec::new();
        for frame in frames {
            let lens = segment.payload_lens_of(frame.range).ok_or(Fault::WrongRange)?;
            let mut height = frame.range.first();
            for payload in split_payloads(&frame.raw, lens) {
                let (id, header) = named.next().ok_or(Fault::WrongRange)?;
                let payload = frame.raw.slice_ref(payload);
                blocks.push(Block { height, id, parent_id, header, payload, proof: None });
                parent_id = id;
                height = height.next();
            }
        }
        Ok(blocks)
    }

    /// Cuts a segment of `range` into one for each block. In halves: a chain decodes all of what it cuts from, and so does
    /// it for each header once for each halving and not once for each other header.
    fn split(&self, segment: Bytes, range: HeightRange, ids: &[Hash], out: &mut Vec<Bytes>) -> Result<(), CheckError> {
        if ids.len() <= 1 {
            out.push(segment);
            return Ok(());
        }
        let (low, high) = ids.split_at(ids.len() / 2);
        let middle = range.first().plus(low.len() as u64);
        let ranges = [(range.first(), middle.prev().unwrap_or_default(), low), (middle, range.last(), high)];
        for (first, last, ids) in ranges {
            let range = HeightRange::new(first, last).ok_or(Fault::WrongRange)?;
            let last_id = *ids.last().ok_or(Fault::WrongRange)?;
            let half = self.chain.cut(&segment, range, SegmentEnd::Anchored(last_id)).ok_or(Fault::Malformed)?;
            self.split(half, range, ids, out)?;
        }
        Ok(())
    }

    /// Proof that the block at `height` is final, out of a verified segment that holds it.
    pub(super) fn proof_in(&self, segment: &Bytes, height: Height) -> Option<Bytes> {
        let alone = self.chain.cut(segment, HeightRange::single(height), SegmentEnd::Certified)?;
        self.chain.proof_of(&alone)
    }

    fn certify(&self, block: &mut Block) -> SyncResult<()> {
        let stored = self.store.segment(HeightRange::single(block.height), true, false)?;
        block.proof = stored.and_then(|stored| self.chain.proof_of(&stored.segment));
        Ok(())
    }

    fn blocks_of(&self, part: &ApplyPart, range: HeightRange) -> SyncResult<Vec<Block>> {
        let damaged = |fault| SyncError::Damaged { height: range.first(), fault };
        self.blocks_in(&part.segment, &part.frames).map_err(damaged)
    }
}
