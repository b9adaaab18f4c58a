//! [`OldTip`]: a tip that is too old to be what one expects of a network that lives.

use std::fmt;
use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How old the tip is, where that is older than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OldTip {
    /// `None` where the time of the tip is not known.
    age: Option<Duration>,
    most: Duration,
}

impl OldTip {
    /// The tip of this age where it is older than `most`; zero is no limit.
    pub(crate) fn of(age: Option<Duration>, most: Duration) -> Option<Self> {
        (!most.is_zero() && age? > most).then_some(Self { age, most })
    }

    /// The same where a tip of unknown age doesn't do either.
    pub(crate) fn unless_shown_fresh(age: Option<Duration>, most: Duration) -> Option<Self> {
        if age.is_none() { Some(Self { age, most }) } else { Self::of(age, most) }
    }
}

impl fmt::Display for OldTip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.age {
            Some(age) => {
                write!(f, "the tip is {} old, more than max_tip_age allows ({})", words(age), words(self.most))?;
            }
            None => write!(f, "the age of the tip is not known")?,
        }
        f.write_str(
            ": the network makes no blocks, or the peers of this node don't show its newest ones; name others with \
             --peer, or set max_tip_age to 0s where the chain was halted",
        )
    }
}

/// A time as people say it, in its largest unit.
pub(crate) fn words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 2 * MINUTE => format!("{seconds} s"),
        seconds if seconds < 2 * HOUR => format!("{} min", seconds / MINUTE),
        seconds if seconds < 2 * DAY => format!("{} h", seconds / HOUR),
        seconds => format!("{} days", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tip_is_old_beyond_the_limit_and_never_without_one() {
        let (second, most) = (Duration::from_secs(1), Duration::from_secs(600));
        assert_eq!(OldTip::of(Some(most), most), None);
        assert_eq!(OldTip::of(Some(most + second), Duration::ZERO), None);
        assert_eq!(OldTip::of(None, most), None);
        assert!(OldTip::unless_shown_fresh(None, most).unwrap().to_string().contains("not known"));
        assert_eq!(OldTip::unless_shown_fresh(Some(second), most), None);
        let old = OldTip::of(Some(Duration::from_secs(40 * DAY)), most).unwrap().to_string();
        assert!(old.starts_with("the tip is 40 days old, more than max_tip_age allows (10 min): "), "{old}");
    }

    #[test]
    fn times_are_said_in_their_largest_unit() {
        for (seconds, said) in [(0, "0 s"), (119, "119 s"), (7199, "119 min"), (7200, "2 h"), (2 * DAY, "2 days")] {
            assert_eq!(words(Duration::from_secs(seconds)), said);
        }
    }
}
