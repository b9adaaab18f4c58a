//! The answering side: takes requests from the streams of a connection, has them answered on threads that may block, and
//! sends the answers, all within bounds.
//!
//! Askers are not trusted: a request has a length and a deadline, an answer has a deadline to be received whole, and the
//! memory of finished answers is bounded for each connection and over all of them.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::error::StreamCode;
use super::limits::{MAX_REQUEST_BYTES, QuicLimits};
use super::network::Handler;
use super::stream::{Broken, read_all};
use hotstuff2_sync::ids::PeerId;

/// Answers are accounted in KiB, since permits are counted in 32 bits.
const ACCOUNT_UNIT_BYTES: usize = 1024;

/// Answers up to this many bytes overtake longer ones: news of the tip must not wait behind a download.
const SHORT_ANSWER_BYTES: usize = 64 * 1024;

/// What answers the requests of all connections.
pub(super) struct Service {
    handler: Option<Arc<dyn Handler>>,
    limits: QuicLimits,
    /// Threads that make answers.
    handlers: Arc<Semaphore>,
    /// Memory of answers that are made and not received yet.
    memory: Arc<Semaphore>,
    memory_units: usize,
}

impl Service {
    /// Without a `handler`, every request is turned down.
    pub(super) fn new(handler: Option<Arc<dyn Handler>>, limits: QuicLimits) -> Self {
        let memory_units = limits.max_answer_bytes.div_ceil(ACCOUNT_UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            handler,
            limits,
            handlers: Arc::new(Semaphore::new(limits.max_handlers.clamp(1, Semaphore::MAX_PERMITS))),
            memory: Arc::new(Semaphore::new(memory_units)),
            memory_units,
        }
    }

    /// Whether anyone is answered.
    pub(super) fn serves(&self) -> bool {
        self.handler.is_some()
    }

    /// Answers whatever `peer` asks over `connection`, until that ends.
    pub(super) async fn serve(self: Arc<Self>, connection: Connection, peer: PeerId) -> ConnectionError {
        let turns = self.limits.max_answers_per_connection.clamp(1, Semaphore::MAX_PERMITS);
        let turns = Arc::new(Semaphore::new(turns));
        // Dropped with the connection, and its tasks with it.
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                stream = connection.accept_bi() => match stream {
                    Ok((send, recv)) => {
                        streams.spawn(Arc::clone(&self).serve_stream(send, recv, peer, Arc::clone(&turns)));
                    }
                    Err(error) => return error,
                },
                Some(ended) = streams.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%peer, %error, "a request was not answered");
                    }
                }
            }
        }
    }

    async fn serve_stream(
        self: Arc<Self>,
        send: SendStream,
        mut recv: RecvStream,
        peer: PeerId,
        turns: Arc<Semaphore>,
    ) {
        let mut send = Unfinished { stream: send, code: Some(StreamCode::Failed) };
        match self.answer(&mut send.stream, &mut recv, peer, &turns).await {
            Ok(()) => send.code = None,
            Err(code) => {
                tracing::debug!(%peer, %code, "a request was given up");
                send.code = Some(code);
                // Fails where the request was read whole.
                let _ = recv.stop(code.to_wire());
            }
        }
    }

    async fn answer(
        &self,
        send: &mut SendStream,
        recv: &mut RecvStream,
        peer: PeerId,
        turns: &Semaphore,
    ) -> Result<(), StreamCode> {
        let handler = self.handler.as_ref().ok_or(StreamCode::NotServing)?;
        let request = timeout(self.limits.request_timeout, read_all(recv, MAX_REQUEST_BYTES, None))
            .await
            .map_err(|_| StreamCode::TooSlow)?
            .map_err(|broken| match broken {
                Broken::TooLong => StreamCode::Oversize,
                Broken::ByPeer(_) | Broken::Connection(_) => StreamCode::Cancelled,
            })?;
        let (answer, _turn, _memory) = tokio::select! {
            biased;
            // The asker has stopped listening, or is gone.
            _ = send.stopped() => return Err(StreamCode::Cancelled),
            made = self.make(handler, peer, request, turns) => made?,
        };
        if answer.len() <= SHORT_ANSWER_BYTES {
            // Fails where the stream was stopped meanwhile, which writing to it finds out.
            let _ = send.set_priority(1);
        }
        timeout(self.limits.answer_timeout, async {
            send.write_chunk(answer).await.map_err(|_| StreamCode::Cancelled)?;
            let _ = send.finish();
            // The answer's memory is free when the asker has acknowledged all of it, not before.
            send.stopped().await.map_err(|_| StreamCode::Cancelled)?;
            Ok(())
        })
        .await
        .map_err(|_| StreamCode::TooSlow)?
    }

    /// Makes the answer, and holds on to the right to keep it in memory.
    async fn make<'a>(
        &self,
        handler: &Arc<dyn Handler>,
        peer: PeerId,
        request: Bytes,
        turns: &'a Semaphore,
    ) -> Result<(Bytes, tokio::sync::SemaphorePermit<'a>, OwnedSemaphorePermit), StreamCode> {
        handler.ready(peer, &request).await;
        let turn = turns.acquire().await.map_err(|_| StreamCode::Failed)?;
        let thread = Arc::clone(&self.handlers).acquire_owned().await.map_err(|_| StreamCode::Failed)?;
        let handler = Arc::clone(handler);
        // The permit goes with the work, which runs on even if the asker cancels. It comes back with the answer and is
        // kept until there is room for that, which is what bounds the memory.
        let (answer, _thread) =
            spawn_blocking(move || (handler.handle(peer, request), thread)).await.map_err(|_| StreamCode::Failed)?;
        let units = answer.len().div_ceil(ACCOUNT_UNIT_BYTES).min(self.memory_units);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.memory).acquire_many_owned(units).await.map_err(|_| StreamCode::Failed)?;
        Ok((answer, turn, memory))
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
