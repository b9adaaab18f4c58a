//! What the shared library shows: the functions of the header, and nothing else. And its soname.

mod common;

use std::collections::BTreeSet;
use std::process::Command;

use common::{header, libraries, prototypes, run};

#[test]
fn the_library_exports_the_functions_of_the_header_and_nothing_else() {
    let library = libraries().join("libhs2sync.so");
    let listed = run(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(&library));
    let exported: BTreeSet<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    let header = header();
    let all = prototypes(&header);
    let written: BTreeSet<&str> = all.iter().map(|function| function.name.as_str()).collect();
    assert!(written.len() > 40, "{} functions", written.len());
    assert_eq!(exported, written);
}

#[test]
fn the_library_has_a_soname_with_its_version() {
    let listed = run(Command::new("readelf").arg("-d").arg(libraries().join("libhs2sync.so")));
    let version: Vec<&str> = env!("CARGO_PKG_VERSION").split('.').collect();
    let soname = format!("[libhs2sync.so.{}.{}]", version[0], version[1]);
    assert!(listed.lines().any(|line| line.contains("SONAME") && line.contains(&soname)), "{listed}");
}
