//! [`respond`], and the reader that it answers from.

use alloc::vec::Vec;

use bytes::Bytes;

use super::state::{newest, read, subtrees};
use crate::ids::{Epoch, Height};
use crate::limits::{
    AUDITED_FOLLOW, GRID, MAX_AUDIT_BYTES, MAX_BODIES_BYTES, MAX_HANDOVERS, MAX_HANDOVERS_BYTES, MAX_PAYLOAD_BYTES,
    MAX_SEGMENT_BYTES,
};
use crate::ranges::HeightRange;
use crate::state::{StateError, StateReader};
use crate::wire::{PeerStatus, Refusal, Request, encode_answer, encode_refusal, put_section};

/// A segment as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSegment {
    /// The encoded segment.
    pub segment: Bytes,
    /// Certificates of the single blocks, if they were asked for.
    pub audit: Bytes,
}

/// Why a request could not be answered: the store failed, or is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServeError<E, S: core::error::Error + 'static> {
    /// Blocks, proofs or the list of states can't be read.
    #[error("{0}")]
    Reader(E),
    /// A state can't be read.
    #[error(transparent)]
    State(StateError<S>),
}

/// Error of [`respond`] for a reader.
pub type ServeErrorOf<R> = ServeError<<R as ChainReader>::Error, <<R as ChainReader>::State as StateReader>::Error>;

/// Verified data, ready to be served. `Ok(None)` is "not available", which is no fault.
pub trait ChainReader {
    /// Why a read failed. The asker is told that the data is not available; the host logs the error.
    type Error;

    /// A view of the state at one height. What it reads doesn't change while it lives.
    type State: StateReader;

    /// The heights and states that this node holds.
    fn status(&self) -> PeerStatus;

    /// The handover that ends `epoch`.
    fn handover(&self, epoch: Epoch) -> Result<Option<Bytes>, Self::Error>;

    /// The newest proof of finality.
    fn tip(&self) -> Result<Option<Bytes>, Self::Error>;

    /// The headers of `range`, which lies within one grid cell and one epoch, else `None`.
    fn segment(&self, range: HeightRange, certified: bool, audit: bool) -> Result<Option<StoredSegment>, Self::Error>;

    /// From the block after `after` to the highest block in its grid cell that a stored proof makes final; `None` where
    /// that is nothing.
    fn follow_range(&self, after: Height) -> Option<HeightRange>;

    /// Appends frames with the payloads from the first height of `range` on to `out`: up to `max_bytes` of payload. False,
    /// with nothing appended, where the first is not there or has more.
    fn bodies(&self, range: HeightRange, max_bytes: u32, out: &mut Vec<u8>) -> Result<bool, Self::Error>;

    /// The newest state that this node has, and the tip message of the very block that left it, both of one moment: a tip
    /// of another block would make the state look false. `None` where there is no state, or nothing proves its block.
    fn newest_state(&self) -> Result<Option<(Bytes, Self::State)>, Self::Error>;

    /// The states that may hold subtrees which someone expects at the height `near`, the one there first. The others
    /// are worth a look because most of a state stays as it is for long.
    fn states(&self, near: Height) -> Result<Vec<Self::State>, Self::Error>;
}

/// Answers one request. The result is the whole answer, ready to be sent.
pub fn respond<R: ChainReader>(request: &Request, reader: &R) -> Result<Bytes, ServeErrorOf<R>> {
    let answer = match *request {
        Request::State { height, form, ref items, max_bytes } => {
            let states = reader.states(height).map_err(ServeError::Reader)?;
            subtrees(&states, form, items, max_bytes).map_err(ServeError::State)?
        }
        Request::Proof { height, root, key_hash } => {
            let states = reader.states(height).map_err(ServeError::Reader)?;
            read(&states, &root, &key_hash).map_err(ServeError::State)?
        }
        Request::Read { key_hash } => match reader.newest_state().map_err(ServeError::Reader)? {
            Some((tip, state)) => newest(&tip, &state, &key_hash).map_err(ServeError::State)?,
            None => None,
        },
        _ => blocks(request, reader).map_err(ServeError::Reader)?,
    };
    // Longer than the asker reads, it would be taken for a false answer.
    let answer = answer.filter(|out| out.len() <= most_bytes(request));
    Ok(answer.map_or_else(|| encode_refusal(Refusal::NotAvailable), Bytes::from))
}

/// Most bytes of an answer that its asker reads.
fn most_bytes(request: &Request) -> usize {
    usize::try_from(request.max_response_bytes()).unwrap_or(usize::MAX)
}

/// Answers everything that is not about the state.
fn blocks<R: ChainReader>(request: &Request, reader: &R) -> Result<Option<Vec<u8>>, R::Error> {
    let answer = match *request {
        Request::Status => status(reader),
        Request::Handovers { from, max } => handovers(reader, from, max)?,
        Request::Tip => reader.tip()?.map(|tip| {
            let mut out = encode_answer(tip.len());
            out.extend_from_slice(&tip);
            out
        }),
        Request::Segment { range, certified, audit, bodies } => {
            let mut answer = segment(reader, range, certified, audit)?;
            if let Some(out) = answer.as_mut().filter(|_| bodies > 0) {
                let headers = out.len();
                reader.bodies(range, bodies.min(MAX_BODIES_BYTES), out)?;
                if out.len() > most_bytes(request) {
                    // Headers alone are an answer too.
                    out.truncate(headers);
                }
            }
            answer
        }
        Request::Bodies { range, max_bytes } => bodies(reader, range, max_bytes)?,
        Request::Follow { after, max_bytes, audit } => follow(reader, after, max_bytes, audit)?,
        // Addresses are the network's, and adverts the validator's: a host that has some answers before it comes here.
        Request::State { .. }
        | Request::Proof { .. }
        | Request::Read { .. }
        | Request::Peers { .. }
        | Request::Advert { .. }
        | Request::BackedAdvert { .. } => None,
    };
    Ok(answer)
}

fn status<R: ChainReader>(reader: &R) -> Option<Vec<u8>> {
    let encoded = postcard::to_allocvec(&reader.status()).ok()?;
    let mut out = encode_answer(encoded.len());
    out.extend_from_slice(&encoded);
    Some(out)
}

fn handovers<R: ChainReader>(reader: &R, from: Epoch, max: u32) -> Result<Option<Vec<u8>>, R::Error> {
    let mut out = encode_answer(0);
    let mut epoch = from;
    let empty = out.len();
    for _ in 0..max.min(MAX_HANDOVERS) {
        let Some(handover) = reader.handover(epoch)? else { break };
        if out.len().saturating_add(handover.len()) > MAX_HANDOVERS_BYTES as usize || !put_section(&mut out, &handover)
        {
            break;
        }
        epoch = epoch.next();
    }
    Ok((out.len() > empty).then_some(out))
}

/// A segment answer.
fn segment<R: ChainReader>(
    reader: &R,
    range: HeightRange,
    certified: bool,
    audit: bool,
) -> Result<Option<Vec<u8>>, R::Error> {
    if range.count() > GRID {
        return Ok(None);
    }
    let Some(stored) = reader.segment(range, certified, audit)? else { return Ok(None) };
    let size = stored.segment.len().saturating_add(stored.audit.len()).saturating_add(8);
    let mut out = encode_answer(size);
    let written = put_section(&mut out, &stored.segment) && put_section(&mut out, &stored.audit);
    Ok(written.then_some(out))
}

fn bodies<R: ChainReader>(reader: &R, range: HeightRange, max_bytes: u32) -> Result<Option<Vec<u8>>, R::Error> {
    let max_bytes = max_bytes.min(MAX_BODIES_BYTES);
    let mut out = encode_answer(max_bytes as usize);
    Ok(some_bodies(reader, range, max_bytes, &mut out)?.then_some(out))
}

/// Bodies as they fit, or the first whatever its size: who asks for it needs it.
fn some_bodies<R: ChainReader>(
    reader: &R,
    range: HeightRange,
    max_bytes: u32,
    out: &mut Vec<u8>,
) -> Result<bool, R::Error> {
    if reader.bodies(range, max_bytes, out)? {
        return Ok(true);
    }
    reader.bodies(HeightRange::single(range.first()), MAX_PAYLOAD_BYTES, out)
}

fn follow<R: ChainReader>(reader: &R, after: Height, max_bytes: u32, audit: bool) -> Result<Option<Vec<u8>>, R::Error> {
    let Some(mut range) = reader.follow_range(after) else { return Ok(None) };
    let max_bytes = max_bytes.min(MAX_BODIES_BYTES);
    let (mut most, largest) = match audit {
        true => (AUDITED_FOLLOW, MAX_SEGMENT_BYTES.saturating_add(MAX_AUDIT_BYTES)),
        false => (u64::MAX, u32::MAX),
    };
    loop {
        range = HeightRange::new(range.first(), range.last().min(range.first().plus(most.saturating_sub(1))))
            .unwrap_or(range);
        let Some(mut out) = segment(reader, range, true, audit)? else { return Ok(None) };
        // Certificates of a chain may be larger still than those that the bound is for.
        if out.len() <= largest as usize || range.count() <= 1 {
            return Ok(some_bodies(reader, range, max_bytes, &mut out)?.then_some(out));
        }
        most = range.count() / 2;
    }
}

#[cfg(test)]
#[path = "respond_tests.rs"]
mod tests;
