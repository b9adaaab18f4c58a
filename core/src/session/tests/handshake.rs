use super::super::crypto::public_key;
use super::super::identity::proven_peer;
use super::*;

/// The three messages of a handshake of key 1 with key 2, with other seeds for each `run`.
fn handshake(run: u8) -> [Vec<u8>; 3] {
    let mut client = Session::dial(&identity(1), None, NODE, [run; 32]).unwrap();
    let mut server = Session::accept(&identity(2), NODE, [run.wrapping_add(1); 32]).unwrap();
    let first = said(&mut client);
    server.handle_bytes(&first).unwrap();
    let second = said(&mut server);
    client.handle_bytes(&second).unwrap();
    let mut third = Vec::new();
    client.poll_bytes(&mut third, 1);
    [first, second, third]
}

#[test]
fn both_ends_know_each_other() {
    let (mut client, mut server) = (dial(1, PAGE), accept(2, NODE));
    settle(&mut client, &mut server);
    assert_eq!((client.peer(), server.peer()), (Some(peer(2)), Some(peer(1))));
    let node = Hello { role: Role::Node, chain: CHAIN, max_asks: 32 };
    assert_eq!(events(&mut client), [SessionEvent::Open { peer: peer(2), hello: node }]);
    let page = Hello { role: Role::Page, chain: CHAIN, max_asks: 0 };
    assert_eq!(events(&mut server), [SessionEvent::Open { peer: peer(1), hello: page }]);
}

#[test]
fn how_the_bytes_are_cut_makes_no_difference() {
    let (mut client, mut server) = (dial(1, NODE), accept(2, NODE));
    let mut asked = false;
    while client.wants_write() || server.wants_write() {
        for byte in said(&mut client) {
            server.handle_bytes(&[byte]).unwrap();
        }
        if let Some(SessionEvent::Asked { id, request }) = events(&mut server).pop() {
            assert!(server.answer(id, request));
        }
        for piece in said(&mut server).chunks(7) {
            client.handle_bytes(piece).unwrap();
        }
        if client.room() > 0 && !core::mem::replace(&mut asked, true) {
            client.ask(filled(3000), 3000).unwrap();
        }
    }
    assert!(matches!(&events(&mut client)[..], [_, SessionEvent::Answer { bytes, .. }] if *bytes == filled(3000)));
}

#[test]
fn a_bent_handshake_ends_and_nobody_is_to_blame() {
    let lengths = handshake(1).map(|message| message.len());
    for (number, length) in lengths.into_iter().enumerate() {
        for at in 0..length {
            let (mut client, mut server) = (dial(1, NODE), accept(2, NODE));
            let mut count = 0;
            let mut errors = Vec::new();
            while client.wants_write() || server.wants_write() {
                for from_client in [true, false] {
                    let (from, to) = if from_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
                    let mut bytes = Vec::new();
                    from.poll_bytes(&mut bytes, 1);
                    if bytes.is_empty() {
                        continue;
                    }
                    if count == number {
                        bytes[at] ^= 1 << (at % 8);
                    }
                    count += 1;
                    errors.extend(to.handle_bytes(&bytes).err());
                }
            }
            // The highest bit of a key of the curve counts for nothing (RFC 7748), but it is under the hash.
            assert!(!errors.is_empty(), "message {number}, byte {at}");
            let nobody = |error: &SessionError| !error.is_fault();
            assert!(errors.iter().all(|error| nobody(error) || matches!(error, SessionError::ByPeer(_))), "{errors:?}");
            let opened = [&mut client, &mut server].map(|end| !events(end).is_empty());
            assert!(!(opened[0] && opened[1]), "message {number}, byte {at}");
        }
    }
}

#[test]
fn a_replayed_or_reflected_handshake_ends_and_nobody_is_to_blame() {
    let old = handshake(10);
    let over = |session: &mut Session, bytes: &[u8]| session.handle_bytes(bytes).unwrap_err();
    // An answer and an end of another handshake.
    assert_eq!(over(&mut dial(1, NODE), &old[1]), SessionError::Handshake);
    let mut server = accept(2, NODE);
    server.handle_bytes(&handshake(20)[0]).unwrap();
    said(&mut server);
    assert_eq!(over(&mut server, &old[2]), SessionError::Handshake);
    // The first message twice.
    let mut server = accept(2, NODE);
    server.handle_bytes(&old[0]).unwrap();
    assert_eq!(over(&mut server, &old[0]), SessionError::Handshake);
    // Everything of an old handshake, which the server answers in another way: nobody is known by it.
    let mut server = accept(2, NODE);
    server.handle_bytes(&old[0]).unwrap();
    assert_eq!(over(&mut server, &old[2]), SessionError::Handshake);
    assert_eq!(server.peer(), None);
    // Out of order.
    assert_eq!(over(&mut accept(2, NODE), &old[2]), SessionError::OtherProtocol);
    assert_eq!(over(&mut dial(1, NODE), &old[2]), SessionError::OtherProtocol);
    // Their own words.
    let mut client = dial(1, NODE);
    let first = said(&mut client);
    assert_eq!(over(&mut client, &first), SessionError::OtherProtocol);
    let mut server = accept(2, NODE);
    server.handle_bytes(&old[0]).unwrap();
    let second = said(&mut server);
    assert_eq!(over(&mut server, &second), SessionError::Handshake);
    // An ended session stays ended.
    assert_eq!(over(&mut server, b"more"), SessionError::Handshake);
    assert!(said(&mut server).is_empty());
}

#[test]
fn who_is_not_expected_does_not_learn_who_dialled() {
    let mut client = Session::dial(&identity(1), Some(peer(3)), NODE, [7; 32]).unwrap();
    let mut server = accept(2, NODE);
    server.handle_bytes(&said(&mut client)).unwrap();
    let error = client.handle_bytes(&said(&mut server)).unwrap_err();
    assert_eq!(error, SessionError::WrongPeer { expected: peer(3), found: peer(2) });
    assert!(said(&mut client).is_empty() && !client.wants_write());
}

#[test]
fn a_node_does_not_talk_to_itself() {
    let mut client = Session::dial(&identity(2), None, NODE, [7; 32]).unwrap();
    let mut server = accept(2, NODE);
    server.handle_bytes(&said(&mut client)).unwrap();
    assert_eq!(client.handle_bytes(&said(&mut server)), Err(SessionError::OwnKey));
}

#[test]
fn nobody_passes_for_whose_key_it_has_not() {
    let (mine, theirs) = (public_key([5; 32]), identity(2));
    assert_eq!(proven_peer(&public_key(*theirs.secret()), &theirs.proof()), Ok(peer(2)));
    // A proof that a peer has shown once, with a key of one's own.
    assert_eq!(proven_peer(&mine, &theirs.proof()), Err(SessionError::KeyProof));
    let refused = SessionIdentity::with_signer(peer(2), [5; 32], |_| [0; 64]);
    assert_eq!(refused, Err(SessionError::KeyProof));
    // A key of small order, under which one signature holds for everything.
    let small = [&[1][..], &[0; 31], &[1], &[0; 63]].concat();
    assert_eq!(proven_peer(&mine, &small), Err(SessionError::KeyProof));
}

#[test]
fn a_key_that_is_kept_elsewhere_signs_for_the_channel() {
    use ed25519_dalek::{Signer as _, SigningKey};
    let key = SigningKey::from_bytes(&[2; 32]);
    let elsewhere = SessionIdentity::with_signer(peer(2), [5; 32], |bytes| key.sign(bytes).to_bytes()).unwrap();
    let (mut client, mut server) = (dial(1, NODE), Session::accept(&elsewhere, NODE, [8; 32]).unwrap());
    settle(&mut client, &mut server);
    assert_eq!(client.peer(), Some(peer(2)));
}

#[test]
fn a_secret_that_everyone_knows_is_refused() {
    let mut first = handshake(1)[0].clone();
    first[4..36].fill(0);
    let mut server = accept(2, NODE);
    assert_eq!(server.handle_bytes(&first), Err(SessionError::Handshake));
}

#[test]
fn whoever_speaks_something_else_is_told_apart() {
    for words in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00", b"SSH-2.0-OpenSSH_9.9\r\n"] {
        assert_eq!(accept(2, NODE).handle_bytes(words), Err(SessionError::OtherProtocol));
        assert_eq!(dial(1, NODE).handle_bytes(words), Err(SessionError::OtherProtocol));
    }
    let mut first = handshake(1)[0].clone();
    *first.last_mut().unwrap() = b'2';
    assert_eq!(accept(2, NODE).handle_bytes(&first), Err(SessionError::OtherProtocol));
}

#[test]
fn another_version_or_chain_is_no_fault() {
    let error = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut server = accept(2, NODE);
        let mut rogue = Rogue::dials(&mut server);
        let mut content = hello();
        change(&mut content);
        rogue.sends(&mut server, Kind::Hello, 0, &content).unwrap_err()
    };
    let version = error(&|content| {
        content[0] = 2;
        content.push(7);
    });
    let chain = error(&|content| content[2..34].fill(7));
    assert_eq!(version, SessionError::Version(2));
    assert_eq!(chain, SessionError::OtherChain { found: Hash::from_bytes([7; 32]) });
    assert!(!version.is_fault() && !chain.is_fault());
}
