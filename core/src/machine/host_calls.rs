//! Calls into the host: given out, given out again, and ended.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::calls::{CallDone, HANDOVERS, HostCall, HostError, HostReply, HostWork};
use crate::ids::{CallId, Epoch, Height};
use crate::machine::event::HaltReason;
use crate::machine::output::Output;
use crate::machine::patience::pause_after;
use crate::machine::state::{Machine, Phase, Timer};
use crate::ranges::HeightRange;
use crate::verify::HandoverLink;

/// A call that is out, or waits to be given out again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pending {
    work: HostWork,
    /// Bytes of the memory budget that go back when it is done.
    held: u64,
    /// Times that the host said that it can't now.
    refusals: u32,
    /// Whether one of those times its disk was full. What fails after that fails for the same reason.
    disk_full: bool,
    /// Whether it passed its deadline before the host answered.
    late: bool,
}

/// The calls that are out, and what waits for one of them to end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HostCalls {
    out: BTreeMap<CallId, Pending>,
    next: CallId,
    /// Verified handovers that wait until fewer calls with handovers are out.
    handovers: Vec<HandoverLink>,
}

impl HostCalls {
    /// No calls.
    pub(super) const fn new() -> Self {
        Self { out: BTreeMap::new(), next: CallId::FIRST, handovers: Vec::new() }
    }

    /// Whether the host has nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The calls that are out.
    pub(super) fn ids(&self) -> impl Iterator<Item = CallId> {
        self.out.keys().copied()
    }

    /// Work of all calls that are out.
    fn works(&self) -> impl Iterator<Item = &HostWork> {
        self.out.values().map(|pending| &pending.work)
    }

    /// Number of calls that are out for work of some kind.
    pub(super) fn count(&self, kind: impl Fn(&HostWork) -> bool) -> usize {
        self.works().filter(|work| kind(work)).count()
    }

    /// Whether the host said of one of them that it can't now.
    pub(super) fn are_refused(&self) -> bool {
        self.out.values().any(|pending| pending.refusals > 0)
    }

    /// Whether it said that its disk is full.
    pub(super) fn meet_a_full_disk(&self) -> bool {
        self.out.values().any(|pending| pending.disk_full)
    }

    /// Whether the host hashes a complete state, and in time. That shows no steps, and takes long where the state is large.
    pub(super) fn is_hashing(&self) -> bool {
        let hashing = |pending: &Pending| matches!(pending.work, HostWork::Activate(_));
        self.out.values().any(|pending| hashing(pending) && pending.refusals == 0 && !pending.late)
    }

    /// The first epoch whose end is in a call with handovers that is out.
    pub(super) fn first_unstored(&self) -> Option<Epoch> {
        let first = |work: &HostWork| match work {
            HostWork::StoreHandovers(links) => links.first().map(|link| link.ended),
            _ => None,
        };
        self.works().filter_map(first).min()
    }
}

impl Machine {
    /// Gives out a call that holds `held` bytes of the budget.
    pub(super) fn call(&mut self, work: HostWork, held: u64) {
        let id = self.calls.next;
        self.calls.next = id.next();
        self.calls.out.insert(id, Pending { work, held, refusals: 0, disk_full: false, late: false });
        self.give_out(id);
    }

    /// Gives out a call, the first time or again, with the time that it may take.
    fn give_out(&mut self, id: CallId) {
        let Some(work) = self.calls.out.get(&id).map(|pending| pending.work.clone()) else { return };
        let most = match work {
            HostWork::Activate(_) => self.activation_timeout(),
            _ => self.config.call_timeout,
        };
        self.outputs.push_back(Output::Call(HostCall { id, work }));
        self.timers.set(Timer::Call(id), self.now.after(most));
    }

    /// Has handovers stored, with the next call where enough are out.
    pub(super) fn store_handovers(&mut self, links: Vec<HandoverLink>) {
        self.calls.handovers.extend(links);
        self.store_waiting_handovers();
    }

    fn store_waiting_handovers(&mut self) {
        let out = self.calls.count(|work| matches!(work, HostWork::StoreHandovers(_)));
        if out < HANDOVERS && !self.calls.handovers.is_empty() {
            let links = core::mem::take(&mut self.calls.handovers);
            self.call(HostWork::StoreHandovers(links), 0);
        }
    }

    /// A call was not answered in time, or its rest is over: it is given out again.
    pub(super) fn call_timed_out(&mut self, id: CallId) {
        if let Some(pending) = self.calls.out.get_mut(&id) {
            pending.late |= pending.refusals == 0;
            self.give_out(id);
        }
    }

    /// The host did what it was asked for, or could not.
    pub(super) fn on_done(&mut self, done: CallDone) {
        let CallDone { id, result } = done;
        let known = self.calls.out.get(&id);
        let fits = known.is_some_and(|pending| result.as_ref().map_or(true, |reply| pending.work.fits(reply)));
        if !fits {
            self.counters.strays = self.counters.strays.saturating_add(1);
            return;
        }
        match result {
            Err(error) => self.call_failed(id, error),
            Ok(HostReply::Applied { through, stopped }) => self.take_applied(id, through, stopped),
            Ok(reply) => {
                if let Some(work) = self.end_call(id) {
                    self.take_reply(work, reply);
                }
            }
        }
        self.unplanned = true;
    }

    fn take_reply(&mut self, work: HostWork, reply: HostReply) {
        match (work, reply) {
            (HostWork::StoreHandovers(links), _) => {
                if let Some(last) = links.last() {
                    self.epochs.set_stored(last.epoch.epoch());
                }
                self.store_waiting_handovers();
            }
            (HostWork::Survey(items), HostReply::Surveyed(holdings)) => self.take_surveyed(&items, &holdings),
            (HostWork::Stage(leaves), _) => self.take_staged(&leaves),
            (HostWork::Activate(base), HostReply::Activated { history_gap }) => self.activated(base, history_gap),
            (HostWork::Activate(base), HostReply::RootMismatch { found }) => self.take_mismatch(&base, found),
            (HostWork::AddHistory(_), HostReply::HistoryAdded { history_gap }) => self.history_added(history_gap),
            // Of these no reply ends the call here, or it doesn't fit.
            (HostWork::Apply(_) | HostWork::Replay(_) | HostWork::Survey(_), _)
            | (HostWork::Activate(_) | HostWork::AddHistory(_), _) => {}
        }
    }

    /// Blocks are stored and executed up to `through`.
    fn take_applied(&mut self, id: CallId, through: Height, stopped: Option<HostError>) {
        let Some(pending) = self.calls.out.get(&id) else { return };
        let (range, last_block, bytes) = match &pending.work {
            HostWork::Apply(apply) => {
                let last = apply.parts.last().map(|part| &part.segment);
                let ends = last.filter(|segment| Some(segment.range().last()) == apply.range().map(HeightRange::last));
                let last_block = ends.map(|segment| (segment.last_id(), segment.last_timestamp()));
                (apply.range(), last_block, apply.payload_bytes())
            }
            HostWork::Replay(range) => (Some(*range), self.standing.stored_at(range.last()), 0),
            _ => (None, None, 0),
        };
        let Some(range) = range else { return };
        let through = through.min(range.last());
        if self.standing.execute(through, last_block.filter(|_| through == range.last())) {
            self.progressed();
        }
        match stopped {
            None if through == range.last() => {
                self.end_call(id);
                self.counters.payload_bytes = self.counters.payload_bytes.saturating_add(bytes);
                self.epochs.forget_below(self.standing.applied);
            }
            None => self.rest_call(id, false),
            Some(error) => self.call_failed(id, error),
        }
    }

    /// The host could not: it is asked again after a pause, or this is the end.
    fn call_failed(&mut self, id: CallId, error: HostError) {
        if error.is_transient() {
            self.rest_call(id, error == HostError::NoSpace);
            return;
        }
        let work = self.end_call(id);
        if self.phase != Phase::Halted {
            self.halt(match work {
                Some(HostWork::Apply(_) | HostWork::Replay(_)) => {
                    HaltReason::Apply { through: self.standing.applied, error }
                }
                _ => HaltReason::Store(error),
            });
        }
    }

    /// The host can't now, perhaps because its disk is full: the call comes again after a pause, which doubles each time.
    fn rest_call(&mut self, id: CallId, disk_full: bool) {
        let Some(pending) = self.calls.out.get_mut(&id) else { return };
        pending.disk_full |= disk_full;
        let rest = pause_after(pending.refusals);
        pending.refusals = pending.refusals.saturating_add(1);
        self.timers.set(Timer::Call(id), self.now.after(rest));
    }

    /// A call is over: what it held of the budget goes back.
    fn end_call(&mut self, id: CallId) -> Option<HostWork> {
        let pending = self.calls.out.remove(&id)?;
        self.timers.cancel(Timer::Call(id));
        self.budget.release(pending.held);
        Some(pending.work)
    }
}
