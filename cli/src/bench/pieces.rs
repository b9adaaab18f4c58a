//! The part of `bench siege` that throws datagrams of one-byte pieces at the server: what one costs it, how long an honest
//! node waits behind them, and how long the server takes to stop under them.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hotstuff2_sync::wire::Request;
use hotstuff2_sync_testkit::pieces::PieceMaker;
use hotstuff2_sync_tokio::net::{Identity, Network, QuicLimits, QuicNetwork};
use serde::Serialize;

use crate::cluster::Child;
use crate::error::CliError;
use crate::usage;

/// Bytes of a datagram that fits no line but this machine's own.
const LARGE: usize = 60_000;
/// Bytes that an Ethernet frame holds.
const FRAME: usize = 1472;
/// Large datagrams that are thrown, each as a connection of its own.
const LARGE_COUNT: u64 = 100;
/// Connections that throw frames, and how many each.
const CONNECTIONS: u64 = 3;
/// See [`CONNECTIONS`].
const FRAMES: u64 = 1000;
/// Datagrams that fit into the server's socket at once.
const BATCH: usize = 32;
/// Time between batches.
const PAUSE: Duration = Duration::from_millis(2);
/// How long an honest node may wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// What such datagrams did.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PiecesReport {
    /// CPU time that one of 60,000 bytes cost the server, in microseconds.
    pub(crate) large_micros: u64,
    /// The same of one that fits into a frame.
    pub(crate) frame_micros: u64,
    /// Seconds until an honest node was answered behind them, the longer of both.
    pub(crate) answer_seconds: f64,
    /// Seconds that the server took to stop under them.
    pub(crate) stop_seconds: f64,
}

impl PiecesReport {
    /// Whether a datagram costs some times of an honest one's 10 microseconds at most, and stops nothing.
    pub(crate) fn is_bounded(&self) -> bool {
        self.large_micros <= 1000 && self.frame_micros <= 500 && self.answer_seconds <= 3.0 && self.stop_seconds <= 3.0
    }
}

/// Throws them at `server`, which listens at `address`, and stops it.
pub(crate) async fn measure(address: SocketAddr, server: &mut Child) -> Result<PiecesReport, CliError> {
    let thrower = Thrower::new(address)?;
    let process = server.id();
    let large: Result<Vec<_>, _> = (0..LARGE_COUNT).map(|id| PieceMaker::client(id)?.whole(LARGE)).collect();
    let large = large.map_err(failed)?;
    let (large_micros, first) = cost(&thrower, process, &large).await?;
    let mut frames = Vec::new();
    for id in 0..CONNECTIONS {
        frames.extend(frames_of(LARGE_COUNT + id).map_err(failed)?);
    }
    let (frame_micros, second) = cost(&thrower, process, &frames).await?;
    let stop_seconds = {
        let flood = Flood::start(thrower, [large, frames].concat());
        // It is under way.
        tokio::time::sleep(PAUSE * 100).await;
        let begin = Instant::now();
        server.stop();
        drop(flood);
        begin.elapsed().as_secs_f64()
    };
    Ok(PiecesReport { large_micros, frame_micros, answer_seconds: first.max(second), stop_seconds })
}

fn failed(source: rustls::Error) -> CliError {
    CliError::System { what: "a datagram can't be made", source: std::io::Error::other(source) }
}

fn frames_of(id: u64) -> Result<Vec<Vec<u8>>, rustls::Error> {
    let mut maker = PieceMaker::client(id)?;
    let mut frames = maker.gaps(FRAME)?;
    for _ in 0..FRAMES {
        frames.push(maker.repeated(FRAME)?);
    }
    Ok(frames)
}

/// CPU time in microseconds that each of `datagrams` costs `process`, and the seconds that an honest node waits behind them.
async fn cost(thrower: &Thrower, process: u32, datagrams: &[Vec<u8>]) -> Result<(u64, f64), CliError> {
    let before = usage::cpu_micros_of(process);
    for batch in datagrams.chunks(BATCH) {
        thrower.throw(batch);
        tokio::time::sleep(PAUSE).await;
    }
    let begin = Instant::now();
    answered(thrower.server).await?;
    let waited = begin.elapsed().as_secs_f64();
    let spent = usage::cpu_micros_of(process).saturating_sub(before);
    Ok((spent / u64::try_from(datagrams.len()).unwrap_or(u64::MAX).max(1), waited))
}

/// Ends when an honest node has its answer.
async fn answered(server: SocketAddr) -> Result<(), CliError> {
    let begin = Instant::now();
    let at = SocketAddr::new(server.ip(), 0);
    let (network, _events) = QuicNetwork::bind(at, Identity::generate()?, QuicLimits::default(), None)?;
    while begin.elapsed() < PATIENCE {
        let request = Request::Status;
        let most = usize::try_from(request.max_response_bytes()).unwrap_or(usize::MAX);
        if let Ok(peer) = network.connect(server, None).await
            && network.request(peer, request.encode().into(), most).await.is_ok()
        {
            return Ok(());
        }
    }
    let source = std::io::ErrorKind::TimedOut.into();
    Err(CliError::System { what: "an honest node is not answered behind a flood of datagrams", source })
}

/// A socket, and where it throws to.
struct Thrower {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Thrower {
    fn new(server: SocketAddr) -> Result<Self, CliError> {
        let socket = UdpSocket::bind(SocketAddr::new(server.ip(), 0))
            .map_err(|source| CliError::System { what: "a socket can't be opened", source })?;
        Ok(Self { socket, server })
    }

    fn throw(&self, datagrams: &[Vec<u8>]) {
        for datagram in datagrams {
            // A full buffer loses one, as a line would, and so does a server that is gone.
            let _ = self.socket.send_to(datagram, self.server);
        }
    }
}

/// Throws without end, until it is dropped.
struct Flood(Arc<AtomicBool>);

impl Flood {
    fn start(thrower: Thrower, datagrams: Vec<Vec<u8>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for batch in datagrams.chunks(BATCH) {
                    thrower.throw(batch);
                    thread::sleep(PAUSE);
                }
            }
        });
        Self(stop)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
