//! `cargo xtask dist`: the archive of a release for hosts in C, C++ and Go: headers, both libraries, what pkg-config and
//! CMake read, the Go module with its WebAssembly module, and the licences of everything in it. Two builds have equal bytes;
//! `--twice` makes both and compares.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::Files;
use crate::workspace::{self, Workspace};
use crate::{command, go, tar};

const PACKAGE: &str = "hotstuff2-sync-c";

/// Whether to build twice.
pub(crate) fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<bool, String> {
    match (words.next(), words.next()) {
        (None, _) => Ok(false),
        (Some("--twice"), None) => Ok(true),
        _ => Err("`dist` takes `--twice` or nothing".to_owned()),
    }
}

/// Makes the archive.
pub(crate) fn run(workspace: &Workspace, twice: bool) -> Result<(), String> {
    go::check_module(workspace)?;
    let first = archive(workspace, "once")?;
    if twice {
        let second = archive(workspace, "twice")?;
        let differs = differing(&first.below, &second.below)?;
        if !differs.is_empty() || first.bytes != second.bytes {
            return Err(format!("two builds differ in: {}", differs.join(", ")));
        }
        println!("two builds, equal bytes");
    }
    let place = workspace.target.join("dist").join(format!("{}.tar", name(workspace)));
    fs::write(&place, &first.bytes).map_err(|error| format!("{}: {error}", place.display()))?;
    // Without its name and time.
    command::run(Command::new("gzip").args(["--best", "--no-name", "--force"]).arg(&place))?;
    let size = fs::metadata(place.with_extension("tar.gz")).map_or(0, |metadata| metadata.len());
    println!("{}.gz: {size} bytes", place.display());
    Ok(())
}

fn name(workspace: &Workspace) -> String {
    format!("hs2sync-{}-{}", env!("CARGO_PKG_VERSION"), workspace.host)
}

struct Archive {
    /// The folder that it was made of.
    below: PathBuf,
    bytes: Vec<u8>,
}

/// Builds everything in a folder of its own, named after the `round`.
fn archive(workspace: &Workspace, round: &str) -> Result<Archive, String> {
    let room = workspace.target.join("dist").join(round);
    let target = room.join("build");
    command::run(
        workspace
            .cargo()
            .env("CARGO_ENCODED_RUSTFLAGS", remapped(workspace, &target).join("\x1f"))
            .env("CARGO_INCREMENTAL", "0")
            .args(["build", "--release", "--package", PACKAGE, "--target-dir"])
            .arg(&target),
    )?;
    let below = room.join(name(workspace));
    if below.exists() {
        fs::remove_dir_all(&below).map_err(|error| format!("{}: {error}", below.display()))?;
    }
    // pkg-config finds the folder by its own file's place.
    let prefix = "${pcfiledir}/../..".to_owned();
    let files = Files { prefix: below.clone(), named: prefix, root: workspace.root.clone() };
    files.install(&target.join("release"))?;
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        files.copy(&workspace.root.join(licence), licence)?;
    }
    let others = others(workspace, PACKAGE, "libhs2sync")?;
    let place = below.join("THIRD-PARTY.txt");
    fs::write(&place, others).map_err(|error| format!("{}: {error}", place.display()))?;
    let module =
        command::output(Command::new("git").args(["ls-files", "-z", "bindings-c/go"]).current_dir(&workspace.root))?;
    for file in module.split('\0').filter(|file| !file.is_empty()) {
        let inside = file.strip_prefix("bindings-c/").unwrap_or(file);
        files.copy(&workspace.root.join(file), inside)?;
    }
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        files.copy(&workspace.root.join(licence), &format!("go/{licence}"))?;
    }
    Ok(Archive { bytes: tar::of(&below)?, below })
}

/// Flags by which no path of this machine gets into what is built.
fn remapped(workspace: &Workspace, target: &Path) -> Vec<String> {
    let places = [
        (Some(workspace.root.clone()), "/hotstuff2-sync"),
        (workspace::cargo_home().ok(), "/cargo"),
        (Some(target.to_owned()), "/target"),
    ];
    // Of two that fit, the compiler takes the one that was named last: the target folder may be in the checkout.
    let known = places.into_iter().filter_map(|(place, name)| Some((place?, name)));
    known.map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display())).collect()
}

/// Files that are not the same in both folders, by their names.
fn differing(one: &Path, other: &Path) -> Result<Vec<String>, String> {
    let listed = |folder: &Path| {
        let said = command::output(Command::new("find").args([".", "!", "-type", "d"]).current_dir(folder))?;
        Ok::<BTreeSet<String>, String>(said.lines().map(str::to_owned).collect())
    };
    let all: BTreeSet<String> = listed(one)?.union(&listed(other)?).cloned().collect();
    let differs = |name: &String| fs::read(one.join(name)).ok() != fs::read(other.join(name)).ok();
    Ok(all.into_iter().filter(differs).collect())
}

/// The licences of the packages that `package` is linked from, which is called `name` in the text.
pub(crate) fn others(workspace: &Workspace, package: &str, name: &str) -> Result<String, String> {
    let tree = command::output(workspace.cargo().args([
        "tree",
        "--package",
        package,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}\t{l}",
        "--target",
        &workspace.host,
    ]))?;
    let metadata = command::output(workspace.cargo().args(["metadata", "--format-version", "1"]))?;
    let mut text = format!("{name} is linked from these packages. Their licences:\n");
    // Packages that were listed before end with ` (*)`.
    let lines = tree.lines().map(|line| line.trim_end_matches(" (*)"));
    let packages: BTreeSet<(&str, &str)> = lines.filter_map(|line| line.split_once('\t')).collect();
    for (package, licence) in packages {
        // `name v1.2.3`, and behind it where a package of this workspace is.
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        if words.any(|word| word.starts_with("(/")) {
            continue;
        }
        let version = version.trim_start_matches('v');
        let _ = write!(text, "\n==== {name} {version}: {licence} ====\n");
        text.push_str(&licences(&folder_of(&metadata, name, version)?)?);
    }
    Ok(text)
}

/// The folder of a package, out of what `cargo metadata` says.
fn folder_of(metadata: &str, name: &str, version: &str) -> Result<PathBuf, String> {
    let manifest = format!("/{name}-{version}/Cargo.toml\"");
    let missing = || format!("`cargo metadata` does not say where {name} {version} is");
    let end = metadata.find(&manifest).ok_or_else(missing)? + manifest.len() - "/Cargo.toml\"".len();
    let start = metadata.get(..end).and_then(|before| before.rfind('"')).ok_or_else(missing)? + 1;
    metadata.get(start..end).map(PathBuf::from).ok_or_else(missing)
}

/// The texts of the licences in a package's folder, in order of their names.
fn licences(folder: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        if path.is_file()
            && ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"].iter().any(|word| name.starts_with(word))
        {
            files.push(path);
        }
    }
    files.sort();
    let mut text = String::new();
    for file in files {
        let content = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let _ = write!(text, "\n{}\n", content.trim_end());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dist_takes_one_option() {
        assert_eq!((parse([].into_iter()), parse(["--twice"].into_iter())), (Ok(false), Ok(true)));
        assert!(parse(["--thrice"].into_iter()).is_err() && parse(["--twice", "x"].into_iter()).is_err());
    }

    #[test]
    fn packages_are_found_in_metadata_by_name_and_version() {
        let metadata = r#"{"manifest_path":"/r/ab-1.0.0/Cargo.toml"},{"manifest_path":"/r/b-1.0.0/Cargo.toml"}"#;
        assert_eq!(folder_of(metadata, "b", "1.0.0").unwrap(), Path::new("/r/b-1.0.0"));
        assert!(folder_of(metadata, "b", "1.0.1").is_err());
    }

    #[test]
    fn every_package_in_the_library_has_its_licence() {
        let text = others(&Workspace::find().unwrap(), PACKAGE, "libhs2sync").unwrap();
        let parts: Vec<&str> = text.split("\n==== ").skip(1).collect();
        assert!(parts.len() > 10, "{text}");
        for part in parts {
            let (title, licence) = part.split_once(" ====\n").unwrap();
            assert!(!title.contains("hotstuff2") && licence.len() > 200, "{title} brings no licence text");
        }
    }
}
