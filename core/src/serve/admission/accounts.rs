//! Accounts of peers and groups, and the memory that each has.

use super::super::account::{Group, Peer, QueueState};
use super::Admission;
use crate::ids::PeerId;
use crate::time::Instant;

impl Admission {
    /// Changes what a request has in memory.
    pub(super) fn hold(&mut self, id: PeerId, group_id: u64, less: u64, more: u64) {
        let change = |held: u64| held.saturating_sub(less).saturating_add(more);
        self.held = change(self.held);
        self.stats.peak_memory = self.stats.peak_memory.max(self.held);
        let limits = self.limits;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.held = change(peer.held);
            if peer.full && peer.held < limits.peer_memory {
                peer.full = false;
                self.line_up(id);
            }
        }
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.held = change(group.held);
            if group.queue_state == QueueState::Full && group.held < limits.group_memory {
                self.set_queue_state(group_id, QueueState::Ready);
            }
        }
    }

    /// Keeps account of a peer, in the place of the one that did nothing for longest if there are too many. False where
    /// all of those have requests open.
    pub(super) fn track(&mut self, now: Instant, id: PeerId, group_id: u64) -> bool {
        if let Some(peer) = self.peers.get(&id) {
            let (old, may_move) = (peer.group, peer.open == 0);
            // The peer moved; its open requests stay where they were asked for.
            let moves = old != group_id && may_move && self.track_group(now, group_id);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.seen = peer.seen.max(now);
                if moves {
                    peer.group = group_id;
                    self.join(group_id, Some(old));
                }
            }
            return true;
        }
        if self.peers.len() >= self.limits.max_peers.max(1) {
            let idle = self.peers.iter().filter(|(_, peer)| peer.open == 0).min_by_key(|(_, peer)| peer.seen);
            let Some((idle, group)) = idle.map(|(idle, peer)| (*idle, peer.group)) else { return false };
            self.peers.remove(&idle);
            if let Some(group) = self.groups.get_mut(&group) {
                group.peers = group.peers.saturating_sub(1);
            }
        }
        if !self.track_group(now, group_id) {
            return false;
        }
        self.peers.insert(id, Peer::new(group_id, now));
        self.join(group_id, None);
        true
    }

    fn join(&mut self, new: u64, old: Option<u64>) {
        if let Some(group) = self.groups.get_mut(&new) {
            group.peers = group.peers.saturating_add(1);
        }
        if let Some(group) = old.and_then(|old| self.groups.get_mut(&old)) {
            group.peers = group.peers.saturating_sub(1);
        }
    }

    pub(super) fn track_group(&mut self, now: Instant, id: u64) -> bool {
        if let Some(group) = self.groups.get_mut(&id) {
            group.seen = group.seen.max(now);
            return true;
        }
        if self.groups.len() >= self.limits.max_peers.max(1) {
            let idle = self.groups.iter().filter(|(_, group)| group.peers == 0).min_by_key(|(_, group)| group.seen);
            let Some(idle) = idle.map(|(idle, _)| *idle) else { return false };
            self.groups.remove(&idle);
        }
        self.groups.insert(id, Group { seen: now, ..Group::default() });
        true
    }
}
