//! Strategies: what is wanted next, computed from what is there. No strategy sends anything: the machine asks them and
//! acts.

mod blocks;
mod cell;
mod epochs;

pub(crate) use blocks::{Blocks, Broken, Want};
pub(crate) use cell::{Cell, Source};
pub(crate) use epochs::{Epochs, Waiting};
