//! Tips: each peer proves its own, the highest is a candidate, and is told once witnesses have confirmed it.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::answers::size_of;
use super::client::{LightClient, ProvenTip};
use super::output::LightEvent;
use super::requests::Purpose;
use crate::chain::{Fault, Finalized, TipCheck, TipFacts};
use crate::hash::Hash;
use crate::ids::{Height, PeerId};
use crate::requests::Kind;
use crate::sorted::Sorted;
use crate::time::Instant;
use crate::verify::Task;
use crate::wire::Request;

/// Time after which a candidate that nobody confirms gives way to a higher one.
const CANDIDATE_PATIENCE: Duration = Duration::from_secs(2);
/// Blocks that a peer may be below a block and still soon be asked to confirm it.
const NEARLY_THERE: u64 = 64;
/// Time after which a peer whose tip is below a block that it is to confirm is asked for its tip again.
const BEHIND_PAUSE: Duration = Duration::from_millis(200);
/// Time between two points that are kept within one epoch.
const KEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes that a tip is expected to have.
const EXPECTED_TIP_BYTES: u64 = 8 << 10;

/// A proven tip that waits for witnesses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Candidate {
    pub(super) tip: ProvenTip,
    /// The group that showed it.
    pub(super) group: Option<u64>,
    since: Instant,
}

/// Tips.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tips {
    /// The last one that each peer proved.
    by_peer: Sorted<PeerId, ProvenTip>,
    /// The highest of all, and the group that showed it.
    best: Option<(ProvenTip, Option<u64>)>,
    candidate: Option<Candidate>,
    told: Option<ProvenTip>,
    witnesses: usize,
    kept: Option<(Instant, crate::ids::Epoch)>,
}

impl Tips {
    /// Starts from a tip that the host trusts, if it has one.
    pub(super) fn new(told: Option<(TipFacts, Bytes)>) -> Self {
        Self { told: told.map(|(facts, proof)| ProvenTip { facts, proof }), ..Self::default() }
    }

    /// The tip that was told.
    pub(super) fn told(&self) -> Option<&ProvenTip> {
        self.told.as_ref()
    }

    /// Groups that confirmed the told tip.
    pub(super) fn witnesses(&self) -> usize {
        self.witnesses
    }

    /// The highest proven tip.
    pub(super) fn best(&self) -> Option<&ProvenTip> {
        self.best.as_ref().map(|(tip, _)| tip)
    }

    /// The tip that waits for witnesses.
    pub(super) fn candidate(&self) -> Option<&Candidate> {
        self.candidate.as_ref()
    }

    /// The last tip that a peer proved.
    pub(super) fn of(&self, peer: PeerId) -> Option<&ProvenTip> {
        self.by_peer.get(&peer)
    }

    /// Forgets a peer's tip.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.by_peer.remove(&peer);
    }

    /// Forgets tips of peers that are not asked any more, so that no number of connections fills memory.
    fn keep_only(&mut self, asked: impl Fn(PeerId) -> bool) {
        self.by_peer.retain(|&peer, _| asked(peer));
    }

    /// Forgets everything but the told tip: something that was proven doesn't hold any more.
    pub(super) fn start_again(&mut self) {
        self.by_peer.clear();
        self.best = None;
        self.candidate = None;
    }

    /// A tip at this height that was proven before, and is another block than `id`.
    pub(super) fn other_at(&self, height: Height, id: Hash) -> Option<&ProvenTip> {
        let all = self.told.iter().chain(self.best()).chain(self.by_peer.values());
        let mut all = all.chain(self.candidate.as_ref().map(|candidate| &candidate.tip));
        all.find(|tip| tip.facts.height == height && tip.facts.id != id)
    }
}

impl LightClient {
    /// Asks peers for their tips: those that claim a higher one than they have proven, in an epoch that is known, and
    /// those whose proven one is below a block that they are to confirm.
    pub(super) fn ask_for_tips(&mut self) {
        self.tips.keep_only(|id| self.peers.get(id).is_some_and(crate::peers::Peer::is_active));
        let newest = self.epochs.newest().epoch();
        let floor = self.told().map_or(self.anchor.height, |told| told.height);
        let needed = self.confirmations.highest();
        let wanted = |id, peer: &crate::peers::Peer| {
            let claim = peer.status.filter(|status| status.epoch <= newest);
            let proven = self.tips.of(id).map(|tip| tip.facts.height);
            claim.is_some_and(|claim| {
                let claims_more = claim.tip >= floor && proven.is_none_or(|proven| claim.tip > proven);
                let nearly = |needed: Height| proven.is_some_and(|at| at < needed && needed.above(at) <= NEARLY_THERE);
                claims_more || needed.is_some_and(nearly)
            })
        };
        let peers: Vec<PeerId> = self
            .peers
            .active()
            .filter(|&(id, peer)| peer.ready(Kind::Tip, self.now) && wanted(id, peer))
            .map(|(id, _)| id)
            .filter(|&id| !self.is_asked(id, &|purpose| purpose == Purpose::Tip))
            .collect();
        for peer in peers {
            self.send(peer, Purpose::Tip, Request::Tip, EXPECTED_TIP_BYTES);
        }
    }

    /// Has a tip checked, unless the very same bytes are proven already, or are being checked.
    pub(super) fn take_tip_answer(&mut self, peer: PeerId, bytes: Bytes) {
        let size = size_of(&bytes);
        let all = [self.tips.told(), self.tips.best()].into_iter().flatten().chain(self.tips.by_peer.values());
        let known = all.filter(|tip| tip.proof == bytes).map(|tip| tip.facts).next();
        if let Some(facts) = known {
            self.take_tip(peer, TipCheck::Final(facts), bytes, size, Duration::ZERO);
            return;
        }
        let epoch = self.epochs.newest().clone();
        let same = self.jobs.values_mut().find(|pending| match pending.job.task() {
            Task::Tip { epoch: checked, bytes: tip } => checked.epoch() == epoch.epoch() && *tip == bytes,
            _ => false,
        });
        if let Some(pending) = same {
            pending.shared.push(peer);
            self.peers.under_check(peer, Kind::Tip);
            return;
        }
        self.send_job(Task::Tip { epoch, bytes }, Some((peer, Purpose::Tip)), size);
    }

    pub(super) fn take_tip(&mut self, id: PeerId, check: TipCheck, proof: Bytes, bytes: u64, took: Duration) {
        match check {
            TipCheck::OtherEpoch(epoch) => {
                let newest = self.epochs.newest().epoch();
                if let Some(epoch) = self.epochs.get(epoch).filter(|known| known.epoch() < newest).cloned() {
                    self.send_job(Task::Tip { epoch, bytes: proof }, Some((id, Purpose::Tip)), bytes);
                } else {
                    self.failed_to_prove(id);
                    self.claims_epoch(id, epoch);
                }
            }
            TipCheck::Final(facts) => {
                let behind =
                    self.peers.get(id).and_then(|peer| peer.status).is_some_and(|status| status.tip > facts.height);
                self.on_valid(id, Kind::Tip, bytes, took);
                self.take_final(id, facts, proof);
                if behind {
                    self.failed_to_prove(id);
                } else if let Some(peer) = self.peers.get_mut(id) {
                    peer.unproven = None;
                }
                if self.confirmations.highest().is_some_and(|needed| facts.height < needed) {
                    self.pause(id, Kind::Tip, BEHIND_PAUSE);
                }
            }
        }
    }

    /// A block that a peer shows belongs to another epoch, which it says without having said so in its claims.
    pub(super) fn claims_epoch(&mut self, id: PeerId, epoch: crate::ids::Epoch) {
        if epoch > self.epochs.newest().epoch()
            && let Some(peer) = self.peers.get_mut(id)
            && let Some(status) = &mut peer.status
        {
            status.epoch = epoch;
            peer.unpause(Kind::Handovers);
        }
    }

    /// A peer proved a block final. False where that contradicts another one.
    pub(super) fn take_final(&mut self, id: PeerId, facts: TipFacts, proof: Bytes) -> bool {
        if facts.height < self.anchor.height {
            return true;
        }
        if let Some(other) = self.tips.other_at(facts.height, facts.id).map(|tip| Finalized::Tip(tip.proof.clone())) {
            self.check_conflict(facts.height, other, Finalized::Tip(proof));
            return false;
        }
        if facts.height == self.anchor.height && facts.id != self.anchor.id {
            // Nothing stands against what the host trusts.
            self.on_fault(id, Kind::Tip, Fault::WrongAnchor);
            return false;
        }
        if facts.epoch == self.epochs.newest().epoch() {
            self.trust_from(facts.timestamp);
        }
        if let Some(peer) = self.peers.get_mut(id)
            && let Some(status) = &mut peer.status
        {
            status.tip = status.tip.max(facts.height);
        }
        let tip = ProvenTip { facts, proof };
        if self.tips.best().is_none_or(|best| best.facts.height < facts.height) {
            self.tips.best = Some((tip.clone(), self.group_of(id)));
        }
        let active = self.peers.get(id).is_some_and(crate::peers::Peer::is_active);
        if active && self.tips.of(id).is_none_or(|before| before.facts.height < facts.height) {
            self.tips.by_peer.insert(id, tip);
        }
        true
    }

    /// Chooses the block that is to be confirmed next: the highest one, unless one before it still has time.
    pub(super) fn choose_candidate(&mut self) {
        let told = self.told().map(|told| told.height);
        let above = |tip: &ProvenTip| told.is_none_or(|told| tip.facts.height > told);
        let Some((best, group)) = self.tips.best.clone().filter(|(best, _)| above(best)) else {
            self.tips.candidate = None;
            return;
        };
        let waits = self.tips.candidate.as_ref().is_some_and(|candidate| {
            above(&candidate.tip)
                && (candidate.tip.facts.id == best.facts.id || self.now.since(candidate.since) < CANDIDATE_PATIENCE)
        });
        if !waits {
            self.tips.candidate = Some(Candidate { tip: best, group, since: self.now });
        }
    }

    /// Tells the candidate, once it is confirmed.
    pub(super) fn tell(&mut self) {
        let Some(Candidate { tip, .. }) = self.tips.candidate.clone() else { return };
        let Some(witnesses) = self.confirmed(tip.facts.height, tip.facts.id) else { return };
        let (facts, now) = (tip.facts, self.now);
        self.tips.candidate = None;
        self.tips.told = Some(tip);
        self.tips.witnesses = witnesses;
        self.progressed();
        self.emit(LightEvent::Tip { block: facts.into(), witnesses });
        let due = |(at, epoch): (Instant, _)| now.since(at) >= KEEP_INTERVAL || epoch != facts.epoch;
        if self.tips.kept.is_none_or(due) {
            self.tips.kept = Some((now, facts.epoch));
            self.keep();
        }
    }
}
