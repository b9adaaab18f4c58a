//! What users and disks get wrong: one clear line says what and what to do, and nothing is lost.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{PROGRAM, Server, World, complaint, complaint_of, copy, files, flip, hs2_sync, report, strs};

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

fn has(message: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| message.contains(part)) && message.lines().count() == 1, "{message}");
}

/// A world whose node has caught up, and the server that it caught up from.
fn caught_up() -> (World, [Server; 1]) {
    let world = World::new(&["--blocks", "2500"]);
    let servers = [world.server("server")];
    completes(&world, &servers, "late");
    (world, servers)
}

fn completes(world: &World, servers: &[Server], name: &str) {
    let end = report(&strs(&world.sync(name, servers, &[])));
    assert_eq!((&end["ok"], &end["head"]["height"]), (&true.into(), &2500.into()));
}

#[test]
fn a_damaged_segment_is_found_and_named() {
    let (world, servers) = caught_up();
    for segment in files(&world.path("late/segments")) {
        copy(&world.path("late"), &world.path("broken"));
        let name = segment.file_name().unwrap();
        flip(&world.path("broken/segments").join(name));
        let message = complaint(&["inspect", "--dir", &world.text("broken")]);
        has(&message, &[name.to_str().unwrap(), "is damaged", "hs2-sync repair --dir"]);
        // Put back from a backup, all is there.
        fs::copy(&segment, world.path("broken/segments").join(name)).unwrap();
        assert_eq!(world.head("broken"), world.head("late"));
        fs::remove_dir_all(world.path("broken")).unwrap();
    }
    completes(&world, &servers, "again");
}

#[test]
fn a_damaged_database_is_found_or_does_no_harm() {
    let (world, servers) = caught_up();
    // Opening a store may rewrite its files, so the one that the copies are made of stays shut.
    let (shut, broken) = (world.path("shut"), world.path("broken"));
    copy(&world.path("late"), &shut);
    let head = world.head("late");
    let mut found = 0;
    for file in files(&shut.join("db")) {
        copy(&shut, &broken);
        flip(&broken.join(file.strip_prefix(&shut).unwrap()));
        let output = hs2_sync(&["inspect", "--json", "-", "--dir", broken.to_str().unwrap()]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            let inspected: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(inspected["head"], head, "{}", file.display());
        } else {
            assert_eq!(output.status.code(), Some(1), "{}: {text}", file.display());
            has(text.trim_end(), &["hs2-sync: ", broken.to_str().unwrap(), "; "]);
            has(&complaint(&strs(&world.sync("broken", &servers, &["--patience", "5"]))), &["; "]);
            found += 1;
        }
        fs::remove_dir_all(&broken).unwrap();
    }
    assert!(found > 0);
    completes(&world, &servers, "again");
}

#[test]
fn a_wrong_genesis_file_is_refused() {
    let (world, servers) = caught_up();
    report(&["gen", "--dir", &world.text("other"), "--blocks", "9", "--seed", "2"]);
    let sync = |genesis: &str, dir: &str| {
        let [server] = &servers;
        complaint(&[
            "sync",
            "--genesis",
            genesis,
            "--dir",
            &world.text(dir),
            "--peer",
            &server.peer,
            "--patience",
            "15",
        ])
    };
    let other = world.text("other/genesis.json");
    has(&sync(&other, "late"), &["holds chain", "check the genesis file"]);
    has(&sync(&other, "new"), &["the peers serve chain", "name the genesis file of their chain"]);
    has(&sync(&world.text("nowhere.json"), "late"), &["nowhere.json can't be read", "name the file"]);

    let good = fs::read_to_string(world.genesis()).unwrap();
    let bent = world.path("bent.json");
    for (text, wrong) in [
        ("once upon a time".to_owned(), "is not a genesis file"),
        (good.replace("hs2-sync-gen-1", "hs2-sync-gen-2"), "it was changed"),
    ] {
        assert_ne!(text, good);
        fs::write(&bent, text).unwrap();
        has(&sync(bent.to_str().unwrap(), "late"), &["bent.json", wrong, "get it again"]);
    }
    completes(&world, &servers, "late");
}

#[test]
fn a_port_or_a_folder_in_use_is_named() {
    let (world, servers) = caught_up();
    let [server] = &servers;
    let (_, port) = server.address.split_once(':').unwrap();
    let message = complaint(&["serve", "--dir", &world.text("late"), "--listen", &server.address]);
    has(&message, &[port, "in use", "choose another port"]);
    let message = complaint(&strs(&world.sync("new", &servers, &["--listen", &server.address])));
    has(&message, &[port, "in use", "choose another port"]);
    completes(&world, &servers, "new");

    let holder = Server::start(&world.path("late"), "127.0.0.1:0");
    for message in [
        complaint(&strs(&world.sync("late", &servers, &[]))),
        complaint(&["inspect", "--dir", &world.text("late")]),
        complaint(&["serve", "--dir", &world.text("late")]),
    ] {
        has(&message, &["late is in use by another process", "stop that process"]);
    }
    drop(holder);
    completes(&world, &servers, "late");
}

#[test]
fn nobody_at_an_address_is_said() {
    let (world, servers) = caught_up();
    let sync = |peer: &str| {
        let (genesis, dir) = (world.genesis(), world.text("new"));
        complaint(&["sync", "--genesis", &genesis, "--dir", &dir, "--peer", peer, "--patience", "2"])
    };
    has(&sync("127.0.0.1:9"), &["127.0.0.1:9 did not answer", "check the address"]);
    let other = format!("{}/{}", servers[0].address, "ab".repeat(32));
    has(&sync(&other), &[&servers[0].address, "abababab", "check"]);
    completes(&world, &servers, "new");
}

/// A command for a user that may not write what this one owns.
fn powerless(world: &World, arguments: &[String]) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return hs2_sync(&strs(arguments));
    }
    let program = world.path("program");
    if !program.exists() {
        fs::copy(PROGRAM, &program).unwrap();
        fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).uid(NOBODY).gid(NOBODY);
    command
}

#[test]
fn missing_permissions_are_said() {
    let (world, servers) = caught_up();
    let closed = world.path("closed");
    fs::create_dir(&closed).unwrap();
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&closed, 0o555);
    let message = complaint_of(powerless(&world, &world.sync("closed/new", &servers, &[])));
    has(&message, &["closed", "ermission denied", "write access"]);
    set(&closed, 0o755);
    completes(&world, &servers, "closed/new");

    let store = world.path("late");
    for path in files(&store) {
        set(&path, 0o444);
    }
    set(&store.join("LOCK"), 0o444);
    let message = complaint_of(powerless(&world, &world.sync("late", &servers, &[])));
    has(&message, &["late", "ermission denied", "write access"]);
    for path in files(&store) {
        set(&path, 0o644);
    }
    set(&store.join("LOCK"), 0o644);
    set(&store.join("identity.key"), 0o600);
    completes(&world, &servers, "late");
}

#[test]
fn a_folder_that_holds_something_is_not_filled() {
    let world = World::new(&["--blocks", "9"]);
    has(&complaint(&["gen", "--dir", &world.text("chain")]), &["chain is not empty", "name a new folder"]);
    let missing = complaint(&["inspect", "--dir", &world.text("nowhere")]);
    has(&missing, &["nowhere holds no store", "name another directory"]);
}

#[test]
fn peers_that_go_away_end_a_sync_that_says_so() {
    let world = World::new(&["--blocks", "2500"]);
    let mut servers = [world.server("server")];
    completes(&world, &servers, "late");
    servers[0].kill();
    let message = complaint(&strs(&world.sync("late", &servers, &["--patience", "2"])));
    has(&message, &[&servers[0].address, "did not answer", "what is stored stays"]);
    servers[0].restart();
    completes(&world, &servers, "late");
}

#[test]
fn a_setting_that_cant_be_is_named_with_where_it_stands() {
    let world = World::new(&["--blocks", "9"]);
    let file = world.path("sync.toml");
    let printed = hs2_sync(&["config"]).output().unwrap();
    assert!(printed.status.success());
    fs::write(&file, &printed.stdout).unwrap();
    let with_file = ["config", "--config", file.to_str().unwrap()];
    assert!(hs2_sync(&with_file).output().unwrap().status.success(), "what it prints it also reads");
    fs::write(&file, "job_timeout = \"2h\"\n").unwrap();
    has(&complaint(&with_file), &["job_timeout = \"2h\"", "sync.toml", "100 ms..=1 h"]);
    let sync = world.sync("late", &[], &["--peer", "127.0.0.1:1"]);
    let mut command = hs2_sync(&strs(&sync));
    command.env("HS2_SYNC_MAX_SYNC_PEERS", "0");
    has(&complaint_of(command), &["max_sync_peers = 0", "HS2_SYNC_MAX_SYNC_PEERS", "1..=10000"]);
}
