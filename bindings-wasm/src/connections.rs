//! [`Connections`]: the sockets, the session of each, and who is at the other end.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{PeerId, RequestId};
use hotstuff2_sync::session::{AskId, Role, Session, SessionConfig, SessionError, SessionEvent, SessionIdentity};
use hotstuff2_sync::time::Instant;

/// Most sockets at a time.
const MAX_CONNECTIONS: usize = 64;
/// A socket from which no whole frame came for this long is dead. Nodes send signs of life three times as often.
const SILENCE: Duration = Duration::from_secs(15);
/// Bytes that are encrypted at a time, so that no message of the WebSocket is longer than 16 KiB.
const WRITE_BYTES: usize = 4 << 10;

struct Connection {
    /// JavaScript's number of the socket.
    number: u32,
    session: Session,
    group: u64,
    /// The node at the other end, once the session is open.
    peer: Option<PeerId>,
    asks: Vec<(AskId, RequestId)>,
    frames: u64,
    heard: Instant,
    /// Milliseconds for which the peer is left out, if it is.
    banned_for: Option<u64>,
}

/// Events of the sockets.
pub(crate) enum Happened {
    /// A peer is there.
    Open { connection: u32, peer: PeerId, group: u64 },
    /// A request was answered; with nothing where the answer was longer than it may be.
    Answered { request: RequestId, answer: Option<Bytes> },
    /// A request won't be answered.
    Lost { request: RequestId },
    /// A socket is to be closed.
    Ended { connection: u32, peer: Option<PeerId>, reason: String, banned_for: Option<u64> },
}

/// All sockets.
pub(crate) struct Connections {
    identity: SessionIdentity,
    chain: Hash,
    /// At most [`MAX_CONNECTIONS`], so that looking through all of them is as good as a table.
    all: Vec<Connection>,
    bans: Vec<(PeerId, Instant)>,
}

impl Connections {
    pub(crate) fn new(identity: SessionIdentity, chain: Hash) -> Self {
        Self { identity, chain, all: Vec::new(), bans: Vec::new() }
    }

    fn get(&mut self, connection: u32) -> Option<&mut Connection> {
        self.all.iter_mut().find(|found| found.number == connection)
    }

    fn of_peer(&mut self, peer: PeerId) -> Option<&mut Connection> {
        self.all.iter_mut().find(|found| found.peer == Some(peer))
    }

    /// A socket was opened. Says why it is of no use.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        connection: u32,
        group: u64,
        expected: Option<PeerId>,
        seed: [u8; 32],
    ) -> Result<(), String> {
        if self.get(connection).is_some() {
            return Err("this number names another socket".to_owned());
        }
        if self.all.len() >= MAX_CONNECTIONS {
            return Err(format!("{MAX_CONNECTIONS} sockets are open, which is the most"));
        }
        let config = SessionConfig { chain: self.chain, role: Role::Page, max_asks: 0 };
        let session = Session::dial(&self.identity, expected, config, seed).map_err(|error| error.to_string())?;
        self.all.push(Connection {
            number: connection,
            session,
            group,
            peer: None,
            asks: Vec::new(),
            frames: 0,
            heard: now,
            banned_for: None,
        });
        Ok(())
    }

    /// Bytes came in.
    pub(crate) fn receive(&mut self, now: Instant, connection: u32, bytes: &[u8], happened: &mut VecDeque<Happened>) {
        let Some(found) = self.get(connection) else { return };
        // Why it is over is looked at below.
        let _ = found.session.handle_bytes(bytes);
        if found.session.frames_received() > found.frames || found.peer.is_none() {
            (found.frames, found.heard) = (found.session.frames_received(), now);
        }
        while let Some(event) = self.get(connection).and_then(|found| found.session.poll_event()) {
            self.on(now, connection, event, happened);
        }
        let over = self.get(connection).and_then(|found| found.session.over().cloned());
        if let Some(error) = over {
            self.end(connection, words_of(&error), happened);
        }
    }

    fn on(&mut self, now: Instant, connection: u32, event: SessionEvent, happened: &mut VecDeque<Happened>) {
        match event {
            SessionEvent::Open { peer, hello } => {
                self.bans.retain(|(_, until)| *until > now);
                let ban = self.bans.iter().find(|(banned, _)| *banned == peer).map(|(_, until)| *until);
                let refused = if hello.role == Role::Page {
                    Some("another page is there, which answers nobody")
                } else if ban.is_some() {
                    Some("it is banned for a false answer")
                } else if self.of_peer(peer).is_some() {
                    Some("it is connected already")
                } else {
                    None
                };
                let Some(found) = self.get(connection) else { return };
                if let Some(reason) = refused {
                    let left = ban.map(|until| until.since(now).as_millis());
                    found.banned_for = left.map(|left| u64::try_from(left).unwrap_or(u64::MAX));
                    found.session.bye(reason);
                    return;
                }
                found.peer = Some(peer);
                let group = found.group;
                happened.push_back(Happened::Open { connection, peer, group });
            }
            SessionEvent::Answer { id, bytes } => {
                self.ended(connection, id, happened, |request| Happened::Answered { request, answer: Some(bytes) });
            }
            SessionEvent::Oversize { id } => {
                self.ended(connection, id, happened, |request| Happened::Answered { request, answer: None });
            }
            SessionEvent::Reset { id, .. } => {
                self.ended(connection, id, happened, |request| Happened::Lost { request });
            }
            // A page is asked nothing: the session itself refuses.
            _ => {}
        }
    }

    fn ended(
        &mut self,
        connection: u32,
        id: AskId,
        happened: &mut VecDeque<Happened>,
        what: impl FnOnce(RequestId) -> Happened,
    ) {
        let Some(found) = self.get(connection) else { return };
        if let Some(place) = found.asks.iter().position(|(ask, _)| *ask == id) {
            happened.push_back(what(found.asks.remove(place).1));
        }
    }

    /// Asks a peer. `false` where it can't be asked now.
    pub(crate) fn ask(&mut self, request: RequestId, peer: PeerId, bytes: Bytes, limit: u64) -> bool {
        let Some(found) = self.of_peer(peer) else { return false };
        let Ok(id) = found.session.ask(bytes, usize::try_from(limit).unwrap_or(usize::MAX)) else { return false };
        found.asks.push((id, request));
        true
    }

    pub(crate) fn cancel(&mut self, request: RequestId) {
        for found in &mut self.all {
            if let Some(place) = found.asks.iter().position(|(_, of)| *of == request) {
                let (id, _) = found.asks.remove(place);
                found.session.cancel(id);
            }
        }
    }

    /// Leaves a peer out until then, and ends its session.
    pub(crate) fn ban(&mut self, now: Instant, peer: PeerId, until: Instant, reason: &str) {
        self.lift(peer);
        self.bans.push((peer, until));
        let Some(found) = self.of_peer(peer) else { return };
        found.banned_for = Some(u64::try_from(until.since(now).as_millis()).unwrap_or(u64::MAX));
        found.session.bye(reason);
    }

    pub(crate) fn lift(&mut self, peer: PeerId) {
        self.bans.retain(|(banned, _)| *banned != peer);
    }

    /// A socket is gone, or is to be.
    pub(crate) fn end(&mut self, connection: u32, reason: String, happened: &mut VecDeque<Happened>) {
        let Some(place) = self.all.iter().position(|found| found.number == connection) else { return };
        let found = self.all.remove(place);
        for (_, request) in found.asks {
            happened.push_back(Happened::Lost { request });
        }
        let (peer, banned_for) = (found.peer, found.banned_for);
        happened.push_back(Happened::Ended { connection, peer, reason, banned_for });
    }

    /// Ends the sockets that have been silent for too long, and those that are over.
    pub(crate) fn look(&mut self, now: Instant, happened: &mut VecDeque<Happened>) {
        let silent: Vec<u32> =
            self.all.iter().filter(|found| now.since(found.heard) >= SILENCE).map(|found| found.number).collect();
        for connection in silent {
            self.end(connection, format!("nothing came for {} s", SILENCE.as_secs()), happened);
        }
    }

    /// When to look next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.all.iter().map(|found| found.heard.after(SILENCE)).min()
    }

    /// Takes what is to be written; sockets whose session is over end behind it.
    pub(crate) fn write(&mut self, happened: &mut VecDeque<Happened>) -> Vec<(u32, Vec<u8>)> {
        let (mut all, mut over) = (Vec::new(), Vec::new());
        for found in &mut self.all {
            let connection = found.number;
            while found.session.wants_write() {
                let mut bytes = Vec::new();
                found.session.poll_bytes(&mut bytes, WRITE_BYTES);
                if bytes.is_empty() {
                    break;
                }
                all.push((connection, bytes));
            }
            over.extend(found.session.over().map(|error| (connection, words_of(error))));
        }
        for (connection, reason) in over {
            self.end(connection, reason, happened);
        }
        all
    }
}

fn words_of(error: &SessionError) -> String {
    match error {
        SessionError::Closed(reason) => reason.clone(),
        other => other.to_string(),
    }
}
