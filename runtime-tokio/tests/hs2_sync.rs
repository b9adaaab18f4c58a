//! The command `hs2-sync` as its users run it: processes, files, exit codes and messages.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

fn hs2_sync(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hs2-sync"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    hs2_sync(arguments).output().unwrap()
}

/// Runs a command that must succeed with its report on standard output.
fn report(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--json", "-"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a command that must fail, and returns the last line of what it says, which must be its own.
fn complaint(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("hs2-sync: ").unwrap_or_else(|| panic!("{arguments:?}: {text}")).to_owned()
}

struct Server {
    process: Child,
    address: String,
    peer: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn serve(dir: &Path) -> Server {
    let mut command = hs2_sync(&["serve", "--json", "-", "--dir"]);
    let mut process = command.arg(dir).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let report: Value = serde_json::from_str(&line).unwrap();
    let text = |name: &str| report[name].as_str().unwrap().to_owned();
    let (address, id) = (text("address"), text("peer_id"));
    Server { process, peer: format!("{address}/{id}"), address }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { assert!(std::fs::copy(&path, &target).is_ok()) }
    }
}

/// A folder with a generated chain in `chain`.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new(arguments: &[&str]) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        report(&[&["gen", "--dir", &world.text("chain")], arguments].concat());
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn genesis(&self) -> String {
        self.text("chain/genesis.json")
    }

    fn server(&self, name: &str) -> Server {
        copy(&self.path("chain"), &self.path(name));
        serve(&self.path(name))
    }
}

#[test]
fn a_demo_ends_with_equal_heads() {
    let folder = tempfile::tempdir().unwrap();
    let demo = report(&[
        "demo",
        "--blocks",
        "5000",
        "--app",
        "ledger",
        "--seed",
        "1",
        "--dir",
        folder.path().join("demo").to_str().unwrap(),
    ]);
    let keys: Vec<&str> = demo.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected: Vec<&str> = "ok strategies start_height target_height head blocks seconds blocks_per_second \
        payload_bytes useful_bytes wire_bytes_received duplicate_bytes efficiency quorum_checks cpu_seconds \
        coordination_cpu_seconds peak_rss_bytes peak_buffered_bytes budget_bytes bottleneck peers"
        .split_whitespace()
        .collect();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!((&demo["ok"], &demo["head"]["height"], &demo["blocks"]), (&true.into(), &5000.into(), &5000.into()));
    assert!(demo["efficiency"].as_f64().unwrap() > 0.9, "{demo}");
    let peers = demo["peers"].as_array().unwrap();
    let with_role = |role: &str| peers.iter().filter(|peer| peer["role"] == role).collect::<Vec<_>>();
    assert_eq!((with_role("honest").len(), with_role("liar").len(), with_role("slow").len()), (2, 1, 1));
    assert!(with_role("honest").iter().chain(&with_role("slow")).all(|peer| peer["banned"].is_null()), "{demo}");
    let inspected = report(&["inspect", "--dir", folder.path().join("demo/late").to_str().unwrap()]);
    assert_eq!(inspected["head"], demo["head"]);
    assert_eq!((&inspected["blocks"], &inspected["handovers"]), (&5000.into(), &3.into()));
    assert_eq!((&inspected["epoch"], &inspected["earliest_height"]), (&3.into(), &1.into()));
}

#[test]
fn a_demo_without_an_honest_peer_is_refused() {
    assert!(complaint(&["demo", "--peers", "2"]).contains("at least one peer must be honest"));
}

#[test]
fn kill_nine_loses_nothing() {
    let world = World::new(&["--blocks", "20000", "--app", "ledger"]);
    let servers: Vec<Server> = (1..=3).map(|index| world.server(&format!("server-{index}"))).collect();
    let (genesis, late) = (world.genesis(), world.text("late"));
    let mut arguments = vec!["sync", "--app", "ledger", "--genesis", &genesis, "--dir", &late];
    servers.iter().for_each(|server| arguments.extend(["--peer", &server.peer]));
    let mut reached = 0;
    for round in 0..10u64 {
        let mut process = hs2_sync(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 97 % 1000));
        process.kill().unwrap();
        process.wait().unwrap();
        // Killed before there was a store, it begins again; there is nothing yet to lose.
        if world.path("late/genesis").exists() {
            let height = report(&["inspect", "--dir", &late])["head"]["height"].as_u64().unwrap();
            assert!(height >= reached, "{height} after {reached}");
            reached = height;
        }
    }
    assert!(reached > 0, "no round got anywhere");
    let end = report(&arguments);
    assert_eq!(end["ok"], true);
    assert!(end["start_height"].as_u64().unwrap() <= reached);
    drop(servers);
    let heads = ["late", "server-1"].map(|name| report(&["inspect", "--dir", &world.text(name)])["head"].clone());
    assert_eq!(heads[0], heads[1]);
    assert_eq!(end["head"], heads[0]);
}

#[test]
fn a_full_audit_syncs_from_a_chain_that_was_certified_for_it() {
    let world = World::new(&["--blocks", "300", "--certify-every", "1"]);
    let server = world.server("server");
    let end = report(&[
        "sync",
        "--audit",
        "--genesis",
        &world.genesis(),
        "--dir",
        &world.text("late"),
        "--peer",
        &server.peer,
    ]);
    assert_eq!(end["head"]["height"], 300);
    assert!(end["quorum_checks"].as_u64().unwrap() >= 300, "{end}");
}

#[test]
fn payloads_come_from_real_files() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("a"), vec![b'a'; 2500]).unwrap();
    std::fs::write(files.join("b"), vec![b'b'; 1000]).unwrap();
    let (chain, files) = (folder.path().join("chain"), files.to_str().unwrap());
    let chain = chain.to_str().unwrap();
    let made = report(&["gen", "--dir", chain, "--from", files, "--payload-bytes", "1000", "--epochs", "2"]);
    assert_eq!((&made["blocks"], &made["payload_bytes"]), (&4.into(), &3500.into()));
    let missing = complaint(&["gen", "--dir", "x", "--from", "/no/such/file"]);
    assert!(missing.contains("/no/such/file") && missing.contains("name a file"), "{missing}");
}

#[test]
fn bad_input_is_one_clear_line() {
    let world = World::new(&["--blocks", "2000"]);
    let server = world.server("server");
    let genesis = world.genesis();
    let sync = |genesis: &str, dir: &str, peer: &str| {
        complaint(&["sync", "--genesis", genesis, "--dir", &world.text(dir), "--peer", peer, "--patience", "15"])
    };

    report(&["gen", "--dir", &world.text("other"), "--blocks", "9", "--seed", "2"]);
    let other = world.text("other/genesis.json");
    let message = sync(&other, "late", &server.peer);
    assert!(message.contains("the peers serve chain") && message.contains("genesis file of their chain"), "{message}");
    let message = sync(&genesis, "late", &server.peer);
    assert!(message.contains("holds chain") && message.contains("check the genesis file"), "{message}");
    let message = sync(&world.text("nowhere.json"), "late", &server.peer);
    assert!(message.contains("nowhere.json can't be read"), "{message}");

    let message = complaint(&["serve", "--dir", &world.text("other"), "--listen", &server.address]);
    assert!(message.contains("in use") && message.contains("choose another port"), "{message}");
    let message = complaint(&["serve", "--dir", &world.text("server")]);
    assert!(message.contains("in use by another process"), "{message}");
    let message = sync(&genesis, "unreachable", "127.0.0.1:9");
    assert!(message.contains("127.0.0.1:9 did not answer") && message.contains("check the address"), "{message}");

    copy(&world.path("chain"), &world.path("broken"));
    let segment = std::fs::read_dir(world.path("broken/segments")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let message = complaint(&["inspect", "--dir", &world.text("broken")]);
    assert!(message.contains("is damaged") && message.contains("sync again"), "{message}");
    let message = complaint(&["gen", "--dir", &world.text("other")]);
    assert!(message.contains("is not empty"), "{message}");
}
