//! Starting point of a client: the genesis file, a checkpoint, and settings, all of them as JavaScript has them.

use std::time::Duration;

use hotstuff2_sync::chain::native::{
    AnchorError, Genesis, GenesisDocument, PROFILE, TrustAnchor, Validator, ValidatorKey, Version,
};
use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::ids::Height;
use hotstuff2_sync::light::{LightCheckpoint, LightConfig, LightStart, LightWay, NewLightError};
use hotstuff2_sync::limits::MAX_VALIDATORS;
use hotstuff2_sync::time::UnixMillis;

use crate::json::{Json, Unexpected};

/// Longest genesis file that is read, in bytes: 4,096 validators take about 500 KiB.
const MAX_GENESIS_BYTES: usize = 4 << 20;

/// Settings of a client. Times are in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// The host's stored blocks or handovers don't fit the chain, or the settings don't fit them.
    Stored(String),
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
            Self::Stored(_) => "stored",
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
            Self::Stored(why) => f.write_str(why),
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

/// Reads and checks the text of a genesis file.
pub(crate) fn genesis(text: &str) -> Result<Genesis, StartError> {
    if text.len() > MAX_GENESIS_BYTES {
        return Err(StartError::Genesis(format!("{} bytes are too many", text.len())));
    }
    let (says, document) = read(text).map_err(StartError::Genesis)?;
    let genesis = document.check().map_err(|error| StartError::Genesis(error.to_string()))?;
    if says == Some(genesis.chain_id()) { Ok(genesis) } else { Err(StartError::GenesisChanged) }
}

/// The chain's id, as the file says it, and its document.
fn read(text: &str) -> Result<(Option<Hash>, GenesisDocument), Unexpected> {
    let (mut chain_id, mut document) = (None, None);
    Json::document(text, &mut |name, json| match name {
        "chain_id" => once(&mut chain_id, name, json.string()?),
        "document" => once(&mut document, name, read_document(json)?),
        _ => Err(unknown(name)),
    })?;
    let says = there(chain_id, "chain_id")?.parse().ok();
    Ok((says, there(document, "document")?))
}

/// A chain's constants. Names that a newer version may have are passed over: the chain's id says whether they count.
fn read_document(json: &mut Json<'_>) -> Result<GenesisDocument, Unexpected> {
    let (mut version, mut chain, mut timestamp, mut validators) = (None, None, None, None);
    let (mut last_height, mut state_root, mut period, mut interval) = (None, None, None, None);
    json.object(&mut |name, json| match name {
        "version" => once(&mut version, name, json.number()?),
        "name" => once(&mut chain, name, json.string()?.into_owned()),
        "timestamp" => once(&mut timestamp, name, json.number()?),
        "validators" => once(&mut validators, name, read_validators(json)?),
        "last_height" => once(&mut last_height, name, json.number()?),
        "state_root" => once(&mut state_root, name, hash(json)?),
        "trusting_period_ms" => once(&mut period, name, if json.null() { None } else { Some(json.number()?) }),
        "snapshot_interval" => once(&mut interval, name, json.number()?),
        _ => json.skip(),
    })?;
    if there(version, "version")? != u64::from(Version::NUMBER) {
        return Err("this version of the format is not known here".to_owned());
    }
    Ok(GenesisDocument {
        version: Version,
        name: there(chain, "name")?,
        timestamp: UnixMillis::new(there(timestamp, "timestamp")?),
        validators: there(validators, "validators")?,
        last_height: Height::new(there(last_height, "last_height")?),
        state_root: there(state_root, "state_root")?,
        trusting_period_ms: period.flatten(),
        snapshot_interval: there(interval, "snapshot_interval")?,
    })
}

fn read_validators(json: &mut Json<'_>) -> Result<Vec<Validator>, Unexpected> {
    let mut validators = Vec::new();
    json.array(&mut |json| {
        if validators.len() >= MAX_VALIDATORS {
            return Err(json.unexpected("the end of the validators"));
        }
        let (mut key, mut power) = (None, None);
        json.object(&mut |name, json| match name {
            "key" => once(&mut key, name, ValidatorKey::from_bytes(*hash(json)?.as_bytes())),
            "power" => once(&mut power, name, json.number()?),
            _ => json.skip(),
        })?;
        validators.push(Validator { key: there(key, "key")?, power: there(power, "power")? });
        Ok(())
    })?;
    Ok(validators)
}

fn hash(json: &mut Json<'_>) -> Result<Hash, Unexpected> {
    json.string()?.parse().map_err(|_| json.unexpected("64 hexadecimal digits"))
}

/// Takes the value of a name, which may stand once.
fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Unexpected> {
    if place.replace(value).is_some() { Err(format!("`{name}` stands twice")) } else { Ok(()) }
}

/// The value of a name that must stand there.
fn there<T>(value: Option<T>, name: &str) -> Result<T, Unexpected> {
    value.ok_or_else(|| format!("`{name}` is missing"))
}

fn unknown(name: &str) -> Unexpected {
    format!("`{name}` is not known")
}

impl Settings {
    /// Reads settings in JSON.
    ///
    /// # Errors
    /// Where a name is unknown or stands twice, or a value has another type.
    pub fn parse(json: &str) -> Result<Self, StartError> {
        let mut read = Self::default();
        let mut known = Vec::new();
        let parsed = Json::document(json, &mut |name, json| {
            if known.iter().any(|known| known == name) {
                return Err(format!("`{name}` stands twice"));
            }
            known.push(name.to_owned());
            read.set(name, json)
        });
        parsed.map(|()| read).map_err(StartError::Settings)
    }

    fn set(&mut self, name: &str, json: &mut Json<'_>) -> Result<(), Unexpected> {
        match name {
            "oneByOne" => self.one_by_one = json.boolean()?,
            "acceptLongRange" => self.accept_long_range = json.boolean()?,
            "witnesses" => self.witnesses = optional(json)?,
            "maxPeers" => self.max_peers = optional(json)?,
            "peerTimeout" => self.peer_timeout = optional(json)?,
            "queryTimeout" => self.query_timeout = optional(json)?,
            "freshness" => self.freshness = optional(json)?,
            "statusInterval" => self.status_interval = optional(json)?,
            "stallAfter" => self.stall_after = optional(json)?,
            "banDuration" => self.ban_duration = optional(json)?,
            _ => return Err(unknown(name)),
        }
        Ok(())
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

/// A whole number, or `null`.
fn optional<T: TryFrom<u64>>(json: &mut Json<'_>) -> Result<Option<T>, Unexpected> {
    if json.null() { Ok(None) } else { json.small().map(Some) }
}
