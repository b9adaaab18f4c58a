//! [`Input`]: everything that can happen to a machine, as one value, so that it can be queued, recorded and replayed.

use bytes::Bytes;

use crate::calls::{Applied, HistoryDone, HistoryGap, StateDone, StoreError};
use crate::config::SyncStrategyType;
use crate::ids::{CallId, Height, JobId, RequestId};
use crate::machine::inputs::{PeerEvent, RequestFailure};
use crate::machine::state::Machine;
use crate::requests::Purpose;
use crate::time::Instant;
use crate::verify::{Claim, Verdict};

/// One input of the machine. Whoever brings all of them through [`Machine::handle`] can record a run whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// For [`Machine::handle_peer`].
    Peer(PeerEvent),
    /// For [`Machine::handle_response`].
    Response(RequestId, Result<Bytes, RequestFailure>),
    /// For [`Machine::handle_verdict`].
    Verdict(Verdict),
    /// For [`Machine::handle_begun`].
    Begun(JobId),
    /// For [`Machine::handle_applied`].
    Applied(Applied),
    /// For [`Machine::handle_stored`].
    Stored(CallId, Result<(), StoreError>),
    /// For [`Machine::handle_state`].
    State(StateDone),
    /// For [`Machine::handle_history`].
    History(HistoryDone),
    /// For [`Machine::handle_history_gap`].
    HistoryGap(Option<HistoryGap>),
    /// For [`Machine::handle_timeout`].
    Timeout,
    /// For [`Machine::start`].
    Start(Option<Height>),
    /// For [`Machine::stop`].
    Stop,
    /// For [`Machine::use_strategy`].
    Strategy(SyncStrategyType),
}

impl Machine {
    /// Takes one input, whatever it is.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Peer(event) => self.handle_peer(now, event),
            Input::Response(id, answer) => self.handle_response(now, id, answer),
            Input::Verdict(verdict) => self.handle_verdict(now, verdict),
            Input::Begun(id) => self.handle_begun(now, id),
            Input::Applied(answer) => self.handle_applied(now, answer),
            Input::Stored(id, result) => self.handle_stored(now, id, result),
            Input::State(answer) => self.handle_state(now, answer),
            Input::History(answer) => self.handle_history(now, answer),
            Input::HistoryGap(gap) => self.handle_history_gap(now, gap),
            Input::Timeout => self.handle_timeout(now),
            Input::Start(until) => self.start(now, until),
            Input::Stop => self.stop(now),
            // Whoever needs to know that the host can't do it asks for it by name.
            Input::Strategy(strategy) => drop(self.use_strategy(now, strategy)),
        }
    }

    /// Whether the machine itself reads the data in the answer to this request. All other data it only counts and hands
    /// to jobs, which read it elsewhere.
    pub(crate) fn reads_answer(&self, id: RequestId) -> bool {
        self.requests.get(id).is_some_and(|request| match request.purpose {
            // Claims are read, tips compared with each other, and the other side of a contest taken out of its envelope.
            Purpose::Status | Purpose::Tip(_) | Purpose::Contest(_) => true,
            Purpose::Handovers(_)
            | Purpose::Segment { .. }
            | Purpose::Bodies(_)
            | Purpose::Follow(_)
            | Purpose::Base
            | Purpose::State(_) => false,
        })
    }

    /// What the verdict of this job must say that it was asked to prove, while the job is out.
    pub(crate) fn claim_of(&self, job: JobId) -> Option<Claim> {
        self.jobs.get(job).map(|pending| pending.job.claim())
    }
}
