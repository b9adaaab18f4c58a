//! What QUIC makes of a line with delay, rate and loss, by congestion controller: the figures behind the choice in
//! `net/limits.rs`. One download over loopback, through a relay in this process.
//!
//! ```sh
//! cargo run --release -p hs2-sync --example congestion -- [MBIT] [DELAY_MS] [LOSS_PPM] [SECONDS]
//! ```

#[path = "line/quic.rs"]
mod quic;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotstuff2_sync_tokio::net::WestwoodConfig;
use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::{Endpoint, TransportConfig};
use tokio::net::UdpSocket;
use tokio::time::{sleep_until, timeout};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A line: the same in both directions.
#[derive(Clone, Copy)]
struct Line {
    bits_per_second: f64,
    delay: Duration,
    loss_ppm: u64,
    queue_bytes: usize,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let number = |index: usize, default: u64| numbers.get(index).copied().unwrap_or(default);
    let (mbit, delay, loss, seconds) = (number(0, 20), number(1, 50), number(2, 1000), number(3, 20));
    println!("{mbit} Mbit/s, {delay} ms each way, {loss} lost in a million, {seconds} s each");
    for queue_ms in [50, 500] {
        let line = Line {
            bits_per_second: mbit as f64 * 1e6,
            delay: Duration::from_millis(delay),
            loss_ppm: loss,
            queue_bytes: usize::try_from(mbit * 125 * queue_ms)?,
        };
        for name in ["cubic", "bbr", "westwood"] {
            let (rate, lost, rtt) = measure(line, name, Duration::from_secs(seconds)).await?;
            println!(
                "queue {queue_ms} ms, {name}: {:.1} Mbit/s of payload ({:.0} %), {:.2} % of packets lost, rtt {} ms",
                rate / 1e6,
                rate / line.bits_per_second * 100.0,
                lost * 100.0,
                rtt.as_millis(),
            );
        }
    }
    Ok(())
}

fn transport(name: &str) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    let controller: Arc<dyn ControllerFactory + Send + Sync> = match name {
        "cubic" => Arc::new(CubicConfig::default()),
        "bbr" => Arc::new(BbrConfig::default()),
        _ => Arc::new(WestwoodConfig::default()),
    };
    transport
        .congestion_controller_factory(controller)
        .stream_receive_window((2_u32 << 20).into())
        .receive_window((16_u32 << 20).into())
        .send_window(16 << 20);
    Arc::new(transport)
}

/// Payload bits a second after the first two seconds, share of packets lost, and the sender's last round trip.
async fn measure(line: Line, name: &str, time: Duration) -> Result<(f64, f64, Duration), Failure> {
    let mut config = quic::server()?;
    config.transport_config(transport(name));
    let here: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let server = Endpoint::server(config, here)?;
    let relay = relay(line, server.local_addr()?).await?;
    let sender = tokio::spawn(async move {
        let connection = server.accept().await.ok_or("closed")?.await?;
        let (mut send, _) = connection.accept_bi().await?;
        let chunk = vec![0x5a; 64 << 10];
        while send.write_all(&chunk).await.is_ok() {}
        let path = connection.stats().path;
        Ok::<_, Failure>((path.lost_packets as f64 / path.sent_packets as f64, path.rtt))
    });
    let mut config = quic::client()?;
    config.transport_config(transport(name));
    let client = Endpoint::client(here)?;
    let connection = client.connect_with(config, relay, quic::NAME)?.await?;
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(b"go").await?;
    let (begin, mut counted, mut bytes) = (Instant::now(), None, 0);
    while begin.elapsed() < time {
        let Ok(chunk) = timeout(time, recv.read_chunk(usize::MAX, true)).await? else { break };
        let Some(chunk) = chunk else { break };
        match counted {
            None if begin.elapsed() > Duration::from_secs(2) => counted = Some(Instant::now()),
            None => {}
            Some(_) => bytes += chunk.bytes.len(),
        }
    }
    let rate = counted.map_or(0.0, |since| bytes as f64 * 8.0 / since.elapsed().as_secs_f64());
    connection.close(0_u32.into(), b"");
    let (lost, rtt) = sender.await??;
    Ok((rate, lost, rtt))
}

/// A relay to `server` that delays, loses and queues.
async fn relay(line: Line, server: SocketAddr) -> Result<SocketAddr, Failure> {
    let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    let back = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    back.connect(server).await?;
    let address = front.local_addr()?;
    let (to_server, from_client) = tokio::sync::mpsc::unbounded_channel();
    let (to_client, from_server) = tokio::sync::mpsc::unbounded_channel();
    let client = Arc::new(std::sync::Mutex::new(None));
    let seen = Arc::clone(&client);
    let reading = Arc::clone(&front);
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((len, from)) = reading.recv_from(&mut buffer).await {
            *seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(from);
            let _ = to_server.send((Instant::now(), buffer[..len].to_vec()));
        }
    });
    let reading = Arc::clone(&back);
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(len) = reading.recv(&mut buffer).await {
            let _ = to_client.send((Instant::now(), buffer[..len].to_vec()));
        }
    });
    tokio::spawn(carry(line, 1, from_client, move |packet| drop(back.try_send(&packet))));
    tokio::spawn(carry(line, 2, from_server, move |packet| {
        let client = *client.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        client.map(|client| front.try_send_to(&packet, client));
    }));
    Ok(address)
}

async fn carry(
    line: Line,
    seed: u64,
    mut packets: tokio::sync::mpsc::UnboundedReceiver<(Instant, Vec<u8>)>,
    deliver: impl Fn(Vec<u8>),
) {
    let mut random = hotstuff2_sync::rng::Rng::new(seed);
    let mut free = Instant::now();
    let mut flying: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    loop {
        let next = flying.front().map(|(at, _)| *at);
        tokio::select! {
            biased;
            () = async { match next { Some(at) => sleep_until(at.into()).await, None => std::future::pending().await } } => {
                while flying.front().is_some_and(|(at, _)| *at <= Instant::now()) {
                    if let Some((_, packet)) = flying.pop_front() {
                        deliver(packet);
                    }
                }
            }
            packet = packets.recv() => {
                let Some((now, packet)) = packet else { return };
                let waiting = free.saturating_duration_since(now).as_secs_f64() * line.bits_per_second / 8.0;
                if waiting as usize + packet.len() > line.queue_bytes || random.below(1_000_000) < line.loss_ppm {
                    continue;
                }
                let sending = Duration::from_secs_f64((packet.len() + 28) as f64 * 8.0 / line.bits_per_second);
                free = free.max(now) + sending;
                flying.push_back((free + line.delay, packet));
            }
        }
    }
}
