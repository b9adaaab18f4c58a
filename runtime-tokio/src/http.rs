//! `GET` over HTTP, and nothing else: one short request, one answer, and the connection ends.
//!
//! A few lines instead of a server library: what is read is a bounded head, of which the first line counts and whether the
//! client takes Brotli, or which type it asks for. It trusts nobody, and holds neither many connections nor slow ones: where
//! there are too many, the oldest that has asked nothing yet goes, so that whoever asks is answered however many only connect.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longest head of a request.
const MAX_HEAD: usize = 8 << 10;

/// Bounds of a server, for all who ask together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpBounds {
    /// Connections at a time. For one more, the oldest that has asked nothing yet is given up, else the oldest.
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
    /// The types that the client accepts, as `Accept` says them; empty where it says none.
    pub accept: &'a str,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status and its words, as in "200 OK".
    pub status: &'static str,
    /// Kind of the body, as `Content-Type` says it.
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
            let (mut connections, get) = (VecDeque::<Connection>::new(), Arc::new(get));
            loop {
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    // Too many open files, most likely: later there will be fewer.
                    Err(error) => {
                        tracing::warn!(%error, "a connection over HTTP can't be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                connections.retain(|connection| !connection.task.is_finished());
                if connections.len() >= bounds.at_once {
                    let silent = connections.iter().position(|connection| !connection.asked.load(Ordering::Relaxed));
                    if let Some(given_up) = connections.remove(silent.unwrap_or_default()) {
                        given_up.task.abort();
                    }
                }
                let (get, asked) = (Arc::clone(&get), Arc::new(AtomicBool::new(false)));
                let has_asked = Arc::clone(&asked);
                let task = tokio::spawn(async move {
                    // A client that is slow or goes away gets no answer.
                    let _ = timeout(bounds.patience, answer(stream, &*get, &has_asked)).await;
                });
                connections.push_back(Connection { asked, task });
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

/// A connection that is being answered.
struct Connection {
    /// Whether its request has come.
    asked: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

async fn answer(
    mut stream: TcpStream,
    get: &(dyn Fn(HttpRequest<'_>) -> Result<HttpAnswer, &'static str> + Send + Sync),
    asked: &AtomicBool,
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
    asked.store(true, Ordering::Relaxed);
    let text = String::from_utf8_lossy(&head);
    let line = text.split('\r').next().unwrap_or_default();
    let words = |status, words: &'static str| HttpAnswer {
        status,
        kind: "text/plain",
        head: "",
        is_brotli: false,
        body: Bytes::from_static(words.as_bytes()),
    };
    let answer = match line.split(' ').collect::<Vec<_>>()[..] {
        ["GET" | "HEAD", path, version] if whole && version.starts_with("HTTP/1.") => {
            let path = path.split('?').next().unwrap_or_default();
            let request = HttpRequest { path, takes_brotli: takes_brotli(&text), accept: accept(&text) };
            get(request).unwrap_or_else(|reason| words("404 Not Found", reason))
        }
        [_, _, version] if whole && version.starts_with("HTTP/1.") => words("405 Method Not Allowed", "only GET\n"),
        _ => words("400 Bad Request", "not HTTP/1\n"),
    };
    let HttpAnswer { status, kind, head: lines, is_brotli, body } = answer;
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

/// The types that the head of a request accepts.
fn accept(head: &str) -> &str {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut accepted = fields.filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
    accepted.next().map_or("", |(_, value)| value.trim())
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
        assert_eq!(
            accept("GET / HTTP/1.1\r\nAccept-Encoding: br\r\naccept: text/plain, a/b;q=0.5\r\n"),
            "text/plain, a/b;q=0.5"
        );
        assert_eq!(accept("GET / HTTP/1.1\r\n"), "");
        assert!(!takes_brotli("GET /br HTTP/1.1\r\nAccept-Encoding: gzip\r\nX: br\r\n\r\n"));
    }
}
