//! Connections over TCP until they are known: accepting, dialling and the handshake, within bounds of number and time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::Handshake;
use hotstuff2_sync::session::{Hello, Role, Session, SessionConfig, SessionError, SessionEvent};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::super::address::{canonical, group_of};
use super::super::common::Common;
use super::super::connection::Connection;
use super::super::error::{ConnectError, DisconnectReason};
use super::super::families;
use super::super::inbound::Slot;
use super::line::Line;
use super::task;
use super::websocket::{Origins, WebSocket};

/// Pause after the system refused to accept a connection, as it does where there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The form in which a listener's sessions come.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// The session's bytes alone.
    Plain,
    /// In messages of a WebSocket, opened by pages of these origins.
    WebSocket(Origins),
}

/// A listening socket at `address`.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(families::listen(address)?)
}

/// Lets peers in for ever.
pub(super) async fn accept(common: Arc<Common>, listener: TcpListener, chain: Hash, form: Form) {
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "no connection could be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone at once");
            continue;
        }
        // Dropped, a connection is closed. Who is here has proven its address, as TCP does.
        let address = canonical(address);
        let Some(slot) = common.inbound.take(address.ip()) else { continue };
        if common.service.handshake(group_of(address), true) != Handshake::Begin {
            continue;
        }
        let common = Arc::clone(&common);
        match &form {
            Form::Plain => {
                let (asks, opened) = (common.limits.session_asks(), async { Ok(stream) });
                tokio::spawn(welcome(common, opened, address, (chain, asks), slot));
            }
            Form::WebSocket(origins) => {
                let (asks, origins) = (common.limits.page_asks(), Arc::clone(origins));
                let opened = async move { WebSocket::accept(stream, &origins).await };
                tokio::spawn(welcome(common, opened, address, (chain, asks), slot));
            }
        }
    }
}

/// Serves the session in the stream that `opened` gives.
async fn welcome<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    common: Arc<Common>,
    opened: impl Future<Output = io::Result<S>>,
    address: SocketAddr,
    (chain, max_asks): (Hash, u16),
    slot: Slot,
) {
    let session = match config(chain, max_asks).and_then(|(config, seed)| {
        let identity = common.identity.session()?;
        Session::accept(&identity, config, seed)
    }) {
        Ok(session) => session,
        Err(error) => {
            tracing::warn!(%address, %error, "a session could not be begun");
            return;
        }
    };
    let shaken = async { shake(opened.await?, session).await };
    match timeout(common.limits.connect_timeout, shaken).await {
        Ok(Ok(shaken)) => {
            if let Err(error) = establish(common, shaken, address, Some(slot)).await {
                tracing::debug!(%error, "a peer was turned away");
            }
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "a handshake failed"),
        Err(_) => tracing::debug!(%address, "a handshake took too long"),
    }
}

/// Connects to `address`, and enters who is there.
pub(super) async fn connect(
    common: Arc<Common>,
    address: SocketAddr,
    expected: Option<PeerId>,
    chain: Hash,
) -> Result<(PeerId, Option<Arc<Line>>), ConnectError> {
    if let Some(peer) = expected
        && common.is_there(address, peer)?
    {
        return Ok((peer, None));
    }
    let bad = |error: SessionError| ConnectError::BadAddress { address, reason: error.to_string() };
    let (config, seed) = config(chain, common.limits.session_asks()).map_err(bad)?;
    let identity = common.identity.session().map_err(bad)?;
    let session = Session::dial(&identity, expected, config, seed).map_err(bad)?;
    let after = common.limits.connect_timeout;
    let dial = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        shake(stream, session).await
    };
    let refused = |reason| ConnectError::Refused { address, reason };
    let shaken = match timeout(after, dial).await {
        Err(_) => return Err(ConnectError::Timeout { address, after }),
        Ok(Err(Failed::Session(error))) => {
            return Err(match error {
                SessionError::WrongPeer { expected, found } => ConnectError::WrongPeer { address, expected, found },
                SessionError::OwnKey => ConnectError::OwnKey { address },
                other => refused(DisconnectReason::from(&other)),
            });
        }
        Ok(Err(Failed::Line(error))) => return Err(refused(DisconnectReason::Protocol(error.to_string()))),
        Ok(Ok(shaken)) => shaken,
    };
    if shaken.hello.role == Role::Page {
        return Err(refused(DisconnectReason::Protocol("a page, which answers nobody".into())));
    }
    let (peer, line) = establish(common, shaken, address, None).await?;
    Ok((peer, Some(line)))
}

/// What this node says of itself, and fresh randomness.
fn config(chain: Hash, max_asks: u16) -> Result<(SessionConfig, [u8; 32]), SessionError> {
    let mut seed = [0; 32];
    // A system without randomness has no secrets.
    SystemRandom::new().fill(&mut seed).map_err(|_| SessionError::Handshake)?;
    Ok((SessionConfig { chain, role: Role::Node, max_asks }, seed))
}

/// A connection whose peer is known.
struct Shaken<S> {
    stream: S,
    session: Session,
    peer: PeerId,
    hello: Hello,
}

/// Why a handshake has failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Session(SessionError),
    #[error(transparent)]
    Line(#[from] io::Error),
}

/// Reads and writes until the peer has said who it is.
async fn shake<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, mut session: Session) -> Result<Shaken<S>, Failed> {
    let (mut out, mut buffer) = (Vec::new(), vec![0; 4096]);
    loop {
        session.poll_bytes(&mut out, 1);
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        if let Some(error) = session.over() {
            return Err(Failed::Session(error.clone()));
        }
        match session.poll_event() {
            Some(SessionEvent::Open { peer, hello }) => return Ok(Shaken { stream, session, peer, hello }),
            // There is none before it.
            Some(_) => {}
            None if session.wants_write() => {}
            None => match stream.read(&mut buffer).await? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                count => {
                    // The last word, if there is one, is written first.
                    let _ = session.handle_bytes(buffer.get(..count).unwrap_or_default());
                }
            },
        }
    }
}

/// Enters a connection whose handshake is done, and serves it from then on.
async fn establish<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    common: Arc<Common>,
    shaken: Shaken<S>,
    address: SocketAddr,
    slot: Option<Slot>,
) -> Result<(PeerId, Arc<Line>), ConnectError> {
    let Shaken { stream, session, peer, hello } = shaken;
    let line = Line::new(session, address);
    let connection = Connection::Tcp(Arc::clone(&line));
    let admitted = common.admit(peer, hello.role, &connection, slot.is_none()).await;
    let driven = Arc::clone(&line);
    let entered = admitted.is_ok();
    // Also where it was not admitted: then there is a last word.
    tokio::spawn(async move {
        let first = driven.lock().events();
        let reason = task::run(&common, &driven, stream, peer, group_of(address), first).await;
        // The slot is free as soon as the connection is, whether or not the driver keeps up.
        drop(slot);
        if entered {
            common.remove(peer, hello.role, connection.id(), reason).await;
        }
    });
    admitted.map(|()| (peer, line))
}
