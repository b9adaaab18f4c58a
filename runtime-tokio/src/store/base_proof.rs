//! Proof of a block and the root of its state for somebody who trusts the handovers alone: for snapshot files, and
//! for checks of the state against its header.

use bytes::Bytes;
use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::{Chain, HeaderFacts, SegmentEnd};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::StoredSegment;

use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::load::read_record;
use super::records::{BaseRecord, key};
use super::view::View;

/// A block with a state, and what proves it final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockProof {
    /// The block.
    pub point: BlockPoint,
    /// The state after it.
    pub state_root: Hash,
    /// Its epoch.
    pub epoch: Epoch,
    /// The headers that `segment` holds; the block's own is the first.
    pub range: HeightRange,
    /// Those headers, as they were verified.
    pub segment: Bytes,
    /// The tip message that proves the last of them, where the segment has no certificate.
    pub tip: Option<Bytes>,
}

impl<C: Chain> DiskStore<C> {
    /// Facts of the header at `height`; `None` where it isn't stored, and for the anchor, of which only the id is.
    pub fn header_at(&self, height: Height) -> Result<Option<HeaderFacts>, StoreFailure> {
        if let Some(base) = self.base_record(height)? {
            return self.facts(&base.segment, height).map(Some);
        }
        self.on_view(|view| match self.stored_at(view, height)? {
            Some(stored) => self.facts(&stored.segment()?, height).map(Some),
            None => Ok(None),
        })
    }

    /// Proof of the block at `height`; `None` where it isn't stored, or nothing that is stored proves it yet.
    pub fn block_proof(&self, height: Height) -> Result<Option<BlockProof>, StoreFailure> {
        if let Some(base) = self.base_record(height)? {
            return self.proof_of_base(base);
        }
        self.on_view(|view| self.proof_in(view, height))
    }

    /// The header of the base as a segment of its own, where `height` is the base's and its header is not stored.
    pub(super) fn base_header(&self, view: &View, height: Height) -> Result<Option<Bytes>, StoreFailure> {
        let Some(segment) = view.segment_of_base().filter(|_| height == view.base.height) else { return Ok(None) };
        let own = HeightRange::single(height);
        let header = self.chain.assemble(std::slice::from_ref(segment), own, SegmentEnd::Anchored(view.base.id));
        let missing =
            || StoreFailure::damaged(&self.dir, format!("what proves block {height} doesn't hold its header"));
        header.map(Some).ok_or_else(missing)
    }

    /// Headers from the base's own on that are not all stored, out of those that proved it.
    pub(super) fn segment_of_base(
        &self,
        view: &View,
        range: HeightRange,
        certified: bool,
    ) -> Result<Option<StoredSegment>, StoreFailure> {
        let Some(segment) = view.segment_of_base().filter(|_| range.first() == view.base.height) else {
            return Ok(None);
        };
        let end = if certified {
            SegmentEnd::Certified
        } else {
            let decoded = self.chain.decode_segment(segment).map_err(|fault| self.undecodable(range.first(), fault))?;
            let Some(last) = self.chain.header(&decoded, range.last()) else { return Ok(None) };
            SegmentEnd::Anchored(last.id)
        };
        let segment = self.chain.assemble(std::slice::from_ref(segment), range, end);
        Ok(segment.map(|segment| StoredSegment { segment, audit: Bytes::new() }))
    }

    fn base_record(&self, height: Height) -> Result<Option<BaseRecord>, StoreFailure> {
        let record: Option<BaseRecord> = read_record(&self.db, key::BASE)?;
        Ok(record.filter(|base| base.point.height == height))
    }

    fn proof_of_base(&self, base: BaseRecord) -> Result<Option<BlockProof>, StoreFailure> {
        let BaseRecord { point, state_root, segment, tip } = base;
        let Some((epoch, range)) = self.view().epoch_of(point.height) else { return Ok(None) };
        let decoded = self.chain.decode_segment(&segment).map_err(|fault| self.undecodable(point.height, fault))?;
        // The record doesn't say where its headers end.
        let mut last = point.height;
        while last < range.last() && self.chain.header(&decoded, last.next()).is_some() {
            last = last.next();
        }
        let range = HeightRange::new(point.height, last).unwrap_or(HeightRange::single(point.height));
        let (segment, tip) = (segment.into(), tip.map(Bytes::from));
        Ok(Some(BlockProof { point, state_root, epoch, range, segment, tip }))
    }

    fn proof_in(&self, view: &View, height: Height) -> Result<Option<BlockProof>, StoreFailure> {
        let (Some((epoch, _)), Some(cell)) = (view.epoch_of(height), view.grid_cell_of(height)) else {
            return Ok(None);
        };
        if !view.holds(height) {
            return Ok(None);
        }
        // Up to the end of the cell there is a certificate, unless the tip is inside of it: then there is the tip.
        let certified = HeightRange::new(height, cell.last().min(view.head.height));
        if let Some(range) = certified
            && let Some(stored) = self.segment_in(view, range, true, false)?
        {
            return self.block_proof_of(height, epoch, range, stored.segment, None).map(Some);
        }
        let Some(range) = HeightRange::new(height, view.tip.height.min(cell.last())) else { return Ok(None) };
        if view.tip.bytes.is_empty() || range.last() != view.tip.height {
            return Ok(None);
        }
        let Some(stored) = self.segment_in(view, range, false, false)? else { return Ok(None) };
        self.block_proof_of(height, epoch, range, stored.segment, Some(view.tip.bytes.clone())).map(Some)
    }

    fn block_proof_of(
        &self,
        height: Height,
        epoch: Epoch,
        range: HeightRange,
        segment: Bytes,
        tip: Option<Bytes>,
    ) -> Result<BlockProof, StoreFailure> {
        let HeaderFacts { id, state_root, .. } = self.facts(&segment, height)?;
        Ok(BlockProof { point: BlockPoint { height, id }, state_root, epoch, range, segment, tip })
    }

    fn facts(&self, segment: &[u8], height: Height) -> Result<HeaderFacts, StoreFailure> {
        let decoded = self.chain.decode_segment(segment).map_err(|fault| self.undecodable(height, fault))?;
        let missing =
            || StoreFailure::damaged(&self.dir, format!("the headers around block {height} don't hold its own"));
        self.chain.header(&decoded, height).ok_or_else(missing)
    }

    fn undecodable(&self, height: Height, fault: hotstuff2_sync::chain::CheckError) -> StoreFailure {
        StoreFailure::damaged(&self.dir, format!("the headers around block {height} can't be decoded: {fault}"))
    }
}
