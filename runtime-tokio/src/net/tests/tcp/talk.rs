use hotstuff2_sync::limits::MAX_REQUEST_BYTES;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::super::{ConnectError, DisconnectReason, PeerLink, ResponseError, StreamCode, TcpName};
use super::*;

#[tokio::test]
async fn either_side_asks_over_tcp() {
    let (mut server, mut client) = (TcpNode::serving(echo()), Node::serving(fill(5_000_000)));
    meet(&mut client, &mut server).await;
    let answer = client.network.request(server.peer(), Bytes::from_static(b"hello"), 5).await.unwrap();
    assert_eq!(&answer[..], b"hello");
    let answer = timeout(SOON, server.node.network.request(client.peer, Bytes::new(), 5_000_000)).await.unwrap();
    assert_eq!(answer.unwrap().len(), 5_000_000);
    assert_eq!(server.node.network.wire_bytes_received_from(client.peer), 5_000_000);
    assert_eq!(client.network.wire_bytes_received(), 5);
    let link = PeerLink { peer: server.peer(), address: server.tcp, dialled: true };
    assert_eq!(client.network.links(), [link]);
    assert!(!server.node.network.links()[0].dialled);
    // Whoever is there is not dialled again; another is not taken for it.
    client.network.connect_tcp(server.tcp, Some(server.peer()), CHAIN).await.unwrap();
    client.network.connect(server.node.address, Some(server.peer())).await.unwrap();
    assert_eq!(server.node.network.connections(client.peer).0, 1, "on whichever way");
    let stranger = PeerId::from_bytes([7; 32]);
    let error = client.network.connect_tcp(server.tcp, Some(stranger), CHAIN).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongPeer { found, .. } if found == server.peer()), "{error}");
    let error = server.node.network.connect_tcp(server.tcp, None, CHAIN).await.unwrap_err();
    assert!(matches!(error, ConnectError::OwnKey { .. }), "{error}");
    let error = client.network.connect_tcp(server.tcp, None, Hash::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("another chain"), "{error}");
}

#[tokio::test]
async fn limits_hold_over_tcp() {
    let (mut server, mut client) = (TcpNode::serving(fill(1000)), Node::asking());
    meet(&mut client, &mut server).await;
    let ask = |request: usize, limit| client.network.request(server.peer(), vec![0; request].into(), limit);
    assert_eq!(ask(MAX_REQUEST_BYTES, 1000).await.unwrap().len(), 1000);
    assert_eq!(ask(1, 999).await, Err(ResponseError::Oversize { peer: server.peer(), limit: 999 }));
    let too_large = ResponseError::RequestTooLarge { bytes: MAX_REQUEST_BYTES + 1, limit: MAX_REQUEST_BYTES };
    assert_eq!(ask(MAX_REQUEST_BYTES + 1, 1000).await, Err(too_large));
    let silent = server.node.network.request(client.peer, Bytes::new(), 10).await;
    assert_eq!(silent, Err(ResponseError::Reset { peer: client.peer, code: StreamCode::NotServing }));
}

#[tokio::test]
async fn questions_wait_until_the_peer_takes_more() {
    let most = Arc::new(Mutex::new(0));
    let limits = QuicLimits { max_streams_per_connection: 4, ..QuicLimits::default() };
    let handler = Counts { most: Arc::clone(&most), ..Counts::default() };
    let (mut server, mut client) = (TcpNode::new(limits, Some(Arc::new(handler))), Node::asking());
    meet(&mut client, &mut server).await;
    let requests: Vec<_> = (0..40u8)
        .map(|number| tokio::spawn(client.network.request(server.peer(), Bytes::copy_from_slice(&[number]), 1)))
        .collect();
    for (number, request) in (0u8..).zip(requests) {
        assert_eq!(&timeout(SOON, request).await.unwrap().unwrap().unwrap()[..], [number]);
    }
    assert_eq!(*most.lock().unwrap(), 4);
}

#[tokio::test]
async fn a_question_that_is_dropped_is_cancelled_on_both_sides() {
    let (started, mut has_started) = mpsc::unbounded_channel();
    let (dropped, mut was_dropped) = mpsc::unbounded_channel();
    let (mut server, mut client) = (TcpNode::serving(Waits { started, dropped }), Node::asking());
    meet(&mut client, &mut server).await;
    // More often than questions can be open.
    for _ in 0..70 {
        let asked = tokio::spawn(client.network.request(server.peer(), Bytes::new(), 1));
        timeout(SOON, has_started.recv()).await.unwrap().unwrap();
        asked.abort();
        timeout(SOON, was_dropped.recv()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn whoever_closes_says_why_over_tcp() {
    let (started, mut has_started) = mpsc::unbounded_channel();
    let (dropped, _was_dropped) = mpsc::unbounded_channel();
    let (mut server, mut client) = (TcpNode::serving(Waits { started, dropped }), Node::asking());
    meet(&mut client, &mut server).await;
    client.network.disconnect(server.peer(), "enough for now");
    let reason = DisconnectReason::Local("enough for now".into());
    assert_eq!(client.event().await, NetworkEvent::Disconnected { peer: server.peer(), reason });
    let reason = DisconnectReason::ByPeer("enough for now".into());
    assert_eq!(server.node.event().await, NetworkEvent::Disconnected { peer: client.peer, reason });
    // It is no ban. What is under way ends with the connection.
    meet(&mut client, &mut server).await;
    let request = tokio::spawn(client.network.request(server.peer(), Bytes::new(), 1));
    timeout(SOON, has_started.recv()).await.unwrap().unwrap();
    server.node.network.close().await;
    let reason = DisconnectReason::ByPeer("shutting down".into());
    let gone = ResponseError::Disconnected { peer: server.peer(), reason: reason.clone() };
    assert_eq!(timeout(SOON, request).await.unwrap().unwrap(), Err(gone));
    assert_eq!(client.event().await, NetworkEvent::Disconnected { peer: server.peer(), reason });
    let error = client.network.connect_tcp(server.tcp, None, CHAIN).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "nobody listens any more: {error}");
}

#[tokio::test]
async fn a_ban_holds_on_both_listeners() {
    let mut server = TcpNode::serving(echo());
    let banned = |reason: &DisconnectReason| *reason == DisconnectReason::ByPeer("banned".into());
    for over_tcp in [true, false] {
        let mut client = Node::serving(echo());
        if over_tcp {
            meet(&mut client, &mut server).await;
        } else {
            client.meet(&mut server.node).await;
        }
        server.node.network.ban(client.peer, Duration::from_secs(600), "banned");
        let NetworkEvent::Disconnected { reason, .. } = client.event().await else { panic!("it is closed") };
        assert!(banned(&reason), "{reason}");
        let reason = DisconnectReason::Local("banned".into());
        assert_eq!(server.node.event().await, NetworkEvent::Disconnected { peer: client.peer, reason });
        // Whichever way it comes back, it is turned away once its key is known, and nobody hears of it.
        // The last word may come before the client takes the handshake for done, or after.
        match client.network.connect_tcp(server.tcp, None, CHAIN).await {
            Err(ConnectError::Refused { reason, .. }) => assert!(banned(&reason), "{reason}"),
            Err(error) => panic!("{error}"),
            Ok(_) => {
                assert!(matches!(client.event().await, NetworkEvent::Connected { .. }));
                let NetworkEvent::Disconnected { reason, .. } = client.event().await else { panic!("it is closed") };
                assert!(banned(&reason), "{reason}");
            }
        }
        if client.network.connect(server.node.address, None).await.is_ok() {
            assert!(matches!(client.event().await, NetworkEvent::Connected { .. }));
            assert!(matches!(client.event().await, NetworkEvent::Disconnected { .. }));
        }
        assert!(server.node.events.try_recv().is_err());
        // Nor does the server dial it.
        let listens = TcpNode::of(client);
        let error = server.node.network.connect_tcp(listens.tcp, Some(listens.peer()), CHAIN).await.unwrap_err();
        assert!(matches!(error, ConnectError::Banned { .. }), "{error}");
        let error = server.node.network.connect_tcp(listens.tcp, None, CHAIN).await.unwrap_err();
        assert!(matches!(error, ConnectError::Banned { .. }), "{error}");
    }
    // Others come as before.
    meet(&mut Node::asking(), &mut server).await;
}

#[tokio::test]
async fn a_named_peer_is_dialled_again_whenever_it_is_gone() {
    let (server, mut client) = (TcpNode::serving(echo()), Node::asking());
    let name: TcpName = format!("tcp://{}", server.tcp).parse().unwrap();
    client.network.keep_tcp(name, CHAIN);
    for _ in 0..3 {
        assert_eq!(client.event().await, NetworkEvent::Connected { peer: server.peer(), address: server.tcp });
        server.node.network.disconnect(client.peer, "again");
        assert!(matches!(client.event().await, NetworkEvent::Disconnected { .. }));
    }
}

/// Passes everything on, but flips one bit of what the server says, `skip` bytes after the handshake and its `Hello`.
async fn meddler(to: SocketAddr, skip: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(to).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
        let (mut buffer, mut passed) = (vec![0; 4096], 0);
        // The second message of the handshake and the Hello.
        let at = 196 + 61 + skip;
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if (passed..passed + count).contains(&at) {
                buffer[at - passed] ^= 4;
            }
            passed += count;
            if to_client.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_byte_that_is_changed_on_the_way_bans_nobody() {
    // In a length, in the encrypted content, and in the tag at the end.
    for skip in [0, 2, 100, 20_000, 30_000] {
        let (mut server, mut client) = (TcpNode::serving(fill(30_000)), Node::asking());
        let address = meddler(server.tcp, skip).await;
        client.network.connect_tcp(address, Some(server.peer()), CHAIN).await.unwrap();
        client.event().await;
        server.node.event().await;
        let error =
            timeout(SOON, client.network.request(server.peer(), Bytes::new(), 30_000)).await.unwrap().unwrap_err();
        // Nothing that bans: what ends is the connection. An answer that is too long would be the peer's fault.
        assert!(matches!(error, ResponseError::Disconnected { .. }), "{skip}: {error}");
        assert!(matches!(client.event().await, NetworkEvent::Disconnected { .. }));
        client.network.connect_tcp(server.tcp, Some(server.peer()), CHAIN).await.unwrap();
        assert_eq!(client.network.request(server.peer(), Bytes::new(), 30_000).await.unwrap().len(), 30_000);
    }
}
