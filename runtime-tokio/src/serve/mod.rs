//! Answering peers: [`StoreHandler`] says what, from a store; who is answered when is decided by the network, within
//! [`ServeLimits`](hotstuff2_sync::serve::ServeLimits).

mod store_handler;

#[cfg(test)]
mod tests;

pub use store_handler::StoreHandler;
