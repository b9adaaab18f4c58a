//! [`WebSocket`]: a stream of bytes in the binary messages of a WebSocket, which is all that a page in a browser can open.
//!
//! Messages carry the bytes of the session, cut anywhere. The WebSocket protects nothing: every byte is the session's to
//! authenticate, with or without a TLS proxy before this node.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::task::{READ_BYTES, WRITE_BYTES};

/// Longest message that is taken, in bytes. A page asks, and a question has 8 KiB at most.
pub(in super::super) const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// Most bytes that wait for the socket: a message as it is written, and an answer to a ping.
pub(in super::super) const MAX_WAITING_BYTES: usize = 2 * WRITE_BYTES;

/// The pages that may connect, by their origin (`https://wallet.example`). Empty, all may: what is served is public, and a
/// connection carries no right of the page's visitor. Whoever is no browser can claim any origin, or none.
pub(super) type Origins = Arc<[String]>;

/// The server's end of a WebSocket.
pub(super) struct WebSocket {
    messages: WebSocketStream<TcpStream>,
    /// The rest of a message, which was not taken yet.
    unread: Bytes,
}

impl WebSocket {
    /// Answers the opening handshake of a client whose page is of one of the `origins`.
    pub(super) async fn accept(stream: TcpStream, origins: &Origins) -> io::Result<Self> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            // Written at once.
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WAITING_BYTES)
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        #[allow(clippy::result_large_err, reason = "the type is the library's")]
        let check = |request: &Request, response: Response| check_origin(origins, request, response);
        let messages = accept_hdr_async_with_config(stream, check, Some(config)).await.map_err(broken)?;
        Ok(Self { messages, unread: Bytes::new() })
    }
}

/// Turns pages of other origins away. A client without an origin is no page.
#[allow(clippy::result_large_err, reason = "the type is the library's")]
fn check_origin(origins: &Origins, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(response) };
    if origins.is_empty() || origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
        return Ok(response);
    }
    let mut refused = ErrorResponse::new(Some("pages of this origin are not served here\n".to_owned()));
    *refused.status_mut() = StatusCode::FORBIDDEN;
    Err(refused)
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        // Browsers close so when they are in a hurry.
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => io::ErrorKind::UnexpectedEof.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.messages).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                // Pings are answered below.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(Message::Text(_))) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, "a session has no text messages");
                    return Poll::Ready(Err(error));
                }
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(self.unread.get(..count).unwrap_or_default());
        self.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Nothing is taken before the socket has all that was.
        ready!(Pin::new(&mut self.messages).poll_ready(context)).map_err(broken)?;
        let piece = bytes.get(..bytes.len().min(WRITE_BYTES)).unwrap_or_default();
        let message = Message::Binary(Bytes::copy_from_slice(piece));
        Pin::new(&mut self.messages).start_send(message).map_err(broken)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_flush(context).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_close(context).map_err(broken)
    }
}
