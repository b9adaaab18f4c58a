//! The answering side of all listeners: who is answered when, on threads that may block, within bounds.
//!
//! Askers are not trusted. Who is answered when, and how much all of it may cost, is [`Admission`]'s decision; here are
//! the threads and the clock that it doesn't have. [`streams`](super::streams) and [`tcp`](super::tcp) have the
//! connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::{Admission, Busy, Cost, Handshake, ServeStats, Ticket, Turn};
use hotstuff2_sync::time::Instant;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant as Clock, timeout_at};

use super::error::StreamCode;
use super::limits::QuicLimits;
use super::meter::thread_cpu;
use super::network::Handler;
use super::reader::Reader;

/// What answers the requests of all connections.
pub(super) struct Service {
    handler: Option<Arc<dyn Handler>>,
    pub(super) limits: QuicLimits,
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

    /// Until when `peer` is not read from.
    pub(super) fn pause(&self, peer: PeerId) -> Option<Clock> {
        self.desk.pause(peer)
    }

    /// Makes the answer, when its turn comes, and holds on to the right to keep it in memory.
    pub(super) async fn make(&self, asker: &Asker, request: Bytes) -> Result<(Bytes, Option<Place>), StreamCode> {
        let handler = self.handler.as_ref().ok_or(StreamCode::NotServing)?;
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
pub(super) struct Asker {
    pub(super) peer: PeerId,
    pub(super) group: u64,
    pub(super) reader: Arc<Reader>,
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
pub(super) struct Place {
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
