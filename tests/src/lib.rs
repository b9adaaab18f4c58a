//! Chain generator, demo ledger and test worlds.
