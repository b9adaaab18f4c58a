//! [`MemoryStore`]: a [`BlockStore`] in memory, for any chain. What another database would hold is in [`Memory`], which
//! outlives the store as a disk does.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use hotstuff2_sync::calls::{Apply, ApplyPart, BlockPoint, HostError};
use hotstuff2_sync::chain::{Chain, EpochRef, Finalized, SegmentEnd};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::GRID;
use hotstuff2_sync::limits::{FRAME_BYTES, MAX_PROOF_PATH};
use hotstuff2_sync::ranges::{HeightRange, grid_cell};
use hotstuff2_sync::serve::{ChainReader, StoredSegment};
use hotstuff2_sync::verify::HandoverLink;
use hotstuff2_sync::wire::{PeerStatus, decode_bodies, encode_frame, split_payloads};
use hotstuff2_sync_tokio::store::{BlockStore, BoxedState, StoreAnchor, StoreFailure};
use tokio::sync::watch;

/// What is stored.
pub(crate) struct Memory {
    anchor: StoreAnchor,
    /// Segments whose headers are stored, with their bodies as far as those are.
    parts: Vec<ApplyPart>,
    handovers: Vec<HandoverLink>,
    head: BlockPoint,
    /// The newest proof, and what it proves.
    tip: (Height, Option<Bytes>),
    version: u64,
}

impl Memory {
    pub(crate) fn new(anchor: &StoreAnchor) -> Arc<Mutex<Self>> {
        let (head, tip) = (anchor.point, (anchor.point.height, None));
        let (parts, handovers) = (Vec::new(), Vec::new());
        Arc::new(Mutex::new(Self { anchor: anchor.clone(), parts, handovers, head, tip, version: 0 }))
    }

    /// The trusted epochs, in order.
    fn epochs(&self) -> impl Iterator<Item = &EpochRef> {
        std::iter::once(&self.anchor.epoch).chain(self.handovers.iter().map(|link| &link.epoch))
    }

    fn epoch_of(&self, height: Height) -> Option<&EpochRef> {
        self.epochs().find(|epoch| epoch.range().contains(height))
    }

    /// The cell of the grid that holds all of `range`.
    fn cell_of(&self, range: HeightRange) -> Option<HeightRange> {
        grid_cell(range.first(), self.epoch_of(range.first())?.range(), GRID).filter(|cell| cell.covers(range))
    }

    fn part_at(&self, height: Height) -> Option<&ApplyPart> {
        self.parts.iter().find(|part| part.range().is_some_and(|range| range.contains(height)))
    }

    /// The payloads from the first of `range` on that are in its part, with their heights.
    fn payloads(&self, range: HeightRange) -> impl Iterator<Item = (Height, &[u8])> {
        let frames = self.part_at(range.first()).into_iter().flat_map(|part| {
            part.frames.iter().flat_map(|frame| {
                let lens = part.segment.payload_lens_of(frame.range).unwrap_or_default();
                (frame.range.first().get()..).map(Height::new).zip(split_payloads(&frame.raw, lens))
            })
        });
        frames.filter(move |(height, _)| range.contains(*height))
    }

    /// Frames of at most `max_bytes` of payload from the first of `range` on, which are of one part, and one at least if
    /// `first_whatever`. Nothing where the first doesn't fit.
    fn frames(&self, range: HeightRange, max_bytes: u64, first_whatever: bool, out: &mut Vec<u8>) {
        let (mut raw, mut count, mut sum) = (Vec::new(), 0u32, 0u64);
        for (index, (_, payload)) in self.payloads(range).enumerate() {
            sum += payload.len() as u64;
            if sum > max_bytes && !(first_whatever && index == 0) {
                break;
            }
            if count > 0 && raw.len() + payload.len() > FRAME_BYTES as usize {
                encode_frame(out, count, &raw);
                (raw, count) = (Vec::new(), 0);
            }
            raw.extend_from_slice(payload);
            count += 1;
        }
        if count > 0 {
            encode_frame(out, count, &raw);
        }
    }
}

pub(crate) struct MemoryStore<C> {
    chain: Arc<C>,
    memory: Arc<Mutex<Memory>>,
    tip: watch::Sender<Height>,
}

fn refused(what: &str) -> StoreFailure {
    StoreFailure::other(HostError::Permanent, what)
}

impl<C: Chain> MemoryStore<C> {
    pub(crate) fn open(chain: Arc<C>, memory: &Arc<Mutex<Memory>>) -> Self {
        let tip = memory.lock().unwrap().tip.0;
        Self { chain, memory: Arc::clone(memory), tip: watch::Sender::new(tip) }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }

    /// Takes in the blocks of `part` above the head.
    fn take(&self, memory: &mut Memory, part: &ApplyPart) -> Result<(), StoreFailure> {
        let new: Vec<_> = part.frames.iter().filter(|frame| frame.range.last() > memory.head.height).cloned().collect();
        let (Some(first), Some(last)) = (new.first(), new.last().map(|frame| frame.range.last())) else {
            return Ok(());
        };
        if !first.range.first().is_next_of(memory.head.height) {
            return Err(refused("these blocks don't continue the stored ones"));
        }
        let unreadable = |_| refused("a verified segment can't be read");
        let ids = part.segment.ids(&*self.chain, HeightRange::single(last)).map_err(unreadable)?;
        let id = *ids.first().ok_or_else(|| refused("a verified segment has no header"))?;
        match memory.parts.last_mut().filter(|held| held.segment.bytes() == part.segment.bytes()) {
            Some(held) => held.frames.extend(new),
            None => memory.parts.push(ApplyPart { segment: part.segment.clone(), frames: new, executed: false }),
        }
        memory.head = BlockPoint { height: last, id };
        if part.segment.range().last() == last
            && let Some(tip) = self.chain.tip_of(part.segment.bytes())
        {
            memory.tip = (last, Some(tip));
        }
        Ok(())
    }

    /// The segment of `range` out of the parts that reach from its first height to `reach`.
    fn assemble(&self, memory: &Memory, range: HeightRange, reach: Height, end: SegmentEnd) -> Option<Bytes> {
        let reaching = HeightRange::new(range.first(), reach)?;
        let parts = memory.parts.iter().filter(|part| part.segment.range().intersection(reaching).is_some());
        let parts: Vec<Bytes> = parts.map(|part| part.segment.bytes().clone()).collect();
        self.chain.assemble(&parts, range, end)
    }
}

impl<C: Chain> BlockStore for MemoryStore<C> {
    fn chain_id(&self) -> Hash {
        self.memory().anchor.chain_id
    }

    fn stored(&self) -> BlockPoint {
        self.memory().head
    }

    fn stored_proof(&self) -> Result<Option<Finalized>, StoreFailure> {
        let memory = self.memory();
        let (height, tip) = &memory.tip;
        Ok(tip.clone().filter(|_| *height == memory.head.height).map(Finalized::Tip))
    }

    fn epochs(&self) -> Result<(EpochRef, Vec<HandoverLink>), StoreFailure> {
        let memory = self.memory();
        let head = memory.head.height;
        let epoch = memory.epochs().find(|epoch| epoch.range().last() >= head);
        let epoch = epoch.cloned().ok_or_else(|| refused("the epoch of the head is missing"))?;
        let links = memory.handovers.iter().filter(|link| link.ended >= epoch.epoch()).cloned().collect();
        Ok((epoch, links))
    }

    fn epoch_of(&self, height: Height) -> Result<Option<EpochRef>, StoreFailure> {
        Ok(self.memory().epoch_of(height).cloned())
    }

    fn append(&self, apply: &Apply) -> Result<(), StoreFailure> {
        let tip = {
            let mut memory = self.memory();
            apply.parts.iter().try_for_each(|part| self.take(&mut memory, part))?;
            if let Some(tip) = &apply.tip {
                memory.tip = (memory.head.height, Some(tip.clone()));
            }
            memory.version += 1;
            memory.tip.0
        };
        self.tip.send_if_modified(|known| std::mem::replace(known, tip) != tip);
        Ok(())
    }

    fn put_handovers(&self, links: &[HandoverLink]) -> Result<(), StoreFailure> {
        let mut memory = self.memory();
        for link in links {
            let newest = memory.epochs().last().map(EpochRef::epoch).unwrap_or_default();
            if link.ended == newest {
                memory.handovers.push(link.clone());
                memory.version += 1;
            } else if link.ended > newest {
                return Err(refused("this handover doesn't continue the stored ones"));
            }
        }
        Ok(())
    }

    fn read(&self, range: HeightRange, max_bytes: u64) -> Result<Option<ApplyPart>, StoreFailure> {
        let memory = self.memory();
        let Some(part) = memory.part_at(range.first()) else { return Ok(None) };
        let mut bytes = Vec::new();
        memory.frames(range, max_bytes, true, &mut bytes);
        let from = part.segment.range().index_of(range.first());
        let lens = from.and_then(|from| part.segment.payload_lens().get(from..)).unwrap_or_default();
        let frames =
            decode_bodies(bytes.into(), range.first(), lens).map_err(|_| refused("stored payloads are damaged"))?;
        Ok(Some(ApplyPart { segment: part.segment.clone(), frames, executed: false }))
    }

    fn snapshot_interval(&self) -> NonZeroU64 {
        self.memory().anchor.snapshot_interval
    }

    fn version(&self) -> u64 {
        self.memory().version
    }

    fn subscribe(&self) -> watch::Receiver<Height> {
        self.tip.subscribe()
    }
}

impl<C: Chain> ChainReader for MemoryStore<C> {
    type Error = StoreFailure;
    type State = BoxedState;

    fn status(&self) -> PeerStatus {
        let memory = self.memory();
        let tip = memory.tip.0;
        let epoch = memory.epoch_of(tip).unwrap_or(&memory.anchor.epoch).epoch();
        let (chain_id, earliest) = (memory.anchor.chain_id, memory.anchor.point.height.next());
        PeerStatus { chain_id, earliest, tip, epoch, snapshots: None }
    }

    fn handover(&self, epoch: Epoch) -> Result<Option<Bytes>, StoreFailure> {
        let memory = self.memory();
        Ok(memory.handovers.iter().find(|link| link.ended == epoch).map(|link| link.bytes.clone()))
    }

    fn tip(&self) -> Result<Option<Bytes>, StoreFailure> {
        Ok(self.memory().tip.1.clone())
    }

    fn segment(&self, range: HeightRange, certified: bool, audit: bool) -> Result<Option<StoredSegment>, StoreFailure> {
        let memory = self.memory();
        if audit || range.last() > memory.head.height || memory.cell_of(range).is_none() {
            return Ok(None);
        }
        let segment = if certified {
            let reach = range.last().plus(MAX_PROOF_PATH as u64);
            let own = self.assemble(&memory, range, range.last(), SegmentEnd::Certified);
            own.or_else(|| self.assemble(&memory, range, reach, SegmentEnd::Certified))
        } else {
            let part = memory.part_at(range.last());
            let ids = part.and_then(|part| part.segment.ids(&*self.chain, HeightRange::single(range.last())).ok());
            let id = ids.and_then(|ids| ids.first().copied());
            id.and_then(|id| self.assemble(&memory, range, range.last(), SegmentEnd::Anchored(id)))
        };
        Ok(segment.map(|segment| StoredSegment { segment, audit: Bytes::new() }))
    }

    fn follow_range(&self, after: Height) -> Option<HeightRange> {
        let memory = self.memory();
        let cell = memory.cell_of(HeightRange::single(after.next()))?;
        let proven = memory.parts.iter().rev().find(|part| {
            let range = part.segment.range();
            cell.covers(range)
                && (after.next()..=memory.head.height).contains(&range.last())
                && self.chain.tip_of(part.segment.bytes()).is_some()
        })?;
        HeightRange::new(after.next(), proven.segment.range().last()).filter(|_| memory.part_at(after.next()).is_some())
    }

    fn bodies(&self, range: HeightRange, max_bytes: u32, out: &mut Vec<u8>) -> Result<bool, StoreFailure> {
        let (memory, before) = (self.memory(), out.len());
        memory.frames(range, u64::from(max_bytes), false, out);
        Ok(out.len() > before)
    }

    fn newest_state(&self) -> Result<Option<(Bytes, BoxedState)>, StoreFailure> {
        Ok(None)
    }

    fn states(&self, _: Height) -> Result<Vec<BoxedState>, StoreFailure> {
        Ok(Vec::new())
    }
}
