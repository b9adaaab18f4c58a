//! One peer.

use core::time::Duration;

use super::estimator::PeerEstimator;
use super::kind_stats::KindStats;
use super::performance::ON_TIME_SLACK;
use super::quality::BlacklistReason;
use super::slots::PeerSlot;
use crate::ids::Height;
use crate::limits::MAX_BODIES_BYTES;
use crate::ranges::HeightRange;
use crate::requests::{ByKind, Capabilities, Capability, Kind};
use crate::time::{Instant, micros};
use crate::wire::PeerStatus;

/// Time that a request should take to be answered: requests grow and shrink with what a peer delivers in it. Long enough
/// to hide a round trip, short enough that a peer that stops costs little.
pub(super) const TARGET_TIME: Duration = Duration::from_millis(100);
/// Smallest size that requests shrink to, in bytes: four of them fill a line of 20 Mbit/s and 100 ms.
pub(super) const MIN_REQUEST_BYTES: u64 = 64 << 10;
/// Largest size that requests grow to, in bytes: a grid cell of blocks of 1 KiB, and a quarter more.
pub(super) const MAX_REQUEST_BYTES: u64 = 5 << 18;
/// Requests in flight to a new peer: two, so that one is on its way while another is answered.
const FIRST_WINDOW: u32 = 2;
/// Most requests in flight to one peer, on a line as long as a satellite's.
const MAX_WINDOW: u32 = 16;
/// Requests in flight that keep a short line busy while answers are gathered, checked and asked for again; a longer one
/// has more by what is under way on it.
const SHORT_WINDOW: u32 = 4;
/// Pause after a first suspected fault; doubles with each further one.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause after suspected faults.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Doublings after which the pause has reached [`MAX_PAUSE`].
const MAX_DOUBLINGS: u32 = 7;
/// Time for which a peer's offers of states are not believed after one that nobody gave; doubles with each further one.
const FIRST_DOUBT: Duration = Duration::from_secs(4);
/// Pause for a kind of data that a peer said it doesn't have; doubles each time in a row. What it doesn't have, it may have
/// the next moment: where nobody else can be asked, everything stands still for so long.
const NOT_AVAILABLE_PAUSE: Duration = Duration::from_millis(125);
/// Doublings of [`NOT_AVAILABLE_PAUSE`] at most: 16 seconds.
const NOT_AVAILABLE_DOUBLINGS: u32 = 7;
/// Pause before a peer is asked again for the proof of what it claims, after it gave proof of less.
const UNPROVEN_PAUSE: Duration = Duration::from_secs(5);
/// Minimum pause after a peer said that it is busy, doubled for each such word in a row: 1 ms to 1 s. It starts low,
/// so that an honest wait is honoured, and grows, so that "busy, for no time at all" can't make questions without
/// end.
const LEAST_BUSY: Duration = Duration::from_millis(1);
/// Doublings of [`LEAST_BUSY`] at most: a second.
const BUSY_DOUBLINGS: u32 = 10;
/// Pause for a peer of another version or another chain.
pub(super) const UNSUPPORTED_PAUSE: Duration = Duration::from_secs(600);

const _: () = assert!(MAX_REQUEST_BYTES <= MAX_BODIES_BYTES as u64);

/// State of a peer between use and a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BanState {
    /// Used.
    Good,
    /// Left out until then.
    Banned(BlacklistReason, Instant),
    /// Gave what looks false to a node that suspects itself; left alone until then, or until it is known who is wrong.
    SetAside(Instant),
    /// Speaks another version or follows another chain; left alone until then.
    Unsupported(Instant),
}

/// Something of a sort in which a peer has proven nothing, from the question to the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Probation {
    capability: Capability,
    answered: bool,
}

impl Probation {
    /// Whether it may take long although the peer is honest: then it is given up for anything else that is wanted.
    fn is_idle(self) -> bool {
        self.capability.kind == Kind::Follow && !self.answered
    }
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// Group of peers that may be one operator: given by the host, such as an address prefix.
    pub(crate) group: u64,
    pub(crate) connected: bool,
    /// Time at which it went away, if it did.
    pub(super) gone_at: Instant,
    pub(crate) ban_state: BanState,
    pub(super) slot: PeerSlot,
    /// Time since which it has its slot.
    pub(super) slot_since: Instant,
    /// The peer's own word on what it holds; `None` until it gave one.
    pub(crate) status: Option<PeerStatus>,
    /// Whether it was asked for its status and failed to answer since it connected.
    pub(crate) mute: bool,
    /// A tip that it claimed and, asked for the proof, did not prove.
    pub(crate) unproven: Option<Height>,
    /// Large answers in flight.
    pub(crate) in_flight: u32,
    pub(crate) queued_bytes: u64,
    /// Time at which the last of them is expected.
    pub(super) due: Instant,
    pub(super) asked_at: Instant,
    pub(crate) estimator: PeerEstimator,
    pub(super) stats: ByKind<KindStats>,
    /// Capabilities in which the peer gave true answers since it was last banned.
    proven: Capabilities,
    /// The one outstanding request of a kind in which the peer has given no valid answer yet, until its answer is
    /// judged. While it is set the peer is asked for nothing else of a kind that it has not proven, so that a liar
    /// costs one answer.
    probation: Option<Probation>,
    window: u32,
    pub(super) suspicions: u32,
    /// Time of the last time-out that counted against the peer, and end of the pause for it. Requests sent before the
    /// first belong to the same silence and don't count again.
    silent: (Instant, Instant),
    /// End of its pause from each kind.
    not_before: ByKind<Instant>,
    pub(super) busy_until: Instant,
    /// Times that it said that it is busy since it last gave something true.
    pub(super) busy_in_a_row: u32,
    /// Times that nobody gave a state that it offered; below, the time until which its offers choose nothing.
    states_lost: u32,
    states_doubted: Instant,
    /// Blocks whose payloads it delivered first.
    pub(crate) blocks: u64,
    /// Accepted bytes.
    pub(crate) bytes: u64,
    /// Accepted bytes since the last rotation.
    pub(super) recent_bytes: u64,
    /// Provably false answers.
    pub(super) false_answers: u64,
    /// Requests that it did not answer.
    pub(super) unanswered: u64,
}

impl Peer {
    pub(super) fn new(group: u64, now: Instant) -> Self {
        Self {
            group,
            connected: true,
            gone_at: Instant::ZERO,
            ban_state: BanState::Good,
            slot: PeerSlot::Inactive,
            slot_since: now,
            status: None,
            mute: false,
            unproven: None,
            in_flight: 0,
            queued_bytes: 0,
            due: Instant::ZERO,
            asked_at: Instant::ZERO,
            estimator: PeerEstimator::default(),
            stats: ByKind::default(),
            proven: Capabilities::default(),
            probation: None,
            window: FIRST_WINDOW,
            suspicions: 0,
            silent: (Instant::ZERO, Instant::ZERO),
            not_before: ByKind::default(),
            busy_until: Instant::ZERO,
            busy_in_a_row: 0,
            states_lost: 0,
            states_doubted: Instant::ZERO,
            blocks: 0,
            bytes: 0,
            recent_bytes: 0,
            false_answers: 0,
            unanswered: 0,
        }
    }

    /// Whether it is left out for what it did, or for what the host says.
    pub(crate) const fn is_banned(&self) -> bool {
        matches!(self.ban_state, BanState::Banned(..))
    }

    /// Whether it may be asked at all.
    pub(crate) fn usable(&self) -> bool {
        self.connected && self.ban_state == BanState::Good
    }

    /// Whether it is among those that are asked.
    pub(crate) fn is_active(&self) -> bool {
        self.slot == PeerSlot::Active
    }

    /// Time since which it has its slot.
    pub(crate) fn slot_since(&self) -> Instant {
        self.slot_since
    }

    /// Requests that may be in flight to it: as many as keep its line busy, and fewer after time-outs. Who was silent is
    /// asked for one thing, until something comes.
    pub(crate) fn capacity(&self) -> u32 {
        if self.was_silent_after(self.estimator.last_delivery) {
            return 1;
        }
        let under_way = micros(self.estimator.latency()).checked_div(micros(TARGET_TIME)).unwrap_or(0);
        let enough = SHORT_WINDOW.saturating_add(u32::try_from(under_way).unwrap_or(MAX_WINDOW));
        self.window.min(enough)
    }

    /// End of its pause from `kind`, which may be over.
    pub(crate) fn rests_until(&self, kind: Kind) -> Instant {
        (*self.not_before.get(kind)).max(self.busy_until)
    }

    /// Whether it rests from `kind` now.
    pub(crate) fn rests(&self, kind: Kind, now: Instant) -> bool {
        self.rests_until(kind) > now
    }

    /// Whether as much is in flight to it as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight >= self.capacity()
    }

    /// Whether it may be asked for `kind` now. Small questions pass a full window: claims and proofs must not wait for
    /// bulk. Of what it has proven nothing in, it is asked for one thing at a time.
    pub(crate) fn ready(&self, kind: Kind, now: Instant) -> bool {
        let waits = self.rests(kind, now) || self.awaits_judgement(kind);
        self.usable() && !waits && !(kind.is_bulk() && self.is_full())
    }

    /// Whether something that it is to be judged by comes before any question of this kind.
    pub(crate) fn awaits_judgement(&self, kind: Kind) -> bool {
        let tried = self.probation.is_some_and(|probation| kind == Kind::Follow || !probation.is_idle());
        tried && kind != Kind::Status && !self.proven.has(kind)
    }

    /// Whether it may be asked for just this, as far as what it has proven goes.
    pub(crate) fn may_try(&self, capability: Capability) -> bool {
        self.probation.is_none_or(Probation::is_idle) || self.has_proven(capability)
    }

    /// Whether its long poll must be given up before it is asked for this.
    pub(crate) fn gives_up_poll_for(&self, capability: Capability) -> bool {
        self.probation.is_some_and(Probation::is_idle) && !self.has_proven(capability)
    }

    /// Whether it gave a true answer of this sort since it was last banned. Claims prove nothing and need no proof.
    fn has_proven(&self, capability: Capability) -> bool {
        capability.kind == Kind::Status || self.proven.contains(capability)
    }

    /// Begins a probation: the peer was asked for something, or its answer is being checked.
    pub(super) fn begin_probation(&mut self, capability: Capability, answered: bool) {
        if !self.has_proven(capability) {
            self.probation = Some(Probation { capability, answered });
        }
    }

    /// Something was judged, or will not be. True if that makes it ready for more.
    pub(super) fn end_probation(&mut self, capability: Capability) -> bool {
        self.probation.take_if(|probation| probation.capability == capability).is_some()
    }

    /// Notes a true answer of this sort.
    pub(super) fn prove(&mut self, capability: Capability) {
        self.proven.insert(capability);
    }

    /// Forgets all that the peer has proven.
    pub(super) fn unprove(&mut self) {
        self.proven = Capabilities::default();
    }

    /// For how long all that is in flight to it should have been here.
    pub(super) fn late_micros(&self, now: Instant) -> u64 {
        if self.in_flight == 0 { 0 } else { micros(now.since(self.due)) }
    }

    /// Whether all that is in flight to it should have been here a while ago.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.late_micros(now) > micros(ON_TIME_SLACK)
    }

    /// Bytes to ask it for at once.
    pub(crate) fn request_bytes(&self) -> u64 {
        self.estimator.bytes_in(TARGET_TIME).clamp(MIN_REQUEST_BYTES, MAX_REQUEST_BYTES)
    }

    /// Whether it claims to hold all of `range`.
    pub(crate) fn claims(&self, range: HeightRange) -> bool {
        self.status.is_some_and(|status| status.earliest <= range.first() && range.last() <= status.tip)
    }

    /// Whether it claims to hold the state after the block at `height`, and headers from that block's own to the last of
    /// `range`: who serves a state can prove it, though the blocks that it holds may begin above.
    pub(crate) fn proves_state(&self, height: Height, range: HeightRange) -> bool {
        self.status.is_some_and(|status| {
            status.snapshots.is_some_and(|states| states.holds(height)) && range.last() <= status.tip
        })
    }

    /// Nobody gave a state that it offered: its offers are not believed for a while that doubles each time.
    pub(crate) fn doubt_states(&mut self, now: Instant) {
        let pause = FIRST_DOUBT.saturating_mul(1 << self.states_lost.min(MAX_DOUBLINGS));
        self.states_lost = self.states_lost.saturating_add(1);
        self.states_doubted = now.after(pause);
    }

    /// Whether its offers of states are not believed now.
    pub(crate) fn is_doubted_on_states(&self, now: Instant) -> bool {
        self.states_doubted > now
    }

    /// Time at which the next of its pauses is over.
    pub(crate) fn next_rested(&self, now: Instant) -> Option<Instant> {
        let left_out = match self.ban_state {
            BanState::Good => None,
            BanState::Banned(_, until) | BanState::SetAside(until) | BanState::Unsupported(until) => Some(until),
        };
        let rests = self.not_before.values().copied().chain([self.busy_until]);
        rests.chain(left_out).filter(|&at| at > now).min()
    }

    /// Time at which the last of its pauses is over, if it has any.
    pub(super) fn rested(&self, now: Instant) -> Option<Instant> {
        self.not_before.values().copied().chain([self.busy_until]).filter(|&at| at > now).max()
    }

    /// Asks again for `kind` only from `at` on.
    pub(crate) fn pause(&mut self, kind: Kind, at: Instant) {
        *self.not_before.get_mut(kind) = at;
    }

    /// Notes that the peer doesn't have what was asked for: one that goes on saying so leaves room for others, be
    /// they slower. Returns when it may be asked for `kind` again.
    pub(super) fn not_available(&mut self, kind: Kind, now: Instant) -> Instant {
        let stats = self.stats.get_mut(kind);
        let doublings = stats.refused_in_a_row.min(NOT_AVAILABLE_DOUBLINGS);
        stats.refused_in_a_row = stats.refused_in_a_row.saturating_add(1);
        let until = now.after(NOT_AVAILABLE_PAUSE.saturating_mul(1 << doublings));
        self.pause(kind, until);
        until
    }

    /// Notes that the peer is busy until then. Returns until when it is left alone, and how often in a row it said
    /// so.
    pub(super) fn busy(&mut self, until: Instant, now: Instant) -> (Instant, u32) {
        let least = LEAST_BUSY.saturating_mul(1 << self.busy_in_a_row.min(BUSY_DOUBLINGS));
        self.busy_until = self.busy_until.max(until).max(now.after(least));
        self.busy_in_a_row = self.busy_in_a_row.saturating_add(1);
        (self.busy_until, self.busy_in_a_row)
    }

    /// May be asked for `kind` again at once.
    pub(crate) fn unpause(&mut self, kind: Kind) {
        *self.not_before.get_mut(kind) = Instant::ZERO;
    }

    /// Notes a claim that the peer did not prove. It is asked again after a pause: perhaps it can then. Returns when
    /// the pause is over.
    pub(crate) fn failed_to_prove(&mut self, now: Instant) -> Instant {
        self.unproven = self.status.map(|status| status.tip);
        let until = now.after(UNPROVEN_PAUSE);
        self.pause(Kind::Tip, until);
        until
    }

    /// Whether it claims something, and has not been asked for proof in vain since it proved something.
    pub(crate) fn may_prove(&self) -> bool {
        self.status.is_some() && self.unproven.is_none()
    }

    /// Notes that a question of `sent` was not answered. `Some` where it was sent before the peer's silence was
    /// noted: then it is the same silence, for which the peer rests from this kind as well.
    pub(super) fn is_still_silent(&mut self, kind: Kind, sent: Instant) -> Option<Instant> {
        let (noted, until) = self.silent;
        let same = sent < noted;
        if same && until > self.rests_until(kind) {
            self.pause(kind, until);
        }
        same.then_some(until)
    }

    /// Whether its silence was noted after this.
    pub(super) fn was_silent_after(&self, at: Instant) -> bool {
        self.silent.0 > at
    }

    /// Notes its silence, for which it rests until then.
    pub(super) fn fell_silent(&mut self, now: Instant, until: Instant) {
        self.silent = (now, until);
    }

    /// A useful answer: the window grows by one, suspicion fades.
    pub(super) fn succeeded(&mut self) {
        self.window = self.window.saturating_add(1).min(MAX_WINDOW);
        self.suspicions /= 2;
        self.busy_in_a_row = 0;
    }

    /// An answer did not come in time: half as much is asked for at once.
    pub(super) fn shrink(&mut self) {
        self.window = (self.window / 2).max(1);
    }

    /// Time that an answer of `bytes` is expected to take: at its pace, with the time to check it, and with what it is
    /// likely to be waited for in vain.
    pub(crate) fn expected(&self, kind: Kind, bytes: u64) -> Duration {
        Duration::from_micros(self.expected_micros(kind, bytes))
    }

    /// The same if it were asked for nothing else.
    pub(crate) fn expected_alone(&self, kind: Kind, bytes: u64) -> Duration {
        Duration::from_micros(self.expected_behind(kind, bytes, 0))
    }

    /// The same in microseconds: choices compare many.
    pub(super) fn expected_micros(&self, kind: Kind, bytes: u64) -> u64 {
        self.expected_behind(kind, bytes, if kind.is_bulk() { self.queued_bytes } else { 0 })
    }

    fn expected_behind(&self, kind: Kind, bytes: u64, queued: u64) -> u64 {
        let in_vain = if self.suspicions == 0 { 0 } else { micros(self.next_pause()) };
        let time = self.estimator.expected_micros(bytes, queued).saturating_add(in_vain);
        self.stats.get(kind).weighted(time, bytes)
    }

    /// Pause after one more suspected fault.
    fn next_pause(&self) -> Duration {
        FIRST_PAUSE.saturating_mul(1 << self.suspicions.min(MAX_DOUBLINGS)).min(MAX_PAUSE)
    }

    /// A suspected fault: the window shrinks by half, and the peer rests for a while that doubles each time. Returns when
    /// the rest is over.
    pub(crate) fn suspected(&mut self, kind: Kind, now: Instant) -> Instant {
        self.shrink();
        let pause = self.next_pause();
        self.suspicions = self.suspicions.saturating_add(1);
        self.pause(kind, now.after(pause));
        now.after(pause)
    }

    /// Requests that may be in flight to it after what happened so far.
    pub(super) fn window(&self) -> u32 {
        self.window
    }
}
