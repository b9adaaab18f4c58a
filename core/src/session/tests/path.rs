//! Somebody on the way, who has no key, sees every byte and may change, repeat, leave out and invent any.

use super::*;
use crate::rng::Rng;

/// A conversation of key 1 with key 2: what each side sends after the handshake, question by question.
struct Talk {
    client: Session,
    server: Session,
}

impl Talk {
    fn new() -> Self {
        let (client, server) = pair(NODE, NODE);
        Self { client, server }
    }

    /// One question and its answer, both ways through `path`, which knows who speaks and may change what is said.
    fn ask(&mut self, path: &mut dyn FnMut(bool, Vec<u8>) -> Vec<u8>) -> Result<(), SessionError> {
        self.client.ask(filled(50), 40_000).unwrap();
        while self.client.wants_write() || self.server.wants_write() {
            self.server.handle_bytes(&path(true, said(&mut self.client)))?;
            while let Some(event) = self.server.poll_event() {
                if let SessionEvent::Asked { id, .. } = event {
                    self.server.answer(id, filled(40_000));
                }
            }
            self.client.handle_bytes(&path(false, said(&mut self.server)))?;
        }
        Ok(())
    }
}

#[test]
fn an_injected_byte_bans_no_honest_key() {
    let mut rng = Rng::new(7);
    for round in 0..600u64 {
        let mut talk = Talk::new();
        let (who, how) = (round % 2 == 0, round / 2 % 6);
        let (mut changed, mut earlier) = (false, Vec::new());
        let mut meddle = |from_client: bool, mut bytes: Vec<u8>| {
            if from_client != who || bytes.is_empty() || changed {
                earlier.clone_from(&bytes);
                return bytes;
            }
            changed = true;
            // Often in a length.
            let at = if rng.below(4) == 0 { rng.below(4) } else { rng.below(bytes.len() as u64) } as usize;
            match how {
                0 => bytes[at] ^= 1 << rng.below(8),
                1 => bytes.insert(at, rng.below(256) as u8),
                2 => drop(bytes.remove(at)),
                3 => bytes.clear(),
                // Bytes that were sent before, again; and bytes of the other side.
                4 => bytes = [bytes.clone(), bytes].concat(),
                _ => bytes = [&earlier, &bytes[at..]].concat(),
            }
            bytes
        };
        let mut ended = talk.ask(&mut meddle);
        // A byte that is left out, or a length that grew, shows when more comes.
        for _ in 0..3 {
            ended = ended.and_then(|()| talk.ask(&mut |_, bytes| bytes));
        }
        for error in [&talk.client, &talk.server].into_iter().filter_map(Session::over) {
            assert!(!error.is_fault(), "round {round}: {error}");
        }
        let events = events(&mut talk.client);
        for event in &events {
            let SessionEvent::Answer { bytes, .. } = event else { panic!("round {round}: {event:?}") };
            assert_eq!(*bytes, filled(40_000), "what is read at all is what was sent");
        }
        // Nothing that was changed is taken for whole: it ends, or what is missing is still waited for.
        let unchanged = how == 5 && who && ended.is_ok();
        assert!(ended.is_err() || events.len() < 4 || unchanged, "round {round}, way {how}");
    }
}

#[test]
fn frames_that_are_repeated_swapped_left_out_or_reflected_end_the_session_and_blame_nobody() {
    let frames = || {
        let (mut rogue, server) = rogue_and_server();
        let frames = [1, 2, 3].map(|id| rogue.frame(Kind::Ask, id, b"ask"));
        (server, frames)
    };
    let orders: [&[usize]; 4] = [&[0, 0], &[1], &[0, 2], &[1, 0]];
    for order in orders {
        let (mut server, frames) = frames();
        let errors: Vec<SessionError> =
            order.iter().filter_map(|&frame| server.handle_bytes(&frames[frame]).err()).collect();
        assert_eq!(errors.first(), Some(&SessionError::Tampered), "{order:?}");
        assert!(!SessionError::Tampered.is_fault());
    }
    let (mut client, mut server) = pair(NODE, NODE);
    client.ping();
    let ping = said(&mut client);
    assert_eq!(client.handle_bytes(&ping), Err(SessionError::Tampered), "one's own frame is not the peer's");
    server.handle_bytes(&ping).unwrap();
}

#[test]
fn a_length_that_was_made_up_costs_no_memory_and_blames_nobody() {
    for length in [u32::MAX, 65_536, 8_214, 20, 0] {
        let (mut client, mut server) = pair(NODE, NODE);
        let before = server.held();
        let error = server.handle_bytes(&length.to_le_bytes()).unwrap_err();
        assert_eq!(error, SessionError::FrameLength { bytes: length, limit: 8_213 });
        assert!(!error.is_fault());
        assert!(server.held() <= before + 4);
        // A side that waits for an answer takes longer frames.
        client.ask(filled(1), 1).unwrap();
        let limit = 65_535;
        let taken = client.handle_bytes(&length.to_le_bytes());
        if length == 8_214 {
            taken.unwrap();
        } else {
            assert_eq!(taken, Err(SessionError::FrameLength { bytes: length, limit }));
        }
    }
}
