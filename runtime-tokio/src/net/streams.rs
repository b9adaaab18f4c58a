//! The answering side of QUIC: takes requests from the streams of a connection and sends the answers, all within bounds.
//!
//! A request has a length and a deadline; whoever doesn't read its answers at a least rate is given up.

use std::sync::Arc;

use hotstuff2_sync::ids::PeerId;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::task::JoinSet;
use tokio::time::{Instant as Clock, sleep_until, timeout};

use super::error::StreamCode;
use super::limits::MAX_REQUEST_BYTES;
use super::reader::{Reader, Watch};
use super::service::{Asker, Service};
use super::stream::{Broken, read_all};

/// Answers up to this many bytes overtake longer ones: news of the tip must not wait behind a download.
const SHORT_ANSWER_BYTES: usize = 64 * 1024;

/// Most bytes of a datagram without data: it is no sign of an answer being received.
const ACKNOWLEDGEMENT_BYTES: u64 = 100;

impl Service {
    /// Answers whatever `peer` asks over `connection`, until that ends.
    pub(super) async fn serve(self: Arc<Self>, connection: Connection, peer: PeerId, group: u64) -> ConnectionError {
        let reader = Arc::new(Reader::default());
        // Dropped with the connection, and its tasks with it.
        let mut streams = JoinSet::new();
        let mut watch = Watch::new(&self.limits);
        // An asker that goes on asking though it was told to wait is not read from: it can't open more streams then.
        let mut paused: Option<Clock> = None;
        loop {
            tokio::select! {
                stream = connection.accept_bi(), if paused.is_none() => match stream {
                    Ok((send, recv)) => {
                        let asker = Asker { peer, group, reader: Arc::clone(&reader) };
                        streams.spawn(Arc::clone(&self).serve_stream(send, recv, asker));
                        paused = self.pause(peer);
                    }
                    Err(error) => return error,
                },
                error = connection.closed(), if paused.is_some() => return error,
                () = sleep_until(paused.unwrap_or(watch.next)), if paused.is_some() => paused = self.pause(peer),
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
                let _ = recv.stop(code.to_wire().into());
            }
        }
    }

    async fn answer(&self, send: &mut SendStream, recv: &mut RecvStream, asker: &Asker) -> Result<(), StreamCode> {
        if !self.serves() {
            return Err(StreamCode::NotServing);
        }
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
            made = self.make(asker, request) => made?,
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
}

/// Bytes that were sent over a connection and are no mere sign of something received.
fn sent(connection: &Connection) -> u64 {
    let stats = connection.stats();
    stats.udp_tx.bytes.saturating_sub(stats.frame_tx.acks.saturating_mul(ACKNOWLEDGEMENT_BYTES))
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
            let _ = self.stream.reset(code.to_wire().into());
        }
    }
}
