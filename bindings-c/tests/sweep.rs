//! Misuse of every function: a C program is made from the header's prototypes, so that no function is left out. It calls
//! each with nulls, then all of them in random order with arguments that are null, misaligned, stale, of the wrong kind or
//! right, and looks that a call which fails has written nothing. Under the address and undefined behaviour sanitizers, and
//! under valgrind where it is installed.

mod common;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Prototype, compile, compilers, header, package, prototypes, run, runs, under_valgrind};

/// Calls in a sequence, and sequences.
const CALLS: u32 = 40;
const SEQUENCES: u32 = 10_000;
/// Fewer under valgrind, which is fifty times slower.
const SEQUENCES_IN_VALGRIND: u32 = 300;

/// The expression for an argument, and for a result the name of its place.
fn argument(header: &str, index: usize, kind: &str, name: &str) -> (String, Option<String>) {
    let is_handle = |kind: &str| kind == "hs2_handle" || header.contains(&format!("typedef hs2_handle {kind};"));
    match kind {
        "const char *" => ("any_text()".into(), None),
        "const hs2_slice *" => ("any_slices()".into(), None),
        "const hs2_chain_table *" => ("any_chain()".into(), None),
        "const hs2_state_store *" => ("any_states()".into(), None),
        "const hs2_change *" => ("any_changes()".into(), None),
        "hs2_block *" => ("any_blocks()".into(), None),
        "const hs2_proposal *" => ("any_proposal()".into(), None),
        "const hs2_link *" => ("any_link()".into(), None),
        "const hs2_reader *" => ("any_reader()".into(), None),
        "hs2_slice" => ("any_slice()".into(), None),
        "uint16_t" | "uint32_t" | "uint64_t" | "int32_t" | "hs2_status" => (format!("({kind})any_number()"), None),
        // Of arrays that are shown: never more than there is, unless the array is null.
        "size_t" => ("(size_t)any_count()".into(), None),
        kind if is_handle(kind) => ("any_handle()".into(), None),
        kind if kind.starts_with("const ") && kind.ends_with('*') => ("any_memory()".into(), None),
        kind if kind.ends_with('*') => {
            let of = kind.trim_end_matches('*').trim();
            let note = is_handle(of).then(|| format!("out[{index}]"));
            (format!("({kind})(out[{index}] = any_place({index}))"), note)
        }
        kind => panic!("the sweep knows no argument of the type `{kind}` (`{name}`)"),
    }
}

fn call(header: &str, function: &Prototype) -> String {
    let arguments = function.params.iter().enumerate().map(|(index, (kind, name))| argument(header, index, kind, name));
    let (expressions, places): (Vec<_>, Vec<_>) = arguments.unzip();
    let expression = format!("{}({})", function.name, expressions.join(", "));
    let mut body = String::new();
    if function.returns != "hs2_status" {
        let _ = write!(body, "    (void){expression};\n    return HS2_OK;\n");
        return format!("static hs2_status call_{}(void) {{\n{body}}}\n", function.name);
    }
    let _ = write!(body, "    hs2_status status = {expression};\n    looked_at(\"{}\", status);\n", function.name);
    for (of, keep) in
        [("hs2_output *", "keep_output"), ("hs2_session_event *", "keep_event"), ("hs2_gate_output *", "keep_order")]
    {
        if let Some(at) = function.params.iter().position(|(kind, _)| kind == of) {
            let _ = writeln!(body, "    if (status == HS2_OK) {keep}(out[{at}]);");
        }
    }
    for place in places.iter().flatten() {
        let _ = writeln!(body, "    if (status == HS2_OK) keep(*(hs2_handle *){place});");
    }
    let _ = writeln!(body, "    return status;");
    format!("static hs2_status call_{}(void) {{\n    begin();\n{body}}}\n", function.name)
}

/// A call with nothing but nulls and zeros.
fn null_call(header: &str, function: &Prototype) -> String {
    let zero = |kind: &str| match kind {
        "hs2_slice" => "empty".to_owned(),
        kind if kind.ends_with('*') => "NULL".to_owned(),
        _ => format!("({kind})0"),
    };
    let arguments: Vec<String> = function.params.iter().map(|(kind, _)| zero(kind)).collect();
    let call = format!("{}({})", function.name, arguments.join(", "));
    let takes_something = function.params.iter().any(|(kind, _)| {
        kind.ends_with('*') || kind == "hs2_handle" || header.contains(&format!("typedef hs2_handle {kind};"))
    });
    // Releasing nothing is let pass.
    if function.returns == "hs2_status" && takes_something && function.name != "hs2_release" {
        format!("    refuse(\"{}\", {call});\n", function.name)
    } else {
        format!("    (void){call};\n")
    }
}

fn program() -> String {
    let header = header();
    let functions = prototypes(&header);
    assert!(functions.len() > 40, "{} functions", functions.len());
    let mut text = std::fs::read_to_string(package().join("tests/c/sweep.h")).unwrap();
    for function in &functions {
        text.push_str(&call(&header, function));
    }
    let _ = write!(text, "static void nulls(void) {{\n    hs2_slice empty = {{ NULL, 0 }};\n    (void)empty;\n");
    functions.iter().for_each(|function| text.push_str(&null_call(&header, function)));
    let _ = write!(text, "}}\nstatic hs2_status (*const all[])(void) = {{\n");
    functions.iter().for_each(|function| {
        let _ = writeln!(text, "    call_{},", function.name);
    });
    text.push_str("};\n");
    text.push_str(&std::fs::read_to_string(package().join("tests/c/sweep_main.h")).unwrap());
    text
}

fn built(folder: &Path, more: &[&str]) -> PathBuf {
    let (source, program_path) = (folder.join("sweep.c"), folder.join("sweep"));
    std::fs::write(&source, program()).unwrap();
    compile(&compilers(false)[0], &source, &program_path, more);
    program_path
}

#[test]
fn misuse_is_a_status_and_never_undefined() {
    let folder = tempfile::tempdir().unwrap();
    let program = built(folder.path(), &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    let said = run(Command::new(program).args([SEQUENCES.to_string(), CALLS.to_string()]));
    assert!(said.contains("every function was called"), "{said}");
}

#[test]
fn misuse_loses_no_byte_and_reads_none_that_is_not_there() {
    if !runs("valgrind") {
        println!("valgrind is not installed: `apt-get install valgrind`. This was not checked.");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = built(folder.path(), &[]);
    run(under_valgrind(&program).args([SEQUENCES_IN_VALGRIND.to_string(), CALLS.to_string()]));
}
