//! Synchronization core for HotStuff-2 networks: a deterministic state machine that brings a node that is behind to where
//! the network is, from peers that nobody trusts.
//!
//! The core does no I/O and knows no clock, no threads and no randomness. A host has these (`hotstuff2-sync-tokio` is one),
//! and drives [`machine::Machine`]:
//!
//! ```text
//!               facts in                                           work out
//!                              ┌─────────────────────────┐   Request, CancelRequest ──► network
//!   news of peers, answers,    │         Machine         │   Verify, CancelJob      ──► any thread
//!   verdicts, what became  ──► │ plans, accounts, blames │   Call                   ──► store, application
//!   of calls, time, commands   │  never hashes, never    │   Penalize               ──► network
//!                              │   checks a signature    │   Event                  ──► people
//!                              └─────────────────────────┘   Wait                   ──► clock, always last
//! ```
//!
//! # The loop
//! ```no_run
//! use std::collections::VecDeque;
//!
//! use hotstuff2_sync::calls::{CallDone, HostCall, Start};
//! use hotstuff2_sync::chain::Chain;
//! use hotstuff2_sync::config::SyncConfig;
//! use hotstuff2_sync::machine::{Input, Machine, NewMachineError, Output};
//! use hotstuff2_sync::time::Instant;
//!
//! /// The host: its clock, its network, its store and application.
//! trait Host {
//!     fn now(&self) -> Instant;
//!     fn carry_out(&mut self, call: HostCall) -> CallDone;
//!     fn network(&mut self, output: Output);
//!     fn wait(&mut self, until: Option<Instant>) -> Input;
//! }
//!
//! fn run<C: Chain>(start: Start, chain: &C, host: &mut impl Host) -> Result<(), NewMachineError> {
//!     let mut machine = Machine::new(SyncConfig::default(), start, 7, host.now())?;
//!     let mut facts = VecDeque::from([Input::Start(None)]);
//!     loop {
//!         // 1. Facts go in, with the host's monotonic time. Those that are there together cost one plan.
//!         while let Some(fact) = facts.pop_front() {
//!             machine.handle(host.now(), fact);
//!         }
//!         // 2. All work comes out, until the machine says that it waits, and until when.
//!         let deadline = loop {
//!             match machine.poll_output() {
//!                 // Pure and bounded, so any thread may do it. A verdict may come back late, and in any order.
//!                 Output::Verify(job) => facts.push_back(Input::Verdict(job.run(chain))),
//!                 // Answered when it survives a crash, and not before: the machine never asks for it again.
//!                 Output::Call(call) => facts.push_back(Input::Done(host.carry_out(call))),
//!                 Output::Wait(deadline) => break deadline,
//!                 // For people. A host that drops all events loses nothing.
//!                 Output::Event(event) => println!("{event}"),
//!                 // Requests and penalties. Answers come back as facts.
//!                 other => host.network(other),
//!             }
//!         };
//!         // 3. The next fact, or `Input::Timeout` at the deadline.
//!         if facts.is_empty() {
//!             facts.push_back(host.wait(deadline));
//!         }
//!     }
//! }
//! ```
//! The example `run_loop` is a whole node in one file, with a peer that lies.
//!
//! # Where to look
//! * [`machine`]: the contract in full. [`calls`]: the host's work. [`codes`]: numbers and words of all that leaves.
//! * [`chain`]: what a chain must answer to be synchronized. [`chain::native`] is the complete default.
//! * [`verify`]: jobs and verdicts. [`serve`]: the other side, which answers requests. [`wire`]: messages of both.
//! * [`light`]: the client that keeps no blocks. [`session`]: encrypted frames over any stream of bytes.
//! * [`state`]: the tree that states are proven with. [`participation`]: when a validator may vote again.
//! * [`trace`]: a run written down, and played again.
#![no_std]
#![forbid(unsafe_code)]
// What a peer sends must never end the process, and no float may decide anything.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic,
        clippy::float_arithmetic
    )
)]
// Tests may count with the maps and clocks that `clippy.toml` bans.
#![cfg_attr(test, allow(clippy::disallowed_types, clippy::disallowed_methods))]

extern crate alloc;

pub mod bandwidth;
mod budget;
pub mod calls;
pub mod chain;
pub mod codes;
pub mod config;
pub mod downloads;
pub mod hash;
pub mod ids;
pub mod light;
pub mod limits;
pub mod machine;
pub mod participation;
pub mod peers;
pub mod progress;
pub mod ranges;
mod requests;
pub mod rng;
mod sections;
pub mod serve;
pub mod session;
mod sorted;
pub mod state;
mod strategy;
mod table;
pub mod time;
mod timers;
pub mod trace;
mod trust;
pub mod verify;
pub mod wire;
