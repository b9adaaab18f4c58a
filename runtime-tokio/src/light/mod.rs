//! [`LightNode`]: the core's light client over a [`Network`](crate::net::Network), for programs that want to know a chain's
//! tip and values of its state, and store and execute nothing.

mod dial;
mod node;

pub use node::LightNode;
