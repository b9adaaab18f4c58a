//! [`wall_clock`]: the time of day, for the rules that need it (ages of anchors, tips and words, ends of bans). The core
//! never reads it, and gets it from here.

use std::time::{SystemTime, UNIX_EPOCH};

use hotstuff2_sync::time::UnixMillis;

/// The time of day by this machine's clock; zero by a clock that stands before 1970, by which nothing is old.
pub fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
