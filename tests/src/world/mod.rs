//! A world for one machine: virtual time, scripted peers, real wire code and real verification, no sockets.
//!
//! The machine's outputs are carried out in an order that depends on the script alone, so a run is the same every time.

mod behaviour;
mod recording;
mod state_host;
#[allow(clippy::module_inception, reason = "the file is named after its type")]
mod world;

pub use behaviour::{Behaviour, Elsewhere, Honest, Line, Lined, Reply, Scripted, claiming, status_answer};
pub use recording::Recording;
pub use state_host::{Held, StateHost};
pub use world::{Applied, Applier, Tamper, World, carry_out};
