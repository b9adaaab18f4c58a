//! Following the tip: who is asked to tell of the next block, and how it is noticed that it says nothing.
//!
//! A long poll that is not answered looks like a chain that stands still. So somebody else is asked for its claims often:
//! where others claim more, one of those is followed too. Whoever told last is followed first, so one that says nothing
//! holds up one block, and not each.

use alloc::vec::Vec;
use core::time::Duration;

use crate::ids::{Height, PeerId, RequestId};
use crate::limits::GRID;
use crate::machine::patience::GIVE_UP;
use crate::machine::plan::APPLY_SHARE_OF_BUDGET;
use crate::machine::state::{Machine, Timer};
use crate::peers::Ask;
use crate::requests::{Kind, Purpose};
use crate::strategy::{Source, header_memory};
use crate::wire::Request;

/// Followers at once: a second where the first says nothing though others claim more.
const FOLLOWERS: usize = 2;
/// The same where none of them says anything: each may hold as much as a largest answer.
const MAX_FOLLOWERS: usize = 4;
/// Memory for the headers of an answer from the tip.
const FOLLOWED_HEADER_BYTES: u64 = GRID * 512 + (32 << 10);
/// Time between two looks at what others claim: with the way there and back the longest that a silent follower hides a
/// block for.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

impl Machine {
    /// Follows the tip: one answer at a time from where we stand; a second peer where the first says nothing though
    /// others claim more.
    pub(super) fn follow(&mut self) {
        let after = self.window.planned();
        self.end_polls_below(after);
        // Bodies that an answer leaves out are downloaded as ever.
        self.download_missing();
        if self.decides() {
            self.end_polls();
            return;
        }
        if self.epochs.of_height(after.next()).is_none() {
            self.claims.changed |= self.epochs.newest().range().last() == after && self.claims.highest.is_some();
            return;
        }
        if self.goal.until().is_some_and(|until| after >= until) || self.window.next_want(Height::ZERO).is_some() {
            return;
        }
        let checking =
            self.jobs.iter().any(|pending| matches!(pending.origin, Some((_, Purpose::Follow(at))) if at == after));
        let polls = || self.requests.iter().filter(|(_, request)| request.purpose == Purpose::Follow(after));
        let busy: Vec<PeerId> = polls().map(|(_, request)| request.peer).collect();
        let all_silent = polls().all(|(_, request)| request.sent.after(GIVE_UP) <= self.now);
        let behind = |peer: &crate::peers::Peer| peer.status.is_some_and(|status| status.tip > after);
        let anyone_ahead = self.peers.active().any(|(id, peer)| behind(peer) && !busy.contains(&id));
        let enough = match busy.len() {
            0 => false,
            count => !anyone_ahead || count >= if all_silent { MAX_FOLLOWERS } else { FOLLOWERS },
        };
        if checking || enough {
            self.look_at_tips(&busy);
            return;
        }
        let usable = |id: PeerId, peer: &crate::peers::Peer| {
            let holds = peer.status.is_some_and(|status| status.earliest <= after.next() && status.tip >= after);
            holds && !busy.contains(&id) && (behind(peer) || !anyone_ahead)
        };
        let told_last = self.claims.told_last.filter(|&id| {
            let known = self.peers.get(id).filter(|peer| peer.is_active() && peer.ready(Kind::Follow, self.now));
            known.is_some_and(|peer| usable(id, peer))
        });
        let chosen =
            told_last.or_else(|| self.peers.choose(Kind::Follow, Ask::Whole(0), self.now, &mut self.rng, usable));
        let Some(peer) = chosen else { return };
        let Some(known) = self.peers.get(peer) else { return };
        let alone = self.profile.alone_bytes();
        let most = known.request_bytes().min(self.budget.limit() / APPLY_SHARE_OF_BUDGET);
        let most = if self.profile.knows_lengths() { most } else { alone };
        let max_bytes = u32::try_from(most).unwrap_or(u32::MAX);
        let headers = FOLLOWED_HEADER_BYTES.max(header_memory(&self.profile, self.profile.grid()));
        let reserved = most.max(alone).saturating_add(headers);
        // A second one is not worth a piece of history.
        if self.budget.reserve(reserved, true) || (busy.is_empty() && self.reserve_before_history(reserved)) {
            let request = Request::Follow { after, max_bytes, audit: self.audits() };
            self.send(peer, Purpose::Follow(after), request, 0, reserved);
        }
    }

    /// Has one of those that are not followed asked for its claims, longest unasked first.
    fn look_at_tips(&mut self, followed: &[PeerId]) {
        if self.timers.at(Timer::Look).is_some() {
            return;
        }
        let others = self.peers.active().filter(|(id, _)| !followed.contains(id));
        let next = others.filter_map(|(id, _)| Some((self.timers.at(Timer::Status(id))?, id))).min();
        if let Some((_, id)) = next {
            self.ask_status(id);
            self.timers.set(Timer::Look, self.now.after(LOOK_INTERVAL));
        }
    }

    /// Takes back questions for what follows blocks that others have told of meanwhile.
    fn end_polls_below(&mut self, after: Height) {
        let told = |(id, request): (RequestId, &crate::requests::InFlight)| match request.purpose {
            Purpose::Follow(at) if at < after => Some(Source::Request(id)),
            _ => None,
        };
        let obsolete: Vec<Source> = self.requests.iter().filter_map(told).collect();
        self.cancel_sources(obsolete);
    }
}
