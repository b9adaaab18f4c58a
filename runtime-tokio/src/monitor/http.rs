//! `GET /metrics`, `/healthz` and `/readyz` over HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::PrometheusMetrics;
use crate::http::{HttpAnswer, HttpBounds, HttpRequest, HttpServer};

/// Scrapers are few, and near.
pub(super) const BOUNDS: HttpBounds = HttpBounds { at_once: 64, patience: Duration::from_secs(5) };
/// The text as OpenMetrics has it, for those that accept that.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The text that every version of Prometheus reads.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers at `address`: `GET /metrics` with what `metrics` holds, `GET /healthz` with status 200 as long as the process
/// answers, `GET /readyz` with 200 or, with the reason, 503, as [`PrometheusMetrics::ready`] says. Must be called within a
/// tokio runtime.
///
/// # Errors
/// Where the address can't be listened on.
pub async fn serve_metrics(address: SocketAddr, metrics: Arc<PrometheusMetrics>) -> io::Result<HttpServer> {
    serve(address, metrics, BOUNDS).await
}

pub(super) async fn serve(
    address: SocketAddr,
    metrics: Arc<PrometheusMetrics>,
    bounds: HttpBounds,
) -> io::Result<HttpServer> {
    HttpServer::serve(address, bounds, move |request| page(request, &metrics)).await
}

fn page(request: HttpRequest<'_>, metrics: &PrometheusMetrics) -> Result<HttpAnswer, &'static str> {
    let answer = |status, kind, body: String| {
        Ok(HttpAnswer { status, kind, head: "", is_brotli: false, body: Bytes::from(body) })
    };
    match request.path {
        "/metrics" if request.accept.contains("application/openmetrics-text") => {
            answer("200 OK", OPEN_METRICS, metrics.render())
        }
        "/metrics" => answer("200 OK", PROMETHEUS_TEXT, metrics.render_text()),
        "/healthz" => answer("200 OK", "text/plain", "ok\n".to_owned()),
        "/readyz" => match metrics.ready() {
            Ok(()) => answer("200 OK", "text/plain", "ready\n".to_owned()),
            Err(reason) => answer("503 Service Unavailable", "text/plain", format!("{reason}\n")),
        },
        _ => Err("there are /metrics, /healthz and /readyz\n"),
    }
}
