//! The packages that are published are complete: what a registry shows of them, their texts, and the versions by which
//! they name each other.

use std::path::Path;

use super::manifests::section;

/// The folders of the packages that are published.
pub(super) const PUBLISHED: [&str; 4] = ["cli", "core", "runtime-tokio", "tests"];

/// The files that every one of them brings: licences and a page of its own.
const TEXTS: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// The keys that a registry shows or searches, as a manifest may begin them.
const SHOWN: [&str; 6] = ["description", "repository", "keywords", "categories", "license", "readme"];

fn missing(path: &str, manifest: &str) -> Vec<String> {
    let package = section(manifest, "package");
    let has = |key: &str| package.iter().any(|(name, _)| name.split('.').next() == Some(key));
    let mut complaints: Vec<String> =
        SHOWN.iter().filter(|key| !has(key)).map(|key| format!("{path}: write `{key}` under [package]")).collect();
    if section(manifest, "package.metadata.docs.rs").is_empty() {
        complaints.push(format!("{path}: say under [package.metadata.docs.rs] how its documentation is built"));
    }
    complaints
}

/// The dependencies on packages of this workspace without the workspace's version.
fn unversioned(manifest: &str) -> Vec<String> {
    let shared = section(manifest, "workspace.package");
    let version = shared.iter().find(|(name, _)| *name == "version").map_or("", |(_, version)| version);
    section(manifest, "workspace.dependencies")
        .into_iter()
        .filter(|(_, value)| value.contains("path = ") && !value.contains(&format!("version = {version}")))
        .map(|(name, _)| format!("Cargo.toml: `{name}` is of this workspace: give it `version = {version}`"))
        .collect()
}

#[test]
fn published_packages_are_complete() {
    let root = super::root();
    let mut complaints = unversioned(&super::read(&root.join("Cargo.toml")));
    for folder in PUBLISHED {
        let path = format!("{folder}/Cargo.toml");
        complaints.extend(missing(&path, &super::read(&root.join(&path))));
        for text in TEXTS {
            let ours = root.join(folder).join(text);
            if !ours.is_file() {
                complaints.push(format!("{folder}/{text} is missing"));
            } else if text.starts_with("LICENSE") && super::read(&ours) != super::read(&root.join(text)) {
                complaints.push(format!("{folder}/{text} is not the project's: make it a link to ../{text}"));
            }
        }
    }
    super::assert_none(&complaints);
}

#[test]
fn whoever_is_not_published_says_so() {
    let root = super::root();
    let complaints: Vec<String> = super::project_files()
        .iter()
        .filter(|file| file.ends_with("Cargo.toml"))
        .filter_map(|file| file.parent().map(|folder| (file, folder)))
        .filter(|(_, folder)| **folder != *Path::new("") && !PUBLISHED.iter().any(|name| **folder == *Path::new(name)))
        .filter(|(file, _)| !section(&super::read(&root.join(file)), "package").contains(&("publish", "false")))
        .map(|(file, _)| format!("{}: write `publish = false`, or add it to the published packages", file.display()))
        .collect();
    super::assert_none(&complaints);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_would_miss_is_found() {
        let bare = "[package]\nname = \"x\"\nlicense.workspace = true\n";
        assert_eq!(missing("x", bare).len(), SHOWN.len());
        let docs = format!("{bare}\n[package.metadata.docs.rs]\nall-features = true\n");
        assert_eq!(missing("x", &docs).len(), SHOWN.len() - 1);
    }

    #[test]
    fn a_package_without_the_version_is_found() {
        let manifest = |core: &str| {
            format!("[workspace.package]\nversion = \"0.2.0\"\n\n[workspace.dependencies]\ncore = {{ {core} }}\n")
        };
        assert_eq!(unversioned(&manifest("path = \"core\", version = \"0.2.0\"")), Vec::<String>::new());
        assert_eq!(unversioned(&manifest("path = \"core\", version = \"0.1.0\"")).len(), 1);
        assert_eq!(unversioned(&manifest("path = \"core\"")).len(), 1);
    }
}
