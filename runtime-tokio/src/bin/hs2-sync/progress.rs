//! [`ProgressLine`]: how far a sync is, as a bar on a terminal and as a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines where standard error is no terminal. What is over sooner needs none.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) height: u64,
    pub(crate) target: u64,
    pub(crate) blocks_per_second: f64,
    pub(crate) bytes_per_second: f64,
    /// Time that is left at that rate.
    pub(crate) remaining: Option<Duration>,
    /// What limits the speed, or why nothing moves.
    pub(crate) note: Option<String>,
}

/// Shows progress on standard error.
pub(crate) struct ProgressLine {
    bar: Option<ProgressBar>,
    verb: &'static str,
    last_line: Instant,
    start_height: u64,
}

impl ProgressLine {
    /// Progress of what `verb` says, from `start_height` on.
    pub(crate) fn new(start_height: u64, verb: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            // Fits into 80 columns but for what limits the speed.
            let style = ProgressStyle::with_template("{prefix:>10} [{bar:20.green}] {pos}/{len}  {msg}")
                .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "));
            ProgressBar::new(0).with_style(style).with_prefix(verb)
        });
        Self { bar, verb, last_line: Instant::now(), start_height }
    }

    pub(crate) fn show(&mut self, snapshot: &Snapshot) {
        let text = describe(snapshot);
        if snapshot.target <= self.start_height {
            // Nobody has proven anything yet: an empty way looks like one that is done.
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_length(snapshot.target.saturating_sub(self.start_height));
            bar.set_position(snapshot.height.saturating_sub(self.start_height));
            bar.set_message(text);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            eprintln!("{}: height {} of {}  {text}", self.verb, snapshot.height, snapshot.target);
        }
    }

    /// Says something besides the progress.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
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

fn describe(snapshot: &Snapshot) -> String {
    let mut text = format!("{:.0} blocks/s  {:.1} MB/s", snapshot.blocks_per_second, snapshot.bytes_per_second / 1e6);
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
        };
        assert_eq!(describe(&snapshot), "1234 blocks/s  2.5 MB/s  3 s left  limited by the network");
        snapshot.remaining = None;
        snapshot.note = None;
        assert_eq!(describe(&snapshot), "1234 blocks/s  2.5 MB/s");
    }
}
