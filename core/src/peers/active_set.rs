//! The active set: peers come and go, become active and give that up.

use alloc::vec::Vec;

use super::manager::SyncPeerManager;
use super::peer::Peer;
use super::slots::PeerSlot;
use crate::ids::{Height, PeerId};
use crate::time::Instant;

/// One in so many peers gives up its slot in a rotation, at least one.
const ROTATED_ONE_IN: usize = 8;
/// Peers that went away and are remembered: enough for every network that this is for, little memory.
const MAX_GONE: usize = 4096;

impl SyncPeerManager {
    /// A peer connected, for the first time or again; `group` is what it shares with others that may be one operator. A
    /// ban outlives a reconnection.
    pub fn connected(&mut self, now: Instant, id: PeerId, group: u64) {
        self.shift(id, PeerSlot::Inactive, now);
        let peer = self.peers.entry(id, || Peer::new(group, now));
        if !peer.connected {
            self.gone.remove(&(peer.gone_at, id));
        }
        peer.group = group;
        peer.connected = true;
        peer.mute = false;
        peer.status = None;
        peer.unproven = None;
        self.review(id, now);
    }

    /// A peer went away. What is known of it is kept, within a bound.
    pub fn disconnected(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.connected) else { return };
        peer.connected = false;
        peer.gone_at = now;
        self.gone.insert((now, id), ());
        self.review(id, now);
        if self.gone.len() > MAX_GONE
            && let Some(&(since, forgotten)) = self.gone.first()
        {
            self.gone.remove(&(since, forgotten));
            self.peers.remove(forgotten);
            self.forget_accusation(forgotten);
        }
    }

    /// Gives free slots to those that stand by, of as many groups as there are. Returns who is asked from now on and was
    /// not before.
    pub fn discover_sync_peers(&mut self, now: Instant) -> Vec<PeerId> {
        let mut found = Vec::new();
        while self.peers.active_len() < self.settings.max_active
            && let Some(id) = self.slots.next(now, true)
        {
            self.shift(id, PeerSlot::Active, now);
            found.push(id);
        }
        self.activated.extend_from_slice(&found);
        found
    }

    /// Those that deliver least change slots with those that stand by: one in eight, at least one, of those that have had
    /// the time to show what they can. Returns who went and who came.
    pub fn rotate_sync_peers(&mut self, now: Instant) -> Vec<(PeerId, PeerId)> {
        let seasoned = |peer: &Peer| now.since(peer.slot_since).saturating_mul(2) >= self.settings.rotation_interval;
        let mut least: Vec<(u64, PeerId)> =
            self.active().filter(|(_, peer)| seasoned(peer)).map(|(id, peer)| (peer.recent_bytes, id)).collect();
        let count = (self.peers.active_len() / ROTATED_ONE_IN).max(1);
        let mut rotated = Vec::new();
        for _ in 0..count {
            // A few of some tens: not worth the code of a sort.
            let first = least.iter().enumerate().min_by_key(|(_, of)| **of);
            let Some((_, id)) = first.map(|(place, _)| place).map(|place| least.swap_remove(place)) else { break };
            if let Some(other) = self.step_aside(id, now) {
                rotated.push((id, other));
            }
        }
        for peer in self.peers.active_mut() {
            peer.recent_bytes = 0;
        }
        rotated
    }

    /// Brings a peer's slot in line with whether it may be asked, and fills the slots that are free.
    pub(crate) fn review(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get(id) else { return };
        let (usable, slot, group) = (peer.usable(), peer.slot, peer.group);
        match slot {
            PeerSlot::Active | PeerSlot::Standby(_) if !usable => self.shift(id, PeerSlot::Inactive, now),
            PeerSlot::Inactive if usable => {
                let until = peer.rested(now).unwrap_or(now);
                self.shift(id, PeerSlot::Standby(until), now);
                self.make_room_for(group, now);
            }
            _ => {}
        }
        self.discover_sync_peers(now);
    }

    /// A newcomer of a group that nobody is asked of takes the slot of the one that delivers least of the group that has
    /// the most.
    fn make_room_for(&mut self, group: u64, now: Instant) {
        let full = self.peers.active_len() >= self.settings.max_active;
        if !full || self.slots.active_of(group) > 0 || self.slots.crowded() == 0 {
            return;
        }
        let crowd = |peer: &Peer| self.slots.active_of(peer.group);
        let least = self.active().max_by_key(|(id, peer)| (crowd(peer), core::cmp::Reverse((peer.recent_bytes, *id))));
        if let Some((id, _)) = least {
            self.step_aside(id, now);
        }
    }

    /// A peer gives its slot to one that stands by and need not rest. Returns who that is.
    pub(crate) fn step_aside(&mut self, id: PeerId, now: Instant) -> Option<PeerId> {
        let peer = self.peers.get(id).filter(|peer| peer.is_active())?;
        let until = peer.rested(now).unwrap_or(now);
        let next = self.slots.next(now, false)?;
        self.shift(id, PeerSlot::Standby(until), now);
        self.shift(next, PeerSlot::Active, now);
        self.activated.push(next);
        Some(next)
    }

    /// A peer that stands by takes a slot: it claims what nobody who is asked does. It takes that of the one that delivers
    /// least.
    pub(crate) fn promote(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get(id) else { return };
        if !matches!(peer.slot, PeerSlot::Standby(_)) {
            return;
        }
        let least = self.active().min_by_key(|(id, peer)| (peer.in_flight, peer.recent_bytes, *id)).map(|(id, _)| id);
        if let Some(least) = least {
            let until = self.peers.get(least).and_then(|peer| peer.rested(now)).unwrap_or(now);
            self.shift(least, PeerSlot::Standby(until), now);
        }
        self.shift(id, PeerSlot::Active, now);
        self.activated.push(id);
    }

    fn shift(&mut self, id: PeerId, to: PeerSlot, now: Instant) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        if peer.slot != to {
            peer.slot_since = now;
            peer.recent_bytes = 0;
        }
        let from = core::mem::replace(&mut peer.slot, to);
        if to == PeerSlot::Active {
            // A claim that the peer failed to prove while others were asked instead may be proven now.
            peer.unproven = None;
        }
        self.slots.shift(id, peer.group, from, to);
        self.peers.set_active(id, to == PeerSlot::Active);
    }

    /// Whether anyone was given a slot since that was last asked.
    pub(crate) fn has_activated(&self) -> bool {
        !self.activated.is_empty()
    }

    /// The peers that were given a slot since this was last asked.
    pub(crate) fn take_activated(&mut self) -> Vec<PeerId> {
        core::mem::take(&mut self.activated)
    }

    /// The highest tip that an active peer claims and may still prove.
    pub(crate) fn highest_claim(&self) -> Option<Height> {
        self.active().filter(|(_, peer)| peer.may_prove()).filter_map(|(_, peer)| Some(peer.status?.tip)).max()
    }
}
