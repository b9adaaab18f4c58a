//! A network without sockets, for tests on a paused clock: who is there and what they answer is the test's to say.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use tokio::time::Instant;

use crate::net::{BoxFuture, ConnectError, Network, PeerLink, ResponseError};

/// What a peer answers to a request, of which it may send so many bytes; `None` where it never does.
type Answers = dyn Fn(PeerId, Bytes, usize) -> Option<Result<Bytes, ResponseError>> + Send + Sync;

/// Peers by what they answer.
pub(crate) struct TestNetwork {
    answers: Box<Answers>,
    pub(crate) links: Mutex<Vec<PeerLink>>,
    /// Who turns out to be connected when anyone is dialled.
    pub(crate) comes: Mutex<Option<PeerLink>>,
    /// Who is where. Dials of other addresses are never answered; all are given up at once while this is `None`.
    pub(crate) places: Mutex<Option<HashMap<SocketAddr, PeerId>>>,
    /// What was dialled, and when.
    pub(crate) dials: Mutex<Vec<(SocketAddr, Instant)>>,
    pub(crate) banned: Mutex<Vec<PeerId>>,
}

impl TestNetwork {
    pub(crate) fn new(
        answers: impl Fn(PeerId, Bytes, usize) -> Option<Result<Bytes, ResponseError>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            answers: Box::new(answers),
            links: Mutex::default(),
            comes: Mutex::default(),
            places: Mutex::default(),
            dials: Mutex::default(),
            banned: Mutex::default(),
        }
    }
}

impl Network for TestNetwork {
    fn local_peer(&self) -> PeerId {
        PeerId::from_bytes([0xff; 32])
    }

    fn connect(&self, address: SocketAddr, _: Option<PeerId>) -> BoxFuture<'static, Result<PeerId, ConnectError>> {
        self.dials.lock().unwrap().push((address, Instant::now()));
        if let Some(places) = &*self.places.lock().unwrap() {
            let Some(&peer) = places.get(&address) else { return Box::pin(std::future::pending()) };
            self.links.lock().unwrap().push(PeerLink { peer, address, dialled: true });
            return Box::pin(std::future::ready(Ok(peer)));
        }
        let come = self.comes.lock().unwrap().take();
        self.links.lock().unwrap().extend(come);
        let after = Duration::ZERO;
        Box::pin(async move { come.map(|link| link.peer).ok_or(ConnectError::Timeout { address, after }) })
    }

    fn verify(&self, address: SocketAddr, _: PeerId) -> BoxFuture<'static, Result<(), ConnectError>> {
        Box::pin(async move { Err(ConnectError::Timeout { address, after: Duration::ZERO }) })
    }

    fn links(&self) -> Vec<PeerLink> {
        self.links.lock().unwrap().clone()
    }

    fn port(&self) -> Option<u16> {
        None
    }

    fn request(&self, peer: PeerId, request: Bytes, most: usize) -> BoxFuture<'static, Result<Bytes, ResponseError>> {
        let answer = (self.answers)(peer, request, most);
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }

    fn disconnect(&self, peer: PeerId, _: &str) {
        self.links.lock().unwrap().retain(|link| link.peer != peer);
    }

    fn ban(&self, peer: PeerId, _: Duration, _: &str) {
        self.banned.lock().unwrap().push(peer);
    }

    fn lift_ban(&self, peer: PeerId) {
        self.banned.lock().unwrap().retain(|banned| *banned != peer);
    }

    fn set_serving_percent(&self, _: u8) {}

    fn wire_bytes_received(&self) -> u64 {
        0
    }

    fn wire_bytes_received_from(&self, _: PeerId) -> u64 {
        0
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}
