//! The last word on a connection, which must be heard.
//!
//! Quinn holds a close back like any other packet while as much is on its way as may be, and takes in no acknowledgement
//! any more once a connection is closed: so what was held back is never sent. A probe of the path's datagram size is enough
//! for that, and so is an answer under way. The other side then takes the connection for a live one until its idle time-out,
//! and whatever it asks over it is lost. So the window of a connection that is closed is opened first.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn::Connection;
use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

use super::peers::CLOSE_CODE;

/// Closes `connection`, and says why.
pub(super) fn close(connection: &Connection, reason: &str) {
    open(connection);
    connection.close(CLOSE_CODE, reason.as_bytes());
}

/// Lets everything out that a connection sends from now on, for one that is about to be closed.
pub(super) fn open(connection: &Connection) {
    if let Ok(window) = connection.congestion_state().into_any().downcast::<Window>() {
        window.is_open.store(true, Ordering::Relaxed);
    }
}

/// Makes the congestion control of connections whose last word is heard.
pub(super) struct Heard<F>(pub(super) Arc<F>);

impl<F: ControllerFactory> ControllerFactory for Heard<F> {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = Arc::clone(&self.0).build(now, current_mtu);
        Box::new(Window { inner, is_open: Arc::default() })
    }
}

/// Congestion control, until the window is opened.
struct Window {
    inner: Box<dyn Controller>,
    /// Shared by all copies.
    is_open: Arc<AtomicBool>,
}

impl Controller for Window {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.inner.on_congestion_event(now, sent, is_persistent, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        // Beyond what 32 bits hold there is no pacing either.
        if self.is_open.load(Ordering::Relaxed) { u64::MAX } else { self.inner.window() }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { inner: self.inner.clone_box(), is_open: Arc::clone(&self.is_open) })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
