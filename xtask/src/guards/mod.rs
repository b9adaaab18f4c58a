//! Rules of this repository that the compiler can't see, kept true by tests. Each guard is a function from text to
//! complaints, so that it is tried on samples that break its rule, and a `#[test]` that runs it on this checkout.

mod core_rules;
mod dependencies;
mod files;
mod layers;
mod manifests;
mod packages;
mod rooms;
mod tokens;
mod traits;
mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;

/// This checkout's top folder.
fn root() -> PathBuf {
    crate::workspace::root().unwrap()
}

/// The text of a file that must be there.
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of the project, relative to its top folder: what git tracks, so that a chain generated
/// into the checkout is none of it. An unpacked archive has no git, and then every file counts.
fn project_files() -> Vec<PathBuf> {
    let root = root();
    let listed = crate::command::output(Command::new("git").args(["ls-files", "-z"]).current_dir(&root));
    let mut files: Vec<PathBuf> = match listed {
        Ok(names) => names
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .filter(|path| root.join(path).is_file())
            .collect(),
        Err(_) => walk(&root, Path::new("")),
    };
    files.sort();
    assert!(files.contains(&PathBuf::from("Cargo.toml")), "found no files in {}", root.display());
    files
}

fn walk(root: &Path, folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        if path == Path::new("target") || path == Path::new(".git") {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            files.extend(walk(root, &path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Fails with all complaints at once, one a line.
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
