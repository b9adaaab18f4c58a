//! Calls of the machine into the host: what to store and execute. Answered when it survives a crash, and not before.
#![allow(unsafe_code)]

use hotstuff2_sync::calls::{Apply, HostCall, HostWork};
use hotstuff2_sync::chain::{Chain, SegmentRef};
use hotstuff2_sync::ids::Height;

use crate::failure::Failure;
use crate::fence::fence;
use crate::objects::Rules;
use crate::own_chain::OwnChain;
use crate::pointer::{Out, fill, read};
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{
    hs2_block, hs2_call, hs2_call_info, hs2_chain, hs2_chain_table, hs2_link, hs2_slice, hs2_stored_segment,
};

/// Reads the work that a call asks for. Ownership: bytes are borrowed from the call. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_call_read(call: hs2_call, info: *mut hs2_call_info) -> hs2_status {
    fence(call, || {
        // SAFETY: writable, as the header asks for.
        let info = unsafe { Out::new(info, "info") }?;
        let call = table::get::<HostCall>(call)?;
        let mut found = hs2_call_info {
            id: call.id.get(),
            work: call.work.code().into(),
            reserved: 0,
            first: 0,
            last: 0,
            payload_bytes: 0,
            segment_count: 0,
            handover_count: 0,
            tip: hs2_slice::of(&[]),
        };
        let range = match &call.work {
            HostWork::Apply(apply) => {
                found.payload_bytes = apply.payload_bytes();
                found.segment_count = apply.parts.len();
                found.tip = apply.tip.as_deref().map_or(found.tip, hs2_slice::of);
                apply.range()
            }
            HostWork::Replay(range) => Some(*range),
            HostWork::StoreHandovers(links) => {
                found.handover_count = links.len();
                None
            }
            _ => None,
        };
        if let Some(range) = range {
            (found.first, found.last) = (range.first().get(), range.last().get());
        }
        info.set(found);
        Ok(())
    })
}

/// The blocks of a call to apply, from the height `first` on, as many as `capacity` has room for; `count` says how many
/// were written. `chain` is the one that the jobs ran with. Ownership: payloads are borrowed from the call. Threads: any.
/// Errors: `HS2_NOT_FOUND` where the call has no block at `first`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_call_blocks(
    call: hs2_call,
    chain: hs2_chain,
    first: u64,
    blocks: *mut hs2_block,
    capacity: usize,
    count: *mut usize,
) -> hs2_status {
    fence(call, || {
        // SAFETY: writable, as the header asks for.
        let count = unsafe { Out::new(count, "count") }?;
        let call = table::get::<HostCall>(call)?;
        let found = blocks_of(apply_of(&call)?, &table::get::<Rules>(chain)?.chain, Height::new(first), capacity)?;
        let written = found.len();
        // SAFETY: writable for `capacity` blocks, as the header asks for, and no more were taken.
        unsafe { fill(blocks, &found, "blocks") }?;
        count.set(written);
        Ok(())
    })
}

/// The same for a chain of the host's own. Ownership: payloads are borrowed from the call. Threads: any; the functions of
/// `chain` are called on this one, if at all. Errors: as for `hs2_call_blocks`, and `HS2_HOST_FAILED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_call_blocks_own(
    call: hs2_call,
    chain: *const hs2_chain_table,
    first: u64,
    blocks: *mut hs2_block,
    capacity: usize,
    count: *mut usize,
) -> hs2_status {
    fence(call, || {
        // SAFETY: readable and writable, as the header asks for.
        let (chain, count) = unsafe { (read(chain, "chain")?, Out::new(count, "count")?) };
        let call = table::get::<HostCall>(call)?;
        let found = blocks_of(apply_of(&call)?, &OwnChain::new(&chain)?, Height::new(first), capacity)?;
        let written = found.len();
        // SAFETY: writable for `capacity` blocks, as the header asks for, and no more were taken.
        unsafe { fill(blocks, &found, "blocks") }?;
        count.set(written);
        Ok(())
    })
}

fn apply_of(call: &HostCall) -> Result<&Apply, Failure> {
    match &call.work {
        HostWork::Apply(apply) => Ok(apply),
        _ => Err(Failure::new(Status::NotFound, "the call brings no blocks")),
    }
}

fn blocks_of<C: Chain>(apply: &Apply, chain: &C, first: Height, capacity: usize) -> Result<Vec<hs2_block>, Failure> {
    if !apply.range().is_some_and(|range| range.contains(first)) {
        return Err(Failure::new(Status::NotFound, format!("the call brings no block at height {first}")));
    }
    let blocks = apply.blocks(chain, first.prev().unwrap_or_default()).take(capacity);
    let plain = blocks.map(|block| {
        let block = block.map_err(|why| Failure::new(Status::HostFailed, why.to_string()))?;
        Ok(hs2_block {
            height: block.height.get(),
            timestamp_ms: block.timestamp.get(),
            id: block.id.into(),
            state_root: block.state_root.into(),
            payload: hs2_slice::of(block.payload),
        })
    });
    plain.collect()
}

/// A segment whose blocks are among those to apply, to be stored beside them and served from (`hs2_reader`): the whole of
/// it, of which the call may bring the payloads of some blocks only. Segments of one call are numbered from 0 on.
/// Ownership: bytes are borrowed from the call. Threads: any.
/// Errors: `HS2_NOT_FOUND`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_call_segment(
    call: hs2_call,
    chain: hs2_chain,
    index: usize,
    segment: *mut hs2_stored_segment,
) -> hs2_status {
    fence(call, || {
        // SAFETY: writable, as the header asks for.
        let segment = unsafe { Out::new(segment, "segment") }?;
        let call = table::get::<HostCall>(call)?;
        let rules = table::get::<Rules>(chain)?;
        // Decoded once, for its blocks too.
        let certified = |stored: &SegmentRef| {
            stored.decoded(&rules.chain).is_ok_and(|segment| segment.proof().certificate().is_some())
        };
        segment.set(segment_of(&call, certified, index)?);
        Ok(())
    })
}

/// The same for a chain of the host's own. Ownership: bytes are borrowed from the call. Threads: any; the functions of
/// `chain` are called on this one. Errors: `HS2_NOT_FOUND`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_call_segment_own(
    call: hs2_call,
    chain: *const hs2_chain_table,
    index: usize,
    segment: *mut hs2_stored_segment,
) -> hs2_status {
    fence(call, || {
        // SAFETY: readable and writable, as the header asks for.
        let (chain, segment) = unsafe { (read(chain, "chain")?, Out::new(segment, "segment")?) };
        let call = table::get::<HostCall>(call)?;
        let chain = OwnChain::new(&chain)?;
        segment.set(segment_of(&call, |stored| chain.tip_of(stored.bytes()).is_some(), index)?);
        Ok(())
    })
}

fn segment_of(
    call: &HostCall,
    certified: impl FnOnce(&SegmentRef) -> bool,
    index: usize,
) -> Result<hs2_stored_segment, Failure> {
    let part = apply_of(call)?.parts.get(index);
    let part = part.ok_or_else(|| Failure::new(Status::NotFound, format!("the call has no segment {index}")))?;
    let stored = &part.segment;
    Ok(hs2_stored_segment {
        first: stored.range().first().get(),
        last: stored.range().last().get(),
        epoch: stored.epoch().get(),
        certified: u64::from(certified(stored)),
        segment: hs2_slice::of(stored.bytes()),
        audit: hs2_slice::of(stored.audit()),
    })
}

/// A handover to store, to be given back at the next start (`hs2_start_handover`) and served. Those of one call are
/// numbered from 0 on. Ownership: bytes are borrowed from the call. Threads: any.
/// Errors: `HS2_NOT_FOUND`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_call_handover(call: hs2_call, index: usize, link: *mut hs2_link) -> hs2_status {
    fence(call, || {
        // SAFETY: writable, as the header asks for.
        let link = unsafe { Out::new(link, "link") }?;
        let call = table::get::<HostCall>(call)?;
        let found = match &call.work {
            HostWork::StoreHandovers(links) => links.get(index),
            _ => None,
        };
        let found = found.ok_or_else(|| Failure::new(Status::NotFound, format!("the call has no handover {index}")))?;
        link.set(hs2_link {
            ended: found.ended.get(),
            boundary: found.boundary.get(),
            boundary_id: found.boundary_id.into(),
            epoch: found.epoch.epoch().get(),
            first: found.epoch.range().first().get(),
            last: found.epoch.range().last().get(),
            boundary_time_ms: found.boundary_time.get(),
            encoded_epoch: hs2_slice::of(found.epoch.bytes()),
            handover: hs2_slice::of(&found.bytes),
        });
        Ok(())
    })
}
