//! Requests for headers and bodies: whom, how much at once, and when a second peer is asked.

use core::time::Duration;

use crate::chain::Finalized;
use crate::ids::{Height, PeerId, RequestId};
use crate::machine::output::Output;
use crate::machine::patience::HEDGE_AFTER;
use crate::machine::state::{Machine, Timer};
use crate::peers::{Ask, Peer, PeerOutcome};
use crate::ranges::HeightRange;
use crate::requests::{Capability, InFlight, Kind, Purpose};
use crate::strategy::{Cell, Source, Want};
use crate::time::Instant;
use crate::wire::Request;

/// Bodies are asked for together with their headers by an estimate, and this part more: blocks differ.
const BODIES_SLACK: u64 = 8;
/// Bytes around payloads in an answer: its tag and, for each frame, a head. A frame holds at least one block.
const FRAME_HEAD_BYTES: u64 = 9;
/// Claims and tips are small: their time-out is this part of the usual one.
const SMALL_TIMEOUT_SHARE: u32 = 2;
/// The budget is mostly full with less than this part of it left …
const PRESSING_SHARE: u64 = 4;
/// … and the head of line is pressing in any case after this time.
const PRESSING_AFTER: Duration = Duration::from_secs(1);
/// Time after which things that nobody was asked for are looked at again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// Things that nobody can be asked for now, after which no more are looked at.
const MOST_REFUSED: u32 = 16;

impl Machine {
    /// Opens cells and asks for what they miss, lowest first, as far as peers, budget and the request limit allow.
    pub(super) fn download(&mut self) {
        let Some(target) = self.target() else { return };
        let limit = self.goal.until().map_or(target, |until| target.min(until));
        // The thing that everything waits for goes before what would fill those who could give it.
        self.hedge();
        let mut from = Height::ZERO;
        let mut refused = 0u32;
        while self.may_ask_more() && self.budget.room(true) > 0 {
            let Some(want) = self.window.next_want(from) else {
                if self.window.planned() >= limit || !self.has_room_for_a_cell() || !self.open_cell() {
                    break;
                }
                continue;
            };
            // Wants come lowest first: what lies below this one is not missing, or can't be asked for now.
            from = want.range().first();
            if !self.ask_for(&want) {
                from = want.range().last().next();
                refused = refused.saturating_add(1);
                if self.budget.room(false) == 0 || refused >= MOST_REFUSED {
                    break;
                }
            }
        }
        if refused > 0 && self.requests.len() > 0 {
            // Perhaps a better peer is waited for; it may turn out to be late.
            self.timers.set_sooner(Timer::Tokens, self.now.after(LOOK_AGAIN_AFTER));
        }
        self.requests.set_missing(self.window.unasked_bytes());
        self.watch_head_of_line();
    }

    /// Looks again when the head of line, which may have been asked for just now, can be late.
    fn watch_head_of_line(&mut self) {
        if let Some((.., earliest)) = self.lone_head()
            && earliest > self.now
        {
            self.timers.set_sooner(Timer::Hedge, earliest);
        }
    }

    /// The head of line and its bytes, the request for it where there is just one, and when that can be late at the
    /// earliest.
    fn lone_head(&self) -> Option<(HeightRange, u64, RequestId, Instant)> {
        let (range, bytes, &[Source::Request(id)]) = self.window.head_of_line()? else { return None };
        Some((range, bytes, id, self.requests.get(id)?.sent.after(HEDGE_AFTER)))
    }

    /// Whether limits and peers allow another request for something large.
    pub(super) fn may_ask_more(&mut self) -> bool {
        if let Some(at) = self.bandwidth.ready_at(self.now) {
            self.timers.set(Timer::Tokens, at);
            return false;
        }
        self.requests.len() < self.config.parallel_download_limit
            && self.peers.link_has_room()
            && self.peers.anyone_ready(self.now)
    }

    /// Whether the budget holds the payloads of the cells that are open, and another cell. Headers alone apply nothing: where
    /// they took the budget, the bodies would wait for it.
    fn has_room_for_a_cell(&self) -> bool {
        let ahead = self.window.unasked_bytes();
        self.window.is_idle() || ahead < self.budget.room(false)
    }

    fn open_cell(&mut self) -> bool {
        let Some(target) = &self.target else { return false };
        let tip = match &target.proof {
            Finalized::Tip(tip) => Some(tip),
            _ => None,
        };
        // A target that was proven otherwise (by a handover, or while following) ends a segment with a certificate.
        let epochs = &self.epochs;
        self.window.open_next(&target.facts, tip, |height| epochs.of_height(height).cloned()).unwrap_or(false)
    }

    /// Sends the request for `want` to the best peer. False where nobody can be asked or the budget is full.
    pub(super) fn ask_for(&mut self, want: &Want) -> bool {
        let in_line = self.window.head_of_line().is_some_and(|(range, _, _)| range.first() == want.range().first());
        // While nothing is in line, history is all that there is to wait for.
        let head = in_line || self.window.is_idle();
        match *want {
            Want::Headers { range, certified, cost, alone } => {
                let proving = self.proving_bytes(range);
                let bodies = if alone { 0 } else { self.window.expected_bytes(range) };
                let size = self.wire_bytes(range);
                let Some(peer) = self.choose_holder(Kind::Segment, range, Ask::Whole(size)) else { return false };
                // In one answer with their bodies, where those are likely to fit into what this peer is asked for at
                // once. Larger cells are asked for in parts, when the headers have said how large they are.
                let most = self.bandwidth.request_bytes(self.peers.get(peer).map_or(0, Peer::request_bytes));
                let batched = range.count() > self.batch();
                let may_try = |with_bodies| {
                    let capability = Capability { kind: Kind::Segment, with_bodies };
                    self.peers.get(peer).is_some_and(|peer| peer.may_try(capability))
                };
                let bodies = match proving {
                    0 if bodies <= most && !batched && may_try(true) => bodies,
                    0 => 0,
                    all => all,
                };
                if !may_try(bodies > 0 || proving > 0) {
                    return false;
                }
                let needed = cost.saturating_add(bodies);
                if needed > self.budget.room(head) && !head {
                    return false;
                }
                let room = self.budget.room(head).saturating_sub(cost);
                let bodies = match proving {
                    0 => bodies.saturating_add(bodies / BODIES_SLACK).min(most).min(room),
                    all => all,
                };
                let bytes = cost.saturating_add(bodies);
                let reserved = self.budget.reserve(bytes, head) || (in_line && self.reserve_before_history(bytes));
                if !reserved {
                    return false;
                }
                let expected = if proving == 0 { bodies } else { self.window.expected_bytes(range).min(proving) };
                let source = self.send_segment(peer, range, certified, size.saturating_add(expected), bodies, bodies);
                if let Some(headers) = self.window.headers_of(range.first()) {
                    headers.add(source);
                }
            }
            Want::Bodies { range, bytes } => {
                let first = HeightRange::single(range.first());
                let Some(peer) = self.choose_holder(Kind::Bodies, first, Ask::UpTo(bytes)) else { return false };
                let Some(known) = self.peers.get(peer) else { return false };
                let room = self.budget.room(head).max(1);
                let held_last = known.status.map_or(range.first(), |status| status.tip);
                let held_last = held_last.min(range.first().plus(self.batch().saturating_sub(1)));
                let most = self.bandwidth.request_bytes(known.request_bytes());
                // Room for a few blocks only is not worth a request: it would cut the slot into crumbs.
                if !head && room < most.min(bytes) {
                    return false;
                }
                let most = most.min(room);
                let Some(range) = self.window.split(range.first(), most, held_last) else { return false };
                let Some(bytes) = self.window.slot_of(range.first()).map(|slot| slot.bytes) else { return false };
                let reserved = self.budget.reserve(bytes, head) || (in_line && self.reserve_before_history(bytes));
                if !reserved {
                    return false;
                }
                let source = self.send_bodies(peer, range, bytes, 0);
                if let Some(slot) = self.window.slot_of(range.first()) {
                    slot.fetch.add(source);
                }
            }
        }
        true
    }

    /// Bytes of the headers of `range` on the wire, at most, with the certificates that come beside them.
    fn wire_bytes(&self, range: HeightRange) -> u64 {
        let audit = self.window.cell(range.first()).map_or(0, Cell::audit_bytes);
        range.count().saturating_mul(self.profile.header_bytes.into()).saturating_add(audit)
    }

    /// Payload bytes that must come in one answer with the headers of `range`, at most: all of them where nothing else
    /// proves their lengths, so that nobody is blamed for what another peer said. Zero where the headers prove lengths.
    fn proving_bytes(&self, range: HeightRange) -> u64 {
        let each = if self.profile.knows_lengths() { 0 } else { self.profile.payload_bytes };
        range.count().saturating_mul(each.into())
    }

    /// Reserves what history holds for something that comes before it, or says no.
    pub(super) fn reserve_before_history(&mut self, bytes: u64) -> bool {
        // Given up for nothing it would be asked for again at once.
        if self.budget.room(true).saturating_add(self.window.history_held()) < bytes {
            return false;
        }
        self.drop_history();
        self.budget.reserve(bytes, true)
    }

    /// Most blocks whose payloads one request asks for.
    fn batch(&self) -> u64 {
        u64::try_from(self.config.block_batch_size).unwrap_or(u64::MAX).max(1)
    }

    pub(super) fn choose_holder(&mut self, kind: Kind, range: HeightRange, ask: Ask) -> Option<PeerId> {
        self.choose_who(kind, ask, |peer| peer.claims(range))
    }

    /// Whom to ask of those that `may` give it.
    pub(super) fn choose_who(&mut self, kind: Kind, ask: Ask, may: impl Fn(&Peer) -> bool) -> Option<PeerId> {
        let bandwidth = &self.bandwidth;
        let eligible = |id, peer: &Peer| may(peer) && bandwidth.has_share(id, peer.queued_bytes);
        self.peers.choose(kind, ask, self.now, &mut self.rng, eligible)
    }

    fn send_bodies(&mut self, peer: PeerId, range: HeightRange, bytes: u64, reserved: u64) -> Source {
        let request = Request::Bodies { range, max_bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
        self.send(peer, Purpose::Bodies(range), request, bytes, reserved)
    }

    fn send_segment(
        &mut self,
        peer: PeerId,
        range: HeightRange,
        certified: bool,
        size: u64,
        bodies: u64,
        reserved: u64,
    ) -> Source {
        let bodies = u32::try_from(bodies).unwrap_or(u32::MAX);
        let audit = self.window.cell(range.first()).is_some_and(|cell| cell.audited);
        let request = Request::Segment { range, certified, audit, bodies };
        let purpose = Purpose::Segment { first: range.first(), bodies };
        self.send(peer, purpose, request, size, reserved)
    }

    /// Asks a second peer for the head of line where the first is late, within a cap on bytes asked for twice.
    pub(super) fn hedge(&mut self) {
        self.balance();
        let again = self.hedge_when_late();
        self.look_again(again);
    }

    /// Looks at what is late again then, if at all.
    pub(super) fn look_again(&mut self, at: Option<Instant>) {
        match at {
            Some(at) => self.timers.set(Timer::Hedge, at),
            None => self.timers.cancel(Timer::Hedge),
        }
    }

    /// Returns when to look again.
    fn hedge_when_late(&mut self) -> Option<Instant> {
        let (range, bytes, id, earliest) = self.lone_head()?;
        if earliest > self.now {
            return Some(earliest);
        }
        let headers = bytes == 0 && self.window.cell(range.first()).is_some_and(|cell| cell.segment().is_none());
        let proving = self.proving_bytes(range);
        let (kind, size) = if headers {
            (Kind::Segment, self.wire_bytes(range).saturating_add(proving))
        } else {
            (Kind::Bodies, bytes)
        };
        let InFlight { peer: first_peer, sent, reserved, .. } = *self.requests.get(id)?;
        let best = |id: PeerId, peer: &Peer| id != first_peer && peer.claims(range);
        let second = self.peers.choose(kind, Ask::Whole(size), self.now, &mut self.rng, best)?;
        // Headers from the second peer lose the bodies that the first may have begun to send with them.
        let asked = size.saturating_add(reserved);
        let pressing = self.is_pressing();
        let late = self.late_at(id, second, asked, pressing);
        if late > self.now {
            return Some(late);
        }
        // While there is other work, a late answer costs nothing yet; but without its headers nothing of a cell can be
        // asked for.
        if !headers && !pressing && sent.after(PRESSING_AFTER) > self.now {
            return Some(self.now.after(HEDGE_AFTER));
        }
        if self.budget.room(true) < size {
            return None;
        }
        if !self.may_hedge(asked) {
            // The request may be taken from its peer instead; nothing else need happen before that is due.
            return self.take_pressing(id, pressing);
        }
        if !self.budget.reserve(size, true) {
            return None;
        }
        self.requests.hedged();
        if headers {
            let certified = self.window.cell(range.first()).map(Cell::is_certified)?;
            let source = self.send_segment(second, range, certified, size, proving, size);
            if let Some(headers) = self.window.headers_of(range.first()) {
                headers.add(source);
            }
        } else {
            let source = self.send_bodies(second, range, size, size);
            if let Some(slot) = self.window.slot_of(range.first()) {
                slot.fetch.add(source);
            }
        }
        None
    }

    /// Whether the head of line holds everything up: the budget is mostly full, or there is nothing else to ask for.
    fn is_pressing(&self) -> bool {
        let limit = self.goal.until().into_iter().chain(self.target()).min().unwrap_or(self.standing.applied);
        let full = self.budget.room(false) < self.budget.limit() / PRESSING_SHARE;
        full || (self.window.planned() >= limit && self.window.next_want(Height::ZERO).is_none())
    }

    /// Takes downloads, of blocks or of a state, from peers that are late, though others answer on time.
    pub(super) fn balance(&mut self) {
        for id in self.requests.balance_download_load(self.now, &self.peers) {
            self.take_away(id);
        }
    }

    /// Takes a download from its peer.
    pub(super) fn take_away(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(id).cloned() else { return };
        self.peers.timed_out_unheard(&request, self.now);
        self.not_given(request.peer, request.purpose, false);
        self.abandon_request(id);
        self.record(&request, request.size, PeerOutcome::NoAnswer);
    }

    /// Asks for bodies that an answer from the tip left out.
    pub(super) fn download_missing(&mut self) {
        let mut from = Height::ZERO;
        while self.may_ask_more()
            && let Some(want) = self.window.next_want(from)
        {
            if !self.ask_for(&want) {
                from = want.range().last().next();
            }
        }
        self.hedge();
    }

    /// Sends a request.
    pub(super) fn send(
        &mut self,
        peer: PeerId,
        purpose: Purpose,
        request: Request,
        size: u64,
        reserved: u64,
    ) -> Source {
        let most = u64::from(request.max_response_bytes());
        let max_response_bytes = match request {
            // Verified headers say exactly how long the payloads are.
            Request::Bodies { range, .. } => {
                let heads = range.count().saturating_add(1).saturating_mul(FRAME_HEAD_BYTES);
                size.saturating_add(heads).saturating_add(FRAME_HEAD_BYTES)
            }
            _ => most,
        };
        if self.peers.get(peer).is_some_and(|peer| peer.gives_up_poll_for(purpose.into())) {
            self.give_up_polls(peer);
        }
        let due = self.peers.due(peer, purpose.kind(), size, self.now);
        let id = match purpose {
            Purpose::Bodies(range) => self.requests.assign_block_range(self.now, peer, range, size, due, reserved),
            _ => self.requests.insert(InFlight { peer, purpose, sent: self.now, due, size, reserved }),
        };
        self.peers.sent(peer, purpose, size, due, self.now);
        self.bandwidth.charge(self.now, size);
        let timeout = match purpose.kind() {
            Kind::Follow => self.config.follow_timeout,
            Kind::Status | Kind::Tip => self.config.peer_timeout.checked_div(SMALL_TIMEOUT_SHARE).unwrap_or_default(),
            Kind::Handovers | Kind::Segment | Kind::Bodies | Kind::State | Kind::Read => self.config.peer_timeout,
        };
        self.timers.set(Timer::Request(id), self.now.after(timeout));
        self.await_answer(id, purpose);
        self.outputs.push_back(Output::Request { id, peer, request, max_response_bytes });
        Source::Request(id)
    }
}
