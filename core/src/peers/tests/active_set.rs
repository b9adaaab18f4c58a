//! Slots are taken and given up, and peers forgotten on the way.

use super::*;
use crate::hash::Hash;
use crate::ids::{Epoch, Height};
use crate::peers::slots::PeerSlot;
use crate::wire::PeerStatus;

fn status(tip: u64) -> PeerStatus {
    let (chain_id, earliest, tip) = (Hash::ZERO, Height::new(1), Height::new(tip));
    PeerStatus { chain_id, earliest, tip, epoch: Epoch::ZERO, snapshots: None }
}

fn deliver(manager: &mut SyncPeerManager, now: u64, name: u8, bytes: u64) {
    let took = Duration::ZERO;
    manager.record_peer_performance(at(now), &id(name), &performance(now, bytes, PeerOutcome::Verified { took }));
}

/// Peer `name` rests until then.
fn rest(manager: &mut SyncPeerManager, name: u8, until: u64) {
    manager.get_mut(id(name)).unwrap().pause(RequestKind::Bodies, at(until));
}

#[test]
fn a_new_connection_begins_without_what_the_old_one_said() {
    let mut manager = manager(4, 1);
    let peer = manager.get_mut(id(1)).unwrap();
    peer.status = Some(status(9));
    peer.mute = true;
    peer.unproven = Some(Height::new(9));
    // The peer comes again before the host told that it went: from another address.
    manager.connected(at(1), id(1), 77);
    let peer = manager.get(id(1)).unwrap();
    assert_eq!((peer.status, peer.mute, peer.unproven, peer.group), (None, false, None, 77));
    assert_eq!((manager.slots.active_of(1), manager.slots.active_of(77)), (0, 1));
    assert_eq!(active(&manager), [id(1)]);
    // Whether it gets a slot or not.
    let mut manager = super::manager(1, 2);
    manager.get_mut(id(2)).unwrap().unproven = Some(Height::new(9));
    manager.connected(at(1), id(2), 2);
    assert_eq!(manager.get(id(2)).unwrap().unproven, None);
}

#[test]
fn who_came_back_is_not_forgotten() {
    let mut manager = manager(2, 3);
    manager.disconnected(at(1), id(3));
    // Told twice, as hosts do.
    manager.disconnected(at(2), id(3));
    assert_eq!(manager.gone.len(), 1);
    manager.connected(at(3), id(3), 3);
    for number in 0..5000u64 {
        let mut name = [255; 32];
        name[..8].copy_from_slice(&number.to_be_bytes());
        manager.connected(at(number + 4), PeerId::from_bytes(name), number);
        manager.disconnected(at(number + 4), PeerId::from_bytes(name));
    }
    assert!(manager.get(id(3)).is_some_and(|peer| peer.connected));
}

#[test]
fn who_has_a_place_is_not_forgotten() {
    let mut manager = manager(1, 2);
    manager.peers.remove(id(1));
    manager.peers.remove(id(2));
    assert_eq!((active(&manager), manager.ids().collect()), (Vec::from([id(1)]), Vec::from([id(1)])));
}

#[test]
fn whoever_gets_a_place_is_told_of_once() {
    let mut manager = manager(1, 1);
    assert_eq!(manager.take_activated(), [id(1)]);
    assert!(!manager.has_activated());
    manager.connected(at(1), id(2), 2);
    assert!(!manager.has_activated(), "it stands by");
    manager.step_aside(id(1), at(2));
    assert_eq!(manager.take_activated(), [id(2)]);
    manager.promote(id(1), at(3));
    assert_eq!(manager.take_activated(), [id(1)]);
}

#[test]
fn a_rotation_takes_those_that_delivered_least_since_the_last() {
    let mut manager = manager(16, 20);
    for name in 1..=16 {
        let bytes = match name {
            6 | 11 => 5,
            3 | 14 => 500,
            _ => 50,
        };
        deliver(&mut manager, 1, name, bytes);
    }
    // One in eight.
    let mut gone: Vec<PeerId> = manager.rotate_sync_peers(at(10_000)).iter().map(|&(gone, _)| gone).collect();
    gone.sort_unstable();
    assert_eq!(gone, [id(6), id(11)]);
    // From here on counts what comes from here on, and who has just come has time to show what it can.
    for name in 1..=16 {
        deliver(&mut manager, 10_001, name, if name == 3 || name == 14 { 1 } else { 40 });
    }
    assert_eq!(manager.get(id(17)).unwrap().recent_bytes, 0);
    let mut gone: Vec<PeerId> = manager.rotate_sync_peers(at(14_000)).iter().map(|&(gone, _)| gone).collect();
    gone.sort_unstable();
    assert_eq!(gone, [id(3), id(14)]);
    for name in [3, 14] {
        assert_eq!(manager.get(id(name)).unwrap().recent_bytes, 0, "what it delivered before is over");
    }
}

#[test]
fn few_peers_are_rotated_too() {
    let mut manager = manager(2, 4);
    assert_eq!(manager.rotate_sync_peers(at(10_000)).len(), 1);
}

#[test]
fn a_rest_outlasts_a_place_and_a_connection() {
    let mut manager = manager(1, 2);
    rest(&mut manager, 2, 5000);
    manager.disconnected(at(1), id(2));
    manager.connected(at(2), id(2), 2);
    assert_eq!(manager.step_aside(id(1), at(3000)), None, "whoever stands by rests");
    rest(&mut manager, 1, 9000);
    assert_eq!(manager.step_aside(id(1), at(5000)), Some(id(2)));
    assert_eq!(manager.step_aside(id(2), at(8000)), None);
    // The same where another claims what nobody does.
    rest(&mut manager, 2, 20_000);
    manager.promote(id(1), at(8000));
    assert_eq!(active(&manager), [id(1)]);
    assert_eq!(manager.step_aside(id(1), at(19_000)), None);
    assert_eq!(manager.step_aside(id(1), at(20_000)), Some(id(2)));
}

#[test]
fn only_who_has_a_place_can_give_it_up() {
    let mut manager = manager(1, 3);
    assert_eq!(manager.step_aside(id(2), at(1)), None);
    assert_eq!((active(&manager), manager.standing_by()), (Vec::from([id(1)]), 2));
}

#[test]
fn a_newcomer_of_another_group_takes_a_place_of_the_crowd() {
    let mut manager = manager(5, 0);
    for name in 1..=3 {
        manager.connected(at(0), id(name), 7);
    }
    for name in 4..=5 {
        manager.connected(at(0), id(name), 8);
    }
    for (name, bytes) in [(1, 30), (2, 10), (3, 20), (4, 1), (5, 2)] {
        deliver(&mut manager, 1, name, bytes);
    }
    // One more of a group that has a slot moves nobody.
    manager.connected(at(2), id(6), 8);
    assert_eq!(active(&manager), [id(1), id(2), id(3), id(4), id(5)]);
    // The largest group gives way, and of it the one that delivered least.
    manager.connected(at(3), id(9), 9);
    assert_eq!(active(&manager), [id(1), id(3), id(4), id(5), id(9)]);
    // Where all are of groups of their own, nobody gives way.
    let mut manager = super::manager(2, 2);
    manager.connected(at(1), id(3), 3);
    assert_eq!(active(&manager), [id(1), id(2)]);
}

#[test]
fn nobody_gives_way_while_places_are_free() {
    let mut manager = manager(3, 0);
    manager.connected(at(0), id(1), 7);
    manager.connected(at(0), id(2), 7);
    for name in 1..=2 {
        deliver(&mut manager, 1, name, 5);
    }
    manager.connected(at(2), id(3), 8);
    assert_eq!(active(&manager), [id(1), id(2), id(3)]);
    for name in 1..=2 {
        assert_eq!(manager.get(id(name)).unwrap().recent_bytes, 5, "it kept its place all the time");
    }
}

#[test]
fn who_claims_more_takes_the_place_of_the_idlest() {
    let mut manager = manager(3, 4);
    for (name, in_flight, bytes) in [(1, 0, 50), (2, 0, 10), (3, 1, 0)] {
        let peer = manager.get_mut(id(name)).unwrap();
        (peer.in_flight, peer.recent_bytes) = (in_flight, bytes);
    }
    manager.promote(id(4), at(1));
    assert_eq!(active(&manager), [id(1), id(3), id(4)], "it has nothing in flight and delivered least of those");
    // A peer with a slot keeps it, and one that can't be asked gets none.
    manager.promote(id(4), at(2));
    manager.blacklist_unreliable_peer(at(3), &id(2), BlacklistReason::ByHand);
    manager.promote(id(2), at(3));
    manager.promote(id(99), at(3));
    assert_eq!(active(&manager), [id(1), id(3), id(4)]);
    assert_eq!(manager.get(id(2)).unwrap().slot, PeerSlot::Inactive);
}

#[test]
fn a_place_gives_a_second_chance_to_prove() {
    let mut manager = manager(2, 3);
    for (name, tip) in [(1, 90), (2, 50), (3, 70)] {
        manager.get_mut(id(name)).unwrap().status = Some(status(tip));
    }
    assert_eq!(manager.highest_claim(), Some(Height::new(90)), "who stands by doesn't count");
    manager.get_mut(id(1)).unwrap().failed_to_prove(at(0));
    assert_eq!(manager.highest_claim(), Some(Height::new(50)), "nor who did not prove it");
    manager.step_aside(id(1), at(1));
    assert_eq!(manager.highest_claim(), Some(Height::new(70)));
    manager.step_aside(id(3), at(60_000));
    assert_eq!(manager.highest_claim(), Some(Height::new(90)));
}

#[test]
fn a_ban_by_hand_of_somebody_unknown_is_no_connection() {
    let mut manager = manager(2, 0);
    let until = manager.blacklist_unreliable_peer(at(0), &id(1), BlacklistReason::ByHand);
    assert!(manager.lift_expired(id(1), until));
    assert_eq!((active(&manager), manager.check_peer_health(until, &id(1))), (Vec::new(), PeerHealth::Disconnected));
    assert_eq!(manager.evaluate_peer_quality(&id(1)).expected, Duration::MAX);
    manager.connected(until, id(1), 1);
    assert_eq!((active(&manager), manager.check_peer_health(until, &id(1))), (Vec::from([id(1)]), PeerHealth::Healthy));
}
