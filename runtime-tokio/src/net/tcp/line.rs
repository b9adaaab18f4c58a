//! [`Line`]: a session over TCP, as the rest of the network sees it: something that is asked, and closed.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::session::{AskError, AskId, Session, SessionEvent};
use tokio::sync::{Notify, oneshot, watch};

use super::super::error::{DisconnectReason, ResponseError, StreamCode};
use super::super::stream::Received;

/// One connection. Its task has the socket; whoever asks or closes has this.
#[derive(Debug)]
pub(in super::super) struct Line {
    id: u64,
    address: SocketAddr,
    pub(super) state: Mutex<State>,
    /// There may be something to write, or an end to be made.
    pub(super) changed: Notify,
    ended: watch::Sender<bool>,
}

/// What the task and those who ask share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) session: Session,
    /// Questions that the session has.
    open: HashMap<AskId, Question>,
    /// Those that wait until the peer takes more.
    waiting: VecDeque<(Bytes, usize, Question)>,
    tickets: u64,
    /// Counters of what comes, once anything is asked.
    received: Option<Received>,
    counted: u64,
    /// Why it has ended. Nothing is asked any more.
    over: Option<DisconnectReason>,
}

/// Somebody who waits for an answer.
#[derive(Debug)]
struct Question {
    ticket: u64,
    answer: oneshot::Sender<Result<Bytes, Lost>>,
}

/// Why there is no answer.
#[derive(Debug)]
enum Lost {
    TooLong,
    Reset(StreamCode),
    Gone(DisconnectReason),
}

impl Line {
    pub(super) fn new(session: Session, address: SocketAddr) -> Arc<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let state = State {
            session,
            open: HashMap::new(),
            waiting: VecDeque::new(),
            tickets: 0,
            received: None,
            counted: 0,
            over: None,
        };
        Arc::new(Self {
            id: LAST.fetch_add(1, Ordering::Relaxed),
            address,
            state: Mutex::new(state),
            changed: Notify::new(),
            ended: watch::Sender::new(false),
        })
    }

    pub(in super::super) fn id(&self) -> u64 {
        self.id
    }

    pub(in super::super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(in super::super) fn is_live(&self) -> bool {
        let state = self.lock();
        state.over.is_none() && state.session.over().is_none()
    }

    /// Ends the session, and tells the peer why.
    pub(in super::super) fn close(&self, reason: &str) {
        self.lock().session.bye(reason);
        self.changed.notify_one();
    }

    /// Ends when the last word is said, or nobody took it.
    pub(in super::super) async fn closed(&self) {
        // The sender is this line's own.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Asks `peer`, who is at the other end. Waits while it takes no more questions.
    pub(in super::super) async fn ask(
        self: Arc<Self>,
        peer: PeerId,
        request: Bytes,
        limit: usize,
        received: Received,
    ) -> Result<Bytes, ResponseError> {
        let most = hotstuff2_sync::limits::MAX_REQUEST_BYTES;
        if request.len() > most {
            return Err(ResponseError::RequestTooLarge { bytes: request.len(), limit: most });
        }
        let (answer, told) = oneshot::channel();
        let mut cancel = {
            let mut state = self.lock();
            if let Some(reason) = &state.over {
                return Err(ResponseError::Disconnected { peer, reason: reason.clone() });
            }
            if state.received.is_none() {
                state.received = Some(received);
                // What came before was not asked for.
                state.counted = state.session.answer_bytes_received();
            }
            state.tickets += 1;
            let ticket = state.tickets;
            state.waiting.push_back((request, limit, Question { ticket, answer }));
            state.put();
            Cancel { line: &self, ticket: Some(ticket) }
        };
        self.changed.notify_one();
        let told = told.await;
        cancel.ticket = None;
        match told {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Lost::TooLong)) => Err(ResponseError::Oversize { peer, limit }),
            Ok(Err(Lost::Reset(code))) => Err(ResponseError::Reset { peer, code }),
            Ok(Err(Lost::Gone(reason))) => Err(ResponseError::Disconnected { peer, reason }),
            Err(_) => Err(ResponseError::Disconnected { peer, reason: DisconnectReason::Broken }),
        }
    }

    /// Nothing is asked and answered any more.
    pub(super) fn end(&self, reason: &DisconnectReason) {
        let mut state = self.lock();
        state.over.get_or_insert_with(|| reason.clone());
        let open = std::mem::take(&mut state.open).into_values();
        let waiting = std::mem::take(&mut state.waiting).into_iter().map(|(_, _, question)| question);
        for question in open.chain(waiting) {
            // Whoever is gone doesn't miss it.
            let _ = question.answer.send(Err(Lost::Gone(reason.clone())));
        }
    }

    /// The last word is said.
    pub(super) fn finish(&self) {
        self.ended.send_replace(true);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole at every point where a panic could poison it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Bytes came in: hands out the answers in them, and returns what else has happened.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<SessionEvent> {
        // Why it is over is asked for when all of it is handled.
        let _ = self.session.handle_bytes(bytes);
        let total = self.session.answer_bytes_received();
        if let Some(received) = &self.received {
            received.add(usize::try_from(total - self.counted).unwrap_or(usize::MAX));
            self.counted = total;
        }
        self.events()
    }

    /// Hands out answers, and returns what else has happened.
    pub(super) fn events(&mut self) -> Vec<SessionEvent> {
        let mut others = Vec::new();
        while let Some(event) = self.session.poll_event() {
            let (id, told) = match event {
                SessionEvent::Answer { id, bytes } => (id, Ok(bytes)),
                SessionEvent::Oversize { id } => (id, Err(Lost::TooLong)),
                SessionEvent::Reset { id, code } => (id, Err(Lost::Reset(code))),
                other => {
                    others.push(other);
                    continue;
                }
            };
            if let Some(question) = self.open.remove(&id) {
                let _ = question.answer.send(told);
            }
        }
        self.put();
        others
    }

    /// Whether anything was ever asked.
    pub(super) fn asks(&self) -> bool {
        self.received.is_some()
    }

    /// Puts questions that wait, as far as the peer takes them.
    fn put(&mut self) {
        while self.session.room() > 0
            && let Some((request, limit, question)) = self.waiting.pop_front()
        {
            match self.session.ask(request, limit) {
                Ok(id) => drop(self.open.insert(id, question)),
                Err(error) => {
                    let reason = DisconnectReason::Protocol(error.to_string());
                    let _ = question.answer.send(Err(Lost::Gone(reason)));
                    if error == AskError::Exhausted {
                        self.session.bye("all numbers for questions are used up");
                    }
                }
            }
        }
    }

    fn cancel(&mut self, ticket: u64) {
        self.waiting.retain(|(_, _, question)| question.ticket != ticket);
        let id = self.open.iter().find(|(_, question)| question.ticket == ticket).map(|(id, _)| *id);
        if let Some(id) = id {
            self.open.remove(&id);
            self.session.cancel(id);
        }
    }
}

/// Cancels a question when it is dropped.
struct Cancel<'a> {
    line: &'a Line,
    ticket: Option<u64>,
}

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.line.lock().cancel(ticket);
            self.line.changed.notify_one();
        }
    }
}
