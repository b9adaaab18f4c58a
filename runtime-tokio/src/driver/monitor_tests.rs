//! What the monitor is told: each failure once, of those whose failure it is, and times that mean what they say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hotstuff2_sync::calls::HostError;
use hotstuff2_sync::chain::Fault;
use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::{Event, HaltReason, Progress, RequestFailure, StallReason, StallStep};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::Instant;
use hotstuff2_sync::verify::{Job, Task};
use hotstuff2_sync::wire::{Refusal, Request, encode_answer, encode_refusal};
use hotstuff2_sync_testkit::chain::{ChainSpec, TestChain};
use hotstuff2_sync_testkit::world as testkit;
use tokio::sync::mpsc;

use super::observe::{self, Asked};
use super::{SyncBuilder, SyncEvent, SyncHandle};
use crate::monitor::{MAX_PEER_LABELS, SyncStage};
use crate::net::{DisconnectReason, Handler as _, Network, NetworkEvent, ResponseError};
use crate::test_network::TestNetwork;
use crate::test_world::{Broken, World};
use crate::{Application, MetricsCollector, PeerFailureType, StoreHandler, SyncErrorType, SyncPerformanceMonitor};

const PEER: PeerId = PeerId::from_bytes([3; 32]);

/// Writes down what it is told, but for figures.
#[derive(Default)]
struct Noted {
    times: Mutex<Vec<String>>,
    failures: Mutex<Vec<&'static str>>,
    forgotten: Mutex<Vec<String>>,
}

impl Noted {
    fn failures(&self) -> Vec<&'static str> {
        self.failures.lock().unwrap().clone()
    }

    fn times(&self) -> Vec<String> {
        std::mem::take(&mut *self.times.lock().unwrap())
    }
}

impl MetricsCollector for Noted {
    fn duration(&self, stage: SyncStage, height: u64, _: Duration) {
        self.times.lock().unwrap().push(format!("{} {height}", stage.name()));
    }

    fn bandwidth(&self, _: &str, bytes: u64, took: Duration) {
        self.times.lock().unwrap().push(format!("{bytes} bytes{}", if took.is_zero() { " in no time" } else { "" }));
    }

    fn latency(&self, _: &str, _: Duration) {
        self.times.lock().unwrap().push("latency".to_owned());
    }

    fn error(&self, error: SyncErrorType, _: Option<&str>) {
        self.failures.lock().unwrap().push(error.name());
    }

    fn peer_failure(&self, _: &str, failure: PeerFailureType) {
        self.failures.lock().unwrap().push(failure.name());
    }

    fn progress(&self, _: &Progress) {}

    fn forget_peer(&self, peer: &str) {
        self.forgotten.lock().unwrap().push(peer.to_owned());
    }
}

/// A node that catches up over `network`, with a peer.
struct Node {
    handle: SyncHandle,
    noted: Arc<Noted>,
    news: mpsc::Sender<NetworkEvent>,
    world: World,
}

impl Node {
    async fn start(
        answers: impl Fn(&World) -> TestNetwork,
        config: SyncConfig,
        application: Option<Box<dyn Application>>,
    ) -> Self {
        let world = World::new();
        let network: Arc<dyn Network> = Arc::new(answers(&world));
        let (news, events) = mpsc::channel(8);
        let noted = Arc::new(Noted::default());
        let mut builder =
            SyncBuilder::new(Arc::new(world.chain.chain()), Arc::new(world.create("late")) as _, network, events)
                .with_config(config)
                .with_monitor(SyncPerformanceMonitor::new(Arc::clone(&noted) as _));
        if let Some(application) = application {
            builder = builder.with_application(application);
        }
        let handle = builder.start().unwrap();
        news.send(NetworkEvent::Connected { peer: PEER, address: ([9, 9, 9, 9], 7).into() }).await.unwrap();
        Self { handle, noted, news, world }
    }
}

/// Longer than anything here takes on a busy machine.
async fn until(mut holds: impl FnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap();
}

/// Nobody answers; says how often somebody was asked.
fn silent(asked: &Arc<AtomicUsize>) -> impl Fn(&World) -> TestNetwork + use<> {
    let asked = Arc::clone(asked);
    move |_| {
        let asked = Arc::clone(&asked);
        TestNetwork::new(move |_, _, _| {
            asked.fetch_add(1, Ordering::Relaxed);
            None
        })
    }
}

#[tokio::test]
async fn a_peer_that_goes_with_a_question_open_has_failed_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let node = Node::start(silent(&asked), SyncConfig::default(), None).await;
    until(|| asked.load(Ordering::Relaxed) > 0).await;
    let reason = DisconnectReason::Local("gone".into());
    node.news.send(NetworkEvent::Disconnected { peer: PEER, reason }).await.unwrap();
    until(|| !node.noted.failures().is_empty()).await;
    node.handle.shutdown().await;
    assert_eq!(node.noted.failures(), ["disconnected"]);
}

#[tokio::test]
async fn a_stop_is_no_peers_failure() {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut node = Node::start(silent(&asked), SyncConfig::default(), None).await;
    until(|| asked.load(Ordering::Relaxed) > 0).await;
    node.handle.stop();
    while !matches!(node.handle.next_event().await, Some(SyncEvent::Stopped { .. })) {}
    node.handle.start(None);
    until(|| asked.load(Ordering::Relaxed) > 1).await;
    node.handle.shutdown().await;
    assert!(node.noted.failures().is_empty(), "{:?}", node.noted.failures());
}

#[tokio::test]
async fn who_says_nothing_is_given_up() {
    let asked = Arc::new(AtomicUsize::new(0));
    let config = SyncConfig { peer_timeout: Duration::from_millis(200), ..SyncConfig::default() };
    let node = Node::start(silent(&asked), config, None).await;
    until(|| node.noted.failures().contains(&"given_up")).await;
    node.handle.shutdown().await;
}

#[tokio::test]
async fn an_application_that_fails_is_one_error_and_the_halt_another() {
    let full = |world: &World| {
        let full = StoreHandler::new(Arc::new(world.full()));
        TestNetwork::new(move |peer, request, _| {
            // Nothing new to follow: it waits, as peers do.
            let follows = matches!(Request::decode(&request), Ok(Request::Follow { .. }));
            (!follows).then(|| Ok::<_, ResponseError>(full.handle(peer, request)))
        })
    };
    let node = Node::start(full, SyncConfig::default(), Some(Box::new(Broken))).await;
    until(|| node.noted.failures().contains(&"halt")).await;
    node.handle.shutdown().await;
    assert_eq!(node.noted.failures(), ["application", "halt"]);
    let times = node.noted.times();
    for stage in ["download 1", "validation 1", "application", "latency"] {
        assert!(times.iter().any(|time| time.starts_with(stage)), "{stage} in {times:?}");
    }
    drop(node.world);
}

#[test]
fn times_of_answers_mean_what_they_say() {
    let noted = Arc::new(Noted::default());
    let monitor = SyncPerformanceMonitor::new(Arc::clone(&noted) as _);
    let answered = |request: &Request, answer: Result<Bytes, RequestFailure>| {
        let asked = Asked::new(monitor.clone(), PEER, request);
        std::thread::sleep(Duration::from_millis(1));
        asked.answered(&answer);
        noted.times()
    };
    let data = || Ok(Bytes::from(encode_answer(0)));
    let range = HeightRange::new(Height::new(7), Height::new(9)).unwrap();
    let bodies = Request::Bodies { range, max_bytes: 1 };
    assert_eq!(answered(&bodies, data()), ["1 bytes", "download 7"]);
    // A refusal brings no blocks, however fast.
    let refused = encode_refusal(Refusal::NotAvailable);
    let bytes = format!("{} bytes", refused.len());
    assert_eq!(answered(&bodies, Ok(refused)), [bytes]);
    assert_eq!(answered(&Request::Tip, data()), ["1 bytes", "latency"]);
    // It was held until there was something to say.
    let follow = Request::Follow { after: Height::new(1), max_bytes: 1, audit: false };
    assert_eq!(answered(&follow, data()), ["1 bytes in no time"]);
    assert!(noted.failures().is_empty());
    assert_eq!(answered(&bodies, Err(RequestFailure::Oversize)), [""; 0]);
    assert_eq!(answered(&bodies, Err(RequestFailure::Broken)), [""; 0]);
    assert_eq!(noted.failures(), ["oversize", "broken"]);
}

#[tokio::test]
async fn the_label_of_who_has_gone_longest_is_free_and_of_who_came_back_is_not() {
    let asked = Arc::new(AtomicUsize::new(0));
    let node = Node::start(silent(&asked), SyncConfig::default(), None).await;
    let peer = |number: usize| PeerId::from_bytes([100 + u8::try_from(number).unwrap(); 32]);
    let news = &node.news;
    let come =
        |number: usize| news.send(NetworkEvent::Connected { peer: peer(number), address: ([9, 9, 9, 9], 7).into() });
    let go = |number: usize| {
        let reason = DisconnectReason::Local("gone".into());
        news.send(NetworkEvent::Disconnected { peer: peer(number), reason })
    };
    for number in 0..MAX_PEER_LABELS {
        come(number).await.unwrap();
        go(number).await.unwrap();
    }
    come(0).await.unwrap();
    come(MAX_PEER_LABELS).await.unwrap();
    go(MAX_PEER_LABELS).await.unwrap();
    until(|| !node.noted.forgotten.lock().unwrap().is_empty()).await;
    node.handle.shutdown().await;
    assert_eq!(*node.noted.forgotten.lock().unwrap(), [&peer(1).to_string()[..12]]);
}

#[test]
fn what_the_machine_says_is_noted_once() {
    let noted = Arc::new(Noted::default());
    let monitor = SyncPerformanceMonitor::new(Arc::clone(&noted) as _);
    let (since, next) = (Instant::ZERO, Instant::ZERO);
    for (event, failures) in [
        (Event::Banned { peer: PEER, fault: Fault::Malformed }, &["banned", "invalid_answer"][..]),
        (Event::Stalled { reason: StallReason::NoPeers, since, step: StallStep::AwaitPeer, next }, &["stall"]),
        (Event::SuspectSelf { fault: Fault::Malformed, groups: 3 }, &["suspect_self"]),
        (Event::Halted(HaltReason::Store(HostError::Permanent)), &["halt"]),
        (Event::Resumed, &[]),
    ] {
        noted.failures.lock().unwrap().clear();
        observe::event(&monitor, &event);
        assert_eq!(noted.failures(), failures, "{event:?}");
    }
}

#[test]
fn a_job_is_timed_by_its_blocks_and_one_that_panicked_is_an_error() {
    let noted = Arc::new(Noted::default());
    let monitor = SyncPerformanceMonitor::new(Arc::clone(&noted) as _);
    let jobs: Arc<Mutex<Vec<Job>>> = Arc::default();
    let seen = Arc::clone(&jobs);
    let chain = TestChain::with_payloads(ChainSpec { blocks: 3000, ..ChainSpec::default() }, 3000, None).unwrap();
    let mut sync = testkit::World::new(chain, SyncConfig::default()).unwrap();
    sync.tamper = Some(Box::new(move |job, verdict| {
        seen.lock().unwrap().push(job.clone());
        verdict
    }));
    sync.join(1, testkit::Honest::default());
    sync.start();
    assert!(sync.run_to_tip(Duration::from_secs(600)));
    let mut kinds = [0; 3];
    for job in jobs.lock().unwrap().iter() {
        let (kind, first) = match job.task() {
            Task::Segment { claim, .. } | Task::Follow { claim, .. } => (0, Some(claim.range.first())),
            Task::Bodies { range, .. } => (1, Some(range.first())),
            _ => (2, None),
        };
        kinds[kind] += 1;
        observe::job(&monitor, job, Duration::from_millis(1), true);
        assert_eq!(noted.times(), Vec::from_iter(first.map(|first| format!("validation {first}"))));
        observe::job(&monitor, job, Duration::from_millis(1), false);
        assert_eq!(noted.times(), [""; 0]);
        assert_eq!(std::mem::take(&mut *noted.failures.lock().unwrap()), ["verification"]);
    }
    assert!(kinds.iter().all(|&count| count > 0), "{kinds:?}");
}
