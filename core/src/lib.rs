//! Synchronization core for HotStuff-2 networks: a deterministic state machine that brings a node that is behind to where
//! the network is, from peers that nobody trusts.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod budget;
pub mod calls;
pub mod chain;
pub mod config;
pub mod hash;
pub mod ids;
pub mod limits;
pub mod machine;
mod peers;
pub mod ranges;
mod requests;
pub mod rng;
pub mod serve;
mod strategy;
pub mod state;
pub mod time;
mod timers;
pub mod verify;
pub mod wire;
