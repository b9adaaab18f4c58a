//! [`Admission`]: who is answered now, who waits, and who is told to come back later.
//!
//! Askers are not trusted, and keys cost them nothing. So there are allowances of requests, bytes and work for each peer,
//! for each network of peers, and for everyone together; turns go round by what was spent, over networks first and then
//! over the peers of each; and what one side doesn't use is there for the others. A flood from one network takes its
//! network's share, however many keys it has. Whoever goes on asking though it was told to wait is read from more slowly,
//! and weighs less among those of its own network.
//!
//! The decision does no I/O and has no clock: the host says what happens and when, carries out the turns, and sleeps
//! until the next.
//!
//! ```
//! # use hotstuff2_sync::{ids::PeerId, serve::{Admission, Cost, ServeLimits, Turn}, time::Instant};
//! let mut admission = Admission::new(ServeLimits::default());
//! let (now, peer, network) = (Instant::ZERO, PeerId::from_bytes([1; 32]), 7);
//! // A request came in. What it may cost is estimated before, and settled after.
//! let ticket = admission.ask(now, peer, network, Cost { bytes: 1 << 20, work: 500 }).unwrap();
//! assert_eq!(admission.poll(now), Turn::Serve(ticket));
//! assert_eq!(admission.poll(now), Turn::Wait(None));
//! // The answer is made, and later received or given up.
//! admission.made(now, ticket, Cost { bytes: 90_000, work: 210 });
//! admission.end(now, ticket);
//! ```

mod accounts;
mod fair_queue;

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use super::account::{Allowance, Group, Peer, QueueState};
use super::bucket::Bucket;
use super::limits::{Cost, ServeLimits, ServeRates};
use crate::ids::PeerId;
use crate::table::Table;
use crate::time::{Instant, micros};

/// Shortest time that a peer is told to wait: less isn't worth a message.
const LEAST_BUSY: Duration = Duration::from_millis(50);
/// CPU time of a handshake in microseconds.
const HANDSHAKE_WORK: u64 = 500;
/// Longest time, in seconds, for which a network begins no handshakes because of what its connections cost: it may be that
/// of honest peers too.
const MOST_OWED_SECONDS: u64 = 60;
/// Longest time, as far as it is doubled: what an asker takes for silence by default.
const MOST_BUSY: Duration = Duration::from_secs(10);

/// A request that was let in, until its answer is received or given up. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

impl Ticket {
    /// The number, for hosts that key tables of their own by it.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The ticket with this number, as a host hands it back.
    pub const fn from_raw(number: u64) -> Self {
        Self(number)
    }
}

/// The peer is to come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Busy {
    /// Milliseconds until what it asked for would be there, at the least.
    pub retry_after_ms: u32,
}

/// The host's next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// Makes this answer now.
    Serve(Ticket),
    /// Says that the node is busy. The ticket is void.
    Refuse(Ticket, Busy),
    /// Nothing before something happens, or until that time.
    Wait(Option<Instant>),
}

/// The answer to somebody who wants to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handshake {
    /// Begin the handshake.
    Begin,
    /// Let it prove first that it is where it says (a QUIC Retry), which costs this node no state.
    Prove,
    /// Leave it: it tries again by itself.
    Ignore,
}

/// Totals of what was given and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ServeStats {
    /// Answers made.
    pub answers: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Work of the answers in CPU microseconds, sending included, with that of refusals.
    pub work: u64,
    /// Requests that were told to come back later.
    pub refused: u64,
    /// Handshakes begun.
    pub handshakes: u64,
    /// Handshakes left or delayed.
    pub handshakes_refused: u64,
    /// Most bytes of answers that were in memory at a time.
    pub peak_memory: u64,
    /// How much of the total rates may be spent now, in percent: less than 100 while the node is behind itself.
    pub percent: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Waiting(Instant),
    Running,
    Sending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Open {
    peer: PeerId,
    group: u64,
    /// Cost that was charged for it: bytes, and work with all that comes with it.
    spend: Cost,
    /// Bytes of memory that it has, or is going to have.
    memory: u64,
    stage: Stage,
}

/// The decision who is served, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    limits: ServeLimits,
    percent: u64,
    total: Allowance,
    refusals: Bucket,
    handshakes: Bucket,
    groups: BTreeMap<u64, Group>,
    peers: BTreeMap<PeerId, Peer>,
    open: Table<Ticket, Open>,
    /// Tickets that wait; the first has waited longest.
    waiting: BTreeSet<Ticket>,
    /// Groups that get turns, by what was spent on each.
    ready: BTreeSet<(u128, u64)>,
    resting: BTreeSet<(Instant, u64)>,
    /// Spent on the group that had the last turn.
    level: u128,
    running: usize,
    held: u64,
    last: u64,
    stats: ServeStats,
}

impl Admission {
    /// Keeps `limits`, of which those out of range are taken for the nearest that makes sense.
    pub fn new(limits: ServeLimits) -> Self {
        Self {
            limits,
            percent: 100,
            total: Allowance::default(),
            refusals: Bucket::default(),
            handshakes: Bucket::default(),
            groups: BTreeMap::new(),
            peers: BTreeMap::new(),
            open: Table::default(),
            waiting: BTreeSet::new(),
            ready: BTreeSet::new(),
            resting: BTreeSet::new(),
            level: 0,
            running: 0,
            held: 0,
            last: 0,
            stats: ServeStats::default(),
        }
    }

    /// Totals so far.
    pub fn stats(&self) -> ServeStats {
        ServeStats { percent: u8::try_from(self.percent).unwrap_or(100), ..self.stats }
    }

    /// Peers that are kept account of.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Spends only so much of the total rates from now on: 100 is all, and the most. A node that has work of its own
    /// that is more urgent, as catching up is, gives less to others meanwhile.
    pub fn set_percent(&mut self, percent: u8) {
        self.percent = u64::from(percent.clamp(1, 100));
    }

    /// A request came in. With a ticket it waits for its turn, which [`poll`](Self::poll) tells; [`end`](Self::end) must
    /// follow in any case.
    pub fn ask(&mut self, now: Instant, peer: PeerId, group: u64, cost: Cost) -> Result<Ticket, Busy> {
        if !self.track(now, peer, group) {
            return Err(self.refuse(now, peer, self.limits.max_wait));
        }
        let spend = Cost { bytes: cost.bytes, work: self.limits.work_of(cost) };
        let (waiting_groups, limits) = (self.ready.len().saturating_add(self.resting.len()), self.limits);
        let Some(entry) = self.peers.get_mut(&peer) else { return Err(self.refuse(now, peer, limits.max_wait)) };
        let wait = entry.allowance.wait(now, &limits.peer, &limits, spend);
        if wait > Duration::ZERO {
            return Err(self.refuse(now, peer, wait));
        }
        // The room that a group may have waiting shrinks as more groups wait, and so does a peer's; one request
        // always fits in.
        let group_id = entry.group;
        let Some(group) = self.groups.get(&group_id) else { return Err(self.refuse(now, peer, limits.max_wait)) };
        let of_group = share(limits.max_waiting, waiting_groups);
        let of_peer = share(of_group, group.ready.len());
        if group.waiting >= of_group || entry.queue.len() >= of_peer {
            return Err(self.refuse(now, peer, limits.max_wait));
        }
        entry.allowance.take(spend);
        self.last = self.last.saturating_add(1);
        let ticket = Ticket(self.last);
        // Something, also where it isn't known: where all memory is taken, nothing fits in.
        let memory = cost.bytes.clamp(1, limits.peer_memory.max(1));
        let stage = Stage::Waiting(now.after(limits.max_wait));
        self.open.insert(ticket, Open { peer, group: group_id, spend, memory, stage });
        self.waiting.insert(ticket);
        entry.open = entry.open.saturating_add(1);
        entry.queue.push_back(ticket);
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.waiting = group.waiting.saturating_add(1);
        }
        self.line_up(peer);
        Ok(ticket)
    }

    /// The next turn. To be called until it says [`Turn::Wait`], after anything has happened and when that time has come.
    pub fn poll(&mut self, now: Instant) -> Turn {
        let deadline = match self.first_deadline() {
            Some((ticket, deadline)) if deadline <= now => {
                let peer = self.open.get(&ticket).map(|open| open.peer);
                self.end(now, ticket);
                let busy =
                    peer.map_or(Busy { retry_after_ms: millis(MOST_BUSY) }, |peer| self.refuse(now, peer, LEAST_BUSY));
                return Turn::Refuse(ticket, busy);
            }
            first => first.map(|(_, deadline)| deadline),
        };
        self.wake_groups(now);
        let sooner = |wait: Duration| Some(deadline.map_or(now.after(wait), |at| at.min(now.after(wait))));
        while self.running < self.limits.max_running.max(1) {
            let Some((ticket, open)) = self.front() else { break };
            let total = self.total_rates();
            let wait = self.total.wait(now, &total, &self.limits, open.spend);
            if wait > Duration::ZERO {
                return Turn::Wait(sooner(wait));
            }
            // The first in line keeps its place until enough has been received to make room for it.
            if self.held > 0 && self.held.saturating_add(open.memory) > self.limits.memory {
                return Turn::Wait(deadline);
            }
            let limits = self.limits;
            let Some(group) = self.groups.get_mut(&open.group) else { break };
            let wait = group.allowance.wait(now, &limits.group, &limits, open.spend);
            if wait > Duration::ZERO {
                self.set_queue_state(open.group, QueueState::Resting(now.after(wait)));
                continue;
            }
            if group.held > 0 && group.held.saturating_add(open.memory) > limits.group_memory {
                self.set_queue_state(open.group, QueueState::Full);
                continue;
            }
            let Some(peer) = self.peers.get_mut(&open.peer) else { break };
            if peer.held > 0 && peer.held.saturating_add(open.memory) > limits.peer_memory {
                peer.full = true;
                let spent = peer.spent;
                self.step_out(open.group, open.peer, spent);
                continue;
            }
            self.serve(now, ticket, open);
            return Turn::Serve(ticket);
        }
        let rested = self.resting.first().map(|(at, _)| *at);
        Turn::Wait(match (rested, deadline) {
            (Some(rested), Some(deadline)) => Some(rested.min(deadline)),
            (rested, deadline) => rested.or(deadline),
        })
    }

    /// The answer is made, and this is what it really cost: bytes and CPU time of making it.
    pub fn made(&mut self, now: Instant, ticket: Ticket, real: Cost) {
        let limits = self.limits;
        let Some(open) = self.open.get_mut(&ticket).filter(|open| open.stage == Stage::Running) else { return };
        let (taken, memory) = (open.spend, open.memory);
        let spend = Cost { bytes: real.bytes, work: limits.work_of(real) };
        (open.stage, open.memory, open.spend) = (Stage::Sending, real.bytes, spend);
        let (peer, group) = (open.peer, open.group);
        self.running = self.running.saturating_sub(1);
        self.stats.answers = self.stats.answers.saturating_add(1);
        self.stats.bytes = self.stats.bytes.saturating_add(spend.bytes);
        self.stats.work = self.stats.work.saturating_add(spend.work);
        self.total.settle(taken, spend);
        self.hold(peer, group, memory, real.bytes);
        if let Some(group) = self.groups.get_mut(&group) {
            group.allowance.settle(taken, spend);
        }
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.allowance.settle(taken, spend);
        }
        self.charge(now, peer, group, taken.work, spend.work);
    }

    /// The answer was received, or the request was given up at any stage. A turn that runs must have ended.
    pub fn end(&mut self, now: Instant, ticket: Ticket) {
        let Some(open) = self.open.remove(&ticket) else { return };
        let Open { peer, group, spend, memory, stage } = open;
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.open = entry.open.saturating_sub(1);
            entry.seen = entry.seen.max(now);
        }
        match stage {
            Stage::Waiting(_) => {
                self.leave_queue(ticket, peer, group);
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.allowance.give_back(spend);
                }
            }
            Stage::Running => {
                self.running = self.running.saturating_sub(1);
                self.hold(peer, group, memory, 0);
            }
            Stage::Sending => self.hold(peer, group, memory, 0),
        }
    }

    /// How long the host should not read further requests of `peer`, because it goes on asking though it was told to
    /// wait.
    pub fn pause(&mut self, now: Instant, peer: PeerId) -> Duration {
        let (own, all) = (self.limits.peer_refusal_rate(), self.limits.refusal_rate());
        let Some(entry) = self.peers.get_mut(&peer) else { return Duration::ZERO };
        entry.refusals.refill(now, own);
        self.refusals.refill(now, all);
        let wait = entry.refusals.wait(1, own);
        // A peer that wasn't refused lately has no part in it.
        if entry.refusals.is_full() { wait } else { wait.max(self.refusals.wait(1, all)) }
    }

    /// Somebody of `group` wants to connect; `proven` where it has proven that its address is its own.
    pub fn handshake(&mut self, now: Instant, group: u64, proven: bool) -> Handshake {
        let (all, own) = self.limits.handshake_rates();
        self.handshakes.refill(now, all);
        let scarce = self.handshakes.is_low(all);
        if scarce && !proven {
            self.stats.handshakes_refused = self.stats.handshakes_refused.saturating_add(1);
            return Handshake::Prove;
        }
        let mut begins = self.handshakes.wait(1, all) == Duration::ZERO;
        // An address that may be forged takes nothing from the network that it names.
        if proven && begins {
            begins = self.track_group(now, group);
            if let Some(group) = self.groups.get_mut(&group) {
                group.handshakes.refill(now, own);
                begins = group.handshakes.wait(1, own) == Duration::ZERO;
                if begins {
                    group.handshakes.take(1);
                }
            }
        }
        if !begins {
            self.stats.handshakes_refused = self.stats.handshakes_refused.saturating_add(1);
            return Handshake::Ignore;
        }
        self.handshakes.take(1);
        self.stats.handshakes = self.stats.handshakes.saturating_add(1);
        Handshake::Begin
    }

    /// A connection of `group` cost so many microseconds of CPU time that its datagrams were not worth. They count as
    /// handshakes that its network has begun, so that coming back with another key gains nothing. An address that may be
    /// forged stands for no network; from then on, addresses must be proven.
    pub fn overspent(&mut self, now: Instant, group: u64, proven: bool, work: u64) {
        let (all, own) = self.limits.handshake_rates();
        let handshakes = work / HANDSHAKE_WORK;
        if !proven {
            self.handshakes.refill(now, all);
            // Just below half, which is what is kept for proven addresses.
            self.handshakes.take_until(handshakes, (all.burst / 2).saturating_add(1));
        } else if self.track_group(now, group)
            && let Some(group) = self.groups.get_mut(&group)
        {
            group.handshakes.refill(now, own);
            let most = own.per_second.saturating_mul(MOST_OWED_SECONDS);
            group.handshakes.take_until(handshakes, most.saturating_add(own.burst));
        }
    }

    fn total_rates(&self) -> ServeRates {
        self.limits.total.part(self.percent, 100)
    }

    /// Tells a peer to come back: when what it lacks is there, and later each time that it was not.
    fn refuse(&mut self, now: Instant, id: PeerId, wait: Duration) -> Busy {
        let (work, own, all) = (self.limits.refusal_work, self.limits.peer_refusal_rate(), self.limits.refusal_rate());
        self.stats.refused = self.stats.refused.saturating_add(1);
        self.stats.work = self.stats.work.saturating_add(work);
        self.total.take_work(work);
        self.refusals.refill(now, all);
        self.refusals.take(1);
        let Some(peer) = self.peers.get_mut(&id) else { return Busy { retry_after_ms: millis(wait.max(LEAST_BUSY)) } };
        peer.refusals.refill(now, own);
        if peer.refusals.wait(1, own) > Duration::ZERO {
            peer.strike(now);
        }
        peer.refusals.take(1);
        if now >= peer.busy_until {
            peer.refused = peer.refused.saturating_add(1);
        }
        let doubled = LEAST_BUSY.saturating_mul(1u32.checked_shl(peer.refused.saturating_sub(1)).unwrap_or(u32::MAX));
        let wait = wait.max(doubled.min(MOST_BUSY)).max(self.refusals.wait(1, all));
        peer.busy_until = peer.busy_until.max(now.after(wait));
        let group = peer.group;
        if let Some(group) = self.groups.get_mut(&group) {
            group.allowance.take_work(work);
        }
        Busy { retry_after_ms: millis(wait) }
    }
}

/// One more's part of `whole`, beside `others`; never nothing.
fn share(whole: usize, others: usize) -> usize {
    whole.checked_div(others.saturating_add(1)).unwrap_or(whole).max(1)
}

/// Milliseconds, rounded up.
fn millis(time: Duration) -> u32 {
    u32::try_from(micros(time).div_ceil(1000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
