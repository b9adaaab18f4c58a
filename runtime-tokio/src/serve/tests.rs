//! Answers of a handler, from a store that changes.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::Apply;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::wire::{Answer, PeerStatus, Refusal, Request};
use tokio::sync::{mpsc, watch};

use super::StoreHandler;
use crate::monitor::PrometheusMetrics;
use crate::net::{BoxFuture, Handler, Identity, Network as _, NetworkEvent, QuicLimits, QuicNetwork};
use crate::store::BlockStore as _;
use crate::test_world::{Store, World};
use crate::wrapper_tests::telltale::assert_forwards;
use crate::{PeerAddress, SyncBuilder};

const ASKER: PeerId = PeerId::from_bytes([7; 32]);

fn ask(handler: &impl Handler, request: &Request) -> Answer {
    Answer::decode(handler.handle(ASKER, request.encode().into())).unwrap()
}

fn tip(handler: &impl Handler) -> Height {
    let Answer::Data(status) = ask(handler, &Request::Status) else { panic!("there is a status") };
    postcard::from_bytes::<PeerStatus>(&status).unwrap().tip
}

#[test]
fn what_many_ask_for_is_kept_and_never_older_than_the_store() {
    let world = World::new();
    let store = Arc::new(world.create("growing"));
    store.put_handovers(world.chain.handovers()).unwrap();
    let handler = StoreHandler::new(Arc::clone(&store));
    let mut last = Height::ZERO;
    for part in world.chain.parts() {
        store.append(&Apply { target: Height::ZERO, parts: vec![part.clone()], tip: None }).unwrap();
        let before = handler.cache_stats();
        for _ in 0..5 {
            assert_eq!(tip(&handler), store.stored().height, "right after the change");
            let segment = Request::Segment {
                range: HeightRange::single(store.stored().height),
                certified: true,
                audit: false,
                bodies: 1 << 20,
            };
            assert!(matches!(ask(&handler, &segment), Answer::Data(_)));
        }
        let after = handler.cache_stats();
        assert!(store.stored().height > last);
        last = store.stored().height;
        // The second question makes it stay.
        assert!(after.hits - before.hits >= 6, "{after:?}");
    }
}

/// A store that grows right before somebody looks at it, that time.
struct Grows {
    store: Arc<Store>,
    looks: AtomicUsize,
    at: usize,
    more: Mutex<Option<Apply>>,
}

impl Deref for Grows {
    type Target = Store;

    fn deref(&self) -> &Store {
        if self.looks.fetch_add(1, Ordering::Relaxed) + 1 == self.at
            && let Some(more) = self.more.lock().unwrap().take()
        {
            self.store.append(&more).unwrap();
        }
        &self.store
    }
}

#[test]
fn a_change_in_the_middle_of_an_answer_is_not_missed_by_those_after_it() {
    let world = World::new();
    let apply = |part: usize| Apply { target: Height::ZERO, parts: vec![world.chain.parts()[part].clone()], tip: None };
    for at in 1..=12 {
        let store = Arc::new(world.create(&format!("grows-{at}")));
        store.put_handovers(world.chain.handovers()).unwrap();
        store.append(&apply(0)).unwrap();
        let more = Mutex::new(Some(apply(1)));
        let handler = StoreHandler::new(Grows { store: Arc::clone(&store), looks: AtomicUsize::new(0), at, more });
        for asked in 0..5 {
            let before = store.stored().height;
            assert!(tip(&handler) >= before, "it grew before look {at}; answer {asked} is older");
        }
    }
}

#[test]
fn what_is_not_there_is_asked_for_again() {
    let world = World::new();
    let store = Arc::new(world.create("growing"));
    let handler = StoreHandler::new(Arc::clone(&store));
    let request = Request::Tip;
    for _ in 0..5 {
        assert!(matches!(ask(&handler, &request), Answer::Refused(_)));
    }
    assert_eq!(handler.cache_stats().hits, 0);
    store.put_handovers(world.chain.handovers()).unwrap();
    store.append(&Apply { target: Height::ZERO, parts: world.chain.parts().to_vec(), tip: None }).unwrap();
    assert!(matches!(ask(&handler, &request), Answer::Data(_)));
}

#[test]
fn a_dropped_snapshot_is_not_served_from_the_cache() {
    let world = World::new();
    let store = Arc::new(world.full());
    let handler = StoreHandler::new(Arc::clone(&store));
    let before = store.version();
    for _ in 0..3 {
        ask(&handler, &Request::Status);
    }
    assert!(handler.cache_stats().hits > 0);
    let snapshots = store.snapshots();
    assert!(!snapshots.is_empty());
    for snapshot in snapshots {
        store.drop_snapshot(snapshot.height).unwrap();
    }
    assert!(store.version() > before);
    let Answer::Data(status) = ask(&handler, &Request::Status) else { panic!("there is a status") };
    assert_eq!(postcard::from_bytes::<PeerStatus>(&status).unwrap().snapshots, None);
}

/// Counts what is logged as an error.
struct Errors(Arc<AtomicUsize>);

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_server_that_cannot_read_tells_its_operator() {
    let world = World::new();
    let store = Arc::new(world.full());
    let segments = std::fs::read_dir(world.path("full/segments")).unwrap();
    let mut files: Vec<_> = segments.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let metrics = Arc::new(PrometheusMetrics::new());
    let counting = Arc::clone(&metrics);
    let handler = StoreHandler::new(Arc::clone(&store)).counting_failures(move || counting.store_read_failed());
    let status = |handler: &StoreHandler<_>| {
        let Answer::Data(status) = ask(handler, &Request::Status) else { panic!("there is a status") };
        postcard::from_bytes::<PeerStatus>(&status).unwrap()
    };
    assert_eq!(status(&handler).earliest, Height::new(1));
    // A bit of the bodies.
    let mut bytes = std::fs::read(&files[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&files[1], bytes).unwrap();

    let errors = Arc::new(AtomicUsize::new(0));
    let cell = HeightRange::new(Height::new(101), Height::new(200)).unwrap();
    let damaged = Request::Bodies { range: cell, max_bytes: 4 << 20 };
    tracing::subscriber::with_default(Errors(Arc::clone(&errors)), || {
        for _ in 0..5 {
            assert_eq!(ask(&handler, &damaged), Answer::Refused(Refusal::NotAvailable));
        }
    });
    assert_eq!(errors.load(Ordering::Relaxed), 1, "once, whoever asks how often");
    let text = metrics.render();
    assert!(text.contains("\nhs2_sync_store_read_errors_total 5\n"), "{text}");
    let known = store.damage().borrow().clone();
    assert!(known.len() == 1 && known[0].what.contains(files[1].to_str().unwrap()), "{known:?}");
    // The store claims no more than it has, and gives what it has.
    assert_eq!(status(&handler).earliest, cell.last().next());
    for range in [(1, 100), (201, 299)] {
        let range = HeightRange::new(Height::new(range.0), Height::new(range.1)).unwrap();
        assert!(matches!(ask(&handler, &Request::Bodies { range, max_bytes: 4 << 20 }), Answer::Data(_)), "{range}");
    }
}

#[test]
fn what_is_kept_is_cheap_and_what_is_read_is_not() {
    let world = World::new();
    let handler = StoreHandler::new(Arc::new(world.full()));
    let request =
        Request::Bodies { range: HeightRange::new(Height::new(1), Height::new(100)).unwrap(), max_bytes: 1 << 20 };
    let encoded: Bytes = request.encode().into();
    assert!(handler.cost(&encoded).work > 0);
    for _ in 0..2 {
        ask(&handler, &request);
    }
    assert_eq!(handler.cost(&encoded).work, 0);
    assert_eq!(handler.cost(&Bytes::from_static(b"no request")), Cost::default());
}

/// Answers as another does, and about blocks above a height only once it may.
struct Holding {
    inner: Arc<dyn Handler>,
    above: Height,
    may: watch::Receiver<bool>,
}

impl Handler for Holding {
    fn ready(&self, peer: PeerId, request: &Bytes) -> BoxFuture<'_, ()> {
        let inner = self.inner.ready(peer, request);
        let first = match Request::decode(request) {
            Ok(Request::Segment { range, .. } | Request::Bodies { range, .. }) => range.first(),
            Ok(Request::Follow { after, .. }) => after.next(),
            _ => Height::ZERO,
        };
        let mut may = self.may.clone();
        Box::pin(async move {
            if first > self.above {
                // Ends with the sender too.
                let _ = may.wait_for(|may| *may).await;
            }
            inner.await;
        })
    }

    fn cost(&self, request: &Bytes) -> Cost {
        self.inner.cost(request)
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        self.inner.busy(retry_after_ms)
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        self.inner.handle(peer, request)
    }
}

#[tokio::test]
async fn wrappers_forward_everything() {
    let (_may, held) = watch::channel(true);
    assert_forwards(|inner| Holding { inner, above: Height::ZERO, may: held }).await;
}

fn bind(handler: Option<Arc<dyn Handler>>) -> (Arc<QuicNetwork>, mpsc::Receiver<NetworkEvent>) {
    let address = "127.0.0.1:0".parse().unwrap();
    let limits = QuicLimits::default();
    let (network, events) = QuicNetwork::bind(address, Identity::generate().unwrap(), limits, handler).unwrap();
    (Arc::new(network), events)
}

/// Looks until `done`, for a minute.
async fn until(mut done: impl FnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_syncing_node_serves_what_it_has_verified_and_itself_first() {
    let world = World::new();
    let full = Arc::new(world.full());
    let first_epoch = HeightRange::new(Height::new(1), Height::new(99)).unwrap();
    let (may, held) = watch::channel(false);
    let source =
        Holding { inner: Arc::new(StoreHandler::new(Arc::clone(&full))), above: first_epoch.last(), may: held };
    let (source, _source_events) = bind(Some(Arc::new(source)));
    let store = Arc::new(world.create("late"));
    let (network, events) = bind(Some(Arc::new(StoreHandler::new(Arc::clone(&store)))));
    let handle =
        SyncBuilder::new(Arc::new(world.chain.chain()), Arc::clone(&store) as _, Arc::clone(&network) as _, events)
            .with_peers(vec![PeerAddress { address: source.local_addr().unwrap(), id: None }])
            .start()
            .unwrap();
    until(|| store.stored().height >= first_epoch.last()).await;
    // Its own sync goes first.
    until(|| network.serve_stats().percent == 50).await;

    let (asker, _asker_events) = bind(None);
    let peer = asker.connect(network.local_addr().unwrap(), None).await.unwrap();
    let bodies = Request::Bodies { range: first_epoch, max_bytes: 4 << 20 };
    let answer = asker.request(peer, bodies.encode().into(), 8 << 20).await.unwrap();
    let honest = StoreHandler::new(full);
    assert_eq!(answer, honest.handle(ASKER, bodies.encode().into()));
    assert!(matches!(Answer::decode(answer), Ok(Answer::Data(_))));
    let status = asker.request(peer, Request::Status.encode().into(), 8 << 10).await.unwrap();
    let Ok(Answer::Data(status)) = Answer::decode(status) else { panic!("there is a status") };
    assert!(postcard::from_bytes::<PeerStatus>(&status).unwrap().tip < Height::new(300), "it claims what it has");
    let unverified = Request::Bodies { range: HeightRange::single(Height::new(250)), max_bytes: 4 << 20 };
    let refused = asker.request(peer, unverified.encode().into(), 8 << 20).await.unwrap();
    assert!(matches!(Answer::decode(refused), Ok(Answer::Refused(_))));

    may.send(true).unwrap();
    until(|| store.stored().height == Height::new(300)).await;
    until(|| network.serve_stats().percent == 100).await;
    handle.shutdown().await;
}
