//! Two ends of a session speak through the C interface, and a bent byte ends it without blaming the peer.
#![allow(unsafe_code)]

#[macro_use]
#[path = "common/host.rs"]
mod host;

use hs2sync::*;

use host::{id, slice, taken};

/// What one end has to write.
fn written(session: hs2_session) -> Option<Vec<u8>> {
    let mut out = 0;
    // SAFETY: the place is real.
    let status = unsafe { hs2_session_write(session, &raw mut out) };
    (status == 0).then(|| taken(out))
}

fn read(session: hs2_session, bytes: &[u8]) -> hs2_status {
    // SAFETY: the bytes are real.
    unsafe { hs2_session_read(session, slice(bytes)) }
}

fn event(session: hs2_session) -> hs2_session_event {
    filled!(hs2_session_poll(session))
}

/// Carries bytes between both ends until neither has any.
fn carry(one: hs2_session, other: hs2_session) {
    loop {
        let (there, back) = (written(one), written(other));
        if there.is_none() && back.is_none() {
            return;
        }
        assert_eq!(there.map_or(0, |bytes| read(other, &bytes)), 0);
        assert_eq!(back.map_or(0, |bytes| read(one, &bytes)), 0);
    }
}

/// Both ends, not connected yet.
fn pair() -> (hs2_session, hs2_session) {
    let (mut dialled, mut accepted) = (0, 0);
    let (key, other, chain) = (id(1), id(2), id(3));
    let (seed, other_seed) = (id(4), id(5));
    // SAFETY: all places are real.
    unsafe {
        let expected = std::ptr::null();
        let status =
            hs2_session_dial(&raw const key, expected, &raw const chain, 1, 8, &raw const seed, &raw mut dialled);
        assert_eq!(status, 0);
        assert_eq!(
            hs2_session_accept(&raw const other, &raw const chain, 8, &raw const other_seed, &raw mut accepted),
            0
        );
    }
    (dialled, accepted)
}

#[test]
fn a_question_is_asked_and_answered() {
    let (dialled, accepted) = pair();
    carry(dialled, accepted);
    assert_eq!((event(dialled).kind, event(accepted).kind), (HS2_SESSION_OPEN, HS2_SESSION_OPEN));
    let mut ask = 0;
    // SAFETY: all places are real.
    assert_eq!(unsafe { hs2_session_ask(dialled, slice(b"how high?"), 100, &raw mut ask) }, 0);
    carry(dialled, accepted);
    let asked = event(accepted);
    assert_eq!((asked.kind, taken(asked.object)), (HS2_SESSION_ASKED, b"how high?".to_vec()));
    let mut answer = 0;
    // SAFETY: all places are real.
    assert_eq!(unsafe { hs2_buffer_copy(slice(b"7,000"), &raw mut answer) }, 0);
    assert_eq!(hs2_session_answer(accepted, asked.id, answer), 0);
    assert_eq!(hs2_session_answer(accepted, asked.id + 1, answer), Status::NotFound.number());
    assert_eq!(hs2_release(answer), 0);
    carry(dialled, accepted);
    let answered = event(dialled);
    assert_eq!((answered.kind, answered.id), (HS2_SESSION_ANSWER, ask));
    assert_eq!(taken(answered.object), b"7,000");
    assert_eq!((event(dialled).kind, hs2_release(dialled), hs2_release(accepted)), (HS2_SESSION_NONE, 0, 0));
}

#[test]
fn a_bent_byte_ends_the_session_and_the_peer_is_not_to_blame() {
    let (dialled, accepted) = pair();
    carry(dialled, accepted);
    assert_eq!(hs2_session_ping(dialled), 0);
    let mut bytes = written(dialled).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(read(accepted, &bytes), Status::SessionOver.number());
    let (mut code, mut fault, mut words) = (0, 7, 0);
    // SAFETY: all places are real.
    assert_eq!(unsafe { hs2_session_end(accepted, &raw mut code, &raw mut fault, &raw mut words) }, 0);
    assert_eq!(
        (code, fault, String::from_utf8(taken(words)).unwrap().as_str()),
        (7, 0, "a frame was changed on the way")
    );
    assert_eq!((hs2_release(dialled), hs2_release(accepted)), (0, 0));
}
