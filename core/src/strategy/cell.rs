//! One grid cell on its way: its headers, then its bodies in slots that split and fill in any order.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::chain::{Audits, ChainProfile, EpochRef, SegmentEnd, SegmentRef};
use crate::ids::{Height, JobId, RequestId};
use crate::ranges::HeightRange;
use crate::wire::BodyFrame;

/// Memory that a verified header takes while it waits, beside its encoded and its decoded form: its id and what belongs to
/// it.
const HEADER_OVERHEAD_BYTES: u64 = 256;
/// Memory that a segment takes besides its headers: its proof.
const SEGMENT_BYTES: u64 = 24 << 10;

/// Memory that the headers of a cell take at most while they wait: each encoded and decoded.
pub(crate) fn header_memory(profile: &ChainProfile, headers: u64) -> u64 {
    let each = u64::from(profile.header_bytes).saturating_mul(2).saturating_add(HEADER_OVERHEAD_BYTES);
    headers.saturating_mul(each).saturating_add(SEGMENT_BYTES)
}

/// Source that is about to deliver something: a peer, or a job that checks what a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Request(RequestId),
    Job(JobId),
}

/// Something on its way. Mostly one source; a second where the first is late.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fetch<T> {
    Missing,
    Pending(Vec<Source>),
    Ready(T),
}

impl<T> Fetch<T> {
    pub(crate) fn add(&mut self, source: Source) {
        match self {
            Self::Missing => *self = Self::Pending(alloc::vec![source]),
            Self::Pending(sources) => sources.push(source),
            Self::Ready(_) => {}
        }
    }

    /// Puts one source in the place of another (a request was answered, a job was given out again).
    pub(crate) fn replace(&mut self, old: Source, new: Source) -> bool {
        let Self::Pending(sources) = self else { return false };
        let place = sources.iter_mut().find(|source| **source == old);
        place.map(|place| *place = new).is_some()
    }

    /// Takes a source away. True where that leaves none, so that it is missing again.
    pub(crate) fn remove(&mut self, source: Source) -> bool {
        let Self::Pending(sources) = self else { return false };
        sources.retain(|&other| other != source);
        if sources.is_empty() {
            *self = Self::Missing;
            return true;
        }
        false
    }

    /// The sources that are still pending.
    pub(crate) fn sources(&self) -> &[Source] {
        match self {
            Self::Pending(sources) => sources,
            Self::Missing | Self::Ready(_) => &[],
        }
    }
}

/// Bodies of consecutive blocks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) range: HeightRange,
    /// Payload bytes, which the slot holds of the budget unless it is missing.
    pub(crate) bytes: u64,
    pub(crate) fetch: Fetch<Vec<BodyFrame>>,
}

/// One cell of the grid, or the part of it that is needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cell {
    pub(crate) range: HeightRange,
    pub(crate) epoch: EpochRef,
    pub(crate) end: SegmentEnd,
    /// The tip message that proves the end of an anchored cell.
    pub(crate) anchor: Option<Bytes>,
    pub(crate) headers: Fetch<SegmentRef>,
    /// Whether every block is to come with a certificate of its own.
    pub(crate) audited: bool,
    /// Whether this node's own engine has executed its blocks.
    pub(crate) executed: bool,
    slots: BTreeMap<Height, Slot>,
    profile: ChainProfile,
}

/// Sum of payload lengths.
pub(crate) fn total(lens: &[u32]) -> u64 {
    // A plain sum, which the compiler can vectorize: a cell's lengths are far from overflowing it.
    lens.iter().map(|&len| u64::from(len)).sum()
}

impl Cell {
    pub(crate) fn new(
        range: HeightRange,
        epoch: EpochRef,
        end: SegmentEnd,
        anchor: Option<Bytes>,
        profile: ChainProfile,
    ) -> Self {
        let audited = matches!(profile.audits, Audits::Apart(_));
        let (headers, slots) = (Fetch::Missing, BTreeMap::new());
        Self { range, epoch, end, anchor, headers, audited, executed: false, slots, profile }
    }

    /// Bytes of the certificates of its single blocks, at most.
    pub(crate) fn audit_bytes(&self) -> u64 {
        if self.audited { self.profile.audit_bytes(self.range, &self.epoch) } else { 0 }
    }

    /// Bytes of the budget that the cell's headers hold from when they are asked for until its last block is applied.
    pub(crate) fn header_cost(&self) -> u64 {
        header_memory(&self.profile, self.range.count()).saturating_add(self.audit_bytes())
    }

    /// The verified headers, if they are there.
    pub(crate) fn segment(&self) -> Option<&SegmentRef> {
        match &self.headers {
            Fetch::Ready(segment) => Some(segment),
            Fetch::Missing | Fetch::Pending(_) => None,
        }
    }

    /// The headers are verified: their bodies can be asked for.
    pub(crate) fn set_headers(&mut self, segment: SegmentRef) {
        let bytes = total(segment.payload_lens());
        self.range = segment.range();
        self.slots.insert(self.range.first(), Slot { range: self.range, bytes, fetch: Fetch::Missing });
        self.headers = Fetch::Ready(segment);
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.values()
    }

    /// The slot that holds `height`.
    pub(crate) fn slot_at(&mut self, height: Height) -> Option<&mut Slot> {
        let (_, slot) = self.slots.range_mut(..=height).next_back()?;
        slot.range.contains(height).then_some(slot)
    }

    /// Payload bytes of blocks that nobody was asked for.
    pub(crate) fn missing_bytes(&self) -> u64 {
        let missing = self.slots.values().filter(|slot| matches!(slot.fetch, Fetch::Missing));
        missing.map(|slot| slot.bytes).fold(0, u64::saturating_add)
    }

    /// Whether the segment is to come with a certificate for its end.
    pub(crate) fn is_certified(&self) -> bool {
        self.end == SegmentEnd::Certified
    }

    /// Shortens the slot at `first` to at most `max_bytes` of payload and to heights up to `max_height`, but at least one
    /// block; the rest becomes a slot of its own.
    pub(crate) fn split_at_bytes(&mut self, first: Height, max_bytes: u64, max_height: Height) -> Option<HeightRange> {
        let Slot { range, bytes, .. } = *self.slots.get(&first)?;
        if bytes <= max_bytes && range.last() <= max_height {
            return Some(range);
        }
        let lens = self.segment()?.payload_lens_of(range)?;
        let mut bytes = 0u64;
        let fitting = lens.iter().take_while(|&&len| {
            bytes = bytes.saturating_add(u64::from(len));
            bytes <= max_bytes
        });
        let count = u64::try_from(fitting.count()).unwrap_or(u64::MAX).max(1);
        let last = first.plus(count.saturating_sub(1)).min(range.last()).min(max_height).max(first);
        self.split_after(first, last)
    }

    /// Cuts the slot at `first` behind `last`. Returns what the slot holds now.
    fn split_after(&mut self, first: Height, last: Height) -> Option<HeightRange> {
        let segment = self.segment()?.clone();
        let slot = self.slots.get_mut(&first)?;
        let whole = slot.range;
        if last >= whole.last() {
            return Some(whole);
        }
        slot.range = HeightRange::new(first, last)?;
        slot.bytes = total(segment.payload_lens_of(slot.range)?);
        let kept = slot.range;
        let rest = HeightRange::new(last.next(), whole.last())?;
        let bytes = total(segment.payload_lens_of(rest)?);
        self.slots.insert(rest.first(), Slot { range: rest, bytes, fetch: Fetch::Missing });
        Some(kept)
    }

    /// Bodies of the slot at `first` are verified, perhaps not all of them. Returns the bytes of payload that the slot
    /// holds less than before, and the sources that are no longer needed.
    pub(crate) fn fill(&mut self, first: Height, frames: Vec<BodyFrame>) -> Option<(u64, Vec<Source>)> {
        let last = frames.last()?.range.last();
        let before = self.slots.get(&first)?.bytes;
        self.split_after(first, last)?;
        let slot = self.slots.get_mut(&first)?;
        let obsolete = slot.fetch.sources().to_vec();
        slot.fetch = Fetch::Ready(frames);
        Some((before.saturating_sub(slot.bytes), obsolete))
    }

    /// Takes out the first slot if its bodies are there.
    pub(crate) fn pop_ready(&mut self) -> Option<(Slot, Vec<BodyFrame>)> {
        let entry = self.slots.first_entry()?;
        if !matches!(entry.get().fetch, Fetch::Ready(_)) {
            return None;
        }
        let mut slot = entry.remove();
        match core::mem::replace(&mut slot.fetch, Fetch::Missing) {
            Fetch::Ready(frames) => Some((slot, frames)),
            Fetch::Missing | Fetch::Pending(_) => None,
        }
    }

    /// Gives up on everything that is pending. Returns the sources.
    pub(crate) fn abandon_pending(&mut self) -> Vec<Source> {
        let mut sources = Vec::new();
        for slot in self.slots.values_mut() {
            sources.extend_from_slice(slot.fetch.sources());
            if matches!(slot.fetch, Fetch::Pending(_)) {
                slot.fetch = Fetch::Missing;
            }
        }
        sources
    }

    /// Whether every block has been handed on.
    pub(crate) fn is_done(&self) -> bool {
        self.segment().is_some() && self.slots.is_empty()
    }

    /// Bytes of the budget that the cell holds.
    pub(crate) fn held(&self) -> u64 {
        let headers = if matches!(self.headers, Fetch::Missing) { 0 } else { self.header_cost() };
        let pending = self.slots.values().filter(|slot| !matches!(slot.fetch, Fetch::Missing));
        pending.fold(headers, |sum, slot| sum.saturating_add(slot.bytes))
    }
}
