//! The layers of the core and of the command: imports go down or stay, and a layer has no cycle, so that any module
//! can be read knowing only what lies below it. Test code may look anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::tree::{self, SourceFile};

/// Top-level modules of a crate, lowest layer first.
type Layers = &'static [&'static [&'static str]];

/// The layers of the core.
const CORE: Layers = &[
    &["time", "ids", "hash", "rng", "limits", "ranges", "sections", "sorted", "table"],
    &["config", "progress", "chain"],
    &["wire", "verify", "state", "trust"],
    &["peers", "requests", "downloads", "bandwidth", "budget", "timers", "calls", "session"],
    &["strategy"],
    &["machine", "serve", "light", "trace", "participation", "codes"],
];

/// The layers of the command. Tools stand above the commands, so that no command can take from them.
const COMMAND: Layers = &[
    &["args", "demo_args", "logs", "screen", "snapshot_args", "tip", "usage"],
    &["settings", "error"],
    &["recipe", "report"],
    &["node"],
    &[
        "backup", "config", "generate", "inspect", "light", "live", "manual", "peers", "repair", "replay", "serve",
        "snapshot", "status", "sync", "watch",
    ],
    &["attack", "cluster"],
    &["bench", "demo", "devnet"],
    &["cli"],
];

/// The place of the tables, for the messages.
const TABLE: &str = "the tables of xtask/src/guards/layers.rs";

fn layer(layers: Layers, module: &str) -> Option<usize> {
    layers.iter().position(|names| names.contains(&module))
}

fn complaints(layers: Layers, files: &[SourceFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut unknown = BTreeSet::new();
    // Imports inside one layer, and where the first of each stands.
    let mut sideways: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for file in files {
        // The root re-exports from everywhere; that is what it is for.
        let Some(from) = file.module.first() else {
            continue;
        };
        let Some(own) = layer(layers, from) else {
            unknown.insert(from.clone());
            continue;
        };
        for reference in tree::scan(&file.tokens, &file.module).references {
            let to = reference.target;
            let place = format!("{}:{}", file.path.display(), reference.line);
            match layer(layers, &to) {
                None => complaints.push(format!(
                    "{place}: `crate::{to}` is no module with a layer: name things by their module, \
                     or give `{to}` a layer in {TABLE}"
                )),
                Some(other) if other > own => complaints
                    .push(format!("{place}: `{from}` (layer {own}) uses `{to}` (layer {other}): imports go down only")),
                Some(other) if other == own => {
                    sideways.entry(from).or_default().entry(to).or_insert(place);
                }
                Some(_) => {}
            }
        }
    }
    complaints
        .extend(unknown.into_iter().map(|module| format!("module `{module}` has no layer: give it one in {TABLE}")));
    complaints.extend(cycle(&sideways));
    // A group of imports complains once for each name in it.
    complaints.dedup();
    complaints
}

/// One cycle among the imports inside a layer, if there is any.
fn cycle(imports: &BTreeMap<&str, BTreeMap<String, String>>) -> Option<String> {
    // Modules that import none of those left can be in no cycle; what can't be taken away is one,
    // or leads into one.
    let mut left: BTreeSet<&str> = imports.keys().copied().collect();
    loop {
        let free: Vec<&str> = left
            .iter()
            .copied()
            .filter(|module| !imports[module].keys().any(|to| left.contains(to.as_str())))
            .collect();
        if free.is_empty() {
            break;
        }
        for module in free {
            left.remove(module);
        }
    }
    let mut module = *left.first()?;
    let mut path = Vec::new();
    let mut seen = BTreeSet::new();
    while seen.insert(module) {
        let (to, place) = imports[module].iter().find(|(to, _)| left.contains(to.as_str()))?;
        path.push(format!("  {place}: `{module}` uses `{to}`"));
        module = to;
    }
    Some(format!("modules of one layer import each other in a circle:\n{}", path.join("\n")))
}

#[test]
fn the_core_imports_downward_only() {
    let files = tree::files(&super::root(), Path::new("core/src/lib.rs"));
    super::assert_none(&complaints(CORE, &files));
}

#[test]
fn no_command_takes_from_a_tool() {
    let files = tree::files(&super::root(), Path::new("cli/src/main.rs"));
    super::assert_none(&complaints(COMMAND, &files));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::tokens::{tokens, without_tests};

    fn check(sources: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<SourceFile> = sources
            .iter()
            .map(|(module, source)| SourceFile {
                path: format!("{module}.rs").into(),
                module: module.split("::").map(String::from).collect(),
                tokens: without_tests(&tokens(source)),
            })
            .collect();
        complaints(CORE, &files)
    }

    #[test]
    fn an_import_from_above_is_found_with_its_line() {
        let found = check(&[("time", "\nuse crate::machine::Machine;")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("time.rs:2: `time` (layer 0) uses `machine` (layer 5)"));
    }

    #[test]
    fn a_path_in_an_expression_and_a_super_path_from_above_are_found() {
        assert_eq!(check(&[("chain", "fn f() { crate::wire::decode(); }")]).len(), 1);
        assert_eq!(check(&[("chain::native", "use super::super::wire::Frame;")]).len(), 1);
        assert_eq!(check(&[("chain::native", "use crate::{hash::Hash, peers::Peer};")]).len(), 1);
    }

    #[test]
    fn imports_from_below_and_beside_pass() {
        let found = check(&[
            ("machine", "use crate::{time::Instant, strategy::Strategy, chain::Chain};"),
            ("verify", "use crate::wire::Frame;"),
            ("wire", "use crate::hash::Hash; #[cfg(test)] mod t { use crate::machine::Machine; }"),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_module_without_a_layer_is_named() {
        let found = check(&[("gossip", "")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("`gossip` has no layer: give it one"), "{found:?}");
        assert_eq!(check(&[("wire", "use crate::Machine;")]).len(), 1);
        assert_eq!(check(&[("wire", "use crate::*;")]).len(), 1);
    }

    #[test]
    fn a_circle_inside_a_layer_is_found() {
        let found = check(&[
            ("wire", "use crate::verify::Job;"),
            ("verify::job", "use crate::state::Prefix;"),
            ("state", "use crate::wire::Frame;"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("circle"), "{found:?}");
    }

    #[test]
    fn every_module_has_one_layer() {
        for layers in [CORE, COMMAND] {
            let all: Vec<&str> = layers.concat();
            let unique: BTreeSet<&str> = all.iter().copied().collect();
            assert_eq!(all.len(), unique.len());
        }
    }
}
