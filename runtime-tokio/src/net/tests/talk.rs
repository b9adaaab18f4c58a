//! Honest nodes talking to each other.

use std::time::Instant;

use super::super::{BindError, ConnectError, DisconnectReason, MAX_REQUEST_BYTES, PeerLink, ResponseError, StreamCode};
use super::*;

#[tokio::test]
async fn two_endpoints_talk_both_ways_over_one_connection() {
    let (mut first, mut second) = (Node::serving(echo()), Node::serving(fill(3_000_000)));
    first.meet(&mut second).await;
    let answer = first.network.request(second.peer, Bytes::new(), 3_000_000).await.unwrap();
    assert_eq!(answer, vec![0x5a; 3_000_000]);
    let answer = second.network.request(first.peer, Bytes::from_static(b"hello"), 5).await.unwrap();
    assert_eq!(&answer[..], b"hello");
    assert_eq!(first.network.request(second.peer, Bytes::new(), 3_000_000).await.unwrap().len(), 3_000_000);
    assert_eq!(first.network.wire_bytes_received(), 6_000_000);
    assert_eq!(first.network.wire_bytes_received_from(second.peer), 6_000_000);
    assert_eq!(second.network.wire_bytes_received(), 5);
    assert_eq!(second.network.wire_bytes_received_from(PeerId::from_bytes([0; 32])), 0);
}

#[tokio::test]
async fn an_address_alone_is_enough_and_the_key_found_is_reported() {
    let (server, client) = (Node::serving(echo()), Node::asking());
    assert_eq!(client.network.connect(server.address, None).await.unwrap(), server.peer);
    let empty = client.network.request(server.peer, Bytes::new(), 0).await.unwrap();
    assert!(empty.is_empty());
}

#[tokio::test]
async fn another_key_than_expected_is_refused() {
    let (mut server, mut client) = (Node::serving(echo()), Node::asking());
    let expected = PeerId::from_bytes([7; 32]);
    let error = client.network.connect(server.address, Some(expected)).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::WrongPeer { expected: e, found, .. } if e == expected && found == server.peer),
        "{error}"
    );
    // Neither side takes the other for connected.
    client.meet(&mut server).await;
}

#[tokio::test]
async fn a_node_does_not_dial_itself() {
    let node = Node::serving(echo());
    for expected in [None, Some(node.peer)] {
        let error = node.network.connect(node.address, expected).await.unwrap_err();
        assert!(matches!(error, ConnectError::OwnKey { .. }), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_a_timeout_in_time() {
    let limits = QuicLimits { connect_timeout: Duration::from_millis(200), ..QuicLimits::default() };
    let client = Node::new(limits, None);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = client.network.connect(silent.local_addr().unwrap(), None).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_said_in_one_line() {
    let first = Node::asking();
    let error =
        QuicNetwork::bind(first.address, Identity::generate().unwrap(), QuicLimits::default(), None).unwrap_err();
    assert!(matches!(error, BindError::PortInUse { .. }));
    let line = error.to_string();
    assert!(line.contains(&format!("port {} is in use", first.address.port())) && !line.contains('\n'), "{line}");
}

#[tokio::test]
async fn a_request_too_long_is_not_sent() {
    let (mut server, mut client) = (Node::serving(echo()), Node::asking());
    client.meet(&mut server).await;
    let longest = client.network.request(server.peer, vec![1; MAX_REQUEST_BYTES].into(), 1 << 20).await.unwrap();
    assert_eq!(longest.len(), MAX_REQUEST_BYTES);
    let error = client.network.request(server.peer, vec![1; MAX_REQUEST_BYTES + 1].into(), 1 << 20).await.unwrap_err();
    assert!(matches!(error, ResponseError::RequestTooLarge { .. }), "{error}");
}

#[tokio::test]
async fn strangers_are_not_connected() {
    let client = Node::asking();
    let peer = PeerId::from_bytes([9; 32]);
    let error = client.network.request(peer, Bytes::new(), 1).await.unwrap_err();
    assert_eq!(error, ResponseError::NotConnected { peer });
}

#[tokio::test]
async fn a_node_without_a_handler_says_so() {
    let (mut server, mut client) = (Node::asking(), Node::asking());
    client.meet(&mut server).await;
    let error = client.network.request(server.peer, Bytes::new(), 1).await.unwrap_err();
    assert_eq!(error, ResponseError::Reset { peer: server.peer, code: StreamCode::NotServing });
}

#[tokio::test]
async fn a_handler_that_panics_gives_no_answer_rather_than_a_short_one() {
    let panics = HandlerFn::new(|_, _| panic!("on purpose"));
    let (mut server, mut client) = (Node::serving(panics), Node::asking());
    client.meet(&mut server).await;
    for _ in 0..3 {
        let error = client.network.request(server.peer, Bytes::new(), 1).await.unwrap_err();
        assert_eq!(error, ResponseError::Reset { peer: server.peer, code: StreamCode::Failed });
    }
}

#[tokio::test]
async fn a_cancelled_request_ends_at_the_server_too() {
    let (started, mut has_started) = mpsc::unbounded_channel();
    let (dropped, mut was_dropped) = mpsc::unbounded_channel();
    let (mut server, mut client) = (Node::serving(Waits { started, dropped }), Node::asking());
    client.meet(&mut server).await;
    let request = tokio::spawn(client.network.request(server.peer, Bytes::from_static(b"follow"), 1));
    timeout(SOON, has_started.recv()).await.unwrap().unwrap();
    assert!(was_dropped.try_recv().is_err());
    request.abort();
    timeout(SOON, was_dropped.recv()).await.expect("the server notices").unwrap();
}

#[tokio::test]
async fn cancelled_answers_are_counted_and_leak_no_streams() {
    let (mut server, mut client) = (Node::serving(fill(1 << 20)), Node::asking());
    client.meet(&mut server).await;
    // More often than there are streams, so that one leaked each time would end it.
    for _ in 0..100 {
        let before = client.network.wire_bytes_received();
        let mut request = client.network.request(server.peer, Bytes::new(), 1 << 20);
        while client.network.wire_bytes_received() == before {
            if timeout(Duration::from_millis(1), &mut request).await.is_ok() {
                break;
            }
        }
        drop(request);
    }
    let answer = timeout(SOON, client.network.request(server.peer, Bytes::new(), 1 << 20)).await.unwrap().unwrap();
    assert_eq!(answer.len(), 1 << 20);
    assert!(client.network.wire_bytes_received() > 1 << 20);
}

#[tokio::test]
async fn requests_beyond_the_limit_of_streams_wait_and_are_answered() {
    let most = Arc::new(Mutex::new(0));
    let limits = QuicLimits { max_streams_per_connection: 4, ..QuicLimits::default() };
    let handler = Counts { most: Arc::clone(&most), ..Counts::default() };
    let (mut server, mut client) = (Node::new(limits, Some(Arc::new(handler))), Node::asking());
    client.meet(&mut server).await;
    let requests: Vec<_> = (0..40u8)
        .map(|number| tokio::spawn(client.network.request(server.peer, Bytes::copy_from_slice(&[number]), 1)))
        .collect();
    for (number, request) in (0u8..).zip(requests) {
        assert_eq!(&timeout(SOON, request).await.unwrap().unwrap().unwrap()[..], [number]);
    }
    assert_eq!(*most.lock().unwrap(), 4);
}

#[tokio::test]
async fn a_disconnect_is_reported_on_both_sides_with_its_reason() {
    let (mut server, mut client) = (Node::serving(echo()), Node::asking());
    client.meet(&mut server).await;
    client.network.disconnect(server.peer, "enough for now");
    let reason = DisconnectReason::Local("enough for now".into());
    assert_eq!(client.event().await, NetworkEvent::Disconnected { peer: server.peer, reason });
    let reason = DisconnectReason::ByPeer("enough for now".into());
    assert_eq!(server.event().await, NetworkEvent::Disconnected { peer: client.peer, reason });
    // That is no ban.
    client.meet(&mut server).await;
}

#[tokio::test]
async fn requests_in_flight_fail_when_the_peer_goes() {
    let (started, mut has_started) = mpsc::unbounded_channel();
    let (dropped, _was_dropped) = mpsc::unbounded_channel();
    let (mut server, mut client) = (Node::serving(Waits { started, dropped }), Node::asking());
    client.meet(&mut server).await;
    let request = tokio::spawn(client.network.request(server.peer, Bytes::new(), 1));
    timeout(SOON, has_started.recv()).await.unwrap().unwrap();
    server.network.close().await;
    let reason = DisconnectReason::ByPeer("shutting down".into());
    let gone = ResponseError::Disconnected { peer: server.peer, reason: reason.clone() };
    assert_eq!(timeout(SOON, request).await.unwrap().unwrap().unwrap_err(), gone);
    assert_eq!(client.event().await, NetworkEvent::Disconnected { peer: server.peer, reason });
}

#[tokio::test]
async fn both_may_dial_at_once_and_are_connected_once() {
    let (mut first, mut second) = (Node::serving(echo()), Node::serving(echo()));
    let dials = tokio::join!(first.network.connect(second.address, None), second.network.connect(first.address, None));
    assert_eq!((dials.0.unwrap(), dials.1.unwrap()), (second.peer, first.peer));
    first.event().await;
    second.event().await;
    assert_eq!(&first.network.request(second.peer, Bytes::from_static(b"a"), 1).await.unwrap()[..], b"a");
    assert_eq!(&second.network.request(first.peer, Bytes::from_static(b"b"), 1).await.unwrap()[..], b"b");
    first.network.disconnect(second.peer, "done");
    assert!(matches!(first.event().await, NetworkEvent::Disconnected { .. }));
    assert!(matches!(second.event().await, NetworkEvent::Disconnected { .. }));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(first.events.try_recv().is_err() && second.events.try_recv().is_err());
}

#[tokio::test]
async fn a_restarted_peer_is_noticed_long_before_the_idle_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.key");
    let start = |address: SocketAddr| {
        // A runtime of its own: dropping that is as abrupt as a kill.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let identity = Identity::load_or_generate(&path).unwrap();
        let node = {
            let _inside = runtime.enter();
            Node::with(identity, address, QuicLimits::default(), Some(Arc::new(echo())))
        };
        (runtime, node)
    };
    let (runtime, server) = start("127.0.0.1:0".parse().unwrap());
    let mut client = Node::asking();
    client.network.connect(server.address, Some(server.peer)).await.unwrap();
    client.event().await;
    let (address, peer) = (server.address, server.peer);
    // An answer shows that the handshake is over on both sides.
    client.network.request(peer, Bytes::from_static(b"there?"), 100).await.unwrap();
    // Its farewell is never sent: nothing drives the endpoint any more when it is dropped.
    std::thread::spawn(move || runtime.shutdown_timeout(SOON)).join().unwrap();
    drop(server);
    let (runtime, server) = start(address);
    let asked = Instant::now();
    // Whatever is sent to it, a probe or this request, is answered by a reset.
    assert!(client.network.request(peer, Bytes::from_static(b"there?"), 100).await.is_err());
    let event = client.event().await;
    assert_eq!(event, NetworkEvent::Disconnected { peer, reason: DisconnectReason::Restarted });
    assert!(asked.elapsed() < Duration::from_secs(10));
    client.network.connect(address, Some(peer)).await.unwrap();
    assert!(client.network.request(peer, Bytes::from_static(b"there?"), 100).await.is_ok());
    drop(server);
    runtime.shutdown_background();
}

#[tokio::test]
async fn closing_is_bounded_even_where_the_peer_is_gone() {
    let limits = QuicLimits { close_timeout: Duration::from_millis(500), ..QuicLimits::default() };
    let client = Node::new(limits, None);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = {
        let _inside = runtime.enter();
        Node::serving(echo())
    };
    client.network.connect(server.address, None).await.unwrap();
    runtime.shutdown_background();
    let asked = Instant::now();
    client.network.close().await;
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(matches!(client.network.connect(server.address, None).await, Err(ConnectError::Closed)));
    drop(server);
}

#[test]
fn whoever_is_connected_is_told_before_closing_ends_and_nobody_else_is_waited_for() {
    let servers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut server = {
        let _inside = servers.enter();
        Node::serving(echo())
    };
    let mut close = || {
        // Nothing of the client runs but within this call.
        let clients = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (peer, took) = clients.block_on(async {
            let limits = QuicLimits { close_timeout: SOON, ..QuicLimits::default() };
            let client = Node::new(limits, None);
            client.network.connect(server.address, Some(server.peer)).await.unwrap();
            let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let dial = tokio::spawn(client.network.connect(silent.local_addr().unwrap(), None));
            silent.recv_from(&mut [0; 1500]).await.unwrap();
            let begin = Instant::now();
            client.network.close().await;
            dial.abort();
            (client.peer, begin.elapsed())
        });
        drop(clients);
        servers.block_on(async {
            assert!(matches!(server.event().await, NetworkEvent::Connected { .. }));
            let reason = DisconnectReason::ByPeer("shutting down".into());
            assert_eq!(server.event().await, NetworkEvent::Disconnected { peer, reason });
        });
        took
    };
    // A handshake that nobody answers is closed three probe time-outs later, which are a second each, and never sooner. A
    // machine that is busy may take long by itself, though hardly each time.
    let is_quick = |_| close() < Duration::from_millis(2500);
    assert!((0..10).any(is_quick), "closing waits for a handshake that nobody answers");
}

#[tokio::test]
async fn both_families_are_reached() {
    let anywhere = |port| SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
    let start = |address: SocketAddr| {
        let identity = Identity::generate().unwrap();
        Node::with(identity, address, QuicLimits::default(), Some(Arc::new(echo())))
    };
    let (mut both, mut v4) = (start(anywhere(0)), start("127.0.0.1:0".parse().unwrap()));
    let port = both.address.port();
    // IPv4, from both sides, is written as such.
    both.network.connect(v4.address, Some(v4.peer)).await.unwrap();
    assert_eq!(both.event().await, NetworkEvent::Connected { peer: v4.peer, address: v4.address });
    assert_eq!(both.network.links(), [PeerLink { peer: v4.peer, address: v4.address, dialled: true }]);
    let seen = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(v4.event().await, NetworkEvent::Connected { peer: both.peer, address: seen });
    assert_eq!(&both.network.request(v4.peer, Bytes::from_static(b"4"), 1).await.unwrap()[..], b"4");
    let other = start("127.0.0.1:0".parse().unwrap());
    other.network.connect(seen, Some(both.peer)).await.unwrap();
    assert_eq!(both.event().await, NetworkEvent::Connected { peer: other.peer, address: other.address });

    // A node that listens by IPv4 alone is told what to do about the other family.
    let error = v4.network.connect("[::1]:7".parse().unwrap(), None).await.unwrap_err().to_string();
    assert!(error.contains("it is IPv6") && error.contains("listen at [::]"), "{error}");
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        assert!(both.address.is_ipv4(), "this machine has no IPv6, which the address shows");
        return;
    }
    let v6 = start("[::1]:0".parse().unwrap());
    both.network.connect(v6.address, Some(v6.peer)).await.unwrap();
    assert_eq!(both.event().await, NetworkEvent::Connected { peer: v6.peer, address: v6.address });
    assert_eq!(&both.network.request(v6.peer, Bytes::from_static(b"6"), 1).await.unwrap()[..], b"6");
    let error = v6.network.connect(seen, None).await.unwrap_err().to_string();
    assert!(error.contains("it is IPv4") && error.contains("listen at [::]"), "{error}");
}

#[tokio::test]
async fn a_key_is_found_at_an_address_whether_or_not_its_peer_is_connected() {
    let (mut server, mut client) = (Node::serving(echo()), Node::asking());
    let elsewhere = Node::serving(echo());
    client.meet(&mut server).await;
    let link = PeerLink { peer: server.peer, address: server.address, dialled: true };
    assert_eq!(client.network.links(), [link]);
    assert_eq!(
        server.network.links(),
        [PeerLink { peer: client.peer, address: client.address, dialled: false }],
        "who dialled is known on both sides"
    );
    client.network.verify(server.address, server.peer).await.unwrap();
    let error = client.network.verify(elsewhere.address, server.peer).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongPeer { found, .. } if found == elsewhere.peer), "{error}");
    assert_eq!(client.network.links(), [link], "nothing stays of it");
    assert_eq!(server.network.port(), Some(server.address.port()));
    assert_eq!(client.network.port(), None, "who answers nobody tells nobody where");
}

/// Long enough that nothing here is found out by silence.
fn patient() -> QuicLimits {
    QuicLimits { idle_timeout: Duration::from_secs(600), ..QuicLimits::default() }
}

/// Waits until `node` has so many connections to `peer`.
async fn until_connections(node: &Node, peer: PeerId, count: usize) {
    let there = async {
        while node.network.connections(peer).0 != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, there).await.unwrap_or_else(|_| panic!("{} connections", node.network.connections(peer).0));
}

#[tokio::test]
async fn whoever_only_looked_who_is_there_is_gone_at_once() {
    let (first, second) = (Node::new(patient(), Some(Arc::new(echo()))), Node::new(patient(), Some(Arc::new(echo()))));
    for _ in 0..50 {
        second.network.verify(first.address, first.peer).await.unwrap();
        until_connections(&first, second.peer, 0).await;
    }
}

#[tokio::test]
async fn a_last_word_passes_a_full_window() {
    // Answers are under way, as many as the line holds.
    for _ in 0..10 {
        let mut server = Node::new(patient(), Some(Arc::new(fill(60_000_000))));
        let mut client = Node::new(patient(), None);
        client.meet(&mut server).await;
        let ask = |_| tokio::spawn(client.network.request(server.peer, Bytes::new(), 60_000_000));
        let answers = [(); 4].map(ask);
        while client.network.wire_bytes_received() < 1_000_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.network.close().await;
        for answer in answers {
            let answer = timeout(SOON, answer).await.expect("nobody waits for a peer that is gone").unwrap();
            assert!(matches!(answer, Err(ResponseError::Disconnected { .. })), "{:?}", answer.map(|whole| whole.len()));
        }
    }
}

/// Lets the first request wait for ever, and says that it does; answers all others.
struct OnlyLater(AtomicUsize, mpsc::UnboundedSender<()>);

impl Handler for OnlyLater {
    fn ready(&self, _peer: PeerId, _request: &Bytes) -> BoxFuture<'_, ()> {
        let is_first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            if is_first {
                let _ = self.1.send(());
                std::future::pending::<()>().await;
            }
        })
    }

    fn cost(&self, _request: &Bytes) -> Cost {
        Cost::default()
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        encode_refusal(Refusal::Busy { retry_after_ms })
    }

    fn handle(&self, _peer: PeerId, request: Bytes) -> Bytes {
        request
    }
}

#[tokio::test]
async fn a_question_outlives_the_connection_that_it_was_asked_over() {
    let (started, mut has_started) = mpsc::unbounded_channel();
    let mut first = Node::new(patient(), Some(Arc::new(echo())));
    let mut second = Node::new(patient(), Some(Arc::new(OnlyLater(AtomicUsize::new(0), started))));
    first.meet(&mut second).await;
    let used = |node: &Node, peer| node.network.connections(peer).1.unwrap();
    let dialled = used(&first, second.peer);
    // The other side dials too, perhaps only to see who is here: that is not used while there is one of our own.
    second.network.dial_again(first.address).await.unwrap();
    until_connections(&first, second.peer, 2).await;
    assert_eq!(used(&first, second.peer), dialled);
    let answer = tokio::spawn(first.network.request(second.peer, Bytes::from_static(b"hello"), 5));
    timeout(SOON, has_started.recv()).await.unwrap().unwrap();
    first.network.end_used(second.peer);
    assert_eq!(timeout(SOON, answer).await.unwrap().unwrap().as_deref(), Ok(&b"hello"[..]));
    assert_ne!(used(&first, second.peer), dialled);
}
