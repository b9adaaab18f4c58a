//! [`LocalLink`]: whether it is our own line that is full, rather than a peer that is slow.

use core::time::Duration;

use crate::ids::PeerId;
use crate::requests::Kind;
use crate::time::Instant;

/// Large answers in flight over all peers before our own link was ever found full: the largest that can be configured.
const MAX_WINDOW: u32 = 4096;
/// The link is found full at most once in this time: many time-outs of one jam are one.
const SETTLES: Duration = Duration::from_secs(1);

/// The peers that answered on time last, and when: two of them are enough to know whether anyone but a given one did.
type OnTime = [Option<(PeerId, Instant)>; 2];

/// Our own link, as far as what comes over it tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LocalLink {
    /// The last answers on time to large questions, and those to small ones.
    on_time: (OnTime, OnTime),
    /// Large answers in flight, and how many may be before the link is full.
    in_flight: u32,
    window: u32,
    full_at: Option<Instant>,
}

impl Default for LocalLink {
    fn default() -> Self {
        Self { on_time: Default::default(), in_flight: 0, window: MAX_WINDOW, full_at: None }
    }
}

impl LocalLink {
    /// Whether another large answer may be asked for.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight < self.window
    }

    /// A large answer was asked for.
    pub(super) fn sent(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// A large answer is no longer in flight.
    pub(super) fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A large answer did not come in time, and nobody was on time: fewer are asked for at once.
    pub(super) fn jammed(&mut self, now: Instant) {
        if self.full_at.is_none_or(|at| now.since(at) >= SETTLES) {
            self.full_at = Some(now);
            let in_flight = self.in_flight.saturating_add(1).min(self.window);
            self.window = (in_flight / 2).max(1);
        }
    }

    /// The peers that have answered something of the kind on time since `sent`, and when, as far as that is kept.
    pub(super) fn on_time_since(&self, kind: Kind, sent: Instant) -> impl Iterator<Item = (PeerId, Instant)> {
        let (large, small) = &self.on_time;
        // Small answers pass where large ones don't.
        let small = small.iter().filter(move |_| !kind.is_bulk());
        large.iter().chain(small).flatten().copied().filter(move |&(_, at)| at > sent)
    }

    /// A peer answered on time.
    pub(super) fn note_on_time(&mut self, now: Instant, id: PeerId, kind: Kind) {
        if kind == Kind::Follow {
            return;
        }
        if kind.is_bulk() {
            self.window = self.window.saturating_add(1).min(MAX_WINDOW);
        }
        let [latest, other] = if kind.is_bulk() { &mut self.on_time.0 } else { &mut self.on_time.1 };
        match latest {
            Some((last, at)) if *last == id => *at = now,
            _ => {
                *other = latest.take();
                *latest = Some((id, now));
            }
        }
    }
}
