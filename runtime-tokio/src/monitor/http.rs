//! `GET /metrics` over HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::PrometheusMetrics;
use crate::http::{HttpAnswer, HttpBounds, HttpServer};

/// Scrapers are few, and near.
pub(super) const BOUNDS: HttpBounds = HttpBounds { at_once: 8, patience: Duration::from_secs(5) };
/// What the text is, as Prometheus knows it.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `GET /metrics` at `address` with what `metrics` holds. Must be called within a tokio runtime.
///
/// # Errors
/// Where the address can't be listened on.
pub async fn serve_metrics(address: SocketAddr, metrics: Arc<PrometheusMetrics>) -> io::Result<HttpServer> {
    HttpServer::serve(address, BOUNDS, move |request| match request.path {
        "/metrics" => Ok(HttpAnswer {
            kind: CONTENT_TYPE,
            head: "",
            is_brotli: false,
            body: metrics.render().into_bytes().into(),
        }),
        _ => Err("metrics are at /metrics\n"),
    })
    .await
}
