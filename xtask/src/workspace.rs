//! Where things are: the checkout, the target directory, and the compiler in use.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;

/// The facts about checkout and toolchain that several steps need.
pub(crate) struct Workspace {
    /// The checkout's top folder.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, wherever the environment or a config file puts it.
    pub(crate) target: PathBuf,
    /// The toolchain's own folder, which holds `lib/rustlib`.
    pub(crate) sysroot: PathBuf,
    /// The triple that the compiler runs on.
    pub(crate) host: String,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self, String> {
        let root = root()?;
        let metadata = command::output(
            command::cargo().args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(&root),
        )?;
        let target = json_string(&metadata, "target_directory").ok_or("`cargo metadata` named no target directory")?;
        let sysroot = command::output(rustc().args(["--print", "sysroot"]).current_dir(&root))?;
        let version = command::output(rustc().arg("-vV").current_dir(&root))?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("`rustc -vV` named no host")?;
        Ok(Self { root, target: PathBuf::from(target), sysroot: PathBuf::from(sysroot.trim()), host: host.to_owned() })
    }

    /// Cargo, in the checkout.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = command::cargo();
        command.current_dir(&self.root);
        command
    }

    /// The folder in which the toolchain keeps the libraries of `triple`.
    pub(crate) fn libraries(&self, triple: &str) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(triple).join("lib")
    }
}

/// The compiler that cargo would use.
pub(crate) fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// The folder in which cargo keeps registries: `CARGO_HOME`, or `.cargo` in the user's own.
pub(crate) fn cargo_home() -> Result<PathBuf, String> {
    match (std::env::var_os("CARGO_HOME"), std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"))) {
        (Some(home), _) => Ok(home.into()),
        (None, Some(user)) => Ok(Path::new(&user).join(".cargo")),
        (None, None) => Err("neither CARGO_HOME nor HOME is set: cargo's folder is not known".to_owned()),
    }
}

/// The checkout's top folder. Cargo says at run time where this package is; the path compiled in
/// would be wrong where several checkouts share one target directory.
pub(crate) fn root() -> Result<PathBuf, String> {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set: start this with `cargo xtask`")?;
    Path::new(&package)
        .parent()
        .map(Path::to_path_buf)
        .ok_or_else(|| "the xtask package has no folder above it".to_owned())
}

/// The value of the first `"key":"value"` in `json`, whose only escape is the backslash of paths.
fn json_string(json: &str, key: &str) -> Option<String> {
    let start = json.find(&format!("\"{key}\":\""))? + key.len() + 4;
    let mut value = String::new();
    let mut characters = json.get(start..)?.chars();
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => value.push(characters.next()?),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_string_reads_paths() {
        let json = r#"{"version":1,"target_directory":"C:\\work\\target","x":""}"#;
        assert_eq!(json_string(json, "target_directory").as_deref(), Some(r"C:\work\target"));
        assert_eq!(json_string(json, "x").as_deref(), Some(""));
        assert_eq!(json_string(json, "absent"), None);
    }
}
