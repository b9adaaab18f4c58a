//! The serving side: one bounded answer to one request, from what this node has verified, within what it is willing to
//! spend.
//!
//! Requests come from anyone. Work and size of an answer are bounded by the protocol's limits, whatever was asked:
//! limits from a request are clamped with `min`. No input makes it panic. [`Admission`] decides who is answered when, so
//! that no number of askers gets more than [`ServeLimits`] says, and none of them the share of another;
//! [`AnswerCache`] keeps what many ask for.

mod account;
mod admission;
mod bucket;
mod cache;
mod cost;
mod limits;
mod parts;
mod respond;
mod state;

pub use admission::{Admission, Busy, Handshake, ServeStats, Ticket, Turn};
pub use cache::{AnswerCache, CacheStats};
pub use cost::estimate;
pub use limits::{Cost, ServeLimits, ServeLimitsError, ServeRates};
pub use parts::{PartReader, PartStore, StoredPart};
pub use respond::{ChainReader, ServeError, ServeErrorOf, StoredSegment, respond};
