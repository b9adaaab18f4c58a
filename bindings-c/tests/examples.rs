//! The examples in C and C++ compile without a warning and end as they should: under the sanitizers, and under valgrind
//! without a lost byte where it is installed.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{STATIC_LIBRARIES, compilers, include, libraries, package, run, runs, strict, under_valgrind};

fn object(folder: &Path, source: &str, compiler: &str, more: &[&str]) -> PathBuf {
    let cpp = compiler.contains("++");
    let object = folder.join(format!("{source}.o"));
    let mut command = Command::new(compiler);
    command.args(strict(cpp)).args(more).arg("-I").arg(include());
    command.args(if cpp { None } else { Some("-D_POSIX_C_SOURCE=200809L") });
    run(command.arg("-c").arg(package().join("examples").join(source)).arg("-o").arg(&object));
    object
}

fn built(folder: &Path, sources: &[&str], compiler: &str, more: &[&str]) -> PathBuf {
    let c = if compiler.contains("clang") { "clang" } else { "gcc" };
    let of = |source: &str| if source.ends_with(".cpp") { compiler } else { c };
    let objects: Vec<PathBuf> = sources.iter().map(|source| object(folder, source, of(source), more)).collect();
    let program = folder.join("node");
    let mut command = Command::new(compiler);
    command.args(more).args(objects).arg("-o").arg(&program).arg(libraries().join("libhs2sync.a"));
    run(command.args(STATIC_LIBRARIES));
    program
}

/// An example: its sources, the first of which says whether it is C++, and what it says at its end.
struct Example {
    sources: &'static [&'static str],
    ends_with: &'static str,
}

const EXAMPLES: [Example; 4] = [
    Example { sources: &["node.c", "network.c", "store.c"], ends_with: "2000 blocks applied, head as expected" },
    Example { sources: &["node.cpp", "network.c", "store.c"], ends_with: "2000 blocks applied, head as expected" },
    Example {
        sources: &["states.c", "network.c", "store.c"],
        ends_with: "two nodes at block 2050, root and head as expected, 0 objects left",
    },
    Example { sources: &["validator.c"], ends_with: "60 blocks decided and applied, as expected, 0 objects left" },
];

/// Each example with each compiler that is there and fits, run as `command` says.
fn each(more: &[&str], fits: impl Fn(&str) -> bool, command: impl Fn(&Path) -> Command) {
    for Example { sources, ends_with } in EXAMPLES {
        let cpp = sources.iter().any(|source| source.ends_with(".cpp"));
        for compiler in compilers(cpp).into_iter().filter(|compiler| fits(compiler)) {
            let folder = tempfile::tempdir().unwrap();
            let said = run(&mut command(&built(folder.path(), sources, &compiler, more)));
            assert!(said.contains(ends_with), "{sources:?}: {said}");
        }
    }
}

/// Clang's sanitizers are a package of their own, and its debug information is newer than valgrind reads.
fn is_gcc(compiler: &str) -> bool {
    !compiler.contains("clang")
}

#[test]
fn nodes_in_c_and_cpp_end_at_the_right_block_with_every_compiler() {
    each(&[], |_| true, |program| Command::new(program));
}

#[test]
fn nodes_in_c_and_cpp_end_at_the_right_block_and_lose_nothing() {
    let sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    each(&sanitizers, is_gcc, |program| Command::new(program));
}

#[test]
fn nodes_in_c_and_cpp_are_clean_under_valgrind() {
    if !runs("valgrind") {
        println!("valgrind is not installed: `apt-get install valgrind`. This was not checked.");
        return;
    }
    each(&[], is_gcc, under_valgrind);
}
