//! The top folder holds the documented rooms and nothing else, and no file leads out of the
//! project: what a contributor reads and runs is all here.

use std::path::Path;

/// The folders of the top folder.
const ROOMS: [&str; 14] = [
    ".cargo",
    ".ci",
    ".github",
    "bindings-c",
    "bindings-wasm",
    "cli",
    "core",
    "deploy",
    "docs",
    "fuzz",
    "include",
    "runtime-tokio",
    "tests",
    "xtask",
];

/// The files of the top folder.
const FILES: [&str; 12] = [
    ".gitattributes",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "deny.toml",
    "rustfmt.toml",
];

/// The files without which the project is not what it says it is.
const NEEDED: [&str; 8] = [
    ".ci/run",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
];

/// Beginnings of paths that exist on one machine only, or outside of a checkout. Put together here,
/// so that this file does not name what it forbids.
fn foreign_paths() -> [String; 6] {
    [
        ["..", "shared/"].join("/"),
        [".", "library/"].concat(),
        ["", "work", "shared"].join("/"),
        ["", "work", "main"].join("/"),
        ["", "tmp", "wt", ""].join("/"),
        ["", "root", "."].join("/"),
    ]
}

fn misplaced(path: &Path) -> Option<String> {
    let mut parts = path.iter().filter_map(|part| part.to_str());
    let first = parts.next()?;
    let allowed = if parts.next().is_some() { ROOMS.contains(&first) } else { FILES.contains(&first) };
    (!allowed).then(|| {
        format!(
            "{}: `{first}` is no room of the top folder: move it, or add it to \
             xtask/src/guards/rooms.rs and CONTRIBUTING.md",
            path.display()
        )
    })
}

fn leads_out(path: &Path, text: &str) -> Vec<String> {
    let foreign = foreign_paths();
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let named = foreign.iter().find(|foreign| line.contains(*foreign))?;
            Some(format!("{}:{}: `{named}` lies outside of the project", path.display(), index + 1))
        })
        .collect()
}

#[test]
fn the_top_folder_holds_its_rooms_only() {
    let complaints: Vec<String> = super::project_files().iter().filter_map(|path| misplaced(path)).collect();
    super::assert_none(&complaints);
}

#[test]
fn the_top_folder_holds_what_it_must() {
    let root = super::root();
    let complaints: Vec<String> =
        NEEDED.iter().filter(|name| !root.join(name).is_file()).map(|name| format!("{name} is missing")).collect();
    super::assert_none(&complaints);
}

#[test]
fn no_file_leads_out_of_the_project() {
    let root = super::root();
    let mut complaints = Vec::new();
    for path in super::project_files() {
        // A file that is not UTF-8 is a fixture or an image, and names nothing.
        if let Ok(text) = std::fs::read_to_string(root.join(&path)) {
            complaints.extend(leads_out(&path, &text));
        }
    }
    super::assert_none(&complaints);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_room_and_a_stray_file_are_found() {
        assert!(misplaced(Path::new("scripts/run.sh")).is_some());
        assert!(misplaced(Path::new("notes.txt")).is_some());
        assert!(misplaced(Path::new("core")).is_some());
        assert!(misplaced(Path::new("core/src/lib.rs")).is_none());
        assert!(misplaced(Path::new("Cargo.toml")).is_none());
    }

    #[test]
    fn a_path_out_of_the_project_is_found() {
        for foreign in foreign_paths() {
            let text = format!("fine\n// see {foreign}design.md");
            assert_eq!(leads_out(Path::new("x.rs"), &text).len(), 1, "{foreign}");
        }
        assert!(leads_out(Path::new("x.rs"), "../core/src/lib.rs").is_empty());
    }
}
