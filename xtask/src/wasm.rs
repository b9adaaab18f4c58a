//! The modules for JavaScript, from the compiler to a page: each is built for WebAssembly, bound and made small, the npm
//! package is packed and held to its budget, and what was packed is tried in Node and in headless Chromium against real
//! processes of the command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::Workspace;
use crate::{c, command, web_assembly};

/// Builds, packs and tries everything.
pub(crate) fn check(workspace: &Workspace) -> Result<(), String> {
    node()?;
    let target = workspace.target.join("wasm");
    let packed = target.join("packed");
    for kind in ["light", "full"] {
        let package = web_assembly::Package {
            name: "hotstuff2-sync-wasm",
            library: "hotstuff2_sync_wasm",
            profile: "wasm",
            features: Some(kind),
        };
        let module = web_assembly::build(workspace, &package, &target, &flags())?;
        bind(workspace, &module, &packed, &format!("hs2_{kind}"))?;
    }
    let js = workspace.root.join("bindings-wasm/js");
    command::run(npm(&js).args(["ci", "--no-audit", "--no-fund"]))?;
    audit(&js)?;
    command::run(Command::new("node").current_dir(&js).arg("scripts/build.mjs").arg(&packed))?;
    command::run(workspace.cargo().args(["build", "--package", "hs2-sync"]))?;
    let tried = install(&js, &target.join("tried"))?;
    let program = workspace.target.join("debug/hs2-sync");
    let test = |file: &str, options: &[&str]| {
        let mut node = Command::new("node");
        node.current_dir(&tried).env("HS2_SYNC", &program).args(options).arg(file);
        command::run(&mut node)
    };
    test("node.mjs", &["--experimental-websocket", "--no-warnings"])?;
    test("full.mjs", &[])?;
    c::ensure(&["chromium"])?;
    test("chromium.mjs", &[])
}

/// Flags for rustc. SHA-2 in its short form, a page hashes little with it; and places of panics without the folder of whoever
/// builds.
fn flags() -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let sources = home.map(|home| format!("--remap-path-prefix={}/=", home.join("registry/src").display()));
    let short = ["--cfg".to_owned(), "sha2_backend_soft=\"compact\"".to_owned()];
    short.into_iter().chain(sources).collect()
}

/// Node and npm, which this step does not install: everybody has them from somewhere else.
fn node() -> Result<(), String> {
    for program in ["node", "npm"] {
        if !command::succeeds(Command::new(program).arg("--version")) {
            return Err(format!(
                "`{program}` is missing: install Node 20.10 or newer, from https://nodejs.org or your system"
            ));
        }
    }
    Ok(())
}

fn npm(folder: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(folder);
    npm
}

/// Makes the JavaScript side of the module.
fn bind(workspace: &Workspace, module: &Path, packed: &Path, name: &str) -> Result<(), String> {
    let folder = workspace.root.join("bindings-wasm/pack");
    let tools = workspace.target.join("wasm-pack");
    command::run(
        workspace
            .cargo()
            .args(["build", "--release", "--locked", "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&tools),
    )?;
    let program = tools.join("release/hotstuff2-sync-wasm-pack");
    command::run(Command::new(program).arg(module).arg(packed).arg(name))
}

/// Known faults of what the package is built with. It depends on nothing once it is built.
fn audit(js: &Path) -> Result<(), String> {
    let arguments = ["audit", "--audit-level=low"];
    match command::output(npm(js).args(arguments)) {
        Ok(_) => Ok(()),
        // A mirror of the registry may have no advisories.
        Err(reason) if reason.contains("npm error") => {
            println!("npm could not be asked for known faults: {reason}");
            Ok(())
        }
        Err(_) => command::run(npm(js).args(arguments)),
    }
}

/// Looks for what other tools would trip over in the packed file: its entries, and the types of each for every way to import it. It is
/// for `import` alone, and the module itself has no types.
fn lint(js: &Path, tarball: &Path) -> Result<(), String> {
    let tool = |name: &str, arguments: &[&str]| {
        command::run(npm(js).args(["exec", "--no", "--", name]).args(arguments).arg(tarball))
    };
    tool("publint", &["run", "--strict"])?;
    tool("attw", &["--profile", "esm-only", "--exclude-entrypoints", "hs2_light.wasm", "hs2_full.wasm", "--"])
}

/// Installs what `npm pack` makes into `folder`, as a user would, with the tests beside it.
fn install(js: &Path, folder: &Path) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    fs::create_dir_all(folder).map_err(failed)?;
    let tarball = command::output(npm(js).args(["pack", "--silent", "--pack-destination"]).arg(folder))?;
    lint(js, &folder.join(tarball.trim()))?;
    fs::write(folder.join("package.json"), "{ \"private\": true, \"type\": \"module\" }\n").map_err(failed)?;
    let playwright = format!("playwright-core@{PLAYWRIGHT}");
    command::run(
        npm(folder).args(["install", "--no-audit", "--no-fund"]).arg(format!("./{}", tarball.trim())).arg(playwright),
    )?;
    for entry in fs::read_dir(js.join("test")).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        fs::copy(entry.path(), folder.join(entry.file_name())).map_err(failed)?;
    }
    Ok(folder.to_owned())
}

/// Drives Chromium. It brings no browser of its own.
const PLAYWRIGHT: &str = "1.65.1";
