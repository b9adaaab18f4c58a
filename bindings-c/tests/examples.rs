//! The examples in C and C++ compile without a warning and end as they should: under the sanitizers, and under valgrind
//! without a lost byte where it is installed.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{STATIC_LIBRARIES, compilers, include, libraries, package, run, runs, strict};

fn object(folder: &Path, source: &str, compiler: &str, more: &[&str]) -> PathBuf {
    let cpp = compiler.contains("++");
    let object = folder.join(format!("{source}.o"));
    let mut command = Command::new(compiler);
    command.args(strict(cpp)).args(more).arg("-I").arg(include());
    command.args(if cpp { None } else { Some("-D_POSIX_C_SOURCE=200809L") });
    run(command.arg("-c").arg(package().join("examples").join(source)).arg("-o").arg(&object));
    object
}

fn built(folder: &Path, main: &str, compiler: &str, more: &[&str]) -> PathBuf {
    let c = if compiler.contains("clang") { "clang" } else { "gcc" };
    let objects = [object(folder, main, compiler, more), object(folder, "network.c", c, more)];
    let program = folder.join("node");
    let mut command = Command::new(compiler);
    command.args(more).args(objects).arg("-o").arg(&program).arg(libraries().join("libhs2sync.a"));
    run(command.args(STATIC_LIBRARIES));
    program
}

/// Each example with each compiler that is there and fits.
fn each(more: &[&str], fits: impl Fn(&str) -> bool, check: impl Fn(&Path)) {
    for (main, cpp) in [("node.c", false), ("node.cpp", true)] {
        for compiler in compilers(cpp).into_iter().filter(|compiler| fits(compiler)) {
            let folder = tempfile::tempdir().unwrap();
            check(&built(folder.path(), main, &compiler, more));
        }
    }
}

/// Clang's sanitizers are a package of their own, and its debug information is newer than valgrind reads.
fn is_gcc(compiler: &str) -> bool {
    !compiler.contains("clang")
}

fn ends_well(command: &mut Command) {
    let said = run(command);
    assert!(said.contains("2000 blocks applied, head as expected"), "{said}");
}

#[test]
fn nodes_in_c_and_cpp_end_at_the_right_block_with_every_compiler() {
    each(&[], |_| true, |program| ends_well(&mut Command::new(program)));
}

#[test]
fn nodes_in_c_and_cpp_end_at_the_right_block_and_lose_nothing() {
    let sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    each(&sanitizers, is_gcc, |program| ends_well(&mut Command::new(program)));
}

#[test]
fn nodes_in_c_and_cpp_are_clean_under_valgrind() {
    if !runs("valgrind") {
        println!("valgrind is not installed: `apt-get install valgrind`. This was not checked.");
        return;
    }
    let valgrind = ["--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect", "--error-exitcode=9"];
    each(&[], is_gcc, |program| ends_well(Command::new("valgrind").args(valgrind).arg(program)));
}
