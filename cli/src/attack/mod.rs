//! Peers that lie, that are of no use, or that ask without measure: for the demo, for measurements of one's own nodes, and
//! for tests.

pub(crate) mod args;
pub(crate) mod besiege;
mod lie;
mod nuisance;
mod state_lie;
mod unlike;
#[cfg(test)]
mod wrapper_tests;

pub(crate) use lie::{Lie, Staged};
