//! Logs: `RUST_LOG`, `-v`, `-q` and `--log-format`.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::{World, hs2_sync, strs};

/// What a command says on standard error, and its exit code.
fn said(mut command: Command) -> (String, Option<i32>) {
    let output = command.stdout(Stdio::null()).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

/// A sync that fails, since nobody is at the address over TCP that it is given.
fn failing(world: &World, more: &[&str]) -> Command {
    let nobody = format!("tcp://127.0.0.1:1/{}", "ab".repeat(32));
    // A peer over QUIC too: those over TCP alone are dialled by the network, not by discovery.
    let peers = ["--peer", "127.0.0.1:1", "--peer", &nobody, "--patience", "1"];
    hs2_sync(&strs(&world.sync("late", &[], &[&peers[..], more].concat())))
}

const LIBRARY: &str = " WARN hotstuff2_sync_tokio::net::tcp";

#[test]
fn warnings_of_the_library_are_logged_with_the_time() {
    let world = World::new(&["--blocks", "9"]);
    let (text, code) = said(failing(&world, &[]));
    assert_eq!(code, Some(1), "{text}");
    let line = text.lines().find(|line| line.contains(LIBRARY)).unwrap_or_else(|| panic!("{text}"));
    // As in 2026-11-30T23:07:12.123456Z.
    let (time, _) = line.split_once(' ').unwrap();
    assert!(time.len() == 27 && time.ends_with('Z') && &time[10..11] == "T", "{line}");
    assert!(!text.contains("DEBUG"), "{text}");
}

#[test]
fn levels_come_from_the_command_line_or_the_environment() {
    let world = World::new(&["--blocks", "9"]);
    let (text, _) = said(failing(&world, &["-q"]));
    assert_eq!(text.lines().count(), 1, "the error alone: {text}");
    assert!(text.starts_with("hs2-sync: "), "{text}");
    let mut command = failing(&world, &[]);
    command.env("RUST_LOG", "hotstuff2_sync_tokio::net=error");
    assert!(!said(command).0.contains(LIBRARY));
    let mut command = failing(&world, &[]);
    command.env("RUST_LOG", "hotstuff2_sync_tokio=loud");
    let (text, _) = said(command);
    assert!(text.contains("RUST_LOG is not followed") && text.contains(LIBRARY), "{text}");
}

#[test]
fn records_hold_all_that_is_said() {
    let world = World::new(&["--blocks", "2000"]);
    let servers = [world.server("server")];
    let arguments = world.sync("late", &servers, &["--log-format", "json"]);
    let (text, code) = said(hs2_sync(&strs(&arguments)));
    assert_eq!(code, Some(0), "{text}");
    drop(servers);
    let (text, code) = said(failing(&world, &["--log-format", "json", "-v"]));
    assert_eq!(code, Some(1), "{text}");
    let records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    for record in &records {
        assert!(record["timestamp"].is_string() && record["message"].is_string(), "{record}");
    }
    let of = |target: &str, level: &str| records.iter().any(|it| it["target"] == target && it["level"] == level);
    assert!(of("hs2_sync", "ERROR") && of("hs2_sync", "INFO"), "{text}");
    assert!(records.iter().any(|it| it["target"].as_str().unwrap().starts_with("hotstuff2_sync_tokio")), "{text}");
    let (text, _) = said(failing(&world, &["--log-format", "text"]));
    assert!(text.lines().all(|line| line.contains(" INFO ") || line.contains(" WARN ") || line.contains("ERROR ")));
}
