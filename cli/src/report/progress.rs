//! [`ProgressLine`]: how far a sync is, as a bar on a terminal and as a line now and then elsewhere.

use std::time::{Duration, Instant};

use hotstuff2_sync::machine::StallReason;
use indicatif::{ProgressBar, ProgressStyle};

use crate::screen::{self, tell};
use crate::tip::words;

/// Time between two lines where standard error is no terminal. What is over sooner needs none.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Snapshot of a sync, as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) height: u64,
    pub(crate) target: u64,
    pub(crate) blocks_per_second: f64,
    pub(crate) bytes_per_second: f64,
    /// Time that is left at that rate.
    pub(crate) remaining: Option<Duration>,
    /// Note on what limits the speed.
    pub(crate) note: Option<String>,
    /// How long nothing has moved, and why, if nothing moves: then there is no speed.
    pub(crate) still: Option<(Duration, StallReason)>,
    /// How old the tip is, if that is known.
    pub(crate) tip_age: Option<Duration>,
    /// The state, while one is fetched: then rates and time are its.
    pub(crate) state: Option<StateShare>,
    /// Whether it has arrived, and follows from there on.
    pub(crate) at_tip: bool,
}

/// Share of a state that is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StateShare {
    /// The block whose state it is.
    pub(crate) height: u64,
    /// In millionths.
    pub(crate) done_ppm: u64,
    pub(crate) keys_per_second: f64,
}

/// All of a state, in millionths.
pub(crate) const WHOLE_PPM: u64 = 1_000_000;

/// Shows progress on standard error.
pub(crate) struct ProgressLine {
    bar: Option<ProgressBar>,
    verb: &'static str,
    last_line: Instant,
    /// The height that was last said to be the tip's.
    last_tip: Option<u64>,
    start_height: u64,
}

impl ProgressLine {
    /// Progress of what `verb` says, from `start_height` on.
    pub(crate) fn new(start_height: u64, verb: &'static str) -> Self {
        let bar = screen::has_bars().then(|| {
            // Fits into 80 columns but for what limits the speed; what doesn't fit is left out.
            let style = ProgressStyle::with_template("{prefix:>10} [{bar:20.green}] {wide_msg}")
                .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "));
            screen::add(ProgressBar::new(0).with_style(style).with_prefix(verb))
        });
        Self { bar, verb, last_line: Instant::now(), last_tip: None, start_height }
    }

    pub(crate) fn show(&mut self, snapshot: &Snapshot) {
        if snapshot.at_tip {
            self.show_tip(snapshot);
            return;
        }
        let text = describe(snapshot);
        if snapshot.target <= self.start_height {
            // Nobody has proven anything yet: an empty way looks like one that is done.
            return;
        }
        let (done, whole) = match snapshot.state {
            Some(state) => (state.done_ppm, WHOLE_PPM),
            None => {
                let above = |height: u64| height.saturating_sub(self.start_height);
                (above(snapshot.height), above(snapshot.target))
            }
        };
        if let Some(bar) = &self.bar {
            let place = if snapshot.state.is_some() { place(snapshot) } else { format!("{done}/{whole}") };
            bar.set_length(whole);
            bar.set_position(done);
            bar.set_message(format!("{place}  {text}"));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            tell(format_args!("{}: {}  {text}", self.verb, place(snapshot)));
        }
    }

    /// At the tip there is no rate and no time left; a line is worth it where another block is there.
    fn show_tip(&mut self, snapshot: &Snapshot) {
        let (height, text) = (snapshot.height, at_tip(snapshot));
        if let Some(bar) = &self.bar {
            bar.set_length(1);
            bar.set_position(1);
            bar.set_message(text);
        } else if self.last_tip != Some(height) && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            self.last_tip = Some(height);
            tell(format_args!("{}: {text}", self.verb));
        }
    }

    /// Leaves the bar on the screen as it was at the end, so that it is seen however short the way was, and starts what
    /// follows on a line of its own.
    pub(crate) fn finish(&mut self, last: &Snapshot) {
        if self.bar.is_some() {
            self.show(&Snapshot { remaining: None, note: None, ..last.clone() });
        }
        if let Some(bar) = self.bar.take().filter(|_| last.target > self.start_height) {
            bar.abandon();
        }
    }
}

fn place(snapshot: &Snapshot) -> String {
    match snapshot.state {
        Some(state) => format!("state of block {}: {:.1} %", state.height, state.done_ppm as f64 / 1e4),
        None => format!("height {} of {}", snapshot.height, snapshot.target),
    }
}

fn at_tip(snapshot: &Snapshot) -> String {
    let age = snapshot.tip_age.map_or_else(String::new, |age| format!(" {} old", words(age)));
    // Whoever hears of no block doesn't know whether this is still the tip.
    match snapshot.still {
        Some(_) => format!("height {}{age}, {}", snapshot.height, describe(snapshot)),
        None if age.is_empty() => format!("height {}, at the tip", snapshot.height),
        None => format!("height {}, at the tip,{age}", snapshot.height),
    }
}

fn describe(snapshot: &Snapshot) -> String {
    if let Some((time, reason)) = snapshot.still {
        return format!("nothing moves for {} s: {reason}", time.as_secs());
    }
    let megabytes = snapshot.bytes_per_second / 1e6;
    let mut text = match snapshot.state {
        Some(state) => format!("{:.0} keys/s  {megabytes:.1} MB/s", state.keys_per_second),
        None => format!("{:.0} blocks/s  {megabytes:.1} MB/s", snapshot.blocks_per_second),
    };
    if let Some(remaining) = snapshot.remaining {
        text += &format!("  {} s left", remaining.as_secs());
    }
    if let Some(note) = &snapshot.note {
        text += "  ";
        text += note;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_and_time_left() {
        let mut snapshot = Snapshot {
            height: 5,
            target: 10,
            blocks_per_second: 1234.5,
            bytes_per_second: 2.5e6,
            remaining: Some(Duration::from_secs(3)),
            note: Some("limited by the network".to_owned()),
            still: None,
            tip_age: None,
            state: None,
            at_tip: false,
        };
        assert_eq!(describe(&snapshot), "1234 blocks/s  2.5 MB/s  3 s left  limited by the network");
        snapshot.remaining = None;
        snapshot.note = None;
        assert_eq!(describe(&snapshot), "1234 blocks/s  2.5 MB/s");
        assert_eq!(place(&snapshot), "height 5 of 10");
        snapshot.still = Some((Duration::from_secs(7), StallReason::DiskFull));
        assert_eq!(at_tip(&Snapshot { still: None, ..snapshot.clone() }), "height 5, at the tip");
        let aged = Snapshot { still: None, tip_age: Some(Duration::from_secs(3)), ..snapshot.clone() };
        assert_eq!(at_tip(&aged), "height 5, at the tip, 3 s old");
        assert!(at_tip(&snapshot).starts_with("height 5, nothing moves for 7 s"), "{}", at_tip(&snapshot));
        assert!(describe(&snapshot).starts_with("nothing moves for 7 s: the disk is full"), "{}", describe(&snapshot));
    }

    #[test]
    fn while_a_state_is_fetched_the_line_is_about_it() {
        let snapshot = Snapshot {
            height: 0,
            target: 10,
            blocks_per_second: 0.0,
            bytes_per_second: 2.5e6,
            remaining: Some(Duration::from_secs(3)),
            note: None,
            still: None,
            tip_age: None,
            state: Some(StateShare { height: 8, done_ppm: 123_456, keys_per_second: 54_321.0 }),
            at_tip: false,
        };
        assert_eq!(place(&snapshot), "state of block 8: 12.3 %");
        assert_eq!(describe(&snapshot), "54321 keys/s  2.5 MB/s  3 s left");
    }
}
