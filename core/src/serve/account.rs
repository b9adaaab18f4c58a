//! Accounts of everyone together, of a network of peers, and of a peer.

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use super::admission::Ticket;
use super::bucket::{Bucket, Rate};
use super::limits::{Cost, ServeLimits, ServeRates};
use crate::ids::PeerId;
use crate::time::{Instant, micros};

/// How long a peer's record of asking too often lasts, for each time that it did.
const STRIKE_LASTS: Duration = Duration::from_secs(10);
/// Times that a peer asked too often, as far as they are counted: each halves its share of what is left.
const MAX_STRIKES: u32 = 10;
/// Shortest time between two strikes.
const STRIKE_EVERY: Duration = Duration::from_secs(1);

/// Requests, bytes and work that may be spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Allowance {
    requests: Bucket,
    bytes: Bucket,
    work: Bucket,
}

impl Allowance {
    /// How long until a request of so many bytes and so much work fits in.
    pub(super) fn wait(&mut self, now: Instant, rates: &ServeRates, limits: &ServeLimits, spend: Cost) -> Duration {
        let (requests, bytes, work) = buckets(rates, limits.burst);
        self.requests.refill(now, requests);
        self.bytes.refill(now, bytes);
        self.work.refill(now, work);
        let wait = self.requests.wait(1, requests).max(self.bytes.wait(spend.bytes, bytes));
        wait.max(self.work.wait(spend.work, work))
    }

    /// Spends it.
    pub(super) fn take(&mut self, spend: Cost) {
        self.requests.take(1);
        self.bytes.take(spend.bytes);
        self.work.take(spend.work);
    }

    /// Takes work that is no answer.
    pub(super) fn take_work(&mut self, work: u64) {
        self.work.take(work);
    }

    /// Accounts for what was really spent.
    pub(super) fn settle(&mut self, taken: Cost, real: Cost) {
        self.bytes.settle(taken.bytes, real.bytes);
        self.work.settle(taken.work, real.work);
    }

    /// Gives back what was taken for an answer that was not made.
    pub(super) fn give_back(&mut self, taken: Cost) {
        self.requests.give(1);
        self.settle(taken, Cost::default());
    }
}

fn buckets(rates: &ServeRates, burst: Duration) -> (Rate, Rate, Rate) {
    let &ServeRates { requests, bytes, work } = rates;
    (Rate::over(requests, burst), Rate::over(bytes, burst), Rate::over(work, burst))
}

/// Whether a group takes part in turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum QueueState {
    /// None of its peers waits for anything but its own unread answers.
    #[default]
    Idle,
    /// The group gets its turn.
    Ready,
    /// The group has spent its allowance; it takes part again from then on.
    Resting(Instant),
    /// Unread answers of the group take all the memory that it gets.
    Full,
}

/// The peers of one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) allowance: Allowance,
    pub(super) handshakes: Bucket,
    pub(super) queue_state: QueueState,
    /// Work that was spent on it, counted so that a group that was away begins with what the others have now.
    pub(super) spent: u128,
    /// Peers of the group that wait for a turn, by what was spent on each.
    pub(super) ready: BTreeSet<(u128, PeerId)>,
    /// Spent on the peer that had the last turn.
    pub(super) level: u128,
    /// Bytes of its answers in memory.
    pub(super) held: u64,
    /// Requests of the group that wait.
    pub(super) waiting: usize,
    /// Peers of the group that are kept account of.
    pub(super) peers: usize,
    pub(super) seen: Instant,
}

/// One peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    pub(super) group: u64,
    pub(super) allowance: Allowance,
    pub(super) refusals: Bucket,
    /// Requests of the peer that wait, the oldest first.
    pub(super) queue: VecDeque<Ticket>,
    /// Work that was spent on it, times two for each strike.
    pub(super) spent: u128,
    /// Whether its unread answers take all the memory that it gets.
    pub(super) full: bool,
    pub(super) held: u64,
    /// Requests of it that wait, are made or sent.
    pub(super) open: usize,
    /// Refusals in a row, as far as it waited as long as it was told in between.
    pub(super) refused: u32,
    pub(super) busy_until: Instant,
    strikes: u32,
    struck: Instant,
    pub(super) seen: Instant,
}

impl Peer {
    pub(super) fn new(group: u64, now: Instant) -> Self {
        Self { group, seen: now, ..Self::default() }
    }

    /// How much more its turns cost it than those of a peer that waits when it is told to.
    pub(super) fn weight(&self, now: Instant) -> u32 {
        let lasts = micros(STRIKE_LASTS).max(1);
        let forgiven = micros(now.since(self.struck)).checked_div(lasts).unwrap_or(0);
        self.strikes.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX)).min(MAX_STRIKES)
    }

    /// Notes that it went on asking without end.
    pub(super) fn strike(&mut self, now: Instant) {
        if self.strikes == 0 || now.since(self.struck) >= STRIKE_EVERY {
            self.strikes = self.weight(now).saturating_add(1);
            self.struck = now;
        }
    }
}
