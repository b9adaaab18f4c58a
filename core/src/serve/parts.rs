//! [`PartReader`]: a reader over a store that keeps segments as they came, for hosts that give their store away piece by
//! piece. What the store says is checked for what can't be, since it is another program's.

use alloc::vec::Vec;
use core::cell::RefCell;

use bytes::Bytes;

use super::respond::{ChainReader, StoredSegment};
use crate::chain::{Chain, SegmentEnd};
use crate::hash::Hash;
use crate::ids::{Epoch, Height};
use crate::limits::{FRAME_BYTES, GRID, MAX_PAYLOAD_BYTES, MAX_PROOF_PATH};
use crate::ranges::HeightRange;
use crate::state::StateReader;
use crate::wire::{PeerStatus, cut_audit, encode_frame};

/// A segment of headers as a host stored it: what a call to apply brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    /// The heights of its headers, at most 1,024.
    pub range: HeightRange,
    /// The epoch of all of them.
    pub epoch: Epoch,
    /// Whether it proves its last block final by itself, or was anchored to a block above.
    pub certified: bool,
    /// The encoded segment.
    pub segment: Bytes,
    /// The certificates of the single blocks, if they came with it; else empty.
    pub audit: Bytes,
}

/// A host's store of blocks, asked for one thing at a time. `Ok(None)` is "not there", which is no fault.
pub trait PartStore {
    /// Why a read failed.
    type Error: Clone;

    /// A view of the state at one height.
    type State: StateReader;

    /// The heights and states that this node holds.
    fn status(&self) -> Result<PeerStatus, Self::Error>;

    /// The handover that ends `epoch`.
    fn handover(&self, epoch: Epoch) -> Result<Option<Bytes>, Self::Error>;

    /// The newest proof of finality.
    fn tip(&self) -> Result<Option<Bytes>, Self::Error>;

    /// The stored segment that holds the header at `height`.
    fn part(&self, height: Height) -> Result<Option<StoredPart>, Self::Error>;

    /// The payload of the block at `height`.
    fn payload(&self, height: Height) -> Result<Option<Bytes>, Self::Error>;

    /// The newest state and its height; `None` where the host has none.
    fn newest_state(&self) -> Option<(Height, Self::State)>;

    /// The states to serve from, the one nearest to `near` first.
    fn states(&self, near: Height) -> Vec<Self::State>;

    /// The error of a `question` to the store whose answer can't be.
    fn impossible(&self, question: &'static str) -> Self::Error;
}

/// A [`PartStore`] and the chain that joins its segments, as a [`ChainReader`]. For one answer.
#[derive(Debug)]
pub struct PartReader<'a, C, S: PartStore> {
    chain: &'a C,
    store: S,
    /// The first failure where the answer has no way to tell it.
    failed: RefCell<Option<S::Error>>,
}

impl<'a, C: Chain, S: PartStore> PartReader<'a, C, S> {
    /// A reader over `store`, whose segments are those of `chain`.
    pub const fn new(chain: &'a C, store: S) -> Self {
        Self { chain, store, failed: RefCell::new(None) }
    }

    /// The failure of a read without which the answer could be made all the same: the store should be looked at.
    pub fn failure(&self) -> Option<S::Error> {
        self.failed.borrow().clone()
    }

    fn note<T>(&self, result: Result<T, S::Error>) -> Option<T> {
        match result {
            Ok(found) => Some(found),
            Err(error) => {
                self.failed.borrow_mut().get_or_insert(error);
                None
            }
        }
    }

    fn payload(&self, height: Height) -> Result<Option<Bytes>, S::Error> {
        let payload = self.store.payload(height)?;
        if payload.as_ref().is_some_and(|payload| payload.len() > MAX_PAYLOAD_BYTES as usize) {
            return Err(self.store.impossible("payload"));
        }
        Ok(payload)
    }

    /// The stored segment that holds the header at `height`.
    fn part(&self, height: Height) -> Result<Option<StoredPart>, S::Error> {
        let part = self.store.part(height)?;
        if part.as_ref().is_some_and(|part| !part.range.contains(height) || part.range.count() > GRID) {
            return Err(self.store.impossible("segment"));
        }
        Ok(part)
    }

    /// The stored segments that hold the headers of `range`, all of one epoch; `None` where not all are there.
    fn parts(&self, range: HeightRange) -> Result<Option<Vec<StoredPart>>, S::Error> {
        let mut parts: Vec<StoredPart> = Vec::new();
        let mut height = range.first();
        loop {
            let Some(part) = self.part(height)? else { return Ok(None) };
            if parts.last().is_some_and(|before| before.epoch != part.epoch) {
                return Ok(None);
            }
            let last = part.range.last();
            parts.push(part);
            if last >= range.last() {
                return Ok(Some(parts));
            }
            height = last.next();
        }
    }

    fn assemble(&self, parts: &[StoredPart], range: HeightRange, end: SegmentEnd) -> Option<Bytes> {
        let segments: Vec<Bytes> = parts.iter().map(|part| part.segment.clone()).collect();
        self.chain.assemble(&segments, range, end)
    }

    /// A segment with a proof of its end: from what holds it, or with the proof of what comes next.
    fn certified(&self, parts: &[StoredPart], range: HeightRange) -> Result<Option<Bytes>, S::Error> {
        if let Some(segment) = self.assemble(parts, range, SegmentEnd::Certified) {
            return Ok(Some(segment));
        }
        let tip = self.store.status()?.tip;
        let longer = HeightRange::new(range.first(), range.last().plus(MAX_PROOF_PATH as u64).min(tip));
        let Some(longer) = longer.filter(|longer| range.last() < longer.last()) else { return Ok(None) };
        Ok(self.parts(longer)?.and_then(|parts| self.assemble(&parts, range, SegmentEnd::Certified)))
    }

    /// The same without one: its last block is proven by those above.
    fn anchored(&self, parts: &[StoredPart], range: HeightRange) -> Result<Option<Bytes>, S::Error> {
        let Some(last) = parts.last() else { return Ok(None) };
        let decoded = self.chain.decode_segment(&last.segment).ok();
        let header = decoded.and_then(|decoded| self.chain.header(&decoded, range.last()));
        let header = header.ok_or_else(|| self.store.impossible("segment"))?;
        Ok(self.assemble(parts, range, SegmentEnd::Anchored(header.id)))
    }

    fn followed(&self, after: Height) -> Result<Option<HeightRange>, S::Error> {
        let first = after.next();
        let cell_end = Height::new(first.get() | GRID.saturating_sub(1));
        let mut found = None;
        let mut height = first;
        let mut epoch = None;
        while height <= cell_end {
            let Some(part) = self.part(height)? else { break };
            if *epoch.get_or_insert(part.epoch) != part.epoch || part.range.last() > cell_end {
                break;
            }
            if part.certified {
                found = HeightRange::new(first, part.range.last());
            }
            if part.range.last() == Height::MAX {
                break;
            }
            height = part.range.last().next();
        }
        Ok(found)
    }
}

impl<C: Chain, S: PartStore> ChainReader for PartReader<'_, C, S> {
    type Error = S::Error;
    type State = S::State;

    fn status(&self) -> PeerStatus {
        // With nothing to show for it: the failure is told.
        let nothing = || PeerStatus {
            chain_id: Hash::from_bytes([0; 32]),
            earliest: Height::ZERO,
            tip: Height::ZERO,
            epoch: Epoch::new(0),
            snapshots: None,
        };
        self.note(self.store.status()).unwrap_or_else(nothing)
    }

    fn handover(&self, epoch: Epoch) -> Result<Option<Bytes>, S::Error> {
        self.store.handover(epoch)
    }

    fn tip(&self) -> Result<Option<Bytes>, S::Error> {
        self.store.tip()
    }

    fn segment(&self, range: HeightRange, certified: bool, audit: bool) -> Result<Option<StoredSegment>, S::Error> {
        if range.first().get() / GRID != range.last().get() / GRID {
            return Ok(None);
        }
        let Some(parts) = self.parts(range)? else { return Ok(None) };
        if let [part] = parts.as_slice()
            && part.range == range
            && (!certified || part.certified)
        {
            let certificates = if audit { part.audit.clone() } else { Bytes::new() };
            // An audit that was never fetched can't be served.
            let available = !audit || !certificates.is_empty();
            return Ok(available.then(|| StoredSegment { segment: part.segment.clone(), audit: certificates }));
        }
        let audit = if audit {
            let held = parts.iter().filter_map(|part| Some((part, part.range.intersection(range)?)));
            let cut = held.map(|(part, held)| cut_audit(&part.audit, part.range, held)).collect::<Option<Vec<_>>>();
            let Some(cut) = cut else { return Ok(None) };
            cut.concat().into()
        } else {
            Bytes::new()
        };
        let made = if certified { self.certified(&parts, range)? } else { self.anchored(&parts, range)? };
        Ok(made.map(|segment| StoredSegment { segment, audit }))
    }

    fn newest_state(&self) -> Result<Option<(Bytes, S::State)>, S::Error> {
        let Some((height, view)) = self.store.newest_state() else { return Ok(None) };
        // A tip of another block would make the state look false.
        let tip = if self.store.status()?.tip == height {
            self.store.tip()?
        } else {
            let range = HeightRange::single(height);
            let segment = self.parts(range)?.map(|parts| self.certified(&parts, range)).transpose()?.flatten();
            segment.and_then(|segment| self.chain.tip_of(&segment))
        };
        Ok(tip.map(|tip| (tip, view)))
    }

    fn follow_range(&self, after: Height) -> Option<HeightRange> {
        self.note(self.followed(after)).flatten()
    }

    fn bodies(&self, range: HeightRange, max_bytes: u32, out: &mut Vec<u8>) -> Result<bool, S::Error> {
        let (start, mut left) = (out.len(), max_bytes as usize);
        let (mut raw, mut count) = (Vec::new(), 0u32);
        let mut height = range.first();
        while let Some(payload) = self.payload(height)?.filter(|payload| payload.len() <= left) {
            if count > 0 && raw.len().saturating_add(payload.len()) > FRAME_BYTES as usize {
                encode_frame(out, count, &raw);
                raw.clear();
                count = 0;
            }
            left = left.saturating_sub(payload.len());
            raw.extend_from_slice(&payload);
            count = count.saturating_add(1);
            if height == range.last() {
                break;
            }
            height = height.next();
        }
        if count > 0 {
            encode_frame(out, count, &raw);
        }
        Ok(out.len() > start)
    }

    fn states(&self, near: Height) -> Result<Vec<S::State>, S::Error> {
        Ok(self.store.states(near))
    }
}
