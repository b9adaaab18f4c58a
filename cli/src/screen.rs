//! Standard error, which bars, words and log lines share: whatever is written moves the bars out of its way, and comes
//! back to them.

use std::io::{self, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};

use indicatif::{MultiProgress, ProgressBar};

/// All bars on standard error; none is drawn where that is no terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// The [`Words`] of this process.
static WORDS: AtomicU8 = AtomicU8::new(Words::Plain as u8);

/// In which form a command says what happens while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Words {
    /// As lines for people, beside bars.
    Plain,
    /// Not at all: errors are said, and results.
    None,
    /// As records of the log, without bars.
    Logged,
}

/// Chooses the form for the rest of the process.
pub(crate) fn set_words(words: Words) {
    WORDS.store(words as u8, Ordering::Relaxed);
}

fn are(words: Words) -> bool {
    WORDS.load(Ordering::Relaxed) == words as u8
}

/// Shows `bar` below those that are there.
pub(crate) fn add(bar: ProgressBar) -> ProgressBar {
    BARS.add(bar)
}

/// Whether standard error is a terminal that bars are wanted on.
pub(crate) fn has_bars() -> bool {
    are(Words::Plain) && io::IsTerminal::is_terminal(&io::stderr())
}

/// Says what happens. Standard error that is closed hears nothing.
pub(crate) fn tell(text: impl std::fmt::Display) {
    if are(Words::Logged) {
        tracing::info!(target: "hs2_sync", "{text}");
    } else if are(Words::Plain) {
        write_line(&text);
    }
}

/// Says why a command fails, or what an operator has to see.
pub(crate) fn complain(text: impl std::fmt::Display) {
    if are(Words::Logged) {
        tracing::error!(target: "hs2_sync", "{text}");
    } else {
        write_line(&format_args!("hs2-sync: {text}"));
    }
}

fn write_line(text: &dyn std::fmt::Display) {
    // Nobody is left to be told where this fails.
    let _ = writeln!(Lines, "{text}");
}

/// Writes to standard error between two drawings of the bars.
pub(crate) struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().lock().write(bytes))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        BARS.suspend(|| io::stderr().lock().write_all(bytes))
    }

    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        // At once, so that no bar is drawn between two parts of a line.
        self.write_all(text.to_string().as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
