//! `libhs2sync`: the synchronization core behind a C interface. The manual is `include/hs2sync.h`, made from the comments
//! here; `docs/c.md` says how to begin.
//!
//! Nothing that comes over the border is trusted to be sane: handles may be stale, pointers null, numbers anything, calls
//! in any order. All of that is a status. The one thing that can't be checked is whether a pointer that is not null leads
//! where the header says; each `unsafe` block names that promise.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]

mod buffer;
mod exports;
mod failure;
mod fence;
mod light;
mod machine;
mod objects;
mod own_chain;
mod pointer;
mod reader;
mod start;
mod state;
mod state_store;
mod status;
mod table;
mod types;
/// cbindgen:ignore
#[cfg(target_arch = "wasm32")]
mod wasm;

pub use exports::*;
pub use status::{Status, hs2_status};
pub use types::*;
