//! What `docs/design.md` says of the session is what a session does, byte by byte.

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::session::{
    AskId, Channel, Role, Session, SessionConfig, SessionError, SessionEvent, SessionIdentity, StreamCode, Violation,
};

const PAGE: &str = include_str!("../../docs/design.md");
const CONFIG: SessionConfig = SessionConfig { chain: Hash::from_bytes([0xcc; 32]), role: Role::Node, max_asks: 32 };

/// Whether the page still says what a test here holds it to.
fn says(words: &str) {
    assert!(PAGE.contains(words), "docs/design.md doesn't say: {words}");
}

/// A peer made of a channel and of what the page says.
struct Pen {
    channel: Channel,
    unread: Vec<u8>,
}

impl Pen {
    /// Connected to `server`, with the lengths of the messages of the handshake.
    fn dials(server: &mut Session) -> (Self, [usize; 3]) {
        let (mut first, mut second, mut third) = (Vec::new(), Vec::new(), Vec::new());
        let mut channel = Channel::dial(&SessionIdentity::from_secret(&[1; 32]), None, [7; 32], &mut first).unwrap();
        assert!(first.ends_with(b"hs2-sync/1"), "in clear");
        server.handle_bytes(&first).unwrap();
        server.poll_bytes(&mut second, 1);
        channel.shake(&second[4..], &mut third).unwrap().unwrap();
        server.handle_bytes(&third).unwrap();
        let lengths = [first, second, third].map(|message| {
            let length = u32::from_le_bytes(message[..4].try_into().unwrap()) as usize;
            assert_eq!(message.len(), 4 + length);
            length
        });
        (Self { channel, unread: Vec::new() }, lengths)
    }

    fn sends(&mut self, server: &mut Session, kind: u8, id: u32, content: &[u8]) -> Result<(), SessionError> {
        let mut message = Vec::new();
        self.channel.seal(&[&[kind], &id.to_le_bytes()[..], content].concat(), &mut message).unwrap();
        assert_eq!(message.len(), 4 + 21 + content.len());
        server.handle_bytes(&message)
    }

    /// The next frame of `server`: its type, number and content.
    fn reads(&mut self, server: &mut Session) -> (u8, u32, Vec<u8>) {
        server.poll_bytes(&mut self.unread, 1);
        let length = u32::from_le_bytes(self.unread[..4].try_into().unwrap()) as usize;
        let message: Vec<u8> = self.unread.drain(..4 + length).skip(4).collect();
        let mut frame = Vec::new();
        self.channel.open(&message, &mut frame).unwrap();
        (frame[0], u32::from_le_bytes(frame[1..5].try_into().unwrap()), frame[5..].to_vec())
    }
}

fn accept() -> Session {
    Session::accept(&SessionIdentity::from_secret(&[2; 32]), CONFIG, [8; 32]).unwrap()
}

fn hello() -> Vec<u8> {
    [&[1, 0][..], &[0xcc; 32], &[32, 0]].concat()
}

fn row(kind: u8, name: &str) {
    says(&format!("| {kind} | `{name}` |"));
}

#[test]
fn a_session_is_laid_out_as_the_documents_say() {
    says("`Noise_XX_25519_ChaChaPoly_SHA256` (revision 34, no prologue)");
    let mut server = accept();
    let (mut pen, lengths) = Pen::dials(&mut server);
    for (number, (who, length)) in ["who dials", "who is dialled", "who dials"].into_iter().zip(lengths).enumerate() {
        says(&format!("| {} | {who} | {length} |", number + 1));
    }
    row(0, "Hello");
    assert_eq!(pen.reads(&mut server), (0, 0, hello()));
    pen.sends(&mut server, 0, 0, &hello()).unwrap();
    row(1, "Ask");
    server.ask("how high?".into(), 100_000).unwrap();
    assert_eq!(pen.reads(&mut server), (1, 1, b"how high?".to_vec()));
    pen.sends(&mut server, 1, 1, b"and you?").unwrap();
    row(2, "Data");
    row(3, "End");
    pen.sends(&mut server, 2, 1, b"7,").unwrap();
    pen.sends(&mut server, 3, 1, b"000").unwrap();
    let events: Vec<SessionEvent> = std::iter::from_fn(|| server.poll_event()).skip(1).collect();
    let id = AskId::from_raw(1);
    let asked = SessionEvent::Asked { id, request: "and you?".into() };
    assert_eq!(events, [asked, SessionEvent::Answer { id, bytes: "7,000".into() }]);
    says("cuts answers into pieces of 16 KiB");
    server.answer(id, vec![5; 20_000].into());
    assert_eq!(pen.reads(&mut server), (2, 1, vec![5; 16_384]));
    assert_eq!(pen.reads(&mut server), (3, 1, vec![5; 20_000 - 16_384]));
    row(4, "Reset");
    pen.sends(&mut server, 1, 2, b"once more?").unwrap();
    server.give_up(AskId::from_raw(2), StreamCode::TooSlow);
    assert_eq!(pen.reads(&mut server), (4, 2, vec![4]));
    row(5, "Cancel");
    let id = server.ask("never mind".into(), 1).unwrap();
    pen.reads(&mut server);
    server.cancel(id);
    assert_eq!(pen.reads(&mut server), (5, 2, vec![1]));
    row(6, "Ping");
    row(7, "Pong");
    pen.sends(&mut server, 6, 0, b"12345678").unwrap();
    assert_eq!(pen.reads(&mut server), (7, 0, b"12345678".to_vec()));
    server.ping();
    let (kind, id, content) = pen.reads(&mut server);
    assert_eq!((kind, id, content.len()), (6, 0, 8));
    row(8, "Bye");
    server.bye("enough");
    assert_eq!(pen.reads(&mut server), (8, 0, b"enough".to_vec()));
}

#[test]
fn a_proof_is_signed_as_the_documents_say() {
    use ed25519_dalek::{Signer as _, SigningKey};
    says("of `hs2-sync/1 session key`, a line feed, and the\nsender's static X25519 key (32 bytes)");
    let key = SigningKey::from_bytes(&[2; 32]);
    let peer = PeerId::from_bytes(key.verifying_key().to_bytes());
    let mut signed = Vec::new();
    SessionIdentity::with_signer(peer, [5; 32], |bytes| {
        signed = bytes.to_vec();
        key.sign(bytes).to_bytes()
    })
    .unwrap();
    let (domain, public) = signed.split_at(23);
    assert_eq!((domain, public.len()), (&b"hs2-sync/1 session key\n"[..], 32));
}

#[test]
fn bounds_of_a_session_are_those_in_the_documents() {
    let number = |number: u64| {
        let text = number.to_string();
        match text.split_at_checked(text.len().saturating_sub(3)) {
            Some((thousands, rest)) if !thousands.is_empty() => format!("{thousands},{rest}"),
            _ => text,
        }
    };
    says(&format!("with 32 questions {} bytes", number(CONFIG.memory_bound())));
    let mut server = accept();
    let (mut pen, _) = Pen::dials(&mut server);
    pen.sends(&mut server, 0, 0, &hello()).unwrap();
    let limit = |result: Result<(), SessionError>| match result {
        Err(SessionError::FrameLength { limit, .. }) => number(limit.into()),
        other => panic!("{other:?}"),
    };
    says(&format!("up to {} while nothing is asked", limit(pen.sends(&mut server, 2, 1, &[0; 9000]))));
    says("A message has up to 65,535 bytes, 21 of which are not content");
    let mut longest = Vec::new();
    assert_eq!(limit(pen.channel.seal(&[0; 65_536], &mut longest)), "65,535");
    says("up to 480 bytes of UTF-8");
    let mut server = accept();
    let (mut pen, _) = Pen::dials(&mut server);
    let error = pen.sends(&mut server, 8, 0, &[b'a'; 481]).unwrap_err();
    assert_eq!(error, SessionError::Violation(Violation::Malformed(8)));
}
