//! The table by itself.

use super::*;
use crate::ids::{Height, PeerId};
use crate::peers::{PeerOutcome, PeerPerformance, PeerSettings, SyncPeerManager};
use crate::requests::{InFlight, Purpose, RequestKind};
use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn id(name: u8) -> PeerId {
    PeerId::from_bytes([name; 32])
}

fn bodies(height: u64) -> Purpose {
    Purpose::Bodies(BlockRange::single(Height::new(height)))
}

fn request(name: u8, purpose: Purpose, sent: u64, due: u64) -> InFlight {
    InFlight { peer: id(name), purpose, sent: at(sent), due: at(due), size: 1000, reserved: 0 }
}

/// Two peers, of which the second answered something large on time at `now`.
fn peers(now: u64) -> SyncPeerManager {
    let settings =
        PeerSettings { max_active: 8, rotation_interval: SECOND, ban_duration: SECOND, suspect_self_groups: 3 };
    let mut peers = SyncPeerManager::new(settings);
    for name in 1..=2 {
        peers.connected(at(0), id(name), name.into());
    }
    let (kind, sent, due) = (RequestKind::Bodies, at(now), at(now));
    let delivered = PeerPerformance { kind, sent, due, bytes: 1, outcome: PeerOutcome::Delivered };
    peers.record_peer_performance(at(now), &id(2), &delivered);
    peers
}

#[test]
fn a_download_is_stalled_four_times_as_late_as_expected() {
    // When it was expected after so long, and when it is taken away then.
    for (due, taken) in [(500, 2000), (100, 1000), (2000, 8000)] {
        let mut table = DownloadCoordinator::default();
        let task = table.insert(request(1, bodies(1), 0, due));
        // A handover is no download.
        table.insert(request(1, Purpose::Handovers(crate::ids::Epoch::ZERO), 0, due));
        assert_eq!(table.balance_download_load(at(taken - 1), &peers(10)), []);
        assert_eq!(table.balance_download_load(at(taken), &peers(10)), [task]);
        // Nobody was on time since it was asked for: then it is no fault of its peer.
        assert_eq!(table.balance_download_load(at(taken), &peers(0)), []);
    }
}

#[test]
fn what_became_of_downloads_is_counted_and_small_questions_are_not() {
    let mut table = DownloadCoordinator::default();
    let ids: Vec<_> = (1..=4).map(|height| table.insert(request(1, bodies(height), 0, 100))).collect();
    let tip = table.insert(request(1, Purpose::Tip(crate::ids::Epoch::ZERO), 0, 100));
    let status = table.insert(request(1, Purpose::Status, 0, 100));
    assert_eq!((table.get_download_statistics().assigned, table.len(), table.tasks().count()), (4, 5, 4));
    assert!(table.is_probed(id(1)) && !table.is_probed(id(2)));
    let progress = table.get_download_progress();
    assert_eq!((progress.active, progress.peers, progress.bytes_in_flight), (4, 1, 4000));
    let done = table.remove(ids[0]).unwrap();
    table.completed(at(80), &done, 900);
    let done = table.remove(ids[1]).unwrap();
    table.completed(at(160), &done, 900);
    for small in [tip, status] {
        let done = table.take_failed(small).unwrap();
        table.completed(at(9000), &done, 64);
    }
    assert_eq!(table.reassign_failed_download(ids[2]).map(|task| (task.id, task.peer)), Some((ids[2], id(1))));
    assert_eq!(table.reassign_failed_download(ids[2]), None);
    table.hedged();
    table.cancelled();
    // The first of 80 ms, then an eighth of one of 160.
    let latency = Duration::from_millis(90);
    let expected =
        DownloadStatistics { assigned: 4, completed: 2, reassigned: 1, hedged: 1, cancelled: 1, bytes: 1800, latency };
    assert_eq!(table.get_download_statistics(), expected);
    assert!(!table.is_probed(id(1)));
    assert_eq!(table.of_peer(id(1)), [ids[3]], "nothing is left behind of the others");
}

#[test]
fn the_rate_is_of_the_last_seconds_and_tells_when_all_is_here() {
    let mut table = DownloadCoordinator::default();
    let done = request(1, bodies(1), 0, 100);
    let rate = |table: &DownloadCoordinator| table.get_download_progress().bytes_per_second;
    table.completed(at(500), &done, 500);
    assert_eq!((rate(&table), table.estimate_completion_time()), (0, None), "half a second says nothing");
    table.completed(at(1000), &done, 500);
    assert_eq!(rate(&table), 1000);
    table.completed(at(2000), &done, 3000);
    assert_eq!(rate(&table), 2000);
    // After a pause, what was before says nothing.
    table.completed(at(7000), &done, 2500);
    assert_eq!(rate(&table), 500);
    table.insert(done);
    table.set_missing(1500);
    assert_eq!(table.estimate_completion_time(), Some(Duration::from_secs(5)));
}
