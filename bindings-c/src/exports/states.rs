//! States: kept, fetched and served from an ordered store of the host's (`hs2_state_store`). A block's changes go in with
//! `hs2_state_apply`; calls of a machine that fetches a state are carried out by `hs2_state_carry_out`.
#![allow(unsafe_code)]

use hotstuff2_sync::calls::{CallDone, HostCall, HostWork};
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::Input;
use hotstuff2_sync::state::MAX_KEY_BYTES;
use hotstuff2_sync::time::Instant;

use crate::buffer::give;
use crate::failure::Failure;
use crate::fence::fence;
use crate::machine::Machines;
use crate::pointer::{Out, array, bytes, read};
use crate::start::Drafts;
use crate::state::{apply, carry_out, info, value};
use crate::state_store::HostStore;
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{
    hs2_base, hs2_buffer, hs2_call, hs2_change, hs2_id, hs2_machine, hs2_slice, hs2_start, hs2_state_info,
    hs2_state_store, hs2_stored_segment,
};

/// Most changes of one block.
const MAX_CHANGES: usize = 1 << 20;

/// The host keeps states with `hs2_state_carry_out`, so that the machine may fetch one: the strategies `fast` and `auto` do.
/// Where `lacks_state` is not 0, nothing can be executed before, as on a node that begins at a checkpoint, and a state is
/// fetched first, whatever the strategy. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_start_states(start: hs2_start, lacks_state: i32) -> hs2_status {
    fence(start, || {
        table::get::<Drafts>(start)?.lock()?.set_states(lacks_state != 0);
        Ok(())
    })
}

/// Carries out a call of the work `HS2_HOST_WORK_SURVEY`, `HS2_HOST_WORK_STAGE` or `HS2_HOST_WORK_ACTIVATE` with a store, and
/// writes the answer, for `hs2_machine_handle_done`. A state is made live all at once: the host keeps the base
/// (`hs2_call_base`) before, and lets its stored blocks begin above it once `hs2_state_read` says that the state stands there.
/// Ownership: one reference to `done`. Threads: any; the functions of `store` are called on this one, and only while this runs.
/// Errors: `HS2_HOST_FAILED` where a function of the table failed (`hs2_machine_handle_stored` with an error),
/// `HS2_WRONG_STATE` for a call of other work, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`, also where a
/// function of the table is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_state_carry_out(
    call: hs2_call,
    store: *const hs2_state_store,
    done: *mut hs2_buffer,
) -> hs2_status {
    fence(call, || {
        // SAFETY: readable and writable, as the header asks for; the functions keep what their table's docs say.
        let (store, done) = unsafe { (read(store, "store")?, Out::new(done, "done")?) };
        let call = table::get::<HostCall>(call)?;
        done.set(give(carry_out(&HostStore::new(&store)?, &call)?.encode())?);
        Ok(())
    })
}

/// A call is done: the bytes that `hs2_state_carry_out` made, here or in another process of the host's. Threads: one at a time.
/// Errors: `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_machine_handle_done(machine: hs2_machine, now_us: u64, done: hs2_slice) -> hs2_status {
    fence(machine, || {
        // SAFETY: readable, as the header asks for.
        let done = unsafe { bytes(done, "done") }?;
        let seat = table::get::<Machines>(machine)?;
        let done = CallDone::decode(done).map_err(|why| Failure::malformed("answer of a call", why))?;
        seat.lock()?.machine.handle(Instant::from_micros(now_us), Input::Done(done));
        Ok(())
    })
}

/// Reads the block of a call of the work `HS2_HOST_WORK_ACTIVATE`. Ownership: bytes are borrowed from the call. Threads: any.
/// Errors: `HS2_NOT_FOUND` for a call of other work, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_call_base(call: hs2_call, base: *mut hs2_base) -> hs2_status {
    fence(call, || {
        // SAFETY: writable, as the header asks for.
        let out = unsafe { Out::new(base, "base") }?;
        let call = table::get::<HostCall>(call)?;
        let HostWork::Activate(base) = &call.work else {
            return Err(Failure::new(Status::NotFound, "the call makes no state live"));
        };
        let segment = &base.segment;
        out.set(hs2_base {
            height: base.point.height.get(),
            id: base.point.id.into(),
            state_root: base.state_root.into(),
            segment: hs2_stored_segment {
                first: segment.range().first().get(),
                last: segment.range().last().get(),
                epoch: segment.epoch().get(),
                certified: base.tip.is_none().into(),
                segment: hs2_slice::of(segment.bytes()),
                audit: hs2_slice::of(segment.audit()),
            },
            tip: base.tip.as_deref().map_or(hs2_slice::of(&[]), hs2_slice::of),
        });
        Ok(())
    })
}

/// The call's canonical encoding, for a process or an instance of the library that shares no memory with this one and has the
/// same version. Ownership: one reference to `encoded`. Threads: any.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_call_encode(call: hs2_call, encoded: *mut hs2_buffer) -> hs2_status {
    fence(call, || {
        // SAFETY: writable, as the header asks for.
        let encoded = unsafe { Out::new(encoded, "encoded") }?;
        encoded.set(give(table::get::<HostCall>(call)?.encode())?);
        Ok(())
    })
}

/// Reads what `hs2_call_encode` wrote elsewhere. It is believed. Ownership: one reference to `call`. Threads: any.
/// Errors: `HS2_MALFORMED`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_call_decode(encoded: hs2_slice, call: *mut hs2_call) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (encoded, call) = unsafe { (bytes(encoded, "encoded")?, Out::new(call, "call")?) };
        call.set(table::insert(HostCall::decode(encoded).map_err(|why| Failure::malformed("call", why))?)?);
        Ok(())
    })
}

/// Applies the changes of the block at `height` to the state, and writes the root after it. Heights rise; the first may be 0,
/// for what the state begins with. `expected` is the root in the block's header, or null: where it is another, nothing is
/// written, and the status is `HS2_REFUSED`. Keys have at most 1,024 bytes, values 65,536; of a key that is changed twice the
/// last change counts. The state after a block at a multiple of `interval`, which is the chain's snapshot interval or 0 for
/// none, is kept for others, and so is the one before it. Threads: any; the functions of `store` are called on this one, and
/// only while this runs. Errors: `HS2_REFUSED`, also for a key or value that is too long, `HS2_WRONG_STATE` where the state
/// stands at this height or above, `HS2_TOO_MANY` for more than a million changes, `HS2_HOST_FAILED`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_state_apply(
    store: *const hs2_state_store,
    height: u64,
    interval: u64,
    changes: *const hs2_change,
    change_count: usize,
    expected: *const hs2_id,
    root: *mut hs2_id,
) -> hs2_status {
    fence(0, || {
        if change_count > MAX_CHANGES {
            return Err(Failure::new(Status::TooMany, format!("a block has at most {MAX_CHANGES} changes")));
        }
        // SAFETY: readable and writable, as the header asks for; the functions keep what their table's docs say.
        let (store, changes, expected, root) = unsafe {
            let expected = if expected.is_null() { None } else { Some(read(expected, "expected")?) };
            (read(store, "store")?, array(changes, change_count, "changes")?, expected, Out::new(root, "root")?)
        };
        let change = |change: &hs2_change| {
            // SAFETY: readable, as the header asks for.
            let key = unsafe { bytes(change.key, "key") }?;
            if change.deleted != 0 {
                return Ok((key, None));
            }
            // SAFETY: readable, as the header asks for.
            Ok((key, Some(unsafe { bytes(change.value, "value") }?)))
        };
        let changes: Vec<_> = changes.iter().map(change).collect::<Result<_, Failure>>()?;
        let store = HostStore::new(&store)?;
        root.set(apply(&store, Height::new(height), interval, &changes, expected.map(Into::into))?.into());
        Ok(())
    })
}

/// The value of a key in the newest state. Ownership: one reference to `value`. Threads: any; the functions of `store` are
/// called on this one, and only while this runs.
/// Errors: `HS2_NOT_FOUND` where it has none, `HS2_TOO_MANY` for a key that none can be, `HS2_HOST_FAILED`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_state_get(
    store: *const hs2_state_store,
    key: hs2_slice,
    value: *mut hs2_buffer,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for; the functions keep what their table's docs say.
        let (store, key, out) = unsafe { (read(store, "store")?, bytes(key, "key")?, Out::new(value, "value")?) };
        if key.len() > MAX_KEY_BYTES {
            return Err(Failure::new(Status::TooMany, format!("a key has at most {MAX_KEY_BYTES} bytes")));
        }
        let found = self::value(&HostStore::new(&store)?, key)?;
        out.set(give(found.ok_or_else(|| Failure::new(Status::NotFound, "the key has no value"))?)?);
        Ok(())
    })
}

/// Where the state stands. Threads: any; the functions of `store` are called on this one, and only while this runs.
/// Errors: `HS2_NOT_FOUND` before the first block, `HS2_HOST_FAILED`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_state_read(store: *const hs2_state_store, position: *mut hs2_state_info) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for; the functions keep what their table's docs say.
        let (store, position) = unsafe { (read(store, "store")?, Out::new(position, "position")?) };
        let found = info(&HostStore::new(&store)?)?;
        position.set(found.ok_or_else(|| Failure::new(Status::NotFound, "no block was applied yet"))?);
        Ok(())
    })
}
