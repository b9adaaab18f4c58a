//! [`DownloadWindow`]: blocks between the applied head and the target: cells in order, filled by many peers, handed on in order.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::cell::{Cell, Fetch, Slot, Source};
use crate::calls::{ApplyPart, BlockPoint, HistoryGap};
use crate::chain::{ChainProfile, EpochRef, Finalized, SegmentEnd, SegmentRef, TipFacts};
use crate::ids::{Epoch, Height};
use crate::limits::MAX_AUDIT_BYTES;
use crate::ranges::HeightRange;
use crate::wire::BodyFrame;

/// Most cells in work at once. The budget is the real limit; this one bounds the scan where blocks are empty.
const MAX_CELLS: usize = 128;

/// Payload bytes that a block is assumed to have before any headers came.
const ASSUMED_BLOCK_BYTES: u64 = 1024;

/// Something to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Headers of the cell.
    /// Without their bodies even where those would fit in, if `alone`.
    Headers { range: HeightRange, certified: bool, cost: u64, alone: bool },
    /// Payloads of a slot, or of its beginning.
    Bodies { range: HeightRange, bytes: u64 },
}

impl Want {
    pub(crate) fn range(&self) -> HeightRange {
        match *self {
            Self::Headers { range, .. } | Self::Bodies { range, .. } => range,
        }
    }
}

/// Two proven blocks that don't link: finality is broken, or memory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The segment that was handed on before, if it is still known; its last block is in question.
    pub(crate) lower: Option<SegmentRef>,
    /// The tip message that anchors the lower segment, if it has no certificate.
    pub(crate) lower_anchor: Option<Bytes>,
    /// The segment whose first header names another parent.
    pub(crate) upper: SegmentRef,
    /// The tip message that anchors the upper segment, if it has no certificate.
    pub(crate) anchor: Option<Bytes>,
}

/// Blocks that were handed on together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handed {
    pub(crate) parts: Vec<ApplyPart>,
    /// The tip message that proves the last block, where its segment doesn't.
    pub(crate) tip: Option<Bytes>,
    /// Bytes of the budget that the parts hold.
    pub(crate) held: u64,
}

/// Window of blocks that are downloaded, above the last one that was handed on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DownloadWindow {
    profile: ChainProfile,
    /// The highest height that was handed on.
    handed: Height,
    /// The last block of the last cell that was handed on whole: what the next cell must link to.
    link: BlockPoint,
    /// The segment of that block, where it came through here, and the tip message that anchors it, if it needs one.
    link_segment: Option<(SegmentRef, Option<Bytes>)>,
    cells: VecDeque<Cell>,
    /// A piece of history below all cells.
    history: Option<Cell>,
    /// Payload bytes of a block, smoothed over the cells whose headers came in.
    block_bytes: Option<u64>,
}

impl DownloadWindow {
    /// Nothing in work above `head`.
    pub(crate) fn new(head: BlockPoint, profile: ChainProfile) -> Self {
        Self {
            profile,
            handed: head.height,
            link: head,
            link_segment: None,
            cells: VecDeque::new(),
            history: None,
            block_bytes: None,
        }
    }

    /// The last block of the last cell that was handed on whole.
    pub(crate) fn link(&self) -> BlockPoint {
        self.link
    }

    /// Whether nothing is in work.
    pub(crate) fn is_idle(&self) -> bool {
        self.cells.is_empty()
    }

    /// The highest height that is in work.
    pub(crate) fn planned(&self) -> Height {
        self.cells.back().map_or(self.handed, |cell| cell.range.last())
    }

    /// Opens the next cell below the target, if there is one and its epoch is known. `Err` names the epoch problem: the
    /// height whose epoch is not known yet.
    pub(crate) fn open_next(
        &mut self,
        target: &TipFacts,
        tip: Option<&Bytes>,
        epoch_of: impl Fn(Height) -> Option<EpochRef>,
    ) -> Result<bool, Height> {
        let next = self.planned().next();
        if next > target.height || self.cells.len() >= MAX_CELLS {
            return Ok(false);
        }
        let epoch = epoch_of(next).ok_or(next)?;
        let profile = self.profile;
        let cell = profile.piece(next, &epoch).and_then(|cell| HeightRange::new(next, cell.last())).ok_or(next)?;
        let cell = if cell.contains(target.height) && target.height < cell.last() {
            // Inside a cell no certificate is needed, but the tip's proof is: to serve the block, and as evidence.
            let Some(tip) = tip else { return Ok(false) };
            let range = HeightRange::new(next, target.height).ok_or(next)?;
            Cell::new(range, epoch, SegmentEnd::Anchored(target.id), Some(tip.clone()), profile)
        } else {
            Cell::new(cell, epoch, SegmentEnd::Certified, None, profile)
        };
        self.cells.push_back(cell);
        Ok(true)
    }

    /// The first thing to ask for at or above `from`.
    pub(crate) fn next_want(&self, from: Height) -> Option<Want> {
        self.cells.iter().filter(|cell| cell.range.last() >= from).find_map(|cell| want_of(cell, from, false))
    }

    /// The first thing that is pending or missing: what everything behind it waits for. Its heights, its payload bytes
    /// (zero for headers) and its sources.
    pub(crate) fn head_of_line(&self) -> Option<(HeightRange, u64, &[Source])> {
        let cell = self.cells.front()?;
        if cell.segment().is_none() {
            return Some((cell.range, 0, cell.headers.sources()));
        }
        let slot = cell.slots().find(|slot| !matches!(slot.fetch, Fetch::Ready(_)))?;
        Some((slot.range, slot.bytes, slot.fetch.sources()))
    }

    fn cell_at(&mut self, height: Height) -> Option<&mut Cell> {
        let history = self.history.iter_mut();
        self.cells.iter_mut().chain(history).find(|cell| cell.range.contains(height))
    }

    /// The cell that holds `height`.
    pub(crate) fn cell(&self, height: Height) -> Option<&Cell> {
        self.cells.iter().chain(&self.history).find(|cell| cell.range.contains(height))
    }

    /// The header fetch of the cell that starts at `first`.
    pub(crate) fn headers_of(&mut self, first: Height) -> Option<&mut Fetch<SegmentRef>> {
        self.cell_at(first).filter(|cell| cell.range.first() == first).map(|cell| &mut cell.headers)
    }

    /// The slot that starts at `first`.
    pub(crate) fn slot_of(&mut self, first: Height) -> Option<&mut Slot> {
        self.cell_at(first)?.slot_at(first).filter(|slot| slot.range.first() == first)
    }

    /// Shortens the slot at `first` to what one request should ask for.
    pub(crate) fn split(&mut self, first: Height, max_bytes: u64, max_height: Height) -> Option<HeightRange> {
        self.cell_at(first)?.split_at_bytes(first, max_bytes, max_height)
    }

    /// The headers of the cell at `first` are verified, and `frames` with the bodies of its first blocks, if any came
    /// along. Returns the bytes of the budget that those bodies hold, and the sources that are no longer needed.
    pub(crate) fn set_headers(
        &mut self,
        first: Height,
        segment: SegmentRef,
        frames: Vec<BodyFrame>,
    ) -> (u64, Vec<Source>) {
        let waits = |cell: &&mut Cell| cell.range.first() == first && cell.segment().is_none();
        let Some(cell) = self.cell_at(first).filter(waits) else { return (0, Vec::new()) };
        let obsolete = cell.headers.sources().to_vec();
        cell.set_headers(segment);
        let (count, bytes) = (cell.range.count(), cell.slot_at(first).map_or(0, |slot| slot.bytes));
        if frames.first().is_some_and(|frame| frame.range.first() == first) {
            cell.fill(first, frames);
        }
        let held = cell.slot_at(first).filter(|slot| matches!(slot.fetch, Fetch::Ready(_)));
        let held = held.map_or(0, |slot| slot.bytes);
        let average = bytes.div_ceil(count.max(1));
        self.block_bytes = Some(self.block_bytes.map_or(average, |before| before.midpoint(average)));
        (held, obsolete)
    }

    /// Payload bytes of the cells in work that nobody was asked for: known, or expected where headers are on their way.
    pub(crate) fn unasked_bytes(&self) -> u64 {
        let of_cell = |cell: &Cell| match &cell.headers {
            Fetch::Ready(_) => cell.missing_bytes(),
            Fetch::Missing | Fetch::Pending(_) => {
                self.block_bytes.unwrap_or(ASSUMED_BLOCK_BYTES).saturating_mul(cell.range.count())
            }
        };
        self.cells.iter().map(of_cell).fold(0, u64::saturating_add)
    }

    /// Payload bytes that `range` is expected to have, by the cells before; zero while nothing is known.
    pub(crate) fn expected_bytes(&self, range: HeightRange) -> u64 {
        self.block_bytes.map_or(0, |bytes| bytes.saturating_mul(range.count()))
    }

    /// Bodies of the slot at `first` are verified. Returns bytes to release and the sources no longer needed, or `None`
    /// where nobody waits for them.
    pub(crate) fn fill(&mut self, first: Height, frames: Vec<BodyFrame>) -> Option<(u64, Vec<Source>)> {
        let waiting = self.slot_of(first).is_some_and(|slot| matches!(slot.fetch, Fetch::Pending(_)));
        if !waiting {
            return None;
        }
        self.cell_at(first)?.fill(first, frames)
    }

    /// Whether all that is in work lies within `range`, which begins right above what was handed on.
    pub(crate) fn is_replaceable(&self, range: HeightRange) -> bool {
        let begun = self.cells.front().is_some_and(|cell| cell.range.contains(self.handed));
        !begun && range.first().is_next_of(self.handed) && range.contains(self.planned())
    }

    /// Proof of the block that the next cell must link to, if that is the one at `height` and its segment is known.
    pub(crate) fn link_proof(&self, height: Height) -> Option<Finalized> {
        let (segment, anchor) = self.link_segment.as_ref().filter(|_| self.link.height == height)?;
        Some(segment.finalized(anchor.as_ref(), height))
    }

    /// Adds a cell whose headers and first bodies came in one answer, if it continues from what is planned. Returns the
    /// bytes that it holds of the budget.
    pub(crate) fn insert_followed(
        &mut self,
        epoch: EpochRef,
        segment: SegmentRef,
        frames: Vec<BodyFrame>,
        executed: bool,
    ) -> Option<u64> {
        let range = segment.range();
        if !range.first().is_next_of(self.planned()) {
            return None;
        }
        let mut cell = Cell::new(range, epoch, SegmentEnd::Certified, None, self.profile);
        cell.executed = executed;
        cell.set_headers(segment);
        cell.slot_at(range.first())?.fetch = Fetch::Pending(Vec::new());
        cell.fill(range.first(), frames)?;
        let held = cell.held();
        self.cells.push_back(cell);
        Some(held)
    }

    /// Hands on what is ready at the front: up to `max_bytes` of payload, and no block of an epoch above `stored`.
    pub(crate) fn hand_on(&mut self, max_bytes: u64, stored: Epoch) -> Result<Handed, Broken> {
        let mut parts: Vec<ApplyPart> = Vec::new();
        let mut tip = None;
        let mut held = 0u64;
        let mut bytes = 0u64;
        while let Some(cell) = self.cells.front_mut() {
            let Some(segment) = cell.segment().cloned() else { break };
            if cell.epoch.epoch() > stored {
                break;
            }
            if cell.range.first().is_next_of(self.handed) && segment.parent_id() != self.link.id {
                if parts.is_empty() {
                    let (lower, lower_anchor) = self.link_segment.clone().unzip();
                    let lower_anchor = lower_anchor.flatten();
                    return Err(Broken { lower, lower_anchor, upper: segment, anchor: cell.anchor.clone() });
                }
                // Parts that came before are proven and linked; they go first.
                break;
            }
            let mut frames = Vec::new();
            while bytes < max_bytes
                && let Some((slot, ready)) = cell.pop_ready()
            {
                bytes = bytes.saturating_add(slot.bytes);
                held = held.saturating_add(slot.bytes);
                self.handed = slot.range.last();
                frames.extend(ready);
            }
            if !frames.is_empty() {
                tip = None;
                parts.push(ApplyPart { segment: segment.clone(), frames, executed: cell.executed });
            }
            if !cell.is_done() {
                break;
            }
            held = held.saturating_add(cell.header_cost());
            self.link = BlockPoint { height: cell.range.last(), id: segment.last_id() };
            tip = self.cells.pop_front().and_then(|cell| cell.anchor);
            self.link_segment = Some((segment, tip.clone()));
        }
        Ok(Handed { parts, tip, held })
    }

    /// Forgets what is in work, but for the rest of a cell that was handed on in part: its headers are the link to what
    /// comes next. Returns bytes of the budget to release and the sources to cancel.
    pub(crate) fn clear(&mut self) -> (u64, Vec<Source>) {
        let kept = self.cells.front().is_some_and(|cell| cell.range.contains(self.handed));
        let mut released = 0u64;
        let mut sources = Vec::new();
        for cell in self.cells.iter_mut().skip(usize::from(kept)) {
            released = released.saturating_add(cell.held());
            sources.extend_from_slice(cell.headers.sources());
            sources.extend(cell.slots().flat_map(|slot| slot.fetch.sources()));
        }
        self.cells.truncate(usize::from(kept));
        if let Some(cell) = self.cells.front_mut() {
            let before = cell.held();
            sources.extend(cell.abandon_pending());
            released = released.saturating_add(before.saturating_sub(cell.held()));
        }
        (released, sources)
    }

    /// Begins with a piece of history, if none is on its way.
    pub(crate) fn open_history(&mut self, gap: &HistoryGap) {
        let end = SegmentEnd::Anchored(gap.last_id);
        let profile = self.profile;
        self.history.get_or_insert_with(|| {
            let mut cell = Cell::new(gap.range, gap.epoch.clone(), end, None, profile);
            // History is stored by cells, and hangs on the block above it by hashes: a certificate more proves nothing.
            cell.audited &= cell.audit_bytes() <= MAX_AUDIT_BYTES.into();
            cell
        });
    }

    /// Next want of the piece of history.
    pub(crate) fn history_want(&self, with_bodies: bool) -> Option<Want> {
        let cell = self.history.as_ref()?;
        want_of(cell, Height::ZERO, !with_bodies).filter(|want| with_bodies || matches!(want, Want::Headers { .. }))
    }

    /// The piece of history, if it is there: its headers, its bodies, and the bytes of the budget that they hold.
    pub(crate) fn take_history(&mut self, with_bodies: bool) -> Option<(SegmentRef, Option<Vec<BodyFrame>>, u64)> {
        let cell = self.history.as_mut()?;
        let segment = cell.segment()?.clone();
        let complete = cell.slots().all(|slot| matches!(slot.fetch, Fetch::Ready(_)));
        if with_bodies && !complete {
            return None;
        }
        let held = cell.held();
        let mut frames = Vec::new();
        while let Some((_, ready)) = cell.pop_ready() {
            frames.extend(ready);
        }
        self.history = None;
        Some((segment, with_bodies.then_some(frames), held))
    }

    /// Bytes of the budget that the piece of history holds.
    pub(crate) fn history_held(&self) -> u64 {
        self.history.as_ref().map_or(0, Cell::held)
    }

    /// Forgets the piece of history. Returns bytes of the budget to release and the sources to cancel.
    pub(crate) fn clear_history(&mut self) -> (u64, Vec<Source>) {
        let Some(cell) = self.history.take() else { return (0, Vec::new()) };
        let sources = cell.headers.sources().iter().chain(cell.slots().flat_map(|slot| slot.fetch.sources()));
        (cell.held(), sources.copied().collect())
    }

    /// Payload bytes at the front that are ready to be handed on.
    pub(crate) fn ready_bytes(&self) -> u64 {
        let mut bytes = 0u64;
        for cell in &self.cells {
            if cell.segment().is_none() {
                return bytes;
            }
            for slot in cell.slots() {
                if !matches!(slot.fetch, Fetch::Ready(_)) {
                    return bytes;
                }
                bytes = bytes.saturating_add(slot.bytes);
            }
        }
        bytes
    }
}

/// Next want of a cell, at or above `from`.
fn want_of(cell: &Cell, from: Height, alone: bool) -> Option<Want> {
    match &cell.headers {
        Fetch::Missing => {
            let (range, certified, cost) = (cell.range, cell.is_certified(), cell.header_cost());
            Some(Want::Headers { range, certified, cost, alone })
        }
        Fetch::Pending(_) => None,
        Fetch::Ready(_) => cell
            .slots()
            .find(|slot| slot.range.first() >= from && matches!(slot.fetch, Fetch::Missing))
            .map(|slot| Want::Bodies { range: slot.range, bytes: slot.bytes }),
    }
}
