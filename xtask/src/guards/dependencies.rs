//! Consequences of dependencies: licences that we can pass on, and the Rust version that they need. Both are read
//! from what cargo knows of the versions in `Cargo.lock`; cargo-deny, which also looks for advisories, has the same
//! list of licences in `deny.toml`.

use std::collections::BTreeSet;

use super::manifests::section;

/// The published packages, and what they are built from.
const TREE: [&str; 12] = [
    "tree",
    "--locked",
    "--edges",
    "normal,build",
    "--target",
    "all",
    "--prefix",
    "none",
    "--package",
    "hs2-sync",
    "--all-features",
    "--format",
];

/// One line of `format` for each package that the published ones are built from.
fn tree(format: &str) -> BTreeSet<String> {
    let mut cargo = crate::command::cargo();
    let lines = crate::command::output(cargo.args(TREE).arg(format).current_dir(super::root())).unwrap();
    // A package that was shown before has a mark behind it.
    lines.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Whether an SPDX expression allows what we need: one of each "or", all of each "and".
fn allowed(expression: &str, allow: &[&str]) -> bool {
    // The old spelling of "or".
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    let split = |word: &str| -> Option<Vec<String>> {
        let (mut parts, mut depth) = (vec![String::new()], 0_usize);
        for token in expression.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
            match token {
                "(" => depth += 1,
                ")" => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 0 && token == word {
                parts.push(String::new());
            } else if let Some(part) = parts.last_mut() {
                if !part.is_empty() {
                    part.push(' ');
                }
                part.push_str(token);
            }
        }
        (depth == 0).then_some(parts)
    };
    match (split("OR"), split("AND")) {
        (Some(any), _) if any.len() > 1 => any.iter().any(|part| allowed(part, allow)),
        (_, Some(all)) if all.len() > 1 => all.iter().all(|part| allowed(part, allow)),
        _ => match expression.strip_prefix("( ").and_then(|rest| rest.strip_suffix(" )")) {
            Some(inner) => allowed(inner, allow),
            None => allow.contains(&expression),
        },
    }
}

/// The licences that `deny.toml` allows.
fn allow_list(deny: &str) -> Vec<&str> {
    let list = deny.split_once("\nallow = [").and_then(|(_, rest)| rest.split_once(']')).map_or("", |(list, _)| list);
    list.split(',').map(|name| name.trim().trim_matches('"')).filter(|name| !name.is_empty()).collect()
}

/// The packages of a registry in what `cargo metadata` prints, with the Rust version that each needs.
fn rust_versions(metadata: &str) -> Vec<(&str, &str)> {
    let packages = metadata.split("\"workspace_members\":").next().unwrap_or_default();
    packages
        .split("\"id\":\"registry+")
        .skip(1)
        .filter_map(|package| {
            let (id, rest) = package.split_once('"')?;
            let (_, version) = rest.split_once("\"rust_version\":")?;
            Some((id.rsplit('#').next()?, version.strip_prefix('"')?.split('"').next()?))
        })
        .collect()
}

/// The numbers of a version of Rust, without trailing zeros.
fn numbers(version: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = version.split('.').filter_map(|number| number.parse().ok()).collect();
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

#[test]
fn every_licence_can_be_passed_on() {
    let deny = super::read(&super::root().join("deny.toml"));
    let allow = allow_list(&deny);
    assert!(allow.contains(&"MIT"), "{allow:?}");
    let packages = tree("{p}|{l}");
    assert!(packages.len() > 100, "{}", packages.len());
    let complaints: Vec<String> = packages
        .iter()
        .filter_map(|line| line.split_once('|'))
        .filter(|(_, licence)| !allowed(licence, &allow))
        .map(|(package, licence)| format!("{package}: `{licence}` is not allowed by deny.toml"))
        .collect();
    super::assert_none(&complaints);
}

#[test]
fn the_msrv_is_what_dependencies_need() {
    let root = super::root();
    let manifest = super::read(&root.join("Cargo.toml"));
    let shared = section(&manifest, "workspace.package");
    let (_, ours) = shared.iter().find(|(name, _)| *name == "rust-version").unwrap();
    let mut cargo = crate::command::cargo();
    cargo.args(["metadata", "--locked", "--format-version", "1", "--all-features"]).current_dir(root);
    let metadata = crate::command::output(&mut cargo).unwrap();
    let used = tree("{p}");
    let needs =
        |id: &str| id.split_once('@').is_some_and(|(name, version)| used.contains(&format!("{name} v{version}")));
    let (package, needed) = rust_versions(&metadata)
        .into_iter()
        .filter(|(id, _)| needs(id))
        .max_by_key(|(_, version)| numbers(version))
        .expect("no dependency says what it needs");
    let ours = ours.trim_matches('"');
    assert_eq!(numbers(ours), numbers(needed), "`rust-version` is {ours}, and {package} needs {needed}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_read_as_they_are_written() {
        let allow = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0-only OR MIT",
            "(MIT OR X) AND ISC",
            "Apache-2.0 WITH LLVM-exception OR X",
        ] {
            assert!(allowed(good, &allow), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR X) AND Y", "Apache-2.0", "MIT)"] {
            assert!(!allowed(bad, &allow), "{bad}");
        }
    }

    #[test]
    fn versions_of_rust_are_read_and_compared() {
        let metadata = r#"{"packages":[{"name":"a","id":"registry+https://x/y#a@1.0.0","rust_version":"1.90.0"},
            {"name":"b","id":"registry+https://x/y#b@2.0.0","rust_version":null},{"name":"c","id":"path+file:///c",
            "rust_version":"1.95"}],"workspace_members":[]}"#;
        // One that says nothing must not take the next one's.
        assert_eq!(rust_versions(metadata), [("a@1.0.0", "1.90.0")]);
        assert_eq!(numbers("1.90.0"), numbers("1.90"));
        assert!(numbers("1.100") > numbers("1.90.1"));
    }
}
