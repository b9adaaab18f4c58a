//! Epochs: from the trusted one up to the newest that peers claim, by handovers, or by skips.
//!
//! A skip aims at the highest epoch that a peer claims and halves the distance where too few of the trusted validators
//! signed that far up. Nobody is to blame for a distance that is too far, so somebody could claim an epoch without end
//! and never prove any. So each peer has its own distance, which only shrinks until it proves something; what is left in
//! the end is the next handover, which is proven or is not.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::answers::size_of;
use super::client::LightClient;
use super::config::LightWay;
use super::output::LightEvent;
use super::requests::Purpose;
use crate::chain::{EpochRef, Fault};
use crate::ids::{Epoch, JobId, PeerId};
use crate::limits::MAX_HANDOVERS;
use crate::peers::Ask;
use crate::requests::Kind;
use crate::sorted::Sorted;
use crate::strategy::{Epochs, HandoverCheck, HandoverPart, Waiting};
use crate::verify::{HandoverLink, Task};
use crate::wire::{Request, Sections};

/// Verified epochs that are remembered, the newest ones: blocks of these can be asked for.
const KEPT_EPOCHS: u64 = 16;
/// Peers that are asked for skips at a time, where those before lead nowhere.
const MAX_GUIDES: usize = 3;
/// Handovers that are asked for at a time where nobody can be asked to skip.
const STEPS: u32 = 8;
/// Skips in a row that were too far, after which another peer is asked as well.
const TOO_FAR_PER_GUIDE: usize = 4;

/// Distances that were too far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Climb {
    /// The nearest epoch that was too far, by the peer that showed it.
    too_far: Sorted<PeerId, Epoch>,
    /// Skips that were too far since the last epoch was proven.
    in_vain: usize,
}

impl Climb {
    /// Forgets a peer's distance: it proved something, or is gone.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.too_far.remove(&peer);
    }

    /// An epoch was proven by `peer`.
    fn proven(&mut self, peer: PeerId, newest: Epoch) {
        self.forget(peer);
        self.too_far.retain(|_, &mut far| far > newest);
        self.in_vain = 0;
    }

    /// How many peers are asked for skips at a time.
    fn guides(&self) -> usize {
        self.in_vain.checked_div(TOO_FAR_PER_GUIDE).unwrap_or(0).saturating_add(1).min(MAX_GUIDES)
    }

    /// The epoch that a peer is to prove which claims `claimed`; `None` where that is the next one.
    fn aim(&self, peer: PeerId, newest: Epoch, claimed: Epoch) -> Option<Epoch> {
        // The proof of an epoch is its end, so the claimed one itself can't be proven so.
        let top = claimed.prev().filter(|&top| top > newest)?;
        let Some(&far) = self.too_far.get(&peer) else { return Some(top) };
        let half = newest.plus(far.above(newest) / 2);
        (half > newest).then_some(half.min(top))
    }
}

impl LightClient {
    /// The newest epoch that a peer claims which is asked.
    pub(super) fn claimed_epoch(&self) -> Epoch {
        self.peers.active().filter_map(|(_, peer)| peer.status).map(|status| status.epoch).max().unwrap_or_default()
    }

    /// Asks for the epochs above the trusted ones.
    pub(super) fn ask_for_epochs(&mut self) {
        self.check_handovers();
        match self.config.way {
            LightWay::OneByOne => self.ask_for_handovers(MAX_HANDOVERS),
            LightWay::Skipping => self.ask_for_skips(),
        }
    }

    fn ask_for_handovers(&mut self, max: u32) {
        let newest = self.epochs.newest().epoch();
        let wanted = self.epochs.wanted(self.claimed_epoch(), newest, |from| {
            self.room(1, &|purpose| purpose == Purpose::Handovers(from)) == 0
        });
        // Few are asked for where the next skip may pass them: none ahead then.
        let ahead = max == MAX_HANDOVERS;
        for from in wanted.into_iter().filter(|&from| ahead || from == newest) {
            if self.ask_for_handover(from, max).is_none() && from == newest {
                self.make_room_at_the_end();
                self.ask_for_handover(from, max);
            }
        }
    }

    /// Asks somebody for the handovers from the end of `from` on.
    fn ask_for_handover(&mut self, from: Epoch, max: u32) -> Option<()> {
        let mut rng = self.rng.clone();
        let size = self.epochs.handover_bytes();
        let eligible = |id, peer: &crate::peers::Peer| {
            peer.status.is_some_and(|claim| claim.epoch > from)
                && !self.is_asked(id, &|purpose| purpose == Purpose::Handovers(from))
        };
        let peer = self.peers.choose(Kind::Handovers, Ask::Whole(size), self.now, &mut rng, eligible)?;
        self.rng = rng;
        self.send(peer, Purpose::Handovers(from), Request::Handovers { from, max }, size);
        Some(())
    }

    /// Those who could give what everything waits for may all be on probation with answers that wait for just that.
    fn make_room_at_the_end(&mut self) {
        let peers = &self.peers;
        let on_trial = |id| peers.get(id).is_some_and(|peer| peer.awaits_judgement(Kind::Handovers));
        for answer in self.epochs.take_waiting_of(&on_trial) {
            self.peers.end_probation(answer.peer, Kind::Handovers);
        }
    }

    fn ask_for_skips(&mut self) {
        let newest = self.epochs.newest().epoch();
        let is_skip = |purpose| matches!(purpose, Purpose::Skip(_));
        let mut room = self.room(self.climb.guides(), &is_skip);
        // The peer that is on the way goes on before another begins.
        for begun in [true, false] {
            while room > 0 {
                let eligible = |id, peer: &crate::peers::Peer| {
                    self.climb.too_far.contains_key(&id) == begun
                        && peer.status.is_some_and(|claim| self.climb.aim(id, newest, claim.epoch).is_some())
                        && !self.is_asked(id, &is_skip)
                };
                let size = self.epochs.handover_bytes().saturating_mul(2);
                let mut rng = self.rng.clone();
                let chosen = self.peers.choose(Kind::Handovers, Ask::Whole(size), self.now, &mut rng, eligible);
                self.rng = rng;
                let aim = chosen.and_then(|id| self.climb.aim(id, newest, self.peers.get(id)?.status?.epoch));
                let (Some(peer), Some(to)) = (chosen, aim) else { break };
                let Some(from) = to.prev() else { break };
                self.send(peer, Purpose::Skip(to), Request::Handovers { from, max: 2 }, size);
                room = room.saturating_sub(1);
            }
        }
        // Where nobody can be asked to skip, the next epoch is what is left.
        let skips = self.requests.values().any(|request| is_skip(request.purpose))
            || self.jobs.values().any(|pending| pending.origin.is_some_and(|(_, purpose)| is_skip(purpose)));
        if !skips {
            self.ask_for_handovers(STEPS);
        }
    }

    /// Handovers came: they are checked once the trusted end has reached them.
    pub(super) fn take_handover_answer(&mut self, peer: PeerId, from: Epoch, data: Bytes) {
        if let Some(displaced) = self.epochs.keep(from, Waiting { peer, bytes: data, reserved: 0 }) {
            self.peers.end_probation(displaced.peer, Kind::Handovers);
        }
        self.peers.under_check(peer, Kind::Handovers);
    }

    /// Hands the answer at the trusted end to a job, if there is one and no such job is out.
    fn check_handovers(&mut self) {
        for passed in self.epochs.take_passed() {
            self.peers.end_probation(passed.peer, Kind::Handovers);
        }
        let busy = self.jobs.values().any(|pending| matches!(pending.job.task(), Task::Handovers { .. }));
        if busy || self.epochs.check.is_some() {
            return;
        }
        if let Some((from, Waiting { peer, bytes, .. })) = self.epochs.take_next() {
            let (size, purpose) = (size_of(&bytes), Purpose::Handovers(from.epoch()));
            self.send_job(Task::Handovers { from, bytes }, Some((peer, purpose)), size);
        }
    }

    /// An answer is linked, and its first handover proven: the signatures of the others are checked side by side.
    pub(super) fn check_parts(&mut self, purpose: Purpose, (mut check, parts): (HandoverCheck, Vec<HandoverPart>)) {
        let (known, peer) = (self.epochs.newest().clone(), check.peer);
        for HandoverPart { place, from, links } in parts {
            let task = Task::HandoverPart { known: known.clone(), from, links };
            check.sent(self.send_job(task, Some((peer, purpose)), 0), place);
        }
        self.epochs.check = Some(check);
    }

    /// Signatures of a part were checked. With the last part it is known how much of the answer is proven.
    pub(super) fn take_part(
        &mut self,
        job: JobId,
        purpose: Purpose,
        proven: u32,
        fault: Option<Fault>,
        took: Duration,
    ) {
        let Some(check) = &mut self.epochs.check else { return };
        for needless in check.judged(job, proven, fault) {
            self.cancel_job(needless);
        }
        match self.epochs.check.take_if(|check| check.is_done()) {
            Some(check) => {
                let (peer, bytes) = (check.peer, check.bytes);
                let (links, fault) = check.into_proven();
                self.take_handovers(peer, &links, fault, bytes, took);
            }
            // The verdict on its answer is still to come.
            None => {
                if let Some(peer) = self.epochs.check.as_ref().map(|check| check.peer) {
                    self.peers.under_check(peer, purpose);
                }
            }
        }
    }

    /// Answers with handovers will not be checked.
    pub(super) fn forget_waiting_handovers(&mut self, of: &dyn Fn(PeerId) -> bool) {
        for answer in self.epochs.take_waiting_of(of) {
            self.peers.end_probation(answer.peer, Kind::Handovers);
        }
    }

    pub(super) fn take_handovers(
        &mut self,
        peer: PeerId,
        links: &[HandoverLink],
        fault: Option<Fault>,
        bytes: u64,
        took: Duration,
    ) {
        let before = self.epochs.newest().epoch();
        // A skip may have passed them meanwhile.
        if links.first().is_some_and(|link| link.ended == before) && self.epochs.extend(links) {
            self.on_valid(peer, Kind::Handovers, bytes, took);
            self.came_to_epoch(peer, links);
            let epoch = self.epochs.newest().epoch();
            self.emit(LightEvent::Epoch { epoch });
        }
        if let Some(fault) = fault {
            self.on_fault(peer, Kind::Handovers, fault);
        }
    }

    /// The two handovers of a skip came.
    pub(super) fn take_skip_answer(&mut self, peer: PeerId, to: Epoch, data: Bytes) {
        let from = self.epochs.newest().clone();
        // An honest server may be without the second one, if it is just about to store it.
        let mut sections = Sections::new(data.clone());
        let whole = sections.take().is_some() && !sections.is_empty();
        if !whole || to <= from.epoch() {
            if !whole {
                self.failed_to_prove(peer);
                self.not_available(peer, Kind::Handovers);
            }
            return;
        }
        let size = size_of(&data);
        self.send_job(Task::Skip { from, to, bytes: data }, Some((peer, Purpose::Skip(to))), size);
    }

    pub(super) fn take_skip(
        &mut self,
        peer: PeerId,
        purpose: Purpose,
        found: Option<Box<(EpochRef, HandoverLink)>>,
        bytes: u64,
        took: Duration,
    ) {
        let Purpose::Skip(to) = purpose else { return };
        let newest = self.epochs.newest().epoch();
        let Some(found) = found else {
            if to > newest {
                self.climb.too_far.insert(peer, to);
                self.climb.in_vain = self.climb.in_vain.saturating_add(1);
            }
            return;
        };
        let (epoch, link) = *found;
        if epoch.epoch() <= newest {
            return;
        }
        let links = [link];
        let Some(epochs) = Epochs::new(epoch, &links) else { return };
        self.forget_waiting_handovers(&|_| true);
        self.epochs = epochs;
        self.on_valid(peer, Kind::Handovers, bytes, took);
        self.came_to_epoch(peer, &links);
        self.emit(LightEvent::Skipped { from: newest, to: self.epochs.newest().epoch() });
    }

    /// The epochs up to the newest are proven.
    fn came_to_epoch(&mut self, peer: PeerId, links: &[HandoverLink]) {
        let newest = self.epochs.newest().epoch();
        self.climb.proven(peer, newest);
        if let Some(link) = links.last() {
            self.trust_from(link.boundary_time);
        }
        if let Some(old) = newest.get().checked_sub(KEPT_EPOCHS).and_then(|old| self.epochs.get(Epoch::new(old))) {
            let first = old.range().last().next();
            self.epochs.forget_below(first);
        }
        self.cancel_requests(&|request| match request.purpose {
            Purpose::Handovers(from) => from < newest,
            Purpose::Skip(to) => to <= newest,
            _ => false,
        });
        // Tips of an epoch that was unknown until now can be proven.
        let active: Vec<PeerId> = self.peers.active_ids().collect();
        for id in active {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.unproven = None;
                peer.unpause(Kind::Tip);
            }
        }
        self.progressed();
    }
}
