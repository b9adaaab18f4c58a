use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::Bytes;
use hotstuff2_sync::config::SyncStrategyType;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::{Bottleneck, PeerReport, Progress, Stall, StallReason, StallStep};
use hotstuff2_sync::peers::PeerHealth;
use hotstuff2_sync::progress::Eta;
use hotstuff2_sync::time::{Instant, UnixMillis};
use hotstuff2_sync::wire::{Refusal, Request, encode_refusal};

use super::*;
use crate::http::HttpBounds;
use crate::net::{Handler as _, HandlerFn};
use crate::wall_clock;

fn peer(number: u32) -> PeerId {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(bytes)
}

fn lines(text: &str, start: &str) -> usize {
    text.lines().filter(|line| line.starts_with(start)).count()
}

#[test]
fn everything_that_is_recorded_is_shown() {
    let metrics = Arc::new(PrometheusMetrics::new());
    let monitor = SyncPerformanceMonitor::new(Arc::clone(&metrics) as _);
    let second = Duration::from_secs(1);
    monitor.record_block_download_time(1, second);
    monitor.record_block_validation_time(1, second);
    monitor.record_block_validation_time(2, second);
    monitor.record_state_application_time(3, second);
    monitor.record_bandwidth_usage(&peer(1), 1_000, second);
    monitor.record_peer_latency(&peer(1), second);
    monitor.record_sync_error(SyncErrorType::Stall, None);
    monitor.record_sync_error(SyncErrorType::InvalidAnswer, Some(&peer(1)));
    monitor.record_peer_failure(&peer(1), PeerFailureType::Banned);
    let text = metrics.render();
    for line in [
        "hs2_sync_stage_seconds_count{stage=\"download\"} 1",
        "hs2_sync_stage_seconds_count{stage=\"validation\"} 2",
        "hs2_sync_stage_seconds_sum{stage=\"application\"} 1.0",
        "hs2_sync_received_bytes_total{peer=\"000000010707\"} 1000",
        "hs2_sync_busy_seconds_total{peer=\"000000010707\"} 1.0",
        "hs2_sync_latency_seconds_count{peer=\"000000010707\"} 1",
        "hs2_sync_errors_total{type=\"stall\",peer=\"\"} 1",
        "hs2_sync_errors_total{type=\"invalid_answer\",peer=\"000000010707\"} 1",
        "hs2_sync_peer_failures_total{peer=\"000000010707\",type=\"banned\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_thousand_liars_make_nothing_grow() {
    let metrics = Arc::new(PrometheusMetrics::new());
    let monitor = SyncPerformanceMonitor::new(Arc::clone(&metrics) as _);
    let fail = |number| {
        let id = peer(number);
        monitor.record_bandwidth_usage(&id, 10, Duration::ZERO);
        monitor.record_peer_latency(&id, Duration::ZERO);
        monitor.record_sync_error(SyncErrorType::InvalidAnswer, Some(&id));
        PeerFailureType::ALL.into_iter().for_each(|failure| monitor.record_peer_failure(&id, failure));
        id
    };
    // All at once: those beyond the limit share a label.
    for number in 0..1_000 {
        fail(number);
    }
    let text = metrics.render();
    assert_eq!(lines(&text, "hs2_sync_received_bytes_total"), MAX_PEER_LABELS + 1);
    assert!(
        text.contains(&format!("hs2_sync_received_bytes_total{{peer=\"other\"}} {}", 10 * (1_000 - MAX_PEER_LABELS)))
    );
    // One after the other: who comes takes the place of who has gone.
    (0..MAX_PEER_LABELS as u32).for_each(|number| monitor.forget_peer(&peer(number)));
    for number in 2_000..3_000 {
        let id = fail(number);
        monitor.forget_peer(&id);
    }
    let text = metrics.render();
    for (name, of_each) in [
        ("received_bytes_total", 1),
        ("busy_seconds_total", 1),
        ("latency_seconds_count", 1),
        ("errors_total", 1),
        ("peer_failures_total", PeerFailureType::ALL.len()),
    ] {
        let found = lines(&text, &format!("hs2_sync_{name}"));
        // Errors that name no peer are shown from the start.
        let without = if name == "errors_total" { SyncErrorType::ALL.len() } else { 0 };
        assert_eq!(found, (MAX_PEER_LABELS + 1) * of_each + without, "{name}");
    }
    assert!(text.contains(&format!("peer=\"{}\"", &peer(2_999).to_string()[..12])), "the newest has a label");
}

fn report(number: u32, connected: bool) -> PeerReport {
    PeerReport {
        id: peer(number),
        group: 1,
        connected,
        active: connected,
        in_flight: 0,
        bytes_per_second: None,
        latency: Duration::ZERO,
        reliability_ppm: 0,
        health: PeerHealth::Healthy,
        blocks: 0,
        bytes: 0,
        false_answers: 0,
        unanswered: 0,
        banned: None,
    }
}

fn progress(eta: Option<Eta>, stall: Option<Stall>, bottleneck: Bottleneck) -> Progress {
    Progress {
        start: Height::new(1),
        current: Height::new(20),
        target: Height::new(300),
        tip_time: stall.is_none().then(|| UnixMillis::new(wall_clock().get() - 100_500)),
        claimed: None,
        strategy: SyncStrategyType::Parallel,
        state: None,
        blocks_per_second: 7,
        remaining: eta.map(|eta| eta.likely),
        eta,
        stall,
        bottleneck,
        idle: Duration::ZERO,
        payload_bytes: 0,
        useful_bytes: 0,
        duplicate_bytes: 0,
        strays: 0,
        quorum_checks: 5,
        buffered_bytes: 1000,
        peak_buffered_bytes: 0,
        budget_bytes: 0,
        standing_by: 0,
        peers: vec![report(1, true), report(2, false), report(3, true)],
    }
}

#[test]
fn progress_is_shown_as_it_is_now() {
    let metrics = PrometheusMetrics::new();
    let second = Duration::from_secs(1);
    let eta = Eta { low: second, likely: 2 * second, high: None };
    metrics.progress(&progress(Some(eta), None, Bottleneck::Peers));
    let text = metrics.render();
    let age: f64 = text.lines().find_map(|line| line.strip_prefix("hs2_sync_tip_age_seconds ")?.parse().ok()).unwrap();
    assert!(age >= 100.5, "{text}");
    let shows = |text: &str, line: &str| assert!(text.lines().any(|found| found == line), "{line} in {text}");
    for line in [
        "hs2_sync_height 20",
        "hs2_sync_target_height 300",
        "hs2_sync_blocks_per_second 7",
        "hs2_sync_buffered_bytes 1000",
        "hs2_sync_quorum_checks_total 5",
        "hs2_sync_peers_connected 2",
        "hs2_sync_stalled 0",
        "hs2_sync_stall_reason{reason=\"no_peers\"} 0",
        "hs2_sync_stall_reason{reason=\"disk_full\"} 0",
        "hs2_sync_eta_seconds{bound=\"low\"} 1.0",
        "hs2_sync_eta_seconds{bound=\"likely\"} 2.0",
        "hs2_sync_eta_seconds{bound=\"high\"} NaN",
        "hs2_sync_bottleneck{class=\"peers\"} 1",
    ] {
        shows(&text, line);
    }
    // Nothing of it stays.
    let stall = Stall {
        reason: StallReason::NoPeers,
        since: Instant::ZERO,
        step: StallStep::AwaitPeer,
        deadline: Instant::ZERO,
    };
    metrics.progress(&progress(None, Some(stall), Bottleneck::Apply));
    let text = metrics.render();
    for line in [
        "hs2_sync_stalled 1",
        "hs2_sync_tip_age_seconds NaN",
        "hs2_sync_stall_reason{reason=\"no_peers\"} 1",
        "hs2_sync_stall_reason{reason=\"disk_full\"} 0",
        "hs2_sync_eta_seconds{bound=\"low\"} NaN",
        "hs2_sync_eta_seconds{bound=\"likely\"} NaN",
        "hs2_sync_bottleneck{class=\"peers\"} 0",
        "hs2_sync_bottleneck{class=\"apply\"} 1",
    ] {
        shows(&text, line);
    }
}

#[test]
fn collectors_of_any_kind_fit() {
    struct Nothing;
    impl MetricsCollector for Nothing {
        fn duration(&self, _: SyncStage, _: u64, _: Duration) {}
        fn bandwidth(&self, _: &str, _: u64, _: Duration) {}
        fn latency(&self, _: &str, _: Duration) {}
        fn error(&self, _: SyncErrorType, _: Option<&str>) {}
        fn peer_failure(&self, _: &str, _: PeerFailureType) {}
        fn progress(&self, _: &Progress) {}
        fn forget_peer(&self, _: &str) {}
    }
    SyncPerformanceMonitor::new(Arc::new(Nothing)).record_peer_latency(&peer(1), Duration::ZERO);
}

#[test]
fn counting_what_is_served_changes_nothing_of_it() {
    let metrics = Arc::new(PrometheusMetrics::new());
    let metered = MeteredHandler::new(Arc::new(HandlerFn::new(|_, request| request)), Arc::clone(&metrics));
    let request: Bytes = Request::Tip.encode().into();
    assert_eq!(metered.busy(1), encode_refusal(Refusal::Busy { retry_after_ms: 1 }));
    assert_eq!(metered.handle(peer(1), request.clone()), request);
    let text = metrics.render();
    assert!(text.contains("hs2_sync_served_requests_total{kind=\"any\",outcome=\"busy\"} 1\n"), "{text}");
    assert!(text.contains(&format!("hs2_sync_served_bytes_total{{kind=\"tip\"}} {}\n", request.len())), "{text}");
}

fn ask(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_served_and_nothing_else_is() {
    let metrics = Arc::new(PrometheusMetrics::new());
    metrics.error(SyncErrorType::Halt, None);
    let server = serve_metrics("127.0.0.1:0".parse().unwrap(), metrics).await.unwrap();
    let address = server.local_addr();
    tokio::task::spawn_blocking(move || {
        let answer =
            ask(address, b"GET /metrics HTTP/1.1\r\nHost: here\r\nAccept: application/openmetrics-text;q=0.9\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.contains("hs2_sync_errors_total{type=\"halt\",peer=\"\"} 1\n"), "{body}");
        assert!(body.ends_with("# EOF\n"), "{body}");
        let older = ask(address, b"GET /metrics HTTP/1.1\r\n\r\n");
        assert!(older.contains("version=0.0.4") && !older.contains("# EOF"), "{older}");
        assert!(older.contains("# TYPE hs2_sync_errors_total counter\n"), "{older}");
        assert!(ask(address, b"GET /healthz HTTP/1.1\r\n\r\n").ends_with("\r\n\r\nok\n"));
        let ready = ask(address, b"GET /readyz HTTP/1.1\r\n\r\n");
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("just begun"), "{ready}");
        assert!(ask(address, b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(address, b"POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
        assert!(ask(address, b"HEAD /metrics HTTP/1.1\r\n\r\n").ends_with("close\r\n\r\n"));
        assert!(ask(address, b"hello\r\n\r\n").starts_with("HTTP/1.1 400"));
        assert!(ask(address, b"GET /metrics HTTP/1.1\r\n").starts_with("HTTP/1.1 400"), "cut off");
        // Not ended: it is answered for its length alone.
        let mut endless = TcpStream::connect(address).unwrap();
        endless.write_all(&vec![b'x'; MAX_LONG]).unwrap();
        let mut answer = String::new();
        endless.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_hung_up_on() {
    let metrics = Arc::new(PrometheusMetrics::new());
    let server = serve_metrics("127.0.0.1:0".parse().unwrap(), metrics).await.unwrap();
    let mut silent = TcpStream::connect(server.local_addr()).unwrap();
    silent.set_nonblocking(true).unwrap();
    let begin = tokio::time::Instant::now();
    let mut nothing = [0; 1];
    while silent.read(&mut nothing).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) {
        assert!(begin.elapsed() < 2 * http::BOUNDS.patience, "it waits for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_starve_no_scrape() {
    let metrics = Arc::new(PrometheusMetrics::new());
    // Nobody is hung up on for being slow: without room for those who ask this never ends.
    let bounds = HttpBounds { patience: Duration::from_secs(1 << 20), ..http::BOUNDS };
    let server = http::serve("127.0.0.1:0".parse().unwrap(), metrics, bounds).await.unwrap();
    let address = server.local_addr();
    tokio::task::spawn_blocking(move || {
        let connect = || TcpStream::connect(address).unwrap();
        let mut idle: Vec<TcpStream> = Vec::new();
        for _ in 0..4 {
            idle.extend((0..50).map(|_| connect()));
            assert!(ask(address, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
        }
        assert!(idle.len() > 3 * http::BOUNDS.at_once);
    })
    .await
    .unwrap();
}

#[test]
fn a_node_is_ready_when_it_has_caught_up_with_a_fresh_tip() {
    let metrics = PrometheusMetrics::new();
    let not_ready = |part: &str| {
        let reason = metrics.ready().unwrap_err();
        assert!(reason.contains(part), "{reason}");
    };
    not_ready("just begun");
    metrics.progress(&progress(None, None, Bottleneck::Peers));
    not_ready("at height 20 of 300");
    let there = Progress { current: Height::new(300), ..progress(None, None, Bottleneck::Peers) };
    metrics.progress(&there);
    metrics.ready().unwrap();
    metrics.set_max_tip_age(Duration::from_secs(60));
    not_ready("more than max_tip_age allows");
    metrics.set_max_tip_age(Duration::from_secs(1 << 30));
    metrics.ready().unwrap();
    metrics.progress(&Progress { peers: Vec::new(), ..there.clone() });
    not_ready("no peer");
    let reason = StallReason::DiskFull;
    let stall = Stall { reason, since: Instant::ZERO, step: StallStep::AwaitPeer, deadline: Instant::ZERO };
    metrics.progress(&Progress { stall: Some(stall), ..there });
    not_ready("the disk is full");
    metrics.serves(Height::new(7), None, 3);
    metrics.ready().unwrap();
    let text = metrics.render();
    assert!(text.contains("hs2_sync_height 7\n") && text.contains("hs2_sync_peers_connected 3\n"), "{text}");
}

#[test]
fn counters_are_there_before_anything_has_happened() {
    let text = PrometheusMetrics::new().render();
    for line in [
        "hs2_sync_errors_total{type=\"halt\",peer=\"\"} 0",
        "hs2_sync_store_read_errors_total 0",
        "hs2_sync_stall_reason{reason=\"disk_full\"} 0",
        "hs2_sync_served_requests_total{kind=\"segment\",outcome=\"data\"} 0",
        "hs2_sync_stage_seconds_count{stage=\"download\"} 0",
        concat!("hs2_sync_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.contains("process_cpu_seconds_total ") && text.contains("process_open_fds "), "{text}");
}

#[tokio::test]
async fn a_server_that_is_dropped_lets_go_of_its_address() {
    let metrics = Arc::new(PrometheusMetrics::new());
    let server = serve_metrics("127.0.0.1:0".parse().unwrap(), Arc::clone(&metrics)).await.unwrap();
    let address = server.local_addr();
    drop(server);
    while serve_metrics(address, Arc::clone(&metrics)).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// As long as a head may be.
const MAX_LONG: usize = 8 << 10;
