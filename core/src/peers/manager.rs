//! [`SyncPeerManager`]: all peers, who of them is asked, and the choice among those.

use alloc::vec::Vec;
use core::time::Duration;

use super::kind_stats::MILLION;
use super::local_link::LocalLink;
use super::peer::{BanState, Peer};
use super::quality::{BlacklistReason, PeerHealth, PeerInfo, PeerQuality};
use super::slots::Slots;
use super::table::PeerTable;
use super::trust::Accusation;
use crate::chain::Fault;
use crate::ids::PeerId;
use crate::requests::{ByKind, Kind};
use crate::sorted::Sorted;
use crate::time::Instant;

/// Payload whose expected time stands for a peer's quality.
const TYPICAL_BYTES: u64 = 256 << 10;

/// Settings of the manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerSettings {
    /// Most peers that are asked at a time.
    pub max_active: usize,
    /// Time between rotations, in which those that deliver least change slots with those that stand by.
    pub rotation_interval: Duration,
    /// Duration of a ban.
    pub ban_duration: Duration,
    /// Independent groups that must give the same provably false kind of answer before this node suspects itself.
    pub suspect_self_groups: usize,
}

/// The peers: the machine's own table, open to be read through [`Machine::peers`](crate::machine::Machine::peers). Every
/// figure is an integer, and every function takes the time, so the same calls give the same answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SyncPeerManager {
    pub(super) settings: PeerSettings,
    pub(super) peers: PeerTable,
    pub(super) slots: Slots,
    /// Peers that were given a slot since that was last asked for.
    pub(super) activated: Vec<PeerId>,
    /// Peers that went away, in order.
    pub(super) gone: Sorted<(Instant, PeerId), ()>,
    /// Peers that gave a provably false answer of a kind since the last true one.
    pub(super) accused: Sorted<(Kind, PeerId), Accusation>,
    /// Kinds of which this node can't tell what is true.
    pub(super) suspects: ByKind<bool>,
    /// Peers that lied while this node suspected itself, as is known now.
    pub(super) exposed: Vec<(PeerId, Fault)>,
    /// Time of the last true answer of each kind.
    pub(super) true_at: ByKind<Option<Instant>>,
    /// Whether it is our own line that is full.
    pub(super) link: LocalLink,
}

impl SyncPeerManager {
    /// Nobody is known.
    pub fn new(settings: PeerSettings) -> Self {
        Self {
            settings,
            peers: PeerTable::default(),
            slots: Slots::default(),
            activated: Vec::new(),
            gone: Sorted::new(),
            accused: Sorted::new(),
            suspects: ByKind::default(),
            exposed: Vec::new(),
            true_at: ByKind::default(),
            link: LocalLink::default(),
        }
    }

    /// Quality of a peer.
    pub fn evaluate_peer_quality(&self, peer: &PeerId) -> PeerQuality {
        let unknown = || PeerQuality { expected: Duration::MAX, ..PeerQuality::default() };
        self.peers.get(*peer).map_or_else(unknown, quality)
    }

    /// The best of those that are asked, best first, at most `count`.
    pub fn select_optimal_peers(&self, count: usize) -> Vec<PeerId> {
        let mut peers: Vec<(Duration, PeerId)> =
            self.active().map(|(id, peer)| (peer.expected(Kind::Bodies, TYPICAL_BYTES), id)).collect();
        peers.sort_unstable();
        peers.into_iter().take(count).map(|(_, id)| id).collect()
    }

    /// Bytes a second that the peer's line gives, once that was measured.
    pub fn get_peer_bandwidth(&self, peer: &PeerId) -> Option<u64> {
        self.peers.get(*peer)?.estimator.measured()
    }

    /// Requests that the peer answers with something true, in millionths, once it was asked for anything.
    pub fn get_peer_reliability(&self, peer: &PeerId) -> Option<u32> {
        let peer = self.peers.get(*peer)?;
        peer.stats.values().any(|stats| stats.answers > 0).then(|| reliability(peer))
    }

    /// Health of a peer.
    pub fn check_peer_health(&self, now: Instant, peer: &PeerId) -> PeerHealth {
        self.peers.get(*peer).map_or(PeerHealth::Unknown, |peer| health(peer, now))
    }

    /// Leaves a peer out. Returns until when.
    pub fn blacklist_unreliable_peer(&mut self, now: Instant, id: &PeerId, reason: BlacklistReason) -> Instant {
        let until = now.after(self.settings.ban_duration);
        let group = u64::MAX;
        let known = self.peers.get(*id).is_some();
        let peer = self.peers.entry(*id, || Peer::new(group, now));
        peer.connected &= known;
        peer.ban_state = BanState::Banned(reason, until);
        peer.unprove();
        self.review(*id, now);
        until
    }

    /// Time after which [`rotate_sync_peers`](Self::rotate_sync_peers) is due again.
    pub const fn rotation_interval(&self) -> Duration {
        self.settings.rotation_interval
    }

    /// A peer, as it is known.
    pub fn info(&self, now: Instant, id: &PeerId) -> Option<PeerInfo> {
        self.peers.get(*id).map(|peer| info(now, *id, peer))
    }

    /// Those that are asked, and others until there are `most`, in the order of their ids.
    pub(crate) fn some_infos(&self, now: Instant, most: usize) -> Vec<PeerInfo> {
        let others = most.saturating_sub(self.peers.active_len());
        let others = self.peers.iter().filter(|(_, peer)| !peer.is_active()).take(others);
        let mut infos: Vec<PeerInfo> =
            self.active().take(most).chain(others).map(|(id, peer)| info(now, id, peer)).collect();
        infos.sort_unstable_by_key(|info| info.id);
        infos
    }

    /// Everyone who is known, in the order of their ids.
    pub fn ids(&self) -> impl Iterator<Item = PeerId> {
        self.peers.iter().map(|(id, _)| id)
    }

    /// Those that are asked, in the order of their ids.
    pub fn active_ids(&self) -> impl Iterator<Item = PeerId> {
        self.peers.active().map(|(id, _)| id)
    }

    /// Number of peers that stand by.
    pub fn standing_by(&self) -> usize {
        self.slots.waiting()
    }

    /// Peers that are known, connected or not.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.peers.len() == 0
    }

    /// Whether our own link has room for another large answer, as far as was seen.
    pub(crate) fn link_has_room(&self) -> bool {
        self.link.has_room()
    }

    /// Whether a peer that was asked at `sent` is late by itself: another has answered something of the kind on time since.
    /// One that is late or gone now, or fell silent since, says nothing: where all do at once, somebody was heard last.
    pub(crate) fn is_alone_late(&self, now: Instant, id: PeerId, kind: Kind, sent: Instant) -> bool {
        let vouches = |other, at| {
            let known = self.peers.get(other);
            known.is_some_and(|peer| peer.connected && !peer.is_late(now) && !peer.was_silent_after(at))
        };
        self.link.on_time_since(kind, sent).any(|(other, at)| other != id && vouches(other, at))
    }

    pub(crate) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.iter()
    }

    /// Peers that are asked.
    pub(crate) fn active(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.active()
    }
}

/// The least reliable of the kinds that the peer was asked for.
fn reliability(peer: &Peer) -> u32 {
    peer.stats.values().map(|stats| stats.success_ppm).min().unwrap_or(MILLION)
}

/// Quality of a peer.
fn quality(peer: &Peer) -> PeerQuality {
    let verify = peer.stats.values().map(|stats| stats.verify_micros_per_mib).max().unwrap_or(0);
    PeerQuality {
        measured: peer.estimator.measured().is_some(),
        bytes_per_second: peer.estimator.bytes_per_second(),
        latency: peer.estimator.latency(),
        reliability_ppm: reliability(peer),
        verify_per_mib: Duration::from_micros(verify),
        window: peer.window(),
        request_bytes: peer.request_bytes(),
        expected: if peer.usable() { peer.expected(Kind::Bodies, TYPICAL_BYTES) } else { Duration::MAX },
    }
}

/// Health of a peer.
fn health(peer: &Peer, now: Instant) -> PeerHealth {
    match peer.ban_state {
        BanState::Banned(_, until) => return PeerHealth::Banned { until },
        BanState::SetAside(until) => return PeerHealth::Suspected { until },
        BanState::Unsupported(until) => return PeerHealth::Unsupported { until },
        BanState::Good => {}
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

/// A peer, as it is known.
fn info(now: Instant, id: PeerId, peer: &Peer) -> PeerInfo {
    PeerInfo {
        id,
        group: peer.group,
        connected: peer.connected,
        active: peer.is_active(),
        claimed: peer.status.map(|status| status.tip),
        in_flight: peer.in_flight,
        queued_bytes: peer.queued_bytes,
        blocks: peer.blocks,
        bytes: peer.bytes,
        quality: quality(peer),
        health: health(peer, now),
        banned: match peer.ban_state {
            BanState::Banned(reason, _) => Some(reason),
            BanState::Good | BanState::SetAside(_) | BanState::Unsupported(_) => None,
        },
        false_answers: peer.false_answers,
        unanswered: peer.unanswered,
    }
}
