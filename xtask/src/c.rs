//! The C interface with everything that checks it: gcc, clang and valgrind, installed through apt where that can be, else
//! named with the way to get them.

use std::process::Command;

use crate::command;
use crate::workspace::Workspace;

/// Programs that the tests use, which are also the names of their Debian packages.
const PROGRAMS: [&str; 4] = ["gcc", "g++", "clang", "valgrind"];

/// Runs the tests of the C interface, none of them left out.
pub(crate) fn check(workspace: &Workspace) -> Result<(), String> {
    ensure(&PROGRAMS)?;
    command::run(workspace.cargo().args(["test", "--package", "hotstuff2-sync-c", "--no-fail-fast"]))
}

/// Makes sure that these programs are there, through apt, where each is in the package of its name, if need be.
pub(crate) fn ensure(programs: &[&'static str]) -> Result<(), String> {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| !there(program)).collect();
    if !missing.is_empty() {
        println!("{} missing: asking apt", missing.join(", "));
        let install = install(&missing);
        if let Some(program) = missing.iter().find(|program| !there(program)) {
            let reason = install.err().unwrap_or_else(|| "the packages are installed".to_owned());
            return Err(format!(
                "`{program}` is missing ({reason}): install {} with your system's package manager, on Debian \
                 `apt-get install {}` as root",
                missing.join(", "),
                missing.join(" ")
            ));
        }
    }
    Ok(())
}

fn there(program: &str) -> bool {
    command::succeeds(Command::new(program).arg("--version"))
}

fn install(packages: &[&str]) -> Result<(), String> {
    if command::output(Command::new("id").arg("-u"))?.trim() != "0" {
        return Err("installing packages needs root".to_owned());
    }
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    command::run(apt().arg("update"))?;
    command::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))
}
