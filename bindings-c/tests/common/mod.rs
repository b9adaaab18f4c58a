//! What the tests of the C interface share: the header, its prototypes, and the tools of C.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The package's folder.
pub(crate) fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// The folder with the header.
pub(crate) fn include() -> PathBuf {
    package().join("../include")
}

/// The committed header.
pub(crate) fn header() -> String {
    std::fs::read_to_string(include().join("hs2sync.h")).expect("the header is committed")
}

/// `program` under valgrind, which must find no byte lost and no read of what was never written.
pub(crate) fn under_valgrind(program: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--error-exitcode=9", "--leak-check=full"])
        .args(["--show-leak-kinds=definite,indirect", "--errors-for-leak-kinds=definite,indirect"])
        .arg(format!("--suppressions={}", package().join("tests/valgrind.supp").display()))
        .arg(program);
    command
}

/// A function of the header.
#[derive(Debug)]
pub(crate) struct Prototype {
    pub(crate) name: String,
    pub(crate) returns: String,
    /// Types and names, in order.
    pub(crate) params: Vec<(String, String)>,
    /// The comment before it.
    pub(crate) doc: String,
}

/// All functions of a header, in order.
pub(crate) fn prototypes(header: &str) -> Vec<Prototype> {
    let mut found = Vec::new();
    let mut doc = String::new();
    let mut statement = String::new();
    for line in header.lines() {
        let text = line.trim();
        if text.starts_with("/**") {
            doc.clear();
        }
        if text.starts_with('*') || text.starts_with("/*") {
            doc.push_str(text.trim_start_matches(['/', '*']).trim());
            doc.push(' ');
            continue;
        }
        if line.starts_with(' ') && statement.is_empty()
            || text.is_empty()
            || text.starts_with('#')
            || text.starts_with("extern")
        {
            continue;
        }
        statement.push_str(text);
        statement.push(' ');
        if !text.ends_with(';') {
            continue;
        }
        if let Some(prototype) = prototype(&statement, &doc) {
            found.push(prototype);
        }
        statement.clear();
    }
    found
}

fn prototype(statement: &str, doc: &str) -> Option<Prototype> {
    let (head, rest) = statement.split_once('(')?;
    if head.contains("typedef") || head.contains('{') {
        return None;
    }
    let start = head.rfind("hs2_")?;
    let (returns, name) = head.split_at(start);
    let params = rest.rsplit_once(')')?.0;
    let param = |text: &str| {
        let text = text.trim();
        let split = text.rfind(|letter: char| !letter.is_alphanumeric() && letter != '_').map_or(0, |at| at + 1);
        let (kind, name) = text.split_at(split);
        (kind.trim().replace("struct ", ""), name.to_owned())
    };
    let params = params.split(',').filter(|text| !matches!(text.trim(), "" | "void")).map(param).collect();
    Some(Prototype { name: name.trim().to_owned(), returns: returns.trim().to_owned(), params, doc: doc.to_owned() })
}

/// The folder in which cargo puts what it builds for tests, the libraries among it.
pub(crate) fn libraries() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    test.parent().expect("it is in a folder").to_path_buf()
}

/// What the static library needs to be linked.
pub(crate) const STATIC_LIBRARIES: [&str; 7] = ["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"];

/// A C or C++ compiler that is there: `CC` or `CXX`, or the usual names.
pub(crate) fn compilers(cpp: bool) -> Vec<String> {
    let (variable, names) = if cpp { ("CXX", ["g++", "clang++"]) } else { ("CC", ["gcc", "clang"]) };
    let named = std::env::var(variable).ok();
    let all = named.into_iter().chain(names.map(String::from));
    let mut found: Vec<String> = all.filter(|name| runs(name)).collect();
    found.dedup();
    assert!(
        !found.is_empty(),
        "no {} compiler: `apt-get install gcc g++` (or your system's way), or set {variable}",
        if cpp { "C++" } else { "C" }
    );
    found
}

/// Whether a program is installed.
pub(crate) fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Runs a command and fails with what it said, unless it succeeds.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}:\n{said}\n{complained}", output.status);
    said
}

/// Flags with which all C, and all C++, must compile.
pub(crate) fn strict(cpp: bool) -> Vec<&'static str> {
    let standard = if cpp { "-std=c++17" } else { "-std=c99" };
    vec![standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-g"]
}

/// Compiles a program against the static library.
pub(crate) fn compile(compiler: &str, source: &Path, program: &Path, more: &[&str]) {
    let cpp = compiler.contains("++");
    let mut command = Command::new(compiler);
    command.args(strict(cpp)).args(more).arg("-I").arg(include()).arg(source).arg("-o").arg(program);
    // Programs of C99 ask for what is not in it.
    command.args(if cpp { None } else { Some("-D_POSIX_C_SOURCE=200809L") });
    run(command.arg(libraries().join("libhs2sync.a")).args(STATIC_LIBRARIES));
}
