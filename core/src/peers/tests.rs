//! The manager by itself, as a host that keeps one of its own would use it.

use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::chain::Fault;
use crate::ids::PeerId;
use crate::requests::RequestKind;
use crate::time::Instant;

mod active_set;
mod choice;
mod estimator;
mod local_link;
mod peer;
mod performance;
mod trust;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn id(name: u8) -> PeerId {
    PeerId::from_bytes([name; 32])
}

fn manager(max_active: usize, peers: u8) -> SyncPeerManager {
    let rotation_interval = Duration::from_secs(10);
    let settings = PeerSettings { max_active, rotation_interval, ban_duration: DAY, suspect_self_groups: 3 };
    let mut manager = SyncPeerManager::new(settings);
    for name in 1..=peers {
        manager.connected(at(0), id(name), name.into());
    }
    manager
}

fn performance(sent: u64, bytes: u64, outcome: PeerOutcome) -> PeerPerformance {
    PeerPerformance { kind: RequestKind::Bodies, sent: at(sent), due: at(sent + 1000), bytes, outcome }
}

fn active(manager: &SyncPeerManager) -> Vec<PeerId> {
    manager.active_ids().collect()
}

#[test]
fn who_delivers_more_is_chosen_first() {
    let mut manager = manager(8, 3);
    for (name, bytes) in [(1, 50_000), (2, 900_000), (3, 200_000)] {
        for round in 0..10 {
            let now = at(1000 * round + 900);
            manager.record_peer_performance(now, &id(name), &performance(1000 * round, bytes, PeerOutcome::Delivered));
            let took = Duration::from_millis(1);
            let verified = performance(1000 * round, bytes, PeerOutcome::Verified { took });
            manager.record_peer_performance(now, &id(name), &verified);
        }
    }
    assert_eq!(manager.select_optimal_peers(2), [id(2), id(3)]);
    assert!(manager.get_peer_bandwidth(&id(2)) > manager.get_peer_bandwidth(&id(3)));
    let quality = manager.evaluate_peer_quality(&id(2));
    assert!(quality.measured && quality.reliability_ppm == 1_000_000 && quality.window > 2, "{quality:?}");
    assert!(quality.expected < manager.evaluate_peer_quality(&id(1)).expected);
    assert_eq!(manager.evaluate_peer_quality(&id(9)).expected, Duration::MAX);
    assert_eq!((manager.get_peer_bandwidth(&id(9)), manager.get_peer_reliability(&id(9))), (None, None));
}

#[test]
fn who_is_late_alone_is_suspected_and_gives_its_place_up() {
    let mut manager = manager(2, 3);
    assert_eq!(active(&manager), [id(1), id(2)]);
    manager.record_peer_performance(at(500), &id(2), &performance(100, 50_000, PeerOutcome::Delivered));
    let until = manager.record_peer_performance(at(900), &id(1), &performance(100, 50_000, PeerOutcome::NoAnswer));
    assert_eq!(until, Some(at(1150)));
    assert_eq!(active(&manager), [id(2), id(3)]);
    assert_eq!(manager.check_peer_health(at(900), &id(1)), PeerHealth::Suspected { until: at(1150) });
    assert_eq!(manager.check_peer_health(at(1150), &id(1)), PeerHealth::StandingBy);
    assert!(manager.get_peer_reliability(&id(1)).unwrap() < 900_000);
}

#[test]
fn nobody_is_to_blame_where_nobody_is_on_time() {
    let mut manager = manager(4, 4);
    for name in 1..=4 {
        manager.record_peer_performance(at(9000), &id(name), &performance(0, 50_000, PeerOutcome::NoAnswer));
        let health = manager.check_peer_health(at(9001), &id(name));
        assert_eq!(health, PeerHealth::Healthy, "peer {name}");
        assert_eq!(manager.get_peer_reliability(&id(name)), None, "no account is charged");
    }
}

#[test]
fn who_goes_on_not_having_it_rests_for_longer() {
    let mut manager = manager(4, 3);
    let rests = |manager: &mut SyncPeerManager| {
        manager.not_available(id(1), RequestKind::Bodies, at(0)).since(at(0)).as_millis()
    };
    let pauses: Vec<u128> = (0..9).map(|_| rests(&mut manager)).collect();
    assert_eq!(pauses, [125, 250, 500, 1000, 2000, 4000, 8000, 16_000, 16_000]);
    // Another kind is another matter, and what is true ends it.
    assert_eq!(manager.not_available(id(1), RequestKind::Segment, at(0)), at(125));
    let verified = performance(0, 100, PeerOutcome::Verified { took: Duration::from_millis(1) });
    manager.record_peer_performance(at(20_000), &id(1), &verified);
    assert_eq!(rests(&mut manager), 125);
}

#[test]
fn bans_last_and_end() {
    let mut manager = manager(2, 3);
    let until = manager.blacklist_unreliable_peer(at(0), &id(1), BlacklistReason::Proven(Fault::Malformed));
    assert_eq!(until, at(0).after(DAY));
    assert_eq!(active(&manager), [id(2), id(3)]);
    manager.disconnected(at(1), id(1));
    manager.connected(at(2), id(1), 1);
    assert_eq!(manager.check_peer_health(at(2), &id(1)), PeerHealth::Banned { until });
    assert_eq!(manager.info(at(2), &id(1)).and_then(|info| info.banned?.fault()), Some(Fault::Malformed));
    assert!(!manager.lift_expired(id(1), at(3)) && manager.lift_expired(id(1), until));
    assert_eq!(manager.check_peer_health(until, &id(1)), PeerHealth::StandingBy);
    // By hand, of somebody who never came.
    manager.blacklist_unreliable_peer(at(0), &id(77), BlacklistReason::ByHand);
    manager.connected(at(5), id(77), 77);
    assert!(matches!(manager.check_peer_health(at(5), &id(77)), PeerHealth::Banned { .. }));
}

#[test]
fn who_delivers_least_is_rotated() {
    let mut manager = manager(2, 3);
    let took = Duration::ZERO;
    manager.record_peer_performance(at(1), &id(2), &performance(0, 9, PeerOutcome::Verified { took }));
    assert_eq!(manager.rotate_sync_peers(at(1000)), [], "nobody has had the time to show what it can");
    manager.record_peer_performance(at(1001), &id(2), &performance(0, 9, PeerOutcome::Verified { took }));
    assert_eq!(manager.rotate_sync_peers(at(10_000)), [(id(1), id(3))]);
    manager.disconnected(at(10_001), id(3));
    assert_eq!(active(&manager), [id(1), id(2)], "a place is never free while somebody stands by");
    assert_eq!((manager.standing_by(), manager.len(), manager.is_empty()), (0, 3, false));
}

#[test]
fn memory_of_those_that_went_away_is_bounded() {
    let mut manager = manager(2, 1);
    for number in 0..10_000u64 {
        let mut name = [0; 32];
        name[..8].copy_from_slice(&number.to_be_bytes());
        manager.connected(at(number), PeerId::from_bytes(name), number);
        manager.disconnected(at(number), PeerId::from_bytes(name));
    }
    assert!(manager.len() < 5000, "{}", manager.len());
}
