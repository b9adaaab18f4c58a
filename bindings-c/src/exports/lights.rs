//! The light client: the chain's proven tip, and values of its state, without blocks and states of one's own. Facts in, work
//! out, as with a machine: after every input call `hs2_light_poll` until it says `HS2_LIGHT_OUTPUT_WAIT`.
#![allow(unsafe_code)]

use hotstuff2_sync::chain::native::Genesis;
use hotstuff2_sync::ids::RequestId;
use hotstuff2_sync::light::{LightClient, LightInput, NewLightError};
use hotstuff2_sync::machine::{PeerEvent, RequestFailure};
use hotstuff2_sync::time::{Instant, UnixMillis};
use hotstuff2_sync::verify::Verdict;

use crate::buffer::{Buffer, give};
use crate::failure::Failure;
use crate::fence::fence;
use crate::light::{LightSeat, Lights, chain, config, defaults, start};
use crate::objects::Rules;
use crate::pointer::{Out, bytes, read};
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{
    hs2_buffer, hs2_chain, hs2_genesis, hs2_id, hs2_light, hs2_light_position, hs2_light_settings, hs2_output,
    hs2_slice, hs2_verdict,
};

/// Gives an input to a light client.
fn handle(light: hs2_light, now_us: u64, input: impl FnOnce() -> Result<LightInput, Failure>) -> hs2_status {
    fence(light, || {
        let seat = table::get::<Lights>(light)?;
        let input = input()?;
        seat.lock()?.client.handle(Instant::from_micros(now_us), input);
        Ok(())
    })
}

/// The default settings, to be changed and handed to `hs2_light_new`. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_defaults(settings: *mut hs2_light_settings) -> hs2_status {
    fence(0, || {
        // SAFETY: writable, as the header asks for.
        let settings = unsafe { Out::new(settings, "settings") }?;
        settings.set(defaults());
        Ok(())
    })
}

/// A light client of the native chain of a genesis, not started yet. `checkpoint` is empty, and the genesis block trusted, or
/// what an `HS2_LIGHT_OUTPUT_KEEP` brought at an earlier visit, whose source is believed. `settings` is null for the defaults.
/// `seed` feeds its choices: random bytes. `wall_ms` is the time of day, in milliseconds since 1970, by which the start's age
/// is held against the chain's trusting period, unless `accept_long_range` is not 0. Ownership: one reference to `light`.
/// Threads: any. Errors: `HS2_REFUSED` where the start is too old or of another chain, `HS2_MALFORMED`, `HS2_OUT_OF_RANGE`
/// for a setting (`hs2_last_error` says which), `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_new(
    genesis: hs2_genesis,
    checkpoint: hs2_slice,
    settings: *const hs2_light_settings,
    seed: u64,
    now_us: u64,
    wall_ms: u64,
    accept_long_range: i32,
    light: *mut hs2_light,
) -> hs2_status {
    fence(genesis, || {
        // SAFETY: readable and writable, as the header asks for.
        let (checkpoint, settings, light) = unsafe {
            let settings = if settings.is_null() { defaults() } else { read(settings, "settings")? };
            (bytes(checkpoint, "checkpoint")?, settings, Out::new(light, "light")?)
        };
        let wall = UnixMillis::new(wall_ms);
        let start = start(&*table::get::<Genesis>(genesis)?, checkpoint, wall, accept_long_range != 0)?;
        let made = LightClient::new(config(&settings), start, seed, Instant::from_micros(now_us), wall);
        let made = made.map_err(|error| match error {
            NewLightError::Config(why) => Failure::new(Status::OutOfRange, why.to_string()),
            why => Failure::new(Status::Refused, why.to_string()),
        })?;
        light.set(table::insert(Lights::new(LightSeat::new(made)))?);
        Ok(())
    })
}

/// The chain that jobs of a light client are run with (`hs2_job_run`): that of the genesis, trusted from the client's
/// checkpoint on, or from the genesis block where that is empty. Ownership: one reference to `chain`. Threads: any.
/// Errors: `HS2_REFUSED` for a checkpoint of another chain, `HS2_MALFORMED`, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_chain(
    genesis: hs2_genesis,
    checkpoint: hs2_slice,
    chain: *mut hs2_chain,
) -> hs2_status {
    fence(genesis, || {
        // SAFETY: readable and writable, as the header asks for.
        let (checkpoint, out) = unsafe { (bytes(checkpoint, "checkpoint")?, Out::new(chain, "chain")?) };
        let native = self::chain(&*table::get::<Genesis>(genesis)?, checkpoint)?;
        out.set(table::insert(Rules::new(native))?);
        Ok(())
    })
}

/// Start, or go on after `hs2_light_stop`. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_light_start(light: hs2_light, now_us: u64) -> hs2_status {
    handle(light, now_us, || Ok(LightInput::Start))
}

/// Stop: requests and jobs are cancelled, questions are closed with `HS2_LIGHT_ERROR_STOPPED`; what is proven stays.
/// Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_light_stop(light: hs2_light, now_us: u64) -> hs2_status {
    handle(light, now_us, || Ok(LightInput::Stop))
}

/// Time has passed: to be called at the deadline of `HS2_LIGHT_OUTPUT_WAIT`. Early or for nothing it does no harm.
/// Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_light_handle_timeout(light: hs2_light, now_us: u64) -> hs2_status {
    handle(light, now_us, || Ok(LightInput::Timeout))
}

/// The time of day, in milliseconds since 1970, where it was set or the machine has slept: the client counts on from it by
/// `now_us`. Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_light_handle_wall(light: hs2_light, now_us: u64, wall_ms: u64) -> hs2_status {
    handle(light, now_us, || Ok(LightInput::Wall(UnixMillis::new(wall_ms))))
}

/// A connection to a peer stands. Witnesses are counted by `group`: peers with the same number may be one operator.
/// Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_handle_connected(
    light: hs2_light,
    now_us: u64,
    peer: *const hs2_id,
    group: u64,
) -> hs2_status {
    // SAFETY: readable, as the header asks for.
    let peer = || unsafe { read(peer, "peer") };
    handle(light, now_us, || Ok(LightInput::Peer(PeerEvent::Connected { peer: peer()?.into(), group })))
}

/// The connection to a peer is gone. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_handle_disconnected(
    light: hs2_light,
    now_us: u64,
    peer: *const hs2_id,
) -> hs2_status {
    // SAFETY: readable, as the header asks for.
    let peer = || unsafe { read(peer, "peer") };
    handle(light, now_us, || Ok(LightInput::Peer(PeerEvent::Disconnected { peer: peer()?.into() })))
}

/// A request was answered, with the bytes of a frozen buffer, which the client shares and does not copy. Threads: one at a
/// time. Errors: `HS2_WRONG_STATE` for a buffer that is not frozen, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_light_handle_response(
    light: hs2_light,
    now_us: u64,
    request: u64,
    answer: hs2_buffer,
) -> hs2_status {
    handle(light, now_us, || {
        let bytes = table::get::<Buffer>(answer)?.bytes()?;
        Ok(LightInput::Response(RequestId::from_raw(request), Ok(bytes)))
    })
}

/// A request won't be answered: `failure` is `HS2_REQUEST_FAILURE_OVERSIZE` or `HS2_REQUEST_FAILURE_BROKEN`, as for
/// `hs2_machine_handle_failure`. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_light_handle_failure(light: hs2_light, now_us: u64, request: u64, failure: u32) -> hs2_status {
    handle(light, now_us, || {
        let all = [RequestFailure::Oversize, RequestFailure::Broken];
        let found = all.into_iter().find(|one| u32::from(one.code()) == failure);
        let found = found.ok_or_else(|| Failure::argument("failure", "is no HS2_REQUEST_FAILURE"))?;
        Ok(LightInput::Response(RequestId::from_raw(request), Err(found)))
    })
}

/// A job is done, or was read with `hs2_verdict_decode`. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_light_handle_verdict(light: hs2_light, now_us: u64, verdict: hs2_verdict) -> hs2_status {
    handle(light, now_us, || Ok(LightInput::Verdict((*table::get::<Verdict>(verdict)?).clone())))
}

/// The next thing to do; `HS2_LIGHT_OUTPUT_WAIT` comes last. Ownership: one reference to `output->object`, where it is not 0.
/// Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_poll(light: hs2_light, output: *mut hs2_output) -> hs2_status {
    fence(light, || {
        // SAFETY: writable, as the header asks for.
        let output = unsafe { Out::new(output, "output") }?;
        output.set(table::get::<Lights>(light)?.lock()?.poll()?);
        Ok(())
    })
}

/// Where the client stands. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_read(light: hs2_light, position: *mut hs2_light_position) -> hs2_status {
    fence(light, || {
        // SAFETY: writable, as the header asks for.
        let position = unsafe { Out::new(position, "position") }?;
        position.set(table::get::<Lights>(light)?.lock()?.position());
        Ok(())
    })
}

/// The checkpoint to start the next visit from, as `HS2_LIGHT_OUTPUT_KEEP` brings it too. Ownership: one reference to
/// `checkpoint`. Threads: one at a time. Errors: `HS2_NOT_FOUND` before a tip was proven and confirmed, `HS2_STALE_HANDLE`,
/// `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_checkpoint(light: hs2_light, checkpoint: *mut hs2_buffer) -> hs2_status {
    fence(light, || {
        // SAFETY: writable, as the header asks for.
        let checkpoint = unsafe { Out::new(checkpoint, "checkpoint") }?;
        let found = table::get::<Lights>(light)?.lock()?.client.checkpoint();
        let found = found.ok_or_else(|| Failure::new(Status::NotFound, "no tip was proven and confirmed yet"))?;
        checkpoint.set(give(found.encode())?);
        Ok(())
    })
}

/// The evidence of `HS2_LIGHT_HALT_CONFLICTING_FINALITY`: both proofs, which anyone can check. Ownership: one reference to
/// `evidence`. Threads: one at a time. Errors: `HS2_NOT_FOUND` where there is none, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_light_evidence(light: hs2_light, evidence: *mut hs2_buffer) -> hs2_status {
    fence(light, || {
        // SAFETY: writable, as the header asks for.
        let evidence = unsafe { Out::new(evidence, "evidence") }?;
        let found = table::get::<Lights>(light)?.lock()?.evidence.clone();
        let found =
            found.ok_or_else(|| Failure::new(Status::NotFound, "there is no evidence of conflicting blocks"))?;
        evidence.set(give(found)?);
        Ok(())
    })
}
