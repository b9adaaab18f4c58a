//! The simulator as a command: `cargo xtask soak`, `cargo xtask scale` and `cargo xtask trace` build and start it.

mod golden;
mod scale;
mod soak;

use std::process::ExitCode;

const HELP: &str = "Usage: hs2-sim soak [--seeds N] [--from S]
       hs2-sim soak --seed S
       hs2-sim soak --golden
       hs2-sim scale [--only ROW]
       hs2-sim trace [--seed S]

soak   plays N random worlds (1000 unless told otherwise) from number S on, and stops at the first in which a law is
       broken; with --seed it plays one and prints everything that happens in it; with --golden it plays the few
       whose traces are known, and compares
scale  measures how time and memory grow with the gap, the epochs and the peers, and how long a crowd takes
trace  prints the known traces anew, for tests/src/sim/golden.txt; with --seed the one of that number
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["soak", rest @ ..] => soak::run(rest),
        ["scale", rest @ ..] => scale::run(rest),
        ["trace", rest @ ..] => golden::print(rest),
        ["--help" | "-h" | "help"] => Ok(true),
        _ => Err("say `soak`, `scale` or `trace`".to_owned()),
    };
    match outcome {
        Ok(true) if matches!(words.as_slice(), ["--help" | "-h" | "help"]) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprint!("hs2-sim: {message}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

/// The number that `word` is.
fn number(option: &str, word: Option<&&str>) -> Result<u64, String> {
    let word = word.ok_or_else(|| format!("`{option}` needs a number after it"))?;
    word.parse().map_err(|_| format!("`{word}` is not a number"))
}
