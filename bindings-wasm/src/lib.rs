//! The light client for JavaScript: a web page, or a program in Node, that trusts a genesis file and nobody else.
//!
//! [`host::Host`] is the whole client but for sockets and clocks: the core's light client, an encrypted session for each
//! socket, and the verification jobs. Bytes, times and randomness go in; bytes, answers and events come out. It is plain
//! Rust and tested as such. [`exports`] is its border: the class that `wasm-bindgen` shows to JavaScript.
//!
//! JavaScript is trusted as the host of any library is, but can't break what is here: every value that it passes is checked,
//! and a panic, which would be a defect, ends the instance with an error that says so.

mod connections;
pub mod exports;
pub mod host;
mod json;
mod output;
mod settings;
mod values;

pub use output::{Blame, HostOutput, Read};
pub use settings::{Settings, StartError};
