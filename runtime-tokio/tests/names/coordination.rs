//! Peers and downloads.

use std::time::Duration;

use hotstuff2_sync::bandwidth::BandwidthAllocator;
use hotstuff2_sync::downloads::{
    BlockRange, DownloadCoordinator, DownloadProgress, DownloadStatistics, DownloadTask, TaskId,
};
use hotstuff2_sync::ids::{Height, PeerId};
use hotstuff2_sync::machine::RequestKind;
use hotstuff2_sync::peers::{
    BlacklistReason, PeerHealth, PeerInfo, PeerOutcome, PeerPerformance, PeerQuality, PeerSettings, SyncPeerManager,
};
use hotstuff2_sync::ranges::HeightRange;
use hotstuff2_sync::time::Instant;

/// One peer that has answered once, of two.
fn peers(now: Instant) -> (SyncPeerManager, PeerId, PeerId) {
    let settings = PeerSettings {
        max_active: 1,
        rotation_interval: Duration::from_secs(60),
        ban_duration: Duration::from_secs(3600),
        suspect_self_groups: 3,
    };
    let (one, other) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));
    let mut peers = SyncPeerManager::new(settings);
    peers.connected(now, one, 1);
    peers.connected(now, other, 2);
    (peers, one, other)
}

#[test]
fn coordination_of_peers() {
    name!("SyncPeerManager", "SyncPeerManager::discover_sync_peers", "SyncPeerManager::select_optimal_peers");
    let now = Instant::from_micros(1_000_000);
    let (mut peers, one, other) = peers(now);
    peers.discover_sync_peers(now);
    assert_eq!(peers.active_ids().count(), 1, "one is asked, the other stands by");
    let asked = peers.active_ids().next().unwrap();
    assert_eq!(peers.select_optimal_peers(5), [asked]);
    name!("SyncPeerManager::record_peer_performance", "PeerPerformance", "SyncPeerManager::get_peer_bandwidth");
    name!("SyncPeerManager::get_peer_reliability", "SyncPeerManager::evaluate_peer_quality", "PeerQuality");
    assert_eq!((peers.get_peer_bandwidth(&asked), peers.get_peer_reliability(&asked)), (None, None));
    let later = now.after(Duration::from_millis(100));
    let delivered = PeerPerformance {
        kind: RequestKind::Bodies,
        sent: now,
        due: later,
        bytes: 1 << 20,
        outcome: PeerOutcome::Delivered,
    };
    peers.record_peer_performance(later, &asked, &delivered);
    let verified = PeerOutcome::Verified { took: Duration::from_millis(1) };
    peers.record_peer_performance(later, &asked, &PeerPerformance { outcome: verified, ..delivered });
    assert_eq!(peers.get_peer_reliability(&asked), Some(1_000_000));
    let quality: PeerQuality = peers.evaluate_peer_quality(&asked);
    assert!(quality.measured && Some(quality.bytes_per_second) == peers.get_peer_bandwidth(&asked), "{quality:?}");
    name!("SyncPeerManager::check_peer_health", "PeerHealth", "PeerInfo", "SyncPeerManager::rotate_sync_peers");
    assert_eq!(peers.check_peer_health(later, &asked), PeerHealth::Healthy);
    let info: PeerInfo = peers.info(later, &asked).unwrap();
    assert!(info.active && info.quality == quality);
    let standing_by = if asked == one { other } else { one };
    assert_eq!(peers.check_peer_health(later, &standing_by), PeerHealth::StandingBy);
    let changed = peers.rotate_sync_peers(later.after(Duration::from_secs(120)));
    assert_eq!(changed, [(asked, standing_by)], "the other has its turn");
    name!("SyncPeerManager::blacklist_unreliable_peer", "BlacklistReason");
    let until = peers.blacklist_unreliable_peer(later, &asked, BlacklistReason::ByHand);
    assert_eq!(peers.check_peer_health(later, &asked), PeerHealth::Banned { until });
}

#[test]
fn coordination_of_downloads() {
    name!("DownloadCoordinator", "DownloadCoordinator::assign_block_range", "BlockRange", "TaskId", "DownloadTask");
    let now = Instant::from_micros(1_000_000);
    let (mut peers, one, _) = peers(now);
    peers.discover_sync_peers(now);
    let mut downloads = DownloadCoordinator::default();
    let range: BlockRange = HeightRange::new(Height::new(1), Height::new(64)).unwrap();
    let task: TaskId = downloads.assign_block_range(now, one, range, 65_536, now.after(Duration::from_millis(50)), 0);
    let tasks: Vec<DownloadTask> = downloads.tasks().collect();
    assert_eq!(
        tasks.iter().map(|task| (task.id, task.peer, task.range)).collect::<Vec<_>>(),
        [(task, one, Some(range))]
    );
    name!("DownloadCoordinator::get_download_progress", "DownloadProgress");
    let progress: DownloadProgress = downloads.get_download_progress();
    assert_eq!((progress.active, progress.bytes_in_flight), (1, 65_536));
    name!("DownloadCoordinator::estimate_completion_time", "DownloadCoordinator::balance_download_load");
    assert_eq!(downloads.estimate_completion_time(), None, "nothing has come yet");
    assert_eq!(downloads.balance_download_load(now, &peers), [], "nothing is late yet");
    name!("DownloadCoordinator::reassign_failed_download", "DownloadCoordinator::get_download_statistics");
    name!("DownloadStatistics");
    assert_eq!(downloads.reassign_failed_download(task).map(|task| task.range), Some(Some(range)));
    assert_eq!(downloads.reassign_failed_download(task), None);
    let statistics: DownloadStatistics = downloads.get_download_statistics();
    assert_eq!((statistics.assigned, statistics.reassigned), (1, 1));
    name!("BandwidthAllocator");
    let mut bandwidth = BandwidthAllocator::new(1 << 20, now);
    assert_eq!((bandwidth.limit(), bandwidth.ready_at(now)), (Some(1 << 20), None));
    bandwidth.charge(now, 4 << 20);
    assert!(bandwidth.ready_at(now).is_some_and(|at| at > now), "what was asked for must be paid off first");
}
