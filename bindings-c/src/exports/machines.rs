//! The machine: facts in, work out. After every input call `hs2_machine_poll` until it says `HS2_OUTPUT_WAIT`.
#![allow(unsafe_code)]

use bytes::Bytes;
use hotstuff2_sync::calls::{CallDone, HostError, HostReply};
use hotstuff2_sync::config::SyncStrategyType;
use hotstuff2_sync::ids::{CallId, DecidedId, Height, JobId, RequestId};
use hotstuff2_sync::limits::MAX_HANDOVER_BYTES;
use hotstuff2_sync::machine::{Decided, Input, Machine, PeerEvent, RequestFailure};
use hotstuff2_sync::peers::BlacklistReason;
use hotstuff2_sync::time::{Instant, UnixMillis};
use hotstuff2_sync::verify::Verdict;

use crate::buffer::{Buffer, give};
use crate::failure::Failure;
use crate::fence::fence;
use crate::machine::{Machines, Seat};
use crate::objects::Config;
use crate::pointer::{Out, bytes, read};
use crate::start::Drafts;
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{
    HS2_NEVER, hs2_buffer, hs2_config, hs2_id, hs2_machine, hs2_output, hs2_progress, hs2_slice, hs2_start, hs2_verdict,
};

/// Gives an input to a machine.
fn handle(machine: hs2_machine, now_us: u64, input: impl FnOnce() -> Result<Input, Failure>) -> hs2_status {
    fence(machine, || {
        let seat = table::get::<Machines>(machine)?;
        let input = input()?;
        seat.lock()?.machine.handle(Instant::from_micros(now_us), input);
        Ok(())
    })
}

/// The error with this number; `None` for 0.
fn error_of(error: u32, height: u64) -> Result<Option<HostError>, Failure> {
    let all =
        [HostError::Transient, HostError::Permanent, HostError::StateMismatch(Height::new(height)), HostError::NoSpace];
    if error == 0 {
        return Ok(None);
    }
    let found = all.into_iter().find(|one| u32::from(one.code()) == error);
    found.map(Some).ok_or_else(|| Failure::argument("error", "is neither 0 nor an HS2_HOST_ERROR"))
}

/// A machine with these settings, at this start, not started yet. `seed` feeds its choices: random bytes, so that nobody
/// can tell them before. Settings and start are copied. Ownership: one reference to `machine`. Threads: any.
/// Errors: `HS2_REFUSED` where settings and start do not fit together, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_machine_new(
    config: hs2_config,
    start: hs2_start,
    seed: u64,
    now_us: u64,
    machine: *mut hs2_machine,
) -> hs2_status {
    fence(0, || {
        // SAFETY: writable, as the header asks for.
        let machine = unsafe { Out::new(machine, "machine") }?;
        let config = table::get::<Config>(config)?.lock()?.clone();
        let start = table::get::<Drafts>(start)?.lock()?.build()?;
        let made = Machine::new(config, start, seed, Instant::from_micros(now_us));
        let made = made.map_err(|error| Failure::new(Status::Refused, error.to_string()))?;
        machine.set(table::insert(Machines::new(Seat::new(made)))?);
        Ok(())
    })
}

/// Start, or go on after `hs2_machine_stop`. With a height, downloads end with the first proven segment that holds it;
/// `HS2_NEVER` follows the network for ever. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_machine_start(machine: hs2_machine, now_us: u64, until: u64) -> hs2_status {
    handle(machine, now_us, || Ok(Input::Start((until != HS2_NEVER).then_some(Height::new(until)))))
}

/// Stop: requests and jobs are cancelled. Calls that are out are still to be answered. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_machine_stop(machine: hs2_machine, now_us: u64) -> hs2_status {
    handle(machine, now_us, || Ok(Input::Stop))
}

/// Catch up with another strategy (`HS2_SYNC_STRATEGY_TYPE_…`) from here on. Threads: one at a time.
/// Errors: `HS2_INVALID_ARGUMENT` for a number that is none, `HS2_REFUSED` for one that this host can't do,
/// `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_machine_strategy(machine: hs2_machine, now_us: u64, strategy: u32) -> hs2_status {
    fence(machine, || {
        let all =
            [SyncStrategyType::Auto, SyncStrategyType::Parallel, SyncStrategyType::Incremental, SyncStrategyType::Fast];
        let found = all.into_iter().find(|one| u32::from(one.code()) == strategy);
        let found = found.ok_or_else(|| Failure::argument("strategy", "is no HS2_SYNC_STRATEGY_TYPE"))?;
        let seat = table::get::<Machines>(machine)?;
        let mut seat = seat.lock()?;
        if !seat.machine.can_use(found) {
            return Err(Failure::new(Status::Refused, "this host stages no states"));
        }
        seat.machine.handle(Instant::from_micros(now_us), Input::Strategy(found));
        Ok(())
    })
}

/// Time has passed: to be called at the deadline of `HS2_OUTPUT_WAIT`. Early or for nothing it does no harm.
/// Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_machine_handle_timeout(machine: hs2_machine, now_us: u64) -> hs2_status {
    handle(machine, now_us, || Ok(Input::Timeout))
}

/// The time of day, in milliseconds since 1970, on a chain with a trusting period (`hs2_start_trust`): a host whose `now_us`
/// stands still while the machine sleeps says it now and then. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_machine_handle_wall(machine: hs2_machine, now_us: u64, wall_ms: u64) -> hs2_status {
    handle(machine, now_us, || Ok(Input::Wall(UnixMillis::new(wall_ms))))
}

/// A connection to a peer stands. `group` is what it shares with peers that may be one operator, an address prefix for
/// example: peers with the same number count as one where independence matters. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_machine_handle_connected(
    machine: hs2_machine,
    now_us: u64,
    peer: *const hs2_id,
    group: u64,
) -> hs2_status {
    // SAFETY: readable, as the header asks for.
    let peer = || unsafe { read(peer, "peer") };
    handle(machine, now_us, || Ok(Input::Peer(PeerEvent::Connected { peer: peer()?.into(), group })))
}

/// The connection to a peer is gone. Its requests are asked elsewhere at once. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_machine_handle_disconnected(
    machine: hs2_machine,
    now_us: u64,
    peer: *const hs2_id,
) -> hs2_status {
    // SAFETY: readable, as the header asks for.
    let peer = || unsafe { read(peer, "peer") };
    handle(machine, now_us, || Ok(Input::Peer(PeerEvent::Disconnected { peer: peer()?.into() })))
}

/// The host leaves a peer out, connected or not, for the setting `ban_duration`. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_machine_handle_excluded(
    machine: hs2_machine,
    now_us: u64,
    peer: *const hs2_id,
) -> hs2_status {
    // SAFETY: readable, as the header asks for.
    let peer = || unsafe { read(peer, "peer") };
    handle(machine, now_us, || {
        Ok(Input::Peer(PeerEvent::Excluded { peer: peer()?.into(), reason: BlacklistReason::ByHand }))
    })
}

/// The host lifts a ban, whatever it is for. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_machine_handle_pardoned(
    machine: hs2_machine,
    now_us: u64,
    peer: *const hs2_id,
) -> hs2_status {
    // SAFETY: readable, as the header asks for.
    let peer = || unsafe { read(peer, "peer") };
    handle(machine, now_us, || Ok(Input::Peer(PeerEvent::Pardoned { peer: peer()?.into() })))
}

/// A request was answered: with the bytes of a frozen buffer, which the machine shares and does not copy. An answer to a
/// request that the machine has forgotten is counted and ignored. Threads: one at a time.
/// Errors: `HS2_WRONG_STATE` for a buffer that is not frozen, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_machine_handle_response(
    machine: hs2_machine,
    now_us: u64,
    request: u64,
    answer: hs2_buffer,
) -> hs2_status {
    handle(machine, now_us, || {
        let bytes = table::get::<Buffer>(answer)?.bytes()?;
        Ok(Input::Response(RequestId::from_raw(request), Ok(bytes)))
    })
}

/// A request won't be answered: `failure` is `HS2_REQUEST_FAILURE_OVERSIZE` where more bytes came than `hs2_output` said,
/// which is provably false, or `HS2_REQUEST_FAILURE_BROKEN` where the connection or its stream broke.
/// Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_machine_handle_failure(
    machine: hs2_machine,
    now_us: u64,
    request: u64,
    failure: u32,
) -> hs2_status {
    handle(machine, now_us, || {
        let all = [RequestFailure::Oversize, RequestFailure::Broken];
        let found = all.into_iter().find(|one| u32::from(one.code()) == failure);
        let found = found.ok_or_else(|| Failure::argument("failure", "is no HS2_REQUEST_FAILURE"))?;
        Ok(Input::Response(RequestId::from_raw(request), Err(found)))
    })
}

/// A thread begins to run this job (`hs2_job_id`, or the output's `id`): from now on its time counts, not from when it was
/// given out. Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_machine_handle_begun(machine: hs2_machine, now_us: u64, job: u64) -> hs2_status {
    handle(machine, now_us, || Ok(Input::Begun(JobId::from_raw(job))))
}

/// A job is done. Verdicts of jobs that the machine has forgotten are counted and ignored. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_machine_handle_verdict(machine: hs2_machine, now_us: u64, verdict: hs2_verdict) -> hs2_status {
    handle(machine, now_us, || Ok(Input::Verdict((*table::get::<Verdict>(verdict)?).clone())))
}

/// Blocks of an `HS2_HOST_WORK_APPLY` or `HS2_HOST_WORK_REPLAY` are stored and executed durably, up to the height
/// `through`. `error` is 0, or an `HS2_HOST_ERROR_…` that says why it is not the last height of the call; for
/// `HS2_HOST_ERROR_STATE_MISMATCH`, `error_height` is the block whose state has another root. A transient error makes the
/// call come again after a pause. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_machine_handle_applied(
    machine: hs2_machine,
    now_us: u64,
    call: u64,
    through: u64,
    error: u32,
    error_height: u64,
) -> hs2_status {
    handle(machine, now_us, || {
        let stopped = error_of(error, error_height)?;
        Ok(Input::Done(CallDone::applied(CallId::from_raw(call), Height::new(through), stopped)))
    })
}

/// Handovers of an `HS2_HOST_WORK_STORE_HANDOVERS` are stored durably, or, with an `HS2_HOST_ERROR_…`, are not. With an
/// error it also answers any other call, of which nothing has come then. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_machine_handle_stored(machine: hs2_machine, now_us: u64, call: u64, error: u32) -> hs2_status {
    handle(machine, now_us, || {
        let result = error_of(error, 0)?.map_or(Ok(HostReply::HandoversStored), Err);
        Ok(Input::Done(CallDone { id: CallId::from_raw(call), result }))
    })
}

/// This node's own consensus engine has decided the blocks from the height `first` on, within one cell of 1,024 heights and
/// one epoch: `blocks`, a frozen buffer as `hs2_blocks_new` makes it, shared and not copied. Where the last block ends its
/// epoch, `handover` is the one to the next, which is copied; else it is empty. They are proven as a peer's are, and come
/// back in an `HS2_HOST_WORK_APPLY` like those; an engine that has executed them already knows their heights. The answer is
/// one `HS2_OUTPUT_DECIDED` with the same `id`, which the host chooses: once they are stored and executed, or with the
/// reason why not, for which nobody is blamed. Threads: one at a time.
/// Errors: `HS2_WRONG_STATE` for a buffer that is not frozen, `HS2_TOO_MANY` for a handover that none can be,
/// `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_machine_handle_decided(
    machine: hs2_machine,
    now_us: u64,
    id: u64,
    first: u64,
    blocks: hs2_buffer,
    handover: hs2_slice,
) -> hs2_status {
    // SAFETY: readable, as the header asks for.
    let handover = || unsafe { bytes(handover, "handover") };
    handle(machine, now_us, || {
        let handover = handover()?;
        if handover.len() > MAX_HANDOVER_BYTES as usize {
            let text = format!("a handover has at most {MAX_HANDOVER_BYTES} bytes");
            return Err(Failure::new(Status::TooMany, text));
        }
        Ok(Input::Decided(Decided {
            id: DecidedId::from_raw(id),
            first: Height::new(first),
            bytes: table::get::<Buffer>(blocks)?.bytes()?,
            handover: (!handover.is_empty()).then(|| Bytes::copy_from_slice(handover)),
            executed: false,
        }))
    })
}

/// The next thing to do; `HS2_OUTPUT_WAIT` comes last, and then there is nothing until the next input or the deadline.
/// Ownership: one reference to `output->object`, where it is not 0. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_machine_poll(machine: hs2_machine, output: *mut hs2_output) -> hs2_status {
    fence(machine, || {
        // SAFETY: writable, as the header asks for.
        let output = unsafe { Out::new(output, "output") }?;
        output.set(table::get::<Machines>(machine)?.lock()?.poll()?);
        Ok(())
    })
}

/// How far the synchronization is. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_machine_progress(machine: hs2_machine, progress: *mut hs2_progress) -> hs2_status {
    fence(machine, || {
        // SAFETY: writable, as the header asks for.
        let progress = unsafe { Out::new(progress, "progress") }?;
        progress.set(table::get::<Machines>(machine)?.lock()?.progress());
        Ok(())
    })
}

/// The evidence of `HS2_HALT_REASON_CONFLICTING_FINALITY`: both proofs, which anyone can check. Keep it.
/// Ownership: one reference to `evidence`. Threads: one at a time.
/// Errors: `HS2_NOT_FOUND` where there is none, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_machine_evidence(machine: hs2_machine, evidence: *mut hs2_buffer) -> hs2_status {
    fence(machine, || {
        // SAFETY: writable, as the header asks for.
        let evidence = unsafe { Out::new(evidence, "evidence") }?;
        let found = table::get::<Machines>(machine)?.lock()?.evidence.clone();
        let found =
            found.ok_or_else(|| Failure::new(Status::NotFound, "there is no evidence of conflicting blocks"))?;
        evidence.set(give(found)?);
        Ok(())
    })
}
