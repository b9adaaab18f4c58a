//! Fixed keys and seeds, and the exact bytes that follow, for other implementations to be held against.

use super::super::channel::REKEY_FRAMES;
use super::*;

fn hex(bytes: &[u8]) -> alloc::string::String {
    bytes.iter().map(|byte| alloc::format!("{byte:02x}")).collect()
}

/// One message of each side in turn: the handshake, a `Hello` of each, a question with its answer, a sign of life and the
/// last word. Ed25519 secrets are 32 times 1 (which dials) and 32 times 2, ephemeral keys 32 times 101 and 102, the chain 32
/// times 0xcc.
fn conversation() -> Vec<(&'static str, Vec<u8>)> {
    let (mut client, mut server) = (dial(1, NODE), accept(2, NODE));
    let mut lines = Vec::new();
    let mut say = |name: &'static str, from: &mut Session, to: &mut Session| {
        let mut bytes = Vec::new();
        from.poll_bytes(&mut bytes, 1);
        let _ = to.handle_bytes(&bytes);
        lines.push((name, bytes));
    };
    say("first", &mut client, &mut server);
    say("second", &mut server, &mut client);
    say("third", &mut client, &mut server);
    say("client's hello", &mut client, &mut server);
    say("server's hello", &mut server, &mut client);
    client.ask("how high?".into(), 100).unwrap();
    say("ask", &mut client, &mut server);
    let id = super::super::AskId::from_raw(1);
    server.answer(id, "7,000".into());
    say("end", &mut server, &mut client);
    client.ping();
    say("ping", &mut client, &mut server);
    say("pong", &mut server, &mut client);
    client.bye("done");
    say("bye", &mut client, &mut server);
    lines
}

#[test]
fn fixed_keys_and_seeds_give_these_bytes() {
    let expected = include_str!("vectors.txt");
    let made: alloc::string::String =
        conversation().iter().map(|(name, bytes)| alloc::format!("{name}: {}\n", hex(bytes))).collect();
    assert_eq!(made, expected, "core/src/session/tests/vectors.txt");
}

#[test]
fn the_frames_after_the_keys_have_changed_are_these() {
    let (mut client, mut server) = pair(NODE, NODE);
    // The Hello was frame 0 of the client's first key, so that the last ping here is the first frame of its second key.
    let mut last = Vec::new();
    for _ in 0..REKEY_FRAMES {
        client.ping();
        last = said(&mut client);
    }
    server.handle_bytes(&[]).unwrap();
    assert_eq!(hex(&last), include_str!("rekeyed.txt").trim_end());
}
