//! [`HostReader`]: a host's store, as a table of functions, behind the reader that the core serves from.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_void;
use std::fmt;
use std::mem::MaybeUninit;

use bytes::Bytes;
use hotstuff2_sync::chain::{Chain, SegmentEnd};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::limits::{FRAME_BYTES, GRID, MAX_PAYLOAD_BYTES, MAX_PROOF_PATH};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::{ChainReader, StoredSegment};
use hotstuff2_sync::state::MemoryStateStore;
use hotstuff2_sync::wire::{PeerStatus, cut_audit, encode_frame};

use crate::failure::Failure;
use crate::pointer::bytes;
use crate::types::{HS2_HOST_NONE, HS2_HOST_OK, hs2_peer_status, hs2_reader, hs2_slice, hs2_stored_segment};

/// A function of the host's table that did not do its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostError {
    function: &'static str,
    /// The host's own code; `None` where what it gave back can't be.
    code: Option<i32>,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "the host's function `{}` failed with {code}", self.function),
            None => write!(f, "the host's function `{}` gave back what can't be", self.function),
        }
    }
}

type Ask<K, T> = unsafe extern "C" fn(*mut c_void, K, *mut T) -> i32;

/// The functions, none of them null.
struct Functions {
    context: *mut c_void,
    status: unsafe extern "C" fn(*mut c_void, *mut hs2_peer_status) -> i32,
    handover: Ask<u64, hs2_slice>,
    tip: unsafe extern "C" fn(*mut c_void, *mut hs2_slice) -> i32,
    segment: Ask<u64, hs2_stored_segment>,
    payload: Ask<u64, hs2_slice>,
}

/// A host's store, for one call.
pub(crate) struct HostReader<'a, C> {
    functions: Functions,
    chain: &'a C,
    chain_id: Hash,
    /// The first failure where the core has no way to be told.
    failed: Cell<Option<HostError>>,
}

/// Stored headers in a row.
struct Part {
    range: HeightRange,
    epoch: Epoch,
    certified: bool,
    segment: Bytes,
    audit: Bytes,
}

impl<'a, C: Chain> HostReader<'a, C> {
    pub(crate) fn new(table: &hs2_reader, chain: &'a C, chain_id: Hash) -> Result<Self, Failure> {
        let null = |name: &str| Failure::argument(name, "is null in the reader's table");
        let functions = Functions {
            context: table.context,
            status: table.status.ok_or_else(|| null("status"))?,
            handover: table.handover.ok_or_else(|| null("handover"))?,
            tip: table.tip.ok_or_else(|| null("tip"))?,
            segment: table.segment.ok_or_else(|| null("segment"))?,
            payload: table.payload.ok_or_else(|| null("payload"))?,
        };
        Ok(Self { functions, chain, chain_id, failed: Cell::new(None) })
    }

    /// The failure of a call without which the answer could be made all the same.
    pub(crate) fn failure(&self) -> Option<HostError> {
        self.failed.get()
    }

    fn note<T>(&self, result: Result<T, HostError>) -> Option<T> {
        result.inspect_err(|error| self.failed.set(self.failed.get().or(Some(*error)))).ok()
    }

    fn peer_status(&self) -> Result<hs2_peer_status, HostError> {
        let mut status = hs2_peer_status::default();
        // SAFETY: a function of the host's table, called as its docs say.
        let code = unsafe { (self.functions.status)(self.functions.context, &raw mut status) };
        if code == HS2_HOST_OK { Ok(status) } else { Err(HostError { function: "status", code: Some(code) }) }
    }

    /// Calls one of the functions that give bytes, and copies them.
    fn bytes_of(
        &self,
        function: &'static str,
        call: impl FnOnce(*mut c_void, *mut hs2_slice) -> i32,
    ) -> Result<Option<Bytes>, HostError> {
        let mut out = MaybeUninit::new(hs2_slice::of(&[]));
        match call(self.functions.context, out.as_mut_ptr()) {
            HS2_HOST_OK => {
                // SAFETY: it was initialized before the call.
                let slice = unsafe { out.assume_init() };
                // SAFETY: the host keeps the bytes until its next function is called.
                let read = unsafe { bytes(slice, function) }.map_err(|_| HostError { function, code: None })?;
                Ok(Some(Bytes::copy_from_slice(read)))
            }
            HS2_HOST_NONE => Ok(None),
            code => Err(HostError { function, code: Some(code) }),
        }
    }

    fn payload(&self, height: Height) -> Result<Option<Bytes>, HostError> {
        // SAFETY: a function of the host's table, called as its docs say.
        let call = |context, out| unsafe { (self.functions.payload)(context, height.get(), out) };
        let payload = self.bytes_of("payload", call)?;
        if payload.as_ref().is_some_and(|payload| payload.len() > MAX_PAYLOAD_BYTES as usize) {
            return Err(HostError { function: "payload", code: None });
        }
        Ok(payload)
    }

    /// The stored segment that holds the header at `height`.
    fn part(&self, height: Height) -> Result<Option<Part>, HostError> {
        const FUNCTION: &str = "segment";
        let (segment, audit) = (hs2_slice::of(&[]), hs2_slice::of(&[]));
        let mut out = hs2_stored_segment { first: 0, last: 0, epoch: 0, certified: 0, segment, audit };
        // SAFETY: a function of the host's table, called as its docs say.
        match unsafe { (self.functions.segment)(self.functions.context, height.get(), &raw mut out) } {
            HS2_HOST_OK => {}
            HS2_HOST_NONE => return Ok(None),
            code => return Err(HostError { function: FUNCTION, code: Some(code) }),
        }
        let wrong = HostError { function: FUNCTION, code: None };
        let range = HeightRange::new(Height::new(out.first), Height::new(out.last)).ok_or(wrong)?;
        if !range.contains(height) || range.count() > GRID {
            return Err(wrong);
        }
        // SAFETY: the host keeps the bytes until its next function is called.
        let (segment, audit) = unsafe { (bytes(out.segment, FUNCTION), bytes(out.audit, FUNCTION)) };
        let copy = |read: Result<&[u8], Failure>| read.map(Bytes::copy_from_slice).map_err(|_| wrong);
        let (segment, audit) = (copy(segment)?, copy(audit)?);
        Ok(Some(Part { range, epoch: Epoch::new(out.epoch), certified: out.certified != 0, segment, audit }))
    }

    /// The stored segments that hold the headers of `range`, all of one epoch; `None` where not all are there.
    fn parts(&self, range: HeightRange) -> Result<Option<Vec<Part>>, HostError> {
        let mut parts: Vec<Part> = Vec::new();
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

    fn assemble(&self, parts: &[Part], range: HeightRange, end: SegmentEnd) -> Option<Bytes> {
        let segments: Vec<Bytes> = parts.iter().map(|part| part.segment.clone()).collect();
        self.chain.assemble(&segments, range, end)
    }

    /// A segment with a proof of its end: from what holds it, or with the proof of what comes next.
    fn certified(&self, parts: &[Part], range: HeightRange) -> Result<Option<Bytes>, HostError> {
        if let Some(segment) = self.assemble(parts, range, SegmentEnd::Certified) {
            return Ok(Some(segment));
        }
        let tip = Height::new(self.peer_status()?.tip);
        let longer = HeightRange::new(range.first(), range.last().plus(MAX_PROOF_PATH as u64).min(tip));
        let Some(longer) = longer.filter(|longer| range.last() < longer.last()) else { return Ok(None) };
        Ok(self.parts(longer)?.and_then(|parts| self.assemble(&parts, range, SegmentEnd::Certified)))
    }

    /// The same without one: its last block is proven by those above.
    fn anchored(&self, parts: &[Part], range: HeightRange) -> Result<Option<Bytes>, HostError> {
        let Some(last) = parts.last() else { return Ok(None) };
        let wrong = HostError { function: "segment", code: None };
        let decoded = self.chain.decode_segment(&last.segment).map_err(|_| wrong)?;
        let header = self.chain.header(&decoded, range.last()).ok_or(wrong)?;
        Ok(self.assemble(parts, range, SegmentEnd::Anchored(header.id)))
    }

    fn followed(&self, after: Height) -> Result<Option<HeightRange>, HostError> {
        let first = after.next();
        let cell_end = Height::new(first.get() | (GRID - 1));
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

impl<C: Chain> ChainReader for HostReader<'_, C> {
    type Error = HostError;
    type State = MemoryStateStore;

    fn status(&self) -> PeerStatus {
        let status = self.note(self.peer_status()).unwrap_or_default();
        PeerStatus {
            chain_id: self.chain_id,
            earliest: Height::new(status.earliest),
            tip: Height::new(status.tip),
            epoch: Epoch::new(status.epoch),
            snapshots: None,
        }
    }

    fn handover(&self, epoch: Epoch) -> Result<Option<Bytes>, HostError> {
        // SAFETY: a function of the host's table, called as its docs say.
        self.bytes_of("handover", |context, out| unsafe { (self.functions.handover)(context, epoch.get(), out) })
    }

    fn tip(&self) -> Result<Option<Bytes>, HostError> {
        // SAFETY: a function of the host's table, called as its docs say.
        self.bytes_of("tip", |context, out| unsafe { (self.functions.tip)(context, out) })
    }

    fn segment(&self, range: HeightRange, certified: bool, audit: bool) -> Result<Option<StoredSegment>, HostError> {
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
        let held = parts.iter().filter_map(|part| Some((part, part.range.intersection(range)?)));
        let audits = held.map(|(part, held)| cut_audit(&part.audit, part.range, held)).collect::<Option<Vec<_>>>();
        let audit = match audits {
            _ if !audit => Bytes::new(),
            Some(audits) => audits.concat().into(),
            None => return Ok(None),
        };
        let made = if certified { self.certified(&parts, range)? } else { self.anchored(&parts, range)? };
        Ok(made.map(|segment| StoredSegment { segment, audit }))
    }

    fn newest_state(&self) -> Result<Option<(Bytes, MemoryStateStore)>, HostError> {
        // A host's table has no states yet.
        Ok(None)
    }

    fn follow_range(&self, after: Height) -> Option<HeightRange> {
        self.note(self.followed(after)).flatten()
    }

    fn bodies(&self, range: HeightRange, max_bytes: u32, out: &mut Vec<u8>) -> Result<bool, HostError> {
        let (start, mut left) = (out.len(), max_bytes as usize);
        let (mut raw, mut count) = (Vec::new(), 0);
        let mut height = range.first();
        while let Some(payload) = self.payload(height)?.filter(|payload| payload.len() <= left) {
            if count > 0 && raw.len() + payload.len() > FRAME_BYTES as usize {
                encode_frame(out, count, &raw);
                raw.clear();
                count = 0;
            }
            left -= payload.len();
            raw.extend_from_slice(&payload);
            count += 1;
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

    fn states(&self, _: Height) -> Result<Vec<MemoryStateStore>, HostError> {
        Ok(Vec::new())
    }
}
