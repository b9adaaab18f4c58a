//! Questions about a simulation.

use std::sync::Arc;

use hotstuff2_sync::config::SyncHistory;
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::{Event, Machine, Progress};
use hotstuff2_sync::time::Instant;

use super::NetworkSimulator;
use crate::sim::network::NodeId;
use crate::sim::node::Joiner;
use crate::sim::source::Source;
use crate::sim::trace::Trace;
use crate::world::Recording;

impl NetworkSimulator {
    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.net.now()
    }

    /// The timeline so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Inputs and outputs of a joiner's machines, one recording for each of its lives; none where recordings are not
    /// kept.
    pub fn recordings(&self, joiner: NodeId) -> impl Iterator<Item = &Recording> {
        let lives = self.joiner(joiner).filter(|_| self.records);
        lives.into_iter().flat_map(|joiner| joiner.recorded.iter().chain(&joiner.recording))
    }

    /// Hash of all that happened so far, between nodes and in and out of every machine: equal for equal runs.
    pub fn trace_hash(&self) -> Hash {
        self.trace.hash()
    }

    /// How many events happened.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Height that a joiner has stored and executed.
    pub fn applied(&self, joiner: NodeId) -> Height {
        self.joiner(joiner).map_or(Height::ZERO, |joiner| joiner.disk.applied())
    }

    /// How many joiners have not said yet that they reached the source's tip.
    pub fn behind(&self) -> usize {
        self.behind
    }

    /// When a joiner had stored and executed all blocks to the source's tip.
    pub fn applied_at(&self, joiner: NodeId) -> Option<Instant> {
        self.joiner(joiner)?.applied_at
    }

    /// When a joiner said that it reached the source's tip.
    pub fn reached_at(&self, joiner: NodeId) -> Option<Instant> {
        self.joiner(joiner)?.reached_at
    }

    /// Events of a joiner's machine, in all of its lives.
    pub fn told(&self, joiner: NodeId) -> &[(Instant, Event)] {
        self.joiner(joiner).map_or(&[], |joiner| &joiner.events)
    }

    /// How far a joiner's machine is, if it is on.
    pub fn progress(&self, joiner: NodeId) -> Option<Progress> {
        self.joiner(joiner)?.machine.as_ref().map(Machine::progress)
    }

    /// A joiner's machine, if it is on.
    pub fn machine(&self, joiner: NodeId) -> Option<&Machine> {
        self.joiner(joiner)?.machine.as_ref()
    }

    /// Whether a joiner's machine has halted.
    pub fn halted(&self, joiner: NodeId) -> bool {
        self.joiner(joiner).is_some_and(|joiner| joiner.oracle.halted())
    }

    /// Whether a joiner holds all that its settings want of the blocks below its state.
    pub fn has_history(&self, joiner: NodeId) -> bool {
        let wants = |joiner: &&Joiner| joiner.config.history != SyncHistory::None;
        self.joiner(joiner).filter(wants).is_none_or(|joiner| joiner.disk.history_gap().is_none())
    }

    /// Bans that a joiner's machine asked for.
    pub fn bans(&self, joiner: NodeId) -> u64 {
        self.joiner(joiner).map_or(0, |joiner| joiner.bans)
    }

    /// Requests that a joiner sent and jobs that it ran.
    pub fn work(&self, joiner: NodeId) -> (u64, u64) {
        self.joiner(joiner).map_or((0, 0), |joiner| (joiner.requests, joiner.jobs))
    }

    /// Bytes that a node has sent and got.
    pub fn traffic(&self, node: NodeId) -> (u64, u64) {
        self.net.traffic(node)
    }

    /// The peer id of a node.
    pub fn peer(&self, node: NodeId) -> PeerId {
        self.nodes[node.index()].peer
    }

    /// The chain that is synchronized.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// The peers that a joiner is connected with.
    pub fn connections(&self, joiner: NodeId) -> Vec<PeerId> {
        let connected = self.joiner(joiner).map(|joiner| joiner.connected.keys());
        connected.into_iter().flatten().map(|&node| self.peer(node)).collect()
    }

    /// The peers that a joiner has banned, now or before.
    pub fn banned(&self, joiner: NodeId) -> Vec<PeerId> {
        let banned = self.joiner(joiner).map(|joiner| joiner.banned.keys());
        banned.into_iter().flatten().map(|&node| self.peer(node)).collect()
    }
}
