use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::wire::Request;

use super::*;
use crate::net::Handler;

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
        "hs2_sync_busy_micros_total{peer=\"000000010707\"} 1000000",
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
        monitor.record_peer_failure(&id, PeerFailureType::Banned);
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
    for name in
        ["received_bytes_total", "busy_micros_total", "latency_seconds_count", "errors_total", "peer_failures_total"]
    {
        let found = lines(&text, &format!("hs2_sync_{name}"));
        assert!(found <= MAX_PEER_LABELS + 1, "{found} of {name}");
    }
    assert!(text.contains(&format!("peer=\"{}\"", &peer(2_999).to_string()[..12])), "the newest has a label");
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
    }
    SyncPerformanceMonitor::new(Arc::new(Nothing)).record_peer_latency(&peer(1), Duration::ZERO);
}

#[test]
fn counting_what_is_served_changes_nothing_of_it() {
    struct Dear;
    impl Handler for Dear {
        fn cost(&self, _: &Bytes) -> Cost {
            Cost { bytes: 7, work: 9 }
        }

        fn busy(&self, _: u32) -> Bytes {
            Bytes::from_static(b"busy")
        }

        fn handle(&self, _: PeerId, request: Bytes) -> Bytes {
            request
        }
    }
    let metrics = Arc::new(PrometheusMetrics::new());
    let metered = MeteredHandler::new(Arc::new(Dear), Arc::clone(&metrics));
    let request: Bytes = Request::Tip.encode().into();
    assert_eq!(metered.cost(&request), Cost { bytes: 7, work: 9 }, "what is let in depends on it");
    assert_eq!(metered.busy(1), "busy");
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
        let answer = ask(address, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.contains("hs2_sync_errors_total{type=\"halt\",peer=\"\"} 1\n"), "{body}");
        assert!(ask(address, b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(address, b"POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
        assert!(ask(address, b"HEAD /metrics HTTP/1.1\r\n\r\n").ends_with("close\r\n\r\n"));
        assert!(ask(address, b"hello\r\n\r\n").starts_with("HTTP/1.1 400"));
        assert!(ask(address, b"GET /metrics HTTP/1.1\r\n").starts_with("HTTP/1.1 400"), "cut off");
        assert!(ask(address, &vec![b'x'; MAX_LONG]).starts_with("HTTP/1.1 400"), "endless");
    })
    .await
    .unwrap();
}

/// As long as a head may be.
const MAX_LONG: usize = 8 << 10;
