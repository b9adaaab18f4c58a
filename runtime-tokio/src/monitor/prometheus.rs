//! [`PrometheusMetrics`]: a collector that shows its figures in the text format that Prometheus reads (OpenMetrics 1.0).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hotstuff2_sync::ids::Height;
use hotstuff2_sync::machine::{Bottleneck, Progress, StallReason};
use hotstuff2_sync::time::UnixMillis;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::classic::classic;
use super::collector::{MetricsCollector, PeerFailureType, SyncErrorType, SyncStage};
use super::process::ProcessFigures;
use super::ready::Readiness;
use super::serving::{KINDS, OUTCOMES};
use crate::wall_clock;

/// One label, or two.
type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;
type FloatGauge = Gauge<f64, AtomicU64>;
type SecondsCounters = Family<Labels, Counter<f64, AtomicU64>>;

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
    busy: SecondsCounters,
    latency: Histograms,
    errors: Counters,
    failures: Counters,
    height: Gauge,
    target: Gauge,
    rate: Gauge,
    eta: Family<Labels, FloatGauge>,
    buffered: Gauge,
    peers: Gauge,
    quorum_checks: Counter,
    bottleneck: Family<Labels, Gauge>,
    stalled: Gauge,
    stall_reason: Family<Labels, Gauge>,
    tip_age: FloatGauge,
    /// Time that the age of the tip is counted from, in milliseconds since 1970; zero where it is not known.
    tip_time: AtomicU64,
    served: Counters,
    served_bytes: Counters,
    serving: Histograms,
    read_errors: Counter,
    earliest: Gauge,
    free_disk: FloatGauge,
    least_free_disk: Gauge,
    process: ProcessFigures,
    readiness: Readiness,
}

impl Default for PrometheusMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl PrometheusMetrics {
    /// No figures yet.
    pub fn new() -> Self {
        let mut all = Registry::default();
        let histograms = || Histograms::new_with_constructor(seconds as fn() -> Histogram);
        let metrics = Self {
            registry: Registry::default(),
            stages: histograms(),
            received: Counters::default(),
            busy: SecondsCounters::default(),
            latency: histograms(),
            errors: Counters::default(),
            failures: Counters::default(),
            height: Gauge::default(),
            target: Gauge::default(),
            rate: Gauge::default(),
            eta: Family::default(),
            buffered: Gauge::default(),
            peers: Gauge::default(),
            quorum_checks: Counter::default(),
            bottleneck: Family::default(),
            stalled: Gauge::default(),
            stall_reason: Family::default(),
            tip_age: FloatGauge::default(),
            tip_time: AtomicU64::new(0),
            served: Counters::default(),
            served_bytes: Counters::default(),
            serving: histograms(),
            read_errors: Counter::default(),
            earliest: Gauge::default(),
            free_disk: FloatGauge::default(),
            least_free_disk: Gauge::default(),
            process: ProcessFigures::default(),
            readiness: Readiness::default(),
        };
        let m = &metrics;
        m.process.register(&mut all);
        let registry = all.sub_registry_with_prefix("hs2_sync");
        registry.register(
            "build",
            "The version of the library",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION").to_owned())]),
        );
        registry.register_with_unit(
            "stage",
            "Time that a stage takes for one answer or batch",
            Unit::Seconds,
            m.stages.clone(),
        );
        registry.register_with_unit("received", "Bytes of answers, by peer", Unit::Bytes, m.received.clone());
        registry.register_with_unit(
            "busy",
            "Time from requests to the last bytes of their answers, by peer",
            Unit::Seconds,
            m.busy.clone(),
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
        registry.register("earliest_height", "Lowest height whose block is stored and served", m.earliest.clone());
        registry.register_with_unit(
            "disk_free",
            "Room on the disk of the store; NaN where it is not known",
            Unit::Bytes,
            m.free_disk.clone(),
        );
        registry.register_with_unit(
            "disk_least_free",
            "Room below which no more blocks are taken",
            Unit::Bytes,
            m.least_free_disk.clone(),
        );
        m.show_zeros();
        Self { registry: all, ..metrics }
    }

    /// Has everything whose labels are known shown from the start: what appears with its first event can't be seen to rise.
    fn show_zeros(&self) {
        for error in SyncErrorType::ALL {
            drop(self.errors.get_or_create(&vec![("type", error.name().to_owned()), ("peer", String::new())]));
        }
        for stage in SyncStage::ALL {
            drop(self.stages.get_or_create(&vec![("stage", stage.name().to_owned())]));
        }
        for kind in KINDS {
            let by_kind = vec![("kind", kind.to_owned())];
            drop(self.served_bytes.get_or_create(&by_kind));
            drop(self.serving.get_or_create(&by_kind));
            for outcome in OUTCOMES {
                drop(self.served.get_or_create(&vec![("kind", kind.to_owned()), ("outcome", outcome.to_owned())]));
            }
        }
        drop(self.served.get_or_create(&vec![("kind", "any".to_owned()), ("outcome", "busy".to_owned())]));
        self.show_stall(None);
        self.show_eta([None; 3]);
        self.free_disk.set(f64::NAN);
        for (_, name) in BOTTLENECKS {
            drop(self.bottleneck.get_or_create(&vec![("class", name.to_owned())]));
        }
    }

    fn show_stall(&self, reason: Option<StallReason>) {
        self.stalled.set(i64::from(reason.is_some()));
        let reason = reason.map(|reason| reason.name());
        for &(_, name) in StallReason::CODES {
            let labels = vec![("reason", name.to_owned())];
            self.stall_reason.get_or_create(&labels).set(i64::from(reason == Some(name)));
        }
    }

    fn show_eta(&self, times: [Option<Duration>; 3]) {
        for (bound, time) in ETAS.into_iter().zip(times) {
            let time = time.map_or(f64::NAN, |time| time.as_secs_f64());
            self.eta.get_or_create(&vec![("bound", bound.to_owned())]).set(time);
        }
    }

    /// Age of the tip from which on [`ready`](Self::ready) says that the node is not; zero, as at the start, is none.
    pub fn set_max_tip_age(&self, age: Duration) {
        self.readiness.set_max_tip_age(age);
    }

    /// Shows a node that only serves: the highest block that it has, its time, and its peers. It is ready then.
    pub fn serves(&self, height: Height, tip_time: Option<UnixMillis>, peers: usize) {
        self.height.set(int(height.get()));
        self.target.set(int(height.get()));
        self.peers.set(int(peers as u64));
        self.tip_time.store(tip_time.map_or(0, UnixMillis::get), Ordering::Relaxed);
        self.readiness.serves();
    }

    /// Shows the lowest height whose block is stored, the bytes that are free on the disk, if that is known, and those below
    /// which no more blocks are taken.
    pub fn keeps(&self, earliest: Height, free_disk: Option<u64>, least_free_disk: u64) {
        self.earliest.set(int(earliest.get()));
        // Of bytes a float has enough digits for any disk.
        self.free_disk.set(free_disk.map_or(f64::NAN, |bytes| bytes as f64));
        self.least_free_disk.set(int(least_free_disk));
    }

    /// Whether the node serves, or has caught up with a tip that is not too old and has peers.
    ///
    /// # Errors
    /// The reason why not, in words for people.
    pub fn ready(&self) -> Result<(), String> {
        self.readiness.check()
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

    /// All figures as text in the format that every version of Prometheus reads (0.0.4).
    pub fn render_text(&self) -> String {
        classic(&self.render())
    }

    /// All figures as text in the format of OpenMetrics 1.0.
    pub fn render(&self) -> String {
        let age = match self.tip_time.load(Ordering::Relaxed) {
            0 => f64::NAN,
            time => wall_clock().since(UnixMillis::new(time)).as_secs_f64(),
        };
        self.tip_age.set(age);
        self.process.update();
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
        self.busy.get_or_create(&labels).inc_by(took.as_secs_f64());
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
        // A count of this run: what the machine has counted so far.
        self.quorum_checks.inner().fetch_max(progress.quorum_checks, Ordering::Relaxed);
        self.peers.set(int(progress.peers.iter().filter(|peer| peer.connected).count() as u64));
        self.tip_time.store(progress.tip_time.map_or(0, UnixMillis::get), Ordering::Relaxed);
        self.readiness.syncs(progress);
        self.show_stall(progress.stall.map(|stall| stall.reason));
        self.show_eta([
            progress.eta.map(|eta| eta.low),
            progress.eta.map(|eta| eta.likely),
            progress.eta.and_then(|eta| eta.high),
        ]);
        for (class, name) in BOTTLENECKS {
            let labels = vec![("class", name.to_owned())];
            self.bottleneck.get_or_create(&labels).set(i64::from(class == progress.bottleneck));
        }
    }

    fn forget_peer(&self, label: &str) {
        self.received.remove(&peer(label));
        self.busy.remove(&peer(label));
        self.latency.remove(&peer(label));
        for failure in PeerFailureType::ALL {
            self.failures.remove(&vec![("peer", label.to_owned()), ("type", failure.name().to_owned())]);
        }
        self.errors.remove(&vec![("type", SyncErrorType::InvalidAnswer.name().to_owned()), ("peer", label.to_owned())]);
    }
}
