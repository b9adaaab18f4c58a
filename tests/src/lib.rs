//! Chain generator, demo ledger, reference replica and test worlds.

pub mod chain;
pub mod conformance;
pub mod forgery;
pub mod fuzz;
pub mod ledger;
pub mod light;
pub mod notary;
pub mod other_chain;
pub mod pieces;
pub mod replica;
pub mod sim;
pub mod test_utils;
pub mod world;
