//! Damage to a node's files: seen by `inspect`, mended by `serve` while it runs and by `repair` while it doesn't.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Server, World, complaint, copy, flip, hs2_sync, report, strs};

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("segments")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn text_of(arguments: &[&str]) -> (bool, String) {
    let output = hs2_sync(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn a_running_server_heals_each_segment_from_its_peers() {
    let world = World::new(&["--blocks", "2500", "--epochs", "2", "--validators", "4"]);
    let peers = [world.server("one"), world.server("two")];
    copy(&world.path("chain"), &world.path("node"));
    let named = ["--peer", &peers[0].peer, "--peer", &peers[1].peer];
    let server = Server::start_with(&world.path("node"), "127.0.0.1:0", &named);
    let servers = [&server, &peers[0]].map(|server| ["--peer", &server.peer]).concat();
    for (number, file) in segments(&world.path("node")).into_iter().enumerate() {
        let whole = std::fs::read(&file).unwrap();
        flip(&file);
        // Nobody gets a false answer meanwhile, and nobody is banned for it.
        let late = world.text(&format!("late-{number}"));
        let arguments = ["sync", "--genesis", &world.genesis(), "--dir", &late].map(str::to_owned);
        let synced = report(&[&strs(&arguments)[..], &servers].concat());
        assert_eq!((&synced["ok"], &synced["head"]["height"]), (&true.into(), &2500.into()), "{synced}");
        let blamed = |peer: &Value| peer["false_answers"] != 0 || !peer["banned"].is_null();
        assert!(!synced["peers"].as_array().unwrap().iter().any(blamed), "{synced}");
        let begin = Instant::now();
        // A minute is the bound; a loaded machine gets two.
        while std::fs::read(&file).ok().as_ref() != Some(&whole) {
            assert!(begin.elapsed() < Duration::from_secs(120), "{} stays damaged", file.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_stopped_node_is_repaired_and_what_is_left_is_told() {
    let world = World::new(&["--blocks", "2500", "--epochs", "2", "--validators", "4"]);
    let node = world.text("node");
    let dir = world.path("node");
    copy(&world.path("chain"), &dir);
    let sound = report(&["repair", "--dir", &node]);
    assert_eq!((&sound["ok"], sound["damaged"].as_array().unwrap().len()), (&Value::Bool(true), 0));

    let files = segments(&dir);
    let whole: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    flip(&files[0]);
    std::fs::remove_file(&files[2]).unwrap();
    let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
    let (ok, text) = text_of(&["inspect", "--dir", &node]);
    assert!(!ok && text.contains(&name(&files[0])) && text.contains(&name(&files[2])), "{text}");
    assert!(text.contains("hs2-sync repair --dir"), "{text}");

    // Nobody is known, nobody has it.
    assert!(complaint(&["repair", "--dir", &node]).contains("--peer"));
    let peer = world.server("one");
    let mended = report(&["repair", "--dir", &node, "--peer", &peer.peer]);
    assert_eq!(mended["ok"], true);
    let parts = mended["damaged"].as_array().unwrap();
    assert_eq!(parts.len(), 2);
    let id = peer.peer.rsplit('/').next().unwrap();
    assert!(parts.iter().all(|part| part["mended"] == true && part["from"][0] == id), "{mended}");
    for (file, whole) in files.iter().zip(&whole) {
        assert!(&std::fs::read(file).unwrap() == whole, "{}", file.display());
    }
    assert_eq!(report(&["inspect", "--dir", &node])["ok"], true);

    std::fs::remove_file(&files[1]).unwrap();
    std::fs::remove_file(segments(&world.path("one")).remove(1)).unwrap();
    let (ok, text) = text_of(&["repair", "--dir", &node, "--peer", &peer.peer, "--patience", "0"]);
    assert!(!ok && text.contains(&name(&files[1])) && text.contains("not mended") && text.contains("--peer"), "{text}");
}

#[test]
fn a_root_that_is_shown_was_computed() {
    let world = World::new(&[
        "--blocks",
        "300",
        "--epochs",
        "2",
        "--validators",
        "4",
        "--app",
        "ledger",
        "--snapshot-interval",
        "100",
    ]);
    let (chain, node) = (world.text("chain"), world.text("node"));
    let sound = report(&["inspect", "--dir", &chain]);
    let states = sound["states"].as_array().unwrap();
    assert!(states.iter().any(|state| state["height"] == 300), "{sound}");
    let newest = states.iter().find(|state| state["height"] == 300).unwrap();
    assert_eq!(newest["computed_state_root"], sound["head"]["header_state_root"]);
    // Whose root it is stands with each that is printed.
    let root = newest["computed_state_root"].as_str().unwrap();
    let (ok, text) = text_of(&["inspect", "--dir", &chain]);
    assert!(ok, "{text}");
    for line in text.lines().filter(|line| line.contains(root)) {
        assert!(line.contains("in its header") || line.contains("hash to"), "{line}");
    }
    let (ok, text) = text_of(&["inspect", "--dir", &chain, "--quick"]);
    assert!(ok && text.contains("no state was looked at (--quick)") && !text.contains("hash to"), "{text}");

    // One bit in the values, and the state is not said to be sound.
    let tables = |dir: &Path| {
        let keyspaces = std::fs::read_dir(dir.join("db/keyspaces")).unwrap().map(|entry| entry.unwrap().path());
        let files = keyspaces.flat_map(|keyspace| crate::common::files(&keyspace.join("tables")));
        files.filter(|file| file.metadata().unwrap().len() > 100_000).collect::<Vec<_>>()
    };
    copy(&world.path("chain"), &world.path("node"));
    // Opened and closed once more, so that the values are in tables.
    report(&["inspect", "--dir", &node]);
    let tables = tables(&world.path("node"));
    assert!(!tables.is_empty(), "no table is large enough to hold the state");
    tables.iter().for_each(|table| flip(table));
    let (ok, text) = text_of(&["inspect", "--dir", &node]);
    assert!(!ok && text.contains("damaged: the state after block 300") && !text.contains("hash to"), "{text}");
}
