//! `GET` over HTTP, and nothing else: one short request, one answer, and the connection ends.
//!
//! A few lines instead of a server library: what is read is a bounded head, of which the first line counts and whether the
//! client takes Brotli. It trusts nobody, and holds neither many connections nor slow ones.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longest head of a request.
const MAX_HEAD: usize = 8 << 10;

/// What a server gives to all who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpBounds {
    /// Requests that are answered at a time; others wait in the system's queue.
    pub at_once: usize,
    /// Longest time that one request may take, from the connection to the last byte.
    pub patience: Duration,
}

/// A request, as far as it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpRequest<'a> {
    /// The path, without what follows a question mark.
    pub path: &'a str,
    /// Whether the client takes an answer that Brotli has compressed.
    pub takes_brotli: bool,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// What the body is, as `Content-Type` says it.
    pub kind: &'static str,
    /// Further lines of the head, each with its end (`\r\n`).
    pub head: &'static str,
    /// Whether Brotli has compressed the body.
    pub is_brotli: bool,
    /// The body.
    pub body: Bytes,
}

/// A running server. Dropped, it stops.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Answers at `address` (port 0 takes any free one) with what `get` gives; with status 404 and its words where it gives
    /// nothing. To be called within a tokio runtime.
    ///
    /// # Errors
    /// Where the address can't be listened on.
    pub async fn serve(
        address: SocketAddr,
        bounds: HttpBounds,
        get: impl Fn(HttpRequest<'_>) -> Result<HttpAnswer, &'static str> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let (room, get) = (Arc::new(Semaphore::new(bounds.at_once)), Arc::new(get));
            loop {
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    // Too many open files, most likely: later there will be fewer.
                    Err(error) => {
                        tracing::warn!(%error, "a connection over HTTP can't be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let get = Arc::clone(&get);
                tokio::spawn(async move {
                    // Who is slow or goes away gets no answer.
                    let _ = timeout(bounds.patience, answer(stream, &*get)).await;
                    drop(permit);
                });
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    mut stream: TcpStream,
    get: &(dyn Fn(HttpRequest<'_>) -> Result<HttpAnswer, &'static str> + Send + Sync),
) -> io::Result<()> {
    let mut head = Vec::new();
    let whole = loop {
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            break true;
        }
        if head.len() >= MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
            break false;
        }
    };
    let text = String::from_utf8_lossy(&head);
    let line = text.split('\r').next().unwrap_or_default();
    let words = |words: &'static str| HttpAnswer {
        kind: "text/plain",
        head: "",
        is_brotli: false,
        body: Bytes::from_static(words.as_bytes()),
    };
    let (status, answer) = match line.split(' ').collect::<Vec<_>>()[..] {
        ["GET" | "HEAD", path, version] if whole && version.starts_with("HTTP/1.") => {
            let path = path.split('?').next().unwrap_or_default();
            match get(HttpRequest { path, takes_brotli: takes_brotli(&text) }) {
                Ok(answer) => ("200 OK", answer),
                Err(reason) => ("404 Not Found", words(reason)),
            }
        }
        [_, _, version] if whole && version.starts_with("HTTP/1.") => ("405 Method Not Allowed", words("only GET\n")),
        _ => ("400 Bad Request", words("not HTTP/1\n")),
    };
    let HttpAnswer { kind, head: lines, is_brotli, body } = answer;
    let encoding = if is_brotli { "Content-Encoding: br\r\n" } else { "" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{encoding}{lines}Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    if !line.starts_with("HEAD ") {
        stream.write_all(&body).await?;
    }
    stream.shutdown().await
}

/// Whether the head of a request names Brotli among the encodings.
fn takes_brotli(head: &str) -> bool {
    head.lines().filter_map(|line| line.split_once(':')).any(|(name, value)| {
        name.eq_ignore_ascii_case("accept-encoding") && value.split(',').any(|word| word.trim() == "br")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brotli_is_given_to_those_who_name_it() {
        assert!(takes_brotli("GET / HTTP/1.1\r\nHost: a\r\naccept-encoding: gzip, deflate, br\r\n\r\n"));
        assert!(!takes_brotli("GET /br HTTP/1.1\r\nAccept-Encoding: gzip\r\nX: br\r\n\r\n"));
    }
}
