//! `cargo xtask install --prefix DIR`: builds `libhs2sync` and puts it where C compilers look: headers, both libraries, and
//! what pkg-config and CMake read.

use std::path::{Path, PathBuf};

use crate::command;
use crate::workspace::Workspace;

/// The word after `--prefix`.
pub(crate) fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<PathBuf, String> {
    match (words.next(), words.next(), words.next()) {
        (Some("--prefix"), Some(prefix), None) => Ok(prefix.into()),
        _ => Err("`install` needs `--prefix DIR` and nothing else".to_owned()),
    }
}

/// Builds the library and installs it below `prefix`.
pub(crate) fn run(workspace: &Workspace, prefix: &Path) -> Result<(), String> {
    command::run(workspace.cargo().args(["build", "--release", "--package", "hotstuff2-sync-c"]))?;
    let built = workspace.target.join("release");
    let absolute = std::path::absolute(prefix).map_err(|error| format!("{}: {error}", prefix.display()))?;
    let named = absolute.display().to_string();
    let files = Files { prefix: absolute, named, root: workspace.root.clone() };
    files.install(&built)?;
    println!("installed libhs2sync {} below {}", env!("CARGO_PKG_VERSION"), files.prefix.display());
    Ok(())
}

/// Where files go.
pub(crate) struct Files {
    pub(crate) prefix: PathBuf,
    /// The folder as pkg-config's file names it.
    pub(crate) named: String,
    pub(crate) root: PathBuf,
}

impl Files {
    /// Puts headers, libraries, and what finds them there.
    pub(crate) fn install(&self, built: &Path) -> Result<(), String> {
        let version = env!("CARGO_PKG_VERSION");
        let soversion = soversion(version);
        for header in ["hs2sync.h", "hs2sync.hpp"] {
            self.copy(&self.root.join("include").join(header), &format!("include/{header}"))?;
        }
        self.copy(&built.join("libhs2sync.a"), "lib/libhs2sync.a")?;
        let real = format!("libhs2sync.so.{version}");
        self.copy(&built.join("libhs2sync.so"), &format!("lib/{real}"))?;
        self.link(&real, &format!("lib/libhs2sync.so.{soversion}"))?;
        self.link(&real, "lib/libhs2sync.so")?;
        for (template, place) in [
            ("hs2sync.pc", "lib/pkgconfig/hs2sync.pc"),
            ("hs2sync-config.cmake", "lib/cmake/hs2sync/hs2sync-config.cmake"),
            ("hs2sync-config-version.cmake", "lib/cmake/hs2sync/hs2sync-config-version.cmake"),
        ] {
            let path = self.root.join(format!("bindings-c/install/{template}.in"));
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let text =
                text.replace("@PREFIX@", &self.named).replace("@SOVERSION@", &soversion).replace("@VERSION@", version);
            let place = self.place(place)?;
            std::fs::write(&place, text).map_err(|error| format!("{}: {error}", place.display()))?;
        }
        Ok(())
    }

    /// Where a file goes; its folder is there.
    fn place(&self, name: &str) -> Result<PathBuf, String> {
        let place = self.prefix.join(name);
        let folder = place.parent().unwrap_or(&self.prefix);
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(place)
    }

    /// Copies a file to a name below the folder.
    pub(crate) fn copy(&self, from: &Path, name: &str) -> Result<(), String> {
        let place = self.place(name)?;
        // A program may have the old file mapped: it keeps that, under no name.
        let _ = std::fs::remove_file(&place);
        std::fs::copy(from, &place).map_err(|error| format!("{} to {}: {error}", from.display(), place.display()))?;
        Ok(())
    }

    #[cfg(unix)]
    fn link(&self, to: &str, name: &str) -> Result<(), String> {
        let place = self.place(name)?;
        let _ = std::fs::remove_file(&place);
        std::os::unix::fs::symlink(to, &place).map_err(|error| format!("{}: {error}", place.display()))
    }

    #[cfg(not(unix))]
    fn link(&self, to: &str, name: &str) -> Result<(), String> {
        self.copy(&self.prefix.join("lib").join(to), name)
    }
}

/// The version in the library's soname: before 1.0 a minor version may break.
fn soversion(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_compilers_look_for_is_installed() {
        let root = crate::workspace::root().unwrap();
        let folder = std::env::temp_dir().join(format!("hs2sync-install-{}", std::process::id()));
        let (built, prefix) = (folder.join("built"), folder.join("prefix"));
        std::fs::create_dir_all(&built).unwrap();
        for library in ["libhs2sync.a", "libhs2sync.so"] {
            std::fs::write(built.join(library), library).unwrap();
        }
        let files = Files { prefix: prefix.clone(), named: prefix.display().to_string(), root };
        // A second time over the first.
        files.install(&built).and_then(|()| files.install(&built)).unwrap();
        let read = |name: &str| std::fs::read_to_string(prefix.join(name)).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        for library in [format!("lib/libhs2sync.so.{}", soversion(version)), "lib/libhs2sync.so".to_owned()] {
            assert_eq!(read(&library), "libhs2sync.so");
        }
        assert!(read("include/hs2sync.h").contains("HS2_ABI"));
        assert!(read("lib/pkgconfig/hs2sync.pc").contains(&format!("prefix={}", prefix.display())));
        for file in ["hs2sync.pc", "hs2sync-config.cmake", "hs2sync-config-version.cmake"] {
            let place = if file.ends_with(".pc") { "lib/pkgconfig" } else { "lib/cmake/hs2sync" };
            let text = read(&format!("{place}/{file}"));
            assert!(text.contains(version) && !text.contains('@'), "{text}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn install_asks_for_a_prefix() {
        assert_eq!(parse("--prefix /opt/x".split(' ')), Ok(PathBuf::from("/opt/x")));
        for wrong in ["", "--prefix", "/opt/x", "--prefix a b"] {
            assert!(parse(wrong.split_whitespace()).is_err(), "{wrong}");
        }
        assert_eq!(soversion("0.1.0"), "0.1");
    }
}
