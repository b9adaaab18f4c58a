//! The nodes of a simulation: [`ServerSpec`] and [`JoinerSpec`] say what they are like.

use std::collections::BTreeMap;
use std::time::Duration;

use hotstuff2_sync::config::SyncConfig;
use hotstuff2_sync::ids::{DecidedId, Height, PeerId, RequestId};
use hotstuff2_sync::machine::{DecidedError, Event, Machine};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::rng::Rng;
use hotstuff2_sync::time::Instant;

use super::adversary::Adversary;
use super::disk::Disk;
use super::doctor::Doctor;
use super::network::{Line, NodeId, TransferId};
use super::oracle::Oracle;
use super::source::Holdings;
use crate::world::Recording;

/// A node that holds the true chain, and answers from it what its adversaries leave of that.
pub struct ServerSpec {
    /// Its line.
    pub line: Line,
    /// The node's part of the chain. Its tip is the network's where that is lower.
    pub held: Holdings,
    /// Adversaries that bend its answers, in this order. None: it is honest.
    pub adversaries: Vec<Box<dyn Adversary>>,
    /// Time that it takes for an answer.
    pub thinks: Duration,
    /// Its group; its own where it is `None`.
    pub group: Option<u64>,
}

impl Default for ServerSpec {
    fn default() -> Self {
        Self {
            line: Line::symmetric(12_500_000),
            held: Holdings {
                earliest: Height::new(1),
                tip: Height::MAX,
                states: HeightRange::new(Height::ZERO, Height::MAX),
            },
            adversaries: Vec::new(),
            thinks: Duration::from_micros(200),
            group: None,
        }
    }
}

/// A node that synchronizes.
pub struct JoinerSpec {
    /// Its line.
    pub line: Line,
    /// Its machine's settings.
    pub config: SyncConfig,
    /// Whether it serves what it has verified.
    pub serves: bool,
    /// Whom it dials, and dials again when a connection is gone.
    pub contacts: Vec<NodeId>,
    /// How many jobs are lost with their worker, in millionths.
    pub lost_jobs_ppm: u32,
    /// Longest time that its disk takes for a call.
    pub disk: Duration,
    /// The doctor that breaks it, where the oracles are on trial.
    pub doctor: Option<Box<dyn Doctor>>,
}

impl Default for JoinerSpec {
    fn default() -> Self {
        Self {
            line: Line::symmetric(12_500_000),
            config: SyncConfig::default(),
            serves: true,
            contacts: Vec::new(),
            lost_jobs_ppm: 0,
            disk: Duration::from_millis(2),
            doctor: None,
        }
    }
}

pub(super) enum Role {
    Server(Server),
    Joiner(Box<Joiner>),
}

pub(super) struct Node {
    pub(super) peer: PeerId,
    pub(super) group: u64,
    /// How often it was started: what belongs to an earlier life is dropped.
    pub(super) life: u32,
    pub(super) up: bool,
    pub(super) role: Role,
}

impl Node {
    pub(super) fn joiner(&self) -> Option<&Joiner> {
        match &self.role {
            Role::Joiner(joiner) => Some(joiner),
            Role::Server(_) => None,
        }
    }

    pub(super) fn joiner_mut(&mut self) -> Option<&mut Joiner> {
        match &mut self.role {
            Role::Joiner(joiner) => Some(joiner),
            Role::Server(_) => None,
        }
    }

    /// Whether nothing that it says is provably false.
    pub(super) fn is_truthful(&self) -> bool {
        match &self.role {
            Role::Server(server) => !server.adversaries.iter().any(Adversary::lies),
            Role::Joiner(_) => true,
        }
    }
}

pub(super) struct Server {
    pub(super) held: Holdings,
    pub(super) adversaries: Vec<Box<dyn Adversary>>,
    pub(super) thinks: Duration,
    pub(super) rng: Rng,
    pub(super) asked: u64,
}

/// A request that is open.
pub(super) struct Open {
    pub(super) to: NodeId,
    pub(super) asking: TransferId,
    pub(super) answering: Option<TransferId>,
}

pub(super) struct Joiner {
    pub(super) machine: Option<Machine>,
    /// Inputs and outputs of the machine of this life.
    pub(super) recording: Option<Recording>,
    /// Recordings of earlier lives, where they are kept.
    pub(super) recorded: Vec<Recording>,
    pub(super) disk: Disk,
    pub(super) config: SyncConfig,
    pub(super) serves: bool,
    pub(super) contacts: Vec<NodeId>,
    pub(super) lost_jobs_ppm: u32,
    pub(super) disk_time: Duration,
    pub(super) oracle: Oracle,
    pub(super) doctor: Option<Box<dyn Doctor>>,
    pub(super) rng: Rng,
    pub(super) open: BTreeMap<RequestId, Open>,
    /// Connections, with the life of the other node.
    pub(super) connected: BTreeMap<NodeId, u32>,
    pub(super) banned: BTreeMap<NodeId, Instant>,
    pub(super) deadline: Option<Instant>,
    /// When it is going to be woken, at the latest.
    pub(super) wakes: Option<Instant>,
    pub(super) dials: bool,
    pub(super) events: Vec<(Instant, Event)>,
    /// Answers of the machine to the node's own engine.
    pub(super) decided: Vec<(DecidedId, Result<Height, DecidedError>)>,
    pub(super) bans: u64,
    pub(super) applied_at: Option<Instant>,
    pub(super) reached_at: Option<Instant>,
    pub(super) requests: u64,
    pub(super) jobs: u64,
}
