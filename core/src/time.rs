//! The machine's clock: an integer that the host supplies.
//!
//! The core never reads a clock. Every input carries the host's monotonic time as an [`Instant`], and deadlines
//! go out the same way. Wall-clock time, where a rule needs it (trusting period, freshness of the tip), comes in
//! separately as [`UnixMillis`], because the two must never be mixed up.

use core::time::Duration;

/// A point on the host's monotonic clock, in microseconds since a start that the host chooses.
///
/// Arithmetic saturates: a deadline that can't be represented is simply very late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Instant(u64);

impl Instant {
    /// The start of the host's clock.
    pub const ZERO: Self = Self(0);

    /// The end of the clock. As a deadline, it never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `micros` microseconds after the host's start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the host's start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This instant plus `duration`, saturating.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// Time from `earlier` to this instant; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Whole microseconds of `duration`, saturating at `u64::MAX`.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Wall-clock time in milliseconds since the Unix epoch, as the host sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// The wall-clock time `millis` milliseconds after the Unix epoch.
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to this one; zero if `earlier` is later, as with clocks that differ.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
