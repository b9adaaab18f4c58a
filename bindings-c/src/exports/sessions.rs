//! Sessions: requests and answers over one stream of bytes, so that a host writes `read` and `write` and nothing else.
#![allow(unsafe_code)]

use std::ffi::c_char;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::session::{AskId, Role, Session, SessionConfig, SessionEvent, SessionIdentity, StreamCode};

use crate::buffer::{Buffer, give};
use crate::failure::Failure;
use crate::fence::fence;
use crate::objects::Sessions;
use crate::pointer::{Out, bytes, read, text};
use crate::status::{Status, hs2_status};
use crate::table;
use crate::types::{
    HS2_ROLE_NODE, HS2_ROLE_PAGE, HS2_SESSION_ANSWER, HS2_SESSION_ASKED, HS2_SESSION_CANCELLED, HS2_SESSION_NONE,
    HS2_SESSION_OPEN, HS2_SESSION_OVERSIZE, HS2_SESSION_RESET, HS2_SESSION_SENT, hs2_buffer, hs2_id, hs2_session,
    hs2_session_event, hs2_slice,
};

/// Most bytes that `hs2_session_write` gives out at once, before the last frame.
const WRITE_BYTES: usize = 256 << 10;

fn over(error: impl std::fmt::Display) -> Failure {
    Failure::new(Status::SessionOver, error.to_string())
}

/// The end that has opened the connection. `secret` is the node's Ed25519 secret key of 32 bytes; `expected` the key that
/// must answer, or null for any; `chain_id` the chain, as the genesis document says it; `role` `HS2_ROLE_NODE`, or
/// `HS2_ROLE_PAGE` for a client that never answers; `max_asks` how many questions the peer may have open; `seed` 32 fresh
/// random bytes, for this session alone. Ownership: one reference to `session`. Threads: any.
/// Errors: `HS2_SESSION_OVER`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_session_dial(
    secret: *const hs2_id,
    expected: *const hs2_id,
    chain_id: *const hs2_id,
    role: u32,
    max_asks: u16,
    seed: *const hs2_id,
    session: *mut hs2_session,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (secret, expected, chain, seed, session) = unsafe {
            let expected = if expected.is_null() { None } else { Some(read(expected, "expected")?) };
            let (secret, chain) = (read(secret, "secret")?, read(chain_id, "chain_id")?);
            (secret, expected, chain, read(seed, "seed")?, Out::new(session, "session")?)
        };
        let role = match role {
            HS2_ROLE_NODE => Role::Node,
            HS2_ROLE_PAGE => Role::Page,
            _ => return Err(Failure::argument("role", "is neither HS2_ROLE_NODE nor HS2_ROLE_PAGE")),
        };
        let config = SessionConfig { chain: chain.into(), role, max_asks };
        let identity = SessionIdentity::from_secret(&secret.bytes);
        let made = Session::dial(&identity, expected.map(PeerId::from), config, seed.bytes).map_err(over)?;
        session.set(table::insert(Sessions::new(made))?);
        Ok(())
    })
}

/// The end that a connection was opened to; see `hs2_session_dial`. Ownership: one reference to `session`. Threads: any.
/// Errors: `HS2_SESSION_OVER`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_session_accept(
    secret: *const hs2_id,
    chain_id: *const hs2_id,
    max_asks: u16,
    seed: *const hs2_id,
    session: *mut hs2_session,
) -> hs2_status {
    fence(0, || {
        // SAFETY: readable and writable, as the header asks for.
        let (secret, chain, seed, session) = unsafe {
            let (secret, chain) = (read(secret, "secret")?, read(chain_id, "chain_id")?);
            (secret, chain, read(seed, "seed")?, Out::new(session, "session")?)
        };
        let config = SessionConfig { chain: chain.into(), role: Role::Node, max_asks };
        let identity = SessionIdentity::from_secret(&secret.bytes);
        let made = Session::accept(&identity, config, seed.bytes).map_err(over)?;
        session.set(table::insert(Sessions::new(made))?);
        Ok(())
    })
}

/// Bytes were read from the connection, as many or few as there were. Then ask for events, and for what is to be written.
/// Threads: one at a time.
/// Errors: `HS2_SESSION_OVER` from the moment on at which it is (`hs2_session_end` says why): write what is left, then
/// close the connection. `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_session_read(session: hs2_session, incoming: hs2_slice) -> hs2_status {
    fence(session, || {
        // SAFETY: readable, as the header asks for.
        let incoming = unsafe { bytes(incoming, "incoming") }?;
        table::get::<Sessions>(session)?.lock()?.handle_bytes(incoming).map_err(over)
    })
}

/// Takes out the bytes to be written to the connection next, all of it and in order. Ownership: one reference to `outgoing`.
/// Threads: one at a time.
/// Errors: `HS2_NOT_FOUND` where there is nothing, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`,
/// `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_session_write(session: hs2_session, outgoing: *mut hs2_buffer) -> hs2_status {
    fence(session, || {
        // SAFETY: writable, as the header asks for.
        let outgoing = unsafe { Out::new(outgoing, "outgoing") }?;
        let mut out = Vec::new();
        table::get::<Sessions>(session)?.lock()?.poll_bytes(&mut out, WRITE_BYTES);
        if out.is_empty() {
            return Err(Failure::new(Status::NotFound, "there is nothing to write"));
        }
        outgoing.set(give(out)?);
        Ok(())
    })
}

/// Takes out the next event that the bytes which came in mean, with `HS2_SESSION_NONE` where there is none.
/// Ownership: one reference to `event->object`, where it is not 0. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_session_poll(session: hs2_session, event: *mut hs2_session_event) -> hs2_status {
    fence(session, || {
        // SAFETY: writable, as the header asks for.
        let event = unsafe { Out::new(event, "event") }?;
        let zero = hs2_id { bytes: [0; 32] };
        let mut plain = hs2_session_event {
            kind: HS2_SESSION_NONE,
            id: 0,
            code: 0,
            role: 0,
            object: 0,
            peer: zero,
            chain_id: zero,
        };
        match table::get::<Sessions>(session)?.lock()?.poll_event() {
            Some(SessionEvent::Open { peer, hello }) => {
                plain.kind = HS2_SESSION_OPEN;
                plain.peer.bytes = *peer.as_bytes();
                plain.chain_id = hello.chain.into();
                plain.code = hello.max_asks.into();
                plain.role = match hello.role {
                    Role::Node => HS2_ROLE_NODE,
                    Role::Page => HS2_ROLE_PAGE,
                };
            }
            Some(SessionEvent::Asked { id, request }) => {
                (plain.kind, plain.id) = (HS2_SESSION_ASKED, id.get());
                plain.object = give(request)?;
            }
            Some(SessionEvent::Cancelled { id }) => (plain.kind, plain.id) = (HS2_SESSION_CANCELLED, id.get()),
            Some(SessionEvent::Sent { id }) => (plain.kind, plain.id) = (HS2_SESSION_SENT, id.get()),
            Some(SessionEvent::Answer { id, bytes }) => {
                (plain.kind, plain.id) = (HS2_SESSION_ANSWER, id.get());
                plain.object = give(bytes)?;
            }
            Some(SessionEvent::Oversize { id }) => (plain.kind, plain.id) = (HS2_SESSION_OVERSIZE, id.get()),
            Some(SessionEvent::Reset { id, code }) => {
                (plain.kind, plain.id) = (HS2_SESSION_RESET, id.get());
                plain.code = code.to_wire().into();
            }
            // A kind that this library does not know is none.
            Some(_) | None => {}
        }
        event.set(plain);
        Ok(())
    })
}

/// Puts a question. Its answer comes as an event; one of more bytes than `max_response_bytes` does not. Threads: one at a
/// time.
/// Errors: `HS2_WRONG_STATE` where it can't be put now (`hs2_last_error` says why), `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`,
/// `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_session_ask(
    session: hs2_session,
    request: hs2_slice,
    max_response_bytes: u64,
    id: *mut u32,
) -> hs2_status {
    fence(session, || {
        // SAFETY: readable and writable, as the header asks for.
        let (request, id) = unsafe { (bytes(request, "request")?, Out::new(id, "id")?) };
        let most = usize::try_from(max_response_bytes).unwrap_or(usize::MAX);
        let asked = table::get::<Sessions>(session)?.lock()?.ask(Bytes::copy_from_slice(request), most);
        id.set(asked.map_err(|error| Failure::new(Status::WrongState, error.to_string()))?.get());
        Ok(())
    })
}

/// How many more questions may be put now. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_session_room(session: hs2_session, room: *mut usize) -> hs2_status {
    fence(session, || {
        // SAFETY: writable, as the header asks for.
        let room = unsafe { Out::new(room, "room") }?;
        room.set(table::get::<Sessions>(session)?.lock()?.room());
        Ok(())
    })
}

/// The answer to a question of this side is not wanted any more. Unknown questions are let pass. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_session_cancel(session: hs2_session, id: u32) -> hs2_status {
    fence(session, || {
        table::get::<Sessions>(session)?.lock()?.cancel(AskId::from_raw(id));
        Ok(())
    })
}

/// Answers a question of the peer's, with a frozen buffer, which the session shares and does not copy. Threads: one at a
/// time. Errors: `HS2_NOT_FOUND` where the question is not open any more, `HS2_WRONG_STATE` for a buffer that is not
/// frozen, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_session_answer(session: hs2_session, id: u32, answer: hs2_buffer) -> hs2_status {
    fence(session, || {
        let bytes = table::get::<Buffer>(answer)?.bytes()?;
        let open = table::get::<Sessions>(session)?.lock()?.answer(AskId::from_raw(id), bytes);
        if open { Ok(()) } else { Err(Failure::new(Status::NotFound, "the question is not open any more")) }
    })
}

/// Gives up on a question of the peer's: `code` is `HS2_STREAM_…`. Threads: one at a time.
/// Errors: `HS2_NOT_FOUND` where the question is not open any more, `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_session_give_up(session: hs2_session, id: u32, code: u32) -> hs2_status {
    fence(session, || {
        let code = StreamCode::from_wire(code.into());
        let open = table::get::<Sessions>(session)?.lock()?.give_up(AskId::from_raw(id), code);
        if open { Ok(()) } else { Err(Failure::new(Status::NotFound, "the question is not open any more")) }
    })
}

/// Sends a sign of life, which the peer returns. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn hs2_session_ping(session: hs2_session) -> hs2_status {
    fence(session, || {
        table::get::<Sessions>(session)?.lock()?.ping();
        Ok(())
    })
}

/// Ends the session, and tells the peer why in a few words: write what is left, then close the connection. Threads: one at
/// a time. Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_session_bye(session: hs2_session, reason: *const c_char) -> hs2_status {
    fence(session, || {
        // SAFETY: a text closed by a zero byte, as the header asks for.
        let reason = unsafe { text(reason, "reason") }?;
        table::get::<Sessions>(session)?.lock()?.bye(reason);
        Ok(())
    })
}

/// Whether and why a session is over: `code` is 0 while it is not, and `fault` 1 where the peer is to blame by bytes that
/// only it can have sent (exclude it), else 0. `words` says it for people. Ownership: one reference to `words`, which is 0
/// while the session is not over. Threads: one at a time.
/// Errors: `HS2_STALE_HANDLE`, `HS2_WRONG_KIND`, `HS2_IN_USE`, `HS2_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hs2_session_end(
    session: hs2_session,
    code: *mut u32,
    fault: *mut i32,
    words: *mut hs2_buffer,
) -> hs2_status {
    fence(session, || {
        // SAFETY: writable, as the header asks for.
        let (code, fault, words) =
            unsafe { (Out::new(code, "code")?, Out::new(fault, "fault")?, Out::new(words, "words")?) };
        let found = table::get::<Sessions>(session)?.lock()?.over().cloned();
        let said = found.as_ref().map_or(Ok(0), |error| give(error.to_string()))?;
        code.set(found.as_ref().map_or(0, |error| error.code().into()));
        fault.set(found.is_some_and(|error| error.is_fault()).into());
        words.set(said);
        Ok(())
    })
}
