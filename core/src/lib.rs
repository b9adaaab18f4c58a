//! Synchronization core for HotStuff-2 networks: a deterministic state machine that brings a node that is behind to where
//! the network is, from peers that nobody trusts.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod chain;
pub mod hash;
pub mod ids;
pub mod limits;
pub mod machine;
pub mod ranges;
pub mod rng;
pub mod serve;
pub mod state;
pub mod time;
pub mod verify;
pub mod wire;
