//! The network over real sockets on loopback: `talk` between honest nodes, `hostile` against peers that break the rules,
//! `keys` against those that are not who they say, `pieces` against datagrams that cost too much, `tcp` over sessions.

mod hostile;
mod keys;
mod pieces;
mod talk;
mod tcp;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{BoxFuture, Handler, HandlerFn, Identity, Network as _, NetworkEvent, QuicLimits, QuicNetwork};
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::wire::{Refusal, encode_refusal};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(20);

struct Node {
    network: QuicNetwork,
    events: mpsc::Receiver<NetworkEvent>,
    address: SocketAddr,
    peer: PeerId,
}

impl Node {
    fn new(limits: QuicLimits, handler: Option<Arc<dyn Handler>>) -> Self {
        Self::with(Identity::generate().unwrap(), "127.0.0.1:0".parse().unwrap(), limits, handler)
    }

    fn with(identity: Identity, address: SocketAddr, limits: QuicLimits, handler: Option<Arc<dyn Handler>>) -> Self {
        let (network, events) = QuicNetwork::bind(address, identity, limits, handler).unwrap();
        let (address, peer) = (network.local_addr().unwrap(), network.local_peer());
        Self { network, events, address, peer }
    }

    fn serving(handler: impl Handler) -> Self {
        Self::new(QuicLimits::default(), Some(Arc::new(handler)))
    }

    fn asking() -> Self {
        Self::new(QuicLimits::default(), None)
    }

    async fn event(&mut self) -> NetworkEvent {
        timeout(SOON, self.events.recv()).await.expect("an event comes").expect("the network is open")
    }

    /// Dials `other` and waits until both know.
    async fn meet(&mut self, other: &mut Self) {
        assert_eq!(self.network.connect(other.address, Some(other.peer)).await.unwrap(), other.peer);
        assert_eq!(self.event().await, NetworkEvent::Connected { peer: other.peer, address: other.address });
        assert_eq!(other.event().await, NetworkEvent::Connected { peer: self.peer, address: self.address });
    }
}

/// Answers with the request.
fn echo() -> impl Handler {
    HandlerFn::new(|_, request| request)
}

/// Answers with this many bytes.
fn fill(bytes: usize) -> impl Handler {
    HandlerFn::new(move |_, _| vec![0x5a; bytes].into())
}

/// Waits before it answers; says when it starts to wait and when the waiting is dropped.
struct Waits {
    started: mpsc::UnboundedSender<()>,
    dropped: mpsc::UnboundedSender<()>,
}

struct OnDrop(mpsc::UnboundedSender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Handler for Waits {
    fn ready(&self, _peer: PeerId, _request: &Bytes) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let _guard = OnDrop(self.dropped.clone());
            let _ = self.started.send(());
            std::future::pending::<()>().await;
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

/// Counts how many requests are answered at the same time.
#[derive(Default)]
struct Counts {
    now: AtomicUsize,
    most: Arc<Mutex<usize>>,
}

impl Handler for Counts {
    fn ready(&self, _peer: PeerId, _request: &Bytes) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            {
                let mut most = self.most.lock().unwrap();
                *most = now.max(*most);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.now.fetch_sub(1, Ordering::SeqCst);
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
