//! [`PrometheusMetrics`]: a collector that shows its figures in the text format that Prometheus reads (OpenMetrics 1.0).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hotstuff2_sync::machine::{Bottleneck, Progress, StallReason};
use hotstuff2_sync::time::UnixMillis;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::collector::{MetricsCollector, PeerFailureType, SyncErrorType, SyncStage};
use crate::wall_clock;

/// One label, or two.
type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;
type FloatGauge = Gauge<f64, AtomicU64>;

const BOTTLENECKS: [(Bottleneck, &str); 4] = [
    (Bottleneck::Network, "network"),
    (Bottleneck::Verify, "verify"),
    (Bottleneck::Apply, "apply"),
    (Bottleneck::Peers, "peers"),
];

const ETAS: [&str; 3] = ["low", "likely", "high"];

/// From a tenth of a millisecond to some 25 seconds, each bucket four times the one before.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 10))
}

fn peer(label: &str) -> Labels {
    vec![("peer", label.to_owned())]
}

/// Figures of a sync, as Prometheus reads them.
#[derive(Debug)]
pub struct PrometheusMetrics {
    registry: Registry,
    stages: Histograms,
    received: Counters,
    busy_micros: Counters,
    latency: Histograms,
    errors: Counters,
    failures: Counters,
    height: Gauge,
    target: Gauge,
    rate: Gauge,
    eta: Family<Labels, FloatGauge>,
    buffered: Gauge,
    peers: Gauge,
    quorum_checks: Gauge,
    bottleneck: Family<Labels, Gauge>,
    stalled: Gauge,
    stall_reason: Family<Labels, Gauge>,
    tip_age: FloatGauge,
    /// What the age of the tip is counted from, in milliseconds since 1970; zero where it is not known.
    tip_time: AtomicU64,
    served: Counters,
    served_bytes: Counters,
    serving: Histograms,
    read_errors: Counter,
}

impl Default for PrometheusMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl PrometheusMetrics {
    /// No figures yet.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("hs2_sync");
        let histograms = || Histograms::new_with_constructor(seconds as fn() -> Histogram);
        let metrics = Self {
            registry: Registry::default(),
            stages: histograms(),
            received: Counters::default(),
            busy_micros: Counters::default(),
            latency: histograms(),
            errors: Counters::default(),
            failures: Counters::default(),
            height: Gauge::default(),
            target: Gauge::default(),
            rate: Gauge::default(),
            eta: Family::default(),
            buffered: Gauge::default(),
            peers: Gauge::default(),
            quorum_checks: Gauge::default(),
            bottleneck: Family::default(),
            stalled: Gauge::default(),
            stall_reason: Family::default(),
            tip_age: FloatGauge::default(),
            tip_time: AtomicU64::new(0),
            served: Counters::default(),
            served_bytes: Counters::default(),
            serving: histograms(),
            read_errors: Counter::default(),
        };
        let m = &metrics;
        registry.register_with_unit(
            "stage",
            "Time that a stage takes for one answer or batch",
            Unit::Seconds,
            m.stages.clone(),
        );
        registry.register_with_unit("received", "Bytes of answers, by peer", Unit::Bytes, m.received.clone());
        registry.register(
            "busy_micros",
            "Microseconds from requests to the last bytes of their answers, by peer",
            m.busy_micros.clone(),
        );
        registry.register_with_unit(
            "latency",
            "Time to the answer of a small question, by peer",
            Unit::Seconds,
            m.latency.clone(),
        );
        registry.register("errors", "What stopped or delayed the sync", m.errors.clone());
        registry.register("peer_failures", "How peers failed", m.failures.clone());
        registry.register("height", "Height that is stored and executed", m.height.clone());
        registry.register("target_height", "Highest proven height", m.target.clone());
        registry.register("blocks_per_second", "Blocks a second over the last seconds", m.rate.clone());
        registry.register_with_unit(
            "eta",
            "Time that is left; NaN where there is no estimate",
            Unit::Seconds,
            m.eta.clone(),
        );
        registry.register_with_unit("buffered", "The memory budget in use", Unit::Bytes, m.buffered.clone());
        registry.register("peers_connected", "Connected peers", m.peers.clone());
        registry.register("quorum_checks", "Certificates that were checked", m.quorum_checks.clone());
        registry.register("bottleneck", "What the sync waits for most: 1 for that, else 0", m.bottleneck.clone());
        registry.register("stalled", "1 while nothing moves, else 0", m.stalled.clone());
        registry.register("stall_reason", "Why nothing moves: 1 for that, else 0", m.stall_reason.clone());
        registry.register_with_unit(
            "tip_age",
            "Age of the highest proven block by this machine's clock; NaN where its time is not known",
            Unit::Seconds,
            m.tip_age.clone(),
        );
        registry.register("served_requests", "Requests that this node answered", m.served.clone());
        registry.register_with_unit("served", "Bytes of this node's answers", Unit::Bytes, m.served_bytes.clone());
        registry.register_with_unit("serving", "Time that making an answer takes", Unit::Seconds, m.serving.clone());
        registry.register(
            "store_read_errors",
            "Requests for what this node's store claims and can't read",
            m.read_errors.clone(),
        );
        Self { registry, ..metrics }
    }

    /// This node answered a request of a kind, of which there are few.
    pub(super) fn served(&self, kind: &'static str, outcome: &'static str, bytes: u64, took: Duration) {
        let by_kind = vec![("kind", kind.to_owned())];
        self.served.get_or_create(&vec![("kind", kind.to_owned()), ("outcome", outcome.to_owned())]).inc();
        self.served_bytes.get_or_create(&by_kind).inc_by(bytes);
        self.serving.get_or_create(&by_kind).observe(took.as_secs_f64());
    }

    /// The store could not be read for a request.
    pub fn store_read_failed(&self) {
        self.read_errors.inc();
    }

    /// A request was turned away before anything was made for it: the node is busy.
    pub(super) fn turned_away(&self) {
        self.served.get_or_create(&vec![("kind", "any".to_owned()), ("outcome", "busy".to_owned())]).inc();
    }

    /// All figures as text.
    pub fn render(&self) -> String {
        let age = match self.tip_time.load(Ordering::Relaxed) {
            0 => f64::NAN,
            time => wall_clock().since(UnixMillis::new(time)).as_secs_f64(),
        };
        self.tip_age.set(age);
        let mut text = String::new();
        // Writing into a string has no way to fail but a metric that can't be encoded, of which there is none.
        if encode(&mut text, &self.registry).is_err() {
            let _ = text.write_str("# EOF\n");
        }
        text
    }
}

fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl MetricsCollector for PrometheusMetrics {
    fn duration(&self, stage: SyncStage, _: u64, took: Duration) {
        self.stages.get_or_create(&vec![("stage", stage.name().to_owned())]).observe(took.as_secs_f64());
    }

    fn bandwidth(&self, label: &str, bytes: u64, took: Duration) {
        let labels = peer(label);
        self.received.get_or_create(&labels).inc_by(bytes);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.busy_micros.get_or_create(&labels).inc_by(micros);
    }

    fn latency(&self, label: &str, latency: Duration) {
        self.latency.get_or_create(&peer(label)).observe(latency.as_secs_f64());
    }

    fn error(&self, error: SyncErrorType, label: Option<&str>) {
        let labels = vec![("type", error.name().to_owned()), ("peer", label.unwrap_or_default().to_owned())];
        self.errors.get_or_create(&labels).inc();
    }

    fn peer_failure(&self, label: &str, failure: PeerFailureType) {
        let labels = vec![("peer", label.to_owned()), ("type", failure.name().to_owned())];
        self.failures.get_or_create(&labels).inc();
    }

    fn progress(&self, progress: &Progress) {
        self.height.set(int(progress.current.get()));
        self.target.set(int(progress.target.get()));
        self.rate.set(int(progress.blocks_per_second));
        self.buffered.set(int(progress.buffered_bytes));
        self.quorum_checks.set(int(progress.quorum_checks));
        self.peers.set(int(progress.peers.iter().filter(|peer| peer.connected).count() as u64));
        self.tip_time.store(progress.tip_time.map_or(0, UnixMillis::get), Ordering::Relaxed);
        self.stalled.set(i64::from(progress.stall.is_some()));
        let reason = progress.stall.map(|stall| stall.reason.name());
        for &(_, name) in StallReason::CODES {
            let labels = vec![("reason", name.to_owned())];
            self.stall_reason.get_or_create(&labels).set(i64::from(reason == Some(name)));
        }
        let times = [
            progress.eta.map(|eta| eta.low),
            progress.eta.map(|eta| eta.likely),
            progress.eta.and_then(|eta| eta.high),
        ];
        for (bound, time) in ETAS.into_iter().zip(times) {
            let time = time.map_or(f64::NAN, |time| time.as_secs_f64());
            self.eta.get_or_create(&vec![("bound", bound.to_owned())]).set(time);
        }
        for (class, name) in BOTTLENECKS {
            let labels = vec![("class", name.to_owned())];
            self.bottleneck.get_or_create(&labels).set(i64::from(class == progress.bottleneck));
        }
    }

    fn forget_peer(&self, label: &str) {
        self.received.remove(&peer(label));
        self.busy_micros.remove(&peer(label));
        self.latency.remove(&peer(label));
        for failure in PeerFailureType::ALL {
            self.failures.remove(&vec![("peer", label.to_owned()), ("type", failure.name().to_owned())]);
        }
        self.errors.remove(&vec![("type", SyncErrorType::InvalidAnswer.name().to_owned()), ("peer", label.to_owned())]);
    }
}
