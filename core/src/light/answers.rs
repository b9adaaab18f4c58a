//! Answers of peers and verdicts of jobs: each goes where it was asked for.

use core::time::Duration;

use bytes::Bytes;

use super::client::LightClient;
use super::requests::Purpose;
use crate::chain::{CheckError, Fault};
use crate::ids::{JobId, PeerId, RequestId};
use crate::machine::RequestFailure;
use crate::peers::PeerOutcome;
use crate::requests::{InFlight, Kind};
use crate::strategy::HandoverCheck;
use crate::time::Instant;
use crate::verify::{Outcome, Task, Verdict};
use crate::wire::Answer;

/// Bytes of an answer, as they are counted.
pub(super) fn size_of(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

impl LightClient {
    /// A request was answered, or won't be. An answer to a request that the client has forgotten is ignored.
    pub(super) fn handle_response(&mut self, now: Instant, id: RequestId, answer: Result<Bytes, RequestFailure>) {
        self.advance(now);
        if let Some(request) = self.take_request(id) {
            self.take_answer(&request, answer);
        }
        self.unplanned = true;
    }

    fn take_answer(&mut self, request: &InFlight<Purpose>, answer: Result<Bytes, RequestFailure>) {
        let (peer, kind) = (request.peer, request.purpose.kind());
        let decoded = match answer {
            Ok(bytes) => Answer::decode(bytes),
            Err(RequestFailure::Oversize) => Err(Fault::Oversize),
            Err(RequestFailure::Broken) => {
                self.no_answer(request);
                return;
            }
        };
        match decoded {
            Ok(Answer::Data(data)) => {
                self.record(request, size_of(&data), PeerOutcome::Delivered);
                self.take_data(peer, request.purpose, data);
            }
            Ok(Answer::Refused(refusal)) => self.take_refusal(request, refusal),
            Err(fault) => self.on_fault(peer, kind, fault),
        }
    }

    fn take_data(&mut self, peer: PeerId, purpose: Purpose, data: Bytes) {
        match purpose {
            Purpose::Status => self.take_status(peer, &data),
            Purpose::Handovers(from) => self.take_handover_answer(peer, from, data),
            Purpose::Skip(to) => self.take_skip_answer(peer, to, data),
            Purpose::Tip => self.take_tip_answer(peer, data),
            Purpose::Witness(height, claim) => {
                if let Some(epoch) = self.epochs.of_height(height).cloned() {
                    let size = size_of(&data);
                    let task = Task::Base { epoch, claim, height, bytes: data };
                    self.send_job(task, Some((peer, purpose)), size);
                }
            }
            Purpose::Base(..) | Purpose::Answer(..) => self.take_query_answer(peer, purpose, data),
        }
    }

    /// A job is done. A verdict of a job that the client has forgotten, or one that answers another question, is ignored.
    pub(super) fn handle_verdict(&mut self, now: Instant, verdict: Verdict) {
        self.advance(now);
        self.unplanned = true;
        let id = verdict.job();
        let known = self.jobs.get(&id).is_some_and(|pending| pending.job.statement() == verdict.statement());
        if known && matches!(verdict.outcome(), Err(CheckError::Unable(_))) {
            // This host could not tell: nobody is to blame, and the same is checked again after a pause.
            self.rest_job(id);
            return;
        }
        // One that answers another question must not end the job: its own may still come.
        let Some(pending) = known.then(|| self.take_job(id)).flatten() else { return };
        let Some((peer, purpose)) = pending.origin else {
            self.take_conflict(verdict.into_outcome());
            return;
        };
        // Signatures of a set that is trusted no more prove nothing, whatever the job found.
        if !self.trust_holds() {
            return;
        }
        let (bytes, took) = (pending.bytes, self.now.since(pending.issued));
        match verdict.into_outcome() {
            Err(CheckError::Unable(_)) => {}
            Err(CheckError::False(fault)) => {
                self.take_fault(peer, purpose, fault);
                for peer in pending.shared {
                    self.take_fault(peer, purpose, fault);
                }
            }
            Ok(outcome) => {
                for peer in pending.shared {
                    self.take_proven(id, peer, purpose, outcome.clone(), bytes, took);
                }
                self.take_proven(id, peer, purpose, outcome, bytes, took);
            }
        }
    }

    fn take_fault(&mut self, peer: PeerId, purpose: Purpose, fault: Fault) {
        match (purpose, fault) {
            // Headers that end at another block than the told one are a lie, or the other half of a conflict, which the
            // peer's own tip will show: it is asked for that again, and for headers only after a pause.
            (Purpose::Base(..), Fault::WrongAnchor) => {
                self.tips.forget(peer);
                self.not_available(peer, Kind::Segment);
            }
            _ => self.on_fault(peer, purpose.kind(), fault),
        }
    }

    fn take_proven(
        &mut self,
        job: JobId,
        peer: PeerId,
        purpose: Purpose,
        outcome: Outcome,
        bytes: u64,
        took: Duration,
    ) {
        match (purpose, outcome) {
            (_, Outcome::Handovers { links, ahead, fault }) if ahead.is_empty() => {
                self.take_handovers(peer, &links, fault, bytes, took);
            }
            (_, Outcome::Handovers { links, ahead, fault }) => {
                self.check_parts(purpose, HandoverCheck::new(peer, bytes, links, ahead, fault));
            }
            (_, Outcome::HandoverPart { proven, fault }) => self.take_part(job, purpose, proven, fault, took),
            (_, Outcome::Skip(found)) => self.take_skip(peer, purpose, found, bytes, took),
            (_, Outcome::Tip(check, proof)) => self.take_tip(peer, check, proof, bytes, took),
            (Purpose::Witness(height, claim), Outcome::Base { segment, header }) => {
                self.on_valid(peer, Kind::Segment, bytes, took);
                self.take_witness(peer, height, &claim, &segment, header.id);
            }
            (Purpose::Base(id, claim), Outcome::Base { segment, header }) => {
                self.on_valid(peer, Kind::Segment, bytes, took);
                self.take_base(peer, id, &claim, segment, header);
            }
            (Purpose::Answer(id, _), Outcome::Read { tip, bytes: proof, value }) => {
                self.take_read(peer, id, tip, proof, value, (bytes, took));
            }
            (Purpose::Answer(id, _), Outcome::Proof(value)) => {
                self.on_valid(peer, Kind::Read, bytes, took);
                self.take_value(id, value);
            }
            (Purpose::Answer(id, _), Outcome::Bodies(frames)) => {
                self.on_valid(peer, Kind::Bodies, bytes, took);
                self.take_bodies(id, &frames);
            }
            // The verdict's claim is that of the job, so it can't be anything else.
            _ => {}
        }
    }
}
