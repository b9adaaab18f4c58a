//! Newcomers: when a peer that has connected is asked for its claims.
//!
//! Who is given a place is asked at once: there are few places. Who stands by is one of any number, and what it claims
//! rarely decides anything. Those are asked a few at a time, longest there first, so that what they cost in a second doesn't
//! grow with their number, and nobody can put off another by coming often.

use core::time::Duration;

use crate::config::SyncStrategyType;
use crate::ids::PeerId;
use crate::machine::state::{Machine, Phase, Timer};
use crate::machine::state_sync::serves_state;

/// Time between two looks at newcomers that stand by.
const INTERVAL: Duration = Duration::from_millis(100);
/// Newcomers that are asked at a time while those who have a place leave enough to do: a thousand in less than a minute.
/// Whoever takes a place in a rotation is asked at once all the same.
const AT_A_TIME: usize = 2;
/// The same while something is missed that a newcomer may have: a thousand in less than two seconds.
const AT_A_TIME_WHEN_MISSED: usize = 64;

impl Machine {
    /// Has a peer asked for its claims that was not asked since it came, or since downloads were started.
    pub(super) fn greet(&mut self, peer: PeerId) {
        if self.peers.get(peer).is_some_and(|peer| peer.usable() && !peer.is_active()) {
            self.newcomers.set(peer, self.now);
        } else {
            self.timers.set(Timer::Status(peer), self.now);
        }
    }

    /// Asks newcomers that stand by for their claims, as many as it is time for.
    pub(super) fn ask_newcomers(&mut self) {
        let waits = self.timers.at(Timer::Newcomers).is_some();
        if waits || self.phase != Phase::Running || self.newcomers.next().is_none() {
            return;
        }
        let most = if self.misses_something() { AT_A_TIME_WHEN_MISSED } else { AT_A_TIME };
        for _ in 0..most {
            let Some(peer) = self.newcomers.pop_due(self.now) else { return };
            self.ask_status(peer);
        }
        self.timers.set(Timer::Newcomers, self.now.after(INTERVAL));
    }

    /// Whether a newcomer may have what nobody has who is asked: more blocks, or a state that is looked for.
    fn misses_something(&self) -> bool {
        let may_have_more = |peer: &crate::peers::Peer| match peer.claim {
            Some(claim) => claim.tip > self.applied && peer.unproven.is_none(),
            None => !peer.mute,
        };
        let takes_state = matches!(self.config.default_strategy, SyncStrategyType::Auto | SyncStrategyType::Fast)
            && self.state_sync.is_possible()
            && !self.state_sync.done
            && self.until.is_none();
        !self.peers.active().any(|(_, peer)| may_have_more(peer))
            || (takes_state && !self.peers.active().any(|(_, peer)| serves_state(peer)))
    }
}
