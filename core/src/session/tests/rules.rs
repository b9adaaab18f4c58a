//! Peers with a key of their own that keep none of the rules.

use super::super::asks::DRAIN_BYTES;
use super::super::{AskError, StreamCode, Violation};
use super::*;
use crate::limits::MAX_REQUEST_BYTES;

fn breaks(result: Result<(), SessionError>, rule: Violation) {
    let error = result.unwrap_err();
    assert_eq!(error, SessionError::Violation(rule));
    assert!(error.is_fault());
}

#[test]
fn a_session_begins_with_one_hello() {
    let mut server = accept(2, NODE);
    let mut rogue = Rogue::dials(&mut server);
    breaks(rogue.sends(&mut server, Kind::Ask, 1, b"ask"), Violation::NoHello);
    let (mut rogue, mut server) = rogue_and_server();
    breaks(rogue.sends(&mut server, Kind::Hello, 0, &hello()), Violation::SecondHello);
    assert!(matches!(server.over(), Some(SessionError::Violation(_))), "it ends at the second, however many come");
}

#[test]
fn frames_have_one_form() {
    let too_long = [0; 481];
    let wrong: [(u8, u32, &[u8]); 12] = [
        (1, 0, b"ask without a number"),
        (2, 1, b""),
        (2, 0, b"data"),
        (4, 1, b""),
        (4, 1, b"12"),
        (5, 1, b""),
        (6, 0, b"1234567"),
        (6, 1, b"12345678"),
        (7, 0, b"123456789"),
        (8, 0, &too_long),
        (8, 1, b"bye"),
        (0, 1, b"hello"),
    ];
    for (kind, id, content) in wrong {
        let (mut rogue, mut server) = rogue_and_server();
        let plain = [&[kind][..], &id.to_le_bytes(), content].concat();
        breaks(server.handle_bytes(&rogue.raw(&plain)), Violation::Malformed(kind));
    }
    for kind in [9, 255] {
        let (mut rogue, mut server) = rogue_and_server();
        breaks(server.handle_bytes(&rogue.raw(&[kind, 0, 0, 0, 0])), Violation::UnknownFrame(kind));
    }
    // The last one is a page that takes questions.
    let changes: [fn(&mut Vec<u8>); 4] =
        [|hello| hello.push(0), |hello| hello.truncate(35), |hello| hello[1] = 2, |hello| hello[1] = 1];
    for change in changes {
        let mut server = accept(2, NODE);
        let mut rogue = Rogue::dials(&mut server);
        let mut content = hello();
        change(&mut content);
        breaks(rogue.sends(&mut server, Kind::Hello, 0, &content), Violation::Malformed(0));
    }
}

#[test]
fn ten_thousand_asks_are_no_more_than_were_allowed() {
    let (mut rogue, mut server) = rogue_and_server();
    let flood: Vec<u8> = (1..=10_000).flat_map(|id| rogue.frame(Kind::Ask, id, &[7; MAX_REQUEST_BYTES])).collect();
    breaks(server.handle_bytes(&flood), Violation::TooManyAsks);
    assert!(server.held() as u64 <= NODE.memory_bound(), "{} of {}", server.held(), NODE.memory_bound());
    let asked = events(&mut server);
    assert_eq!(asked.len(), 32);
    // Cancelling makes no room before the peer is told, which it has to read.
    let (mut rogue, mut server) = rogue_and_server();
    said(&mut server);
    for id in 1..=32 {
        rogue.sends(&mut server, Kind::Ask, id, b"ask").unwrap();
        rogue.sends(&mut server, Kind::Cancel, id, &[1]).unwrap();
    }
    breaks(rogue.sends(&mut server, Kind::Ask, 33, b"ask"), Violation::TooManyAsks);
}

#[test]
fn questions_are_numbered_upwards_and_have_a_length() {
    for second in [1, 2] {
        let (mut rogue, mut server) = rogue_and_server();
        rogue.sends(&mut server, Kind::Ask, 2, b"ask").unwrap();
        breaks(rogue.sends(&mut server, Kind::Ask, second, b"ask"), Violation::AskOrder);
    }
    // A long one is found by its length alone, while nothing is asked of the peer; else by its content.
    let (mut rogue, mut server) = rogue_and_server();
    let long = [0; MAX_REQUEST_BYTES + 1];
    assert!(matches!(rogue.sends(&mut server, Kind::Ask, 1, &long), Err(SessionError::FrameLength { .. })));
    let (mut rogue, mut server) = rogue_and_server();
    server.ask(filled(1), 1).unwrap();
    breaks(rogue.sends(&mut server, Kind::Ask, 1, &long), Violation::LongAsk);
    let (mut rogue, mut server) = rogue_and_server();
    breaks(rogue.sends(&mut server, Kind::Cancel, 1, &[1]), Violation::NeverAsked);
}

#[test]
fn pieces_that_were_never_asked_for_are_not_taken() {
    for (kind, content) in [(Kind::Data, &b"data"[..]), (Kind::End, b""), (Kind::Reset, &[1])] {
        let (mut rogue, mut server) = rogue_and_server();
        breaks(rogue.sends(&mut server, kind, 1, content), Violation::NeverAsked);
        // Nor after an answer has ended.
        let (mut rogue, mut server) = rogue_and_server();
        let id = server.ask(filled(1), 10).unwrap();
        rogue.sends(&mut server, Kind::End, id.get(), b"whole").unwrap();
        assert_eq!(events(&mut server), [SessionEvent::Answer { id, bytes: "whole".into() }]);
        breaks(rogue.sends(&mut server, kind, id.get(), content), Violation::NeverAsked);
    }
}

#[test]
fn an_answer_that_is_too_long_is_cut_off_and_its_end_waited_for() {
    let (mut rogue, mut server) = rogue_and_server();
    let id = server.ask(filled(1), 100).unwrap();
    rogue.sends(&mut server, Kind::Data, id.get(), &[1; 100]).unwrap();
    assert_eq!(events(&mut server), []);
    rogue.sends(&mut server, Kind::Data, id.get(), &[1]).unwrap();
    assert_eq!(events(&mut server), [SessionEvent::Oversize { id }]);
    assert_eq!(server.room(), 31, "its place is taken until it has ended");
    rogue.sends(&mut server, Kind::Data, id.get(), &[1; 60_000]).unwrap();
    rogue.sends(&mut server, Kind::Reset, id.get(), &[2]).unwrap();
    assert_eq!((events(&mut server), server.room()), (Vec::new(), 32));
    // In its last piece there is nothing left to be cut off.
    let id = server.ask(filled(1), 0).unwrap();
    rogue.sends(&mut server, Kind::End, id.get(), &[1]).unwrap();
    assert_eq!((events(&mut server), server.room()), (vec![SessionEvent::Oversize { id }], 32));
}

#[test]
fn an_answer_that_goes_on_after_it_was_cancelled_is_given_up_after_what_a_line_holds() {
    let (mut rogue, mut server) = rogue_and_server();
    let id = server.ask(filled(1), 1 << 30).unwrap();
    server.cancel(id);
    let piece = [0; 65_000];
    for _ in 0..DRAIN_BYTES / piece.len() {
        rogue.sends(&mut server, Kind::Data, id.get(), &piece).unwrap();
    }
    assert!(server.held() < 4 * 65_536, "none of it is kept");
    breaks(rogue.sends(&mut server, Kind::Data, id.get(), &piece), Violation::StillSending);
}

#[test]
fn pings_without_end_cost_no_memory() {
    let (mut rogue, mut server) = rogue_and_server();
    said(&mut server);
    for number in 0..10_000u64 {
        rogue.sends(&mut server, Kind::Ping, 0, &number.to_le_bytes()).unwrap();
    }
    let pong = said(&mut server);
    assert_eq!(pong.len(), 4 + 5 + 8 + 16, "the newest is answered");
}

#[test]
fn pages_ask_and_never_answer() {
    let (mut page, mut server) = pair(PAGE, NODE);
    assert_eq!(server.ask(filled(1), 1), Err(AskError::Page));
    let id = page.ask(filled(1), 10).unwrap();
    settle(&mut page, &mut server);
    assert!(matches!(events(&mut server)[..], [SessionEvent::Asked { .. }]));
    server.answer(id, "yes".into());
    settle(&mut page, &mut server);
    assert_eq!(events(&mut page), [SessionEvent::Answer { id, bytes: "yes".into() }]);
    // An asker that asks a page all the same breaks a rule.
    let mut page = accept(2, PAGE);
    let mut rogue = Rogue::greets(&mut page);
    breaks(rogue.sends(&mut page, Kind::Ask, 1, b"ask"), Violation::TooManyAsks);
}

#[test]
fn a_peer_makes_a_session_hold_no_more_than_the_bound() {
    let (mut rogue, mut server) = rogue_and_server();
    for id in 1..=32 {
        rogue.sends(&mut server, Kind::Ask, id, &[7; MAX_REQUEST_BYTES]).unwrap();
    }
    let mut last = rogue.frame(Kind::Ask, 33, &[7; MAX_REQUEST_BYTES]);
    last.pop();
    for byte in last {
        server.handle_bytes(&[byte]).unwrap();
    }
    let (held, bound) = (server.held() as u64, NODE.memory_bound());
    assert!(held >= 32 * MAX_REQUEST_BYTES as u64 && held + 16 * 1024 <= bound, "{held} of {bound}");
    assert_eq!(bound, 32 * (8192 + 256) + 8192 + 2 * 8213 + 16_384 + 21);
    assert!(PAGE.memory_bound() < 48 << 10);
}

#[test]
fn errors_have_numbers_and_words() {
    let violations = [
        (100, Violation::UnknownFrame(9)),
        (101, Violation::Malformed(1)),
        (102, Violation::NoHello),
        (103, Violation::SecondHello),
        (104, Violation::AskOrder),
        (105, Violation::TooManyAsks),
        (106, Violation::LongAsk),
        (107, Violation::NeverAsked),
        (108, Violation::StillSending),
    ];
    let errors = [
        (1, SessionError::OtherProtocol),
        (2, SessionError::Handshake),
        (3, SessionError::KeyProof),
        (4, SessionError::OwnKey),
        (5, SessionError::WrongPeer { expected: peer(1), found: peer(2) }),
        (6, SessionError::FrameLength { bytes: 1, limit: 2 }),
        (7, SessionError::Tampered),
        (8, SessionError::Version(2)),
        (9, SessionError::OtherChain { found: CHAIN }),
        (10, SessionError::ByPeer("enough".into())),
        (11, SessionError::Closed("enough".into())),
    ];
    let asks = [
        (200, AskError::NotOpen),
        (201, AskError::Page),
        (202, AskError::Full { limit: 3 }),
        (203, AskError::TooLong { bytes: 2, limit: 1 }),
        (204, AskError::Exhausted),
    ];
    let mut words = alloc::collections::BTreeSet::new();
    for (code, violation) in violations {
        assert_eq!(SessionError::from(violation).code(), code);
        assert!(words.insert(alloc::format!("{violation}")) && SessionError::from(violation).is_fault());
    }
    for (code, error) in errors {
        assert_eq!(error.code(), code);
        assert!(words.insert(alloc::format!("{error}")) && !error.is_fault());
    }
    for (code, error) in asks {
        assert_eq!(error.code(), code);
        assert!(words.insert(alloc::format!("{error}")));
    }
    for code in 1..=7u8 {
        let known = StreamCode::from_wire(u64::from(code));
        assert_eq!(known.to_wire(), code.min(5), "{known}");
    }
}
