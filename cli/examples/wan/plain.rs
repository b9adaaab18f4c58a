//! A plain QUIC download, as quinn does it by default: what the lines give without a synchronization in the way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quinn::Endpoint;
use serde::{Deserialize, Serialize};

use crate::{Failure, quic};

/// Bytes that are written and read at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// What a download took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Download {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

/// Sends to everyone who opens a stream, until it is closed.
pub(crate) async fn serve(address: SocketAddr) -> Result<(), Failure> {
    let endpoint = Endpoint::server(quic::server()?, address)?;
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            let chunk = vec![0x5a; CHUNK_BYTES];
            while let Ok((mut send, _)) = connection.accept_bi().await {
                let chunk = chunk.clone();
                tokio::spawn(async move { while send.write_all(&chunk).await.is_ok() {} });
            }
        });
    }
    Ok(())
}

/// Takes `bytes` in all from all of `servers` at once.
pub(crate) async fn get(servers: &[SocketAddr], bytes: u64) -> Result<Download, Failure> {
    let config = quic::client()?;
    let endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
    let (begin, received) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for &server in servers {
        let connecting = endpoint.connect_with(config.clone(), server, quic::NAME)?;
        let received = Arc::clone(&received);
        tasks.spawn(async move {
            let connection = connecting.await?;
            let (mut send, mut receive) = connection.open_bi().await?;
            send.write_all(&[0]).await?;
            while let Some(chunk) = receive.read_chunk(CHUNK_BYTES, true).await? {
                received.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
            }
            Ok::<(), Failure>(())
        });
    }
    while received.load(Ordering::Relaxed) < bytes {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
            Some(ended) = tasks.join_next() => ended??,
        }
    }
    Ok(Download { bytes: received.load(Ordering::Relaxed), seconds: begin.elapsed().as_secs_f64() })
}
