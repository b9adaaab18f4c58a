//! Chain generator, demo ledger and test worlds.

pub mod chain;
pub mod ledger;
pub mod sim;
pub mod world;
