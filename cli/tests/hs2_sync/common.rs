//! Runs `hs2-sync`: processes of it, and worlds of folders for them.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_hs2-sync");

pub(crate) fn hs2_sync(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// The JSON of a command that must succeed with its report on standard output.
pub(crate) fn report_of(mut command: Command) -> Value {
    let output = command.args(["--json", "-"]).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn report(arguments: &[&str]) -> Value {
    report_of(hs2_sync(arguments))
}

/// What is wrong, by a command that must fail: the one line that is its own, and its last.
pub(crate) fn complaint_of(mut command: Command) -> String {
    let output = command.output().unwrap();
    complaint_in(&format!("{command:?}"), &output)
}

pub(crate) fn complaint(arguments: &[&str]) -> String {
    complaint_of(hs2_sync(arguments))
}

pub(crate) fn complaint_in(command: &str, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{command}: {text}");
    let own = text.lines().filter(|line| line.starts_with("hs2-sync: ")).count();
    assert_eq!(own, 1, "{command}: {text}");
    let last = text.lines().last().and_then(|line| line.strip_prefix("hs2-sync: "));
    last.unwrap_or_else(|| panic!("{command}: {text}")).to_owned()
}

/// A serving process. Dropped, it is killed.
pub(crate) struct Server {
    process: Child,
    dir: PathBuf,
    pub(crate) address: String,
    pub(crate) peer: String,
    /// `tcp://` and where it listens over TCP, if it does.
    pub(crate) tcp: Option<String>,
}

impl Server {
    pub(crate) fn start(dir: &Path, listen: &str) -> Self {
        Self::start_with(dir, listen, &[])
    }

    pub(crate) fn start_with(dir: &Path, listen: &str, more: &[&str]) -> Self {
        let mut command = hs2_sync(&["serve", "--json", "-", "--listen", listen, "--dir"]);
        let mut process = command.arg(dir).args(more).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let report: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{command:?} says {line:?}"));
        let text = |name: &str| report[name].as_str().unwrap().to_owned();
        let (address, id) = (text("address"), text("peer_id"));
        let tcp = report["tcp"].as_str().map(|at| format!("tcp://{at}/{id}"));
        Self { process, dir: dir.to_owned(), peer: format!("{address}/{id}"), address, tcp }
    }

    pub(crate) fn process(&mut self) -> &mut Child {
        &mut self.process
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Stops it as its operator does, so that peers are told.
    pub(crate) fn stop(&mut self) {
        interrupt(&self.process);
        self.process.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) {
        *self = Self::start(&self.dir, &self.address);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { assert!(std::fs::copy(&path, &target).is_ok()) }
    }
}

/// The files under `dir` that hold anything.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.metadata().unwrap().len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Flips a bit in the middle of a file.
pub(crate) fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Looks until `done`, without end but the test's own.
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends Ctrl-C.
pub(crate) fn interrupt(process: &Child) {
    signal(process, "INT");
}

/// Asks a process to end, as its operator would.
pub(crate) fn terminate(process: &Child) {
    signal(process, "TERM");
}

/// Sends the signal of this name.
pub(crate) fn signal(process: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", process.id())]).status().unwrap();
    assert!(sent.success());
}

/// A folder with a generated chain in `chain`.
pub(crate) struct World {
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        report(&[&["gen", "--dir", &world.text("chain")], arguments].concat());
        world
    }

    /// A world whose chain is a copy of the store in the folder `dir`.
    pub(crate) fn of(dir: &Path) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        copy(dir, &world.path("chain"));
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn genesis(&self) -> String {
        self.text("chain/genesis.json")
    }

    /// Serves a copy of the chain in the folder `name`.
    pub(crate) fn server(&self, name: &str) -> Server {
        copy(&self.path("chain"), &self.path(name));
        Server::start(&self.path(name), "127.0.0.1:0")
    }

    /// The arguments of a sync from `servers` into the folder `name`.
    pub(crate) fn sync(&self, name: &str, servers: &[Server], more: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["sync", "--genesis", &self.genesis(), "--dir", &self.text(name)].map(str::to_owned).into();
        servers.iter().for_each(|server| arguments.extend(["--peer".to_owned(), server.peer.clone()]));
        arguments.extend(more.iter().map(|&text| text.to_owned()));
        arguments
    }

    /// The head in the folder `name`.
    pub(crate) fn head(&self, name: &str) -> Value {
        report(&["inspect", "--dir", &self.text(name)])["head"].clone()
    }
}

pub(crate) fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
