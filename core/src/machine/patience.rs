//! Patience: how long an answer is waited for before somebody else is asked, and before nobody waits for it any more.
//!
//! One rule for all questions. A question is *late* when another peer would have answered it twice
//! ([`Machine::late_at`]), and then that one is asked too: for handovers, tips and the headers of a state's block as for
//! headers, payloads and parts of a state. A small question is *given up* after [`GIVE_UP`]: its answer is still taken when
//! it comes, but nothing waits for it. Only its time-out, much later, says something of the peer.

use alloc::vec::Vec;
use core::time::Duration;

use crate::downloads::STALLED_FACTOR;
use crate::ids::{PeerId, RequestId};
use crate::machine::state::{Machine, Timer};
use crate::peers::{Peer, PeerOutcome};
use crate::requests::{InFlight, Kind, Purpose};
use crate::strategy::Source;
use crate::time::Instant;

/// Shortest time after which a question counts as late.
pub(super) const HEDGE_AFTER: Duration = Duration::from_millis(100);
/// A question is late after so many times the expected duration.
const HEDGE_FACTOR: u32 = 2;
/// Bytes asked for twice stay below one in so many of the useful ones …
const HEDGE_SHARE: u64 = 64;
/// … plus this, so that a young sync can hedge at all.
const HEDGE_FLOOR_BYTES: u64 = 256 << 10;
/// Bytes that are taken from a peer in haste count as well; of those a sync may have this much before its share is as large.
const HURRY_BYTES: u64 = 5 << 18;
/// Longest time that a peer is granted by what was expected of it, before its answer counts as late.
const HEDGE_PATIENCE: Duration = Duration::from_secs(2);
/// Shortest silence after which a download that holds everything up, and can't be asked for twice, is taken from its peer
/// where others are on time.
const PRESSING_STALLED_AFTER: Duration = Duration::from_millis(500);
/// Time after which a small question is given up: one peer must cost less than a second, and a round trip around the
/// world takes half of it.
pub(super) const GIVE_UP: Duration = Duration::from_millis(750);

/// Pause after the host said for the first time that it can't, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest such pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Doublings after which the pause has reached [`MAX_PAUSE`].
const MAX_DOUBLINGS: u32 = 7;

/// Pause for a host that said so often before that it can't do something.
pub(super) fn pause_after(refusals: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << refusals.min(MAX_DOUBLINGS)).min(MAX_PAUSE)
}

impl Machine {
    /// Time at which a request counts as late: against what `second` would need for the same alone, and against what
    /// was expected of it when it was asked, as far as that is a reasonable time and nothing else is held up.
    pub(super) fn late_at(&self, id: RequestId, second: PeerId, size: u64, pressing: bool) -> Instant {
        let Some(InFlight { purpose, sent, due, .. }) = self.requests.get(id) else { return self.now };
        let known = self.peers.get(second);
        let expected = known.map_or(Duration::MAX, |peer| peer.expected_alone(purpose.kind(), size));
        // An assumed rate of a line that was never filled is no reason to wait for long.
        let most = if known.is_some_and(|peer| peer.estimator.is_known()) { Duration::MAX } else { GIVE_UP };
        let own = if pressing { Duration::ZERO } else { due.since(*sent).min(HEDGE_PATIENCE) };
        sent.after(expected.saturating_mul(HEDGE_FACTOR).min(most).max(HEDGE_AFTER).max(own))
    }

    /// Whether `second` may be asked for what a small question asks for that holds everything up. Where it is not late
    /// yet, it is looked at again when it is.
    pub(super) fn is_late(&mut self, id: RequestId, second: PeerId, size: u64) -> bool {
        let late = self.late_at(id, second, size, true);
        if late > self.now {
            self.timers.set_sooner(Timer::Late(id), late);
        }
        late <= self.now
    }

    /// Counts `size` against the cap on bytes that are asked for twice, if they fit. What comes twice is less: of an answer
    /// that is given up nobody knows how much was under way, so all of it counts. Where the cap is reached, what is
    /// late is taken from its peer and asked for anew all the same, only later
    /// ([`DownloadCoordinator::balance_download_load`]).
    ///
    /// [`DownloadCoordinator::balance_download_load`]: crate::downloads::DownloadCoordinator::balance_download_load
    pub(super) fn may_hedge(&mut self, size: u64) -> bool {
        let spent = self.counters.hedged_bytes.saturating_add(size);
        if spent > self.hedge_cap() {
            return false;
        }
        self.counters.hedged_bytes = spent;
        true
    }

    fn hedge_cap(&self) -> u64 {
        (self.counters.useful_bytes / HEDGE_SHARE).saturating_add(HEDGE_FLOOR_BYTES)
    }

    /// Takes a late download from its peer that holds everything up and is too large to be asked for twice: sooner than
    /// other downloads, and a little later also where nobody else is asked for anything that could show that others are on
    /// time. It may be under way all the same, so it counts as asked for twice. Returns when to look again.
    pub(super) fn take_pressing(&mut self, id: RequestId, pressing: bool) -> Option<Instant> {
        if let Some(InFlight { peer, purpose, sent, due, size, .. }) = self.requests.get(id)
            && pressing
        {
            // A peer that was never asked for all that its line can give is expected to take whatever was assumed.
            let known = self.peers.get(*peer);
            let is_known = known.is_some_and(|peer| peer.estimator.is_known());
            let own = if is_known { due.since(*sent).saturating_mul(STALLED_FACTOR) } else { Duration::ZERO };
            let vouched = self.peers.is_alone_late(self.now, *peer, purpose.kind(), *sent);
            let least = if vouched { PRESSING_STALLED_AFTER } else { GIVE_UP };
            let cap = self.hedge_cap().max(HURRY_BYTES);
            let spent = self.counters.hedged_bytes.saturating_add(*size);
            if spent <= cap && sent.after(own.max(least)) <= self.now {
                self.counters.hedged_bytes = spent;
                self.take_away(id);
            }
        }
        Some(self.now.after(HEDGE_AFTER))
    }

    /// Looks at a question that was just sent when it may be late. Bulk is looked at with every plan, and a long poll is
    /// meant to take its time.
    pub(super) fn await_answer(&mut self, id: RequestId, purpose: Purpose) {
        let first = match purpose {
            Purpose::Tip(_) | Purpose::Handovers(_) | Purpose::Base => HEDGE_AFTER,
            Purpose::Status | Purpose::Dispute(_) => GIVE_UP,
            Purpose::Segment { .. } | Purpose::Bodies(_) | Purpose::State(_) | Purpose::Follow(_) => return,
        };
        self.timers.set(Timer::Late(id), self.now.after(first));
    }

    /// A small question may be late: others are asked, and later on nothing waits for it.
    pub(super) fn look_at_late(&mut self, id: RequestId) {
        let Some(&InFlight { sent, .. }) = self.requests.get(id) else { return };
        self.claims.changed = true;
        let end = sent.after(GIVE_UP);
        if end > self.now {
            self.timers.set(Timer::Late(id), end);
        }
    }

    /// Whether a question is given up.
    pub(super) fn is_given_up(&self, request: &InFlight) -> bool {
        request.sent.after(GIVE_UP) <= self.now
    }

    /// Whether what would show what a peer has is given up: its claims or a proof.
    pub(super) fn is_given_up_on(&self, peer: PeerId) -> bool {
        let shows = |purpose| matches!(purpose, Purpose::Status | Purpose::Tip(_) | Purpose::Handovers(_));
        let asked = self.requests.of_peer(peer).into_iter().filter_map(|id| self.requests.get(id));
        asked.filter(|request| shows(request.purpose)).any(|request| self.is_given_up(request))
    }

    /// Whether at least half of those that are asked claim no more than is here. Where fewer do, nothing is given up for
    /// the question of whether this is all: those that are quick may be the ones that are behind, or our own line is slow.
    pub(super) fn most_have_no_more(&self) -> bool {
        let no_more = |peer: &Peer| peer.status.is_some_and(|status| status.tip <= self.standing.applied);
        let (agree, all) = self.peers.active().fold((0u32, 0u32), |(agree, all), (_, peer)| {
            (agree.saturating_add(u32::from(no_more(peer))), all.saturating_add(1))
        });
        agree.saturating_mul(2) >= all
    }

    /// A peer did not answer, or not in time. What broke may work at the next try, which its rest is before.
    pub(super) fn no_answer(&mut self, request: &InFlight) {
        let id = request.peer;
        let was_mute = self.peers.get(id).is_some_and(|peer| peer.mute);
        match (request.purpose, self.peers.get_mut(id)) {
            (Purpose::Status, Some(peer)) => peer.mute = true,
            (Purpose::Tip(_) | Purpose::Handovers(_), Some(peer)) => {
                peer.unproven = peer.status.map(|status| status.tip);
            }
            _ => {}
        }
        self.record(request, request.size, PeerOutcome::NoAnswer);
        if request.purpose == Purpose::Status
            && !was_mute
            && let Some(rested) = self.peers.get(id).map(|peer| peer.rests_until(Kind::Status))
        {
            self.timers.set_sooner(Timer::Status(id), rested);
        }
        self.claims.changed = true;
    }

    /// Takes back questions that an answer of another peer has made needless.
    pub(super) fn take_back(&mut self, needless: impl Fn(Purpose) -> bool) {
        let needless = |(id, request): (RequestId, &InFlight)| needless(request.purpose).then_some(Source::Request(id));
        let obsolete: Vec<Source> = self.requests.iter().filter_map(needless).collect();
        self.hedge_lost(&obsolete);
        self.cancel_sources(obsolete);
    }
}
