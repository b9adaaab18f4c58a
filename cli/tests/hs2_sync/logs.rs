//! Logs: `RUST_LOG`, `-v`, `-q` and `--log-format`.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::{PROGRAM, World, hs2_sync, strs};

/// A command's standard error, and its exit code.
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

/// Output of a command to a terminal of so many columns.
fn on_terminal(columns: u32, arguments: &[&str]) -> String {
    let quoted: Vec<String> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("stty cols {columns} rows 40; exec {PROGRAM} {}", quoted.join(" "));
    let output = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn a_terminal_sees_bars_that_fit_and_lines_between_them() {
    let world = World::new(&["--blocks", "2500", "--app", "ledger"]);
    let servers = [world.server("server")];
    for columns in [40, 80, 200] {
        let name = format!("late-{columns}");
        let text = on_terminal(columns, &strs(&world.sync(&name, &servers, &["-v"])));
        assert!(text.contains("syncing ["), "{text}");
        // Blocks that were stored without an application are executed first, and that is shown too.
        let text = on_terminal(columns, &strs(&world.sync(&name, &servers, &["--app", "ledger"])));
        assert!(text.contains("executing ["), "{text}");
        let bars = text.split(['\r', '\n']).filter(|line| line.contains("ing ["));
        for bar in bars {
            // The lanes of peers follow a bar on lines of their own, each filled up to the terminal's width.
            let (shown, lines) = (plain(bar).chars().count(), plain(bar).matches('[').count());
            assert!(shown <= lines * usize::try_from(columns).unwrap(), "{shown} in {lines}: {bar}");
        }
    }
}

/// A line without what colours it and moves the cursor.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if character == '\u{1b}' {
            // As in "\e[32m": everything up to a letter.
            while rest.next().is_some_and(|part| !part.is_ascii_alphabetic()) {}
        } else {
            text.push(character);
        }
    }
    text
}
