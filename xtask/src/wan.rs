//! `cargo xtask wan`: builds the command and the emulated wide area network, and runs one of its scenarios; and their
//! short forms, a step of `cargo xtask test`.

use std::process::Command;
use std::time::Instant;

use crate::command;
use crate::workspace::Workspace;

/// Scenarios that hold on any machine, also on one that is busy: lines so slow that no processor is the bottleneck,
/// and so lossy that a plain download soon is where its congestion control keeps it.
const SHORT: [&str; 4] = [
    "paced --mbit 10 --loss-ppm 5000 --blocks 30000 --rounds 3",
    "capped --limits 20 --seconds 12",
    "liars --peers 25 --blocks 8000",
    "vanish --away 12 --blocks 60000",
];

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), String> {
    let package = ["--release", "--package", "hs2-sync"];
    command::run(workspace.cargo().arg("build").args(package).args(["--bin", "hs2-sync", "--example", "wan"]))?;
    // Only a scenario takes a program.
    let scenario = arguments.iter().any(|word| !word.starts_with('-'));
    command::run(&mut wan(workspace, "release", arguments.iter().map(String::as_str), scenario))
}

/// Runs the short forms with what the tests are built with. Where there is no root or no TUN, says so instead.
pub(crate) fn check(workspace: &Workspace) -> Result<(), String> {
    // As the tests are, so that nothing is built twice.
    let build =
        ["build", "--workspace", "--exclude", "xtask", "--all-features", "--bin", "hs2-sync", "--example", "wan"];
    command::run(workspace.cargo().args(build))?;
    if let Err(reason) = command::output(&mut wan(workspace, "debug", ["check"], false)) {
        println!("skipped: this machine has no emulated network: {reason}");
        return Ok(());
    }
    for line in SHORT {
        let begin = Instant::now();
        command::run(&mut wan(workspace, "debug", line.split(' '), true))?;
        println!("   {:.1} s", begin.elapsed().as_secs_f64());
    }
    Ok(())
}

fn wan<'a>(
    workspace: &Workspace,
    profile: &str,
    arguments: impl IntoIterator<Item = &'a str>,
    scenario: bool,
) -> Command {
    let built = workspace.target.join(profile);
    let mut wan = Command::new(built.join("examples/wan"));
    wan.args(arguments);
    if scenario {
        wan.arg("--program").arg(built.join("hs2-sync"));
    }
    wan
}
