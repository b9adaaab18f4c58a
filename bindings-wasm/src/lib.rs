//! The light client for JavaScript: a web page, or a program in Node, that trusts a genesis file and nobody else; and the whole
//! synchronization, for nodes that are written in JavaScript. Each is a module of its own, by the features `light` and `full`.
//!
//! [`full::SyncHost`] is the machine with its jobs; its host has the network, the store and the application.
//!
//! [`host::Host`] is the whole client but for sockets and clocks: the core's light client, an encrypted session for each
//! socket, and the verification jobs. Bytes, times and randomness go in; bytes, answers and events come out. It is plain
//! Rust and tested as such. [`exports`] is the border: the classes that `wasm-bindgen` shows to JavaScript.
//!
//! JavaScript is trusted as the host of any library is, but can't break what is here: every value that it passes is checked,
//! and a panic, which would be a defect, ends the instance with an error that says so.

#[cfg(feature = "light")]
mod connections;
pub mod exports;
#[cfg(feature = "full")]
pub mod full;
#[cfg(feature = "light")]
pub mod host;
mod json;
#[cfg(feature = "light")]
mod light_values;
#[cfg(feature = "light")]
mod output;
#[cfg_attr(not(feature = "light"), allow(dead_code, reason = "settings of the light client"))]
mod settings;
mod values;

#[cfg(feature = "light")]
pub use output::{Blame, HostOutput, Read};
pub use settings::{Settings, StartError};
