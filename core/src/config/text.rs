//! [`SyncConfig::set`] and [`SyncConfig::text`]: settings by name, as text, for hosts that don't see the fields.

use alloc::format;
use alloc::string::{String, ToString as _};
use core::time::Duration;

use super::{ConfigError, SyncConfig, SyncHistory, SyncStrategyType};

/// Why a setting was not taken over. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetConfigError {
    /// There is no field of this name: [`SyncConfig::FIELDS`] lists all.
    #[error("there is no setting of this name")]
    UnknownName,
    /// The text is no value of the field's kind.
    #[error("{field} can't be read from this text: {kind}")]
    Unreadable {
        /// The field.
        field: &'static str,
        /// How its values are written.
        kind: &'static str,
    },
    /// The value, or another one together with it, is out of range.
    #[error(transparent)]
    OutOfRange(#[from] ConfigError),
}

/// A kind of value that stands in a configuration.
pub(super) trait Setting: Sized {
    /// How such values are written, for messages.
    const KIND: &'static str;

    /// The value that `text` says.
    fn read(text: &str) -> Option<Self>;

    /// The text that [`Setting::read`] reads as this value.
    fn write(&self) -> String;
}

impl Setting for bool {
    const KIND: &'static str = "write `true` or `false`";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_number {
    ($($number:ty)+) => {
        $(impl Setting for $number {
            const KIND: &'static str = "write a whole number, in bytes also with KiB, MiB or GiB";

            fn read(text: &str) -> Option<Self> {
                let (number, unit) = number_and_unit(text)?;
                let factor = match unit {
                    "" => 1,
                    "KiB" => 1 << 10,
                    "MiB" => 1 << 20,
                    "GiB" => 1 << 30,
                    _ => return None,
                };
                number.checked_mul(factor)?.try_into().ok()
            }

            fn write(&self) -> String {
                self.to_string()
            }
        })+
    };
}

whole_number!(u32 u64 usize);

impl Setting for Duration {
    const KIND: &'static str = "write a whole number and `us`, `ms`, `s`, `min`, `h` or `d`";

    fn read(text: &str) -> Option<Self> {
        let (number, unit) = number_and_unit(text)?;
        let micros: u64 = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "min" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return None,
        };
        number.checked_mul(micros).map(Self::from_micros)
    }

    fn write(&self) -> String {
        let micros = crate::time::micros(*self);
        let units = [(3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")];
        let whole = |unit: u64| micros.checked_rem(unit) == Some(0);
        match units.iter().find(|&&(unit, _)| whole(unit)) {
            Some((unit, name)) if micros > 0 => format!("{} {name}", micros.checked_div(*unit).unwrap_or(micros)),
            _ if micros == 0 => "0 s".into(),
            _ => format!("{micros} us"),
        }
    }
}

impl Setting for SyncStrategyType {
    const KIND: &'static str = "write `auto`, `parallel`, `incremental` or `fast`";

    fn read(text: &str) -> Option<Self> {
        [Self::Auto, Self::Parallel, Self::Incremental, Self::Fast].into_iter().find(|one| one.to_string() == text)
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Setting for SyncHistory {
    const KIND: &'static str = "write `none`, `headers` or `blocks`";

    fn read(text: &str) -> Option<Self> {
        [Self::None, Self::Headers, Self::Blocks].into_iter().find(|one| one.write() == text)
    }

    fn write(&self) -> String {
        match self {
            Self::None => "none",
            Self::Headers => "headers",
            Self::Blocks => "blocks",
        }
        .into()
    }
}

/// The digits at the front of `text` as a number, and what stands behind them.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

impl SyncConfig {
    /// Sets the field `name` to the value that `text` says: `30 s`, `16 MiB`, `64`, `true`, `parallel`.
    ///
    /// # Errors
    /// An unknown name, a text that can't be read, a value out of range. The settings stay as they were then.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), SetConfigError> {
        let mut changed = self.clone();
        changed.assign(name, text)?;
        changed.validate()?;
        *self = changed;
        Ok(())
    }

    /// The value of the field `name`, as [`SyncConfig::set`] reads it; `None` where there is no such field.
    pub fn text(&self, name: &str) -> Option<String> {
        self.written(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_reads_back_what_it_wrote() {
        let mut config = SyncConfig::default();
        for field in SyncConfig::FIELDS {
            let text = config.text(field.name).unwrap();
            assert_eq!(config.set(field.name, &text), Ok(()), "{} = {text}", field.name);
        }
        assert_eq!(config, SyncConfig::default());
    }

    #[test]
    fn settings_are_read_with_their_units() {
        let mut config = SyncConfig::default();
        for (name, text) in [
            ("peer_timeout", "250ms"),
            ("memory_budget", "16 MiB"),
            ("default_strategy", "parallel"),
            ("history", "blocks"),
            ("full_audit", "true"),
            ("max_sync_peers", " 7 "),
        ] {
            assert_eq!(config.set(name, text), Ok(()), "{name} = {text}");
        }
        let expected = SyncConfig {
            peer_timeout: Duration::from_millis(250),
            memory_budget: 16 << 20,
            default_strategy: SyncStrategyType::Parallel,
            history: SyncHistory::Blocks,
            full_audit: true,
            max_sync_peers: 7,
            ..SyncConfig::default()
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn a_setting_that_is_refused_changes_nothing() {
        let mut config = SyncConfig::default();
        assert_eq!(config.set("no_such", "1"), Err(SetConfigError::UnknownName));
        for text in ["", "ten", "-1", "1 week", "1.5 s", "99999999999999999999 s", "18446744073709551615 d"] {
            let refused = config.set("peer_timeout", text);
            assert!(matches!(refused, Err(SetConfigError::Unreadable { field: "peer_timeout", .. })), "{text}");
        }
        for (name, text) in [("max_sync_peers", "0"), ("memory_budget", "1 KiB"), ("peer_timeout", "2 h")] {
            let refused = config.set(name, text);
            assert!(matches!(refused, Err(SetConfigError::OutOfRange(error)) if error.field == name), "{name}");
        }
        // A value that is out of range only together with another one.
        assert_eq!(config.set("memory_budget", "8 MiB"), Ok(()));
        assert!(matches!(config.set("history", "blocks"), Err(SetConfigError::OutOfRange(_))));
        assert_eq!(config, SyncConfig { memory_budget: 8 << 20, ..SyncConfig::default() });
    }
}
