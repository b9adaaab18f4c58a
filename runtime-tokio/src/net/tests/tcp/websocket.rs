//! Pages: sessions in WebSockets, between honest ends, and against clients that break the rules below the session.

use futures_util::{SinkExt as _, StreamExt as _};
use hotstuff2_sync::session::{Role, Session, SessionConfig, SessionEvent, SessionIdentity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;

/// A node to which pages of these origins may come.
fn server(limits: QuicLimits, handler: impl Handler, origins: &[&str]) -> (Node, SocketAddr) {
    let node = Node::new(limits, Some(Arc::new(handler)));
    let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
    let at = node.network.listen_ws("127.0.0.1:0".parse().unwrap(), CHAIN, origins).unwrap();
    (node, at)
}

/// Opens a WebSocket as a page of `origin` does.
async fn open(at: SocketAddr, origin: Option<&str>) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = format!("ws://{at}/").into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    client_async(request, TcpStream::connect(at).await.unwrap()).await.map(|(socket, _)| socket)
}

/// A page with a session.
struct Page {
    socket: WebSocketStream<TcpStream>,
    session: Session,
}

impl Page {
    async fn dial(at: SocketAddr, secret: u8) -> Self {
        let config = SessionConfig { chain: CHAIN, role: Role::Page, max_asks: 0 };
        let session = Session::dial(&SessionIdentity::from_secret(&[secret; 32]), None, config, [secret; 32]).unwrap();
        Self { socket: open(at, None).await.unwrap(), session }
    }

    /// The next event; the session's end, if there is none.
    async fn event(&mut self) -> Result<SessionEvent, String> {
        loop {
            let mut out = Vec::new();
            self.session.poll_bytes(&mut out, 8 << 10);
            // Cut where no frame ends.
            for piece in out.chunks(1000) {
                self.socket.send(Message::Binary(piece.to_vec().into())).await.map_err(|error| error.to_string())?;
            }
            if let Some(event) = self.session.poll_event() {
                return Ok(event);
            }
            if let Some(error) = self.session.over() {
                return Err(error.to_string());
            }
            match timeout(SOON, self.socket.next()).await.expect("it goes on or ends") {
                Some(Ok(Message::Binary(bytes))) => drop(self.session.handle_bytes(&bytes)),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err("closed".to_owned()),
                Some(Ok(_)) => {}
            }
        }
    }

    async fn ask(&mut self, request: &'static [u8], limit: usize) -> Result<SessionEvent, String> {
        self.session.ask(Bytes::from_static(request), limit).unwrap();
        self.event().await
    }
}

#[tokio::test]
async fn a_page_asks_over_a_websocket_and_is_no_peer() {
    let answer = |_, request: Bytes| if request == "long" { vec![7; 3_000_000].into() } else { request };
    let (mut node, at) = server(QuicLimits::default(), HandlerFn::new(answer), &[]);
    let mut page = Page::dial(at, 5).await;
    let open = page.event().await.unwrap();
    assert!(matches!(open, SessionEvent::Open { peer, .. } if peer == node.peer), "{open:?}");
    let Ok(SessionEvent::Answer { bytes, .. }) = page.ask(b"how?", 10).await else { panic!("there is an answer") };
    assert_eq!(&bytes[..], b"how?");
    let Ok(SessionEvent::Answer { bytes, .. }) = page.ask(b"long", 3_000_000).await else { panic!("and a long one") };
    assert_eq!((bytes.len(), bytes.iter().all(|&byte| byte == 7)), (3_000_000, true));
    // A ping of the WebSocket's own is answered too.
    page.socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    let pong = loop {
        match timeout(SOON, page.socket.next()).await.expect("it is answered") {
            Some(Ok(Message::Binary(bytes))) => drop(page.session.handle_bytes(&bytes)),
            other => break other,
        }
    };
    assert!(matches!(&pong, Some(Ok(Message::Pong(bytes))) if bytes == "there?"), "{pong:?}");
    assert_eq!(node.network.links(), []);
    assert!(node.events.try_recv().is_err(), "the machine hears nothing of pages");
}

#[tokio::test]
async fn a_ban_holds_for_pages() {
    let (node, at) = server(QuicLimits::default(), echo(), &[]);
    let mut page = Page::dial(at, 6).await;
    page.event().await.unwrap();
    node.network.ban(SessionIdentity::from_secret(&[6; 32]).peer_id(), Duration::from_secs(600), "banned");
    let end = page.event().await.unwrap_err();
    assert!(end.contains("banned"), "{end}");
    let mut again = Page::dial(at, 6).await;
    let end = loop {
        if let Err(end) = again.event().await {
            break end;
        }
    };
    assert!(end.contains("banned"), "{end}");
    Page::dial(at, 7).await.event().await.expect("another key is let in");
}

#[tokio::test]
async fn pages_of_other_origins_are_turned_away() {
    let (_node, at) = server(QuicLimits::default(), echo(), &["https://wallet.example"]);
    for origin in ["https://wallet.example.evil", "http://wallet.example", "null"] {
        let refused = open(at, Some(origin)).await.unwrap_err();
        assert!(matches!(&refused, Error::Http(answer) if answer.status() == 403), "{origin}: {refused}");
    }
    open(at, Some("https://wallet.example")).await.expect("the named one is let in");
    open(at, None).await.expect("who has no origin is no page");
}

#[tokio::test]
async fn whoever_breaks_the_rules_of_a_websocket_is_closed() {
    let limits =
        QuicLimits { max_inbound_connections: 1, connect_timeout: Duration::from_secs(1), ..QuicLimits::default() };
    let (_node, at) = server(limits, echo(), &[]);
    let closed = |mut socket: WebSocketStream<TcpStream>| async move {
        let ended = async { while let Some(Ok(_)) = socket.next().await {} };
        timeout(SOON, ended).await.expect("it is closed");
    };
    // The place is free again a moment after each: there is one alone.
    let come = || async {
        loop {
            match open(at, None).await {
                Ok(socket) => return socket,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    for message in [Message::Text("hello".into()), Message::Binary(vec![0; 16_385].into())] {
        let mut socket = timeout(SOON, come()).await.expect("there is room");
        // The socket may be closed before all is written.
        let _ = socket.send(message).await;
        closed(socket).await;
    }
    // Opened, and then silent.
    closed(timeout(SOON, come()).await.expect("there is room")).await;
    // No WebSocket at all, and one that never ends its first line.
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /"] {
        drop(timeout(SOON, come()).await.expect("there is room"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut stream = TcpStream::connect(at).await.unwrap();
        let _ = stream.write_all(request.as_bytes()).await;
        let ended = async { while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {} };
        timeout(SOON, ended).await.expect("it is closed");
    }
    timeout(SOON, come()).await.expect("there is room at the end");
}

#[tokio::test]
async fn a_page_that_never_reads_holds_one_answer() {
    let made = Arc::new(AtomicUsize::new(0));
    let limits = QuicLimits { slow_window: Duration::from_secs(1), ..QuicLimits::default() };
    let count = Arc::clone(&made);
    let handler = HandlerFn::new(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        // Larger than what the kernel takes on its own.
        vec![1; 16 << 20].into()
    });
    let (_node, at) = server(limits, handler, &[]);
    let mut page = Page::dial(at, 8).await;
    page.event().await.unwrap();
    page.session.ask(Bytes::from_static(b"give"), 16 << 20).unwrap();
    let mut out = Vec::new();
    page.session.poll_bytes(&mut out, 1 << 20);
    page.socket.send(Message::Binary(out.into())).await.unwrap();
    while made.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    // The answer was given up meanwhile, which the page finds when it reads at last.
    let event = page.event().await.unwrap();
    assert!(matches!(event, SessionEvent::Reset { .. }), "{event:?}");
}
