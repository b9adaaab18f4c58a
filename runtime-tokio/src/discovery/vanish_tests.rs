//! All peers go away in the middle of a sync, and come back elsewhere.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::{Event, StallReason};
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};
use tokio::time::timeout;

use super::*;
use crate::net::{BoxFuture, Handler, Identity, Network, QuicLimits, QuicNetwork};
use crate::test_world::{Store, World};
use crate::wrapper_tests::telltale::assert_forwards;
use crate::{StoreHandler, SyncBuilder, SyncEvent, SyncHandle};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// The last block that is given before the peers go.
const GIVEN: Height = Height::new(100);
/// The chain's last block.
const TIP: Height = Height::new(300);

/// Answers as another does, without the blocks above a height.
struct UpTo {
    inner: Arc<dyn Handler>,
    height: Height,
}

impl Handler for UpTo {
    fn ready(&self, peer: PeerId, request: &Bytes) -> BoxFuture<'_, ()> {
        self.inner.ready(peer, request)
    }

    fn cost(&self, request: &Bytes) -> Cost {
        self.inner.cost(request)
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        self.inner.busy(retry_after_ms)
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        match Request::decode(&request) {
            Ok(Request::Segment { range, .. } | Request::Bodies { range, .. }) if range.last() > self.height => {
                encode_refusal(Refusal::NotAvailable)
            }
            _ => self.inner.handle(peer, request),
        }
    }
}

#[tokio::test]
async fn wrappers_forward_everything() {
    assert_forwards(|inner| UpTo { inner, height: Height::ZERO }).await;
}

fn settings(bootstrap: Vec<BootstrapPeer>) -> DiscoverySettings {
    DiscoverySettings {
        bootstrap,
        retry_interval: Duration::from_millis(300),
        exchange_interval: Duration::from_millis(600),
        trial_interval: Duration::from_millis(10),
        ..DiscoverySettings::default()
    }
}

fn config() -> SyncConfig {
    SyncConfig {
        default_strategy: SyncStrategyType::Parallel,
        connection_timeout: Duration::from_secs(1),
        stall_after: Duration::from_millis(300),
        status_interval: Duration::from_millis(100),
        ..SyncConfig::default()
    }
}

struct Server {
    network: Arc<dyn Network>,
    address: SocketAddr,
    _task: DiscoveryTask,
}

/// Serves `store` up to a height. A port that was just given up may not be free at once.
async fn serve(
    key: &Path,
    listen: SocketAddr,
    store: &Arc<Store>,
    height: Height,
    bootstrap: Vec<BootstrapPeer>,
) -> Server {
    loop {
        let discovery = Discovery::new(AddressBook::new(3), settings(bootstrap.clone()));
        let inner = Arc::new(UpTo { inner: Arc::new(StoreHandler::new(Arc::clone(store))), height });
        let handler = Arc::new(discovery.handler(inner));
        let identity = Identity::load_or_generate(key).unwrap();
        match QuicNetwork::bind(listen, identity, QuicLimits::default(), Some(handler)) {
            Ok((network, mut events)) => {
                let address = network.local_addr().unwrap();
                let network: Arc<dyn Network> = Arc::new(network);
                let task = discovery.start(&network, &config(), Vec::new(), |_| ());
                tokio::spawn(async move {
                    while events.recv().await.is_some() {
                        discovery.wake();
                    }
                });
                return Server { network, address, _task: task };
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn next(handle: &mut SyncHandle) -> SyncEvent {
    timeout(SOON, handle.next_event()).await.expect("an event comes").expect("the sync runs")
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = timeout(SOON, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_peers_vanish_and_come_back_elsewhere() {
    let world = World::new();
    let store = Arc::new(world.full());
    let any = "127.0.0.1:0".parse().unwrap();
    let key = |name: &str| -> PathBuf { world.path(name) };
    let first = serve(&key("first.key"), any, &store, GIVEN, Vec::new()).await;
    let second = serve(&key("second.key"), any, &store, GIVEN, vec![first.address.into()]).await;
    let (first_at, second_at, second_id) = (first.address, second.address, second.network.local_peer());

    // The node is told of the first by name, and hears of the second.
    let name: BootstrapPeer = format!("localhost:{}", first_at.port()).parse().unwrap();
    let discovery = Discovery::new(AddressBook::new(5), settings(vec![name]));
    let (network, events) = QuicNetwork::bind(any, Identity::generate().unwrap(), QuicLimits::default(), None).unwrap();
    let network: Arc<dyn Network> = Arc::new(network);
    let late = Arc::new(world.create("late"));
    let mut handle = SyncBuilder::new(Arc::new(world.chain.chain()), late, Arc::clone(&network), events)
        .with_config(config())
        .with_discovery(discovery.clone())
        .start()
        .unwrap();
    let progress = handle.progress();
    until("the first blocks are there", || progress.borrow().current >= GIVEN).await;
    until("it knows the second", || discovery.snapshot().peers().any(|(id, _)| id == second_id)).await;

    for server in [first, second] {
        server.network.close().await;
    }
    until("nobody is left", || network.links().is_empty()).await;
    loop {
        match next(&mut handle).await {
            SyncEvent::Machine(Event::Stalled { reason: StallReason::NoPeers, .. }) => break,
            SyncEvent::Machine(Event::Reached(point)) => panic!("{point:?} was not given"),
            _ => {}
        }
    }

    let first = serve(&key("first.key"), first_at, &store, TIP, Vec::new()).await;
    let second = serve(&key("second.key"), any, &store, TIP, vec![first.address.into()]).await;
    assert!(second.address != second_at && second.network.local_peer() == second_id);
    let mut resumed = false;
    loop {
        match next(&mut handle).await {
            SyncEvent::Machine(Event::Resumed) => resumed = true,
            SyncEvent::Machine(Event::Reached(point)) => {
                assert_eq!(point.height, TIP);
                break;
            }
            _ => {}
        }
    }
    assert!(resumed);
    let is_back = || network.links().iter().any(|link| link.peer == second_id && link.address == second.address);
    until("the second is found where it is now", is_back).await;
    // The book hears of it a moment after the connection is there.
    let is_first = || {
        let book = discovery.snapshot();
        book.peers().any(|(id, entry)| id == second_id && entry.addresses[0].address == second.address)
    };
    until("the book has its new address first", is_first).await;
    handle.shutdown().await;
}
