//! `GET /metrics` over HTTP, and nothing else: one short request, one answer, and the connection ends.
//!
//! A few lines instead of a server library: what is read is a bounded head whose first line is all that counts. It trusts
//! nobody, and holds neither many connections nor slow ones.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::PrometheusMetrics;

/// Longest head of a request.
const MAX_HEAD: usize = 8 << 10;
/// Longest time that one request may take, from the connection to the last byte.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that are answered at a time; others wait in the system's queue.
pub(super) const AT_ONCE: usize = 8;
/// What the text is, as Prometheus knows it.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A running server of metrics. Dropped, it stops.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl MetricsServer {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers `GET /metrics` at `address` with what `metrics` holds. Must be called within a tokio runtime.
///
/// # Errors
/// Where the address can't be listened on.
pub async fn serve_metrics(address: SocketAddr, metrics: Arc<PrometheusMetrics>) -> io::Result<MetricsServer> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                // Too many open files, most likely: later there will be fewer.
                Err(error) => {
                    tracing::warn!(%error, "a connection for metrics can't be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let metrics = Arc::clone(&metrics);
            tokio::spawn(async move {
                // Who is slow or goes away gets no answer.
                let _ = timeout(PATIENCE, answer(stream, &metrics)).await;
                drop(permit);
            });
        }
    });
    Ok(MetricsServer { address, task })
}

async fn answer(mut stream: TcpStream, metrics: &PrometheusMetrics) -> io::Result<()> {
    let mut head = Vec::new();
    let whole = loop {
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            break true;
        }
        if head.len() >= MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
            break false;
        }
    };
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let (status, kind, body) =
        match std::str::from_utf8(line).map(|line| line.split(' ').collect::<Vec<_>>()).as_deref() {
            Ok(["GET" | "HEAD", path, version]) if whole && version.starts_with("HTTP/1.") => {
                match path.split('?').next() {
                    Some("/metrics") => ("200 OK", CONTENT_TYPE, metrics.render()),
                    _ => ("404 Not Found", "text/plain", "metrics are at /metrics\n".to_owned()),
                }
            }
            Ok([_, _, version]) if whole && version.starts_with("HTTP/1.") => {
                ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned())
            }
            _ => ("400 Bad Request", "text/plain", "not HTTP/1\n".to_owned()),
        };
    let length = body.len();
    let mut answer =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    if !line.starts_with(b"HEAD ") {
        answer += &body;
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
