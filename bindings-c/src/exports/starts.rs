//! Where a host stands: from its genesis on, or from what it stored itself.
#![allow(unsafe_code)]

use bytes::Bytes;
use hotstuff2_sync::calls::BlockPoint;
use hotstuff2_sync::chain::native::{Checkpoint, Genesis, TrustAnchor};
use hotstuff2_sync::chain::{EpochRef, Finalized};
use hotstuff2_sync::ids::{Epoch, Height};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::verify::HandoverLink;

use crate::failure::Failure;
use crate::fence::fence;
use crate::pointer::{Out, bytes, read};
use crate::start::{Draft, Drafts, native_link};
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{hs2_genesis, hs2_id, hs2_link, hs2_slice, hs2_start};

/// A new node: it trusts the genesis block and has stored nothing. Ownership: one reference to `start`. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_start_new(genesis: hs2_genesis, start: *mut hs2_start) -> hs2_status {
    fence(genesis, || {
        // SAFETY: writable, as the header asks for.
        let start = unsafe { Out::new(start, "start") }?;
        let draft = Draft::at_genesis(&*table::get::<Genesis>(genesis)?);
        start.set(table::insert(Drafts::new(draft))?);
        Ok(())
    })
}

/// A node that trusts a checkpoint and has stored nothing. `wall_ms` and `accept_long_range` are as for
/// `hs2_chain_from_checkpoint`, which makes the chain that belongs to it. Ownership: one reference to `start`.
/// Threads: any. Errors: `HS2_MALFORMED`, `HS2_REFUSED` where the checkpoint is too old or does not fit,
/// `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_start_from_checkpoint(
    genesis: hs2_genesis,
    checkpoint: hs2_slice,
    wall_ms: u64,
    accept_long_range: i32,
    start: *mut hs2_start,
) -> hs2_status {
    fence(genesis, || {
        // SAFETY: readable and writable, as the header asks for.
        let (checkpoint, start) = unsafe { (bytes(checkpoint, "checkpoint")?, Out::new(start, "start")?) };
        let genesis = table::get::<Genesis>(genesis)?;
        let checkpoint = Checkpoint::decode(checkpoint).map_err(|why| Failure::malformed("checkpoint", why))?;
        let anchor = TrustAnchor::Checkpoint(Box::new(checkpoint))
            .check(&genesis, UnixMillis::new(wall_ms), accept_long_range != 0)
            .map_err(|error| Failure::new(Status::Refused, error.to_string()))?;
        let point = BlockPoint { height: anchor.height, id: anchor.id };
        let draft = Draft::new(genesis.chain_id(), point, anchor.timestamp, anchor.epoch);
        start.set(table::insert(Drafts::new(draft))?);
        Ok(())
    })
}

/// A node of a chain of the host's own: it trusts the block `id` at `height`, which belongs to the epoch `number` with the
/// heights from `first` to `last`, encoded as the host's chain reads it. Ownership: one reference to `start`. Threads: any.
/// Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_start_own(
    chain_id: *const hs2_id,
    height: u64,
    id: *const hs2_id,
    number: u64,
    first: u64,
    last: u64,
    epoch: hs2_slice,
    start: *mut hs2_start,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (chain_id, id, epoch, start) = unsafe {
            let (chain_id, id) = (read(chain_id, "chain_id")?, read(id, "id")?);
            (chain_id, id, bytes(epoch, "epoch")?, Out::new(start, "start")?)
        };
        let epoch = trusted(number, first, last, epoch)?;
        if !epoch.range().contains(Height::new(height)) {
            return Err(Failure::argument("height", "is outside of the epoch"));
        }
        let point = BlockPoint { height: Height::new(height), id: id.into() };
        let draft = Draft::new(chain_id.into(), point, UnixMillis::default(), epoch);
        start.set(table::insert(Drafts::new(draft))?);
        Ok(())
    })
}

fn trusted(number: u64, first: u64, last: u64, encoded: &[u8]) -> Result<EpochRef, Failure> {
    let range = HeightRange::new(Height::new(first), Height::new(last));
    let range = range.ok_or_else(|| Failure::argument("last", "is below the first height"))?;
    Ok(EpochRef::trusted(Epoch::new(number), range, Bytes::copy_from_slice(encoded)))
}

/// The highest block that is stored durably: its height, id and time (0 where that is not known), and, if it was kept, the
/// tip message that proves it (else empty), which is needed only as evidence against a network that contradicts it. All
/// blocks up to here count as executed too, unless `hs2_start_applied` says less after this. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_start_stored(
    start: hs2_start,
    height: u64,
    id: *const hs2_id,
    timestamp_ms: u64,
    tip: hs2_slice,
) -> hs2_status {
    fence(start, || {
        // SAFETY: readable, as the header asks for.
        let (id, tip) = unsafe { (read(id, "id")?, bytes(tip, "tip")?) };
        let proof = (!tip.is_empty()).then(|| Finalized::Tip(Bytes::copy_from_slice(tip)));
        let point = BlockPoint { height: Height::new(height), id: id.into() };
        let draft = table::get::<Drafts>(start)?;
        let mut draft = draft.lock()?;
        draft.set_stored(point, UnixMillis::new(timestamp_ms), proof);
        draft.set_applied(point.height);
        Ok(())
    })
}

/// The height that the application has executed durably: blocks above it are replayed from the host's store first
/// (`HS2_HOST_WORK_REPLAY`). Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_start_applied(start: hs2_start, height: u64) -> hs2_status {
    fence(start, || {
        table::get::<Drafts>(start)?.lock()?.set_applied(Height::new(height));
        Ok(())
    })
}

/// The chain's trusting period, in milliseconds (`hs2_genesis_info`), and the time of day, in milliseconds since 1970: a machine
/// whose trust rests on blocks that are all older is not made, and one whose trust grows that old while it runs halts with
/// `HS2_HALT_REASON_TRUST_EXPIRED`. Without this call any age will do, which accepts long-range attacks. A chain of the host's
/// own has no time at its anchor, and counts from the stored blocks. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT` for a period of 0.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_start_trust(start: hs2_start, trusting_period_ms: u64, wall_ms: u64) -> hs2_status {
    fence(start, || {
        if trusting_period_ms == 0 {
            return Err(Failure::argument("trusting_period_ms", "is 0: leave the call out where any age will do"));
        }
        table::get::<Drafts>(start)?.lock()?.set_trust(trusting_period_ms, UnixMillis::new(wall_ms));
        Ok(())
    })
}

/// The next stored handover of a native chain, in order from the trusted epoch on, as `hs2_call_handover` gave it. The
/// host is believed. Threads: one at a time.
/// Errors: `HS2_MALFORMED`, `HS2_REFUSED` where it does not continue the one before, `HS2_TOO_MANY`, `HS2_STALE_HANDLE`,
/// `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_start_handover(start: hs2_start, handover: hs2_slice) -> hs2_status {
    fence(start, || {
        // SAFETY: readable, as the header asks for.
        let handover = unsafe { bytes(handover, "handover") }?;
        let draft = table::get::<Drafts>(start)?;
        draft.lock()?.push(native_link(handover)?)
    })
}

/// The same for a chain of the host's own, with all that `hs2_call_handover` said of it. Threads: one at a time.
/// Errors: `HS2_REFUSED` where it does not continue the one before, `HS2_TOO_MANY`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_start_link(start: hs2_start, link: *const hs2_link) -> hs2_status {
    fence(start, || {
        // SAFETY: readable, as the header asks for.
        let link = unsafe { read(link, "link") }?;
        // SAFETY: readable, as the header asks for.
        let (epoch, handover) = unsafe { (bytes(link.encoded_epoch, "epoch")?, bytes(link.handover, "handover")?) };
        let draft = table::get::<Drafts>(start)?;
        draft.lock()?.push(HandoverLink {
            ended: Epoch::new(link.ended),
            boundary: Height::new(link.boundary),
            boundary_id: link.boundary_id.into(),
            boundary_time: UnixMillis::new(link.boundary_time_ms),
            epoch: trusted(link.epoch, link.first, link.last, epoch)?,
            bytes: Bytes::copy_from_slice(handover),
        })
    })
}
