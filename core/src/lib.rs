//! Synchronization core for HotStuff-2 networks: a deterministic state machine that brings a node that is behind to where
//! the network is, from peers that nobody trusts.
#![no_std]
#![forbid(unsafe_code)]
// What a peer sends must never end the process, and no float may decide anything.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic,
        clippy::float_arithmetic
    )
)]
// Tests may count with the maps and clocks that `clippy.toml` bans.
#![cfg_attr(test, allow(clippy::disallowed_types, clippy::disallowed_methods))]

extern crate alloc;

pub mod bandwidth;
mod budget;
pub mod calls;
pub mod chain;
pub mod codes;
pub mod config;
pub mod downloads;
pub mod hash;
pub mod ids;
pub mod light;
pub mod limits;
pub mod machine;
pub mod participation;
pub mod peers;
pub mod progress;
pub mod ranges;
mod requests;
pub mod rng;
pub mod serve;
pub mod session;
pub mod state;
mod strategy;
pub mod time;
mod timers;
pub mod trace;
pub mod verify;
pub mod wire;
