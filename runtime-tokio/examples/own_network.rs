//! A network of one's own: it moves opaque bytes, and vouches for who is at the other end. This one is a function call.
//!
//! `cargo run -p hotstuff2-sync-tokio --example own_network`

mod peer;

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::machine::Event;
use hotstuff2_sync_tokio::net::{BoxFuture, ConnectError, Handler, Network, NetworkEvent, PeerLink, ResponseError};
use hotstuff2_sync_tokio::store::{DiskStore, StoreAnchor};
use hotstuff2_sync_tokio::{StoreHandler, SyncBuilder, SyncEvent};

const ME: PeerId = PeerId::from_bytes([1; 32]);
const THEM: PeerId = PeerId::from_bytes([2; 32]);

/// The way to one peer, whose handler is called on a thread that may block.
struct Call {
    handler: Arc<dyn Handler>,
    received: Arc<AtomicU64>,
}

impl Network for Call {
    fn local_peer(&self) -> PeerId {
        ME
    }

    fn connect(&self, _: SocketAddr, _: Option<PeerId>) -> BoxFuture<'static, Result<PeerId, ConnectError>> {
        Box::pin(ready(Ok(THEM)))
    }

    fn verify(&self, _: SocketAddr, _: PeerId) -> BoxFuture<'static, Result<(), ConnectError>> {
        Box::pin(ready(Ok(())))
    }

    fn links(&self) -> Vec<PeerLink> {
        vec![PeerLink { peer: THEM, address: peer::HERE, dialled: true }]
    }

    fn port(&self) -> Option<u16> {
        None
    }

    fn request(&self, peer: PeerId, request: Bytes, limit: usize) -> BoxFuture<'static, Result<Bytes, ResponseError>> {
        let (handler, received) = (Arc::clone(&self.handler), Arc::clone(&self.received));
        Box::pin(async move {
            handler.ready(ME, &request).await;
            let answer = tokio::task::spawn_blocking(move || handler.handle(ME, request)).await;
            let answer = answer.map_err(|_| ResponseError::NotConnected { peer })?;
            received.fetch_add(answer.len().min(limit) as u64, Ordering::Relaxed);
            if answer.len() > limit { Err(ResponseError::Oversize { peer, limit }) } else { Ok(answer) }
        })
    }

    // This peer stays, whatever it does; a real network hangs up, and keeps the banned out in both directions.
    fn disconnect(&self, _: PeerId, _: &str) {}
    fn ban(&self, _: PeerId, _: Duration, _: &str) {}
    fn lift_ban(&self, _: PeerId) {}
    fn set_serving_percent(&self, _: u8) {}

    fn wire_bytes_received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn wire_bytes_received_from(&self, _: PeerId) -> u64 {
        self.wire_bytes_received()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        Box::pin(ready(()))
    }
}

#[tokio::main]
pub(crate) async fn main() -> peer::Outcome {
    let peer = peer::Peer::start()?;
    let handler = Arc::new(StoreHandler::new(Arc::clone(&peer.store)));
    let network: Arc<dyn Network> = Arc::new(Call { handler, received: Arc::default() });
    let chain = Arc::new(peer.chain.chain());
    let anchor = StoreAnchor::from(peer.chain.genesis());
    let store = Arc::new(DiskStore::create(&peer.folder.path().join("node"), Arc::clone(&chain), &anchor)?);
    // The network tells who comes and goes, in order, and lets go of the sender when it is closed.
    let (news, events) = tokio::sync::mpsc::channel(16);
    news.send(NetworkEvent::Connected { peer: THEM, address: peer::HERE }).await?;
    let mut sync = SyncBuilder::new(chain, store, Arc::clone(&network), events).start()?;
    while let Some(event) = sync.next_event().await {
        if let SyncEvent::Machine(Event::Reached(at)) = event {
            println!("reached height {}", at.height);
            assert_eq!(at.height, peer.chain.tip_height());
            break;
        }
    }
    let end = sync.shutdown().await;
    println!("{} bytes came, {} of them useful", network.wire_bytes_received(), end.progress.useful_bytes);
    Ok(())
}
