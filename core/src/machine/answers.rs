//! Answers of peers.

use bytes::Bytes;

use crate::chain::{EpochRef, Fault, Finalized, SegmentClaim, SegmentEnd, TipCheck};
use crate::ids::{PeerId, RequestId};
use crate::machine::input::RequestFailure;
use crate::machine::state::{Machine, Target, Timer};
use crate::peers::PeerOutcome;
use crate::ranges::HeightRange;
use crate::requests::{InFlight, Kind, Purpose};
use crate::strategy::{Source, Waiting};
use crate::verify::Task;
use crate::wire::{Answer, Refusal};

/// A follow request that came back empty sooner than this did not wait at the peer: it is asked again only after a pause.
const PATIENCE: core::time::Duration = core::time::Duration::from_secs(1);
/// Times in a row that a peer may be too busy to prove what it claims; from then on that counts as unproven. It is
/// asked again all the same, but nobody waits for it any more.
const BUSY_IS_UNPROVEN: u32 = 8;

impl Machine {
    /// A request was answered, or won't be. Answers to requests that the machine has forgotten are counted and ignored.
    pub(super) fn on_response(&mut self, id: RequestId, answer: Result<Bytes, RequestFailure>) {
        if let Some(request) = self.requests.remove(id) {
            self.timers.cancel(Timer::Request(id));
            self.timers.cancel(Timer::Late(id));
            self.peers.ended(&request);
            // A probation begins again where what came is to be checked.
            self.end_probation(request.peer, request.purpose);
            let received = answer.as_ref().map_or(0, |answer| u64::try_from(answer.len()).unwrap_or(u64::MAX));
            self.bandwidth.settle(self.now, request.size, received);
            self.take_answer(id, &request, answer);
            // The word of peers that stand by mostly changes nothing, and there may be many of them.
            if request.purpose == Purpose::Status
                && !self.claims.changed
                && !self.peers.has_activated()
                && self.timers.next().is_none_or(|at| at > self.now)
            {
                return;
            }
        } else {
            self.counters.strays = self.counters.strays.saturating_add(1);
            let bytes = answer.map_or(0, |answer| u64::try_from(answer.len()).unwrap_or(u64::MAX));
            self.bandwidth.settle(self.now, 0, bytes);
            self.counters.duplicate_bytes = self.counters.duplicate_bytes.saturating_add(bytes);
        }
        self.unplanned = true;
    }

    fn take_answer(&mut self, id: RequestId, request: &InFlight, answer: Result<Bytes, RequestFailure>) {
        let source = Source::Request(id);
        let (peer, purpose) = (request.peer, request.purpose);
        let decoded = match answer {
            Ok(bytes) => Answer::decode(bytes),
            Err(RequestFailure::Oversize) => Err(Fault::Oversize),
            Err(RequestFailure::Broken) => {
                self.not_given(peer, purpose, false);
                self.drop_source(request, source);
                self.no_answer(request);
                return;
            }
        };
        match decoded {
            Ok(Answer::Data(data)) => {
                let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
                // An answer from the tip comes when there is something to tell.
                if purpose.kind() != Kind::Follow {
                    self.record(request, size, PeerOutcome::Delivered);
                }
                self.requests.completed(self.now, request, size);
                if self.bandwidth.limit().is_some()
                    && let Some(rate) = self.peers.get_peer_bandwidth(&peer)
                {
                    self.bandwidth.set_weight(peer, rate);
                }
                self.take_data(source, request, data, size);
            }
            Ok(Answer::Refused(refusal)) => {
                self.not_given(peer, purpose, refusal == Refusal::NotAvailable);
                self.drop_source(request, source);
                self.take_refusal(request, refusal);
            }
            Err(fault) => {
                self.drop_source(request, source);
                self.on_fault(peer, purpose.kind(), fault);
            }
        }
    }

    /// A request ended without data.
    fn drop_source(&mut self, request: &InFlight, source: Source) {
        self.budget.release(request.reserved);
        self.unassign(request.purpose, source);
    }

    fn take_refusal(&mut self, request: &InFlight, refusal: Refusal) {
        let (id, kind) = (request.peer, request.purpose.kind());
        self.claims.changed = true;
        let until = match refusal {
            Refusal::NotAvailable => {
                if kind == Kind::Follow && self.now.since(request.sent) >= PATIENCE {
                    return;
                }
                let until = self.peers.not_available(id, kind, self.now);
                // A peer that can't give what its claim rests on has not proven it.
                match (request.purpose, self.peers.get_mut(id)) {
                    (Purpose::Tip(_) | Purpose::Handovers(_), Some(peer)) => until.min(peer.failed_to_prove(self.now)),
                    _ => until,
                }
            }
            Refusal::Busy { retry_after_ms } => {
                let until = self.now.after(core::time::Duration::from_millis(u64::from(retry_after_ms)));
                // The peer's word alone doesn't make anyone wait for longer than a request may take.
                let until = until.min(self.now.after(self.config.peer_timeout));
                let (until, in_a_row) = self.peers.busy(id, until, self.now);
                let proves = matches!(request.purpose, Purpose::Tip(_) | Purpose::Handovers(_));
                if proves && in_a_row >= BUSY_IS_UNPROVEN {
                    self.peers.get_mut(id).map_or(until, |peer| peer.failed_to_prove(self.now)).max(until)
                } else {
                    until
                }
            }
            Refusal::Unsupported => {
                let until = self.peers.unsupported(id, self.now);
                self.abandon_requests(id);
                until
            }
        };
        if let (Purpose::Status, Some(peer)) = (request.purpose, self.peers.get_mut(id)) {
            peer.mute = true;
            self.timers.set_sooner(Timer::Status(id), until);
        }
        self.timers.set_sooner(Timer::Peer(id), until);
    }

    fn take_data(&mut self, source: Source, request: &InFlight, data: Bytes, size: u64) {
        let (peer, purpose) = (request.peer, request.purpose);
        let origin = Some((peer, purpose));
        match purpose {
            Purpose::Status => {
                self.budget.release(request.reserved);
                self.take_status(peer, &data);
            }
            Purpose::Handovers(from) => {
                let reserved = size.min(request.reserved);
                self.budget.release(request.reserved.saturating_sub(reserved));
                if let Some(displaced) = self.epochs.keep(from, Waiting { peer, bytes: data, reserved }) {
                    self.forget_handovers(&displaced);
                }
                self.peers.under_check(peer, Kind::Handovers);
                self.check_handovers();
            }
            Purpose::Tip(asked) => {
                // A handover may have been verified meanwhile; then the tip is asked for again.
                if self.epochs.newest().epoch() == asked {
                    let epoch = self.epochs.newest().clone();
                    self.check_tip(peer, epoch, data, size, request.reserved);
                } else {
                    self.budget.release(request.reserved);
                    self.claims.changed = true;
                }
            }
            Purpose::Segment { first, bodies } => {
                let Some(cell) = self.window.cell(first) else {
                    self.budget.release(request.reserved);
                    return;
                };
                let parent = self.parent_at_seam(&cell.epoch, cell.range.first());
                let claim = SegmentClaim { range: cell.range, parent, end: cell.end, audit: cell.audited };
                let epoch = cell.epoch.clone();
                let ends = cell.range.last() == epoch.range().last();
                let boundary = self.epochs.boundary(epoch.epoch()).filter(|_| ends);
                let handover = boundary.map(|(_, bytes)| bytes.clone());
                let task = Task::Segment { epoch, claim, bodies, handover, bytes: data };
                self.check_source(source, origin, task, size, request.reserved);
            }
            Purpose::Bodies(range) => {
                let Some(segment) = self.window.cell(range.first()).and_then(|cell| cell.segment()).cloned() else {
                    self.budget.release(request.reserved);
                    return;
                };
                let task = Task::Bodies { segment, range, bytes: data };
                self.check_source(source, origin, task, size, request.reserved);
            }
            Purpose::Base => match self.base_task(data) {
                Some(task) => {
                    self.send_job(task, origin, size, request.reserved);
                }
                None => self.budget.release(request.reserved),
            },
            Purpose::State(batch) => {
                let Some(want) = self.state_sync.walk.as_ref().and_then(|walk| walk.batch(batch)) else {
                    self.budget.release(request.reserved);
                    self.counters.duplicate_bytes = self.counters.duplicate_bytes.saturating_add(size);
                    return;
                };
                let task = Task::State { form: want.form, items: want.items.clone(), bytes: data };
                self.check_source(source, origin, task, size, request.reserved);
            }
            Purpose::Dispute(_) => self.take_disputed(peer, &data, size, request.reserved),
            Purpose::Follow(after) => {
                let first = after.next();
                let epoch = self.epochs.of_height(first).cloned();
                let cell = epoch.as_ref().and_then(|epoch| self.profile.cell(first, epoch.range()));
                let range = cell.and_then(|cell| HeightRange::new(first, cell.last()));
                match (epoch, range) {
                    (Some(epoch), Some(range)) if self.window.planned() == after => {
                        let (end, audit) = (SegmentEnd::CertifiedUpTo, self.audits());
                        let parent = self.parent_at_seam(&epoch, first);
                        let claim = SegmentClaim { range, parent, end, audit };
                        let task = Task::Follow { epoch, claim, bytes: data };
                        self.send_job(task, origin, size, request.reserved);
                    }
                    _ => {
                        self.budget.release(request.reserved);
                        self.counters.duplicate_bytes = self.counters.duplicate_bytes.saturating_add(size);
                    }
                }
            }
        }
    }

    /// Has a tip checked, unless the very same one is proven already, or being checked for the same epoch: what follows
    /// from the same bytes is the same.
    pub(super) fn check_tip(&mut self, peer: PeerId, epoch: EpochRef, bytes: Bytes, size: u64, reserved: u64) {
        let proven = |target: &&Target| matches!(&target.proof, Finalized::Tip(tip) if *tip == bytes);
        let proven = self.target.as_ref().filter(proven);
        if let Some(facts) = proven.map(|target| target.facts) {
            self.budget.release(reserved);
            self.take_tip(peer, TipCheck::Final(facts), bytes, size);
            return;
        }
        let same = self.jobs.iter_mut().find(|pending| match pending.job.task() {
            Task::Tip { epoch: checked, bytes: tip } => checked.epoch() == epoch.epoch() && *tip == bytes,
            _ => false,
        });
        if let Some(pending) = same {
            pending.shared.push((peer, size));
            self.peers.under_check(peer, Kind::Tip);
            self.budget.release(reserved);
            return;
        }
        let origin = Some((peer, Purpose::Tip(epoch.epoch())));
        self.send_job(Task::Tip { epoch, bytes }, origin, size, reserved);
    }

    /// Gives out a job for an answer that something waits for.
    fn check_source(
        &mut self,
        source: Source,
        origin: Option<(PeerId, Purpose)>,
        task: Task,
        size: u64,
        reserved: u64,
    ) {
        let Some((_, purpose)) = origin else { return };
        if !self.replace_source(purpose, source, Source::Job(self.jobs.upcoming())) {
            self.budget.release(reserved);
            self.counters.duplicate_bytes = self.counters.duplicate_bytes.saturating_add(size);
            return;
        }
        self.send_job(task, origin, size, reserved);
    }
}
