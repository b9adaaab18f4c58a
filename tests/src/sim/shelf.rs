//! [`Shelf`]: verified blocks in the form in which a node stores them, to be served from.
//!
//! It is what a node that caught up can give to others: segments with the proofs that came with them, frames, handovers
//! and the newest tip. Unlike a [`TestChain`](crate::chain::TestChain) it holds no keys, so it proves what was proven
//! to it and nothing else.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use hotstuff2_sync::calls::{ApplyPart, BlockPoint, HistoryGap};
use hotstuff2_sync::chain::native::{Block, FinalityProof, Genesis, NativeChain};
use hotstuff2_sync::chain::{Chain as _, EpochRef, Memo, SegmentEnd, SegmentFacts, SegmentRef};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::{GRID, MAX_PROOF_PATH};
use hotstuff2_sync::ranges::{HeightRange, grid_cell};
use hotstuff2_sync::serve::{ChainReader, StoredSegment};
use hotstuff2_sync::state::MemoryStateStore;
use hotstuff2_sync::verify::HandoverLink;
use hotstuff2_sync::wire::{BodyFrame, PeerStatus, cut_audit, cut_frame, split_payloads};

/// Stored blocks. Everything in it was verified by whoever put it in.
#[derive(Clone, Debug)]
pub struct Shelf {
    chain: NativeChain,
    chain_id: Hash,
    /// From genesis on.
    epochs: Vec<EpochRef>,
    links: BTreeMap<Epoch, HandoverLink>,
    /// By first height.
    segments: BTreeMap<Height, Headers>,
    /// By first height.
    frames: BTreeMap<Height, BodyFrame>,
    /// What lies below the lowest block.
    base: BlockPoint,
    /// What lies below the lowest header: history may have been filled in without its blocks.
    floor: BlockPoint,
    /// Where the blocks began before any history was filled in: genesis, or where a state was made live.
    anchor: BlockPoint,
    stored: BlockPoint,
    tip: Option<(Height, Bytes)>,
    /// Payload bytes that were put in.
    payload_bytes: u64,
}

/// A segment without its decoded headers, which would take fifty times the room.
#[derive(Clone, Debug)]
struct Headers {
    epoch: Epoch,
    facts: SegmentFacts,
    bytes: Bytes,
    audit: Bytes,
}

impl Shelf {
    /// Nothing above genesis.
    pub fn new(genesis: &Genesis) -> Self {
        let base = BlockPoint { height: Height::ZERO, id: genesis.id() };
        Self {
            chain: NativeChain::new(genesis),
            chain_id: genesis.chain_id(),
            epochs: vec![genesis.epoch().to_ref()],
            links: BTreeMap::new(),
            segments: BTreeMap::new(),
            frames: BTreeMap::new(),
            base,
            floor: base,
            anchor: base,
            stored: base,
            tip: None,
            payload_bytes: 0,
        }
    }

    /// The highest stored block.
    pub fn stored(&self) -> BlockPoint {
        self.stored
    }

    /// Lowest height whose block is stored, or the one above where there is none.
    pub fn earliest(&self) -> Height {
        self.base.height.next()
    }

    /// The chain that the blocks were verified with.
    pub fn chain(&self) -> &NativeChain {
        &self.chain
    }

    /// The epoch that the highest stored block belongs to.
    pub fn epoch(&self) -> &EpochRef {
        let height = self.stored.height;
        let of_height = self.epochs.iter().find(|epoch| epoch.range().contains(height));
        of_height.unwrap_or_else(|| self.epochs.first().expect("genesis has an epoch"))
    }

    /// The handovers from the end of that epoch on that continue each other.
    pub fn handovers(&self) -> Vec<HandoverLink> {
        self.links.range(self.epoch().epoch()..self.newest_epoch()).map(|(_, link)| link.clone()).collect()
    }

    /// All trusted epochs, from genesis on.
    pub fn all_epochs(&self) -> &[EpochRef] {
        &self.epochs
    }

    /// The newest epoch that a handover proved.
    pub fn newest_epoch(&self) -> Epoch {
        self.epochs.last().map_or(Epoch::ZERO, EpochRef::epoch)
    }

    /// Payload bytes that were put in so far.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// Forgets handovers behind a gap: what should have closed it was lost in a crash, and nobody was told of those behind.
    pub fn forget_behind_gap(&mut self) {
        let newest = self.newest_epoch();
        self.links.retain(|ended, _| *ended < newest);
    }

    /// Puts handovers in, in whatever order. Those behind a gap count when the gap is closed.
    pub fn put_handovers(&mut self, links: &[HandoverLink]) {
        for link in links {
            self.links.insert(link.ended, link.clone());
        }
        while let Some(link) = self.links.get(&self.newest_epoch()) {
            self.epochs.push(link.epoch.clone());
        }
    }

    /// Puts in those blocks of `part` that continue the stored ones: `frames` of its frames at most. The id of the last
    /// one is the part's own or found in its headers.
    pub fn put_part(&mut self, part: &ApplyPart, frames: usize) {
        for frame in part.frames.iter().take(frames) {
            if !frame.range.first().is_next_of(self.stored.height) {
                continue;
            }
            let last = frame.range.last();
            let segment = &part.segment;
            let id = if last == segment.range().last() {
                segment.last_id()
            } else {
                let ids = segment.ids(&self.chain, HeightRange::single(last));
                ids.ok().and_then(|ids| ids.first().copied()).unwrap_or_default()
            };
            self.segments.entry(segment.range().first()).or_insert_with(|| Headers::of(segment));
            self.payload_bytes += frame.raw.len() as u64;
            self.frames.insert(frame.range.first(), frame.clone());
            self.stored = BlockPoint { height: last, id };
        }
    }

    /// Notes the proof of the highest stored block.
    pub fn put_tip(&mut self, tip: Bytes) {
        self.tip = Some((self.stored.height, tip));
    }

    /// Notes the proof of the highest stored block, if a segment that ends there has it.
    pub fn find_tip(&mut self) {
        let last = self.segments.last_key_value().filter(|(_, last)| last.facts.range.last() == self.stored.height);
        if let Some(tip) = last.and_then(|(_, last)| self.chain.tip_of(&last.bytes)) {
            self.tip = Some((self.stored.height, tip));
        }
    }

    /// Forgets all blocks: they go on above `base`.
    pub fn rebase(&mut self, base: BlockPoint) {
        self.segments.clear();
        self.frames.clear();
        self.tip = None;
        (self.base, self.floor, self.stored, self.anchor) = (base, base, base, base);
    }

    /// Where the blocks began before any history was filled in.
    pub fn anchor(&self) -> Height {
        self.anchor.height
    }

    /// Forgets all history.
    pub fn forget_history(&mut self) {
        let first = self.anchor.height.next();
        self.segments = self.segments.split_off(&first);
        self.frames = self.frames.split_off(&first);
        (self.base, self.floor) = (self.anchor, self.anchor);
    }

    /// Height down to which headers are stored: that of the highest which is missing.
    pub fn floor(&self) -> Height {
        self.floor.height
    }

    /// What is missing right below the stored headers.
    pub fn history_gap(&self) -> Option<HistoryGap> {
        let last = self.floor.height;
        let epoch = self.epochs.iter().find(|epoch| last > Height::ZERO && epoch.range().contains(last))?;
        let first = grid_cell(last, epoch.range(), GRID)?.first().max(Height::new(1));
        let range = HeightRange::new(first, last)?;
        Some(HistoryGap { range, last_id: self.floor.id, epoch: epoch.clone() })
    }

    /// Puts in a piece of history, if it is the one that is missing. Without `frames` it is known and not served.
    pub fn put_history(&mut self, segment: &SegmentRef, frames: Option<&[BodyFrame]>) {
        let range = segment.range();
        if (range.last(), segment.last_id()) != (self.floor.height, self.floor.id) {
            return;
        }
        let Some(below) = range.first().prev() else { return };
        self.segments.insert(range.first(), Headers::of(segment));
        let whole = self.base == self.floor;
        self.floor = BlockPoint { height: below, id: segment.parent_id() };
        if let (Some(frames), true) = (frames, whole) {
            for frame in frames {
                self.payload_bytes += frame.raw.len() as u64;
                self.frames.insert(frame.range.first(), frame.clone());
            }
            self.base = self.floor;
        }
    }

    /// The stored blocks from the first of `range` on, as they were given: for replaying them.
    pub fn parts(&self, range: HeightRange) -> Vec<ApplyPart> {
        let mut parts: Vec<ApplyPart> = Vec::new();
        let start = self.frames.range(..=range.first()).next_back().map_or(range.first(), |(first, _)| *first);
        for frame in self.frames.range(start..=range.last()).map(|(_, frame)| frame) {
            let Some(headers) = self.headers_at(frame.range.first()) else { continue };
            match parts.last_mut().filter(|part| part.segment.range() == headers.facts.range) {
                Some(part) => part.frames.push(frame.clone()),
                None => {
                    parts.push(ApplyPart { segment: headers.segment(), frames: vec![frame.clone()], executed: false });
                }
            }
        }
        parts
    }

    /// The stored blocks of `range`, from the first on as far as they are there. The last of each stored segment that has a
    /// certificate comes with it.
    pub fn blocks(&self, range: HeightRange) -> Vec<Block> {
        let mut blocks = Vec::new();
        for part in self.parts(range) {
            let Ok(segment) = part.segment.decoded(&self.chain) else { break };
            for frame in &part.frames {
                let Some(lens) = part.segment.payload_lens_of(frame.range) else { break };
                let heights = (frame.range.first().get()..).map(Height::new);
                for (height, payload) in heights.zip(split_payloads(&frame.raw, lens)) {
                    let Some((header, id)) = segment.header(height).filter(|_| range.contains(height)) else {
                        continue;
                    };
                    let certified = height == segment.range().last();
                    let proof = if certified { segment.proof().clone() } else { FinalityProof::Anchored { id } };
                    blocks.push(Block { header: header.clone(), payload: frame.raw.slice_ref(payload), proof });
                }
            }
        }
        blocks
    }

    fn headers_at(&self, height: Height) -> Option<&Headers> {
        let (_, headers) = self.segments.range(..=height).next_back()?;
        headers.facts.range.contains(height).then_some(headers)
    }

    fn headers_in(&self, range: HeightRange) -> Option<Vec<&Headers>> {
        let mut found = Vec::new();
        let mut height = range.first();
        loop {
            let headers = self.headers_at(height)?;
            found.push(headers);
            if headers.facts.range.last() >= range.last() {
                return Some(found);
            }
            height = headers.facts.range.last().next();
        }
    }

    fn cell_of(&self, height: Height) -> Option<HeightRange> {
        let at = self.epochs.partition_point(|epoch| epoch.range().last() < height);
        grid_cell(height, self.epochs.get(at)?.range(), GRID)
    }

    fn holds(&self, range: HeightRange) -> bool {
        range.first() > self.base.height && range.last() <= self.stored.height
    }

    fn certified(&self, range: HeightRange, own: &[&Headers]) -> Option<Bytes> {
        let bytes = |parts: &[&Headers]| parts.iter().map(|part| part.bytes.clone()).collect::<Vec<_>>();
        if let Some(segment) = self.chain.assemble(&bytes(own), range, SegmentEnd::Certified) {
            return Some(segment);
        }
        let reach = range.last().plus(MAX_PROOF_PATH as u64).min(self.stored.height);
        let longer = HeightRange::new(range.first(), reach).filter(|longer| range.last() < longer.last())?;
        self.chain.assemble(&bytes(&self.headers_in(longer)?), range, SegmentEnd::Certified)
    }
}

impl Headers {
    fn of(segment: &SegmentRef) -> Self {
        let facts = SegmentFacts {
            range: segment.range(),
            parent_id: segment.parent_id(),
            last_id: segment.last_id(),
            last_timestamp: segment.last_timestamp(),
            payload_lens: segment.payload_lens().to_vec(),
            quorum_checks: 0,
        };
        Self { epoch: segment.epoch(), facts, bytes: segment.bytes().clone(), audit: segment.audit().clone() }
    }

    fn segment(&self) -> SegmentRef {
        SegmentRef::trusted(self.epoch, self.facts.clone(), self.bytes.clone(), self.audit.clone(), Memo::default())
    }
}

impl ChainReader for Shelf {
    type Error = Infallible;
    type State = MemoryStateStore;

    fn status(&self) -> PeerStatus {
        let tip = self.tip.as_ref().map_or(self.anchor.height, |(height, _)| *height);
        let at = self.epochs.partition_point(|epoch| epoch.range().last() < tip);
        let epoch = self.epochs.get(at).map_or(Epoch::ZERO, EpochRef::epoch);
        PeerStatus { chain_id: self.chain_id, earliest: self.earliest(), tip, epoch, snapshots: None }
    }

    fn handover(&self, epoch: Epoch) -> Result<Option<Bytes>, Infallible> {
        Ok(self.links.get(&epoch).map(|link| link.bytes.clone()))
    }

    fn tip(&self) -> Result<Option<Bytes>, Infallible> {
        Ok(self.tip.as_ref().map(|(_, tip)| tip.clone()))
    }

    fn segment(&self, range: HeightRange, certified: bool, audit: bool) -> Result<Option<StoredSegment>, Infallible> {
        if !self.cell_of(range.first()).is_some_and(|cell| cell.covers(range)) || !self.holds(range) {
            return Ok(None);
        }
        let Some(own) = self.headers_in(range) else { return Ok(None) };
        let audit = if audit {
            let held = own.iter().filter_map(|part| {
                let held = part.facts.range.intersection(range)?;
                Some(cut_audit(&part.audit, part.facts.range, held))
            });
            let Some(audits) = held.collect::<Option<Vec<_>>>() else { return Ok(None) };
            audits.concat().into()
        } else {
            Bytes::new()
        };
        let segment = if certified {
            self.certified(range, &own)
        } else {
            let last =
                own.last().and_then(|last| last.segment().ids(&self.chain, HeightRange::single(range.last())).ok());
            let id = last.and_then(|ids| ids.first().copied());
            let parts: Vec<Bytes> = own.iter().map(|part| part.bytes.clone()).collect();
            id.and_then(|id| self.chain.assemble(&parts, range, SegmentEnd::Anchored(id)))
        };
        Ok(segment.map(|segment| StoredSegment { segment, audit }))
    }

    fn follow_range(&self, after: Height) -> Option<HeightRange> {
        let cell = self.cell_of(after.next())?;
        let certified = |headers: &&Headers| {
            let last = headers.facts.range.last();
            last > after && last <= self.stored.height && self.chain.tip_of(&headers.bytes).is_some()
        };
        let inside = self.segments.range(cell.first()..=cell.last()).rev().map(|(_, headers)| headers);
        let range = HeightRange::new(
            after.next(),
            inside.filter(|part| cell.covers(part.facts.range)).find(certified)?.facts.range.last(),
        )?;
        self.holds(range).then_some(range)
    }

    fn bodies(&self, range: HeightRange, max_bytes: u32, out: &mut Vec<u8>) -> Result<bool, Infallible> {
        let start = out.len();
        let mut left = u64::from(max_bytes);
        let mut height = range.first();
        while height <= range.last() {
            let Some((_, frame)) = self.frames.range(..=height).next_back() else { break };
            let Some(headers) = self.headers_at(height).filter(|_| frame.range.contains(height)) else { break };
            let segment = headers.segment();
            let Some(lens) = segment.payload_lens_of(frame.range) else { break };
            let wanted = HeightRange::new(height, range.last()).and_then(|rest| rest.intersection(frame.range));
            let (Some(wanted), Some(skipped)) = (wanted, frame.range.index_of(height)) else { break };
            let fitting = lens.iter().skip(skipped).zip(0..wanted.count()).take_while(|&(&len, _)| {
                let fits = left.checked_sub(u64::from(len));
                left = fits.unwrap_or(0);
                fits.is_some()
            });
            let Some(more) = (fitting.count() as u64).checked_sub(1) else { break };
            let kept = HeightRange::new(height, height.plus(more));
            let Some(cut) = kept.and_then(|kept| cut_frame(frame, lens, kept)) else { break };
            out.extend_from_slice(&cut);
            height = height.plus(more).next();
            if height <= wanted.last() || height <= frame.range.last() {
                break;
            }
        }
        Ok(out.len() > start)
    }

    fn newest_state(&self) -> Result<Option<(Bytes, MemoryStateStore)>, Infallible> {
        Ok(None)
    }

    fn states(&self, _: Height) -> Result<Vec<MemoryStateStore>, Infallible> {
        Ok(Vec::new())
    }
}
