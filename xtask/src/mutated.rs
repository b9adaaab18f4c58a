//! Code that `cargo xtask mutants` changes, and the tests that must notice.

use std::path::Path;
use std::{fs, io};

/// Files that are mutated together, and the tests that must notice.
#[derive(Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) package: &'static str,
    /// The sources of the package.
    pub(crate) sources: &'static str,
    /// Files, and folders all of whose files are meant but those with tests.
    pub(crate) parts: &'static [&'static str],
    /// The package with the tests.
    pub(crate) tests: &'static str,
    /// Which of its tests are built.
    pub(crate) built: &'static [&'static str],
    /// Which of those are run; all where none is named.
    pub(crate) run: &'static [&'static str],
    /// Those that only mutants meet which all others let pass.
    pub(crate) slow: &'static [&'static str],
    /// Most seconds that one run may take. The tests take less than a tenth of it on an idle machine; mutants that reach it
    /// are counted apart, as a slow machine would look the same.
    pub(crate) timeout: &'static str,
}

/// The groups of mutated files.
pub(crate) static GROUPS: [Group; 4] = [
    Group {
        package: "hotstuff2-sync",
        sources: "core/src",
        parts: &[
            "chain/native/signature.rs",
            "chain/native/certificate.rs",
            "chain/native/validators.rs",
            "chain/native/finality.rs",
            "chain/native/rules.rs",
            "chain/native/segment.rs",
            "chain/native/handover.rs",
            "chain/native/epoch.rs",
            "chain/native/vote.rs",
            "chain/native/header.rs",
            "chain/native/codec.rs",
            "chain/native/tip.rs",
            "chain/native/skip.rs",
            "chain/native/anchor.rs",
            "chain/native/genesis.rs",
            "chain/native/evidence.rs",
            "chain/native/validator.rs",
            "chain/native/native_chain.rs",
            "chain/refs.rs",
            "state/subtree.rs",
            "state/pruned.rs",
            "state/leaves.rs",
            "state/proof.rs",
            "state/answer.rs",
            "state/validation.rs",
            "state/digest.rs",
            "state/node.rs",
            "state/record.rs",
            "state/prefix.rs",
            "verify/job.rs",
            "verify/segments.rs",
            "verify/verdict.rs",
            "budget.rs",
            "requests.rs",
            "participation",
        ],
        tests: "hotstuff2-sync",
        built: &["--lib"],
        run: &[],
        slow: &SLOW_TESTS,
        timeout: "120",
    },
    Group {
        package: "hotstuff2-sync",
        sources: "core/src",
        parts: &["machine"],
        tests: "hotstuff2-sync-testkit",
        built: &[
            "--test=answers",
            "--test=catch_up",
            "--test=checks",
            "--test=equivocation",
            "--test=fast",
            "--test=hedging",
            "--test=host",
            "--test=liars_cost",
            "--test=no_silent_stall",
            "--test=one_judge",
            "--test=patience",
            "--test=peers",
            "--test=silence",
            "--test=stalls",
        ],
        run: &[],
        slow: &[],
        timeout: "600",
    },
    Group {
        package: "hotstuff2-sync-tokio",
        sources: "runtime-tokio/src",
        parts: &["consensus"],
        tests: "hotstuff2-sync-tokio",
        built: &["--lib"],
        run: &["consensus::", "wrapper_tests::"],
        slow: &[],
        timeout: "300",
    },
    Group {
        package: "hotstuff2-sync-tokio",
        sources: "runtime-tokio/src",
        parts: &["store/activate.rs"],
        tests: "hotstuff2-sync-tokio",
        built: &["--lib"],
        run: &["store::tests::rebase::", "store::tests::staging"],
        slow: &[],
        timeout: "600",
    },
];

/// Tests that take seconds without the optimizer. Only mutants that all others let pass meet them.
const SLOW_TESTS: [&str; 9] = [
    "any_bytes_decode_to_themselves_or_not_at_all",
    "any_history_has_the_roots_and_proofs_of_jmt",
    "any_walk_from_the_root_rebuilds_the_state",
    "behaves_like_a_map_over_any_history",
    "length_prefix_bomb",
    "memory_is_that_of_the_open_way_however_many_leaves",
    "mutated_messages_never_verify",
    "no_changed_byte_proves_anything_false",
    "pages_and_root_are_those_of_the_tree_and_of_jmt",
];

/// A file that is mutated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mutated {
    pub(crate) group: &'static Group,
    /// Its path in the sources of the package.
    pub(crate) file: String,
}

/// All that is mutated of the checkout in `root`.
pub(crate) fn mutated(root: &Path) -> Result<Vec<Mutated>, String> {
    let mut all = Vec::new();
    for group in &GROUPS {
        for part in group.parts {
            if part.ends_with(".rs") {
                all.push(Mutated { group, file: (*part).to_owned() });
                continue;
            }
            let folder = root.join(group.sources).join(part);
            let failed = |error: io::Error| format!("can't read {}: {error}", folder.display());
            let mut names = Vec::new();
            for entry in fs::read_dir(&folder).map_err(failed)? {
                names.extend(entry.map_err(failed)?.file_name().into_string());
            }
            names.retain(|name| name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "mod.rs");
            names.sort();
            all.extend(names.into_iter().map(|name| Mutated { group, file: format!("{part}/{name}") }));
        }
    }
    Ok(all)
}

impl Mutated {
    /// Whether `name` is the file's path, the last parts of it, or a folder that it is in.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let inside = self.file.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        inside || self.file.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_exists() {
        let root = crate::workspace::root().unwrap();
        let core = root.join("core/src");
        for Mutated { group, file } in mutated(&root).unwrap() {
            assert!(root.join(group.sources).join(&file).is_file(), "{file}");
        }
        for test in GROUPS.iter().flat_map(|group| group.built).filter_map(|built| built.strip_prefix("--test=")) {
            let tests = root.join("tests/tests");
            assert!(tests.join(test).with_extension("rs").is_file() || tests.join(test).is_dir(), "{test}");
        }
        let mut text = String::new();
        for folder in ["chain/native/tests", "state"] {
            for entry in fs::read_dir(core.join(folder)).unwrap() {
                text.push_str(&fs::read_to_string(entry.unwrap().path()).unwrap());
            }
        }
        for test in SLOW_TESTS {
            assert!(text.contains(&format!("fn {test}(")), "{test}");
        }
    }
}
