//! A chain of another kind than the native one through everything that a node has: manager, store, server, strategies,
//! single blocks, traces, the hand-over to consensus. Its one epoch begins at height 1, and it has no state roots, clock,
//! handovers, audits or adverts.

mod kit;
mod light;
mod manager;
mod net;
mod refusals;
mod sizes;
mod traces;
