//! [`Goal`]: where downloads end, and the word that everything proven is applied.
//!
//! `Reached` is said when every proven block is applied, and every active peer that advertises a higher tip was asked to
//! prove it and did not. It is said once, and again when there was more to do.

use crate::config::SyncStrategyType;
use crate::ids::{Height, PeerId};
use crate::machine::event::Event;
use crate::machine::patience::GIVE_UP;
use crate::machine::state::Machine;
use crate::peers::Peer;
use crate::requests::Purpose;
use crate::time::Instant;

/// Goal of the sync, and how near the word is that it is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Goal {
    /// Height at which downloads end; without one the network is followed.
    until: Option<Height>,
    /// Height at which `Reached` was said, until there is more to do.
    reached: Option<Height>,
    /// Height at which everything proven was applied, and the time since which peers may say that there is more.
    settling: Option<(Height, Instant)>,
}

impl Goal {
    /// Begins anew, with this end.
    pub(super) fn begin(&mut self, until: Option<Height>) {
        self.until = until;
        self.reached = None;
    }

    /// Takes back that everything is applied: there is more to do.
    pub(super) fn reopen(&mut self) {
        self.reached = None;
    }

    /// Height at which downloads end.
    pub(super) fn until(&self) -> Option<Height> {
        self.until
    }

    /// Height at which `Reached` was said, until there is more to do.
    pub(super) fn reached(&self) -> Option<Height> {
        self.reached
    }

    /// Whether everything proven is applied, and that is not the end of downloads.
    pub(super) fn is_at_tip(&self) -> bool {
        self.reached.is_some_and(|at| self.until.is_none_or(|until| at < until))
    }

    /// Whether the word was said before, unless that was at the tip and short of where downloads end.
    fn is_said(&self, applied: Height) -> bool {
        self.reached.is_some_and(|at| self.until.is_none_or(|until| at >= until || applied < until))
    }

    /// Time since which everything that was heard of is applied at this height, where it is.
    fn settle(&mut self, heard: bool, applied: Height, now: Instant) -> Instant {
        let settling = self.settling.filter(|&(height, _)| height == applied);
        self.settling = heard.then_some(settling.unwrap_or((applied, now)));
        self.settling.map_or(now, |(_, since)| since)
    }
}

impl Machine {
    /// Says so once when everything that can be proven is applied.
    pub(super) fn check_reached(&mut self) {
        let walking = self.strategy == SyncStrategyType::Fast;
        if self.goal.is_said(self.standing.applied) || walking || !self.window.is_idle() || !self.calls.is_empty() {
            return;
        }
        let known = self.target().unwrap_or(self.standing.applied);
        let enough = self.goal.until.is_some_and(|until| self.standing.applied >= until);
        // Proofs are missing, and not blocks, where all claim more than they prove.
        let tip_is_heard = |peer: &Peer| peer.status.is_some_and(|status| status.tip <= self.standing.applied);
        // A node that decides hears of the tip from its own engine.
        let decided = self.submissions.is_used() && self.submissions.highest() >= known;
        let heard =
            self.standing.applied >= known && (decided || self.peers.active().any(|(_, peer)| tip_is_heard(peer)));
        let since = self.goal.settle(heard, self.standing.applied, self.now);
        // Only peers that were active within this time of the last applied block are waited for: a stream of new ones
        // could otherwise put off the word for ever.
        let in_time = |peer: &Peer| peer.slot_since() <= since.after(GIVE_UP);
        // Peers that were asked in vain before are asked again now and then; that holds nothing up, and no more does
        // the proof of what is here already.
        let hopeful = |id: PeerId| {
            let claims_more = |peer: &Peer| peer.status.is_some_and(|status| status.tip > self.standing.applied);
            self.peers.get(id).is_some_and(|peer| peer.may_prove() && claims_more(peer) && in_time(peer))
        };
        // One that says nothing holds up nothing for long, where most have said that there is no more.
        let gives_up = self.most_have_no_more();
        let waits = self.requests.iter().any(|(_, request)| match request.purpose {
            _ if gives_up && self.is_given_up(request) => false,
            Purpose::Tip(_) | Purpose::Handovers(_) => hopeful(request.peer),
            Purpose::Dispute(_) => true,
            Purpose::Status | Purpose::Segment { .. } | Purpose::Bodies(_) | Purpose::Follow(_) => false,
            Purpose::Base | Purpose::State(_) => true,
        });
        let checks = !self.jobs.is_empty();
        let settled = self.decides()
            || self.peers.active().filter(|&(_, peer)| in_time(peer)).all(|(id, peer)| {
                let said = match peer.status {
                    // A peer that failed to prove a claim gains nothing by another one until it proves something.
                    Some(claim) => claim.tip <= self.standing.applied || peer.unproven.is_some(),
                    None => peer.mute,
                };
                said || (gives_up && self.is_given_up_on(id))
            });
        if enough || (heard && settled && !waits && !checks) {
            let Some(point) = self.standing.point() else { return };
            self.goal.reached = Some(self.standing.applied);
            self.moved();
            self.emit(Event::Reached(point));
        }
    }
}
