//! Witnesses: peers of other groups prove the same block before it is told, or two proofs differ and the client halts.
//!
//! A witness proves by its own tip: the same block, or a higher one with the headers from the block in question up to it,
//! or a certificate at the end of a cell below. So its word rests on its own proof, and where it differs that is evidence.

use alloc::vec::Vec;

use bytes::Bytes;

use super::client::LightClient;
use super::output::LightHalt;
use super::requests::Purpose;
use crate::chain::{CheckError, EpochRef, Finalized, SegmentClaim, SegmentEnd, SegmentRef};
use crate::hash::Hash;
use crate::ids::{Height, PeerId};
use crate::requests::Kind;
use crate::sorted::Sorted;
use crate::strategy::base_claim;
use crate::verify::{Outcome, Task};
use crate::wire::Request;

/// A proven block whose proof waits for witnesses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shown {
    pub(super) height: Height,
    pub(super) id: Hash,
    /// The proof that was shown first.
    pub(super) proof: Finalized,
    /// The group that showed it.
    pub(super) group: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Confirmation {
    shown: Shown,
    /// Groups that proved the same block.
    groups: Sorted<u64, ()>,
    /// Peers that were asked for their proof, and the tip that it hangs on.
    asked: Sorted<PeerId, Option<Bytes>>,
}

/// Blocks that wait for witnesses, at most one at a height.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Confirmations {
    open: Sorted<Height, Confirmation>,
    /// The height of a conflict that is being verified again.
    conflict: Option<Height>,
}

impl Confirmations {
    /// The highest block that waits.
    pub(super) fn highest(&self) -> Option<Height> {
        self.open.last().copied()
    }

    /// Groups that confirmed the block at `height`, so far.
    pub(super) fn count(&self, height: Height) -> usize {
        self.open.get(&height).map_or(0, |confirmation| confirmation.groups.len())
    }

    /// A peer gave no proof of its block at `height`: it may be asked again.
    pub(super) fn not_given(&mut self, height: Height, peer: PeerId) {
        if let Some(open) = self.open.get_mut(&height) {
            open.asked.remove(&peer);
        }
    }

    /// Nobody verifies a conflict any more.
    pub(super) fn drop_conflict(&mut self) {
        self.conflict = None;
    }
}

impl LightClient {
    /// The groups that confirmed a block, where these are enough.
    pub(super) fn confirmed(&self, height: Height, id: Hash) -> Option<usize> {
        if self.tips.told().is_some_and(|told| told.facts.id == id) {
            return Some(self.tips.witnesses());
        }
        let groups = self.confirmations.open.get(&height).filter(|open| open.shown.id == id);
        let groups = groups.map_or(0, |confirmation| confirmation.groups.len());
        (groups >= self.config.witnesses).then_some(groups)
    }

    /// Looks for witnesses of everything that waits for some.
    pub(super) fn confirm(&mut self) {
        self.choose_candidate();
        let mut wanted = self.shown_to_queries();
        if let Some(candidate) = self.tips.candidate() {
            let (facts, proof) = (candidate.tip.facts, Finalized::Tip(candidate.tip.proof.clone()));
            wanted.push(Shown { height: facts.height, id: facts.id, proof, group: candidate.group });
        }
        self.confirmations.open.retain(|&height, _| wanted.iter().any(|shown| shown.height == height));
        for shown in wanted {
            let (height, id) = (shown.height, shown.id);
            if self.confirmed(height, id).is_some() {
                continue;
            }
            match self.confirmations.open.get(&height).map(|open| &open.shown) {
                Some(known) if known.id != id => {
                    let (known, proof) = (known.proof.clone(), shown.proof);
                    self.check_conflict(height, known, proof);
                    return;
                }
                Some(_) => {}
                None => {
                    let open = Confirmation { shown, groups: Sorted::new(), asked: Sorted::new() };
                    self.confirmations.open.insert(height, open);
                }
            }
            self.count_tips(height);
            self.ask_witnesses(height);
        }
        self.finish_queries();
    }

    /// Counts peers whose own tip is the block at `height`.
    fn count_tips(&mut self, height: Height) {
        let Some(open) = self.confirmations.open.get_mut(&height) else { return };
        for (id, peer) in self.peers.active() {
            let same = self.tips.of(id).is_some_and(|tip| tip.facts.id == open.shown.id);
            if same && open.shown.group != Some(peer.group) {
                open.groups.insert(peer.group, ());
            }
        }
    }

    fn ask_witnesses(&mut self, height: Height) {
        let Some(epoch) = self.epochs.of_height(height).map(EpochRef::range) else { return };
        let Some(open) = self.confirmations.open.get(&height) else { return };
        let missing = self.config.witnesses.saturating_sub(open.groups.len());
        if missing == 0 {
            return;
        }
        let mut room = self.room(missing, &|purpose| matches!(purpose, Purpose::Witness(at, _) if at == height));
        let mut groups = open.groups.clone();
        if let Some(shown) = open.shown.group {
            groups.insert(shown, ());
        }
        let mut asks: Vec<(PeerId, SegmentClaim, Option<Bytes>)> = Vec::new();
        for (id, peer) in self.peers.active() {
            if room == 0 {
                break;
            }
            if open.asked.contains_key(&id) || groups.contains_key(&peer.group) || !peer.ready(Kind::Segment, self.now)
            {
                continue;
            }
            let Some(tip) = self.tips.of(id).filter(|tip| tip.facts.height > height) else { continue };
            let Some(claim) = base_claim(epoch, tip.facts.height, Some(tip.facts.id), height, self.profile.grid())
            else {
                continue;
            };
            let hangs = matches!(claim.end, SegmentEnd::Anchored(_)).then(|| tip.proof.clone());
            asks.push((id, claim, hangs));
            groups.insert(peer.group, ());
            room = room.saturating_sub(1);
        }
        for (peer, claim, tip) in asks {
            self.send_base(peer, Purpose::Witness(height, claim), &claim);
            if let Some(open) = self.confirmations.open.get_mut(&height) {
                open.asked.insert(peer, tip);
            }
        }
    }

    /// Asks for headers.
    pub(super) fn send_base(&mut self, peer: PeerId, purpose: Purpose, claim: &SegmentClaim) {
        /// Bytes of a header in a segment, and of its certificate.
        const HEADER: u64 = 64;
        const PROOF: u64 = 8 << 10;
        let certified = matches!(claim.end, SegmentEnd::Certified);
        let size = claim.range.count().saturating_mul(HEADER).saturating_add(if certified { PROOF } else { 0 });
        let request = Request::Segment { range: claim.range, certified, audit: false, bodies: 0 };
        self.send(peer, purpose, request, size);
    }

    /// A peer proved its block at `height`.
    pub(super) fn take_witness(
        &mut self,
        peer: PeerId,
        height: Height,
        claim: &SegmentClaim,
        segment: &SegmentRef,
        id: Hash,
    ) {
        let Some(group) = self.group_of(peer) else { return };
        let Some(open) = self.confirmations.open.get_mut(&height) else { return };
        let tip = open.asked.get(&peer).cloned().flatten();
        if open.shown.id == id {
            open.groups.insert(group, ());
            return;
        }
        let bytes = segment.bytes().clone();
        let other = match (claim.end, tip) {
            (SegmentEnd::Anchored(_), Some(tip)) => Finalized::Anchored { segment: bytes, tip, height },
            _ => Finalized::Segment(bytes, height),
        };
        let one = open.shown.proof.clone();
        self.check_conflict(height, one, other);
    }

    /// Two proofs name different blocks at `height`: both are verified again, since a bit may have flipped.
    pub(super) fn check_conflict(&mut self, height: Height, one: Finalized, other: Finalized) {
        if self.confirmations.conflict.is_some() {
            return;
        }
        match self.epochs.of_height(height).cloned() {
            Some(epoch) => {
                self.confirmations.conflict = Some(height);
                self.send_job(Task::Conflict { epoch, one, other }, None, 0);
            }
            None => self.halt(LightHalt::ConflictingFinality { height, evidence: Bytes::new() }),
        }
    }

    /// Both proofs of a conflict were verified again.
    pub(super) fn take_conflict(&mut self, outcome: Result<Outcome, CheckError>) {
        let height = self.confirmations.conflict.take().unwrap_or(self.anchor.height);
        match outcome {
            Ok(Outcome::Conflict(evidence)) => self.halt(LightHalt::ConflictingFinality { height, evidence }),
            // One of the two doesn't hold when looked at again: memory is bad, or was.
            _ => {
                self.tips.start_again();
                self.confirmations.open.clear();
            }
        }
    }
}
