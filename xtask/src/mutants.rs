//! `cargo xtask mutants`: changes the verification and accounting code in small ways, one at a time, and sees whether the
//! core's own tests notice. What they can't notice is listed with a reason in `.cargo/mutants.toml`.

use std::process::Command;

use crate::command;
use crate::workspace::Workspace;

/// What is mutated, under `core/src`.
const FILES: [&str; 19] = [
    "chain/native/signature.rs",
    "chain/native/certificate.rs",
    "chain/native/validators.rs",
    "chain/native/finality.rs",
    "chain/native/rules.rs",
    "chain/native/segment.rs",
    "chain/native/handover.rs",
    "chain/native/epoch.rs",
    "chain/native/vote.rs",
    "state/subtree.rs",
    "state/pruned.rs",
    "state/leaves.rs",
    "state/proof.rs",
    "state/answer.rs",
    "state/validation.rs",
    "verify/job.rs",
    "verify/verdict.rs",
    "budget.rs",
    "requests.rs",
];

/// Runs cargo-mutants over all of [`FILES`], or those that `only` names the end of. Hours, for all of them.
pub(crate) fn run(workspace: &Workspace, only: &[String]) -> Result<(), String> {
    let tools = workspace.target.join("tools");
    let program = tools.join("bin/cargo-mutants");
    if !command::succeeds(Command::new(&program).args(["mutants", "--version"])) {
        println!("cargo-mutants is missing: cargo installs it into {}", tools.display());
        command::run(workspace.cargo().args(["install", "cargo-mutants", "--locked", "--root"]).arg(&tools))?;
    }
    let chosen = |file: &&&str| only.is_empty() || only.iter().any(|name| file.ends_with(name.as_str()));
    let files: Vec<String> = FILES.iter().filter(chosen).map(|file| format!("core/src/{file}")).collect();
    if files.is_empty() {
        return Err(format!("none of the mutated files ends with {}: {}", only.join(", "), FILES.join(", ")));
    }
    let mut mutants = Command::new(&program);
    mutants
        .current_dir(&workspace.root)
        // Tests take less time than building them does.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .args(["mutants", "--package", "hotstuff2-sync", "--no-shuffle", "-j1", "--timeout", "60", "--output"])
        .arg(&workspace.target);
    for file in &files {
        mutants.args(["--file", file]);
    }
    command::run(mutants.args(["--", "--lib"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mutated_exists() {
        let root = crate::workspace::root().unwrap();
        for file in FILES {
            assert!(root.join("core/src").join(file).is_file(), "{file}");
        }
    }
}
