//! Signals: work says that it heard and leaves nothing in the way, nodes end in order.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::{PROGRAM, Server, World, copy, hs2_sync, interrupt, report, signal, terminate, wait_until};

/// Where a chain is made until all of it is there.
const UNFINISHED: &str = "hs2-gen.part";

/// A number of blocks that nobody waits for.
const ENDLESS: &str = "50000000";

fn started(arguments: &[&str]) -> Child {
    hs2_sync(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A process's words until it ends, and its exit code.
fn end_of(process: Child) -> (String, Option<i32>) {
    let output = process.wait_with_output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn generating_stops_when_asked_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, text) = (folder.path().join("chain"), folder.path().join("chain").display().to_string());
    for app in ["none", "ledger"] {
        let process = started(&["gen", "--dir", &text, "--blocks", ENDLESS, "--app", app]);
        wait_until(|| dir.join(UNFINISHED).join("segments").exists());
        interrupt(&process);
        let (said, code) = end_of(process);
        assert!(said.contains("stopping; a second Ctrl-C ends it at once"), "{said}");
        assert!(said.contains("hs2-sync: stopped before it was done"), "{said}");
        assert_eq!(code, Some(1), "{said}");
        assert!(is_empty(&dir), "{app}");
    }
    // One that is killed can't remove anything; the next call does.
    let mut process = started(&["gen", "--dir", &text, "--blocks", ENDLESS]);
    wait_until(|| dir.join(UNFINISHED).join("segments").exists());
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(report(&["gen", "--dir", &text, "--blocks", "9"])["head"]["height"], 9);
    assert!(!dir.join(UNFINISHED).exists());
    assert_eq!(report(&["inspect", "--dir", &text])["head"]["height"], 9);
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, pipe) = (folder.path().join("chain"), folder.path().join("pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Nobody reads the pipe, so the work never ends.
    let mut process =
        started(&["gen", "--dir", dir.to_str().unwrap(), "--blocks", "9", "--json", pipe.to_str().unwrap()]);
    wait_until(|| dir.join("genesis.json").exists());
    interrupt(&process);
    let mut lines = BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("stopping; a second Ctrl-C"), "{line}");
    interrupt(&process);
    assert_eq!(process.wait().unwrap().code(), Some(130));
}

#[test]
fn a_tool_that_is_stopped_while_it_generates_can_be_called_again() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments, chain) in [
        ("demo", &["demo", "--blocks", ENDLESS, "--app", "none"][..], "chain"),
        ("bench", &["bench", "--entries", "500", "--gaps", ENDLESS], "1/chain"),
    ] {
        let dir = folder.path().join(name);
        let within = ["--dir", dir.to_str().unwrap()];
        for end in [interrupt as fn(&Child), terminate, |process: &Child| signal(process, "KILL")] {
            let process = started(&[arguments, &within].concat());
            wait_until(|| dir.join(chain).join(UNFINISHED).join("segments").exists());
            end(&process);
            let (said, code) = end_of(process);
            assert!(code.is_none() || (code == Some(1) && said.contains("stopping; a second Ctrl-C")), "{said}");
        }
    }
    let demo = ["demo", "--blocks", "300", "--app", "none", "--dir", &folder.path().join("demo").display().to_string()];
    assert_eq!(report(&demo)["ok"], true);
}

/// A world with a server that takes its time.
fn slow_world() -> (World, [Server; 1]) {
    let world = World::new(&["--blocks", "6000"]);
    copy(&world.path("chain"), &world.path("server"));
    let server = Server::start_with(&world.path("server"), "127.0.0.1:0", &["--rate", "400000"]);
    (world, [server])
}

/// Starts a sync under `env`, with SIGHUP as `hang_up` says, and returns it when blocks are stored.
fn catching_up(world: &World, servers: &[Server], name: &str, hang_up: &str) -> Child {
    let mut command = Command::new("env");
    command.arg(hang_up).arg(PROGRAM).args(world.sync(name, servers, &["--listen", "127.0.0.1:0"]));
    let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let segments = world.path(name).join("segments");
    wait_until(|| std::fs::read_dir(&segments).is_ok_and(|mut files| files.next().is_some()));
    process
}

#[test]
fn a_node_whose_supervisor_ends_it_has_not_failed() {
    let (world, servers) = slow_world();
    for name in ["TERM", "HUP"] {
        let process = catching_up(&world, &servers, name, "--default-signal=HUP");
        signal(&process, name);
        let (said, code) = end_of(process);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("nothing is lost, the next `sync` goes on from there"), "{said}");
        let height = world.head(name)["height"].as_u64().unwrap();
        assert!(0 < height && height < 6000, "{height}");
    }
}

#[test]
fn a_node_under_nohup_outlives_its_terminal() {
    let (world, servers) = slow_world();
    let process = catching_up(&world, &servers, "late", "--ignore-signal=HUP");
    signal(&process, "HUP");
    // Had it ended by that, it would not have failed.
    interrupt(&process);
    let (said, code) = end_of(process);
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn help_says_what_signals_and_codes_mean() {
    let help = |arguments: &[&str]| {
        let mut text = String::new();
        let mut process = hs2_sync(arguments).stdout(Stdio::piped()).spawn().unwrap();
        process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(process.wait().unwrap().success());
        text
    };
    let all = help(&["--help"]);
    for code in ["0  done", "1  failed", "2  the command line", "3  caught up", "130  ended at once"] {
        assert!(all.contains(code), "{code}: {all}");
    }
    for node in ["serve", "sync"] {
        assert!(help(&[node, "--help"]).contains("SIGHUP"), "{node}");
    }
}
