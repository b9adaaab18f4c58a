use super::super::channel::{MAX_MESSAGE_BYTES, REKEY_FRAMES};
use super::super::{AskError, AskId, StreamCode};
use super::*;

/// Carries what `from` says to `to`, about `bytes` of it.
fn carry(from: &mut Session, to: &mut Session, bytes: usize) {
    let mut out = Vec::new();
    from.poll_bytes(&mut out, bytes);
    to.handle_bytes(&out).unwrap();
}

fn asked(session: &mut Session) -> Vec<AskId> {
    let id = |event| if let SessionEvent::Asked { id, .. } = event { Some(id) } else { None };
    events(session).into_iter().filter_map(id).collect()
}

#[test]
fn both_sides_ask_at_the_same_time() {
    let (mut one, mut other) = pair(NODE, NODE);
    let ids = [one.ask("a".into(), 100_000).unwrap(), other.ask("b".into(), 100_000).unwrap()];
    assert_eq!(ids, [AskId::from_raw(1); 2], "each side has numbers of its own");
    settle(&mut one, &mut other);
    for (end, answer) in [(&mut one, 70_000), (&mut other, 5)] {
        let [id] = asked(end)[..] else { panic!("one question each") };
        assert!(end.answer(id, filled(answer)) && !end.answer(id, filled(1)), "once");
    }
    settle(&mut one, &mut other);
    let whole = |bytes| [SessionEvent::Sent { id: ids[0] }, SessionEvent::Answer { id: ids[0], bytes: filled(bytes) }];
    let sorted = |end: &mut Session| {
        let mut events = events(end);
        events.sort_by_key(|event| matches!(event, SessionEvent::Answer { .. }));
        events
    };
    assert_eq!((sorted(&mut one), sorted(&mut other)), (whole(5).to_vec(), whole(70_000).to_vec()));
    assert_eq!((one.answer_bytes_received(), other.answer_bytes_received()), (5, 70_000));
}

#[test]
fn short_answers_overtake_and_long_ones_come_in_order() {
    let (mut client, mut server) = pair(NODE, NODE);
    let long: Vec<AskId> = (0..2).map(|_| client.ask("long".into(), 1 << 20).unwrap()).collect();
    settle(&mut client, &mut server);
    for id in asked(&mut server) {
        server.answer(id, filled(1 << 20));
    }
    carry(&mut server, &mut client, 100_000);
    let short = client.ask("short".into(), 64 << 10).unwrap();
    carry(&mut client, &mut server, 1000);
    let id = asked(&mut server)[0];
    server.answer(id, filled(64 << 10));
    carry(&mut server, &mut client, 80_000);
    assert_eq!(events(&mut client), [SessionEvent::Answer { id: short, bytes: filled(64 << 10) }]);
    settle(&mut client, &mut server);
    let answers = events(&mut client);
    let order: Vec<&AskId> = answers
        .iter()
        .filter_map(|event| if let SessionEvent::Answer { id, .. } = event { Some(id) } else { None })
        .collect();
    assert_eq!(order, [&long[0], &long[1]]);
}

#[test]
fn no_message_is_longer_than_the_channel_takes() {
    let (mut client, mut server) = pair(NODE, NODE);
    client.ask(filled(8192), 1 << 20).unwrap();
    settle(&mut client, &mut server);
    let id = asked(&mut server)[0];
    server.answer(id, filled(1 << 20));
    let bytes = said(&mut server);
    let mut rest = &bytes[..];
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        assert!(length <= (16 << 10) + 21, "{length}");
        rest = &tail[length..];
    }
    assert!(rest.is_empty());
    // Other implementations may cut into larger pieces.
    let (mut rogue, mut server) = rogue_and_server();
    let id = server.ask(filled(1), 1 << 20).unwrap();
    rogue.sends(&mut server, Kind::End, id.get(), &[1; MAX_MESSAGE_BYTES - 21]).unwrap();
    assert!(matches!(&events(&mut server)[..], [SessionEvent::Answer { bytes, .. }] if bytes.len() == 65_514));
}

#[test]
fn no_more_is_asked_than_the_peer_takes() {
    let (mut client, mut server) = pair(NODE, SessionConfig { max_asks: 2, ..NODE });
    assert_eq!(client.room(), 2);
    let first = client.ask("a".into(), 10).unwrap();
    client.ask("b".into(), 10).unwrap();
    assert_eq!(client.ask("c".into(), 10), Err(AskError::Full { limit: 2 }));
    client.cancel(first);
    assert_eq!(client.ask("c".into(), 10), Err(AskError::Full { limit: 2 }), "the peer doesn't know yet");
    settle(&mut client, &mut server);
    assert_eq!(events(&mut client), [], "what is cancelled has no event");
    assert_eq!(client.room(), 1);
    client.ask("c".into(), 10).unwrap();
    settle(&mut client, &mut server);
    assert_eq!(client.ask(filled(8193), 10), Err(AskError::TooLong { bytes: 8193, limit: 8192 }));
    assert_eq!(dial(1, NODE).ask("early".into(), 1), Err(AskError::NotOpen));
}

#[test]
fn either_side_gives_up_on_an_answer() {
    let (mut client, mut server) = pair(NODE, NODE);
    let [one, two] = [client.ask("a".into(), 1 << 30).unwrap(), client.ask("b".into(), 1 << 30).unwrap()];
    settle(&mut client, &mut server);
    for id in asked(&mut server) {
        server.answer(id, filled(1 << 20));
    }
    carry(&mut server, &mut client, 200_000);
    client.cancel(one);
    carry(&mut client, &mut server, 1000);
    assert_eq!(events(&mut server), [SessionEvent::Cancelled { id: one }]);
    assert!(server.give_up(two, StreamCode::TooSlow) && !server.give_up(two, StreamCode::TooSlow));
    settle(&mut client, &mut server);
    assert_eq!(events(&mut client), [SessionEvent::Reset { id: two, code: StreamCode::TooSlow }]);
    assert_eq!(client.room(), 32);
    assert!(client.answer_bytes_received() < 300_000, "the rest was not sent");
}

#[test]
fn the_last_word_is_heard() {
    let (mut client, mut server) = pair(NODE, NODE);
    client.ask("a".into(), 1 << 20).unwrap();
    settle(&mut client, &mut server);
    let id = asked(&mut server)[0];
    server.answer(id, filled(1 << 20));
    server.bye("shutting\ndown");
    assert!(server.wants_write());
    let error = client.handle_bytes(&said(&mut server)).unwrap_err();
    assert_eq!(error, SessionError::ByPeer("shuttingdown".into()));
    assert_eq!(server.over(), Some(&SessionError::Closed("shuttingdown".into())));
    assert!(!server.wants_write() && !client.wants_write() && said(&mut client).is_empty());
    // A rule that was broken is said to who broke it.
    let (mut rogue, mut server) = rogue_and_server();
    said(&mut server);
    rogue.sends(&mut server, Kind::Hello, 0, &hello()).unwrap_err();
    let mut plain = Vec::new();
    let mut reading = said(&mut server);
    // Its Hello and the last word are all that it says.
    reading.drain(..4);
    let _ = rogue.0.open(&reading, &mut plain);
    assert!(!server.wants_write());
}

#[test]
fn keys_change_after_so_many_frames_and_all_goes_on() {
    let (mut client, mut server) = pair(NODE, NODE);
    let mut last = Vec::new();
    for _ in 0..REKEY_FRAMES + 2 {
        client.ping();
        last = said(&mut client);
        server.handle_bytes(&last).unwrap();
    }
    assert_eq!(last.len(), 33);
    assert!(server.frames_received() > REKEY_FRAMES);
    let id = client.ask("still there?".into(), 100).unwrap();
    settle(&mut client, &mut server);
    let asked = asked(&mut server)[0];
    server.answer(asked, "yes".into());
    settle(&mut client, &mut server);
    assert!(events(&mut client).contains(&SessionEvent::Answer { id, bytes: "yes".into() }));
}

#[test]
fn a_peers_words_are_tamed() {
    use super::super::reason_of;
    assert_eq!(reason_of("\u{1b}[31mred\r\n".as_bytes()), "[31mred");
    assert_eq!(reason_of(&vec![b'x'; 5000]).len(), 120);
    assert_eq!(reason_of(&[0xff, b'a']), "\u{fffd}a");
}

#[test]
fn stream_codes_round_trip() {
    for code in [
        StreamCode::Cancelled,
        StreamCode::Oversize,
        StreamCode::NotServing,
        StreamCode::TooSlow,
        StreamCode::Failed,
        StreamCode::Unknown(77),
    ] {
        let wire = if let StreamCode::Unknown(code) = code { code } else { code.to_wire().into() };
        assert_eq!(StreamCode::from_wire(wire), code);
    }
}
