//! The contributor's commands: `cargo xtask test` sets a fresh machine up and runs everything that
//! a change has to pass. It trusts only that `cargo` and `rustup` are there; whatever else a step
//! needs it installs, or it stops and names what is missing and how to get it. Nothing is skipped but what takes root.
//!
//! Standard library only, so that the first line of output comes seconds after a fresh clone.

mod bare_metal;
mod c;
mod command;
mod deb;
mod dist;
mod fuzz;
mod go;
#[cfg(test)]
mod guards;
mod install;
mod mutants;
mod mutated;
mod no_std;
mod packages;
mod simulate;
mod steps;
mod tar;
mod tools;
mod wan;
mod wasm;
mod web_assembly;
mod workspace;

use std::process::ExitCode;

use steps::Step;
use workspace::Workspace;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match parse(&arguments) {
        Ok(Request::Help) => {
            print!("{}", help());
            ExitCode::SUCCESS
        }
        Ok(Request::Test(selected)) => {
            finish(Workspace::find().and_then(|workspace| steps::run_all(&workspace, &selected)))
        }
        Ok(Request::Simulate(name, options)) => {
            finish(Workspace::find().and_then(|workspace| simulate::run(&workspace, name, &options)))
        }
        Ok(Request::Fuzz(plan)) => finish(Workspace::find().and_then(|workspace| fuzz::run(&workspace, &plan))),
        Ok(Request::Go) => finish(Workspace::find().and_then(|workspace| go::build(&workspace))),
        Ok(Request::Dist(twice)) => finish(Workspace::find().and_then(|workspace| dist::run(&workspace, twice))),
        Ok(Request::Deb(program)) => finish(Workspace::find().and_then(|workspace| deb::run(&workspace, program))),
        Ok(Request::Install(prefix)) => {
            finish(Workspace::find().and_then(|workspace| install::run(&workspace, &prefix)))
        }
        Ok(Request::Mutants(plan)) => finish(Workspace::find().and_then(|workspace| mutants::run(&workspace, &plan))),
        Ok(Request::Wan(arguments)) => finish(Workspace::find().and_then(|workspace| wan::run(&workspace, &arguments))),
        Err(message) => {
            eprintln!("xtask: {message}\n\n{}", help());
            ExitCode::from(2)
        }
    }
}

fn finish(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq)]
enum Request {
    Help,
    Test(Vec<Step>),
    /// A command of the simulator, with its options.
    Simulate(&'static str, Vec<String>),
    Fuzz(fuzz::Plan),
    Mutants(mutants::Plan),
    /// Make the module that the Go module embeds.
    Go,
    /// Make the archive of a release, and again to compare where this is true.
    Dist(bool),
    /// Make a Debian package, of this program where one is named.
    Deb(Option<std::path::PathBuf>),
    /// Below which folder.
    Install(std::path::PathBuf),
    /// With what goes on to the program.
    Wan(Vec<String>),
}

fn parse(arguments: &[String]) -> Result<Request, String> {
    let mut words = arguments.iter().map(String::as_str);
    match words.next() {
        None | Some("help" | "--help" | "-h") => return Ok(Request::Help),
        Some("test") => {}
        Some("fuzz") => return fuzz::parse(words).map(Request::Fuzz),
        Some("mutants") => return mutants::parse(&workspace::root()?, words).map(Request::Mutants),
        Some("go") if words.clone().next().is_none() => return Ok(Request::Go),
        Some("dist") => return dist::parse(words).map(Request::Dist),
        Some("deb") => return deb::parse(words).map(Request::Deb),
        Some("install") => return install::parse(words).map(Request::Install),
        Some("wan") => return Ok(Request::Wan(words.map(str::to_owned).collect())),
        Some(other) => {
            let Some(name) = simulate::COMMANDS.into_iter().find(|name| *name == other) else {
                return Err(format!("there is no command `{other}`"));
            };
            return Ok(Request::Simulate(name, words.map(str::to_owned).collect()));
        }
    }
    let mut selected = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "--help" | "-h" => return Ok(Request::Help),
            "--only" => {
                let name = words.next().ok_or("`--only` needs the name of a step after it")?;
                selected.push(Step::named(name).ok_or_else(|| format!("there is no step `{name}`"))?);
            }
            other => return Err(format!("`test` has no option `{other}`")),
        }
    }
    if selected.is_empty() {
        selected.extend(Step::ALL);
    }
    Ok(Request::Test(selected))
}

fn help() -> String {
    let mut text = String::from(
        "Usage: cargo xtask test [--only STEP]...\n\n\
         Runs the steps below in this order and stops at the first that fails. What a step needs\n\
         and the machine lacks is installed, or named with the way to get it.\n\nSteps:\n",
    );
    for step in Step::ALL {
        text.push_str(&format!("  {:<11} {}\n", step.name(), step.purpose()));
    }
    text.push_str(
        "\n       cargo xtask fuzz [--seconds N] [TARGET]\n\n\
         Runs every fuzz target, or one, for N seconds (60).\n\
         \n       cargo xtask mutants [--continue] [FILE]...\n\n\
         Changes the code of verification, accounts, machine and hand-over, or these files or folders of it,\n\
         and sees whether the tests notice. Takes hours; with --continue it tries what an earlier run did not catch.\n\
         \n       cargo xtask wan SCENARIO [OPTION]...\n\n\
         Runs the command over an emulated wide area network; needs root. `cargo xtask wan --help` lists\n\
         the scenarios.\n\n\
         \x20      cargo xtask soak [--seeds N] [--from S] | soak --seed S | soak --golden\n\n\
         Plays random worlds in the simulator until a law is broken, or one of them line for line; or those\n\
         whose traces are known, and compares.\n\n\
         \x20      cargo xtask trace [--seed S]\n\n\
         Prints the known traces anew, or the one of any world.\n\n\
         \x20      cargo xtask scale [--only ROW]\n\n\
         Measures how a sync grows with the gap, the epochs and the peers.\n\n\
         \x20      cargo xtask go\n\n\
         Makes the WebAssembly module that the Go module embeds anew, to be committed.\n\n\
         \x20      cargo xtask install --prefix DIR\n\n\
         Builds libhs2sync for C and installs it: headers, libraries, pkg-config, CMake.\n\n\
         \x20      cargo xtask dist [--twice]\n\n\
         Makes the archive of a release for C, C++ and Go below target/dist; with --twice from two builds, which must\n\
         have equal bytes.\n\n\
         \x20      cargo xtask deb [--program FILE]\n\n\
         Makes a Debian package of hs2-sync below target/deb, of a release build or of the program FILE.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn test_without_options_runs_every_step() {
        assert_eq!(parse(&words("test")), Ok(Request::Test(Step::ALL.to_vec())));
    }

    #[test]
    fn only_selects_in_the_order_given() {
        assert_eq!(parse(&words("test --only clippy --only fmt")), Ok(Request::Test(vec![Step::Clippy, Step::Format])));
    }

    #[test]
    fn a_misspelt_step_is_refused_and_not_skipped() {
        assert!(parse(&words("test --only clipy")).is_err());
        assert!(parse(&words("test --only")).is_err());
        assert!(parse(&words("test clippy")).is_err());
        assert!(parse(&words("tests")).is_err());
    }

    #[test]
    fn the_simulator_gets_its_options() {
        let request = Request::Simulate("soak", words("--seed 7"));
        assert_eq!(parse(&words("soak --seed 7")), Ok(request));
    }

    #[test]
    fn help_lists_every_step() {
        let text = help();
        for step in Step::ALL {
            assert!(text.contains(step.name()), "{} is missing", step.name());
        }
    }
}
