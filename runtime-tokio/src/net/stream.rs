//! One request and its answer on one bidirectional stream: request bytes, end of stream, answer bytes, end of stream.
//!
//! The other side is not trusted to stop, to be quick, or to finish: lengths are checked before memory is spent, and a
//! half of a stream that is given up is always reset, never ended as if it were whole.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, WriteError};

use super::error::{DisconnectReason, ResponseError, StreamCode};
use super::limits::{CONNECTION_WINDOW_BYTES, MAX_REQUEST_BYTES};
use hotstuff2_sync::ids::PeerId;

/// Pieces taken from a stream under one lock: a full read of large datagrams.
const PIECES_PER_READ: usize = 32;

/// First size of a buffer in bytes, where its limit is much larger. It doubles from there as bytes really arrive.
const FIRST_BUFFER_BYTES: usize = 64 * 1024;

/// Counters of what the streams of answers received.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    /// From everyone.
    pub(super) total: Arc<AtomicU64>,
    /// From one peer.
    pub(super) peer: Arc<AtomicU64>,
}

impl Received {
    pub(super) fn add(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.peer.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Asks `peer` over `connection`. Waits while the peer's limit of open streams is reached.
pub(super) async fn ask(
    connection: Connection,
    peer: PeerId,
    request: Bytes,
    limit: usize,
    received: Received,
) -> Result<Bytes, ResponseError> {
    if request.len() > MAX_REQUEST_BYTES {
        return Err(ResponseError::RequestTooLarge { bytes: request.len(), limit: MAX_REQUEST_BYTES });
    }
    let gone = |error: &ConnectionError| ResponseError::Disconnected { peer, reason: DisconnectReason::from(error) };
    if connection.side().is_server() {
        // Until now it had no reason to send more than requests.
        connection.set_receive_window(CONNECTION_WINDOW_BYTES.into());
    }
    let (send, recv) = connection.open_bi().await.map_err(|error| gone(&error))?;
    let mut call = Call { send, recv, received, done: false };
    match call.exchange(request, limit).await {
        Ok(answer) => {
            call.done = true;
            Ok(answer)
        }
        Err(Broken::TooLong) => {
            call.give_up(StreamCode::Oversize);
            Err(ResponseError::Oversize { peer, limit })
        }
        Err(Broken::ByPeer(code)) => Err(ResponseError::Reset { peer, code }),
        Err(Broken::Connection(error)) => Err(gone(&error)),
    }
}

/// A request under way. Dropped before its end, it is cancelled on both sides.
struct Call {
    send: SendStream,
    recv: RecvStream,
    received: Received,
    done: bool,
}

impl Call {
    async fn exchange(&mut self, request: Bytes, limit: usize) -> Result<Bytes, Broken> {
        self.send.write_chunk(request).await?;
        // Fails only where the peer stopped it, and then the answer says so.
        let _ = self.send.finish();
        read_all(&mut self.recv, limit, Some(&self.received)).await
    }

    /// Tells the peer to stop, after counting what had arrived already. What comes later is dropped unseen.
    fn give_up(&mut self, code: StreamCode) {
        self.done = true;
        let mut pieces = empty_pieces();
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let read = pin!(self.recv.read_chunks(&mut pieces)).poll(&mut context);
            let Poll::Ready(Ok(Some(count))) = read else {
                break;
            };
            self.received.add(pieces.iter().take(count).map(Bytes::len).sum());
        }
        // Both fail only where that half has ended already.
        let _ = self.send.reset(code.to_wire().into());
        let _ = self.recv.stop(code.to_wire().into());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.done {
            self.give_up(StreamCode::Cancelled);
        }
    }
}

/// Why a stream has no end.
#[derive(Debug)]
pub(super) enum Broken {
    /// The answer is longer than the limit.
    TooLong,
    /// The other side gave up on it.
    ByPeer(StreamCode),
    /// The connection is gone.
    Connection(ConnectionError),
}

impl From<WriteError> for Broken {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::ByPeer(StreamCode::from_wire(code.into_inner())),
            WriteError::ConnectionLost(error) => Self::Connection(error),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::ByPeer(StreamCode::Cancelled),
        }
    }
}

impl From<ReadError> for Broken {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::ByPeer(StreamCode::from_wire(code.into_inner())),
            ReadError::ConnectionLost(error) => Self::Connection(error),
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => {
                Self::ByPeer(StreamCode::Cancelled)
            }
        }
    }
}

/// Reads to the end of the stream, at most `limit` bytes.
pub(super) async fn read_all(
    stream: &mut RecvStream,
    limit: usize,
    received: Option<&Received>,
) -> Result<Bytes, Broken> {
    let mut buffer = Buffer { bytes: Vec::new(), limit };
    let mut pieces = empty_pieces();
    while let Some(count) = stream.read_chunks(&mut pieces).await? {
        let arrived = pieces.get_mut(..count).unwrap_or_default();
        if let Some(received) = received {
            received.add(arrived.iter().map(Bytes::len).sum());
        }
        for piece in arrived {
            // Taken, so that the datagram it lies in is freed now and not at the next read.
            buffer.push(&std::mem::take(piece))?;
        }
    }
    Ok(buffer.bytes.into())
}

/// An answer as far as it has arrived, in one piece. Copying it together once is cheap beside decryption, and keeps no
/// datagram alive for the sake of a few bytes in it.
struct Buffer {
    bytes: Vec<u8>,
    limit: usize,
}

impl Buffer {
    fn push(&mut self, piece: &[u8]) -> Result<(), Broken> {
        let len = self.bytes.len().saturating_add(piece.len());
        if len > self.limit {
            return Err(Broken::TooLong);
        }
        if len > self.bytes.capacity() {
            let first = FIRST_BUFFER_BYTES.min(self.limit / 8);
            let size = self.bytes.capacity().saturating_mul(2).max(first).min(self.limit).max(len);
            self.bytes.reserve_exact(size.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

fn empty_pieces() -> [Bytes; PIECES_PER_READ] {
    std::array::from_fn(|_| Bytes::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_with_what_arrives_and_not_beyond_its_limit() {
        let mut buffer = Buffer { bytes: Vec::new(), limit: 1 << 20 };
        buffer.push(&[7; 10]).unwrap();
        assert_eq!(buffer.bytes.capacity(), FIRST_BUFFER_BYTES);
        for _ in 0..1023 {
            buffer.push(&[7; 1024]).unwrap();
            assert!(buffer.bytes.capacity() <= (2 * buffer.bytes.len()).max(FIRST_BUFFER_BYTES));
        }
        assert!(buffer.bytes.capacity() <= 1 << 20);
        assert!(matches!(buffer.push(&[7; 1024]), Err(Broken::TooLong)));
        assert_eq!(buffer.bytes.len(), 10 + 1023 * 1024, "a piece too much leaves the buffer as it was");
    }

    #[test]
    fn a_limit_of_nothing_takes_nothing() {
        let mut buffer = Buffer { bytes: Vec::new(), limit: 0 };
        buffer.push(&[]).unwrap();
        assert!(matches!(buffer.push(&[1]), Err(Broken::TooLong)));
        assert_eq!(buffer.bytes.capacity(), 0);
    }
}
