//! [`Session`]: one end of a connection. Bytes come in and go out; events say what they mean.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use bytes::Bytes;

use super::answers::Answers;
use super::asks::{Asks, Ended};
use super::channel::{Channel, HANDSHAKE_BYTES, LENGTH_BYTES, MAX_MESSAGE_BYTES, too_long};
use super::error::{AskError, SessionError, Violation};
use super::event::{AskId, SessionConfig, SessionEvent};
use super::frame::{Frame, Hello, Kind, MAX_IDLE_MESSAGE_BYTES, OVERHEAD_BYTES, Role, reason_of};
use super::identity::SessionIdentity;
use super::stream_code::StreamCode;
use crate::ids::PeerId;
use crate::limits::MAX_REQUEST_BYTES;

/// One end of a session.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    channel: Channel,
    /// Proven in the handshake.
    peer: Option<PeerId>,
    hello: Option<Hello>,
    asks: Asks,
    answers: Answers,
    /// Messages of the handshake that wait to be written.
    handshake: Vec<u8>,
    says_hello: bool,
    queue: VecDeque<(Kind, u32, Bytes)>,
    ping: Option<u64>,
    pong: Option<[u8; 8]>,
    bye: Option<String>,
    events: VecDeque<SessionEvent>,
    over: Option<SessionError>,
    /// The beginning of a message, its length in front.
    partial: Vec<u8>,
    /// The frame that is read or written, in clear.
    plain: Vec<u8>,
    frames_received: u64,
    answer_bytes_received: u64,
}

impl Session {
    /// The end that has opened the connection. Where another key than `expected` answers, the session is over before this
    /// side has shown its own. `seed` is 32 fresh random bytes, for this session alone.
    ///
    /// # Errors
    /// None but [`SessionError::Handshake`], where the seed was used up by a defect.
    pub fn dial(
        identity: &SessionIdentity,
        expected: Option<PeerId>,
        config: SessionConfig,
        seed: [u8; 32],
    ) -> Result<Self, SessionError> {
        let mut handshake = Vec::new();
        let channel = Channel::dial(identity, expected, seed, &mut handshake)?;
        Ok(Self::new(config, channel, handshake))
    }

    /// The end that a connection was opened to. `seed` is as for [`dial`](Self::dial).
    ///
    /// # Errors
    /// As for [`dial`](Self::dial).
    pub fn accept(identity: &SessionIdentity, config: SessionConfig, seed: [u8; 32]) -> Result<Self, SessionError> {
        Ok(Self::new(config, Channel::accept(identity, seed)?, Vec::new()))
    }

    fn new(config: SessionConfig, channel: Channel, handshake: Vec<u8>) -> Self {
        Self {
            config,
            channel,
            peer: None,
            hello: None,
            asks: Asks::default(),
            answers: Answers::new(config.hello().max_asks),
            handshake,
            says_hello: true,
            queue: VecDeque::new(),
            ping: None,
            pong: None,
            bye: None,
            events: VecDeque::new(),
            over: None,
            partial: Vec::new(),
            plain: Vec::new(),
            frames_received: 0,
            answer_bytes_received: 0,
        }
    }

    /// The peer, once its key is proven.
    pub fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// Why the session is over, if it is.
    pub fn over(&self) -> Option<&SessionError> {
        self.over.as_ref()
    }

    /// How many more questions may be put now.
    pub fn room(&self) -> usize {
        if self.over.is_some() || self.hello.is_none() { 0 } else { self.asks.room() }
    }

    /// Whole frames of the peer that were read, the handshake left out. Whoever sends none for long is gone, however many
    /// bytes come.
    pub fn frames_received(&self) -> u64 {
        self.frames_received
    }

    /// Bytes of answers that came, those cut off or cancelled included.
    pub fn answer_bytes_received(&self) -> u64 {
        self.answer_bytes_received
    }

    /// Bytes came in, as many or few as there were. Afterwards [`poll_event`](Self::poll_event) and
    /// [`poll_bytes`](Self::poll_bytes) may have something.
    ///
    /// # Errors
    /// The reason why the session is over, now and from then on. What is in [`poll_bytes`](Self::poll_bytes) is the last
    /// word to the peer; then the connection is closed.
    pub fn handle_bytes(&mut self, mut bytes: &[u8]) -> Result<(), SessionError> {
        while self.over.is_none() && !bytes.is_empty() {
            if let Err(error) = self.take(&mut bytes) {
                self.end(error);
            }
        }
        self.over.clone().map_or(Ok(()), Err)
    }

    /// The next event, in the order in which they happened.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// Appends to `out` what is to be written, until that has `limit` bytes or more: at most 16 KiB and a few bytes beyond
    /// it. What was appended must be written, in order.
    pub fn poll_bytes(&mut self, out: &mut Vec<u8>, limit: usize) {
        out.append(&mut self.handshake);
        while out.len() < limit
            && let Some((kind, id, content)) = self.next_frame()
        {
            let mut plain = core::mem::take(&mut self.plain);
            Frame { kind, id, content: &content }.encode(&mut plain);
            let sealed = self.channel.seal(&plain, out);
            self.plain = plain;
            if let Err(error) = sealed {
                return self.end(error);
            }
            if kind == Kind::End {
                self.events.push_back(SessionEvent::Sent { id: AskId(id) });
            }
        }
    }

    /// Whether [`poll_bytes`](Self::poll_bytes) has something.
    pub fn wants_write(&self) -> bool {
        if !self.handshake.is_empty() {
            return true;
        }
        if self.peer.is_none() || self.over.is_some() {
            return self.peer.is_some() && self.bye.is_some();
        }
        self.says_hello
            || self.ping.is_some()
            || self.pong.is_some()
            || !self.queue.is_empty()
            || self.answers.has_pieces()
    }

    /// Puts a question. Its answer comes as an event; one longer than `max_response_bytes` does not.
    ///
    /// # Errors
    /// Where it can't be put now, which has no effect.
    pub fn ask(&mut self, request: Bytes, max_response_bytes: usize) -> Result<AskId, AskError> {
        let hello = self.hello.filter(|_| self.over.is_none()).ok_or(AskError::NotOpen)?;
        if hello.role == Role::Page {
            return Err(AskError::Page);
        }
        if request.len() > MAX_REQUEST_BYTES {
            return Err(AskError::TooLong { bytes: request.len(), limit: MAX_REQUEST_BYTES });
        }
        let id = self.asks.open(max_response_bytes)?;
        self.queue.push_back((Kind::Ask, id, request));
        Ok(AskId(id))
    }

    /// The answer is not wanted any more: but for events that are there already, none comes of this question. Its place is
    /// free when the peer has heard it.
    pub fn cancel(&mut self, id: AskId) {
        self.cancel_as(id.0, StreamCode::Cancelled);
    }

    /// Answers a question of the peer's. `false` where that is not open any more.
    pub fn answer(&mut self, id: AskId, answer: Bytes) -> bool {
        self.answers.answer(id.0, answer)
    }

    /// Gives up on a question of the peer's, whether or not its answer is on its way already. `false` where it is not
    /// open any more.
    pub fn give_up(&mut self, id: AskId, code: StreamCode) -> bool {
        self.answers.give_up(id.0, code)
    }

    /// Sends a sign of life, which the peer returns: both sides then have something to read.
    pub fn ping(&mut self) {
        self.ping = Some(self.frames_received);
    }

    /// Ends the session, and tells the peer why in a few words.
    pub fn bye(&mut self, reason: &str) {
        self.end(SessionError::Closed(reason_of(reason.as_bytes())));
    }

    /// Bytes of buffers and questions that are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let asked =
            |event: &SessionEvent| if let SessionEvent::Asked { request, .. } = event { request.len() } else { 0 };
        self.partial.capacity() + self.plain.capacity() + self.events.iter().map(asked).sum::<usize>()
    }

    /// The session is over. The peer is told where it can be and does not know.
    fn end(&mut self, error: SessionError) {
        if self.over.is_some() {
            return;
        }
        self.bye = match &error {
            SessionError::Closed(reason) => Some(reason.clone()),
            SessionError::ByPeer(_) => None,
            other => Some(other.to_string()),
        };
        self.over = Some(error);
    }

    /// Takes one message from `bytes`, or as much of one as there is.
    fn take(&mut self, bytes: &mut &[u8]) -> Result<(), SessionError> {
        if self.partial.is_empty()
            && let Some(length) = self.length(bytes)?
            && let Some((message, rest)) = bytes.get(LENGTH_BYTES..).and_then(|rest| rest.split_at_checked(length))
        {
            *bytes = rest;
            return self.message(message);
        }
        let whole = match self.length(&self.partial)? {
            None => LENGTH_BYTES,
            Some(length) => LENGTH_BYTES.saturating_add(length),
        };
        let missing = whole.saturating_sub(self.partial.len()).min(bytes.len());
        let (piece, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        *bytes = rest;
        // Room grows with what has really come, and not beyond the message.
        let have = self.partial.len();
        if have.saturating_add(piece.len()) > self.partial.capacity() {
            let room = have.max(piece.len()).min(whole.saturating_sub(have));
            self.partial.reserve_exact(room);
        }
        self.partial.extend_from_slice(piece);
        match self.length(&self.partial)? {
            Some(length) if self.partial.len() == LENGTH_BYTES.saturating_add(length) => {
                let mut partial = core::mem::take(&mut self.partial);
                let done = self.message(partial.get(LENGTH_BYTES..).unwrap_or_default());
                partial.clear();
                self.partial = partial;
                done
            }
            _ => Ok(()),
        }
    }

    /// The length of the message that `bytes` begins with, if it is there.
    fn length(&self, bytes: &[u8]) -> Result<Option<usize>, SessionError> {
        let Some(length) = bytes.first_chunk::<LENGTH_BYTES>().map(|bytes| u32::from_le_bytes(*bytes)) else {
            return Ok(None);
        };
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if let Some(exactly) = self.channel.handshake_bytes() {
            return match bytes == exactly {
                true => Ok(Some(bytes)),
                // The first word of the other side.
                false if exactly != HANDSHAKE_BYTES[2] => Err(SessionError::OtherProtocol),
                false => Err(SessionError::Handshake),
            };
        }
        let limit = if self.asks.is_empty() { MAX_IDLE_MESSAGE_BYTES } else { MAX_MESSAGE_BYTES };
        if (OVERHEAD_BYTES..=limit).contains(&bytes) {
            return Ok(Some(bytes));
        }
        Err(too_long(bytes, limit))
    }

    fn message(&mut self, message: &[u8]) -> Result<(), SessionError> {
        if self.channel.handshake_bytes().is_some() {
            self.peer = self.channel.shake(message, &mut self.handshake)?;
            return Ok(());
        }
        let mut plain = core::mem::take(&mut self.plain);
        let done = self
            .channel
            .open(message, &mut plain)
            .and_then(|()| Frame::decode(&plain).map_err(SessionError::from))
            .and_then(|frame| self.frame(frame));
        self.plain = plain;
        done
    }

    /// A frame, every byte of which is the peer's.
    fn frame(&mut self, frame: Frame<'_>) -> Result<(), SessionError> {
        self.frames_received = self.frames_received.saturating_add(1);
        let Frame { kind, id, content } = frame;
        match (kind, self.hello) {
            (Kind::Bye, _) => return Err(SessionError::ByPeer(reason_of(content))),
            (Kind::Hello, None) => return self.greeted(content),
            (Kind::Hello, Some(_)) => return Err(Violation::SecondHello.into()),
            (_, None) => return Err(Violation::NoHello.into()),
            (_, Some(_)) => {}
        }
        let question = AskId(id);
        match kind {
            Kind::Ask => {
                self.answers.asked(id, content.len())?;
                let request = Bytes::copy_from_slice(content);
                self.events.push_back(SessionEvent::Asked { id: question, request });
            }
            Kind::Data | Kind::End => {
                let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
                self.answer_bytes_received = self.answer_bytes_received.saturating_add(bytes);
                let ended = self.asks.piece(id, content, kind == Kind::End)?;
                if ended == Some(Ended::TooLong) && kind == Kind::Data {
                    self.queue.push_back((Kind::Cancel, id, code(StreamCode::Oversize)));
                }
                self.ended(question, ended);
            }
            Kind::Reset | Kind::Cancel => {
                let [code] = content else { return Err(Violation::Malformed(kind as u8).into()) };
                if kind == Kind::Reset {
                    let ended = self.asks.reset(id, StreamCode::from_wire(u64::from(*code)))?;
                    self.ended(question, ended);
                } else if self.answers.cancelled(id)? {
                    self.events.push_back(SessionEvent::Cancelled { id: question });
                }
            }
            Kind::Ping => self.pong = content.first_chunk().copied(),
            Kind::Pong | Kind::Hello | Kind::Bye => {}
        }
        Ok(())
    }

    fn greeted(&mut self, content: &[u8]) -> Result<(), SessionError> {
        let hello = Hello::decode(content)?;
        if hello.chain != self.config.chain {
            return Err(SessionError::OtherChain { found: hello.chain });
        }
        self.hello = Some(hello);
        self.asks.set_max(hello.max_asks);
        if let Some(peer) = self.peer {
            self.events.push_back(SessionEvent::Open { peer, hello });
        }
        Ok(())
    }

    fn ended(&mut self, id: AskId, ended: Option<Ended>) {
        self.events.extend(ended.map(|ended| match ended {
            Ended::Whole(bytes) => SessionEvent::Answer { id, bytes },
            Ended::TooLong => SessionEvent::Oversize { id },
            Ended::Reset(code) => SessionEvent::Reset { id, code },
        }));
    }

    fn cancel_as(&mut self, id: u32, reason: StreamCode) {
        if self.asks.cancel(id) {
            self.queue.push_back((Kind::Cancel, id, code(reason)));
        }
    }

    /// The frame that is sent next.
    fn next_frame(&mut self) -> Option<(Kind, u32, Bytes)> {
        self.peer?;
        if self.over.is_some() {
            return self.bye.take().map(|words| (Kind::Bye, 0, words.into_bytes().into()));
        }
        if core::mem::take(&mut self.says_hello) {
            return Some((Kind::Hello, 0, Bytes::copy_from_slice(&self.config.hello().encode())));
        }
        if let Some(echo) = self.pong.take() {
            return Some((Kind::Pong, 0, Bytes::copy_from_slice(&echo)));
        }
        if let Some(number) = self.ping.take() {
            return Some((Kind::Ping, 0, Bytes::copy_from_slice(&number.to_le_bytes())));
        }
        self.queue.pop_front().or_else(|| self.answers.next().map(|piece| (piece.kind, piece.id, piece.content)))
    }
}

fn code(code: StreamCode) -> Bytes {
    Bytes::copy_from_slice(&[code.to_wire()])
}
