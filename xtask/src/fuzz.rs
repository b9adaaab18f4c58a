//! `cargo xtask fuzz`: installs cargo-fuzz where it is missing, writes the seeds, and runs every target for a while.

use std::process::Command;

use crate::command;
use crate::workspace::Workspace;

/// The targets; a test of the testkit holds the list against the programs.
const TARGETS: [&str; 4] = ["decoders", "jobs", "respond", "machine"];

/// What to run.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan {
    seconds: u32,
    target: Option<&'static str>,
}

pub(crate) fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Plan, String> {
    let mut plan = Plan { seconds: 60, target: None };
    while let Some(word) = words.next() {
        if word == "--seconds" {
            let number = words.next().and_then(|word| word.parse().ok());
            plan.seconds = number.ok_or("`--seconds` needs a number of seconds after it")?;
        } else {
            let known = TARGETS.into_iter().find(|target| *target == word);
            plan.target =
                Some(known.ok_or_else(|| format!("there is no fuzz target `{word}`: {}", TARGETS.join(", ")))?);
        }
    }
    Ok(plan)
}

pub(crate) fn run(workspace: &Workspace, plan: &Plan) -> Result<(), String> {
    // In the checkout's target folder, so that nothing of the machine changes.
    let tools = workspace.target.join("tools");
    let program = tools.join("bin/cargo-fuzz");
    if !command::succeeds(Command::new(&program).arg("--version")) {
        println!("cargo-fuzz is missing: cargo installs it into {}", tools.display());
        command::run(workspace.cargo().args(["install", "cargo-fuzz", "--locked", "--root"]).arg(&tools))?;
    }
    let example = ["run", "--package", "hotstuff2-sync-testkit", "--example", "fuzz_seeds", "--", "fuzz/corpus"];
    command::run(workspace.cargo().args(example))?;
    for target in TARGETS.into_iter().filter(|target| plan.target.is_none_or(|only| only == *target)) {
        // What the fuzzer finds goes into a folder of the target's; the corpus in the checkout stays small.
        let found = workspace.target.join("fuzz-corpus").join(target);
        std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
        let seconds = format!("-max_total_time={}", plan.seconds);
        command::run(
            Command::new(&program)
                .current_dir(&workspace.root)
                // The sanitizers are options of the unstable compiler, which the stable one has too.
                .env("RUSTC_BOOTSTRAP", "1")
                .args(["run", target])
                .arg(&found)
                .arg(format!("fuzz/corpus/{target}"))
                .args(["--", &seconds, "-max_len=4096"]),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_targets_refused() {
        let words = |line: &'static str| line.split_whitespace();
        assert_eq!(parse(words("")), Ok(Plan { seconds: 60, target: None }));
        assert_eq!(parse(words("--seconds 5 jobs")), Ok(Plan { seconds: 5, target: Some("jobs") }));
        assert!(parse(words("job")).is_err() && parse(words("--seconds")).is_err());
    }

    #[test]
    fn every_program_is_a_target() {
        let root = crate::workspace::root().unwrap();
        let mut found: Vec<String> = std::fs::read_dir(root.join("fuzz/fuzz_targets"))
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        found.sort();
        let mut named = TARGETS.map(str::to_owned).to_vec();
        named.sort();
        assert_eq!(found, named);
    }
}
