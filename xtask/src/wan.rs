//! `cargo xtask wan`: builds the command and the emulated wide area network, and runs one of its scenarios.

use std::process::Command;

use crate::command;
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), String> {
    let package = ["--release", "--package", "hotstuff2-sync-tokio"];
    command::run(workspace.cargo().arg("build").args(package).args(["--bin", "hs2-sync", "--example", "wan"]))?;
    let release = workspace.target.join("release");
    let mut wan = Command::new(release.join("examples/wan"));
    wan.args(arguments);
    // Only a scenario takes a program.
    if arguments.iter().any(|word| !word.starts_with('-')) {
        wan.arg("--program").arg(release.join("hs2-sync"));
    }
    command::run(&mut wan)
}
