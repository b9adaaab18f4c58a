//! [`Draft`]: where a host stands, put together call by call from what it stored. The host is believed; what doesn't fit
//! together is refused when the machine is made.

use bytes::Bytes;
use hotstuff2_sync::calls::{BlockPoint, Start, TrustingPeriod};
use hotstuff2_sync::chain::native::{self, Genesis};
use hotstuff2_sync::chain::{EpochRef, Finalized};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::time::UnixMillis;
use hotstuff2_sync::verify::HandoverLink;

use crate::failure::Failure;
use crate::objects::{Exclusive, Kind};
use crate::status::Status;
use crate::table::Object;

/// Most handovers that a start is given: at 8 KB each they are a gigabyte.
const MAX_HANDOVERS: usize = 1 << 17;

/// A start as far as it was told.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    chain_id: Hash,
    stored: BlockPoint,
    stored_time: UnixMillis,
    stored_proof: Option<Finalized>,
    applied: Height,
    /// Whether the host keeps states, and whether it has none to execute blocks on.
    states: Option<bool>,
    /// Time of the block that trust begins with.
    anchor_time: UnixMillis,
    /// The trusting period in milliseconds, and the host's time of day.
    trust: Option<(u64, UnixMillis)>,
    /// The epoch that is trusted from the beginning.
    epoch: EpochRef,
    handovers: Vec<HandoverLink>,
}

/// A draft behind a handle.
pub(crate) type Drafts = Exclusive<Draft>;

impl Object for Drafts {
    const KIND: Kind = Kind::Start;
}

impl Draft {
    /// A host that trusts the block `point` of `epoch` and has stored nothing above it.
    pub(crate) fn new(chain_id: Hash, point: BlockPoint, time: UnixMillis, epoch: EpochRef) -> Self {
        let applied = point.height;
        Self {
            chain_id,
            stored: point,
            stored_time: time,
            stored_proof: None,
            applied,
            states: None,
            anchor_time: time,
            trust: None,
            epoch,
            handovers: Vec::new(),
        }
    }

    pub(crate) fn at_genesis(genesis: &Genesis) -> Self {
        let point = BlockPoint { height: Height::ZERO, id: genesis.id() };
        Self::new(genesis.chain_id(), point, genesis.document().timestamp, genesis.epoch().to_ref())
    }

    pub(crate) fn set_stored(&mut self, point: BlockPoint, time: UnixMillis, proof: Option<Finalized>) {
        self.stored = point;
        self.stored_time = time;
        self.stored_proof = proof;
    }

    pub(crate) fn set_applied(&mut self, height: Height) {
        self.applied = height;
    }

    pub(crate) fn set_states(&mut self, lacks_state: bool) {
        self.states = Some(lacks_state);
    }

    pub(crate) fn set_trust(&mut self, period_ms: u64, wall: UnixMillis) {
        self.trust = Some((period_ms, wall));
    }

    /// The next stored handover. Those that the trusted epoch is past of may be left out.
    pub(crate) fn push(&mut self, link: HandoverLink) -> Result<(), Failure> {
        let before = self.handovers.last().map_or(&self.epoch, |link| &link.epoch);
        let follows = link.ended == before.epoch()
            && link.boundary == before.range().last()
            && link.epoch.epoch().is_next_of(before.epoch())
            && link.epoch.range().first().is_next_of(link.boundary);
        if !follows {
            let text =
                format!("the handover ends epoch {}, and epoch {} is to be ended next", link.ended, before.epoch());
            return Err(Failure::new(Status::Refused, text));
        }
        if self.handovers.len() >= MAX_HANDOVERS {
            return Err(Failure::new(Status::TooMany, format!("a start has at most {MAX_HANDOVERS} handovers")));
        }
        self.handovers.push(link);
        Ok(())
    }

    /// The start that all of this makes.
    pub(crate) fn build(&self) -> Result<Start, Failure> {
        let mut epoch = &self.epoch;
        let mut past = 0;
        while epoch.range().last() < self.stored.height {
            let Some(link) = self.handovers.get(past) else {
                let text = format!("the handover that ends epoch {} is missing below the stored block", epoch.epoch());
                return Err(Failure::new(Status::Refused, text));
            };
            epoch = &link.epoch;
            past += 1;
        }
        Ok(Start {
            chain_id: self.chain_id,
            profile: native::PROFILE,
            stored: self.stored,
            stored_time: self.stored_time,
            stored_proof: self.stored_proof.clone(),
            applied: self.applied,
            stages_state: self.states.is_some(),
            epoch: epoch.clone(),
            handovers: self.handovers.iter().skip(past).cloned().collect(),
            history_gap: None,
            lacks_state: self.states == Some(true),
            trust: self.trust.map(|(period_ms, wall)| TrustingPeriod {
                period_ms,
                anchor_time: self.anchor_time,
                wall,
            }),
        })
    }
}

/// A native handover that was proven before, as a link.
pub(crate) fn native_link(bytes: &[u8]) -> Result<HandoverLink, Failure> {
    let read = HandoverLink::from_native(Bytes::copy_from_slice(bytes));
    read.map_err(|why| Failure::malformed("handover", why))
}
