//! Runs that are known to the last bit: the same in debug and in release, on every machine and on every day.

use std::fmt::Write as _;

use hotstuff2_sync::trace::PlayError;

use super::scenario::Scenario;

/// Some mixed worlds and what they were like when this file was written: a line for each, as [`golden_line`] makes it.
pub const GOLDEN: &str = include_str!("golden.txt");

/// The seeds of [`GOLDEN`].
pub fn golden_seeds() -> impl Iterator<Item = u64> {
    GOLDEN.lines().filter_map(|line| line.split(' ').next()?.parse().ok())
}

/// Plays the world of this number: its number, what it was like, how much happened, the hash of all that happened, and
/// the digest of what its machines give when they are played again.
///
/// # Errors
/// Where a machine that is fed the same gives something else.
pub fn golden_line(seed: u64) -> Result<String, PlayError> {
    let (run, replayed) = Scenario::new(seed).run_and_replay()?;
    let mut line = format!("{seed} {:?} {} {} {replayed}", run.theme, run.events, run.trace_hash);
    if let Err(violation) = &run.result {
        // Writing to a string has no way to fail.
        let _ = write!(line, " {violation}");
    }
    Ok(line)
}
