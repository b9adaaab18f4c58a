//! Strategies: what is wanted next, computed from what is there. No strategy sends anything: the machine asks them and
//! acts.

mod base;
mod cell;
mod download_window;
mod epochs;
mod handover_check;
mod select;
mod walk;

pub(crate) use base::base_claim;
pub(crate) use cell::{Cell, Source, header_memory};
pub(crate) use download_window::{Broken, DownloadWindow, Want};
pub(crate) use epochs::{Epochs, Waiting};
pub(crate) use handover_check::{HandoverCheck, HandoverPart};
pub(crate) use select::ASSUMED_BLOCKS_PER_SECOND;
pub use select::Costs;
pub(crate) use walk::{StateWant, Walk, leaves_memory};
