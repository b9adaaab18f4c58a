//! `hs2-sim soak`: random worlds, one after the other.

use std::time::Instant;

use hotstuff2_sync::hash::{Context, Hash};
use hotstuff2_sync_testkit::sim::{Run, Scenario};

use crate::{golden, number};

static ALL: Context = Context::new("hotstuff2-sync testkit v1 soak");

/// How often the count is printed, in worlds.
const REPORT_EVERY: u64 = 500;

/// Whether no law was broken.
pub(crate) fn run(words: &[&str]) -> Result<bool, String> {
    let (mut from, mut seeds, mut replay) = (0, 1000, None);
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--from" => from = number(word, words.next())?,
            "--seeds" => seeds = number(word, words.next())?,
            "--golden" => return Ok(golden::check()),
            "--seed" => replay = Some(number(word, words.next())?),
            other => return Err(format!("`soak` has no option `{other}`")),
        }
    }
    Ok(replay.map_or_else(|| soak(from, seeds), show))
}

fn show(seed: u64) -> bool {
    let run = Scenario::new(seed).run_with_timeline();
    for line in &run.timeline {
        println!("{line}");
    }
    tell(&run)
}

fn soak(from: u64, seeds: u64) -> bool {
    let begin = Instant::now();
    let mut events = 0;
    let mut traces = Hash::ZERO;
    for (count, seed) in (1..).zip(from..from.saturating_add(seeds)) {
        let run = Scenario::new(seed).run();
        events += run.events;
        traces = ALL.hash(&[traces.as_bytes().as_slice(), run.trace_hash.as_bytes()].concat());
        if run.result.is_err() {
            return tell(&run);
        }
        if count % REPORT_EVERY == 0 || count == seeds {
            let rate = count as f64 / begin.elapsed().as_secs_f64();
            println!("{count} seeds without a violation, {rate:.1} seeds/s, {events} events, traces {traces}");
        }
    }
    true
}

fn tell(run: &Run) -> bool {
    let seconds = run.took.as_secs_f64();
    println!("seed {}: {:?}, {} events in {seconds:.1} s, trace {}", run.seed, run.theme, run.events, run.trace_hash);
    if let Err(violation) = &run.result {
        println!("VIOLATION {violation}\nagain, with everything that happens: cargo xtask soak --seed {}", run.seed);
    }
    run.result.is_ok()
}
