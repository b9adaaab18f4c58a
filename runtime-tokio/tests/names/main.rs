//! Every name of `docs/names.md`, used. Beside each use stands `name!` with the name as it was asked for; a test compares
//! those with the table, both ways, and looks for what the table says stands for them.

use std::collections::BTreeSet;

/// Says that the name is used here.
macro_rules! name {
    ($($name:literal),+ $(,)?) => {};
}

mod consensus;
mod coordination;
mod net;
mod node;
mod progress;
mod settings;
mod testing;
mod validation;

/// A row of the table: the name, and what stands for it.
fn rows() -> Vec<(String, String)> {
    let table = include_str!("../../../docs/names.md");
    let cells = |line: &str| -> Option<(String, String)> {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    };
    table.lines().filter_map(cells).collect()
}

/// The files with names.
const FILES: [&str; 9] = [
    include_str!("net.rs"),
    include_str!("node.rs"),
    include_str!("validation.rs"),
    include_str!("consensus.rs"),
    include_str!("settings.rs"),
    include_str!("coordination.rs"),
    include_str!("progress.rs"),
    include_str!("testing.rs"),
    // An engine, with what it is told.
    include_str!("../../src/no_engine.rs"),
];

/// The names in these files, and what is left of the files without them.
fn source() -> (BTreeSet<&'static str>, String) {
    let (mut names, mut rest) = (BTreeSet::new(), String::new());
    for file in FILES {
        let mut parts = file.split(concat!("name", "!("));
        rest.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let (literals, after) = part.split_once(");").unwrap_or((part, ""));
            names.extend(literals.split('"').skip(1).step_by(2));
            rest.push_str(after);
        }
    }
    (names, rest)
}

#[test]
fn the_table_and_these_files_have_the_same_names() {
    let (used, _) = source();
    let rows = rows();
    let named: BTreeSet<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(named.len(), rows.len(), "a name stands twice in the table");
    assert_eq!(used, named);
}

#[test]
fn what_the_table_says_is_what_these_files_use() {
    let (_, source) = source();
    let words: BTreeSet<&str> = source.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    for (name, stands_for) in rows() {
        let path = stands_for.split('`').nth(1).unwrap_or_else(|| panic!("{name}: no path in {stands_for}"));
        let last = path.rsplit("::").next().unwrap_or(path);
        assert!(words.contains(last), "{name}: `{path}` is not used");
    }
}
