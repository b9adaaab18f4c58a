//! [`Seat`]: a machine behind a handle, and its outputs as plain values and handles.

use bytes::Bytes;
use hotstuff2_sync::calls::HostCall;
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::{DecidedError, Event, HaltReason, Machine, Output, Penalty};
use hotstuff2_sync::time::{Instant, UnixMillis, micros};
use hotstuff2_sync::verify::{Job, Verdict};

use crate::buffer::give;
use crate::failure::Failure;
use crate::objects::{Exclusive, Kind};
use crate::table::{self, Object};
use crate::types::{HS2_NEVER, hs2_id, hs2_output, hs2_progress};

/// A machine and what is kept of its outputs.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) machine: Machine,
    /// Proof of conflicting blocks, once it has halted for that.
    pub(crate) evidence: Option<Bytes>,
}

/// A machine behind a handle.
pub(crate) type Machines = Exclusive<Seat>;

impl Object for Machines {
    const KIND: Kind = Kind::Machine;
}

/// A job behind a handle.
#[derive(Debug)]
pub(crate) struct HeldJob {
    pub(crate) job: Job,
    /// Whether it was read from bytes, and shares nothing with the machine that made it.
    pub(crate) was_read: bool,
}

impl Object for HeldJob {
    const KIND: Kind = Kind::Job;
}

impl Object for Verdict {
    const KIND: Kind = Kind::Verdict;
}

impl Object for HostCall {
    const KIND: Kind = Kind::Call;
}

/// An output without meaning.
pub(crate) const NOTHING: hs2_output = hs2_output {
    kind: 0,
    code: 0,
    detail: 0,
    reserved: 0,
    id: 0,
    object: 0,
    peer: hs2_id { bytes: [0; 32] },
    max_response_bytes: 0,
    deadline_us: 0,
    height: 0,
};

/// Writes what is done to a peer.
pub(crate) fn penalty(peer: PeerId, penalty: Penalty, plain: &mut hs2_output) {
    plain.peer.bytes = *peer.as_bytes();
    plain.code = penalty.code().into();
    (plain.detail, plain.deadline_us) = match penalty {
        Penalty::Ban { fault, until } => (fault.code().into(), until.as_micros()),
        Penalty::Exclude { reason, until } => (reason.code().into(), until.as_micros()),
        _ => (0, 0),
    };
}

impl Seat {
    pub(crate) const fn new(machine: Machine) -> Self {
        Self { machine, evidence: None }
    }

    /// The next output.
    pub(crate) fn poll(&mut self) -> Result<hs2_output, Failure> {
        let output = self.machine.poll_output();
        let mut plain = hs2_output { kind: output.code().into(), ..NOTHING };
        match output {
            Output::Request { id, peer, request, max_response_bytes } => {
                plain.id = id.get();
                plain.peer.bytes = *peer.as_bytes();
                plain.max_response_bytes = max_response_bytes;
                plain.object = give(request.encode())?;
            }
            Output::CancelRequest(id) => plain.id = id.get(),
            Output::Verify(job) => {
                plain.id = job.id().get();
                plain.height = job.height().get();
                plain.object = table::insert(HeldJob { job, was_read: false })?;
            }
            Output::CancelJob(id) => plain.id = id.get(),
            Output::Call(call) => {
                plain.id = call.id.get();
                plain.code = call.work.code().into();
                plain.object = table::insert(call)?;
            }
            Output::Penalize { peer, penalty: of } => penalty(peer, of, &mut plain),
            Output::Event(event) => {
                self.describe(&event, &mut plain);
                plain.object = give(event.to_string())?;
            }
            Output::Decided { id, result } => {
                plain.id = id.get();
                match result {
                    Ok(through) => plain.height = through.get(),
                    Err(error) => {
                        plain.code = error.code().into();
                        (plain.detail, plain.height) = match error {
                            DecidedError::False(fault) | DecidedError::FalseHandover(fault) => (fault.code().into(), 0),
                            DecidedError::UnknownEpoch(height) | DecidedError::Contradicted(height) => {
                                (0, height.get())
                            }
                            DecidedError::Overlap { next } => (0, next.get()),
                            _ => (0, 0),
                        };
                        plain.object = give(error.to_string())?;
                    }
                }
            }
            Output::Wait(deadline) => plain.deadline_us = deadline.map_or(HS2_NEVER, Instant::as_micros),
            // A kind that this library does not know is passed on by its number.
            _ => {}
        }
        Ok(plain)
    }

    fn describe(&mut self, event: &Event, plain: &mut hs2_output) {
        plain.code = event.code().into();
        match event {
            Event::Target { height, .. } | Event::StateTarget { height, .. } | Event::StateLost { height } => {
                plain.height = height.get();
            }
            Event::Strategy { strategy, .. } => plain.detail = strategy.code().into(),
            Event::StateMismatch { height, .. } => plain.height = height.get(),
            Event::StateActive(point) | Event::Reached(point) => plain.height = point.height.get(),
            Event::Stalled { reason, next, .. } => {
                plain.detail = reason.code().into();
                plain.deadline_us = next.as_micros();
            }
            Event::Banned { peer, fault } => {
                plain.peer.bytes = *peer.as_bytes();
                plain.detail = fault.code().into();
            }
            Event::SuspectSelf { fault, .. } => plain.detail = fault.code().into(),
            Event::Halted(reason) => {
                plain.detail = reason.code().into();
                match reason {
                    HaltReason::ConflictingFinality { height, evidence } => {
                        plain.height = height.get();
                        self.evidence = Some(evidence.clone());
                    }
                    HaltReason::Apply { through, .. } => plain.height = through.get(),
                    HaltReason::StateRoot { height, .. } => plain.height = height.get(),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> hs2_progress {
        let progress = self.machine.progress();
        hs2_progress {
            start: progress.start.get(),
            current: progress.current.get(),
            target: progress.target.get(),
            claimed: progress.claimed.map_or(0, Height::get),
            tip_time_ms: progress.tip_time.map_or(0, UnixMillis::get),
            blocks_per_second: progress.blocks_per_second,
            remaining_us: progress.remaining.map_or(HS2_NEVER, micros),
            payload_bytes: progress.payload_bytes,
            useful_bytes: progress.useful_bytes,
            duplicate_bytes: progress.duplicate_bytes,
            quorum_checks: progress.quorum_checks,
            buffered_bytes: progress.buffered_bytes,
            strays: progress.strays,
            strategy: progress.strategy.code().into(),
            bottleneck: progress.bottleneck.code().into(),
            stall: progress.stall.map_or(0, |stall| stall.reason.code().into()),
            halted: self.machine.is_halted().into(),
        }
    }
}
