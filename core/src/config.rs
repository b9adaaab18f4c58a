//! Settings of a synchronization, each with its default's reason.

mod text;

use alloc::string::String;
use core::time::Duration;

use serde::{Deserialize, Serialize};

pub use text::SetConfigError;
use text::Setting;

/// The default of [`SyncConfig::stall_after`].
pub(crate) const STALL_AFTER: Duration = Duration::from_secs(5);

/// How to catch up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SyncStrategyType {
    /// [`Parallel`](Self::Parallel) for larger gaps, [`Incremental`](Self::Incremental) near the tip.
    #[default]
    Auto,
    /// Header segments and bodies from many peers at once, applied in order as they arrive.
    Parallel,
    /// One answer after the other from the tip on: lowest latency, least memory.
    Incremental,
    /// The state at the newest height that peers serve, then blocks from there on.
    Fast,
}

impl core::fmt::Display for SyncStrategyType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// Blocks below a fetched state that are fetched too, once the tip is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncHistory {
    /// Nothing: most nodes never read them.
    #[default]
    None,
    /// Headers, which is what proofs about old blocks need.
    Headers,
    /// Headers and payloads, to serve them.
    Blocks,
}

/// A field of [`SyncConfig`], for programs that show settings to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigField {
    /// The field's name.
    pub name: &'static str,
    /// Its documentation, line by line.
    pub doc: &'static [&'static str],
}

/// Declares a struct and keeps what is said of its fields.
macro_rules! documented {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[doc = $doc:literal])+ pub $field:ident: $type:ty,)+ }) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl $name {
            /// All fields, in order.
            pub const FIELDS: &'static [ConfigField] =
                &[$(ConfigField { name: stringify!($field), doc: &[$($doc),+] }),+];

            /// Sets a field to what a text says, in range or not.
            fn assign(&mut self, name: &str, text: &str) -> Result<(), SetConfigError> {
                match name {
                    $(stringify!($field) => {
                        let unreadable =
                            SetConfigError::Unreadable { field: stringify!($field), kind: <$type as Setting>::KIND };
                        self.$field = Setting::read(text).ok_or(unreadable)?;
                        Ok(())
                    })+
                    _ => Err(SetConfigError::UnknownName),
                }
            }

            /// The text of a field's value.
            fn written(&self, name: &str) -> Option<String> {
                match name {
                    $(stringify!($field) => Some(self.$field.write()),)+
                    _ => None,
                }
            }
        }
    };
}

documented! {
/// Settings of the machine. Start from [`SyncConfig::default`] and change what you need; [`SyncConfig::validate`] names
/// a field that is out of range.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncConfig {
    /// How to catch up.
    pub default_strategy: SyncStrategyType,
    /// Blocks below a fetched state that are fetched too, once the tip is reached. They need a memory budget of at
    /// least 16 MiB.
    pub history: SyncHistory,
    /// Time to the tip with blocks alone from which on `Auto` looks for a shorter way by state. At most 24 h. Half a minute:
    /// a node that fetches a state has no older blocks to serve, and that is not worth a few seconds.
    pub state_after: Duration,
    /// Gap in blocks up to which `Auto` follows the tip instead of downloading in parallel. 64 blocks of ordinary size
    /// fit in one answer.
    pub strategy_switch_threshold: u64,
    /// Blocks behind the proven tip from which on a validator leaves consensus to synchronize. Range 1..=1,000,000. 64, the
    /// gap that one answer closes: below it consensus itself brings a node along faster than a change of modes.
    pub max_behind_blocks: u64,
    /// Most peers that are asked at a time; further ones stand by. Range 1..=10,000. 64: more connections than that add no
    /// bandwidth to any link that one process can fill.
    pub max_sync_peers: usize,
    /// How often the peers that deliver least change places with those that stand by. Range 1 s..=24 h. A minute: long
    /// against what it takes to know a peer's pace, short against a sync.
    pub peer_rotation_interval: Duration,
    /// Most requests in flight over all peers. Range 1..=4096. 64 keep a 1 Gbit/s, 100 ms path busy at 256 KiB each.
    pub parallel_download_limit: usize,
    /// Most blocks that one request asks for. Range 1..=1024, the heights of one cell of the grid, which is also the
    /// default: one certificate is checked for each cell, whatever part of it is asked for.
    pub block_batch_size: usize,
    /// Most verification jobs that are given out at a time. Range 1..=4096. 256 are more than any number of cores needs,
    /// and few enough that a thread pool's queue stays short.
    pub validation_pipeline_size: usize,
    /// Most bytes a second that are asked for, over all peers; 0 for no limit. Else at least 16 KiB a second, below which
    /// a single header segment would take longer than its time-out.
    pub max_download_bandwidth: u64,
    /// Longest time that a dial and its handshake may take. Range 100 ms..=1 h. Ten seconds outlast three lost packets.
    pub connection_timeout: Duration,
    /// Dials in a row that may fail before an address rests for long and others are tried first. Range 1..=1000.
    pub retry_attempts: u32,
    /// How often progress is reported. Range 10 ms..=1 h. A fifth of a second looks smooth to people.
    pub progress_report_interval: Duration,
    /// Whether durations, bytes and errors are recorded for a metrics collector.
    pub performance_monitoring: bool,
    /// Longest time that a request may take. Range 100 ms..=1 h. Slower peers get smaller requests, so ten seconds is
    /// ample.
    pub peer_timeout: Duration,
    /// How long a follow request may wait at the peer. Range 1 s..=1 h.
    pub follow_timeout: Duration,
    /// How often each peer is asked for its status. Range 100 ms..=1 h.
    pub status_interval: Duration,
    /// How long a peer that gave a provably false answer is left out. At least 1 s. A day: false answers are not
    /// accidents, but keys change hands.
    pub ban_duration: Duration,
    /// Independent peer groups that must give the same provably false kind of answer, with no true one between, before
    /// this node suspects itself and stops banning. Range 2..=1000.
    pub suspect_self_groups: usize,
    /// Memory budget in bytes over everything in flight, waiting, being verified and being applied. At least 8 MiB.
    pub memory_budget: u64,
    /// Whether every block must come with a certificate of its own (slow: one quorum check a block). Below a state that was
    /// fetched, only where the certificates of a cell fit into one answer: there blocks are proven by hashes.
    pub full_audit: bool,
    /// Longest time that a verification job may take before it is given out again. Range 100 ms..=1 h.
    pub job_timeout: Duration,
    /// Longest time that an apply or store call may take before it is reported and given out again. Range 1 s..=24 h.
    pub call_timeout: Duration,
    /// Time without progress after which [`Stalled`](crate::machine::Event::Stalled) says why. Range 100 ms..=1 h.
    pub stall_after: Duration,
    /// Age from which on programs call the tip old; 0 s for never, as for a chain that was halted. At most 10 years. Ten
    /// minutes: no clock is that wrong and no run of failed views that long, and an operator wants to hear of it.
    pub max_tip_age: Duration,
}
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            default_strategy: SyncStrategyType::Auto,
            history: SyncHistory::None,
            state_after: Duration::from_secs(30),
            strategy_switch_threshold: 64,
            max_behind_blocks: 64,
            max_sync_peers: 64,
            peer_rotation_interval: Duration::from_secs(60),
            parallel_download_limit: 64,
            block_batch_size: 1024,
            validation_pipeline_size: 256,
            max_download_bandwidth: 0,
            connection_timeout: Duration::from_secs(10),
            retry_attempts: 3,
            progress_report_interval: Duration::from_millis(200),
            performance_monitoring: true,
            peer_timeout: Duration::from_secs(10),
            follow_timeout: Duration::from_secs(30),
            status_interval: Duration::from_secs(3),
            ban_duration: Duration::from_secs(24 * 3600),
            suspect_self_groups: 3,
            memory_budget: 32 << 20,
            full_audit: false,
            job_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            stall_after: STALL_AFTER,
            max_tip_age: Duration::from_secs(600),
        }
    }
}

/// A setting that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{field} is out of range: {range}")]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// Range of its values.
    pub range: &'static str,
}

impl SyncConfig {
    /// Checks every field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self.checks().iter().find(|(_, _, holds)| !holds) {
            Some(&(field, range, _)) => Err(ConfigError { field, range }),
            None => Ok(()),
        }
    }

    /// Range of a field's values; `None` where there is no field of this name.
    pub fn range_of(field: &str) -> Option<&'static str> {
        Self::default().checks().iter().find(|(name, _, _)| *name == field).map(|&(_, range, _)| range)
    }

    /// Every field with its range, and whether it is within.
    fn checks(&self) -> [(&'static str, &'static str, bool); Self::FIELDS.len()] {
        const MS_10: Duration = Duration::from_millis(10);
        const MS_100: Duration = Duration::from_millis(100);
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let within = |value: Duration, low: Duration, high: Duration| low <= value && value <= high;
        const BOOL: &str = "true or false";
        const ANY: &str = "any number from 0 on";
        [
            ("default_strategy", "auto, parallel, incremental or fast", true),
            (
                "history",
                "none, headers, or blocks with a memory_budget of at least 16 MiB",
                // Beside two long polls at the tip a block of any size needs room, with the headers of its cell.
                self.history != SyncHistory::Blocks || self.memory_budget >= 16 << 20,
            ),
            ("strategy_switch_threshold", ANY, true),
            ("performance_monitoring", BOOL, true),
            ("full_audit", BOOL, true),
            ("max_behind_blocks", "1..=1000000", (1..=1_000_000).contains(&self.max_behind_blocks)),
            ("max_sync_peers", "1..=10000", (1..=10_000).contains(&self.max_sync_peers)),
            ("peer_rotation_interval", "1 s..=24 h", within(self.peer_rotation_interval, SECOND, DAY)),
            ("parallel_download_limit", "1..=4096", (1..=4096).contains(&self.parallel_download_limit)),
            ("block_batch_size", "1..=1024", (1..=1024).contains(&self.block_batch_size)),
            ("validation_pipeline_size", "1..=4096", (1..=4096).contains(&self.validation_pipeline_size)),
            (
                "max_download_bandwidth",
                "0, or at least 16 KiB a second",
                self.max_download_bandwidth == 0 || self.max_download_bandwidth >= 16 << 10,
            ),
            ("connection_timeout", "100 ms..=1 h", within(self.connection_timeout, MS_100, HOUR)),
            ("retry_attempts", "1..=1000", (1..=1000).contains(&self.retry_attempts)),
            ("progress_report_interval", "10 ms..=1 h", within(self.progress_report_interval, MS_10, HOUR)),
            ("peer_timeout", "100 ms..=1 h", within(self.peer_timeout, MS_100, HOUR)),
            ("follow_timeout", "1 s..=1 h", within(self.follow_timeout, SECOND, HOUR)),
            ("status_interval", "100 ms..=1 h", within(self.status_interval, MS_100, HOUR)),
            ("ban_duration", "at least 1 s", self.ban_duration >= SECOND),
            ("suspect_self_groups", "2..=1000", (2..=1000).contains(&self.suspect_self_groups)),
            ("memory_budget", "at least 8 MiB", self.memory_budget >= 8 << 20),
            ("job_timeout", "100 ms..=1 h", within(self.job_timeout, MS_100, HOUR)),
            ("state_after", "at most 24 h", self.state_after <= DAY),
            ("call_timeout", "1 s..=24 h", within(self.call_timeout, SECOND, DAY)),
            ("max_tip_age", "0 s, or at most 10 years", self.max_tip_age <= DAY.saturating_mul(3653)),
            ("stall_after", "100 ms..=1 h", within(self.stall_after, MS_100, HOUR)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_range_and_a_default_within() {
        let config = SyncConfig::default();
        assert_eq!(config.validate(), Ok(()));
        for field in SyncConfig::FIELDS {
            assert!(SyncConfig::range_of(field.name).is_some(), "{}", field.name);
        }
        assert_eq!(SyncConfig::range_of("no field"), None);
        let none = SyncConfig { max_sync_peers: 0, ..config };
        let range = "1..=10000";
        assert_eq!(none.validate(), Err(ConfigError { field: "max_sync_peers", range }));
    }
}
