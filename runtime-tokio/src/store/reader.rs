//! Serving and replay: what was stored, byte for byte where whole segments and frames are asked for.

use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::calls::ApplyPart;
use hotstuff2_sync::chain::{Chain, Finalized, Memo, SegmentEnd, SegmentRef};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::{MAX_AUDIT_BYTES, MAX_PROOF_PATH};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::{ChainReader, StoredSegment};
use hotstuff2_sync::wire::{BodyFrame, PeerStatus, cut_frame, decode_bodies};

use super::BoxedState;
use super::damage::StorePart;
use super::db::Space;
use super::disk::DiskStore;
use super::failure::StoreFailure;
use super::records::key;
use super::segment_file::SegmentFile;
use super::stored::{Place, Stored, StoredFrame};
use super::view::View;

/// How often a read starts over because a writer changed or sealed its rows meanwhile.
const MAX_RETRIES: usize = 3;
/// Blocks above a block within which its proof nearly always lies. Looked at first: the longest path takes up to two whole
/// cells more.
const USUAL_PATH: usize = 64;

impl<C: Chain> ChainReader for DiskStore<C> {
    type Error = StoreFailure;
    type State = BoxedState;

    fn status(&self) -> PeerStatus {
        let view = self.view();
        // Blocks that can't be read are not claimed, and nothing below them can be without them.
        let readable = self.damages.highest().map_or(Height::ZERO, |last| last.min(view.head.height).next());
        PeerStatus {
            chain_id: self.identity.chain_id,
            earliest: view.earliest().max(readable),
            tip: view.tip.height,
            epoch: view.tip.epoch,
            snapshots: self.snapshots.advertised().filter(|_| !self.damages.has(StorePart::State)),
        }
    }

    fn handover(&self, epoch: Epoch) -> Result<Option<Bytes>, StoreFailure> {
        self.db.get(Space::Index, &key::epoch(key::HANDOVERS, epoch))
    }

    fn tip(&self) -> Result<Option<Bytes>, StoreFailure> {
        let view = self.view();
        Ok((!view.tip.bytes.is_empty()).then(|| view.tip.bytes.clone()))
    }

    fn segment(&self, range: HeightRange, certified: bool, audit: bool) -> Result<Option<StoredSegment>, StoreFailure> {
        self.on_view(|view| self.segment_in(view, range, certified, audit))
    }

    fn follow_range(&self, after: Height) -> Option<HeightRange> {
        let found = self.on_view(|view| self.follow_in(view, after));
        found.unwrap_or_else(|error| {
            tracing::debug!(%error, %after, "can't tell what follows");
            None
        })
    }

    fn bodies(&self, range: HeightRange, max_bytes: u32, out: &mut Vec<u8>) -> Result<bool, StoreFailure> {
        let start = out.len();
        let read = self.on_view(|view| {
            out.truncate(start);
            self.bodies_in(view, range, u64::from(max_bytes), out)
        });
        if read.is_err() {
            out.truncate(start);
        }
        read?;
        Ok(out.len() > start)
    }

    fn newest_state(&self) -> Result<Option<(Bytes, BoxedState)>, StoreFailure> {
        let state = self.live_state()?;
        let tip = self.on_view(|view| self.tip_at(view, state.height()))?;
        Ok(tip.map(|tip| (tip, Box::new(state) as BoxedState)))
    }

    fn states(&self, near: Height) -> Result<Vec<BoxedState>, StoreFailure> {
        Ok(self.views_near(near)?.into_iter().map(|view| Box::new(view) as BoxedState).collect())
    }
}

impl<C: Chain> DiskStore<C> {
    /// Proof that the stored head is final: the tip that is served, or the segment whose bodies the head is among.
    pub(super) fn proof_of_head(&self, view: &View) -> Result<Option<Finalized>, StoreFailure> {
        if view.head == view.base {
            return Ok(view.base_proof.clone());
        }
        if view.tip.height == view.head.height {
            return Ok((!view.tip.bytes.is_empty()).then(|| Finalized::Tip(view.tip.bytes.clone())));
        }
        match view.unsealed_at(view.head.height) {
            Some(piece) if piece.is_certified(&*self.chain)? => {
                Ok(Some(Finalized::Segment(piece.segment()?, view.head.height)))
            }
            _ => Ok(None),
        }
    }

    /// The tip message of the block at `height`: that of the served tip, or one that a proof further up makes. `None` where
    /// the next such proof lies too far above.
    fn tip_at(&self, view: &View, height: Height) -> Result<Option<Bytes>, StoreFailure> {
        if view.tip.height == height {
            return Ok((!view.tip.bytes.is_empty()).then(|| view.tip.bytes.clone()));
        }
        let segment = self.segment_in(view, HeightRange::single(height), true, false)?;
        Ok(segment.and_then(|stored| self.chain.tip_of(&stored.segment)))
    }

    /// Reads from the current view, and again from a newer one where rows changed or went meanwhile. What can't be read
    /// in the end is damage.
    pub(super) fn on_view<T>(&self, read: impl FnMut(&View) -> Result<T, StoreFailure>) -> Result<T, StoreFailure> {
        self.on_newest_view(read).inspect_err(|failure| self.note_failure(failure))
    }

    fn on_newest_view<T>(&self, mut read: impl FnMut(&View) -> Result<T, StoreFailure>) -> Result<T, StoreFailure> {
        let mut view = self.view();
        for _ in 0..MAX_RETRIES {
            let result = read(&view);
            let changed = match &result {
                Err(StoreFailure::Damaged { .. }) => true,
                // A file may be gone because the store begins above its blocks now.
                Err(StoreFailure::Io { source, .. }) => source.kind() == std::io::ErrorKind::NotFound,
                _ => false,
            };
            if !changed {
                return result;
            }
            let mut now = self.view();
            if Arc::ptr_eq(&view, &now) {
                // A writer may have changed the rows and be about to publish what they are now.
                drop(self.writer.lock());
                now = self.view();
            }
            if Arc::ptr_eq(&view, &now) {
                return result;
            }
            view = now;
        }
        read(&view)
    }

    /// The stored segment or piece with the header at `height`.
    pub(super) fn stored_at(&self, view: &View, height: Height) -> Result<Option<Arc<Stored>>, StoreFailure> {
        if let Some(piece) = view.unsealed_at(height) {
            return Ok(Some(piece.clone()));
        }
        let Some(cell) = view.cell_of(height).filter(|_| view.holds(height)) else { return Ok(None) };
        if let Some(stored) = self.caches.file(cell.first()) {
            return Ok(Some(stored));
        }
        let (file, record) = SegmentFile::open_sealed(self.segments.sealed(cell.first()), cell)?;
        let stored = Arc::new(Stored::new(record, Place::File(Arc::new(file))));
        self.caches.put_file(cell.first(), stored.clone());
        Ok(Some(stored))
    }

    /// The stored segments and pieces with the headers of `range`, in order; `None` where not all are there.
    fn parts_in(&self, view: &View, range: HeightRange) -> Result<Option<Parts>, StoreFailure> {
        let mut parts = Parts { base: self.base_header(view, range.first())?, stored: Vec::new() };
        let above = if parts.base.is_some() { range.first().next() } else { range.first() };
        let mut rest = HeightRange::new(above, range.last());
        while let Some(missing) = rest {
            let Some(stored) = self.stored_at(view, missing.first())? else { return Ok(None) };
            let last = stored.range().last();
            rest = HeightRange::new(last.next(), range.last()).filter(|_| last < range.last());
            parts.stored.push(stored);
        }
        Ok(Some(parts))
    }

    pub(super) fn segment_in(
        &self,
        view: &View,
        range: HeightRange,
        certified: bool,
        audit: bool,
    ) -> Result<Option<StoredSegment>, StoreFailure> {
        if !view.grid_cell_of(range.first()).is_some_and(|cell| cell.covers(range)) {
            return Ok(None);
        }
        let Some(parts) = self.parts_in(view, range)? else {
            return Ok(self.segment_of_base(view, range, certified)?.filter(|_| !audit));
        };
        if let Parts { base: None, stored } = &parts
            && let [stored] = stored.as_slice()
            && stored.range() == range
            && (!certified || stored.is_certified(&*self.chain)?)
        {
            let Some(audit) = audit_in(&parts, range, audit)? else { return Ok(None) };
            return Ok(Some(StoredSegment { segment: stored.segment()?, audit }));
        }
        let Some(audit) = audit_in(&parts, range, audit)? else { return Ok(None) };
        if let Some(answer) = self.caches.answer((range, certified)) {
            return Ok(Some(StoredSegment { audit, ..answer }));
        }
        let segment = if certified {
            self.certified(view, range, &parts)?
        } else {
            let Some(last_id) = self.id_at(view, &parts, range.last())? else { return Ok(None) };
            self.chain.assemble(&parts.segments()?, range, SegmentEnd::Anchored(last_id))
        };
        let answer = segment.map(|segment| StoredSegment { segment, audit: Bytes::new() });
        if let Some(answer) = &answer {
            self.caches.put_answer((range, certified), answer.clone());
        }
        Ok(answer.map(|answer| StoredSegment { audit, ..answer }))
    }

    /// Makes a segment with a proof of its end: from what holds it, or with the proof of what comes next.
    fn certified(&self, view: &View, range: HeightRange, parts: &Parts) -> Result<Option<Bytes>, StoreFailure> {
        let own = parts.segments()?;
        if let Some(segment) = self.chain.assemble(&own, range, SegmentEnd::Certified) {
            return Ok(Some(segment));
        }
        for path in [USUAL_PATH, MAX_PROOF_PATH] {
            let reach = range.last().plus(path as u64).min(view.head.height);
            let longer = HeightRange::new(range.first(), reach).filter(|longer| range.last() < longer.last());
            let Some(longer) = longer else { return Ok(None) };
            let Some(parts) = self.parts_in(view, longer)? else { return Ok(None) };
            if let Some(segment) = self.chain.assemble(&parts.segments()?, range, SegmentEnd::Certified) {
                return Ok(Some(segment));
            }
        }
        Ok(None)
    }

    fn id_at(&self, view: &View, parts: &Parts, height: Height) -> Result<Option<Hash>, StoreFailure> {
        let Some(last) = parts.stored.last() else { return Ok(Some(view.base.id)) };
        if last.range().last() == height {
            return Ok(Some(last.record().facts.last_id));
        }
        let decoded = self.chain.decode_segment(&last.segment()?);
        let decoded = decoded.map_err(|fault| last.damaged(format!("its headers can't be decoded: {fault}")))?;
        Ok(self.chain.header(&decoded, height).map(|header| header.id))
    }

    fn follow_in(&self, view: &View, after: Height) -> Result<Option<HeightRange>, StoreFailure> {
        let first = after.next();
        let Some(cell) = view.cell_of(first).filter(|_| view.holds(first)) else { return Ok(None) };
        if view.unsealed_at(first).is_none() {
            let stored = self.stored_at(view, first)?;
            let certified = stored.map_or(Ok(false), |stored| stored.is_certified(&*self.chain))?;
            return Ok(HeightRange::new(first, cell.last()).filter(|_| certified));
        }
        for piece in view.unsealed.iter().rev() {
            if cell.covers(piece.range()) && piece.range().last() > after && piece.is_certified(&*self.chain)? {
                return Ok(HeightRange::new(first, piece.range().last()));
            }
        }
        Ok(None)
    }

    fn bodies_in(
        &self,
        view: &View,
        range: HeightRange,
        max_bytes: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreFailure> {
        let start = out.len();
        let mut left = max_bytes;
        let mut next = Some(range.first());
        while let Some(height) = next {
            let Some(stored) = self.stored_at(view, height)? else { break };
            let Some(frame) = stored.frame_at(height) else { break };
            let Some(wanted) = HeightRange::new(height, range.last()).and_then(|rest| frame.range.intersection(rest))
            else {
                break;
            };
            let fitting = fitting(&frame, wanted, left);
            let Some(kept) = fitting else { break };
            if kept != wanted && out.len() > start {
                // The next request begins here, at a frame's start: nothing needs to be cut.
                break;
            }
            if kept == frame.range {
                frame.read_into(out)?;
            } else {
                let cut = cut_frame(&frame.decode()?, frame.lens, kept);
                out.extend_from_slice(
                    &cut.ok_or_else(|| stored.damaged(format!("the bodies {kept} can't be cut out")))?,
                );
            }
            left = left.saturating_sub(bytes_of(&frame, kept));
            let goes_on = kept == wanted && kept.last() < range.last();
            next = goes_on.then(|| kept.last().next());
        }
        Ok(())
    }

    /// Blocks from the first of `range` on, within one stored segment: up to `max_bytes` of payload, at least one frame.
    pub(super) fn read_part(
        &self,
        view: &View,
        range: HeightRange,
        max_bytes: u64,
    ) -> Result<Option<ApplyPart>, StoreFailure> {
        let Some(stored) = self.stored_at(view, range.first())? else { return Ok(None) };
        let mut frames: Vec<BodyFrame> = Vec::new();
        let mut left = max_bytes;
        let mut height = range.first();
        while let Some(frame) = stored.frame_at(height) {
            let Some(kept) = HeightRange::new(height, range.last()).and_then(|rest| frame.range.intersection(rest))
            else {
                break;
            };
            let bytes = bytes_of(&frame, kept);
            if bytes > left && !frames.is_empty() {
                break;
            }
            left = left.saturating_sub(bytes);
            frames.push(cut_out(&stored, &frame, kept)?);
            if kept.last() >= range.last() || kept.last() == Height::MAX {
                break;
            }
            height = kept.last().next();
        }
        if frames.is_empty() {
            return Ok(None);
        }
        let segment = match self.caches.replayed(stored.range()) {
            Some(segment) => segment,
            None => {
                let facts = &stored.record().facts;
                let bytes = stored.segment()?;
                let segment =
                    SegmentRef::trusted(facts.epoch, facts.to_segment_facts(), bytes, Bytes::new(), Memo::default());
                self.caches.put_replayed(stored.range(), segment.clone());
                segment
            }
        };
        Ok(Some(ApplyPart { segment, frames, executed: false }))
    }
}

/// Stored segments and pieces with some headers in a row.
struct Parts {
    /// The header of the base, which is not among the stored ones, as a segment of its own.
    base: Option<Bytes>,
    stored: Vec<Arc<Stored>>,
}

impl Parts {
    fn segments(&self) -> Result<Vec<Bytes>, StoreFailure> {
        let stored = self.stored.iter().map(|part| part.segment());
        self.base.iter().cloned().map(Ok).chain(stored).collect()
    }
}

/// The certificates of the single blocks of `range`, if they are wanted; `None` where not all are there, as where they were never
/// fetched, or where they are more than an answer holds.
fn audit_in(parts: &Parts, range: HeightRange, wanted: bool) -> Result<Option<Bytes>, StoreFailure> {
    if !wanted {
        return Ok(Some(Bytes::new()));
    }
    if parts.base.is_some() {
        return Ok(None);
    }
    let mut all = Vec::new();
    for stored in &parts.stored {
        let Some(held) = stored.range().intersection(range) else { continue };
        let audit = stored.audit_of(held)?;
        if audit.is_empty() || all.len().saturating_add(audit.len()) > MAX_AUDIT_BYTES as usize {
            return Ok(None);
        }
        if held == range {
            return Ok(Some(audit));
        }
        all.extend_from_slice(&audit);
    }
    Ok((!all.is_empty()).then(|| all.into()))
}

/// Payload bytes of the blocks in `range`.
fn bytes_of(frame: &StoredFrame<'_>, range: HeightRange) -> u64 {
    let skipped = frame.range.index_of(range.first()).unwrap_or(0);
    let lens = frame.lens.iter().skip(skipped).zip(0..range.count());
    lens.fold(0, |sum, (&len, _)| sum.saturating_add(u64::from(len)))
}

/// How much of `wanted`, from its start, has at most `max_bytes`; `None` where the first block has more.
fn fitting(frame: &StoredFrame<'_>, wanted: HeightRange, max_bytes: u64) -> Option<HeightRange> {
    let skipped = frame.range.index_of(wanted.first())?;
    let mut sum = 0u64;
    let lens = frame.lens.iter().skip(skipped).zip(0..wanted.count());
    let fits = lens.take_while(|&(&len, _)| {
        sum = sum.saturating_add(u64::from(len));
        sum <= max_bytes
    });
    let count = u64::try_from(fits.count()).ok()?;
    HeightRange::new(wanted.first(), wanted.first().plus(count.checked_sub(1)?))
}

/// The blocks of `frame` in `kept`, as a frame of its own.
fn cut_out(stored: &Stored, frame: &StoredFrame<'_>, kept: HeightRange) -> Result<BodyFrame, StoreFailure> {
    let whole = frame.decode()?;
    if kept == frame.range {
        return Ok(whole);
    }
    let cut = || {
        let wire = cut_frame(&whole, frame.lens, kept)?;
        let skipped = frame.range.index_of(kept.first())?;
        decode_bodies(wire.into(), kept.first(), frame.lens.get(skipped..)?).ok()?.pop()
    };
    cut().ok_or_else(|| stored.damaged(format!("the bodies {kept} can't be cut out")))
}
