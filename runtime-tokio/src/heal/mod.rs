//! Healing: what a node's store can't read any more is fetched again from peers, proven, and put in place while the node
//! serves.
//!
//! [`Healer`] watches the [damage](crate::store::DiskStore::damage) that reads come upon, and reads everything itself from
//! time to time, at a pace that nobody notices. It needs a network and nothing of a sync: a node that only serves heals
//! too.
//!
//! The healer trusts what the store knows of the damaged part from its surroundings, and of peers nothing: a segment
//! is proven by its certificate or by the block above it.

mod event;
mod healer;
mod source;
mod state;

#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod tests;

pub use event::{HealError, HealEvent};
pub use healer::Healer;
