//! The trusting period: for how long what a validator set has signed proves anything.
//!
//! Validators that left long ago can sign another history without losing anything. So a node, and a light client, looks at the age
//! of the youngest block that its trust rests on before it starts, before every plan and before it takes in what was verified;
//! where that is past the period it ends. Every block that is proven meanwhile makes trust younger. The clock is the host's.

use serde::{Deserialize, Serialize};

use crate::chain::native::{AnchorError, check_age_within};
use crate::time::{Instant, UnixMillis};

/// The trusting period of a chain that has one, and the time of day at which a machine is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TrustingPeriod {
    /// For how long what a validator set has signed proves anything, in milliseconds.
    pub period_ms: u64,
    /// The time in the header of the block that trust begins with: the genesis block, or a checkpoint's. What is stored above
    /// it may be younger.
    pub anchor_time: UnixMillis,
    /// The host's time of day. The machine counts on from it by its monotonic time, until the host
    /// [says it again](crate::machine::Input::Wall).
    pub wall: UnixMillis,
}

/// Trust that a machine has, and its age.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Trust {
    /// The chain's trusting period in milliseconds; `None` where any age will do.
    period_ms: Option<u64>,
    /// The host's time of day, and when it was said.
    wall: (Instant, UnixMillis),
    /// Time of the youngest block that trust rests on, no later than the host's clock.
    from: UnixMillis,
}

impl Trust {
    /// Trust that rests on a block of the time `from`.
    ///
    /// # Errors
    /// Where that block is older than the period, or the clock is behind it.
    pub(crate) fn new(
        period_ms: Option<u64>,
        from: UnixMillis,
        now: Instant,
        wall: UnixMillis,
    ) -> Result<Self, AnchorError> {
        check_age_within(period_ms, from, wall)?;
        Ok(Self { period_ms, wall: (now, wall), from })
    }

    /// The host says what time of day it is.
    pub(crate) fn set_wall(&mut self, now: Instant, wall: UnixMillis) {
        self.wall = (now, wall);
    }

    /// The host's time of day, as far as it is known.
    pub(crate) fn wall(&self, now: Instant) -> UnixMillis {
        let (said, wall) = self.wall;
        let passed = u64::try_from(now.since(said).as_millis()).unwrap_or(u64::MAX);
        UnixMillis::new(wall.get().saturating_add(passed))
    }

    /// A block of this time is proven: trust rests on it, if it is the youngest.
    pub(crate) fn rests_on(&mut self, now: Instant, time: UnixMillis) {
        if self.period_ms.is_some() {
            // A block from the future must not make trust last longer.
            self.from = self.from.max(time.min(self.wall(now)));
        }
    }

    /// Checks that what is trusted is young enough to prove anything from.
    ///
    /// # Errors
    /// Where it is older than the period, or the clock is behind it.
    pub(crate) fn check(&self, now: Instant) -> Result<(), AnchorError> {
        check_age_within(self.period_ms, self.from, self.wall(now))
    }

    /// The age and the period in milliseconds, where the period is over.
    pub(crate) fn expired(&self, now: Instant) -> Option<(u64, u64)> {
        match self.check(now) {
            Err(AnchorError::TooOld { age_ms, trusting_period_ms }) => Some((age_ms, trusting_period_ms)),
            Ok(()) | Err(_) => None,
        }
    }

    /// When trust ends, if it does.
    pub(crate) fn ends(&self, now: Instant) -> Option<Instant> {
        let age = u64::try_from(self.wall(now).since(self.from).as_millis()).ok()?;
        let left = self.period_ms?.checked_sub(age)?;
        // One more, since the period itself still counts.
        Some(now.after(core::time::Duration::from_millis(left.saturating_add(1))))
    }
}
