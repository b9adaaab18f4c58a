//! What the machine knows of each peer: its claims, what it delivered, and how it stands.
//!
//! Four kinds of outcome are never mixed. A *proven* fault bans at once. A *suspected* one (slow, silent, needlessly small
//! answers) makes the peer be used less and tried again later. *Unsupported* (another version, another chain) and *not
//! available* are no faults at all.

mod pace;
mod peer;
mod table;

pub(crate) use peer::{Peer, Standing};
pub(crate) use table::Peers;
