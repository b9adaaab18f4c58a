//! The settings of `sync`: defaults, then the configuration file, then the environment, then the command
//! line. Each layer sets fields of [`SyncConfig`] and [`StoreConfig`] by name; what it may not set is refused where it stands, with the field,
//! the value, the range, and where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hotstuff2_sync::config::{ConfigError, ConfigField, SyncConfig};
use hotstuff2_sync_tokio::store::StoreConfig;
use toml::{Table, Value};

use crate::args::{SettingsArgs, name_of};

/// What names of variables in the environment begin with; the field's name in capitals follows.
const PREFIX: &str = "HS2_SYNC_";

/// Largest configuration file that is read, in bytes: every field with its documentation takes 8 KiB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File(PathBuf),
    Environment(String),
    CommandLine(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "the environment's {name}"),
            Self::CommandLine(option) => write!(f, "{option}"),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file can't be read.
    #[error("configuration file {path} can't be read: {source}; name another, or leave `--config` out", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The file is no TOML.
    #[error("configuration file {path} is no TOML: {reason}; `hs2-sync config` prints one to begin with", path = path.display())]
    Syntax { path: PathBuf, reason: String },
    /// There is no such field.
    #[error("{field} ({origin}) is no setting; `hs2-sync config` prints all of them")]
    Unknown { field: String, origin: Origin },
    /// The value is of another kind.
    #[error("{field} = {value} ({origin}) is not what it must be: {expected}")]
    Kind { field: &'static str, value: String, expected: String, origin: Origin },
    /// The value is out of range.
    #[error("{field} = {value} ({origin}) is out of range: {range}")]
    Range { field: &'static str, value: String, range: &'static str, origin: Origin },
}

/// The settings, and where those come from that are not the defaults.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: SyncConfig,
    pub(crate) store: StoreConfig,
    table: Table,
    origins: BTreeMap<&'static str, Origin>,
}

impl Settings {
    /// The settings that these options ask for, in this environment.
    pub(crate) fn load(
        args: &SettingsArgs,
        environment: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Self, SettingsError> {
        let mut settings = Self::defaults();
        if let Some(path) = &args.config {
            for (field, value) in read(path)? {
                settings.set(&field, value, Origin::File(path.clone()))?;
            }
        }
        for (name, value) in environment {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            if let Some(field) = name.strip_prefix(PREFIX) {
                let field = field.to_ascii_lowercase();
                let value = settings.parse(&field, &value);
                settings.set(&field, value, Origin::Environment(name.to_string()))?;
            }
        }
        for (field, value, option) in command_line(args) {
            settings.set(field, value, Origin::CommandLine(option))?;
        }
        Ok(settings)
    }

    fn defaults() -> Self {
        let (config, store) = (SyncConfig::default(), StoreConfig::default());
        Self { table: table_of(&config, &store), config, store, origins: BTreeMap::new() }
    }

    /// A text as the kind of value that the field has; a text where it is none, and said so later.
    fn parse(&self, field: &str, text: &str) -> Value {
        let as_text = || Value::String(text.to_owned());
        match self.table.get(field) {
            Some(Value::Integer(_)) => text.parse().map_or_else(|_| as_text(), Value::Integer),
            Some(Value::Boolean(_)) => text.parse().map_or_else(|_| as_text(), Value::Boolean),
            _ => as_text(),
        }
    }

    /// Sets one field.
    fn set(&mut self, field: &str, value: Value, origin: Origin) -> Result<(), SettingsError> {
        let Some(known) = fields().find(|known| known.name == field) else {
            return Err(SettingsError::Unknown { field: field.to_owned(), origin });
        };
        let field = known.name;
        let shown = value.to_string();
        let mut table = self.table.clone();
        table.insert(field.to_owned(), value);
        let (config, store) = match config_of(&table) {
            Ok(configs) => configs,
            Err(problem) => {
                let range = range_of(field);
                let expected = match (self.table.get(field), problem) {
                    (_, Some(problem)) => format!("{problem}, {range}"),
                    (Some(Value::Integer(_)), None) => format!("a whole number, {range}"),
                    (_, None) => range.to_owned(),
                };
                return Err(SettingsError::Kind { field, value: shown, expected, origin });
            }
        };
        if let Err(ConfigError { field, range, .. }) = config.validate() {
            return Err(SettingsError::Range { field, value: shown, range, origin });
        }
        // As it is printed, whatever way it was written.
        self.table = table_of(&config, &store);
        (self.config, self.store) = (config, store);
        self.origins.insert(field, origin);
        Ok(())
    }

    /// All settings as a configuration file with their documentation.
    pub(crate) fn describe(&self) -> String {
        let defaults = table_of(&SyncConfig::default(), &StoreConfig::default());
        let mut text = String::from(
            "# Settings of `hs2-sync sync`. What is left out has its default; the environment (HS2_SYNC_ and the name in\n\
             # capitals) comes before this file, and the command line before both.\n",
        );
        for field in fields() {
            text.push('\n');
            for line in field.doc {
                text.push_str(&format!("#{}\n", plain(line)));
            }
            let range = range_of(field.name);
            let default = defaults.get(field.name).map(Value::to_string).unwrap_or_default();
            text.push_str(&format!("# Range: {range}. Default: {default}\n"));
            if let Some(origin) = self.origins.get(field.name) {
                text.push_str(&format!("# From {origin}\n"));
            }
            let value = self.table.get(field.name).map(Value::to_string).unwrap_or_default();
            text.push_str(&format!("{} = {value}\n", field.name));
        }
        text
    }
}

/// All fields, with what each is for.
fn fields() -> impl Iterator<Item = &'static ConfigField> {
    SyncConfig::FIELDS.iter().chain(StoreConfig::FIELDS)
}

/// Range of a field's values.
fn range_of(field: &str) -> &'static str {
    SyncConfig::range_of(field).unwrap_or(StoreConfig::RANGE)
}

/// Reads a configuration file.
fn read(path: &Path) -> Result<Table, SettingsError> {
    let failed = |source| SettingsError::Read { path: path.to_owned(), source };
    let there = fs::metadata(path).map_err(failed)?;
    if !there.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
    }
    let size = there.len();
    if size > MAX_FILE_BYTES {
        return Err(SettingsError::Syntax { path: path.to_owned(), reason: format!("{size} bytes are too many") });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    text.parse().map_err(|error: toml::de::Error| SettingsError::Syntax {
        path: path.to_owned(),
        // One line; the rest repeats the line in question.
        reason: match error.span() {
            Some(span) => {
                let line = text.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1);
                format!("line {line}: {}", error.message())
            }
            None => error.message().to_owned(),
        },
    })
}

/// The fields that options set, with their options.
fn command_line(args: &SettingsArgs) -> Vec<(&'static str, Value, &'static str)> {
    let mut set = Vec::new();
    if let Some(strategy) = &args.strategy {
        set.push(("default_strategy", Value::String(name_of(strategy)), "--strategy"));
    }
    if let Some(history) = &args.history {
        set.push(("history", Value::String(name_of(history)), "--history"));
    }
    if let Some(seconds) = args.state_after {
        set.push(("state_after", Value::String(format!("{seconds}s")), "--state-after"));
    }
    if let Some(mebibytes) = args.budget_mib {
        set.push(("memory_budget", Value::Integer(i64::from(mebibytes) << 20), "--budget-mib"));
    }
    if args.audit {
        set.push(("full_audit", Value::Boolean(true), "--audit"));
    }
    if let Some(blocks) = args.retain_blocks {
        set.push(("retain_blocks", Value::Integer(i64::try_from(blocks).unwrap_or(i64::MAX)), "--retain-blocks"));
    }
    if let Some(mebibytes) = args.retain_mib {
        set.push(("retain_bytes", Value::Integer(i64::from(mebibytes) << 20), "--retain-mib"));
    }
    if let Some(mebibytes) = args.min_free_mib {
        set.push(("min_free_disk", Value::Integer(i64::from(mebibytes) << 20), "--min-free-mib"));
    }
    set
}

/// The settings as a table, with durations as people write them.
fn table_of(config: &SyncConfig, store: &StoreConfig) -> Table {
    // A field that TOML can't hold is left out, and a test fails.
    let mut table = Table::try_from(config).unwrap_or_default();
    table.extend(Table::try_from(store).unwrap_or_default());
    for (_, value) in &mut table {
        if let Some(duration) = as_duration(value) {
            *value = Value::String(humantime::format_duration(duration).to_string());
        }
    }
    table
}

/// The duration that serde writes as a table.
fn as_duration(value: &Value) -> Option<Duration> {
    let table = value.as_table()?;
    let part = |name| table.get(name)?.as_integer();
    Some(Duration::new(part("secs")?.try_into().ok()?, part("nanos")?.try_into().ok()?))
}

/// The settings in a table as [`table_of`] makes it; where they are none, what is wrong with a duration.
fn config_of(table: &Table) -> Result<(SyncConfig, StoreConfig), Option<String>> {
    const DURATION: &str = "a duration with its unit, as in \"10s\" or \"200ms\"";
    let mut table = table.clone();
    let kinds = Table::try_from(SyncConfig::default()).unwrap_or_default();
    for (field, kind) in kinds {
        if as_duration(&kind).is_none() {
            continue;
        }
        let Some(value) = table.get_mut(&field) else { continue };
        let text = value.as_str().ok_or_else(|| Some(DURATION.to_owned()))?;
        let duration = humantime::parse_duration(text).map_err(|error| Some(format!("{DURATION} ({error})")))?;
        *value = Value::try_from(duration).map_err(|_| Some(DURATION.to_owned()))?;
    }
    let of_store =
        StoreConfig::FIELDS.iter().filter_map(|field| Some((field.name.to_owned(), table.remove(field.name)?)));
    let store = of_store.collect::<Table>().try_into().map_err(|_| None)?;
    Ok((table.try_into().map_err(|_| None)?, store))
}

/// A line of documentation without what only makes links and code of it.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, link)) = rest.split_once("](") {
        text.push_str(before);
        rest = link.split_once(')').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.replace(['[', ']', '`'], "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use hotstuff2_sync::config::SyncHistory;
    use std::ffi::OsString;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        settings: SettingsArgs,
    }

    fn load(options: &[&str], environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let line = Line::parse_from([&["sync"], options].concat());
        let pair = |&(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
        Settings::load(&line.settings, environment.iter().map(pair))
    }

    fn file(text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sync.toml");
        fs::write(&path, text).unwrap();
        (folder, path.to_str().unwrap().to_owned())
    }

    #[test]
    fn every_field_is_documented_and_its_default_holds_and_comes_back() {
        let defaults = Settings::defaults();
        defaults.config.validate().unwrap();
        assert_eq!(defaults.table.len(), fields().count());
        for field in fields() {
            assert!(field.doc.iter().any(|line| line.len() > 10), "{} is not documented", field.name);
            assert!(!range_of(field.name).is_empty(), "{} has no range", field.name);
            assert!(defaults.table.contains_key(field.name), "{} is not in TOML", field.name);
        }
        let described = defaults.describe();
        assert!(!described.contains("](") && !described.contains("From "), "{described}");
        let (_folder, path) = file(&described);
        let again = load(&["--config", &path], &[]).unwrap();
        assert_eq!((again.config, again.store), (SyncConfig::default(), StoreConfig::default()));
        assert_eq!(again.origins.len(), fields().count());
    }

    #[test]
    fn what_is_no_default_comes_back_too() {
        let changed =
            load(&["--strategy", "fast", "--audit", "--retain-mib", "9"], &[("HS2_SYNC_JOB_TIMEOUT", "1m 500ms")]);
        let changed = changed.unwrap();
        assert_eq!(changed.store, StoreConfig { retain_bytes: 9 << 20, ..StoreConfig::default() });
        assert_eq!(changed.config.job_timeout, Duration::from_millis(60_500));
        let described = changed.describe();
        assert!(described.contains("# From --audit\nfull_audit = true"), "{described}");
        let (_folder, path) = file(&described);
        let again = load(&["--config", &path], &[]).unwrap();
        assert_eq!((again.config, again.store), (changed.config, changed.store));
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
        let (_folder, path) = file("history = \"headers\"\nstate_after = \"5s\"\nmax_sync_peers = 7\n");
        let file = ["--config", path.as_str()];
        let environment = [("HS2_SYNC_STATE_AFTER", "6s"), ("HS2_SYNC_HISTORY", "blocks"), ("HOME", "/")];
        let settings = load(&file, &[]).unwrap();
        assert_eq!((settings.config.state_after, settings.config.max_sync_peers), (Duration::from_secs(5), 7));
        let settings = load(&file, &environment).unwrap();
        assert_eq!(settings.config.state_after, Duration::from_secs(6));
        assert_eq!(settings.config.history, SyncHistory::Blocks);
        let settings = load(&[&file[..], &["--state-after", "7"]].concat(), &environment).unwrap();
        assert_eq!(settings.config.state_after, Duration::from_secs(7));
        assert_eq!(settings.config.max_sync_peers, 7);
        assert_eq!(settings.origins["max_sync_peers"], Origin::File(path.into()));
    }

    #[test]
    fn what_is_wrong_is_named_with_where_it_stands() {
        let refused = |options: &[&str], environment: &[(&str, &str)], parts: &[&str]| {
            let message = load(options, environment).unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
            assert!(!message.contains('\n'), "{message}");
        };
        let in_file = |text: &str, parts: &[&str]| {
            let (_folder, path) = file(text);
            refused(&["--config", &path], &[], &[parts, &["sync.toml"]].concat());
        };
        in_file("max_sync_peer = 7", &["max_sync_peer ", "no setting"]);
        in_file("max_sync_peers = 0", &["max_sync_peers = 0", "1..=10000"]);
        in_file("max_sync_peers = \"many\"", &["max_sync_peers = \"many\"", "whole number", "1..=10000"]);
        in_file("max_sync_peers = -1", &["max_sync_peers = -1"]);
        in_file("min_free_disk = -1", &["min_free_disk = -1", "whole number"]);
        in_file("peer_timeout = 10", &["peer_timeout = 10", "unit"]);
        in_file("peer_timeout = \"10\"", &["peer_timeout = \"10\"", "unit"]);
        in_file("peer_timeout = \"2h\"", &["peer_timeout = \"2h\"", "100 ms..=1 h"]);
        in_file("default_strategy = \"quick\"", &["default_strategy = \"quick\"", "parallel"]);
        in_file("history = \n", &["no TOML", "line 1"]);
        refused(
            &[],
            &[("HS2_SYNC_RETRY_ATTEMPTS", "no")],
            &["retry_attempts = \"no\"", "whole number", "HS2_SYNC_RETRY_ATTEMPTS"],
        );
        refused(
            &[],
            &[("HS2_SYNC_RETRY_ATTEMPTS", "0")],
            &["retry_attempts = 0", "1..=1000", "HS2_SYNC_RETRY_ATTEMPTS"],
        );
        refused(&[], &[("HS2_SYNC_RETRIES", "3")], &["retries", "no setting", "HS2_SYNC_RETRIES"]);
        refused(&["--config", "/nowhere/sync.toml"], &[], &["/nowhere/sync.toml", "can't be read"]);
    }
}
