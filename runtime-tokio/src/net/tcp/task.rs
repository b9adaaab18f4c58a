//! The task of a session: reads and writes the socket, answers what is asked, and gives up on whoever is silent, slow or
//! breaks the rules.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::session::{AskId, SessionEvent};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::super::common::Common;
use super::super::error::{DisconnectReason, StreamCode};
use super::super::reader::{Reader, Watch};
use super::super::service::{Asker, Service};
use super::line::Line;

/// Bytes that are read at a time from a peer of which nothing is asked.
pub(in super::super) const READ_BYTES: usize = 16 << 10;
/// Bytes that are read at a time from others.
const ANSWER_READ_BYTES: usize = 64 << 10;
/// Bytes that are encrypted ahead of the socket. A short answer waits behind so much of a long one.
pub(in super::super) const WRITE_BYTES: usize = 32 << 10;

/// A question of the peer's that is being answered.
struct Serving {
    task: AbortHandle,
    /// Told when the last byte of the answer was handed to the socket.
    sent: Option<oneshot::Sender<()>>,
}

/// Drives `line` over `stream` until it ends, and says why.
pub(super) async fn run<S: AsyncRead + AsyncWrite>(
    common: &Common,
    line: &Arc<Line>,
    stream: S,
    peer: PeerId,
    group: u64,
    first: Vec<SessionEvent>,
) -> DisconnectReason {
    let reader = Arc::new(Reader::default());
    let mut task = Task {
        service: &common.service,
        line,
        peer,
        group,
        reader: Arc::clone(&reader),
        tasks: JoinSet::new(),
        serving: HashMap::new(),
    };
    let limits = common.limits;
    let (mut from, mut to) = tokio::io::split(stream);
    let mut buffer = vec![0; READ_BYTES];
    let (mut out, mut written, mut sent) = (Vec::new(), 0, 0u64);
    // A stream in messages holds the last one until it is flushed.
    let mut flushed = true;
    let mut watch = Watch::new(&limits);
    let mut alive = Alive { frames: 0, since: Instant::now() };
    let mut ping_at = Instant::now() + limits.idle_timeout / 3;
    // Whoever goes on asking though it was told to wait is not read from.
    let mut paused: Option<Instant> = None;
    task.on(first);
    let reason = loop {
        if written == out.len() {
            out.clear();
            written = 0;
            let events = {
                let mut state = line.lock();
                state.session.poll_bytes(&mut out, WRITE_BYTES);
                if state.asks() && buffer.len() < ANSWER_READ_BYTES {
                    buffer.resize(ANSWER_READ_BYTES, 0);
                }
                state.events()
            };
            task.on(events);
        }
        if let Some(error) = line.lock().session.over() {
            break DisconnectReason::from(error);
        }
        tokio::select! {
            read = from.read(&mut buffer), if paused.is_none() => match read {
                Ok(0) | Err(_) => break DisconnectReason::Broken,
                Ok(count) => {
                    let (events, frames) = {
                        let mut state = line.lock();
                        (state.read(buffer.get(..count).unwrap_or_default()), state.session.frames_received())
                    };
                    alive.saw(frames);
                    let asked = task.on(events);
                    if asked {
                        paused = common.service.pause(peer);
                    }
                }
            },
            wrote = write(&mut to, out.get(written..).unwrap_or_default()), if written < out.len() || !flushed => match wrote {
                Err(_) => break DisconnectReason::Broken,
                Ok(0) => flushed = true,
                Ok(count) => {
                    flushed = false;
                    written += count;
                    sent = sent.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                }
            },
            () = line.changed.notified() => {}
            Some(ended) = task.tasks.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%peer, %error, "a request was not answered");
                }
            }
            () = sleep_until(paused.unwrap_or(ping_at)), if paused.is_some() => {
                paused = common.service.pause(peer);
                // Its signs of life were not read meanwhile.
                alive.since = Instant::now();
            }
            () = sleep_until(ping_at) => {
                ping_at = Instant::now() + limits.idle_timeout / 3;
                if paused.is_none() && alive.since.elapsed() > limits.idle_timeout {
                    break DisconnectReason::TimedOut;
                }
                line.lock().session.ping();
            }
            () = sleep_until(watch.next) => {
                if watch.look(sent, &reader) {
                    tracing::debug!(%peer, "answers are given up: they are not read");
                    reader.given_up.notify_waiters();
                }
            }
        }
    };
    // Nobody waits for answers any more; what is being made is dropped.
    line.end(&reason);
    drop(task);
    let last_word = async {
        let unwritten = out.split_off(written);
        to.write_all(&unwritten).await?;
        out.clear();
        line.lock().session.poll_bytes(&mut out, WRITE_BYTES);
        to.write_all(&out).await?;
        to.flush().await?;
        to.shutdown().await?;
        // Closed with bytes unread, the connection would be reset, and the last word lost.
        while from.read(&mut buffer).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whoever doesn't take it in time finds out by itself.
    let _ = timeout(limits.close_timeout, last_word).await;
    line.finish();
    reason
}

/// Writes some of `bytes`, at least one; flushes where there are none.
async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<usize> {
    if bytes.is_empty() {
        return to.flush().await.map(|()| 0);
    }
    match to.write(bytes).await? {
        0 => Err(std::io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

/// When the last whole frame of the peer was read. Single bytes are no sign of life.
struct Alive {
    frames: u64,
    since: Instant,
}

impl Alive {
    fn saw(&mut self, frames: u64) {
        if frames > self.frames {
            *self = Self { frames, since: Instant::now() };
        }
    }
}

struct Task<'a> {
    service: &'a Arc<Service>,
    line: &'a Arc<Line>,
    peer: PeerId,
    group: u64,
    reader: Arc<Reader>,
    /// Dropped with the connection.
    tasks: JoinSet<()>,
    serving: HashMap<AskId, Serving>,
}

impl Task<'_> {
    /// Acts on what happened. Whether something was asked.
    fn on(&mut self, events: Vec<SessionEvent>) -> bool {
        let mut asked = false;
        for event in events {
            match event {
                SessionEvent::Asked { id, request } => {
                    asked = true;
                    let (sent, was_sent) = oneshot::channel();
                    let asker = Asker { peer: self.peer, group: self.group, reader: Arc::clone(&self.reader) };
                    let answering =
                        answer(Arc::clone(self.service), Arc::clone(self.line), asker, id, request, was_sent);
                    let task = self.tasks.spawn(answering);
                    self.serving.insert(id, Serving { task, sent: Some(sent) });
                }
                SessionEvent::Cancelled { id } => {
                    if let Some(serving) = self.serving.remove(&id) {
                        serving.task.abort();
                    }
                }
                SessionEvent::Sent { id } => {
                    if let Some(sent) = self.serving.remove(&id).and_then(|serving| serving.sent) {
                        let _ = sent.send(());
                    }
                }
                _ => {}
            }
        }
        // Those that were given up have nothing to be told.
        self.serving.retain(|_, serving| !serving.task.is_finished());
        asked
    }
}

/// Answers one question, and keeps its place until the answer is on its way.
async fn answer(
    service: Arc<Service>,
    line: Arc<Line>,
    asker: Asker,
    id: AskId,
    request: Bytes,
    was_sent: oneshot::Receiver<()>,
) {
    let give_up = |code: StreamCode| {
        tracing::debug!(peer = %asker.peer, %code, "a request was given up");
        line.lock().session.give_up(id, code);
        line.changed.notify_one();
    };
    let (answer, _place) = match service.make(&asker, request).await {
        Ok(made) => made,
        Err(code) => return give_up(code),
    };
    line.lock().session.answer(id, answer);
    line.changed.notify_one();
    let _owed = asker.reader.owe();
    tokio::select! {
        () = asker.reader.given_up.notified() => give_up(StreamCode::TooSlow),
        // The sender is gone where the question is.
        sent = timeout(service.limits.answer_timeout, was_sent) => if sent.is_err() {
            give_up(StreamCode::TooSlow);
        },
    }
}
