//! Inputs as a trace has them, on the way in and on the way out.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::blob::{Blob, Memory};
use super::facts::{TraceGap, optional, stand_in_for};
use super::outcome::TraceOutcome;
use crate::calls::{CallDone, Holding, HostError, HostReply};
use crate::chain::{CheckError, Fault};
use crate::config::SyncStrategyType;
use crate::hash::Hash;
use crate::ids::{CallId, DecidedId, Epoch, Height, JobId, RequestId};
use crate::machine::{Decided, Input, Machine, PeerEvent, RequestFailure};
use crate::time::UnixMillis;
use crate::verify::{Statement, Verdict};

/// One input. See [`Input`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceInput {
    /// A peer came or went.
    Peer(PeerEvent),
    /// An answer.
    Response(RequestId, Result<Blob, RequestFailure>),
    /// A verdict.
    Verdict {
        /// The job.
        job: JobId,
        /// Certificates that were checked.
        quorum_checks: u32,
        /// Outcome of the job; `None` where the job was not out, or the verdict answers another question: the machine
        /// looks no further then.
        outcome: Option<Result<TraceOutcome, CheckError>>,
    },
    /// The host did what a call asked for, or could not.
    Done(CallId, Result<TraceReply, HostError>),
    /// Time passed.
    Timeout,
    /// The command to start.
    Start(Option<Height>),
    /// The command to stop.
    Stop,
    /// The command to use a strategy.
    Strategy(SyncStrategyType),
    /// A thread has begun a job.
    Begun(JobId),
    /// This node's own engine has decided blocks.
    Decided {
        /// The submission.
        id: DecidedId,
        /// The first block.
        first: Height,
        /// The blocks.
        bytes: Blob,
        /// The end of their epoch.
        handover: Option<Blob>,
        /// Whether the engine has executed them.
        executed: bool,
    },
    /// The host's time of day.
    Wall(UnixMillis),
}

impl TraceInput {
    /// Trace's form of `input`, which `machine` is about to take.
    pub(super) fn new(machine: &Machine, input: &Input) -> Self {
        match input {
            Input::Peer(event) => Self::Peer(*event),
            Input::Response(id, Ok(bytes)) if machine.reads_answer(*id) => Self::Response(*id, Ok(Blob::whole(bytes))),
            Input::Response(id, answer) => {
                Self::Response(*id, answer.as_ref().map(|it| Blob::ends(it)).map_err(|it| *it))
            }
            Input::Verdict(verdict) => {
                let asked = machine.statement_of(verdict.job()) == Some(verdict.statement());
                let outcome = || verdict.outcome().as_ref().map(TraceOutcome::new).map_err(|error| *error);
                Self::Verdict {
                    job: verdict.job(),
                    quorum_checks: verdict.quorum_checks(),
                    outcome: asked.then(outcome),
                }
            }
            Input::Done(CallDone { id, result }) => {
                Self::Done(*id, result.as_ref().map(TraceReply::new).map_err(|it| *it))
            }
            Input::Timeout => Self::Timeout,
            Input::Start(until) => Self::Start(*until),
            Input::Stop => Self::Stop,
            Input::Strategy(strategy) => Self::Strategy(*strategy),
            Input::Begun(id) => Self::Begun(*id),
            Input::Wall(wall) => Self::Wall(*wall),
            Input::Decided(Decided { id, first, bytes, handover, executed }) => Self::Decided {
                id: *id,
                first: *first,
                bytes: Blob::ends(bytes),
                handover: handover.as_ref().map(|handover| Blob::ends(handover)),
                executed: *executed,
            },
        }
    }

    /// The input that it stands for, for `machine`. `None` where that takes too much memory or can't be.
    pub(super) fn stand_in(self, machine: &Machine, memory: &mut Memory) -> Option<Input> {
        Some(match self {
            Self::Peer(event) => Input::Peer(event),
            Self::Response(id, Ok(blob)) => Input::Response(id, Ok(blob.stand_in(memory)?)),
            Self::Response(id, Err(failure)) => Input::Response(id, Err(failure)),
            Self::Verdict { job, quorum_checks, outcome } => {
                let asked = machine.statement_of(job);
                let (statement, outcome) = match (asked, outcome) {
                    (Some(statement), Some(Ok(outcome))) => (statement, Ok(outcome.stand_in(memory)?)),
                    (Some(statement), Some(Err(error))) => (statement, Err(error)),
                    // Another question than any that a machine asks.
                    (_, _) => (Statement::Conflict { epoch: Epoch::MAX }, Err(Fault::NoConflict.into())),
                };
                Input::Verdict(Verdict::new(job, statement, outcome, quorum_checks))
            }
            Self::Done(id, Ok(reply)) => Input::Done(CallDone { id, result: Ok(reply.stand_in(memory)?) }),
            Self::Done(id, Err(error)) => Input::Done(CallDone { id, result: Err(error) }),
            Self::Timeout => Input::Timeout,
            Self::Start(until) => Input::Start(until),
            Self::Stop => Input::Stop,
            Self::Strategy(strategy) => Input::Strategy(strategy),
            Self::Begun(id) => Input::Begun(id),
            Self::Wall(wall) => Input::Wall(wall),
            Self::Decided { id, first, bytes, handover, executed } => {
                let (bytes, handover) = (bytes.stand_in(memory)?, optional(handover, memory)?);
                Input::Decided(Decided { id, first, bytes, handover, executed })
            }
        })
    }
}

/// Reply to a call. See [`HostReply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceReply {
    /// Height up to which blocks were applied, and why no further.
    Applied(Height, Option<HostError>),
    /// Handovers were stored.
    HandoversStored,
    /// Parts of the state that are staged.
    Surveyed(Vec<Holding>),
    /// Subtrees were staged.
    Staged,
    /// A state is live.
    Activated(Option<TraceGap>),
    /// A state has another root.
    RootMismatch(Hash),
    /// A piece of history is stored.
    HistoryAdded(Option<TraceGap>),
}

impl TraceReply {
    fn new(reply: &HostReply) -> Self {
        match reply {
            HostReply::Applied { through, stopped } => Self::Applied(*through, *stopped),
            HostReply::HandoversStored => Self::HandoversStored,
            HostReply::Surveyed(holdings) => Self::Surveyed(holdings.clone()),
            HostReply::Staged => Self::Staged,
            HostReply::Activated { history_gap } => Self::Activated(history_gap.as_ref().map(TraceGap::new)),
            HostReply::RootMismatch { found } => Self::RootMismatch(*found),
            HostReply::HistoryAdded { history_gap } => Self::HistoryAdded(history_gap.as_ref().map(TraceGap::new)),
        }
    }

    fn stand_in(self, memory: &mut Memory) -> Option<HostReply> {
        Some(match self {
            Self::Applied(through, stopped) => HostReply::Applied { through, stopped },
            Self::HandoversStored => HostReply::HandoversStored,
            Self::Surveyed(holdings) => HostReply::Surveyed(holdings),
            Self::Staged => HostReply::Staged,
            Self::Activated(gap) => HostReply::Activated { history_gap: stand_in_for(gap, memory)? },
            Self::RootMismatch(found) => HostReply::RootMismatch { found },
            Self::HistoryAdded(gap) => HostReply::HistoryAdded { history_gap: stand_in_for(gap, memory)? },
        })
    }
}
