//! Peers that break the rules, made of bare sockets and of channels without a session.

use std::sync::atomic::{AtomicUsize, Ordering};

use hotstuff2_sync::serve::ServeLimits;
use hotstuff2_sync::session::{Channel, SessionIdentity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::super::DisconnectReason;
use super::*;

const HELLO: u8 = 0;
const ASK: u8 = 1;
const DATA: u8 = 2;
const CANCEL: u8 = 5;

/// A peer with a key that keeps no rule but those of the handshake.
struct Rogue {
    stream: TcpStream,
    channel: Channel,
    peer: PeerId,
}

impl Rogue {
    async fn dial(server: &TcpNode, secret: u8) -> Self {
        let mut stream = TcpStream::connect(server.tcp).await.unwrap();
        let identity = SessionIdentity::from_secret(&[secret; 32]);
        let (mut first, mut second, mut third) = (Vec::new(), [0; 196], Vec::new());
        let mut channel = Channel::dial(&identity, None, [secret; 32], &mut first).unwrap();
        stream.write_all(&first).await.unwrap();
        stream.read_exact(&mut second).await.unwrap();
        channel.shake(&second[4..], &mut third).unwrap().unwrap();
        stream.write_all(&third).await.unwrap();
        Self { stream, channel, peer: identity.peer_id() }
    }

    /// With a `Hello` of a node, or of a page.
    async fn greets(server: &TcpNode, secret: u8, is_page: bool) -> Self {
        let mut rogue = Self::dial(server, secret).await;
        rogue.sends(HELLO, 0, &hello(is_page)).await;
        rogue
    }

    fn frame(&mut self, kind: u8, id: u32, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.channel.seal(&[&[kind], &id.to_le_bytes()[..], content].concat(), &mut bytes).unwrap();
        bytes
    }

    async fn sends(&mut self, kind: u8, id: u32, content: &[u8]) {
        let frame = self.frame(kind, id, content);
        // The other side may have closed already.
        let _ = self.stream.write_all(&frame).await;
    }

    /// The next frame: type, number and content.
    async fn reads(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut length = [0; 4];
        timeout(SOON, self.stream.read_exact(&mut length)).await.expect("it goes on or ends").ok()?;
        let mut message = vec![0; u32::from_le_bytes(length) as usize];
        timeout(SOON, self.stream.read_exact(&mut message)).await.expect("it goes on or ends").ok()?;
        let mut frame = Vec::new();
        self.channel.open(&message, &mut frame).unwrap();
        Some((frame[0], u32::from_le_bytes(frame[1..5].try_into().unwrap()), frame[5..].to_vec()))
    }

    /// Reads until the other side has ended; its last word, if that came.
    async fn ends(&mut self) -> Option<String> {
        let mut last = None;
        while let Some((kind, _, content)) = self.reads().await {
            last = (kind == 8).then(|| String::from_utf8(content).unwrap()).or(last);
        }
        last
    }
}

fn hello(is_page: bool) -> Vec<u8> {
    [&[1, u8::from(is_page)][..], CHAIN.as_bytes(), &[if is_page { 0 } else { 32 }, 0]].concat()
}

/// Waits until the server has closed the connection.
async fn closed(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    let ended = async { while matches!(stream.read(&mut buffer).await, Ok(1..)) {} };
    timeout(SOON, ended).await.expect("it is closed");
}

/// The reason with which `rogue` left the server's table.
async fn gone(server: &mut TcpNode, rogue: &Rogue) -> DisconnectReason {
    loop {
        match server.node.event().await {
            NetworkEvent::Disconnected { peer, reason } => {
                assert_eq!(peer, rogue.peer);
                return reason;
            }
            NetworkEvent::Connected { .. } => {}
        }
    }
}

#[tokio::test]
async fn whoever_is_silent_or_slow_in_the_handshake_holds_its_place_for_a_bounded_time() {
    let limits =
        QuicLimits { max_inbound_connections: 4, connect_timeout: Duration::from_millis(500), ..QuicLimits::default() };
    let mut server = TcpNode::new(limits, Some(Arc::new(echo())));
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(server.tcp).await.unwrap());
    }
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut first = Vec::new();
        Channel::dial(&SessionIdentity::from_secret(&[7; 32]), None, [7; 32], &mut first).unwrap();
        let (mut from, mut to) = TcpStream::connect(server.tcp).await.unwrap().into_split();
        tokio::spawn(async move {
            // The first message alone takes far longer than all of a handshake may.
            for byte in first {
                if to.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        slow.push(tokio::spawn(async move { while matches!(from.read(&mut [0; 9]).await, Ok(1..)) {} }));
    }
    for stream in &mut silent {
        closed(stream).await;
    }
    for ended in slow {
        timeout(SOON, ended).await.expect("it is closed").unwrap();
    }
    // Then there is room again.
    meet(&mut Node::asking(), &mut server).await;
    assert_eq!(server.node.network.links().len(), 1);
}

#[tokio::test]
async fn no_more_connections_than_there_is_room_for_on_both_listeners_together() {
    let limits = QuicLimits { max_inbound_connections: 2, ..QuicLimits::default() };
    let mut server = TcpNode::new(limits, Some(Arc::new(echo())));
    let (mut over_quic, mut over_tcp) = (Node::asking(), Node::asking());
    over_quic.meet(&mut server.node).await;
    meet(&mut over_tcp, &mut server).await;
    let more = Node::asking();
    assert!(more.network.connect_tcp(server.tcp, None, CHAIN).await.is_err());
    assert!(more.network.connect(server.node.address, None).await.is_err());
    over_tcp.network.disconnect(server.peer(), "done");
    let left = server.node.event().await;
    assert!(matches!(left, NetworkEvent::Disconnected { peer, .. } if peer == over_tcp.peer), "{left:?}");
    more.network.connect(server.node.address, None).await.unwrap();
}

#[tokio::test]
async fn single_bytes_are_no_sign_of_life() {
    let limits = QuicLimits { idle_timeout: Duration::from_secs(1), ..QuicLimits::default() };
    let mut server = TcpNode::new(limits, Some(Arc::new(echo())));
    let mut rogue = Rogue::greets(&server, 9, false).await;
    server.node.event().await;
    let frame = rogue.frame(ASK, 1, &[0; 8000]);
    let peer = rogue.peer;
    let drip = async {
        for byte in frame {
            if rogue.stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        // All of it would take minutes.
        () = drip => {}
        event = server.node.event() => {
            assert_eq!(event, NetworkEvent::Disconnected { peer, reason: DisconnectReason::TimedOut });
            return;
        }
    }
    let reason = gone(&mut server, &rogue).await;
    assert_eq!(reason, DisconnectReason::TimedOut);
}

#[tokio::test]
async fn whoever_breaks_a_rule_is_closed_with_the_reason_and_others_are_served() {
    let mut server = TcpNode::serving(echo());
    let mut honest = Node::asking();
    meet(&mut honest, &mut server).await;
    type Break = fn(&mut Rogue) -> Vec<u8>;
    let breaks: [(&str, Break); 5] = [
        ("a second Hello", |rogue| (0..1000).flat_map(|_| rogue.frame(HELLO, 0, &hello(false))).collect()),
        ("more open questions", |rogue| (1..=10_000).flat_map(|id| rogue.frame(ASK, id, b"ask")).collect()),
        ("not open", |rogue| rogue.frame(DATA, 1, &[1; 1000])),
        ("unknown type", |rogue| rogue.frame(77, 0, b"")),
        ("there may be 8213", |_| u32::MAX.to_le_bytes().to_vec()),
    ];
    for (secret, (words, bytes)) in (10..).zip(breaks) {
        let mut rogue = Rogue::greets(&server, secret, false).await;
        let peer = rogue.peer;
        let come = server.node.event().await;
        assert!(matches!(come, NetworkEvent::Connected { peer: known, .. } if known == peer), "{come:?}");
        let bytes = bytes(&mut rogue);
        let (mut from, mut to) = rogue.stream.into_split();
        let writing = tokio::spawn(async move {
            let _ = to.write_all(&bytes).await;
            to
        });
        let mut last = Vec::new();
        let _ = timeout(SOON, from.read_to_end(&mut last)).await.expect("it is closed");
        drop(writing.await);
        let NetworkEvent::Disconnected { peer: gone, reason } = server.node.event().await else { panic!("it is gone") };
        assert_eq!(gone, peer);
        assert!(matches!(&reason, DisconnectReason::Protocol(said) if said.contains(words)), "{words}: {reason}");
        let answer = timeout(SOON, honest.network.request(server.peer(), Bytes::from_static(b"me"), 10)).await.unwrap();
        assert_eq!(&answer.unwrap()[..], b"me");
    }
}

#[tokio::test]
async fn who_breaks_a_rule_hears_which() {
    let server = TcpNode::serving(echo());
    let mut rogue = Rogue::greets(&server, 9, false).await;
    rogue.sends(CANCEL, 1, &[1]).await;
    let last = rogue.ends().await.expect("there is a last word");
    assert!(last.contains("a question that is not open"), "{last}");
    // Of another chain, which is no fault.
    let mut rogue = Rogue::dial(&server, 9).await;
    rogue.sends(HELLO, 0, &[&[1, 0][..], &[7; 32], &[32, 0]].concat()).await;
    let last = rogue.ends().await.expect("there is a last word");
    assert!(last.contains("another chain"), "{last}");
}

#[tokio::test]
async fn pages_are_served_and_are_no_peers() {
    let mut server = TcpNode::serving(echo());
    let mut page = Rogue::greets(&server, 9, true).await;
    page.sends(ASK, 1, b"page?").await;
    assert_eq!(page.reads().await.unwrap().0, HELLO);
    loop {
        let (kind, id, content) = page.reads().await.unwrap();
        // Signs of life may come between.
        if kind != 6 {
            assert_eq!((kind, id, &content[..]), (3, 1, &b"page?"[..]));
            break;
        }
    }
    assert_eq!(server.node.network.links(), []);
    assert_eq!(server.node.network.connections(page.peer).0, 0);
    assert!(server.node.network.request(page.peer, Bytes::new(), 1).await.is_err());
    // A ban holds for it all the same.
    server.node.network.ban(page.peer, Duration::from_secs(60), "banned");
    assert_eq!(page.ends().await.as_deref(), Some("banned"));
    let mut again = Rogue::greets(&server, 9, true).await;
    assert_eq!(again.ends().await.as_deref(), Some("banned"));
    assert!(server.node.events.try_recv().is_err(), "nobody has heard of it");
}

#[tokio::test]
async fn a_reader_that_never_reads_holds_a_bounded_number_of_answers_over_tcp() {
    let made = Arc::new(AtomicUsize::new(0));
    let limits = QuicLimits {
        serve: ServeLimits { peer_memory: 4 << 20, ..ServeLimits::default() },
        slow_window: Duration::from_secs(1),
        ..QuicLimits::default()
    };
    // Larger than what the kernel takes of an answer on its own.
    const ANSWER: usize = 16 << 20;
    let count = Arc::clone(&made);
    let handler = HandlerFn::new(move |_, request: Bytes| {
        if request[0] == b'm' {
            return request;
        }
        count.fetch_add(1, Ordering::SeqCst);
        vec![1; ANSWER].into()
    });
    let mut server = TcpNode::new(limits, Some(Arc::new(handler)));
    let mut rogue = Rogue::greets(&server, 9, false).await;
    server.node.event().await;
    for id in 1..=32 {
        rogue.sends(ASK, id, b"give").await;
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    // Those that are made at the moment when the room is full come on top.
    let count = made.load(Ordering::SeqCst);
    assert!((1..=1 + limits.serve.max_running).contains(&count), "{count}: the others wait for their turn, unmade");
    let mut client = Node::asking();
    meet(&mut client, &mut server).await;
    let answer = timeout(SOON, client.network.request(server.peer(), Bytes::from_static(b"me"), 10)).await.unwrap();
    assert_eq!(&answer.unwrap()[..], b"me", "another peer is served meanwhile");
    // What is not read is given up, which the peer finds when it reads at last.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut resets = 0;
    while resets == 0 {
        let (kind, _, content) = rogue.reads().await.expect("the session goes on");
        if kind == 4 {
            assert_eq!(content, [4], "too slow");
            resets += 1;
        }
    }
}

#[test]
fn what_a_session_takes_is_said_and_less_than_a_connection_of_quic() {
    let limits = QuicLimits::default();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/design.md")).unwrap();
    let kib = limits.session_bound().div_ceil(1 << 10);
    assert!(page.contains(&format!("may take {kib} KiB")), "docs/design.md: it is {kib} KiB");
    // So the bound for all connections is the one that the page gives.
    let state = limits.session_bound();
    let with = |connections| QuicLimits { max_inbound_connections: connections, ..limits }.memory_bound();
    assert!(with(1) - with(0) >= state);
}
