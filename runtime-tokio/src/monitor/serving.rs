//! [`MeteredHandler`]: counts what a node answers.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hotstuff2_sync::ids::PeerId;
use hotstuff2_sync::serve::Cost;
use hotstuff2_sync::wire::{Answer, Refusal, Request};

use super::PrometheusMetrics;
use crate::net::{BoxFuture, Handler};

/// A handler that counts requests, their answers' bytes and the time that making them takes.
pub struct MeteredHandler {
    inner: Arc<dyn Handler>,
    metrics: Arc<PrometheusMetrics>,
}

impl MeteredHandler {
    /// Counts what `inner` answers.
    pub fn new(inner: Arc<dyn Handler>, metrics: Arc<PrometheusMetrics>) -> Self {
        Self { inner, metrics }
    }
}

/// All that [`kind`] says.
pub(super) const KINDS: [&str; 9] =
    ["status", "handovers", "tip", "segment", "bodies", "follow", "state", "other", "unreadable"];

/// All that [`outcome`] says.
pub(super) const OUTCOMES: [&str; 4] = ["data", "not_available", "busy", "unsupported"];

/// A request's kind as a label. What can't be read has a kind too.
fn kind(request: &[u8]) -> &'static str {
    match Request::decode(request) {
        Ok(Request::Status) => "status",
        Ok(Request::Handovers { .. }) => "handovers",
        Ok(Request::Tip) => "tip",
        Ok(Request::Segment { .. }) => "segment",
        Ok(Request::Bodies { .. }) => "bodies",
        Ok(Request::Follow { .. }) => "follow",
        Ok(Request::State { .. }) => "state",
        Ok(_) => "other",
        Err(_) => "unreadable",
    }
}

fn outcome(answer: &Bytes) -> &'static str {
    match Answer::decode(answer.clone()) {
        Ok(Answer::Data(_)) => "data",
        Ok(Answer::Refused(Refusal::NotAvailable)) => "not_available",
        Ok(Answer::Refused(Refusal::Busy { .. })) => "busy",
        Ok(Answer::Refused(Refusal::Unsupported)) | Err(_) => "unsupported",
    }
}

impl Handler for MeteredHandler {
    fn ready(&self, peer: PeerId, request: &Bytes) -> BoxFuture<'_, ()> {
        self.inner.ready(peer, request)
    }

    fn cost(&self, request: &Bytes) -> Cost {
        self.inner.cost(request)
    }

    fn busy(&self, retry_after_ms: u32) -> Bytes {
        self.metrics.turned_away();
        self.inner.busy(retry_after_ms)
    }

    fn handle(&self, peer: PeerId, request: Bytes) -> Bytes {
        let (kind, begin) = (kind(&request), Instant::now());
        let answer = self.inner.handle(peer, request);
        self.metrics.served(kind, outcome(&answer), answer.len() as u64, begin.elapsed());
        answer
    }
}
