//! Gives the program its version with the commit that it was built from. Only an optimized build asks for that: others
//! would be built again after each commit.

use std::env;
use std::fs;
use std::process::Command;

/// Digits of a commit that tell it from all others.
const DIGITS: usize = 12;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let built = if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        packaged().or_else(checked_out).unwrap_or_else(|| "unknown commit".to_owned())
    } else {
        "not optimized".to_owned()
    };
    println!("cargo:rustc-env=HS2_VERSION={version} ({built})");
}

/// The commit that cargo wrote into a package.
fn packaged() -> Option<String> {
    let text = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = text.split_once("\"sha1\":")?;
    rest.split('"').nth(1)?.get(..DIGITS).map(str::to_owned)
}

/// The commit of a checkout, and whether files differ from it.
fn checked_out() -> Option<String> {
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo:rerun-if-changed={}", log.trim());
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let mark = if changed.trim().is_empty() { "" } else { ", changed" };
    Some(format!("{}{mark}", commit.trim().get(..DIGITS)?))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}
