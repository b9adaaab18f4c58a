//! `cargo xtask fuzz`: installs cargo-fuzz where it is missing, writes the seeds, and runs every target for a while.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::command;
use crate::tools;
use crate::workspace::Workspace;

/// The targets; a test of the testkit holds the list against the programs.
const TARGETS: [&str; 5] = ["decoders", "jobs", "respond", "machine", "session"];

/// Targets to run, and for how long.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan {
    seconds: u32,
    target: Option<&'static str>,
}

impl Plan {
    /// All targets, for as long as a change is worth.
    pub(crate) const EACH_FOR_A_MINUTE: Self = Self { seconds: 60, target: None };
}

pub(crate) fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Plan, String> {
    let mut plan = Plan::EACH_FOR_A_MINUTE;
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

/// Builds every target once, then runs them for the plan's time each, as many at once as there are cores.
pub(crate) fn run(workspace: &Workspace, plan: &Plan) -> Result<(), String> {
    let fuzz = &Fuzz { workspace, program: tools::installed(workspace, "cargo-fuzz", &["--version"])? };
    let example = ["run", "--package", "hotstuff2-sync-testkit", "--example", "fuzz_seeds", "--", "fuzz/corpus"];
    command::run(workspace.cargo().args(example))?;
    let mut targets: Vec<&'static str> =
        TARGETS.into_iter().filter(|target| plan.target.is_none_or(|only| only == *target)).collect();
    // The sanitizers are options of the unstable compiler, which the stable one has too.
    command::run(fuzz.command("build").args(plan.target))?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    while !targets.is_empty() {
        let rest = targets.split_off(cores.min(targets.len()));
        let outcomes: Vec<Result<String, String>> = std::thread::scope(|scope| {
            let spawn = |target| scope.spawn(move || fuzz.run(target, plan.seconds));
            let running: Vec<_> = targets.iter().copied().map(spawn).collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err("its thread failed".into())))
                .collect()
        });
        for (target, outcome) in targets.iter().zip(outcomes) {
            println!("{target:<9} {}", outcome.map_err(|reason| format!("fuzz target `{target}`: {reason}"))?);
        }
        targets = rest;
    }
    Ok(())
}

/// cargo-fuzz, and where it puts things: in the checkout's target folder, so that nothing else of the machine changes.
struct Fuzz<'a> {
    workspace: &'a Workspace,
    program: PathBuf,
}

impl Fuzz<'_> {
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.workspace.root).env("RUSTC_BOOTSTRAP", "1");
        command.arg(name).arg("--target-dir").arg(self.workspace.target.join("fuzz"));
        command
    }

    /// Runs `target` for `seconds`; its last figures, or the end of what it printed.
    fn run(&self, target: &str, seconds: u32) -> Result<String, String> {
        // Inputs that the fuzzer finds go into a folder of the target's; the corpus in the checkout stays small.
        let found = self.workspace.target.join("fuzz-corpus").join(target);
        std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
        let mut run = self.command("run");
        run.arg(target).arg(&found).arg(format!("fuzz/corpus/{target}")).arg("--");
        // An input that takes ten seconds is a finding, as one that takes much memory is.
        run.args([&format!("-max_total_time={seconds}"), "-max_len=4096", "-timeout=10", "-rss_limit_mb=1024"]);
        let printed = run.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&printed.stderr);
        if printed.status.success() { Ok(figures(&text)) } else { Err(format!("{}\n{}", printed.status, tail(&text))) }
    }
}

/// `#123 DONE cov: ...`: how many inputs, and what they reached.
fn figures(printed: &str) -> String {
    let done = printed.lines().rev().find(|line| line.contains("DONE")).unwrap_or("no figures");
    done.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Enough lines to hold the panic, the input that caused it, and how to run it again.
fn tail(printed: &str) -> String {
    let lines: Vec<&str> = printed.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_targets_refused() {
        let words = |line: &'static str| line.split_whitespace();
        assert_eq!(parse(words("")), Ok(Plan::EACH_FOR_A_MINUTE));
        assert_eq!(parse(words("--seconds 5 jobs")), Ok(Plan { seconds: 5, target: Some("jobs") }));
        assert!(parse(words("job")).is_err() && parse(words("--seconds")).is_err());
    }

    #[test]
    fn the_last_figures_are_found() {
        let printed =
            "INFO: Seed: 1\n#2\tINITED cov: 1\n#99\tDONE   cov: 840 ft: 3086 corp: 620/54Kb exec/s: 49\nDone 99 runs";
        assert_eq!(figures(printed), "#99 DONE cov: 840 ft: 3086 corp: 620/54Kb exec/s: 49");
        assert_eq!(figures(""), "no figures");
        assert_eq!(tail("a\nb"), "a\nb");
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
