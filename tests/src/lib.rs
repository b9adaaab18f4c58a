//! Chain generator, demo ledger and test worlds.

pub mod chain;
pub mod ledger;
pub mod world;
