//! [`ChainView`]: a test chain as one server holds it, from a height on and up to a tip.

use std::convert::Infallible;

use bytes::Bytes;
use hotstuff2_sync::chain::SegmentEnd;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::GRID;
use hotstuff2_sync::ranges::{HeightRange, grid_cell};
use hotstuff2_sync::serve::{ChainReader, StoredSegment, respond};
use hotstuff2_sync::state::MemoryStateStore;
use hotstuff2_sync::wire::{PeerStatus, Refusal, Request, cut_frame, encode_refusal};

use super::test_chain::TestChain;

/// A [`TestChain`] as far as one server holds it.
#[derive(Clone, Copy, Debug)]
pub struct ChainView<'a> {
    chain: &'a TestChain,
    earliest: Height,
    tip: Height,
    /// Heights whose states it keeps.
    states: Option<HeightRange>,
}

impl<'a> ChainView<'a> {
    pub(super) fn new(chain: &'a TestChain, earliest: Height, tip: Height) -> Self {
        Self { chain, earliest, tip, states: HeightRange::new(Height::ZERO, tip) }
    }

    /// The server without the states outside of `kept`, or without any.
    #[must_use]
    pub fn with_states(self, kept: Option<HeightRange>) -> Self {
        let states = self.states.zip(kept).and_then(|(states, kept)| states.intersection(kept));
        Self { states, ..self }
    }

    /// The server's answer.
    pub fn respond(&self, request: &Request) -> Bytes {
        // The store is in memory, and what it holds was never damaged.
        respond(request, self).unwrap_or_else(|_| encode_refusal(Refusal::NotAvailable))
    }

    fn holds(&self, range: HeightRange) -> bool {
        self.earliest <= range.first() && range.last() <= self.tip
    }
}

impl<'a> ChainReader for ChainView<'a> {
    type Error = Infallible;
    type State = &'a MemoryStateStore;

    fn status(&self) -> PeerStatus {
        PeerStatus {
            chain_id: self.chain.genesis.chain_id(),
            earliest: self.earliest,
            tip: self.tip,
            epoch: self.chain.epoch_of(self.tip).map_or(Epoch::ZERO, |epoch| epoch.info().epoch()),
            snapshots: self.states.and_then(|range| self.chain.states.advertised(range)),
        }
    }

    fn handover(&self, epoch: Epoch) -> Result<Option<Bytes>, Infallible> {
        let link = self.chain.handovers.iter().find(|link| link.ended == epoch && link.boundary <= self.tip);
        Ok(link.map(|link| link.bytes.clone()))
    }

    fn tip(&self) -> Result<Option<Bytes>, Infallible> {
        Ok(self.chain.tip(self.tip))
    }

    fn segment(&self, range: HeightRange, certified: bool, audit: bool) -> Result<Option<StoredSegment>, Infallible> {
        let in_cell = self
            .chain
            .epoch_of(range.first())
            .and_then(|epoch| grid_cell(range.first(), epoch.info().range(), GRID))
            .is_some_and(|cell| cell.covers(range));
        // Who keeps a state keeps what proves it.
        let proves = self.states.is_some_and(|kept| kept.contains(range.first())) && range.last() <= self.tip;
        if !in_cell || !(self.holds(range) || proves) {
            return Ok(None);
        }
        let end = match self.chain.id(range.last()) {
            Some(id) if !certified => SegmentEnd::Anchored(id),
            _ => SegmentEnd::Certified,
        };
        let audit = if audit { self.chain.audit(range) } else { Some(Bytes::new()) };
        let segment = self.chain.segment(range, end);
        Ok(segment.zip(audit).map(|(segment, audit)| StoredSegment { segment: segment.encode().into(), audit }))
    }

    fn follow_range(&self, after: Height) -> Option<HeightRange> {
        let first = after.next();
        let cell = grid_cell(first, self.chain.epoch_of(first)?.info().range(), GRID)?;
        let range = HeightRange::new(first, cell.last().min(self.tip))?;
        self.holds(range).then_some(range)
    }

    fn bodies(&self, range: HeightRange, max_bytes: u32, out: &mut Vec<u8>) -> Result<bool, Infallible> {
        let Some(held) = HeightRange::new(range.first(), range.last().min(self.tip)) else { return Ok(false) };
        if !self.holds(held) {
            return Ok(false);
        }
        let mut height = held.first();
        let mut left = max_bytes as usize;
        let mut any = false;
        while let Some((part, frame)) = self.chain.frame(height).filter(|_| height <= held.last()) {
            let Some(lens) = part.segment.payload_lens_of(frame.range) else { break };
            let skipped = frame.range.index_of(height).unwrap_or(0);
            let wanted = usize::try_from(held.last().above(height)).unwrap_or(usize::MAX).saturating_add(1);
            let fitting = lens
                .iter()
                .skip(skipped)
                .take(wanted)
                .take_while(|&&len| {
                    let fits = left.checked_sub(len as usize);
                    left = fits.unwrap_or(0);
                    fits.is_some()
                })
                .count();
            let Some(last) = fitting.checked_sub(1).map(|more| height.plus(more as u64)) else { break };
            let Some(cut) = HeightRange::new(height, last).and_then(|range| cut_frame(frame, lens, range)) else {
                break;
            };
            out.extend_from_slice(&cut);
            any = true;
            height = last.next();
            if last != frame.range.last() {
                break;
            }
        }
        Ok(any)
    }

    fn newest_state(&self) -> Result<Option<(Bytes, &'a MemoryStateStore)>, Infallible> {
        let newest = self.states.and_then(|range| self.chain.states.newest(range));
        Ok(newest.and_then(|(height, state)| Some((self.chain.tip(height)?, state))))
    }

    fn states(&self, near: Height) -> Result<Vec<&'a MemoryStateStore>, Infallible> {
        Ok(self.states.map_or_else(Vec::new, |range| self.chain.states.near(near, range)))
    }
}
