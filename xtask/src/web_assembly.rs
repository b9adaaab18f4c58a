//! Building a package as a WebAssembly module. rustup's own target is taken where it is there or can be had, else Debian's
//! compiler with the sources of the library.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bare_metal::{debian_cargo, debian_toolchain, rustup_target};
use crate::command;
use crate::workspace::Workspace;

const TARGET: &str = "wasm32-unknown-unknown";

/// A package that is built as a module.
pub(crate) struct Package<'a> {
    pub(crate) name: &'a str,
    /// The name of its library.
    pub(crate) library: &'a str,
    pub(crate) profile: &'a str,
    /// Its features in the place of the default ones.
    pub(crate) features: Option<&'a str>,
}

/// Builds a package's module with `flags` for rustc, in the folder `target`, and says where it is.
pub(crate) fn build(
    workspace: &Workspace,
    package: &Package<'_>,
    target: &Path,
    flags: &[String],
) -> Result<PathBuf, String> {
    let Package { name, library, profile, features } = *package;
    // Optimizations across crates are for one crate type alone, which is why it is named here.
    let mut build =
        vec!["rustc", "--lib", "--crate-type", "cdylib", "--profile", profile, "--target", TARGET, "--package", name];
    build.extend(features.into_iter().flat_map(|features| ["--no-default-features", "--features", features]));
    let built = target.join(TARGET).join(profile).join(library).with_extension("wasm");
    // The form that wins over every other source of flags. With `--target` it does not reach build scripts.
    let with_flags = |mut cargo: Command| {
        if !flags.is_empty() {
            cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        }
        cargo
    };
    let rustup_failure = match rustup_target(workspace, TARGET) {
        Ok(()) => {
            command::run(with_flags(workspace.cargo()).args(&build).arg("--target-dir").arg(target))?;
            return Ok(built);
        }
        Err(reason) => reason,
    };
    println!("rustup's {TARGET} can't be had ({rustup_failure}): trying Debian's compiler");
    debian_toolchain(TARGET, &rustup_failure)?;
    println!("taking Debian's compiler, which builds the library from source");
    // Debian's has no linker for WebAssembly of its own; rustup's toolchain brings one.
    let linker = workspace.sysroot.join("lib/rustlib").join(&workspace.host).join("bin/rust-lld");
    command::run(
        with_flags(debian_cargo())
            .current_dir(&workspace.root)
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
            .args(&build)
            .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features="])
            .arg("--target-dir")
            .arg(target),
    )?;
    Ok(built)
}
