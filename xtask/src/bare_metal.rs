//! The full proof that the core needs no operating system: it is compiled, code and all, for a
//! Cortex-M4F. rustup's own target is taken where it is there or can be had. Where it can't (a
//! machine that reaches only package registries), Debian's compiler with the sources of `core` and
//! `alloc` does the same; it is a toolchain of its own beside rustup's, and used for nothing else.

use std::path::Path;
use std::process::Command;

use crate::command;
use crate::no_std::UNOPTIMIZED;
use crate::tools::rustup;
use crate::workspace::Workspace;

/// No operating system, no `std`, 32-bit pointers, no 64-bit atomics.
const TARGET: &str = "thumbv7em-none-eabihf";

const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/share/cargo/bin/cargo";

/// Builds the core for [`TARGET`].
pub(crate) fn build(workspace: &Workspace) -> Result<(), String> {
    let rustup_failure = match rustup_target(workspace, TARGET) {
        Ok(()) => return command::run(workspace.cargo().args(BUILD).args(UNOPTIMIZED)),
        Err(reason) => reason,
    };
    println!("rustup's {TARGET} can't be had ({rustup_failure}): trying Debian's compiler");
    debian_toolchain(TARGET, &rustup_failure)?;
    println!("taking Debian's compiler, which builds `core` and `alloc` from source");
    command::run(
        debian_cargo()
            .current_dir(&workspace.root)
            .args(BUILD)
            .args(UNOPTIMIZED)
            .arg("-Zbuild-std=core,alloc")
            .arg("--target-dir")
            .arg(workspace.target.join("bare-metal-debian")),
    )
}

const BUILD: [&str; 6] = ["build", "--package", "hotstuff2-sync", "--no-default-features", "--target", TARGET];

/// Makes sure that the toolchain in use has `target`, through rustup if need be.
pub(crate) fn rustup_target(workspace: &Workspace, target: &str) -> Result<(), String> {
    if workspace.libraries(target).is_dir() {
        println!("taking rustup's {target}, which is installed");
        return Ok(());
    }
    println!("{target} is missing from this toolchain: asking rustup for it");
    command::run(rustup(workspace).args(["target", "add", target]))?;
    if workspace.libraries(target).is_dir() {
        println!("taking rustup's {target}, installed now");
        Ok(())
    } else {
        Err("rustup added it to a toolchain other than the one in use".to_owned())
    }
}

/// Makes sure that Debian's compiler and its library sources are there, through apt if need be: what builds for `target`
/// where rustup's own can't be had.
pub(crate) fn debian_toolchain(target: &str, rustup_failure: &str) -> Result<(), String> {
    let packages = DEBIAN_PACKAGES.join(" ");
    install_debian().map_err(|debian_failure| {
        format!(
            "there is no compiler for {target} here. Either run `rustup target add {target}` on a \
             machine that reaches rustup's servers ({rustup_failure}), or, on Debian, run \
             `apt-get install --no-install-recommends {packages}` as root ({debian_failure})"
        )
    })
}

fn install_debian() -> Result<(), String> {
    if debian_ready() {
        return Ok(());
    }
    if !command::succeeds(Command::new("apt-get").arg("--version")) {
        return Err("this machine has no `apt-get`".to_owned());
    }
    if command::output(Command::new("id").arg("-u"))?.trim() != "0" {
        return Err("installing packages needs root".to_owned());
    }
    command::run(apt().arg("update"))?;
    command::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(DEBIAN_PACKAGES))?;
    if debian_ready() {
        Ok(())
    } else {
        Err(format!(
            "the packages are installed, but {DEBIAN_RUSTC} or {DEBIAN_CARGO} is not there or its library sources are missing"
        ))
    }
}

fn debian_ready() -> bool {
    let Ok(sysroot) = command::output(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"])) else {
        return false;
    };
    let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml");
    sources.is_file() && command::succeeds(debian_cargo().arg("--version"))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Debian's cargo with Debian's compiler, and nothing of rustup's in its environment.
pub(crate) fn debian_cargo() -> Command {
    let mut command = Command::new(DEBIAN_CARGO);
    for (name, _) in command::cargo().get_envs() {
        command.env_remove(name);
    }
    for name in ["CARGO", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    for name in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTDOC"] {
        command.env_remove(name);
    }
    command
        .env("RUSTC", DEBIAN_RUSTC)
        // Building the library sources is not a stable feature of cargo yet.
        .env("RUSTC_BOOTSTRAP", "1");
    command
}
