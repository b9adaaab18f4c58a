//! The quick proof that the core needs no `std`: it is checked against a sysroot that holds only
//! `core`, `alloc` and `compiler_builtins`. A `std::` in the core, or a dependency whose `std`
//! feature slipped in, fails to resolve. Before that the sysroot itself is put to the test, since
//! a gate that lets everything pass looks the same as one that finds nothing.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::command;
use crate::workspace::{self, Workspace};

/// Libraries that a `no_std` crate with a heap may link.
const LIBRARIES: [&str; 3] = ["libcore-", "liballoc-", "libcompiler_builtins-"];

/// Leaves dependencies and procedural macros unoptimized: nobody runs what the gates build, and the
/// workspace's optimized dependencies make them minutes longer.
pub(crate) const UNOPTIMIZED: [&str; 2] = ["--config", "profile.dev.package.\"*\".opt-level=0"];

/// Checks the core against the sysroot without `std`.
pub(crate) fn check(workspace: &Workspace) -> Result<(), String> {
    let sysroot = prepare(workspace)?;
    prove(workspace, &sysroot)?;
    command::run(
        workspace
            .cargo()
            .args(["check", "--package", "hotstuff2-sync", "--no-default-features", "--target", &workspace.host])
            .args(UNOPTIMIZED)
            // The form that wins over every other source of flags, and that takes paths with
            // spaces. With `--target` it does not reach build scripts and procedural macros.
            .env("CARGO_ENCODED_RUSTFLAGS", flag(&sysroot)),
    )
}

fn flag(sysroot: &Path) -> String {
    format!("--sysroot={}", sysroot.display())
}

/// Builds the sysroot anew under the target directory and returns its path.
fn prepare(workspace: &Workspace) -> Result<PathBuf, String> {
    let from = workspace.libraries(&workspace.host);
    let sysroot = workspace.target.join("no-std-sysroot");
    let to = sysroot.join("lib/rustlib").join(&workspace.host).join("lib");
    if sysroot.exists() {
        fs::remove_dir_all(&sysroot).map_err(|error| file_error(&sysroot, &error))?;
    }
    fs::create_dir_all(&to).map_err(|error| file_error(&to, &error))?;
    let mut found = [false; LIBRARIES.len()];
    for entry in fs::read_dir(&from).map_err(|error| file_error(&from, &error))? {
        let entry = entry.map_err(|error| file_error(&from, &error))?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        for (prefix, found) in LIBRARIES.iter().zip(&mut found) {
            if text.starts_with(prefix) {
                fs::copy(entry.path(), to.join(&name)).map_err(|error| file_error(&entry.path(), &error))?;
                *found = true;
            }
        }
    }
    for (prefix, found) in LIBRARIES.iter().zip(found) {
        if !found {
            return Err(format!(
                "{} has no {prefix}*: the toolchain is incomplete, `rustup toolchain install` repairs it",
                from.display()
            ));
        }
    }
    Ok(sysroot)
}

/// Shows that the sysroot serves a crate without `std` and refuses one with it.
fn prove(workspace: &Workspace, sysroot: &Path) -> Result<(), String> {
    let good = "#![no_std] extern crate alloc; pub fn f() -> alloc::vec::Vec<u8> { alloc::vec![1] }";
    let bad = "#![no_std] extern crate std; pub fn f() -> std::vec::Vec<u8> { std::vec![1] }";
    let (passed, messages) = compile(workspace, sysroot, good)?;
    if !passed {
        return Err(format!("the sysroot without `std` does not even serve a crate without `std`:\n{messages}"));
    }
    let (passed, messages) = compile(workspace, sysroot, bad)?;
    if passed || !messages.contains("E0463") {
        return Err(format!("the sysroot without `std` does not refuse `std`, so it proves nothing:\n{messages}"));
    }
    Ok(())
}

/// Compiles one line of source against `sysroot`: whether it passed, and what the compiler said.
fn compile(workspace: &Workspace, sysroot: &Path, source: &str) -> Result<(bool, String), String> {
    let start = |error: std::io::Error| format!("can't run rustc: {error}");
    let mut child = workspace::rustc()
        .current_dir(&workspace.root)
        .arg(flag(sysroot))
        .args(["--target", &workspace.host, "--crate-type", "lib"])
        .args(["--crate-name", "probe", "--emit", "metadata", "--out-dir"])
        .arg(sysroot)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(source.as_bytes()).map_err(start)?;
    }
    let output = child.wait_with_output().map_err(start)?;
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.success(), messages))
}

fn file_error(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
