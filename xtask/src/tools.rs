//! Tools that a fresh toolchain may lack: rustup's components, installed where rustup can, else named; and commands
//! that cargo installs.

use std::path::PathBuf;
use std::process::Command;

use crate::command;
use crate::workspace::Workspace;

/// A rustup component that a step needs.
#[derive(Clone, Copy)]
pub(crate) enum Component {
    Rustfmt,
    Clippy,
}

impl Component {
    fn name(self) -> &'static str {
        match self {
            Self::Rustfmt => "rustfmt",
            Self::Clippy => "clippy",
        }
    }

    fn subcommand(self) -> &'static str {
        match self {
            Self::Rustfmt => "fmt",
            Self::Clippy => "clippy",
        }
    }

    /// Makes sure that the component is there.
    pub(crate) fn ensure(self, workspace: &Workspace) -> Result<(), String> {
        let present = || command::succeeds(workspace.cargo().args([self.subcommand(), "--version"]));
        if present() {
            return Ok(());
        }
        let name = self.name();
        println!("{name} is missing from this toolchain: asking rustup for it");
        let added = command::run(rustup(workspace).args(["component", "add", name]));
        if present() {
            return Ok(());
        }
        let reason =
            added.err().unwrap_or_else(|| format!("rustup says it is there, but `cargo {}` fails", self.subcommand()));
        Err(format!(
            "{name} is missing ({reason}): run `rustup component add {name}` on a machine that \
             reaches rustup's servers, or install your distribution's {name} for this toolchain"
        ))
    }
}

/// rustup, in the checkout, so that it speaks of the toolchain in use there.
pub(crate) fn rustup(workspace: &Workspace) -> Command {
    let mut command = Command::new("rustup");
    command.current_dir(&workspace.root);
    command
}

/// The program `name` of the crate of that name, which `probe` asks for its version. Where it is missing cargo installs it,
/// into the checkout's target folder, so that nothing else of the machine changes.
pub(crate) fn installed(workspace: &Workspace, name: &str, probe: &[&str]) -> Result<PathBuf, String> {
    let tools = workspace.target.join("tools");
    let program = tools.join("bin").join(name);
    if !command::succeeds(Command::new(&program).args(probe)) {
        println!("{name} is missing: cargo installs it into {}", tools.display());
        command::run(workspace.cargo().args(["install", name, "--locked", "--root"]).arg(&tools))?;
    }
    Ok(program)
}
