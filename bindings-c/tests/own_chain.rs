//! A chain of the host's own, written in C, is synchronized through its table of functions.

mod common;

use std::process::Command;

use common::{compile, compilers, package, run};

#[test]
fn a_chain_written_in_c_is_synchronized_and_a_check_that_fails_here_blames_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("own_chain");
    let sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    compile(&compilers(false)[0], &package().join("tests/c/own_chain.c"), &program, &sanitizers);
    let said = run(&mut Command::new(program));
    assert!(said.contains("1500 blocks, head as expected, 2 checks failed here"), "{said}");
}
