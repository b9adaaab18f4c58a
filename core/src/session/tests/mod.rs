//! Two ends over a line that the test holds: `handshake` before anybody is known, `path` where somebody on the way meddles,
//! `noise` against a library, `rules` against peers that break them, `talk` between honest ends, `vectors` to the byte.

mod handshake;
mod noise;
mod path;
mod rules;
mod talk;
mod vectors;

use alloc::vec;
use alloc::vec::Vec;

use super::channel::{Channel, HANDSHAKE_BYTES};
use super::frame::{Frame, Kind};
use super::{Hello, Role, Session, SessionConfig, SessionError, SessionEvent, SessionIdentity};
use crate::hash::Hash;
use crate::ids::PeerId;

const CHAIN: Hash = Hash::from_bytes([0xcc; 32]);
const NODE: SessionConfig = SessionConfig { chain: CHAIN, role: Role::Node, max_asks: 32 };
const PAGE: SessionConfig = SessionConfig { chain: CHAIN, role: Role::Page, max_asks: 0 };

fn identity(number: u8) -> SessionIdentity {
    SessionIdentity::from_secret(&[number; 32])
}

fn dial(number: u8, config: SessionConfig) -> Session {
    Session::dial(&identity(number), None, config, [number.wrapping_add(100); 32]).unwrap()
}

fn accept(number: u8, config: SessionConfig) -> Session {
    Session::accept(&identity(number), config, [number.wrapping_add(100); 32]).unwrap()
}

/// All that `session` has to say.
fn said(session: &mut Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.poll_bytes(&mut bytes, usize::MAX);
    bytes
}

fn events(session: &mut Session) -> Vec<SessionEvent> {
    core::iter::from_fn(|| session.poll_event()).collect()
}

/// Carries everything both ways, until nobody has more to say.
fn settle(one: &mut Session, other: &mut Session) {
    while one.wants_write() || other.wants_write() {
        other.handle_bytes(&said(one)).unwrap();
        one.handle_bytes(&said(other)).unwrap();
    }
}

/// A client (key 1) and a server (key 2) that know each other.
fn pair(client: SessionConfig, server: SessionConfig) -> (Session, Session) {
    let (mut client, mut server) = (dial(1, client), accept(2, server));
    settle(&mut client, &mut server);
    assert!(matches!(events(&mut client)[..], [SessionEvent::Open { .. }]));
    assert!(matches!(events(&mut server)[..], [SessionEvent::Open { .. }]));
    (client, server)
}

/// A peer that keeps none of the rules: a channel without a session.
struct Rogue(Channel);

impl Rogue {
    /// With key 9, connected to `server`, which has read nothing but the handshake.
    fn dials(server: &mut Session) -> Self {
        let mut bytes = Vec::new();
        let mut channel = Channel::dial(&identity(9), None, [99; 32], &mut bytes).unwrap();
        server.handle_bytes(&bytes).unwrap();
        let mut second = Vec::new();
        server.poll_bytes(&mut second, 1);
        let mut third = Vec::new();
        channel.shake(&second[4..4 + HANDSHAKE_BYTES[1]], &mut third).unwrap().unwrap();
        server.handle_bytes(&third).unwrap();
        Self(channel)
    }

    /// With an honest `Hello` said already.
    fn greets(server: &mut Session) -> Self {
        let mut rogue = Self::dials(server);
        rogue.sends(server, Kind::Hello, 0, &hello()).unwrap();
        assert!(matches!(events(server)[..], [SessionEvent::Open { .. }]));
        rogue
    }

    fn frame(&mut self, kind: Kind, id: u32, content: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        Frame { kind, id, content }.encode(&mut plain);
        self.raw(&plain)
    }

    fn raw(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.seal(plain, &mut bytes).unwrap();
        bytes
    }

    fn sends(&mut self, to: &mut Session, kind: Kind, id: u32, content: &[u8]) -> Result<(), SessionError> {
        to.handle_bytes(&self.frame(kind, id, content))
    }
}

fn hello() -> Vec<u8> {
    Hello { role: Role::Node, chain: CHAIN, max_asks: 32 }.encode().to_vec()
}

/// A fresh server (key 2) with a rogue that has greeted it.
fn rogue_and_server() -> (Rogue, Session) {
    let mut server = accept(2, NODE);
    let rogue = Rogue::greets(&mut server);
    (rogue, server)
}

fn filled(bytes: usize) -> bytes::Bytes {
    vec![0x5a; bytes].into()
}

fn peer(number: u8) -> PeerId {
    identity(number).peer_id()
}
