//! The answering side: takes requests from the streams of a connection, has them answered on threads that may block, and
//! sends the answers, all within bounds.
//!
//! Askers are not trusted. Who is answered when, and how much all of it may cost, is [`Admission`]'s decision; here are
//! the streams, the threads and the clock that it doesn't have. A request has a length and a deadline; whoever doesn't
//! read its answers at a least rate is given up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::{Admission, Busy, Cost, Handshake, ServeStats, Ticket, Turn};
use hotstuff2_sync::time::Instant;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant as Clock, sleep_until, timeout, timeout_at};

use super::error::StreamCode;
use super::limits::{MAX_REQUEST_BYTES, QuicLimits};
use super::meter::thread_cpu;
use super::network::Handler;
use super::stream::{Broken, read_all};

/// Answers up to this many bytes overtake longer ones: news of the tip must not wait behind a download.
const SHORT_ANSWER_BYTES: usize = 64 * 1024;

/// What a datagram without data takes, at most: it is no sign of an answer being received.
const ACKNOWLEDGEMENT_BYTES: u64 = 100;

/// What answers the requests of all connections.
pub(super) struct Service {
    handler: Option<Arc<dyn Handler>>,
    limits: QuicLimits,
    desk: Arc<Desk>,
}

impl Service {
    /// Without a `handler`, every request is turned down. To be called within a tokio runtime.
    pub(super) fn new(handler: Option<Arc<dyn Handler>>, limits: QuicLimits) -> Self {
        Self { handler, limits, desk: Desk::open(Admission::new(limits.serve)) }
    }

    /// Whether anyone is answered.
    pub(super) fn serves(&self) -> bool {
        self.handler.is_some()
    }

    /// What was given so far.
    pub(super) fn stats(&self) -> ServeStats {
        self.desk.lock().admission.stats()
    }

    /// See [`Admission::set_percent`].
    pub(super) fn set_percent(&self, percent: u8) {
        let mut books = self.desk.lock();
        books.admission.set_percent(percent);
        self.desk.give_turns(&mut books, self.desk.now());
    }

    /// What to do with somebody of `group` who wants to connect.
    pub(super) fn handshake(&self, group: u64, proven: bool) -> Handshake {
        self.desk.lock().admission.handshake(self.desk.now(), group, proven)
    }

    /// A connection of `group`, whose address is `proven` or may be forged, cost `work` microseconds too many.
    pub(super) fn overspent(&self, group: u64, proven: bool, work: u64) {
        self.desk.lock().admission.overspent(self.desk.now(), group, proven, work);
    }

    /// Answers whatever `peer` asks over `connection`, until that ends.
    pub(super) async fn serve(self: Arc<Self>, connection: Connection, peer: PeerId, group: u64) -> ConnectionError {
        let reader = Arc::new(Reader::default());
        // Dropped with the connection, and its tasks with it.
        let mut streams = JoinSet::new();
        let mut watch = Watch::new(&self.limits);
        // Whoever goes on asking though it was told to wait is not read from: it can't open more streams then.
        let mut paused: Option<Clock> = None;
        loop {
            tokio::select! {
                stream = connection.accept_bi(), if paused.is_none() => match stream {
                    Ok((send, recv)) => {
                        let asker = Asker { peer, group, reader: Arc::clone(&reader) };
                        streams.spawn(Arc::clone(&self).serve_stream(send, recv, asker));
                        paused = self.desk.pause(peer);
                    }
                    Err(error) => return error,
                },
                error = connection.closed(), if paused.is_some() => return error,
                () = sleep_until(paused.unwrap_or(watch.next)), if paused.is_some() => paused = self.desk.pause(peer),
                Some(ended) = streams.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%peer, %error, "a request was not answered");
                    }
                }
                () = sleep_until(watch.next) => {
                    if watch.look(sent(&connection), &reader) {
                        tracing::debug!(%peer, "answers are given up: they are not read");
                        reader.given_up.notify_waiters();
                    }
                }
            }
        }
    }

    async fn serve_stream(self: Arc<Self>, send: SendStream, mut recv: RecvStream, asker: Asker) {
        let mut send = Unfinished { stream: send, code: Some(StreamCode::Failed) };
        match self.answer(&mut send.stream, &mut recv, &asker).await {
            Ok(()) => send.code = None,
            Err(code) => {
                tracing::debug!(peer = %asker.peer, %code, "a request was given up");
                send.code = Some(code);
                // Fails where the request was read whole.
                let _ = recv.stop(code.to_wire());
            }
        }
    }

    async fn answer(&self, send: &mut SendStream, recv: &mut RecvStream, asker: &Asker) -> Result<(), StreamCode> {
        let handler = self.handler.as_ref().ok_or(StreamCode::NotServing)?;
        let request = timeout(self.limits.request_timeout, read_all(recv, MAX_REQUEST_BYTES, None))
            .await
            .map_err(|_| StreamCode::TooSlow)?
            .map_err(|broken| match broken {
                Broken::TooLong => StreamCode::Oversize,
                Broken::ByPeer(_) | Broken::Connection(_) => StreamCode::Cancelled,
            })?;
        let (answer, _place) = tokio::select! {
            biased;
            // The asker has stopped listening, or is gone.
            _ = send.stopped() => return Err(StreamCode::Cancelled),
            made = self.make(handler, asker, request) => made?,
        };
        if answer.len() <= SHORT_ANSWER_BYTES {
            // Fails where the stream was stopped meanwhile, which writing to it finds out.
            let _ = send.set_priority(1);
        }
        let _owed = asker.reader.owe();
        tokio::select! {
            () = asker.reader.given_up.notified() => Err(StreamCode::TooSlow),
            sent = timeout(self.limits.answer_timeout, async {
                send.write_chunk(answer).await.map_err(|_| StreamCode::Cancelled)?;
                let _ = send.finish();
                // The answer's memory is free when the asker has acknowledged all of it, not before.
                send.stopped().await.map_err(|_| StreamCode::Cancelled)?;
                Ok(())
            }) => sent.map_err(|_| StreamCode::TooSlow)?,
        }
    }

    /// Makes the answer, when its turn comes, and holds on to the right to keep it in memory.
    async fn make(
        &self,
        handler: &Arc<dyn Handler>,
        asker: &Asker,
        request: Bytes,
    ) -> Result<(Bytes, Option<Place>), StreamCode> {
        let peer = asker.peer;
        handler.ready(peer, &request).await;
        let busy = |busy: Busy| Ok((handler.busy(busy.retry_after_ms), None));
        let (place, turn) = match Desk::ask(&self.desk, asker, handler.cost(&request)) {
            Ok(waits) => waits,
            Err(refused) => return busy(refused),
        };
        match turn.await {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => return busy(refused),
            Err(_) => return Err(StreamCode::Failed),
        }
        let handler = Arc::clone(handler);
        // The place goes with the work, which runs on even if the asker cancels.
        let (answer, place) = spawn_blocking(move || {
            let begin = thread_cpu();
            let answer = handler.handle(peer, request);
            let bytes = u64::try_from(answer.len()).unwrap_or(u64::MAX);
            place.made(Cost { bytes, work: thread_cpu().saturating_sub(begin) });
            (answer, place)
        })
        .await
        .map_err(|_| StreamCode::Failed)?;
        Ok((answer, Some(place)))
    }
}

/// Who asks over a connection.
struct Asker {
    peer: PeerId,
    group: u64,
    reader: Arc<Reader>,
}

/// How a connection's other side takes its answers.
#[derive(Default)]
struct Reader {
    /// Answers that are on their way.
    owed: AtomicUsize,
    /// How often there were none.
    rests: AtomicUsize,
    given_up: Notify,
}

impl Reader {
    fn owe(&self) -> Owed<'_> {
        self.owed.fetch_add(1, Ordering::Relaxed);
        Owed(self)
    }
}

struct Owed<'a>(&'a Reader);

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        if self.0.owed.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.rests.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Measures whether answers are received at the least rate.
struct Watch {
    window: Duration,
    least_bytes: u64,
    next: Clock,
    /// How often nothing had been owed when the window began, and what had been sent.
    since: (usize, u64),
}

impl Watch {
    fn new(limits: &QuicLimits) -> Self {
        let window = limits.slow_window;
        let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let least_bytes = limits.min_answer_rate.saturating_mul(millis) / 1000;
        Self { window, least_bytes, next: Clock::now() + window, since: (usize::MAX, 0) }
    }

    /// The end of a window, up to which so much was sent. True where something was owed all the time and too little was
    /// sent, which is as much as the other side has acknowledged and what is allowed to be on the way.
    fn look(&mut self, sent: u64, reader: &Reader) -> bool {
        self.next = Clock::now() + self.window;
        if reader.owed.load(Ordering::Relaxed) == 0 {
            self.since = (usize::MAX, 0);
            return false;
        }
        let now = (reader.rests.load(Ordering::Relaxed), sent);
        let before = std::mem::replace(&mut self.since, now);
        before.0 == now.0 && sent.saturating_sub(before.1) < self.least_bytes
    }
}

/// Bytes that were sent over a connection and are no mere sign of something received.
fn sent(connection: &Connection) -> u64 {
    let stats = connection.stats();
    stats.udp_tx.bytes.saturating_sub(stats.frame_tx.acks.saturating_mul(ACKNOWLEDGEMENT_BYTES))
}

/// Where turns are given out.
struct Desk {
    begin: Clock,
    books: Mutex<Books>,
    /// The next turn that only time brings comes sooner than was known.
    sooner: Arc<Notify>,
}

struct Books {
    admission: Admission,
    /// Who is told of a turn.
    waiting: HashMap<Ticket, oneshot::Sender<Result<(), Busy>>>,
    /// When someone will look whether there is a turn.
    looks_at: Option<Instant>,
}

/// What a requester is told: its turn, or that the node is busy.
type Told = oneshot::Receiver<Result<(), Busy>>;

impl Desk {
    fn open(admission: Admission) -> Arc<Self> {
        let books = Mutex::new(Books { admission, waiting: HashMap::new(), looks_at: None });
        let desk = Arc::new(Self { begin: Clock::now(), books, sooner: Arc::default() });
        tokio::spawn(Self::keep(Arc::downgrade(&desk), Arc::clone(&desk.sooner)));
        desk
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // Every change of the books is one call.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(self: &Arc<Self>, asker: &Asker, cost: Cost) -> Result<(Place, Told), Busy> {
        let (sender, told) = oneshot::channel();
        let mut books = self.lock();
        let now = self.now();
        let ticket = books.admission.ask(now, asker.peer, asker.group, cost)?;
        books.waiting.insert(ticket, sender);
        self.give_turns(&mut books, now);
        Ok((Place { desk: Arc::clone(self), ticket }, told))
    }

    /// Until when `peer` is not read from.
    fn pause(&self, peer: PeerId) -> Option<Clock> {
        let time = self.lock().admission.pause(self.now(), peer);
        (time > Duration::ZERO).then(|| Clock::now() + time)
    }

    /// Gives out the turns that there are.
    fn give_turns(&self, books: &mut Books, now: Instant) {
        let next = loop {
            let (ticket, says) = match books.admission.poll(now) {
                Turn::Serve(ticket) => (ticket, Ok(())),
                Turn::Refuse(ticket, busy) => (ticket, Err(busy)),
                Turn::Wait(next) => break next,
            };
            // Whoever is gone gives its place back by itself.
            if let Some(waiting) = books.waiting.remove(&ticket) {
                let _ = waiting.send(says);
            }
        };
        if next.is_some_and(|next| books.looks_at.is_none_or(|at| next < at)) {
            books.looks_at = next;
            self.sooner.notify_one();
        }
    }

    /// Gives out turns that only time brings.
    async fn keep(desk: Weak<Self>, sooner: Arc<Notify>) {
        while let Some(strong) = desk.upgrade() {
            let at = {
                let mut books = strong.lock();
                let now = strong.now();
                if books.looks_at.is_none_or(|at| at <= now) {
                    books.looks_at = None;
                    strong.give_turns(&mut books, now);
                }
                books.looks_at.map(|at| strong.begin + Duration::from_micros(at.as_micros()))
            };
            // Not held while waiting, so that it ends with the network.
            drop(strong);
            match at {
                Some(at) => {
                    let _ = timeout_at(at, sooner.notified()).await;
                }
                None => sooner.notified().await,
            }
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.sooner.notify_one();
    }
}

/// A request's place among those that wait, are made or sent. Dropped, it is free.
struct Place {
    desk: Arc<Desk>,
    ticket: Ticket,
}

impl Place {
    /// The answer is made; another may be.
    fn made(&self, real: Cost) {
        let mut books = self.desk.lock();
        let now = self.desk.now();
        books.admission.made(now, self.ticket, real);
        self.desk.give_turns(&mut books, now);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut books = self.desk.lock();
        let now = self.desk.now();
        books.waiting.remove(&self.ticket);
        books.admission.end(now, self.ticket);
        self.desk.give_turns(&mut books, now);
    }
}

/// A stream that is reset when it is dropped with a code. Quinn alone would end it as if it were whole.
struct Unfinished {
    stream: SendStream,
    code: Option<StreamCode>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(code) = self.code {
            // Fails where the stream is at its end already.
            let _ = self.stream.reset(code.to_wire());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_owed_something_only_since_a_moment_ago_is_not_slow() {
        let limits = QuicLimits { slow_window: Duration::from_secs(1), min_answer_rate: 1000, ..QuicLimits::default() };
        let (mut watch, reader) = (Watch::new(&limits), Reader::default());
        // The first answer may be due since the end of the window before this one, or since a moment ago.
        let owed = reader.owe();
        assert!(!watch.look(0, &reader));
        assert!(!watch.look(1000, &reader), "quick enough");
        assert!(watch.look(1999, &reader), "a whole window with too little");
        drop(owed);
        assert!(!watch.look(1999, &reader), "nothing is owed");
        let owed = reader.owe();
        assert!(!watch.look(1999, &reader), "it may have been asked for just now");
        drop(owed);
        let _owed = reader.owe();
        assert!(!watch.look(1999, &reader), "all was received in between");
        assert!(watch.look(1999, &reader));
    }
}
