//! Settings.

use std::time::Duration;

use hotstuff2_sync::config::{SyncConfig, SyncStrategyType};

#[test]
fn settings() {
    name!("SyncConfig", "SyncStrategyType");
    let second = Duration::from_secs(1);
    let bend = |change: fn(&mut SyncConfig), field: &str| {
        let mut config = SyncConfig::default();
        change(&mut config);
        assert_eq!(config.validate().unwrap_err().field, field);
    };
    name!("SyncConfig::max_behind_blocks", "SyncConfig::max_sync_peers", "SyncConfig::parallel_download_limit");
    bend(|config| config.max_behind_blocks = 0, "max_behind_blocks");
    bend(|config| config.max_sync_peers = 0, "max_sync_peers");
    bend(|config| config.parallel_download_limit = 0, "parallel_download_limit");
    name!("SyncConfig::block_batch_size", "SyncConfig::validation_pipeline_size", "SyncConfig::retry_attempts");
    bend(|config| config.block_batch_size = 0, "block_batch_size");
    bend(|config| config.validation_pipeline_size = 0, "validation_pipeline_size");
    bend(|config| config.retry_attempts = 0, "retry_attempts");
    name!("SyncConfig::max_download_bandwidth", "SyncConfig::peer_rotation_interval", "SyncConfig::peer_timeout");
    bend(|config| config.max_download_bandwidth = 1, "max_download_bandwidth");
    bend(|config| config.peer_rotation_interval = Duration::ZERO, "peer_rotation_interval");
    bend(|config| config.peer_timeout = Duration::ZERO, "peer_timeout");
    name!("SyncConfig::connection_timeout", "SyncConfig::progress_report_interval");
    bend(|config| config.connection_timeout = Duration::ZERO, "connection_timeout");
    bend(|config| config.progress_report_interval = Duration::ZERO, "progress_report_interval");
    name!("SyncConfig::default_strategy", "SyncConfig::strategy_switch_threshold");
    name!("SyncConfig::performance_monitoring");
    let config = SyncConfig {
        default_strategy: SyncStrategyType::Parallel,
        strategy_switch_threshold: 7,
        performance_monitoring: false,
        peer_timeout: second,
        ..SyncConfig::default()
    };
    config.validate().unwrap();
    assert_ne!(config, SyncConfig::default());
}
