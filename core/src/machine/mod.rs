//! The synchronization state machine: facts in, work out.
//!
//! # The contract
//! * One door in, [`Machine::handle`], and one out: after every input, call [`Machine::poll_output`] until it returns
//!   [`Output::Wait`]. `Wait` always comes last and carries the next deadline; `None` means that there is none. A late or
//!   spurious [`Input::Timeout`] does no harm. Inputs that are there at the same time may go in together: the machine then
//!   plans once for all of them.
//! * Every input carries the host's monotonic time. Time that runs backwards is taken as standing still.
//! * The machine never hashes and never checks a signature. [`Output::Verify`] hands out a
//!   [`Job`](crate::verify::Job); run it on any thread and bring the verdict back.
//! * [`Output::Call`] is answered when what it asks for survives a crash, and not before. How many calls are out, and in
//!   which order they are carried out: [`HostCall`](crate::calls::HostCall).
//! * [`Output::Event`] is for people: a host that drops every event loses nothing.
//! * Same inputs, same outputs. The machine is `Clone + Eq + Hash`, so that it can be explored and replayed.
//!
//! # What it trusts
//! The host's [`Start`](crate::calls::Start), the verdicts of jobs, and the host's answers to its calls. Nothing that a
//! peer says, and no block that the host's own engine hands in before it is proven: a peer's claims only choose whom to ask, and only proof moves the target.

mod answers;
mod conflict;
mod decided;
mod download;
mod event;
mod follow;
mod forecast;
mod goal;
mod handovers;
mod history;
mod host_calls;
mod input;
mod inputs;
mod jobs;
mod output;
mod patience;
mod plan;
mod reason;
mod stall;
mod standing;
mod state;
mod state_sync;
mod state_walk;
mod status;
mod submissions;
mod verdicts;

#[cfg(test)]
mod tests;

pub use crate::requests::RequestKind;
pub use crate::strategy::Costs;
pub use decided::{Decided, DecidedError};
pub use event::{Event, HaltReason};
pub use input::{Input, PeerEvent, RequestFailure};
pub use output::{Bottleneck, Output, PeerReport, Penalty, Position, Progress, StateProgress};
pub use reason::{Stall, StallReason, StallStep};
pub use state::{Machine, NewMachineError};
