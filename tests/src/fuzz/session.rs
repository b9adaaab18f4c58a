//! Sessions: honest ends with somebody on the way, bytes of anyone, and an authenticated peer that keeps no rule.

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::limits::MAX_REQUEST_BYTES;
use hotstuff2_sync::session::{
    AskId, Channel, Role, Session, SessionConfig, SessionEvent, SessionIdentity, StreamCode,
};

use super::input::Input;

const CONFIG: SessionConfig = SessionConfig { chain: Hash::ZERO, role: Role::Node, max_asks: 4 };

/// Most bytes that one call hands out.
const PIECE: usize = 20_000;

/// The first byte chooses. 0: two honest ends over a line on which somebody meddles; nobody is ever to blame, and an answer
/// that is whole is the one that was given. 1: the bytes themselves come in. 2: a peer with a key of its own sends frames of
/// any kind; what it makes the session hold is bounded.
pub fn session(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() % 3 {
        0 => path(input),
        1 => {
            for mut end in [accept(), dial()] {
                let first = end.handle_bytes(input.rest());
                assert_eq!(end.handle_bytes(&[]), first, "what is over stays over");
                assert!(
                    first.is_ok_and(|()| end.peer().is_none()) || end.over().is_some_and(|error| !error.is_fault())
                );
            }
        }
        _ => rogue(input),
    }
}

fn dial() -> Session {
    Session::dial(&SessionIdentity::from_secret(&[1; 32]), None, CONFIG, [3; 32]).expect("a fresh seed")
}

fn accept() -> Session {
    Session::accept(&SessionIdentity::from_secret(&[2; 32]), CONFIG, [4; 32]).expect("a fresh seed")
}

/// Answer to question `id` of either side.
fn answer(id: AskId) -> Bytes {
    let len = usize::try_from(id.get()).unwrap_or(0) * 9_000 % 150_000;
    vec![id.get().to_le_bytes()[0]; len].into()
}

fn path(mut input: Input<'_>) {
    let mut ends = [dial(), accept()];
    let mut asked: [Vec<AskId>; 2] = Default::default();
    while !input.is_empty() {
        let operation = input.byte();
        let side = usize::from(operation >> 7);
        let [end, other] = match &mut ends {
            [one, other] if side == 0 => [one, other],
            [one, other] => [other, one],
        };
        match operation % 8 {
            0 => drop(end.ask(vec![7; input.below(MAX_REQUEST_BYTES)].into(), 200_000)),
            1 => {
                if let Some(id) = asked.get_mut(side).and_then(Vec::pop) {
                    end.answer(id, answer(id));
                }
            }
            2 => end.cancel(AskId::from_raw(u32::from(input.byte()))),
            3 => drop(end.give_up(AskId::from_raw(u32::from(input.byte())), StreamCode::Failed)),
            4 => end.ping(),
            // Somebody on the way, now and then.
            kind => {
                let mut bytes = Vec::new();
                end.poll_bytes(&mut bytes, PIECE);
                let bytes = if kind == 7 { input.mutate(&bytes) } else { bytes };
                let _ = other.handle_bytes(&bytes);
            }
        }
        for (end, asked) in ends.iter_mut().zip(&mut asked) {
            while let Some(event) = end.poll_event() {
                match event {
                    SessionEvent::Asked { id, .. } => asked.push(id),
                    SessionEvent::Answer { id, bytes } => assert_eq!(bytes, answer(id)),
                    SessionEvent::Oversize { .. } => panic!("nobody sent too much"),
                    _ => {}
                }
            }
            assert!(end.over().is_none_or(|error| !error.is_fault()), "{:?}", end.over());
        }
    }
}

fn rogue(mut input: Input<'_>) {
    let mut server = accept();
    let mut first = Vec::new();
    let mut channel =
        Channel::dial(&SessionIdentity::from_secret(&[9; 32]), None, [5; 32], &mut first).expect("a seed");
    server.handle_bytes(&first).expect("an honest beginning");
    let (mut second, mut third) = (Vec::new(), Vec::new());
    server.poll_bytes(&mut second, 1);
    let known = channel.shake(second.get(4..).unwrap_or_default(), &mut third);
    assert!(known.is_ok_and(|peer| peer.is_some()));
    server.handle_bytes(&third).expect("an honest handshake");
    let hello = [&[1, 0][..], &[0; 32], &[4, 0]].concat();
    let (mut held, mut written) = (0, Vec::new());
    while !input.is_empty() && server.over().is_none() {
        let operation = input.byte();
        match operation >> 6 {
            0 => drop(server.ask(Bytes::from_static(b"ask"), input.below(70_000))),
            1 => {
                server.poll_bytes(&mut written, PIECE);
                written.clear();
            }
            _ => {
                let (id, len) = (u32::from(input.byte() % 8), input.below(66_000));
                let content = if operation.is_multiple_of(16) {
                    hello.clone()
                } else {
                    vec![1; len % (input.below(3) * 33_000 + 9)]
                };
                let frame = [&[operation % 16], &id.to_le_bytes()[..], &content].concat();
                let mut message = Vec::new();
                // One that is too long for the channel is not sent.
                if channel.seal(&frame, &mut message).is_ok() {
                    let _ = server.handle_bytes(&message);
                }
            }
        }
        while let Some(event) = server.poll_event() {
            match event {
                SessionEvent::Asked { request, .. } => held += request.len(),
                SessionEvent::Cancelled { id } => drop(server.give_up(id, StreamCode::Failed)),
                SessionEvent::Answer { bytes, .. } => assert!(bytes.len() < 70_000),
                _ => {}
            }
        }
    }
    // Nothing is answered here, so that what was asked stays open or is reset.
    assert!(held <= 255 * MAX_REQUEST_BYTES);
}
