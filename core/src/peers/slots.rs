//! Slots by group: the active peers are of as many groups as there are; all others stand by.

use crate::ids::PeerId;
use crate::sorted::Sorted;
use crate::time::Instant;

/// Groups that are looked at for one that has somebody who need not rest. Those with the fewest slots come first.
const LOOKED_AT: usize = 64;

/// Slot of a peer in the active set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum PeerSlot {
    /// The peer can't be asked.
    #[default]
    Inactive,
    /// The peer is asked.
    Active,
    /// The peer stands by, and may be asked from then on.
    Standby(Instant),
}

/// The peers of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Group {
    active: usize,
    waiting: Sorted<(Instant, PeerId), ()>,
}

/// Slots of all peers that may be asked: of as many groups as there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Slots {
    groups: Sorted<u64, Group>,
    /// Groups in which somebody waits: by how many of it are active, and since when.
    order: Sorted<(usize, Instant, u64), ()>,
    waiting: usize,
    /// Groups of which more than one is asked.
    crowded: usize,
}

impl Slots {
    /// Number of peers that stand by.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Number of active peers of a group.
    pub(super) fn active_of(&self, group: u64) -> usize {
        self.groups.get(&group).map_or(0, |group| group.active)
    }

    /// Of how many groups more than one is asked.
    pub(super) fn crowded(&self) -> usize {
        self.crowded
    }

    /// Moves a peer of `group` from one slot to another.
    pub(super) fn shift(&mut self, id: PeerId, group: u64, from: PeerSlot, to: PeerSlot) {
        if from == to {
            return;
        }
        let entry = self.groups.get_or_insert_with(group, Group::default);
        if let Some(&(since, _)) = entry.waiting.first() {
            self.order.remove(&(entry.active, since, group));
        }
        let was_crowded = entry.active > 1;
        match from {
            PeerSlot::Inactive => {}
            PeerSlot::Active => {
                entry.active = entry.active.saturating_sub(1);
            }
            PeerSlot::Standby(since) => {
                entry.waiting.remove(&(since, id));
                self.waiting = self.waiting.saturating_sub(1);
            }
        }
        match to {
            PeerSlot::Inactive => {}
            PeerSlot::Active => {
                entry.active = entry.active.saturating_add(1);
            }
            PeerSlot::Standby(since) => {
                entry.waiting.insert((since, id), ());
                self.waiting = self.waiting.saturating_add(1);
            }
        }
        match (was_crowded, entry.active > 1) {
            (false, true) => self.crowded = self.crowded.saturating_add(1),
            (true, false) => self.crowded = self.crowded.saturating_sub(1),
            _ => {}
        }
        match entry.waiting.first() {
            Some(&(since, _)) => {
                self.order.insert((entry.active, since, group), ());
            }
            None if entry.active == 0 => {
                self.groups.remove(&group);
            }
            None => {}
        }
    }

    /// The next peer to be asked of those that stand by: of the group with the fewest slots, the one that has waited
    /// longest. Peers that still rest count only if `resting` are welcome too.
    pub(super) fn next(&self, now: Instant, resting: bool) -> Option<PeerId> {
        let mut groups = self.order.keys().take(LOOKED_AT);
        let rested = groups.find(|(_, since, _)| *since <= now);
        let chosen = rested.or_else(|| self.order.first().filter(|_| resting));
        let (_, _, group) = chosen?;
        let (_, id) = self.groups.get(group)?.waiting.first()?;
        Some(*id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: u8) -> PeerId {
        PeerId::from_bytes([name; 32])
    }

    #[test]
    fn the_group_with_the_fewest_places_comes_first() {
        let at = Instant::from_micros;
        let mut slots = Slots::default();
        slots.shift(id(1), 7, PeerSlot::Inactive, PeerSlot::Active);
        slots.shift(id(2), 7, PeerSlot::Inactive, PeerSlot::Standby(at(1)));
        slots.shift(id(3), 8, PeerSlot::Inactive, PeerSlot::Standby(at(5)));
        assert_eq!(slots.next(at(9), false), Some(id(3)));
        assert_eq!(slots.next(at(2), false), Some(id(2)), "who must rest is passed over");
        assert_eq!(slots.next(at(0), false), None);
        assert_eq!(slots.next(at(0), true), Some(id(3)));
        slots.shift(id(3), 8, PeerSlot::Standby(at(5)), PeerSlot::Active);
        assert_eq!((slots.next(at(9), false), slots.waiting(), slots.active_of(8)), (Some(id(2)), 1, 1));
        slots.shift(id(3), 8, PeerSlot::Active, PeerSlot::Inactive);
        slots.shift(id(2), 7, PeerSlot::Standby(at(1)), PeerSlot::Inactive);
        slots.shift(id(1), 7, PeerSlot::Active, PeerSlot::Inactive);
        assert_eq!(slots, Slots::default(), "nothing is left behind");
    }
}
