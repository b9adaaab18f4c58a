//! Tokio runtime for `hotstuff2-sync`: QUIC network, durable store, verification pool and driver.

pub mod net;
