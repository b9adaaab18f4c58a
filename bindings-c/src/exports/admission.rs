//! Admission: who is answered now, who waits, who is told to come back later.
#![allow(unsafe_code)]

use hotstuff2_sync::serve::{Admission, Cost, Handshake, ServeLimits, Ticket, Turn, estimate};
use hotstuff2_sync::time::{Instant, micros};
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};

use crate::buffer::give;
use crate::failure::Failure;
use crate::fence::fence;
use crate::objects::Admissions;
use crate::pointer::{Out, bytes, read};
use crate::status::hs2_status;
use crate::table;
use crate::types::{
    HS2_NEVER, HS2_TURN_REFUSE, HS2_TURN_SERVE, HS2_TURN_WAIT, hs2_admission, hs2_buffer, hs2_id, hs2_slice, hs2_turn,
};

pub(super) fn request_of(encoded: &[u8]) -> Result<Request, Failure> {
    Request::decode(encoded).map_err(|why| Failure::malformed("request", why))
}

fn refusal_of(what: Refusal, answer: Out<hs2_buffer>) -> Result<(), Failure> {
    answer.set(give(encode_refusal(what))?);
    Ok(())
}

/// Decides who is served, spending at most `work_us` microseconds of CPU time a second on it: 1,000,000 for each core that
/// is given to serving; 0 for the default, half a core. Ownership: one reference to `admission`. Threads: any.
/// Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_admission_new(work_us: u64, admission: *mut hs2_admission) -> hs2_status {
    fence(0, || {
        // SAFETY: writable, as the header asks for.
        let admission = unsafe { Out::new(admission, "admission") }?;
        let limits = if work_us == 0 { ServeLimits::default() } else { ServeLimits::with_work(work_us) };
        admission.set(table::insert(Admissions::new(Admission::new(limits)))?);
        Ok(())
    })
}

/// A request came in, from a peer of a group (a number for its network: an IPv4 /16, say). Its cost is estimated here. It
/// gets a ticket and waits for its turn, or it gets ticket 0: then the peer is told that the node is busy
/// (`hs2_refusal_busy`) for `retry_after_ms`. `now_us` is the host's monotonic time. Threads: one at a time.
/// Errors: `HS2_MALFORMED` for a request that can't be read (answer with `hs2_refusal_unsupported`, or disconnect),
/// `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_admission_ask(
    admission: hs2_admission,
    now_us: u64,
    peer: *const hs2_id,
    group: u64,
    request: hs2_slice,
    ticket: *mut u64,
    retry_after_ms: *mut u32,
) -> hs2_status {
    fence(admission, || {
        // SAFETY: readable and writable, as the header asks for.
        let (peer, request, ticket, retry) = unsafe {
            let (peer, request) = (read(peer, "peer")?, bytes(request, "request")?);
            (peer, request, Out::new(ticket, "ticket")?, Out::new(retry_after_ms, "retry_after_ms")?)
        };
        let cost = estimate(&request_of(request)?);
        let admission = table::get::<Admissions>(admission)?;
        let asked = admission.lock()?.ask(Instant::from_micros(now_us), peer.into(), group, cost);
        let (number, wait) = match asked {
            Ok(admitted) => (admitted.get(), 0),
            Err(busy) => (0, busy.retry_after_ms),
        };
        ticket.set(number);
        retry.set(wait);
        Ok(())
    })
}

/// Writes the next thing to do: call it after everything that happens, and again until it says `HS2_TURN_WAIT`.
/// Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_admission_poll(admission: hs2_admission, now_us: u64, turn: *mut hs2_turn) -> hs2_status {
    fence(admission, || {
        // SAFETY: writable, as the header asks for.
        let turn = unsafe { Out::new(turn, "turn") }?;
        let next = table::get::<Admissions>(admission)?.lock()?.poll(Instant::from_micros(now_us));
        let (kind, ticket, retry_after_ms, deadline_us) = match next {
            Turn::Serve(ticket) => (HS2_TURN_SERVE, ticket.get(), 0, HS2_NEVER),
            Turn::Refuse(ticket, busy) => (HS2_TURN_REFUSE, ticket.get(), busy.retry_after_ms, HS2_NEVER),
            Turn::Wait(deadline) => (HS2_TURN_WAIT, 0, 0, deadline.map_or(HS2_NEVER, Instant::as_micros)),
        };
        turn.set(hs2_turn { kind, retry_after_ms, ticket, deadline_us });
        Ok(())
    })
}

/// An answer is made and goes out: so many bytes, so many microseconds of work. Unknown tickets are let pass.
/// Threads: one at a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_admission_made(
    admission: hs2_admission,
    now_us: u64,
    ticket: u64,
    answer_bytes: u64,
    work_us: u64,
) -> hs2_status {
    fence(admission, || {
        let admission = table::get::<Admissions>(admission)?;
        let cost = Cost { bytes: answer_bytes, work: work_us };
        admission.lock()?.made(Instant::from_micros(now_us), Ticket::from_raw(ticket), cost);
        Ok(())
    })
}

/// An answer was received, or its request was given up. Unknown tickets are let pass. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_admission_end(admission: hs2_admission, now_us: u64, ticket: u64) -> hs2_status {
    fence(admission, || {
        let admission = table::get::<Admissions>(admission)?;
        admission.lock()?.end(Instant::from_micros(now_us), Ticket::from_raw(ticket));
        Ok(())
    })
}

/// For how many microseconds not to read further requests of a peer, because it goes on asking though it was told to
/// wait. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_admission_pause(
    admission: hs2_admission,
    now_us: u64,
    peer: *const hs2_id,
    pause_us: *mut u64,
) -> hs2_status {
    fence(admission, || {
        // SAFETY: readable and writable, as the header asks for.
        let (peer, pause) = unsafe { (read(peer, "peer")?, Out::new(pause_us, "pause_us")?) };
        let found = table::get::<Admissions>(admission)?.lock()?.pause(Instant::from_micros(now_us), peer.into());
        pause.set(micros(found));
        Ok(())
    })
}

/// Somebody of `group` wants to connect; `proven` is not 0 where it has proven that its address is its own, as TCP does.
/// `begin` is 1 where the handshake may begin, else 0: leave it, it tries again by itself. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_admission_handshake(
    admission: hs2_admission,
    now_us: u64,
    group: u64,
    proven: i32,
    begin: *mut i32,
) -> hs2_status {
    fence(admission, || {
        // SAFETY: writable, as the header asks for.
        let begin = unsafe { Out::new(begin, "begin") }?;
        let admission = table::get::<Admissions>(admission)?;
        let what = admission.lock()?.handshake(Instant::from_micros(now_us), group, proven != 0);
        begin.set(i32::from(what == Handshake::Begin));
        Ok(())
    })
}

/// The answer that there is no such thing here. Ownership: one reference to `answer`. Threads: any.
/// Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_refusal_not_available(answer: *mut hs2_buffer) -> hs2_status {
    // SAFETY: writable, as the header asks for.
    fence(0, || refusal_of(Refusal::NotAvailable, unsafe { Out::new(answer, "answer") }?))
}

/// The answer that this node is busy, and that the peer may ask again after so many milliseconds.
/// Ownership: one reference to `answer`. Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_refusal_busy(retry_after_ms: u32, answer: *mut hs2_buffer) -> hs2_status {
    // SAFETY: writable, as the header asks for.
    fence(0, || refusal_of(Refusal::Busy { retry_after_ms }, unsafe { Out::new(answer, "answer") }?))
}

/// The answer that this node doesn't know such a request, or its version. Ownership: one reference to `answer`.
/// Threads: any. Errors: `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_refusal_unsupported(answer: *mut hs2_buffer) -> hs2_status {
    // SAFETY: writable, as the header asks for.
    fence(0, || refusal_of(Refusal::Unsupported, unsafe { Out::new(answer, "answer") }?))
}
