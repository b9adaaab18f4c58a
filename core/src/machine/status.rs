//! Statuses: when peers are asked what they hold, and what follows from their word.
//!
//! Active peers are asked at once, and again after each
//! [`status_interval`](crate::config::SyncConfig::status_interval): there are few of them. Peers that stand by may be
//! any number, and their word rarely decides anything. Those that came since are asked a few at a time, longest there
//! first, so that what they cost in a second doesn't grow with their number, and nobody can put off another by coming
//! often.
//!
//! A status is a peer's word and proves nothing: it chooses who is asked for what.

use core::time::Duration;

use bytes::Bytes;

use crate::chain::Fault;
use crate::config::SyncStrategyType;
use crate::ids::{Epoch, Height, PeerId};
use crate::machine::state::{Machine, Phase, Timer};
use crate::machine::state_sync::serves_state;
use crate::peers::Peer;
use crate::requests::{Kind, Purpose};
use crate::timers::Timers;
use crate::wire::{PeerStatus, Request};

/// Time between two looks at newcomers that stand by.
const INTERVAL: Duration = Duration::from_millis(100);
/// Newcomers that are asked at a time while those who have a place leave enough to do: a thousand in less than a minute.
/// A peer that takes a place in a rotation is asked at once all the same.
const AT_A_TIME: usize = 2;
/// The same while something is missed that a newcomer may have: a thousand in less than two seconds.
const AT_A_TIME_WHEN_MISSED: usize = 64;
/// Intervals after which a peer that stands by is asked for its status again.
const STANDBY_INTERVALS: u32 = 10;

/// What peers say of themselves, and which of them have not said it yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claims {
    /// They, or what is known of epochs, have changed: look whom to ask for tips and handovers.
    pub(super) changed: bool,
    /// The highest tip that is claimed, with its epoch.
    pub(super) highest: Option<(Height, Epoch)>,
    /// Peer that told last of a block that follows the tip.
    pub(super) told_last: Option<PeerId>,
    /// Peers that stand by and were not asked yet, by when they came.
    pub(super) newcomers: Timers<PeerId>,
}

impl Default for Claims {
    fn default() -> Self {
        Self { changed: true, highest: None, told_last: None, newcomers: Timers::new() }
    }
}

impl Machine {
    /// Has a peer asked for its claims that was not asked since it came, or since downloads were started.
    pub(super) fn greet(&mut self, peer: PeerId) {
        if self.peers.get(peer).is_some_and(|peer| peer.usable() && !peer.is_active()) {
            self.claims.newcomers.set(peer, self.now);
        } else {
            self.timers.set(Timer::Status(peer), self.now);
        }
    }

    /// Asks a peer for its status, unless it rests, and sets when it is asked again.
    pub(super) fn ask_status(&mut self, peer: PeerId) {
        let Some(known) = self.peers.get(peer).filter(|peer| peer.usable()) else { return };
        if self.phase != Phase::Running {
            return;
        }
        self.claims.newcomers.cancel(peer);
        let rested = known.rests_until(Kind::Status);
        if rested > self.now {
            self.timers.set(Timer::Status(peer), rested);
            return;
        }
        let interval = match known.is_active() {
            true => self.config.status_interval,
            false => self.config.status_interval.saturating_mul(STANDBY_INTERVALS),
        };
        self.timers.set(Timer::Status(peer), self.now.after(interval));
        if !self.requests.is_probed(peer) {
            self.send(peer, Purpose::Status, Request::Status, 64, 0);
        }
    }

    /// Asks newcomers that stand by for their claims, as many as it is time for.
    pub(super) fn ask_newcomers(&mut self) {
        let waits = self.timers.at(Timer::Unasked).is_some();
        if waits || self.phase != Phase::Running || self.claims.newcomers.next().is_none() {
            return;
        }
        let most = if self.misses_something() { AT_A_TIME_WHEN_MISSED } else { AT_A_TIME };
        for _ in 0..most {
            let Some(peer) = self.claims.newcomers.pop_due(self.now) else { return };
            self.ask_status(peer);
        }
        self.timers.set(Timer::Unasked, self.now.after(INTERVAL));
    }

    /// Whether a newcomer may have what nobody has who is asked: more blocks, or a state that is looked for.
    fn misses_something(&self) -> bool {
        let may_have_more = |peer: &Peer| match peer.status {
            Some(claim) => claim.tip > self.standing.applied && peer.unproven.is_none(),
            None => !peer.mute,
        };
        let takes_state = matches!(self.config.default_strategy, SyncStrategyType::Auto | SyncStrategyType::Fast)
            && self.state_sync.is_possible()
            && !self.state_sync.done
            && self.goal.until().is_none();
        !self.peers.active().any(|(_, peer)| may_have_more(peer))
            || (takes_state && !self.peers.active().any(|(_, peer)| serves_state(peer)))
    }

    /// Takes in a peer's status: what it holds, and whether it follows this chain at all.
    pub(super) fn take_status(&mut self, id: PeerId, data: &Bytes) {
        let Some(status) = PeerStatus::decode(data) else {
            self.on_fault(id, Kind::Status, Fault::Malformed);
            return;
        };
        if status.chain_id != self.chain_id {
            let until = self.peers.unsupported(id, self.now);
            self.timers.set_sooner(Timer::Peer(id), until);
            self.claims.changed = true;
            return;
        }
        if let Some(peer) = self.peers.get_mut(id) {
            if peer.status.is_some_and(|before| before.tip != status.tip) {
                peer.unpause(Kind::Segment);
                peer.unpause(Kind::Bodies);
            }
            peer.status = Some(status);
            peer.mute = false;
        }
        self.peers.note_true(Kind::Status, self.now);
        self.ban_exposed();
        self.review_place(id, &status);
        self.counters.useful_bytes =
            self.counters.useful_bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        // The word of a peer that stands by decides nothing, unless it has just made it active.
        self.claims.changed |= self.peers.get(id).is_some_and(Peer::is_active);
    }

    /// A peer that stands by takes a place where it claims what nobody does who is asked.
    fn review_place(&mut self, id: PeerId, status: &PeerStatus) {
        let known = self.target().unwrap_or(self.standing.applied).max(self.standing.applied);
        let above = status.tip > known && self.peers.highest_claim().is_none_or(|claim| claim <= known);
        let may_prove = self.peers.get(id).is_some_and(Peer::may_prove);
        let offers = status.snapshots.is_some() && !self.peers.active().any(|(_, peer)| serves_state(peer));
        if (above && may_prove) || offers {
            self.peers.promote(id, self.now);
        }
        // A peer that lacks the next blocks gives way to one that may have them.
        if status.earliest > self.standing.applied.next() || status.tip < self.standing.applied {
            self.peers.step_aside(id, self.now);
        }
    }

    /// The highest height that any peer claims that is asked, with the newest epoch that any claims.
    pub(super) fn review_claims(&mut self) {
        let claims = self.peers.active().filter_map(|(_, peer)| peer.status);
        self.claims.highest = claims.fold(None, |best: Option<(Height, _)>, claim| {
            let (tip, epoch) = best.unwrap_or((claim.tip, claim.epoch));
            Some((tip.max(claim.tip), epoch.max(claim.epoch)))
        });
    }
}
