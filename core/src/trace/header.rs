//! The head of a trace: the machine that it is of, as it was made.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::blob::Memory;
use super::facts::{TraceEpoch, TraceGap, TraceLink, TraceProof, stand_in_for};
use crate::calls::{BlockPoint, Start, TrustingPeriod};
use crate::chain::ChainProfile;
use crate::config::SyncConfig;
use crate::hash::Hash;
use crate::ids::Height;
use crate::time::{Instant, UnixMillis};
use crate::verify::HandoverLink;

/// Everything that a machine is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceHeader {
    /// The version of the program that wrote the trace. Another one may do other things with the same inputs.
    pub software: String,
    /// The settings.
    pub config: SyncConfig,
    /// Start of the node.
    pub start: TraceStart,
    /// The seed of the machine's choices.
    pub seed: u64,
    /// The time at which the machine was made.
    pub now: Instant,
}

/// Start of a node: where it stood. See [`Start`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStart {
    chain_id: Hash,
    profile: ChainProfile,
    stored: BlockPoint,
    stored_time: UnixMillis,
    stored_proof: Option<TraceProof>,
    applied: Height,
    stages_state: bool,
    lacks_state: bool,
    epoch: TraceEpoch,
    handovers: Vec<TraceLink>,
    history_gap: Option<TraceGap>,
    trust: Option<TrustingPeriod>,
}

impl TraceHeader {
    /// The head of a trace of a machine that is made from these.
    pub fn new(config: &SyncConfig, start: &Start, seed: u64, now: Instant) -> Self {
        Self {
            software: env!("CARGO_PKG_VERSION").into(),
            config: config.clone(),
            start: TraceStart {
                chain_id: start.chain_id,
                profile: start.profile,
                stored: start.stored,
                stored_time: start.stored_time,
                stored_proof: start.stored_proof.as_ref().map(TraceProof::new),
                applied: start.applied,
                stages_state: start.stages_state,
                lacks_state: start.lacks_state,
                epoch: TraceEpoch::new(&start.epoch),
                handovers: start.handovers.iter().map(TraceLink::new).collect(),
                history_gap: start.history_gap.as_ref().map(TraceGap::new),
                trust: start.trust,
            },
            seed,
            now,
        }
    }

    /// The height at which the node stood.
    pub fn height(&self) -> Height {
        self.start.stored.height
    }

    /// The chain.
    pub fn chain_id(&self) -> Hash {
        self.start.chain_id
    }
}

impl TraceStart {
    /// The start that it stands for. `None` where that takes too much memory.
    pub(super) fn stand_in(self, memory: &mut Memory) -> Option<Start> {
        let stored_proof = match self.stored_proof {
            Some(proof) => Some(proof.stand_in(memory)?),
            None => None,
        };
        let epoch = self.epoch.stand_in(memory)?;
        let handovers: Option<Vec<HandoverLink>> =
            self.handovers.into_iter().map(|link| link.stand_in(memory)).collect();
        Some(Start {
            chain_id: self.chain_id,
            profile: self.profile,
            stored: self.stored,
            stored_time: self.stored_time,
            stored_proof,
            applied: self.applied,
            stages_state: self.stages_state,
            lacks_state: self.lacks_state,
            epoch,
            handovers: handovers?,
            history_gap: stand_in_for(self.history_gap, memory)?,
            trust: self.trust,
        })
    }
}
