//! Version, edition, minimum Rust version and licence are said once, in the workspace's manifest;
//! members inherit them, and the workspace's lints too.

use std::path::{Path, PathBuf};

/// Keys that every member must inherit.
const INHERITED: [&str; 4] = ["version", "edition", "rust-version", "license"];

/// The members that may say `unsafe`: they have the workspace's lints, but for that.
const UNSAFE_MEMBERS: [&str; 2] = ["bindings-c/Cargo.toml", "bindings-wasm/Cargo.toml"];

/// Where in those members' source `unsafe` may stand: pointers, the host's tables of functions, and exported functions.
const UNSAFE_FILES: [&str; 6] = [
    "bindings-c/src/pointer.rs",
    "bindings-c/src/reader.rs",
    "bindings-c/src/own_chain.rs",
    "bindings-c/src/state_store.rs",
    "bindings-c/src/exports/",
    "bindings-wasm/src/exports/",
];

/// The `key = value` lines of one section of a manifest.
pub(super) fn section<'a>(manifest: &'a str, name: &str) -> Vec<(&'a str, &'a str)> {
    let header = format!("[{name}]");
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect()
}

/// Complaints about the manifest of a member.
fn member_complaints(path: &str, manifest: &str) -> Vec<String> {
    let package = section(manifest, "package");
    let mut complaints = Vec::new();
    for key in INHERITED {
        let dotted = format!("{key}.workspace");
        let inherits = package.iter().any(|(name, value)| *name == dotted && *value == "true");
        if !inherits {
            complaints.push(format!("{path}: write `{dotted} = true` under [package]"));
        }
        if package.iter().any(|(name, _)| *name == key) {
            complaints.push(format!("{path}: `{key}` is said in the workspace's manifest alone"));
        }
    }
    if UNSAFE_MEMBERS.contains(&path) {
        return complaints;
    }
    if !section(manifest, "lints").contains(&("workspace", "true")) {
        complaints.push(format!("{path}: write `workspace = true` under [lints]"));
    }
    complaints
}

/// Lints of the workspace that a member with lints of its own lacks.
fn missing_lints(workspace: &str, member: &str, manifest: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for tool in ["rust", "clippy"] {
        let own = section(manifest, &format!("lints.{tool}"));
        for (lint, level) in section(workspace, &format!("workspace.lints.{tool}")) {
            let level = if lint == "unsafe_code" { "\"deny\"" } else { level };
            if !own.contains(&(lint, level)) {
                complaints.push(format!("{member}: write `{lint} = {level}` under [lints.{tool}]"));
            }
        }
    }
    let documented = section(manifest, "lints.clippy").contains(&("undocumented_unsafe_blocks", "\"deny\""));
    if !documented {
        complaints.push(format!("{member}: write `undocumented_unsafe_blocks = \"deny\"` under [lints.clippy]"));
    }
    complaints
}

/// The members that the workspace's manifest lists.
fn members(manifest: &str) -> Vec<&str> {
    let list =
        manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']')).map_or("", |(list, _)| list);
    list.split(',').map(|name| name.trim().trim_matches('"')).filter(|name| !name.is_empty()).collect()
}

/// The lines of a document that name a Rust version other than `minimum`.
fn other_rust_versions(path: &str, text: &str, minimum: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for rest in line.split("Rust 1.").skip(1) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let named = format!("1.{digits}");
            if !digits.is_empty() && named != minimum {
                complaints.push(format!("{path}:{}: Rust {named}, but `rust-version` is {minimum}", index + 1));
            }
        }
    }
    complaints
}

#[test]
fn members_inherit_version_msrv_and_lints() {
    let root = super::root();
    let manifest = super::read(&root.join("Cargo.toml"));
    let members = members(&manifest);
    assert!(members.contains(&"core") && members.contains(&"xtask"), "{members:?}");
    let mut complaints = Vec::new();
    for member in members {
        let path = format!("{member}/Cargo.toml");
        let text = super::read(&root.join(&path));
        complaints.extend(member_complaints(&path, &text));
    }
    let shared = section(&manifest, "workspace.package");
    for key in INHERITED {
        assert_eq!(shared.iter().filter(|(name, _)| *name == key).count(), 1, "{key}");
    }
    super::assert_none(&complaints);
}

#[test]
fn unsafe_code_stands_in_its_files_only() {
    let root = super::root();
    let workspace = super::read(&root.join("Cargo.toml"));
    let lints = |member: &&str| missing_lints(&workspace, member, &super::read(&root.join(member)));
    let mut complaints: Vec<String> = UNSAFE_MEMBERS.iter().flat_map(lints).collect();
    for file in super::project_files() {
        let path = file.display().to_string();
        let may = UNSAFE_FILES.iter().any(|place| path.starts_with(place));
        let source = path.starts_with("bindings-") && path.contains("/src/") && path.ends_with(".rs");
        if source && !may && super::read(&root.join(&file)).contains("allow(unsafe_code)") {
            complaints.push(format!("{path}: `unsafe` belongs into {}", UNSAFE_FILES.join(", ")));
        }
    }
    super::assert_none(&complaints);
}

#[test]
fn the_msrv_is_said_once() {
    let root = super::root();
    let manifest = super::read(&root.join("Cargo.toml"));
    let shared = section(&manifest, "workspace.package");
    let (_, minimum) = shared.iter().find(|(name, _)| *name == "rust-version").unwrap();
    let minimum = minimum.trim_matches('"');
    let mut complaints = Vec::new();
    for file in super::project_files() {
        let path = file.display().to_string();
        match file.file_name().and_then(|name| name.to_str()) {
            Some("rust-toolchain" | "rust-toolchain.toml") => {
                complaints.push(format!("{path}: the toolchain is not pinned; CONTRIBUTING.md says why"));
            }
            Some("clippy.toml" | ".clippy.toml") if super::read(&root.join(&file)).contains("msrv") => {
                complaints.push(format!("{path}: `msrv` comes from `rust-version`"));
            }
            _ => {}
        }
    }
    for name in ["README.md", "CONTRIBUTING.md"] {
        if root.join(name).is_file() {
            let text = super::read(&root.join(name));
            complaints.extend(other_rust_versions(name, &text, minimum));
        }
    }
    super::assert_none(&complaints);
}

#[test]
fn the_library_brings_nothing_of_the_command() {
    let mut tree = crate::command::cargo();
    tree.args(["tree", "--package", "hotstuff2-sync-tokio", "--edges", "normal", "--prefix", "none"]);
    let tree = crate::command::output(tree.current_dir(super::root())).unwrap();
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"hotstuff2-sync") && names.contains(&"tokio"), "{names:?}");
    for name in ["clap", "humantime", "indicatif", "hotstuff2-sync-testkit", "toml"] {
        assert!(!names.contains(&name), "whoever uses the library gets {name} with it");
    }
}

#[test]
fn every_package_is_a_member_or_a_workspace_of_its_own() {
    let root = super::root();
    let manifest = super::read(&root.join("Cargo.toml"));
    let members = members(&manifest);
    let mut complaints = Vec::new();
    for file in super::project_files() {
        let folder: PathBuf = file.parent().unwrap_or(Path::new("")).to_path_buf();
        if !file.ends_with("Cargo.toml") || folder.as_os_str().is_empty() {
            continue;
        }
        let is_member = members.iter().any(|member| Path::new(member) == folder);
        if !is_member && !super::read(&root.join(&file)).contains("[workspace]") {
            complaints.push(format!("{} is in no workspace", file.display()));
        }
    }
    super::assert_none(&complaints);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lint_that_the_c_interface_lacks_is_found() {
        let workspace = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\nmissing_docs = \"deny\"\n";
        let own = "[lints.rust]\nunsafe_code = \"deny\"\nmissing_docs = \"deny\"\n\n\
                   [lints.clippy]\nundocumented_unsafe_blocks = \"deny\"\n";
        assert_eq!(missing_lints(workspace, "bindings-c/Cargo.toml", own), Vec::<String>::new());
        for line in own.lines().filter(|line| line.contains('=')) {
            assert_eq!(missing_lints(workspace, "bindings-c/Cargo.toml", &own.replace(line, "")).len(), 1, "{line}");
        }
    }

    const GOOD: &str = "[package]\nname = \"x\"\nversion.workspace = true\n\
        edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\
        \n[dependencies]\nserde = { version = \"1\" }\n\n[lints]\nworkspace = true\n";

    #[test]
    fn a_member_that_says_it_again_is_found() {
        assert_eq!(member_complaints("x", GOOD), Vec::<String>::new());
        for key in INHERITED {
            let again = GOOD.replace(&format!("\n{key}.workspace = true"), &format!("\n{key} = \"1\""));
            assert_eq!(member_complaints("x", &again).len(), 2, "{key}");
        }
        let unlinted = GOOD.replace("[lints]\nworkspace = true", "");
        assert_eq!(member_complaints("x", &unlinted).len(), 1);
    }

    #[test]
    fn members_are_read_over_several_lines() {
        let manifest = "[workspace]\nmembers = [\n  \"core\",\n  \"a/b\",\n]\n";
        assert_eq!(members(manifest), ["core", "a/b"]);
    }

    #[test]
    fn another_rust_version_is_found() {
        let text = "Rust 1.95 or newer.\nNeeds Rust 1.80.";
        assert_eq!(other_rust_versions("README.md", text, "1.95").len(), 1);
    }
}
