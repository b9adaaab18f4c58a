//! Whose turn is next: groups by what was spent on each, and within a group its peers.

use super::super::account::QueueState;
use super::{Admission, Open, Stage, Ticket};
use crate::ids::PeerId;
use crate::time::Instant;

impl Admission {
    pub(super) fn first_deadline(&self) -> Option<(Ticket, Instant)> {
        let ticket = *self.waiting.first()?;
        match self.open.get(&ticket)?.stage {
            Stage::Waiting(deadline) => Some((ticket, deadline)),
            Stage::Running | Stage::Sending => None,
        }
    }

    /// The request whose turn is next.
    pub(super) fn front(&self) -> Option<(Ticket, Open)> {
        let (_, group) = self.ready.first()?;
        let (_, peer) = self.groups.get(group)?.ready.first()?;
        let ticket = *self.peers.get(peer)?.queue.front()?;
        Some((ticket, *self.open.get(&ticket)?))
    }

    pub(super) fn serve(&mut self, now: Instant, ticket: Ticket, open: Open) {
        self.leave_queue(ticket, open.peer, open.group);
        if let Some(open) = self.open.get_mut(&ticket) {
            open.stage = Stage::Running;
        }
        self.running = self.running.saturating_add(1);
        self.total.take(open.spend);
        self.hold(open.peer, open.group, 0, open.memory);
        if let Some(group) = self.groups.get_mut(&open.group) {
            group.allowance.take(open.spend);
            self.level = self.level.max(group.spent);
        }
        if let Some(peer) = self.peers.get_mut(&open.peer) {
            (peer.refused, peer.busy_until) = (0, Instant::ZERO);
            if let Some(group) = self.groups.get_mut(&open.group) {
                group.level = group.level.max(peer.spent);
            }
        }
        self.charge(now, open.peer, open.group, 0, open.spend.work);
    }

    /// Changes what was spent on a peer and its group, and with it their places.
    pub(super) fn charge(&mut self, now: Instant, id: PeerId, group_id: u64, less: u64, more: u64) {
        let (Some(peer), Some(group)) = (self.peers.get_mut(&id), self.groups.get_mut(&group_id)) else { return };
        let weight = peer.weight(now);
        let weigh = |work: u64| u128::from(work).checked_shl(weight).unwrap_or(u128::MAX);
        let is_ready = group.ready.remove(&(peer.spent, id));
        peer.spent = peer.spent.saturating_add(weigh(more)).saturating_sub(weigh(less));
        if is_ready {
            group.ready.insert((peer.spent, id));
        }
        let is_ready = self.ready.remove(&(group.spent, group_id));
        group.spent = group.spent.saturating_add(u128::from(more)).saturating_sub(u128::from(less));
        if is_ready {
            self.ready.insert((group.spent, group_id));
        }
    }

    /// A peer with requests takes part in its group's turns, and the group in everyone's.
    pub(super) fn line_up(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(group) = self.groups.get_mut(&peer.group) else { return };
        if peer.full || peer.queue.is_empty() || group.ready.contains(&(peer.spent, id)) {
            return;
        }
        // A peer that did without for a while has no claim for that.
        peer.spent = peer.spent.max(group.level);
        group.ready.insert((peer.spent, id));
        if group.queue_state == QueueState::Idle {
            let id = peer.group;
            self.set_queue_state(id, QueueState::Ready);
        }
    }

    /// A peer takes part no longer.
    pub(super) fn step_out(&mut self, group_id: u64, id: PeerId, spent: u128) {
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        group.ready.remove(&(spent, id));
        if group.ready.is_empty() {
            self.set_queue_state(group_id, QueueState::Idle);
        }
    }

    pub(super) fn set_queue_state(&mut self, id: u64, queue_state: QueueState) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        match group.queue_state {
            QueueState::Ready => {
                self.ready.remove(&(group.spent, id));
            }
            QueueState::Resting(at) => {
                self.resting.remove(&(at, id));
            }
            QueueState::Idle | QueueState::Full => {}
        }
        group.queue_state = if group.ready.is_empty() { QueueState::Idle } else { queue_state };
        match group.queue_state {
            QueueState::Ready => {
                group.spent = group.spent.max(self.level);
                self.ready.insert((group.spent, id));
            }
            QueueState::Resting(at) => {
                self.resting.insert((at, id));
            }
            QueueState::Idle | QueueState::Full => {}
        }
    }

    pub(super) fn wake_groups(&mut self, now: Instant) {
        while let Some(&(at, group)) = self.resting.first().filter(|(at, _)| *at <= now) {
            self.resting.remove(&(at, group));
            self.set_queue_state(group, QueueState::Ready);
        }
    }

    pub(super) fn leave_queue(&mut self, ticket: Ticket, id: PeerId, group_id: u64) {
        self.waiting.remove(&ticket);
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.waiting = group.waiting.saturating_sub(1);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.queue.retain(|other| *other != ticket);
        if peer.queue.is_empty() {
            let spent = peer.spent;
            self.step_out(group_id, id, spent);
        }
    }
}
