//! One peer.

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::pace::Pace;
use crate::chain::Fault;
use crate::ids::Height;
use crate::ranges::HeightRange;
use crate::requests::Kind;
use crate::time::Instant;
use crate::wire::PeerStatus;

/// Requests in flight to a new peer: two, so that one is on its way while another is answered.
const FIRST_WINDOW: u32 = 2;
/// Most requests in flight to one peer.
const MAX_WINDOW: u32 = 8;
/// Pause after a first suspected fault; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause after suspected faults.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Doublings after which the pause has reached [`MAX_PAUSE`].
const MAX_DOUBLINGS: u32 = 7;
/// How long a peer's offers of states are not believed after one that nobody gave; doubles with each further one.
const FIRST_DOUBT: Duration = Duration::from_secs(4);
/// How long a peer is not asked again for a kind of data that it said it doesn't have.
pub(super) const NOT_AVAILABLE_PAUSE: Duration = Duration::from_secs(1);
/// How long a peer is not asked again for the proof of what it claims, after it gave proof of less.
const UNPROVEN_PAUSE: Duration = Duration::from_secs(5);
/// How long a peer of another version or another chain is left alone.
pub(super) const UNSUPPORTED_PAUSE: Duration = Duration::from_secs(600);

/// How a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    /// Used.
    Good,
    /// Gave a provably false answer; left out until then.
    Banned(Fault, Instant),
    /// Speaks another version or follows another chain; left alone until then.
    Unsupported(Instant),
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// What it shares with others that may be one operator: given by the host, such as an address prefix.
    pub(crate) group: u64,
    pub(crate) connected: bool,
    pub(crate) standing: Standing,
    /// What it says that it holds; `None` until it said something.
    pub(crate) claim: Option<PeerStatus>,
    /// Whether it was asked for its status and failed to answer since it connected.
    pub(crate) mute: bool,
    /// A tip that it claimed and, asked for the proof, did not prove.
    pub(crate) unproven: Option<Height>,
    pub(crate) in_flight: u32,
    pub(crate) queued_bytes: u64,
    pub(crate) pace: Pace,
    window: u32,
    suspicions: u32,
    not_before: BTreeMap<Kind, Instant>,
    /// How often nobody gave a state that it offered, and until when its offers choose nothing.
    states_lost: u32,
    states_doubted: Instant,
    /// Blocks whose payloads it delivered first.
    pub(crate) blocks: u64,
    /// Accepted bytes.
    pub(crate) bytes: u64,
}

impl Peer {
    pub(super) fn new(group: u64) -> Self {
        Self {
            group,
            connected: true,
            standing: Standing::Good,
            claim: None,
            mute: false,
            unproven: None,
            in_flight: 0,
            queued_bytes: 0,
            pace: Pace::default(),
            window: FIRST_WINDOW,
            suspicions: 0,
            not_before: BTreeMap::new(),
            states_lost: 0,
            states_doubted: Instant::ZERO,
            blocks: 0,
            bytes: 0,
        }
    }

    /// Whether it may be asked at all.
    pub(crate) fn usable(&self) -> bool {
        self.connected && self.standing == Standing::Good
    }

    /// Whether it may be asked for `kind` now. Small questions pass a full window: claims and proofs must not wait for
    /// bulk.
    pub(crate) fn ready(&self, kind: Kind, now: Instant) -> bool {
        let bulk = matches!(kind, Kind::Segment | Kind::Bodies | Kind::State);
        let has_room = !bulk || self.in_flight < self.window;
        self.usable() && has_room && self.not_before.get(&kind).is_none_or(|&at| at <= now)
    }

    /// Whether it claims to hold all of `range`.
    pub(crate) fn claims(&self, range: HeightRange) -> bool {
        self.claim.is_some_and(|claim| claim.earliest <= range.first() && range.last() <= claim.tip)
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

    /// When the next of its rests is over.
    pub(crate) fn next_rested(&self, now: Instant) -> Option<Instant> {
        let standing = match self.standing {
            Standing::Good => None,
            Standing::Banned(_, until) | Standing::Unsupported(until) => Some(until),
        };
        self.not_before.values().copied().chain(standing).filter(|&at| at > now).min()
    }

    /// Asks again for `kind` only from `at` on.
    pub(crate) fn pause(&mut self, kind: Kind, at: Instant) {
        self.not_before.insert(kind, at);
    }

    /// May be asked for `kind` again at once.
    pub(crate) fn unpause(&mut self, kind: Kind) {
        self.not_before.remove(&kind);
    }

    /// What it claims, it did not prove. It is asked again after a pause: perhaps it can then. Returns when that is over.
    pub(crate) fn failed_to_prove(&mut self, now: Instant) -> Instant {
        self.unproven = self.claim.map(|claim| claim.tip);
        let until = now.after(UNPROVEN_PAUSE);
        self.pause(Kind::Tip, until);
        until
    }

    /// Whether it claims something, and has not been asked for proof in vain since it proved something.
    pub(crate) fn may_prove(&self) -> bool {
        self.claim.is_some() && self.unproven.is_none()
    }

    /// A useful answer: the window grows by one, suspicion fades.
    pub(crate) fn succeeded(&mut self) {
        self.window = self.window.saturating_add(1).min(MAX_WINDOW);
        self.suspicions /= 2;
    }

    /// Time that an answer of `bytes` is expected to take: at its pace, and what it is likely to be waited for in vain.
    pub(crate) fn expected(&self, bytes: u64) -> Duration {
        let in_vain = if self.suspicions == 0 { Duration::ZERO } else { self.next_pause() };
        self.pace.expected(bytes, self.queued_bytes).saturating_add(in_vain)
    }

    /// How long it rests after one more suspected fault.
    fn next_pause(&self) -> Duration {
        FIRST_PAUSE.saturating_mul(1 << self.suspicions.min(MAX_DOUBLINGS)).min(MAX_PAUSE)
    }

    /// A suspected fault: the window shrinks by half, and the peer rests for a while that doubles each time. Returns when
    /// the rest is over.
    pub(crate) fn suspected(&mut self, kind: Kind, now: Instant) -> Instant {
        self.window = (self.window / 2).max(1);
        let pause = self.next_pause();
        self.suspicions = self.suspicions.saturating_add(1);
        self.pause(kind, now.after(pause));
        now.after(pause)
    }
}
