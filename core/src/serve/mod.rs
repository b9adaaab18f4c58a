//! The serving side: one bounded answer to one request, from what this node has verified.
//!
//! Requests come from anyone. Work and size of an answer are bounded by the protocol's limits, whatever was asked:
//! limits from a request are clamped with `min`. No input makes it panic.

mod respond;
mod state;

pub use respond::{ChainReader, ServeError, ServeErrorOf, StoredSegment, respond};
