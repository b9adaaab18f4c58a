//! Starting point of a client: the genesis file, a checkpoint, and settings, all of them as JavaScript has them.

use std::time::Duration;

use hotstuff2_sync::chain::native::{AnchorError, Genesis, GenesisDocument, PROFILE, TrustAnchor};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::light::{LightCheckpoint, LightConfig, LightStart, LightWay, NewLightError};
use hotstuff2_sync::time::UnixMillis;
use serde::Deserialize;

/// Longest genesis file that is read, in bytes: 4,096 validators take about 500 KiB.
const MAX_GENESIS_BYTES: usize = 4 << 20;

/// Settings of a client. Times are in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    /// Whether each epoch is proven by the one before, in the place of skipping.
    pub one_by_one: bool,
    /// Whether a start that is older than the chain's trusting period is taken all the same.
    pub accept_long_range: bool,
    /// See [`LightConfig::witnesses`].
    pub witnesses: Option<u16>,
    /// See [`LightConfig::max_peers`].
    pub max_peers: Option<u16>,
    /// See [`LightConfig::peer_timeout`].
    pub peer_timeout: Option<u32>,
    /// See [`LightConfig::query_timeout`].
    pub query_timeout: Option<u32>,
    /// See [`LightConfig::freshness`].
    pub freshness: Option<u64>,
    /// See [`LightConfig::status_interval`].
    pub status_interval: Option<u32>,
    /// See [`LightConfig::stall_after`].
    pub stall_after: Option<u32>,
    /// See [`LightConfig::ban_duration`].
    pub ban_duration: Option<u64>,
}

/// A client that can't be started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The text is no genesis file.
    Genesis(String),
    /// The genesis file names another chain than its document is of: it was changed.
    GenesisChanged,
    /// The bytes are no checkpoint.
    Checkpoint,
    /// The checkpoint is of another chain.
    OtherChain,
    /// The settings are none, or one is out of range.
    Settings(String),
    /// The trusted starting point is too old, or from the future.
    Anchor(AnchorError),
}

impl StartError {
    /// Its name, which never changes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Genesis(_) => "genesis",
            Self::GenesisChanged => "genesis_changed",
            Self::Checkpoint => "checkpoint",
            Self::OtherChain => "other_chain",
            Self::Settings(_) => "settings",
            Self::Anchor(_) => "anchor",
        }
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Genesis(why) => write!(f, "this is no genesis file: {why}; get it from where the chain publishes it"),
            Self::GenesisChanged => f.write_str(
                "the genesis file names another chain than its document is of: it was changed; get it again from where \
                 the chain publishes it",
            ),
            Self::Checkpoint => {
                f.write_str("these bytes are no checkpoint: leave it out to start from the genesis file")
            }
            Self::OtherChain => f.write_str("the checkpoint is of another chain than the genesis file"),
            Self::Settings(why) => write!(f, "the settings are not valid: {why}"),
            Self::Anchor(error) => error.fmt(f),
        }
    }
}

impl From<NewLightError> for StartError {
    fn from(error: NewLightError) -> Self {
        match error {
            NewLightError::Config(error) => Self::Settings(error.to_string()),
            NewLightError::Profile(error) => Self::Settings(error.to_string()),
            NewLightError::Anchor(error) => Self::Anchor(error),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenesisFile {
    chain_id: String,
    document: GenesisDocument,
}

/// Reads and checks the text of a genesis file.
pub(crate) fn genesis(text: &str) -> Result<Genesis, StartError> {
    if text.len() > MAX_GENESIS_BYTES {
        return Err(StartError::Genesis(format!("{} bytes are too many", text.len())));
    }
    let file: GenesisFile = serde_json::from_str(text).map_err(|error| StartError::Genesis(error.to_string()))?;
    let genesis = file.document.check().map_err(|error| StartError::Genesis(error.to_string()))?;
    let says: Option<Hash> = file.chain_id.parse().ok();
    if says == Some(genesis.chain_id()) { Ok(genesis) } else { Err(StartError::GenesisChanged) }
}

impl Settings {
    /// Reads settings in JSON.
    ///
    /// # Errors
    /// Where a name is unknown, or a value has another type.
    pub fn parse(json: &str) -> Result<Self, StartError> {
        serde_json::from_str(json).map_err(|error| StartError::Settings(error.to_string()))
    }

    pub(crate) fn config(&self) -> LightConfig {
        let default = LightConfig::default();
        let millis = |value: Option<u64>, default| value.map_or(default, Duration::from_millis);
        let witnesses = self.witnesses.map_or(default.witnesses, usize::from);
        LightConfig {
            way: if self.one_by_one { LightWay::OneByOne } else { LightWay::Skipping },
            witnesses,
            max_peers: self.max_peers.map_or(default.max_peers.max(witnesses + 1), usize::from),
            peer_timeout: millis(self.peer_timeout.map(u64::from), default.peer_timeout),
            query_timeout: millis(self.query_timeout.map(u64::from), default.query_timeout),
            freshness: millis(self.freshness, default.freshness),
            status_interval: millis(self.status_interval.map(u64::from), default.status_interval),
            stall_after: millis(self.stall_after.map(u64::from), default.stall_after),
            ban_duration: millis(self.ban_duration, default.ban_duration),
            ..default
        }
    }

    /// Starting point of a client of the chain of `genesis`, at the time of day `wall`.
    pub(crate) fn start(
        &self,
        genesis: &Genesis,
        checkpoint: Option<&[u8]>,
        wall: UnixMillis,
    ) -> Result<LightStart, StartError> {
        let period = genesis.document().trusting_period_ms.filter(|_| !self.accept_long_range);
        let trusting_period = period.map(Duration::from_millis);
        let Some(checkpoint) = checkpoint else {
            let anchor =
                TrustAnchor::Genesis.check(genesis, wall, self.accept_long_range).map_err(StartError::Anchor)?;
            return Ok(LightStart {
                chain_id: genesis.chain_id(),
                profile: PROFILE,
                anchor,
                trusting_period,
                tip: None,
            });
        };
        let checkpoint = LightCheckpoint::decode(checkpoint).map_err(|_| StartError::Checkpoint)?;
        if checkpoint.chain_id != genesis.chain_id() {
            return Err(StartError::OtherChain);
        }
        Ok(checkpoint.into_start(PROFILE, trusting_period))
    }
}
