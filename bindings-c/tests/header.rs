//! `include/hs2sync.h` is what the source says. `HS2_BLESS=1 cargo test -p hotstuff2-sync-c --test header` writes it anew.

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use common::{header, include, package, prototypes};
use hotstuff2_sync::codes::TABLE;
use hs2sync::Status;

/// The files with functions, in the order of the manual.
const EXPORTS: [&str; 18] = [
    "basics",
    "buffers",
    "configs",
    "genesis",
    "starts",
    "machines",
    "jobs",
    "calls",
    "sessions",
    "respond",
    "states",
    "admission",
    "gates",
    "lights",
    "light_questions",
    "epochs",
    "headers",
    "certificates",
];

/// The files with plain values, in the order of the manual.
const TYPES: [&str; 9] = ["plain", "native", "serving", "session", "machine", "own_chain", "gate", "light", "state"];

const INTRODUCTION: &str = "\
/*
 * libhs2sync: brings a node that is behind to where a HotStuff-2 network is, from peers that nobody trusts.
 *
 * This file is made from the library's source and is its manual; docs/c.md shows how to begin. What holds everywhere:
 *
 * Results. A function returns HS2_OK (0) and has written its results, or another status and has written nothing.
 *   hs2_last_error says in words what was wrong. Statuses are only ever added.
 * Handles. Objects are named by numbers (hs2_handle) with a kind and a generation in them. A handle that was released,
 *   never given out, or is of another kind is a status, never undefined behaviour. 0 is no object. Whoever gets a handle
 *   has one reference and gives it back with hs2_release, on any thread; handing a handle to a function takes nothing
 *   away. hs2_retain makes one more reference.
 * Bytes. An hs2_slice that goes in is read until the call returns, and not kept. One that comes out belongs to the
 *   object that it was asked from, and is there until the last reference to that is released.
 * Threads. Any thread may call anything. Functions marked `one at a time` change their object: a second call at the same
 *   moment is told HS2_IN_USE, and changes nothing.
 * Callbacks. Functions of the host, in tables such as hs2_reader, are called only while the library's function that got
 *   the table runs, on the same thread, and are not kept. There are no others.
 * Panics. A defect of the library ends as HS2_PANICKED, with the object poisoned; no exception or panic crosses.
 * Pointers. Null, misaligned and impossible ones are HS2_INVALID_ARGUMENT. Others must lead where the types say.
 * Time. `now_us` is the host's monotonic clock in microseconds from a start of its choice; it must not run backwards.
 */
";

/// The constants that come from tables.
fn tables() -> String {
    let mut text = String::from("\n/* What functions return. */\n");
    for status in Status::ALL {
        let _ =
            writeln!(text, "/** {}. */\n#define HS2_{} {}", sentence(status.words()), status.name(), status.number());
    }
    text.push_str("\n/* What the machine says: numbers never change their meaning; hs2_code_name has the names. */\n");
    for (kind, codes) in TABLE {
        for (number, name) in *codes {
            let _ = writeln!(text, "#define HS2_{}_{} {number:#06x}u", screaming(kind), name.to_uppercase());
        }
    }
    text
}

/// `StallReason` as `STALL_REASON`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The first line of a file's own comment.
fn title(file: &str) -> String {
    let source = std::fs::read_to_string(package().join(format!("src/exports/{file}.rs"))).unwrap();
    let lines = source.lines().map_while(|line| line.strip_prefix("//! ").map(str::to_owned));
    lines.collect::<Vec<_>>().join(" ")
}

fn first_function(file: &str) -> String {
    let source = std::fs::read_to_string(package().join(format!("src/exports/{file}.rs"))).unwrap();
    let at = source.find("extern \"C\" fn ").expect("a file of functions has one") + "extern \"C\" fn ".len();
    source[at..].chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

fn generated() -> String {
    let source = package().join("src");
    let config = cbindgen::Config {
        language: cbindgen::Language::C,
        style: cbindgen::Style::Both,
        cpp_compat: true,
        include_guard: Some("HS2SYNC_H".into()),
        no_includes: true,
        sys_includes: vec!["stddef.h".into(), "stdint.h".into()],
        header: Some(INTRODUCTION.into()),
        after_includes: Some(tables()),
        usize_is_size_t: true,
        line_length: 110,
        ..cbindgen::Config::default()
    };
    let files = EXPORTS.iter().map(|file| source.join(format!("exports/{file}.rs")));
    let types = TYPES.map(|file| source.join(format!("types/{file}.rs")));
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in types.into_iter().chain([source.join("status.rs")]).chain(files) {
        builder = builder.with_src(file);
    }
    let mut text = Vec::new();
    builder.generate().expect("the source can be read").write(&mut text);
    let mut text = String::from_utf8(text).expect("source is UTF-8");
    for file in EXPORTS {
        let function = first_function(file);
        let at = text.find(&format!("{function}(")).unwrap_or_else(|| panic!("{function} is not in the header"));
        let comment = text[..at].rfind("/**").expect("every function has a comment");
        text.insert_str(comment, &format!("/* ==== {} ==== */\n\n", title(file)));
    }
    // No line ends with a space.
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn the_header_is_what_the_source_says() {
    let (path, new) = (include().join("hs2sync.h"), generated());
    if std::env::var_os("HS2_BLESS").is_some() {
        std::fs::write(&path, &new).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(new.lines()).position(|(old, new)| old != new);
    assert!(
        committed == new,
        "include/hs2sync.h is not what the source says (line {differs:?} differs): HS2_BLESS=1 cargo test -p \
         hotstuff2-sync-c --test header writes it anew. What a compiled program would notice needs another HS2_ABI"
    );
}

#[test]
fn every_file_of_functions_and_values_is_in_the_header() {
    for (folder, listed) in [("exports", &EXPORTS[..]), ("types", &TYPES[..])] {
        let files = std::fs::read_dir(package().join("src").join(folder)).unwrap();
        let files: BTreeSet<String> =
            files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
        let listed: BTreeSet<String> = listed.iter().copied().chain(["mod"]).map(|file| format!("{file}.rs")).collect();
        assert_eq!(files, listed);
    }
}

#[test]
fn every_function_says_what_a_caller_must_know() {
    let all = prototypes(&header());
    assert!(all.len() > 40, "{} functions", all.len());
    let mut complaints = Vec::new();
    for function in &all {
        for word in ["Threads:", "Errors:"] {
            if !function.doc.contains(word) {
                complaints.push(format!("{} does not say `{word}`", function.name));
            }
        }
        let gives = function
            .params
            .iter()
            .any(|(kind, _)| kind.strip_suffix('*').is_some_and(|of| of.trim() == "hs2_slice" || is_handle(of.trim())));
        if gives && !function.doc.contains("Ownership:") {
            complaints.push(format!("{} does not say `Ownership:`", function.name));
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

fn is_handle(kind: &str) -> bool {
    header().contains(&format!("typedef hs2_handle {kind};"))
}

#[test]
fn every_status_that_a_function_names_exists() {
    let known: BTreeSet<String> = Status::ALL.iter().map(|status| format!("HS2_{}", status.name())).collect();
    for function in prototypes(&header()) {
        let errors = function.doc.split("Errors:").nth(1).unwrap_or_default();
        for name in errors.split('`').filter(|word| word.starts_with("HS2_")) {
            let constant = header().contains(&format!("#define {name} "));
            assert!(known.contains(name) || constant, "{} names {name}", function.name);
        }
    }
}
