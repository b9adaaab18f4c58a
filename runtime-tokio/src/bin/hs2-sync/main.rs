//! `hs2-sync`: generate, serve, synchronize and inspect HotStuff-2 chains.

fn main() {}
