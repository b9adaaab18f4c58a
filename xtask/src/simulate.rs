//! `cargo xtask soak`, `cargo xtask scale` and `cargo xtask trace`: the simulator, built for speed.

use crate::command;
use crate::workspace::Workspace;

/// Commands of the simulator that can be run from here.
pub(crate) const COMMANDS: [&str; 3] = ["soak", "scale", "trace"];

/// Builds the simulator and runs one of its commands with `options`.
pub(crate) fn run(workspace: &Workspace, name: &str, options: &[String]) -> Result<(), String> {
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "hotstuff2-sync-testkit", "--bin", "hs2-sim", "--", name]);
    command::run(cargo.args(options))
}
