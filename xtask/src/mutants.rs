//! `cargo xtask mutants`: changes the code that verification, the accounts and the hand-over stand on in small ways, one at
//! a time, and sees whether tests notice. What they can't notice is listed with a reason in `.cargo/mutants.toml`.
//!
//! A copy of the checkout is mutated, in one place with one build folder, so that compilers build only what changed.
//! Each mutant meets the quick tests first, and the slow ones only where those let it pass. Results stay in the target
//! folder by file: `--continue` goes on where a run ended, and tries again what it missed.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::mutated::{Mutated, mutated};
use crate::tools;
use crate::workspace::Workspace;

/// Most KiB of address space for a compiler or a test: some mutants take memory in an endless loop.
const MAX_MEMORY_KIB: &str = "8388608";

/// Groups to run.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan {
    /// Files; all that are mutated where none is named.
    files: Vec<Mutated>,
    /// Goes on where an earlier run ended.
    goes_on: bool,
}

/// Reads the words of a command for the checkout in `root`.
pub(crate) fn parse<'a>(root: &Path, words: impl Iterator<Item = &'a str>) -> Result<Plan, String> {
    let all = mutated(root)?;
    let (mut names, mut goes_on) = (Vec::new(), false);
    for word in words {
        match word {
            "--continue" => goes_on = true,
            name if all.iter().any(|mutated| mutated.is_named(name)) => names.push(name),
            name => {
                let files: Vec<&str> = all.iter().map(|mutated| mutated.file.as_str()).collect();
                return Err(format!("none of the mutated files is called `{name}`: {}", files.join(", ")));
            }
        }
    }
    let chosen = |mutated: &Mutated| names.is_empty() || names.iter().any(|name| mutated.is_named(name));
    Ok(Plan { files: all.into_iter().filter(chosen).collect(), goes_on })
}

/// Mutates the files of `plan` and prints what became of the mutants. Fails where one was missed or never ended.
pub(crate) fn run(workspace: &Workspace, plan: &Plan) -> Result<(), String> {
    let program = tools::installed(workspace, "cargo-mutants", &["mutants", "--version"])?;
    let folder = workspace.target.join("mutants");
    let _alone = alone_in(&folder)?;
    let bench = Bench { program, tree: folder.join("tree"), build: folder.join("build") };
    let copied = match fs::remove_dir_all(&bench.tree) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => copy_sources(&workspace.root, &bench.tree, &workspace.target),
    };
    copied.map_err(|error| format!("can't copy the checkout into {}: {error}", bench.tree.display()))?;
    let mut all = Results::default();
    let mut table = format!("{:<30} mutants  caught unviable  missed timeout\n", "file");
    let mut shown = None;
    for mutated in &plan.files {
        let output = folder.join(mutated.file.trim_end_matches(".rs").replace('/', "-"));
        let first = shown.replace(mutated.group) != Some(mutated.group);
        let results = bench.mutate(mutated, &output, plan.goes_on, first)?;
        table.push_str(&results.row(&mutated.file));
        all.extend(results);
    }
    if plan.files.len() > 1 {
        table.push_str(&all.row("all"));
    }
    println!("\n{table}");
    let open: Vec<&str> = all.missed.iter().chain(&all.timeout).map(String::as_str).collect();
    if open.is_empty() { Ok(()) } else { Err(format!("no test caught these mutants:\n{}", open.join("\n"))) }
}

/// The right to work in `folder`, for as long as it is held: two runs at a time would change the code under each other's
/// tests. The system takes it back however the process ends.
fn alone_in(folder: &Path) -> Result<File, String> {
    let failed = |error: io::Error| format!("can't lock {}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = File::create(folder.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(format!(
            "another `cargo xtask mutants` works in {}: wait until it has ended, or set CARGO_TARGET_DIR to another folder",
            folder.display()
        )),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Copies what is under `from` but for version control and build folders.
fn copy_sources(from: &Path, to: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path == target || name == "target" || name == ".git" {
            continue;
        }
        if path.is_dir() {
            copy_sources(&path, &to.join(name), target)?;
        } else {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Where mutants are made and tried.
struct Bench {
    program: PathBuf,
    tree: PathBuf,
    build: PathBuf,
}

impl Bench {
    /// Tries all mutants of a file, with what is known of it in `output`. `first` says whether the tests must show that
    /// they pass without a mutant.
    fn mutate(&self, mutated: &Mutated, output: &Path, goes_on: bool, first: bool) -> Result<Results, String> {
        let failed = |error: io::Error| format!("{}: {error}", output.display());
        let source = fs::read(self.tree.join(mutated.group.sources).join(&mutated.file)).map_err(failed)?;
        // Mutants are known by the lines that they are on, so a changed file begins anew.
        let known = output.join("mutated.rs");
        if !goes_on || fs::read(&known).ok().as_ref() != Some(&source) {
            match fs::remove_dir_all(output) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => fs::create_dir_all(output).and_then(|()| fs::write(&known, &source)).map_err(failed)?,
            }
        }
        Results::gather(output).map_err(failed)?;
        let slow = mutated.group.slow;
        self.pass(mutated, output, first, slow)?;
        let quick = Results::gather(output).map_err(failed)?;
        if slow.is_empty() || quick.missed.is_empty() && quick.timeout.is_empty() {
            return Ok(quick);
        }
        self.pass(mutated, output, true, &[])?;
        Results::gather(output).map_err(failed)
    }

    /// Runs cargo-mutants over what is not caught yet, without the tests to `skip`.
    fn pass(&self, mutated: &Mutated, output: &Path, baseline: bool, skip: &[&str]) -> Result<(), String> {
        let Mutated { group, file } = mutated;
        let mut mutants = Command::new("sh");
        mutants
            .args(["-c", "ulimit -v \"$0\" 2>/dev/null; exec \"$@\"", MAX_MEMORY_KIB])
            .arg(&self.program)
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.build)
            .env("CARGO_INCREMENTAL", "1")
            // Building takes longer than the tests do.
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("RUST_BACKTRACE", "0")
            .args(["mutants", "--package", group.package, "--file", &format!("{}/{file}", group.sources)])
            .args(["--test-package", group.tests])
            .args(["--in-place", "--no-shuffle", "--iterate", "--timeout", group.timeout])
            .args(["--baseline", if baseline { "run" } else { "skip" }, "--output"])
            .arg(output)
            // For building too: without it everything else of the package is built as well.
            .args(group.built.iter().map(|tests| format!("--cargo-arg={tests}")))
            .args(["--", "--"])
            .args(group.run)
            .args(skip.iter().flat_map(|test| ["--skip", test]));
        println!("mutants of {file}, {} tests", if skip.is_empty() { "all" } else { "quick" });
        let status = mutants.status().map_err(|error| format!("can't start cargo-mutants: {error}"))?;
        // Some were missed, some reached the time limit: the lists say which.
        if matches!(status.code(), Some(0 | 2 | 3)) {
            Ok(())
        } else {
            Err(format!("cargo-mutants ended with {status}"))
        }
    }
}

/// Mutants by what became of them.
#[derive(Default)]
struct Results {
    caught: BTreeSet<String>,
    unviable: BTreeSet<String>,
    missed: BTreeSet<String>,
    timeout: BTreeSet<String>,
}

impl Results {
    /// Adds what the last pass says to what is kept in `output`, and returns it all.
    fn gather(output: &Path) -> io::Result<Self> {
        let last = output.join("mutants.out");
        let kept = |name: &str| -> io::Result<BTreeSet<String>> {
            let mut lines = read_lines(&output.join(name))?;
            lines.extend(read_lines(&last.join(name))?);
            fs::write(output.join(name), lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
            Ok(lines)
        };
        Ok(Self {
            caught: kept("caught.txt")?,
            unviable: kept("unviable.txt")?,
            missed: read_lines(&last.join("missed.txt"))?,
            timeout: read_lines(&last.join("timeout.txt"))?,
        })
    }

    fn extend(&mut self, other: Self) {
        self.caught.extend(other.caught);
        self.unviable.extend(other.unviable);
        self.missed.extend(other.missed);
        self.timeout.extend(other.timeout);
    }

    /// One line of the table.
    fn row(&self, file: &str) -> String {
        let counts = [&self.caught, &self.unviable, &self.missed, &self.timeout].map(BTreeSet::len);
        let [caught, unviable, missed, timeout] = counts;
        format!("{file:<30} {:>7} {caught:>7} {unviable:>8} {missed:>7} {timeout:>7}\n", counts.iter().sum::<usize>())
    }
}

/// The lines of a file; none where it isn't there.
fn read_lines(path: &Path) -> io::Result<BTreeSet<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Result<Plan, String> {
        parse(&crate::workspace::root().unwrap(), line.split_whitespace())
    }

    fn files(line: &str) -> Vec<String> {
        plan(line).unwrap().files.into_iter().map(|mutated| mutated.file).collect()
    }

    #[test]
    fn files_are_named_by_their_last_parts_or_their_folder() {
        assert!(!plan("").unwrap().goes_on && plan("--continue").unwrap().goes_on);
        let all = files("");
        for file in ["budget.rs", "participation/gate.rs", "consensus/coordinator.rs", "store/activate.rs"] {
            assert!(all.iter().any(|known| known == file), "{file} of {all:?}");
        }
        assert!(all.iter().filter(|file| file.starts_with("machine/")).count() > 10, "{all:?}");
        assert!(all.iter().all(|file| !file.ends_with("tests.rs")), "{all:?}");
        assert_eq!(files("budget.rs --continue native/validators.rs"), ["chain/native/validators.rs", "budget.rs"]);
        assert_eq!(files("proof.rs"), ["state/proof.rs"]);
        assert_eq!(
            files("participation"),
            ["participation/gate.rs", "participation/permit.rs", "participation/roll_call.rs"]
        );
        assert!(plan("roof.rs").is_err() && plan("--go-on").is_err() && plan("budget").is_err());
    }

    #[test]
    fn a_second_run_in_the_same_folder_is_refused_until_the_first_has_ended() {
        let folder = std::env::temp_dir().join(format!("hs2-mutants-lock-{}", std::process::id()));
        let first = alone_in(&folder).unwrap();
        let refused = alone_in(&folder).unwrap_err();
        assert!(refused.contains("wait until it has ended") && refused.contains("CARGO_TARGET_DIR"), "{refused}");
        drop(first);
        let again = alone_in(&folder).map(drop);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(again, Ok(()));
    }

    #[test]
    fn what_was_caught_once_stays_and_what_was_missed_is_the_last_pass_alone() {
        let folder = std::env::temp_dir().join(format!("hs2-mutants-{}", std::process::id()));
        let pass = |caught: &str, missed: &str| {
            fs::create_dir_all(folder.join("mutants.out")).unwrap();
            fs::write(folder.join("mutants.out/caught.txt"), caught).unwrap();
            fs::write(folder.join("mutants.out/missed.txt"), missed).unwrap();
            Results::gather(&folder).unwrap()
        };
        assert_eq!(
            pass("a\nb\n", "c\nd\n").row("x").split_whitespace().collect::<Vec<_>>(),
            ["x", "4", "2", "0", "2", "0"]
        );
        let all = pass("c\n", "d\n");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(all.row("x").split_whitespace().collect::<Vec<_>>(), ["x", "4", "3", "0", "1", "0"]);
    }
}
