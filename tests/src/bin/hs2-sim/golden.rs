//! `hs2-sim trace` and `hs2-sim soak --golden`: runs that are known to the last bit.

use hotstuff2_sync_testkit::sim::{GOLDEN, golden_line, golden_seeds};

use crate::number;

/// Prints the line of one seed, or all lines anew.
pub(crate) fn print(words: &[&str]) -> Result<bool, String> {
    match words {
        [] => golden_seeds().for_each(|seed| println!("{}", line(seed))),
        ["--seed", rest @ ..] if rest.len() <= 1 => println!("{}", line(number("--seed", rest.first())?)),
        _ => return Err("`trace` has no option but `--seed S`".to_owned()),
    }
    Ok(true)
}

/// Whether the seeds that are known give what they gave.
pub(crate) fn check() -> bool {
    let (mut all, mut changed) = (0, 0);
    for (known, seed) in GOLDEN.lines().zip(golden_seeds()) {
        let now = line(seed);
        all += 1;
        if now != known {
            changed += 1;
            println!("was {known}\nis  {now}");
        }
    }
    match changed {
        0 => println!("{all} golden traces are what they were"),
        _ => println!("{changed} of {all} golden traces changed; docs/simulator.md says when they may"),
    }
    changed == 0
}

fn line(seed: u64) -> String {
    golden_line(seed).unwrap_or_else(|error| format!("{seed} is not replayed: {error:?}"))
}
