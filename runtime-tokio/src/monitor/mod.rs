//! Figures of a sync's costs and failures: durations, bytes and failures, for whoever collects such figures.
//!
//! [`SyncPerformanceMonitor`] is fed by the driver, and by a host that does parts of the work itself. It hands everything
//! to a [`MetricsCollector`]: an own one, or [`PrometheusMetrics`], which [`serve_metrics`] shows over HTTP.
//!
//! Peers are labels, and peers come and go: at most [`MAX_PEER_LABELS`] of them have a label of their own at a time, and
//! the others share one. So whoever connects under a new name each time makes nothing grow.

mod classic;
mod collector;
mod http;
mod labels;
mod process;
mod prometheus;
mod ready;
mod serving;

pub use collector::{MetricsCollector, PeerFailureType, SyncErrorType, SyncStage};
pub use http::serve_metrics;
pub use labels::{MAX_PEER_LABELS, OTHER_PEERS};
pub use prometheus::PrometheusMetrics;
pub use serving::MeteredHandler;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::machine::Progress;

use labels::PeerLabels;

/// Takes in what a sync does, and hands it to a collector. Cheap to clone.
#[derive(Clone)]
pub struct SyncPerformanceMonitor {
    collector: Arc<dyn MetricsCollector>,
    labels: Arc<Mutex<PeerLabels>>,
}

impl fmt::Debug for SyncPerformanceMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncPerformanceMonitor").finish_non_exhaustive()
    }
}

impl SyncPerformanceMonitor {
    /// A monitor that hands everything to `collector`.
    pub fn new(collector: Arc<dyn MetricsCollector>) -> Self {
        Self { collector, labels: Arc::default() }
    }

    /// The blocks from `height` on that one answer brought took `duration` from the request to the last byte.
    pub fn record_block_download_time(&self, height: u64, duration: Duration) {
        self.collector.duration(SyncStage::Download, height, duration);
    }

    /// The check of what one answer brought from `height` on took `duration` on its thread.
    pub fn record_block_validation_time(&self, height: u64, duration: Duration) {
        self.collector.duration(SyncStage::Validation, height, duration);
    }

    /// Executing a batch of blocks up to `height` took `duration`.
    pub fn record_state_application_time(&self, height: u64, duration: Duration) {
        self.collector.duration(SyncStage::Application, height, duration);
    }

    /// A peer's answer of `bytes` took `duration` from the request to the last byte.
    pub fn record_bandwidth_usage(&self, peer: &PeerId, bytes: u64, duration: Duration) {
        self.with_label(peer, |label| self.collector.bandwidth(label, bytes, duration));
    }

    /// A small question to a peer was answered after `latency`.
    pub fn record_peer_latency(&self, peer: &PeerId, latency: Duration) {
        self.with_label(peer, |label| self.collector.latency(label, latency));
    }

    /// Something went wrong that stops or delays the sync, by a peer or not.
    pub fn record_sync_error(&self, error_type: SyncErrorType, peer: Option<&PeerId>) {
        match peer {
            Some(peer) => self.with_label(peer, |label| self.collector.error(error_type, Some(label))),
            None => self.collector.error(error_type, None),
        }
    }

    /// A peer failed.
    pub fn record_peer_failure(&self, peer: &PeerId, failure_type: PeerFailureType) {
        self.with_label(peer, |label| self.collector.peer_failure(label, failure_type));
    }

    /// Takes in the progress of the sync.
    pub fn record_progress(&self, progress: &Progress) {
        self.collector.progress(progress);
    }

    /// A peer has come, perhaps back: a label that it still has stays its own.
    pub fn keep_peer(&self, peer: &PeerId) {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner).keep(peer);
    }

    /// A peer has gone: its label may be given to another one, whatever is still recorded of it, until
    /// [`keep_peer`](Self::keep_peer).
    pub fn forget_peer(&self, peer: &PeerId) {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner).gone(peer);
    }

    /// Does something with the label of a peer. A label that changes hands is forgotten by the collector first.
    fn with_label(&self, peer: &PeerId, then: impl FnOnce(&str)) {
        let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        let (label, freed) = labels.of(peer);
        if let Some(freed) = freed {
            self.collector.forget_peer(&freed);
        }
        then(label);
    }
}

#[cfg(test)]
mod tests;
