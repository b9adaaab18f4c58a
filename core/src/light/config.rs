//! [`LightConfig`]: a light client's settings.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// How epochs are proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LightWay {
    /// Each by the handover of the one before. Trusts no more than a node does, and costs a certificate an epoch.
    OneByOne,
    /// As far ahead as validators with more than a third of the trusted power still sign, halving the distance where they
    /// don't. It assumes that less than a third of a set turns false within the trusting period.
    #[default]
    Skipping,
}

/// A light client's settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LightConfig {
    /// How epochs are proven.
    pub way: LightWay,
    /// Peers, each of a group of its own and of another one than who showed a block, that must prove the same block
    /// before it is told. Range 0..=16. With 0 a single peer is enough, which a page with one server needs.
    pub witnesses: usize,
    /// Most peers that are asked at a time. Range 1..=1000, and more than `witnesses`.
    pub max_peers: usize,
    /// Longest time that a request may take. Range 100 ms..=1 h.
    pub peer_timeout: Duration,
    /// Longest time that a question of the user stays open. Range 1 s..=1 h.
    pub query_timeout: Duration,
    /// Longest time that a verification job may take before it is given out again. Range 100 ms..=1 h.
    pub job_timeout: Duration,
    /// Age from which on a tip is old. Range 1 s..=10 years.
    pub freshness: Duration,
    /// How often each peer is asked for its status, and so how often the tip moves. Range 100 ms..=1 h.
    pub status_interval: Duration,
    /// Time without progress after which [`Stalled`](super::LightEvent::Stalled) says why. Range 100 ms..=1 h.
    pub stall_after: Duration,
    /// How long a peer that gave a provably false answer is left out. At least 1 s.
    pub ban_duration: Duration,
    /// Independent groups that must give the same provably false kind of answer before the client suspects itself and
    /// stops banning. Range 2..=1000.
    pub suspect_self_groups: usize,
}

impl Default for LightConfig {
    fn default() -> Self {
        Self {
            way: LightWay::default(),
            witnesses: 2,
            max_peers: 8,
            peer_timeout: Duration::from_secs(10),
            query_timeout: Duration::from_secs(30),
            job_timeout: Duration::from_secs(30),
            freshness: Duration::from_secs(600),
            status_interval: Duration::from_secs(3),
            stall_after: Duration::from_secs(5),
            ban_duration: Duration::from_secs(24 * 3600),
            suspect_self_groups: 3,
        }
    }
}

impl LightConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// With the first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const MS_100: Duration = Duration::from_millis(100);
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(3600);
        const YEARS_10: Duration = Duration::from_secs(3653 * 24 * 3600);
        let within = |value: Duration, low: Duration, high: Duration| low <= value && value <= high;
        let checks = [
            ("witnesses", "0..=16", self.witnesses <= 16),
            (
                "max_peers",
                "1..=1000, and more than witnesses",
                (1..=1000).contains(&self.max_peers) && self.max_peers > self.witnesses,
            ),
            ("peer_timeout", "100 ms..=1 h", within(self.peer_timeout, MS_100, HOUR)),
            ("query_timeout", "1 s..=1 h", within(self.query_timeout, SECOND, HOUR)),
            ("job_timeout", "100 ms..=1 h", within(self.job_timeout, MS_100, HOUR)),
            ("freshness", "1 s..=10 years", within(self.freshness, SECOND, YEARS_10)),
            ("status_interval", "100 ms..=1 h", within(self.status_interval, MS_100, HOUR)),
            ("stall_after", "100 ms..=1 h", within(self.stall_after, MS_100, HOUR)),
            ("ban_duration", "at least 1 s", self.ban_duration >= SECOND),
            ("suspect_self_groups", "2..=1000", (2..=1000).contains(&self.suspect_self_groups)),
        ];
        match checks.iter().find(|(_, _, holds)| !holds) {
            Some(&(field, range, _)) => Err(ConfigError { field, range }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        assert_eq!(LightConfig::default().validate(), Ok(()));
        let crowd = LightConfig { witnesses: 8, ..LightConfig::default() };
        assert_eq!(crowd.validate().unwrap_err().field, "max_peers");
        let hasty = LightConfig { query_timeout: Duration::ZERO, ..LightConfig::default() };
        assert_eq!(hasty.validate().unwrap_err().field, "query_timeout");
    }
}
