//! Peers that break the rules, made of bare QUIC endpoints.

use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::{ClientConfig, Connection, Endpoint, ServerConfig, TransportConfig, VarInt};

use hotstuff2_sync::serve::{ServeLimits, ServeRates};

use super::super::peers::MAX_CONNECTIONS_PER_PEER;
use super::super::tls::{self, SERVER_NAME, ServerKey};
use super::super::{ConnectError, DisconnectReason, MAX_REQUEST_BYTES, ResponseError};
use super::*;

/// A server that does with each stream what `behave` says.
fn bare_server<F>(behave: fn(quinn::SendStream) -> F) -> (Endpoint, SocketAddr)
where
    F: Future<Output = ()> + Send + 'static,
{
    let crypto = tls::server_config(&Identity::generate().unwrap()).unwrap();
    let config = ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            let Ok(connection) = incoming.await else {
                continue;
            };
            tokio::spawn(async move {
                while let Ok((send, _recv)) = connection.accept_bi().await {
                    tokio::spawn(behave(send));
                }
            });
        }
    });
    (endpoint, address)
}

/// A client that keeps none of the limits, connected to `node`.
async fn bare_client(node: &Node, transport: TransportConfig) -> (Endpoint, Connection) {
    bare_client_with(&Identity::generate().unwrap(), node, transport).await
}

/// The same with this identity.
async fn bare_client_with(identity: &Identity, node: &Node, transport: TransportConfig) -> (Endpoint, Connection) {
    let key = Arc::new(ServerKey::new(identity.peer_id(), None));
    let mut config = ClientConfig::new(Arc::new(tls::client_config(identity, key).unwrap()));
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = endpoint.connect_with(config, node.address, SERVER_NAME).unwrap().await.unwrap();
    (endpoint, connection)
}

#[tokio::test]
async fn an_endless_answer_is_cut_off_at_the_limit() {
    async fn flood(mut send: quinn::SendStream) {
        while send.write_all(&[0; 65_536]).await.is_ok() {}
    }
    const LIMIT: usize = 300_000;
    let (_endpoint, address) = bare_server(flood);
    let client = Node::asking();
    let peer = client.network.connect(address, None).await.unwrap();
    let mut received = 0;
    for _ in 0..10 {
        let error = timeout(SOON, client.network.request(peer, Bytes::new(), LIMIT)).await.unwrap().unwrap_err();
        assert_eq!(error, ResponseError::Oversize { peer, limit: LIMIT });
        let more = client.network.wire_bytes_received() - received;
        received += more;
        // Bytes in the window when it was stopped count, and no more than those can have come.
        assert!(more > LIMIT as u64 && more <= LIMIT as u64 + (4 << 20), "{more}");
    }
}

#[tokio::test]
async fn an_answer_one_byte_too_long_is_oversize_and_one_that_fits_is_not() {
    let (mut server, mut client) = (Node::serving(fill(1000)), Node::asking());
    client.meet(&mut server).await;
    assert_eq!(client.network.request(server.peer, Bytes::new(), 1000).await.unwrap().len(), 1000);
    let error = client.network.request(server.peer, Bytes::new(), 999).await.unwrap_err();
    assert_eq!(error, ResponseError::Oversize { peer: server.peer, limit: 999 });
}

#[tokio::test]
async fn slow_drip_holds_up_nobody_else_and_costs_what_it_sends() {
    async fn drip(mut send: quinn::SendStream) {
        while send.write_all(&[1]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let (_endpoint, address) = bare_server(drip);
    let (mut honest, mut client) = (Node::serving(fill(1 << 20)), Node::asking());
    client.meet(&mut honest).await;
    let slow = client.network.connect(address, None).await.unwrap();
    let mut drips: Vec<_> = (0..50).map(|_| client.network.request(slow, Bytes::new(), 1 << 30)).collect();
    for drip in &mut drips {
        assert!(timeout(Duration::from_millis(5), drip).await.is_err());
    }
    for _ in 0..10 {
        let answer = timeout(SOON, client.network.request(honest.peer, Bytes::new(), 1 << 20)).await.unwrap();
        assert_eq!(answer.unwrap().len(), 1 << 20);
    }
    drop(drips);
    let drip = client.network.wire_bytes_received_from(slow);
    assert!(drip > 0 && drip < 1 << 20, "{drip}");
}

/// Answers with a mebibyte, and counts how often.
fn made(count: &Arc<AtomicUsize>) -> impl Handler {
    let count = Arc::clone(count);
    HandlerFn::new(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        vec![1; 1 << 20].into()
    })
}

#[tokio::test]
async fn a_reader_that_never_reads_holds_a_bounded_number_of_answers() {
    let made = Arc::new(AtomicUsize::new(0));
    let limits = QuicLimits {
        serve: ServeLimits { peer_memory: 4 << 20, ..ServeLimits::default() },
        answer_timeout: Duration::from_millis(1500),
        // Nothing but that time-out gives them up.
        slow_window: Duration::from_secs(3600),
        ..QuicLimits::default()
    };
    let mut server = Node::new(limits, Some(Arc::new(self::made(&made))));
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(1000));
    let (_endpoint, connection) = bare_client(&server, transport).await;
    server.event().await;
    let mut streams = Vec::new();
    for _ in 0..32 {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(b"give").await.unwrap();
        send.finish().unwrap();
        streams.push((send, recv));
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    // Those that are made at the moment when the fourth fills the room come on top.
    let count = made.load(Ordering::SeqCst);
    assert!((4..4 + limits.serve.max_running).contains(&count), "{count}: the others wait for their turn, unmade");
    let mut client = Node::asking();
    client.meet(&mut server).await;
    let answer = timeout(SOON, client.network.request(server.peer, Bytes::new(), 1 << 20)).await.unwrap();
    assert_eq!(answer.unwrap().len(), 1 << 20, "another peer is served meanwhile");
    // Those that are not read in time are given up, and make room.
    let (_, recv) = &mut streams[0];
    let code = timeout(SOON, recv.received_reset()).await.unwrap().unwrap();
    assert_eq!(code, Some(super::super::StreamCode::TooSlow.to_wire().into()));
}

/// One request of a bare client, and the stream of its answer.
async fn asked(connection: &Connection) -> quinn::RecvStream {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(b"give").await.unwrap();
    send.finish().unwrap();
    recv
}

#[tokio::test]
async fn who_reads_too_slowly_is_given_up_long_before_an_answer_must_be_there() {
    let limits = QuicLimits {
        answer_timeout: Duration::from_secs(3600),
        slow_window: Duration::from_secs(1),
        // An answer that is read at all comes faster, and one that isn't doesn't move.
        min_answer_rate: 1000,
        ..QuicLimits::default()
    };
    let mut server = Node::new(limits, Some(Arc::new(fill(1 << 20))));
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(1000));
    let (_endpoint, connection) = bare_client(&server, transport).await;
    server.event().await;
    let mut unread = asked(&connection).await;
    let code = timeout(SOON, unread.received_reset()).await.unwrap().unwrap();
    assert_eq!(code, Some(super::super::StreamCode::TooSlow.to_wire().into()));
    // An asker that asks again and reads is served over the same connection.
    assert_eq!(timeout(SOON, asked(&connection).await.read_to_end(2 << 20)).await.unwrap().unwrap().len(), 1 << 20);
    // Nobody is given up who isn't owed anything, whatever the time.
    tokio::time::sleep(3 * limits.slow_window).await;
    assert_eq!(timeout(SOON, asked(&connection).await.read_to_end(2 << 20)).await.unwrap().unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn who_goes_on_asking_is_read_from_more_slowly_and_nobody_else_is() {
    let peer = ServeRates { requests: 1, ..ServeLimits::default().peer };
    let serve = ServeLimits { peer, peer_refusals: 1, ..ServeLimits::default() };
    let mut server = Node::new(QuicLimits { serve, ..QuicLimits::default() }, Some(Arc::new(echo())));
    let (_endpoint, connection) = bare_client(&server, TransportConfig::default()).await;
    server.event().await;
    let flood = async {
        for _ in 0..100 {
            asked(&connection).await.read_to_end(100).await.unwrap();
        }
    };
    // Two refusals a second are what it gets: so many take the better part of a minute, and read at once no time.
    tokio::select! {
        () = flood => panic!("it is not paused"),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    assert!(server.network.serve_stats().refused > 1);
    let mut client = Node::asking();
    client.meet(&mut server).await;
    let answer = timeout(SOON, client.network.request(server.peer, Bytes::from_static(b"me"), 10)).await.unwrap();
    assert_eq!(&answer.unwrap()[..], b"me");
}

/// Connects a bare client, and says whether it had to prove its address (RFC 9000, section 8.1.2), which shows in the
/// connection id that the server chose first.
async fn had_to_prove(address: SocketAddr) -> (bool, Endpoint, Connection) {
    let front = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let back = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    back.connect(address).await.unwrap();
    let relay = front.local_addr().unwrap();
    let retried = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&retried);
    tokio::spawn(async move {
        let (mut to, mut fro, mut client) = (vec![0; 65_536], vec![0; 65_536], None);
        loop {
            tokio::select! {
                Ok((len, from)) = front.recv_from(&mut to) => {
                    client = Some(from);
                    let _ = back.send(&to[..len]).await;
                }
                Ok(len) = back.recv(&mut fro) => {
                    // A long header of the type Retry (RFC 9000, section 17.2.5).
                    seen.fetch_add(usize::from(fro[0] & 0b1011_0000 == 0b1011_0000), Ordering::SeqCst);
                    if let Some(client) = client {
                        let _ = front.send_to(&fro[..len], client).await;
                    }
                }
            }
        }
    });
    let identity = Identity::generate().unwrap();
    let key = Arc::new(ServerKey::new(identity.peer_id(), None));
    let config = ClientConfig::new(Arc::new(tls::client_config(&identity, key).unwrap()));
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = timeout(SOON, endpoint.connect_with(config, relay, SERVER_NAME).unwrap()).await.unwrap().unwrap();
    (retried.load(Ordering::SeqCst) > 0, endpoint, connection)
}

#[tokio::test]
async fn an_address_is_proven_before_a_handshake_costs_anything_while_room_is_scarce() {
    let limits = QuicLimits { max_inbound_connections: 4, ..QuicLimits::default() };
    let server = Node::new(limits, Some(Arc::new(echo())));
    let mut there = Vec::new();
    let mut proven = Vec::new();
    for _ in 0..4 {
        let (had_to, endpoint, connection) = had_to_prove(server.address).await;
        proven.push(had_to);
        there.push((endpoint, connection));
    }
    assert_eq!(
        proven,
        [false, false, true, true],
        "half of the room is for whoever comes, the rest for proven addresses"
    );
    let (_, connection) = &there[3];
    let mut answer = asked(connection).await;
    assert_eq!(timeout(SOON, answer.read_to_end(100)).await.unwrap().unwrap(), b"give");
}

#[tokio::test]
async fn an_address_is_proven_while_handshakes_are_many() {
    // Two a second: the first leaves less than is kept for those that have proven theirs.
    let serve = ServeLimits { handshakes: 2, ..ServeLimits::default() };
    let server = Node::new(QuicLimits { serve, ..QuicLimits::default() }, Some(Arc::new(echo())));
    let mut proven = Vec::new();
    let mut there = Vec::new();
    while !proven.last().is_some_and(|had_to| *had_to) {
        assert!(proven.len() < 50, "nobody had to: {proven:?}");
        let (had_to, endpoint, connection) = had_to_prove(server.address).await;
        proven.push(had_to);
        there.push((endpoint, connection));
    }
    assert!(!proven[0], "{proven:?}");
}

#[tokio::test]
async fn memory_of_unread_answers_is_bounded_over_all_peers() {
    let made = Arc::new(AtomicUsize::new(0));
    let serve = ServeLimits {
        memory: 3 << 20,
        group_memory: 3 << 20,
        peer_memory: 1 << 20,
        max_running: 2,
        ..ServeLimits::default()
    };
    let limits = QuicLimits { serve, ..QuicLimits::default() };
    let server = Node::new(limits, Some(Arc::new(self::made(&made))));
    let mut readers = Vec::new();
    for _ in 0..5 {
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(1000));
        let (endpoint, connection) = bare_client(&server, transport).await;
        for _ in 0..8 {
            let (mut send, recv) = connection.open_bi().await.unwrap();
            send.finish().unwrap();
            readers.push((endpoint.clone(), connection.clone(), send, recv));
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let count = made.load(Ordering::SeqCst);
    assert!((3..3 + 2).contains(&count), "{count}");
}

#[tokio::test]
async fn an_oversize_or_unfinished_request_is_given_up_unanswered() {
    let never = HandlerFn::new(|_, _| panic!("it must not be asked"));
    let limits = QuicLimits { request_timeout: Duration::from_millis(200), ..QuicLimits::default() };
    let server = Node::new(limits, Some(Arc::new(never)));
    let (_endpoint, connection) = bare_client(&server, TransportConfig::default()).await;
    for (request, code) in [
        (vec![1; MAX_REQUEST_BYTES + 1], super::super::StreamCode::Oversize),
        (vec![1; 10], super::super::StreamCode::TooSlow),
    ] {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        // Not finished: an end would make the second a request.
        send.write_all(&request).await.unwrap();
        let reset = timeout(SOON, recv.received_reset()).await.unwrap().unwrap();
        assert_eq!(reset, Some(code.to_wire().into()));
        assert_eq!(timeout(SOON, send.stopped()).await.unwrap().unwrap(), Some(code.to_wire().into()));
    }
}

#[tokio::test]
async fn ban_lasts_in_both_directions() {
    let (mut server, mut client) = (Node::serving(echo()), Node::asking());
    client.meet(&mut server).await;
    server.network.ban(client.peer, Duration::from_secs(3600), "bad proof");
    let reason = DisconnectReason::Local("bad proof".into());
    assert_eq!(server.event().await, NetworkEvent::Disconnected { peer: client.peer, reason });
    let reason = DisconnectReason::ByPeer("bad proof".into());
    assert_eq!(client.event().await, NetworkEvent::Disconnected { peer: server.peer, reason });
    let error = server.network.connect(client.address, Some(client.peer)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Banned { .. }), "{error}");
    let error = server.network.connect(client.address, None).await.unwrap_err();
    assert!(matches!(error, ConnectError::Banned { .. }), "{error}");
    // A client learns of it after its half of the handshake.
    client.network.connect(server.address, None).await.unwrap();
    let gone = loop {
        if let NetworkEvent::Disconnected { reason, .. } = client.event().await {
            break reason;
        }
    };
    assert_eq!(gone, DisconnectReason::ByPeer("banned".into()));
    assert!(client.network.request(server.peer, Bytes::new(), 1).await.is_err());
    assert!(server.events.try_recv().is_err(), "the banned peer was never let in");
}

#[tokio::test]
async fn a_banned_peer_is_sent_nothing() {
    let (node, peer) = (Node::asking(), PeerId::from_bytes([9; 32]));
    node.network.ban(peer, Duration::from_secs(3600), "bad proof");
    let there = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    there.set_nonblocking(true).unwrap();
    let error = node.network.connect(there.local_addr().unwrap(), Some(peer)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Banned { .. }), "{error}");
    assert_eq!(there.recv(&mut [0; 1500]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn one_peer_has_a_few_connections_and_the_oldest_makes_room() {
    let mut server = Node::serving(echo());
    let identity = Identity::generate().unwrap();
    let mut there = Vec::new();
    for _ in 0..=MAX_CONNECTIONS_PER_PEER {
        let (endpoint, connection) = bare_client_with(&identity, &server, TransportConfig::default()).await;
        // An answer shows that it was let in.
        assert_eq!(timeout(SOON, asked(&connection).await.read_to_end(100)).await.unwrap().unwrap(), b"give");
        there.push((endpoint, connection));
    }
    let reason = timeout(SOON, there[0].1.closed()).await.unwrap().to_string();
    assert!(reason.contains("replaced by a newer connection"), "{reason}");
    for (_, connection) in &there[1..] {
        assert_eq!(timeout(SOON, asked(connection).await.read_to_end(100)).await.unwrap().unwrap(), b"give");
    }
    // The server was there all the time.
    assert!(matches!(server.event().await, NetworkEvent::Connected { peer, .. } if peer == identity.peer_id()));
    assert!(server.events.try_recv().is_err());
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let limits = QuicLimits { max_inbound_connections: 2, ..QuicLimits::default() };
    let mut server = Node::new(limits, Some(Arc::new(echo())));
    let (mut first, mut second, third) = (Node::asking(), Node::asking(), Node::asking());
    first.meet(&mut server).await;
    second.meet(&mut server).await;
    let error = third.network.connect(server.address, None).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
    first.network.disconnect(server.peer, "room for others");
    server.event().await;
    assert!(third.network.connect(server.address, None).await.is_ok());
}
