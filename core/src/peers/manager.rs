//! [`SyncPeerManager`]: all peers, who of them is asked, and the choice among those.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::account::MILLION;
use super::peer::{FIRST_PAUSE, NOT_AVAILABLE_PAUSE, Peer, Standing, UNSUPPORTED_PAUSE};
use super::places::{Place, Places};
use super::quality::{BlacklistReason, PeerHealth, PeerInfo, PeerOutcome, PeerPerformance, PeerQuality};
use crate::chain::Fault;
use crate::ids::{Height, PeerId};
use crate::requests::{InFlight, Kind, RequestKind};
use crate::time::Instant;

/// An answer is on time within so many times of what it was expected to take …
const ON_TIME_FACTOR: u32 = 2;
/// … and this.
const ON_TIME_SLACK: Duration = Duration::from_millis(100);
/// Payload whose expected time stands for a peer's quality.
const TYPICAL_BYTES: u64 = 256 << 10;
/// Large answers in flight over all peers before our own link was ever found full: the largest that can be configured.
const MAX_LINK_WINDOW: u32 = 4096;
/// The link is found full at most once in this time: many time-outs of one jam are one.
const LINK_SETTLES: Duration = Duration::from_secs(1);
/// One in so many peers gives up its place in a rotation, at least one.
const ROTATED_ONE_IN: usize = 8;
/// Peers that went away and are remembered: enough for every network that this is for, little memory.
const MAX_GONE: usize = 4096;

/// What the manager goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerSettings {
    /// Most peers that are asked at a time.
    pub max_active: usize,
    /// How often those that deliver least change places with those that stand by.
    pub rotation_interval: Duration,
    /// How long a ban lasts.
    pub ban_duration: Duration,
    /// Independent groups that must give the same provably false kind of answer before this node suspects itself.
    pub suspect_self_groups: usize,
}

/// Who answered on time lately: the last two of different peers are enough to know whether anyone but a given one did.
type OnTime = [Option<(PeerId, Instant)>; 2];

/// The peers: the machine's own table, open to be read through [`Machine::peers`](crate::machine::Machine::peers). Every
/// figure is an integer, and every function takes the time, so the same calls give the same answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SyncPeerManager {
    pub(super) settings: PeerSettings,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    pub(super) places: Places,
    /// Who was given a place since that was last asked for.
    placed: Vec<PeerId>,
    /// Peers that went away, in order.
    gone: BTreeSet<(Instant, PeerId)>,
    /// Groups that gave a provably false answer of a kind since the last true one, with the fault.
    pub(super) accused: BTreeMap<(Kind, Fault), BTreeSet<u64>>,
    /// When the last true answer of a kind came.
    pub(super) true_at: BTreeMap<Kind, Instant>,
    /// Who answered large and small questions on time.
    on_time: (OnTime, OnTime),
    /// Large answers in flight, and how many may be before our own link is full.
    in_flight: u32,
    link_window: u32,
    link_full_at: Option<Instant>,
}

impl SyncPeerManager {
    /// Nobody is known.
    pub fn new(settings: PeerSettings) -> Self {
        Self {
            settings,
            peers: BTreeMap::new(),
            places: Places::default(),
            placed: Vec::new(),
            gone: BTreeSet::new(),
            accused: BTreeMap::new(),
            true_at: BTreeMap::new(),
            on_time: (OnTime::default(), OnTime::default()),
            in_flight: 0,
            link_window: MAX_LINK_WINDOW,
            link_full_at: None,
        }
    }

    /// Gives free places to those that stand by, of as many groups as there are. Returns who is asked from now on and was
    /// not before.
    pub fn discover_sync_peers(&mut self, now: Instant) -> Vec<PeerId> {
        let mut found = Vec::new();
        while self.places.active().len() < self.settings.max_active
            && let Some(id) = self.places.next(now, true)
        {
            self.shift(id, Place::Active, now);
            found.push(id);
        }
        self.placed.extend_from_slice(&found);
        found
    }

    /// How good a peer is.
    pub fn evaluate_peer_quality(&self, peer: &PeerId) -> PeerQuality {
        let Some(peer) = self.peers.get(peer) else {
            return PeerQuality { expected: Duration::MAX, ..PeerQuality::default() };
        };
        let verify = peer.accounts.iter().map(|(_, account)| account.verify_micros_per_mib).max().unwrap_or(0);
        PeerQuality {
            measured: peer.line.measured().is_some(),
            bytes_per_second: peer.line.bytes_per_second(),
            latency: peer.line.latency(),
            reliability_ppm: reliability(peer),
            verify_per_mib: Duration::from_micros(verify),
            window: peer.window(),
            request_bytes: peer.request_bytes(),
            expected: if peer.usable() { peer.expected(Kind::Bodies, TYPICAL_BYTES) } else { Duration::MAX },
        }
    }

    /// The best of those that are asked, best first, at most `count`.
    pub fn select_optimal_peers(&self, count: usize) -> Vec<PeerId> {
        let mut peers: Vec<(Duration, PeerId)> =
            self.active().map(|(id, peer)| (peer.expected(Kind::Bodies, TYPICAL_BYTES), id)).collect();
        peers.sort_unstable();
        peers.into_iter().take(count).map(|(_, id)| id).collect()
    }

    /// Takes in what a peer did. Returns until when it rests, if it does for that. A peer that fails gives its place to one
    /// that stands by.
    pub fn record_peer_performance(
        &mut self,
        now: Instant,
        id: &PeerId,
        performance: &PeerPerformance,
    ) -> Option<Instant> {
        let &PeerPerformance { kind, sent, due, bytes, outcome } = performance;
        let blamed = self.is_alone_late(*id, kind, sent) || self.places.active().len() < 2;
        let peer = self.peers.get_mut(id)?;
        let account = peer.accounts.entry(kind);
        match outcome {
            PeerOutcome::Delivered => {
                account.delivered(bytes, now.since(sent));
                if kind.is_bulk() {
                    peer.line.delivered(now, sent, bytes);
                } else if peer.in_flight == 0 && matches!(kind, Kind::Status | Kind::Tip) {
                    peer.line.echoed(now.since(sent));
                }
                let patience = due.since(sent).saturating_mul(ON_TIME_FACTOR).saturating_add(ON_TIME_SLACK);
                if sent.after(patience) >= now {
                    self.note_on_time(now, *id, kind);
                }
                None
            }
            PeerOutcome::Verified { took } => {
                account.succeeded();
                account.verified(bytes, took);
                peer.succeeded();
                peer.bytes = peer.bytes.saturating_add(bytes);
                peer.recent_bytes = peer.recent_bytes.saturating_add(bytes);
                self.note_true(kind, now);
                None
            }
            PeerOutcome::Sparing => {
                account.failed();
                let until = peer.suspected(kind, now);
                self.step_aside(*id, now);
                Some(until)
            }
            PeerOutcome::NoAnswer => {
                if kind.is_bulk() || kind == Kind::Follow {
                    peer.line.timed_out();
                }
                if blamed {
                    account.failed();
                    let until = peer.suspected(kind, now);
                    self.step_aside(*id, now);
                    return Some(until);
                }
                // Nobody is on time: our own link is full, or everybody is silent. Less is asked for, and of others.
                peer.shrink();
                let until = now.after(FIRST_PAUSE);
                peer.pause(kind, until);
                if kind.is_bulk() && self.link_full_at.is_none_or(|at| now.since(at) >= LINK_SETTLES) {
                    self.link_full_at = Some(now);
                    let in_flight = self.in_flight.saturating_add(1).min(self.link_window);
                    self.link_window = (in_flight / 2).max(1);
                }
                self.step_aside(*id, now);
                Some(until)
            }
        }
    }

    /// Bytes a second that the peer's line gives, once that was measured.
    pub fn get_peer_bandwidth(&self, peer: &PeerId) -> Option<u64> {
        self.peers.get(peer)?.line.measured()
    }

    /// Requests that the peer answers with something true, in millionths, once it was asked for anything.
    pub fn get_peer_reliability(&self, peer: &PeerId) -> Option<u32> {
        let peer = self.peers.get(peer)?;
        peer.accounts.iter().any(|(_, account)| account.answers > 0).then(|| reliability(peer))
    }

    /// How a peer is.
    pub fn check_peer_health(&self, now: Instant, peer: &PeerId) -> PeerHealth {
        let Some(peer) = self.peers.get(peer) else { return PeerHealth::Unknown };
        match peer.standing {
            Standing::Banned(_, until) => return PeerHealth::Banned { until },
            Standing::Unsupported(until) => return PeerHealth::Unsupported { until },
            Standing::Good => {}
        }
        if !peer.connected {
            return PeerHealth::Disconnected;
        }
        if peer.busy_until > now {
            return PeerHealth::Busy { until: peer.busy_until };
        }
        match peer.rested(now) {
            Some(until) if peer.suspicions > 0 => PeerHealth::Suspected { until },
            _ if peer.is_active() => PeerHealth::Healthy,
            _ => PeerHealth::StandingBy,
        }
    }

    /// Leaves a peer out. Returns until when; a longer ban stays.
    pub fn blacklist_unreliable_peer(&mut self, now: Instant, id: &PeerId, reason: BlacklistReason) -> Instant {
        let until = now.after(self.settings.ban_duration);
        let group = u64::MAX;
        let known = self.peers.contains_key(id);
        let peer = self.peers.entry(*id).or_insert_with(|| Peer::new(group, now));
        peer.connected &= known;
        let until = match peer.standing {
            Standing::Banned(_, before) if before > until => before,
            _ => {
                peer.standing = Standing::Banned(reason, until);
                until
            }
        };
        self.review(*id, now);
        until
    }

    /// Those that deliver least change places with those that stand by: one in eight, at least one, of those that have had
    /// the time to show what they can. Returns who went and who came.
    pub fn rotate_sync_peers(&mut self, now: Instant) -> Vec<(PeerId, PeerId)> {
        let seasoned = |peer: &Peer| now.since(peer.placed_at).saturating_mul(2) >= self.settings.rotation_interval;
        let mut least: Vec<(u64, PeerId)> =
            self.active().filter(|(_, peer)| seasoned(peer)).map(|(id, peer)| (peer.recent_bytes, id)).collect();
        least.sort_unstable();
        let count = (self.places.active().len() / ROTATED_ONE_IN).max(1);
        let mut rotated = Vec::new();
        for (_, id) in least.into_iter().take(count) {
            if let Some(other) = self.step_aside(id, now) {
                rotated.push((id, other));
            }
        }
        let active: Vec<PeerId> = self.places.active().iter().copied().collect();
        for id in active {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.recent_bytes = 0;
            }
        }
        rotated
    }

    /// How often [`rotate_sync_peers`](Self::rotate_sync_peers) is due.
    pub const fn rotation_interval(&self) -> Duration {
        self.settings.rotation_interval
    }

    /// A peer, as it is known.
    pub fn info(&self, now: Instant, id: &PeerId) -> Option<PeerInfo> {
        let peer = self.peers.get(id)?;
        Some(PeerInfo {
            id: *id,
            group: peer.group,
            connected: peer.connected,
            active: peer.is_active(),
            claimed: peer.claim.map(|claim| claim.tip),
            in_flight: peer.in_flight,
            queued_bytes: peer.queued_bytes,
            blocks: peer.blocks,
            bytes: peer.bytes,
            quality: self.evaluate_peer_quality(id),
            health: self.check_peer_health(now, id),
            banned: match peer.standing {
                Standing::Banned(reason, _) => Some(reason),
                Standing::Good | Standing::Unsupported(_) => None,
            },
        })
    }

    /// Everyone who is known, in the order of their ids.
    pub fn ids(&self) -> impl Iterator<Item = PeerId> {
        self.peers.keys().copied()
    }

    /// Those that are asked, in the order of their ids.
    pub fn active_ids(&self) -> impl Iterator<Item = PeerId> {
        self.places.active().iter().copied()
    }

    /// How many stand by.
    pub fn standing_by(&self) -> usize {
        self.places.waiting()
    }

    /// Peers that are known, connected or not.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Large answers that may be in flight at once before our own link is full, as far as was seen.
    pub(crate) fn link_has_room(&self) -> bool {
        self.in_flight < self.link_window
    }

    /// Whether a peer that was asked at `sent` is late by itself: others have answered something of the kind on time since.
    pub(crate) fn is_alone_late(&self, id: PeerId, kind: Kind, sent: Instant) -> bool {
        let (large, small) = &self.on_time;
        // Small answers pass where large ones don't.
        let small = small.iter().filter(|_| !kind.is_bulk());
        large.iter().chain(small).flatten().any(|&(other, at)| other != id && at > sent)
    }

    fn note_on_time(&mut self, now: Instant, id: PeerId, kind: RequestKind) {
        if kind == Kind::Follow {
            return;
        }
        if kind.is_bulk() {
            self.link_window = self.link_window.saturating_add(1).min(MAX_LINK_WINDOW);
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

    /// A peer connected, for the first time or again; `group` is what it shares with others that may be one operator. A
    /// ban outlives a reconnection.
    pub fn connected(&mut self, now: Instant, id: PeerId, group: u64) {
        self.shift(id, Place::Nowhere, now);
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(group, now));
        if !peer.connected {
            self.gone.remove(&(peer.gone_at, id));
        }
        peer.group = group;
        peer.connected = true;
        peer.mute = false;
        peer.claim = None;
        peer.unproven = None;
        self.review(id, now);
    }

    /// A peer went away. What is known of it is kept, within a bound.
    pub fn disconnected(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.connected) else { return };
        peer.connected = false;
        peer.gone_at = now;
        self.gone.insert((now, id));
        self.review(id, now);
        if self.gone.len() > MAX_GONE
            && let Some((_, forgotten)) = self.gone.pop_first()
        {
            self.peers.remove(&forgotten);
        }
    }

    /// Brings a peer's place in line with whether it may be asked, and fills the places that are free.
    pub(crate) fn review(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get(&id) else { return };
        let (usable, place, group) = (peer.usable(), peer.place, peer.group);
        match place {
            Place::Active | Place::StandingBy(_) if !usable => self.shift(id, Place::Nowhere, now),
            Place::Nowhere if usable => {
                let until = peer.rested(now).unwrap_or(now);
                self.shift(id, Place::StandingBy(until), now);
                self.make_room_for(group, now);
            }
            _ => {}
        }
        self.discover_sync_peers(now);
    }

    /// A newcomer of a group that nobody is asked of takes the place of the one that delivers least of the group that has
    /// the most.
    fn make_room_for(&mut self, group: u64, now: Instant) {
        if self.places.active().len() < self.settings.max_active || self.places.active_of(group) > 0 {
            return;
        }
        let crowd = |peer: &Peer| self.places.active_of(peer.group);
        let least = self.active().max_by_key(|(id, peer)| (crowd(peer), core::cmp::Reverse((peer.recent_bytes, *id))));
        if let Some((id, _)) = least.filter(|(_, peer)| crowd(peer) > 1) {
            self.step_aside(id, now);
        }
    }

    /// A peer gives its place to one that stands by and need not rest. Returns who that is.
    pub(crate) fn step_aside(&mut self, id: PeerId, now: Instant) -> Option<PeerId> {
        let peer = self.peers.get(&id).filter(|peer| peer.is_active())?;
        let until = peer.rested(now).unwrap_or(now);
        let next = self.places.next(now, false)?;
        self.shift(id, Place::StandingBy(until), now);
        self.shift(next, Place::Active, now);
        self.placed.push(next);
        Some(next)
    }

    /// A peer that stands by takes a place: it claims what nobody who is asked does. It takes that of the one that delivers
    /// least.
    pub(crate) fn promote(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get(&id) else { return };
        if !matches!(peer.place, Place::StandingBy(_)) {
            return;
        }
        let least = self.active().min_by_key(|(id, peer)| (peer.in_flight, peer.recent_bytes, *id)).map(|(id, _)| id);
        if let Some(least) = least {
            let until = self.peers.get(&least).and_then(|peer| peer.rested(now)).unwrap_or(now);
            self.shift(least, Place::StandingBy(until), now);
        }
        self.shift(id, Place::Active, now);
        self.placed.push(id);
    }

    fn shift(&mut self, id: PeerId, to: Place, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.place != to {
            peer.placed_at = now;
            peer.recent_bytes = 0;
        }
        let from = core::mem::replace(&mut peer.place, to);
        if to == Place::Active {
            // What it failed to prove while others were asked instead, it may prove now.
            peer.unproven = None;
        }
        self.places.shift(id, peer.group, from, to);
    }

    /// Who was given a place since this was last asked.
    pub(crate) fn take_placed(&mut self) -> Vec<PeerId> {
        core::mem::take(&mut self.placed)
    }

    pub(crate) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.iter().map(|(&id, peer)| (id, peer))
    }

    /// Peers that are asked.
    pub(crate) fn active(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.places.active().iter().filter_map(|id| Some((*id, self.peers.get(id)?)))
    }

    /// Accounts for a request that goes out.
    pub(crate) fn sent(&mut self, id: PeerId, kind: Kind, size: u64, due: Instant, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id).filter(|_| kind.is_bulk()) else { return };
        if peer.in_flight == 0 {
            peer.line.busy(now);
            peer.due = due;
        }
        peer.asked_at = now;
        peer.in_flight = peer.in_flight.saturating_add(1);
        peer.queued_bytes = peer.queued_bytes.saturating_add(size);
        peer.due = peer.due.max(due);
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// Accounts for a request that ended, however it ended.
    pub(crate) fn ended(&mut self, request: &InFlight) {
        if !request.purpose.kind().is_bulk() {
            return;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(peer) = self.peers.get_mut(&request.peer) {
            peer.in_flight = peer.in_flight.saturating_sub(1);
            peer.queued_bytes = peer.queued_bytes.saturating_sub(request.size);
        }
    }

    /// A request that was given up was late, and its peer has sent nothing since it was asked: its line is no faster than
    /// that. True where that is so.
    pub(crate) fn outlasted(&mut self, request: &InFlight, now: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(&request.peer) else { return false };
        if request.due > now || peer.line.last_delivery > request.sent {
            return false;
        }
        peer.line.outlasted(request.size, now.since(request.sent));
        true
    }

    /// The peer doesn't have it: asked for other things at once, for this kind after a pause. Returns when that is over.
    pub(crate) fn not_available(&mut self, id: PeerId, kind: Kind, now: Instant) -> Instant {
        let until = now.after(NOT_AVAILABLE_PAUSE);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.pause(kind, until);
        }
        if !matches!(kind, Kind::Follow | Kind::Status) {
            self.step_aside(id, now);
        }
        until
    }

    /// The peer is busy: asked for nothing before then. No fault. Returns how often in a row it said so.
    pub(crate) fn busy(&mut self, id: PeerId, until: Instant, now: Instant) -> u32 {
        let mut in_a_row = 0;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.busy_until = peer.busy_until.max(until);
            peer.busy_in_a_row = peer.busy_in_a_row.saturating_add(1);
            in_a_row = peer.busy_in_a_row;
        }
        self.step_aside(id, now);
        in_a_row
    }

    /// The peer speaks another version or follows another chain. Returns until when it is left alone.
    pub(crate) fn unsupported(&mut self, id: PeerId, now: Instant) -> Instant {
        let until = now.after(UNSUPPORTED_PAUSE);
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.standing == Standing::Good
        {
            peer.standing = Standing::Unsupported(until);
        }
        self.review(id, now);
        until
    }

    /// What is claimed by those that are asked: the highest tip that any of them may still prove.
    pub(crate) fn highest_claim(&self) -> Option<Height> {
        self.active().filter(|(_, peer)| peer.may_prove()).filter_map(|(_, peer)| Some(peer.claim?.tip)).max()
    }
}

/// The least reliable of the kinds that the peer was asked for.
fn reliability(peer: &Peer) -> u32 {
    peer.accounts.iter().map(|(_, account)| account.success_ppm).min().unwrap_or(MILLION)
}
