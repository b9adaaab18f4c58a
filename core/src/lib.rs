//! Synchronization core for HotStuff-2 networks.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
