//! Nodes on hosts: a generated chain, processes that serve copies of it, and one that syncs from them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::hosts::Hosts;
use crate::link::Link;
use crate::{Common, Failure};

/// The port that every node listens on.
const PORT: u16 = 7000;

/// A process on a host. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    /// While this is open, the process goes on.
    stdin: Option<ChildStdin>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self, Failure> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin })
    }

    /// Lets it stop by itself.
    fn let_go(&mut self) {
        self.stdin = None;
    }

    /// Lets it stop by itself, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        self.let_go();
        self.child.wait()?;
        Ok(())
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> Result<bool, Failure> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// The first line that it prints, as JSON.
    pub(crate) fn first_line(&mut self) -> Result<Value, Failure> {
        let stdout = self.child.stdout.take().ok_or("the process has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(serde_json::from_str(&line).map_err(|error| format!("a process said `{}`: {error}", line.trim()))?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node that serves.
pub(crate) struct Server {
    /// Alive as long as this.
    process: Process,
    stats: PathBuf,
    /// Address and id, as `--peer` takes them.
    pub(crate) peer: String,
    pub(crate) id: String,
}

/// The line of each peer.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Line {
    /// Rate of each peer's line, in Mbit/s
    #[arg(long, default_value_t = 20, value_name = "MBIT")]
    pub(crate) mbit: u64,
    /// Delay of each peer's line, one way, in ms
    #[arg(long, default_value_t = 50, value_name = "MS")]
    delay_ms: u64,
    /// Packets in a million that are lost
    #[arg(long, default_value_t = 1000, value_name = "PPM")]
    loss_ppm: u32,
}

impl Line {
    /// A line as it was asked for.
    pub(crate) fn link(&self) -> Link {
        self.with_rate(self.mbit * 1_000_000)
    }

    /// The same with so many bits a second.
    pub(crate) fn with_rate(&self, rate: u64) -> Link {
        // Half a second of queue, as home routers have.
        let queue = (rate / 16).max(64 << 10);
        Link { rate, delay: Duration::from_millis(self.delay_ms), loss_ppm: self.loss_ppm, queue }
    }
}

/// The chain to generate.
pub(crate) struct ChainSize {
    pub(crate) blocks: u64,
    pub(crate) payload_bytes: u32,
    pub(crate) validators: u32,
}

/// Runs `command` to its end; an error where it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}

/// Generates a chain into `dir`.
pub(crate) fn generate(common: &Common, dir: &Path, size: &ChainSize) -> Result<(), Failure> {
    let mut command = Command::new(&common.program);
    command.arg("gen").arg("--dir").arg(dir).args(["--seed", &common.seed.to_string()]).args([
        "--blocks",
        &size.blocks.to_string(),
        "--payload-bytes",
        &size.payload_bytes.to_string(),
        "--validators",
        &size.validators.to_string(),
    ]);
    run(command.stdout(Stdio::null()))
}

/// Serves a copy of `chain`, made in `dir`, on a host.
pub(crate) fn serve(
    common: &Common,
    hosts: &Hosts,
    host: usize,
    chain: &Path,
    dir: &Path,
    more: &[String],
) -> Result<Server, Failure> {
    copy(chain, dir)?;
    let listen = SocketAddr::from((hosts.address(host), PORT));
    let mut command = hosts.command(host, &common.program);
    command.args(["serve", "--until-stdin-closes", "--json", "-", "--listen", &listen.to_string()]);
    let stats = dir.with_extension("stats");
    command.arg("--dir").arg(dir).arg("--stats").arg(&stats).args(more);
    let mut process = Process::start(&mut command)?;
    let report = process.first_line()?;
    let id = report["peer_id"].as_str().ok_or("a server that names no peer id")?.to_owned();
    Ok(Server { peer: format!("{listen}/{id}"), id, stats, process })
}

impl Server {
    /// Lets it stop.
    pub(crate) fn let_go(&mut self) {
        self.process.let_go();
    }

    /// Stops it, and returns what it counted.
    pub(crate) fn stop(self) -> Result<Value, Failure> {
        self.process.stop()?;
        Ok(serde_json::from_str(&fs::read_to_string(&self.stats)?)?)
    }
}

/// A number of a report.
pub(crate) fn number(report: &Value, name: &str) -> Result<f64, Failure> {
    report[name].as_f64().ok_or_else(|| format!("the report has no `{name}`").into())
}

/// Syncs on `host` into `dir` from `servers`, and returns the report.
pub(crate) fn sync(
    common: &Common,
    hosts: &Hosts,
    host: usize,
    genesis: &Path,
    dir: &Path,
    servers: &[Server],
    more: &[String],
) -> Result<Value, Failure> {
    let report: PathBuf = dir.with_extension("json");
    let mut command = hosts.command(host, &common.program);
    command.arg("sync").arg("--genesis").arg(genesis).arg("--dir").arg(dir).arg("--json").arg(&report).args(more);
    for server in servers {
        command.args(["--peer", &server.peer]);
    }
    run(command.stdout(Stdio::null()))?;
    Ok(serde_json::from_str(&fs::read_to_string(&report)?)?)
}

/// Copies a store. Sealed segments never change and are shared.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (source, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        if source.is_dir() {
            copy(&source, &target)?;
        } else if source.extension().is_none_or(|end| end != "seg") || fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
