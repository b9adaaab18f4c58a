//! A node is kept small, and safe: old blocks go, the disk is never filled, and a backup is made while it runs.

use std::fs;

use serde_json::Value;

use crate::common::{Server, World, complaint, hs2_sync, report, strs, wait_until};
use crate::metrics::{page, shown};

/// Value that a node at `address` shows of the figure `name`.
fn figure(address: &str, name: &str) -> Option<f64> {
    let page = page(address, "");
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn earliest(dir: &str) -> u64 {
    report(&["inspect", "--dir", dir])["earliest_height"].as_u64().unwrap()
}

const FOLLOW: [&str; 5] = ["--follow", "--metrics", "127.0.0.1:0", "--listen", "127.0.0.1:0"];

#[test]
fn a_node_that_follows_keeps_no_more_blocks_than_it_is_told_to() {
    let world = World::new(&["--blocks", "4000", "--epochs", "2", "--validators", "4"]);
    let servers = [world.server("server")];
    let sync = world.sync("node", &servers, &[&FOLLOW[..], &["--retain-blocks", "500"]].concat());
    let mut node = shown(&strs(&sync));
    // Peers are told, and so is its operator.
    wait_until(|| figure(&node.address, "hs2_sync_earliest_height").is_some_and(|height| height > 3000.0));
    assert!(hs2_sync(&["status", &node.address]).output().unwrap().status.success());
    node.stop();
    let kept = earliest(&world.text("node"));
    assert!((3001..=3501).contains(&kept), "{kept}");
    let files = fs::read_dir(world.path("node/segments")).unwrap().count();
    assert!(files <= 2, "{files}");
    // It serves the blocks that it has left, and whoever needs more is told who has them. Nobody else is there to help.
    drop(servers);
    let small = [Server::start(&world.path("node"), "127.0.0.1:0")];
    let late = complaint(&strs(&world.sync("late", &small, &["--patience", "3"])));
    assert!(late.contains(&format!("the earliest block is {kept}")) && late.contains("archive"), "{late}");
}

#[test]
fn a_node_stops_in_time_before_its_disk_is_full() {
    let world = World::new(&["--blocks", "300"]);
    let servers = [world.server("server")];
    let all = u32::MAX.to_string();
    let least = ["--min-free-mib", all.as_str()];
    let message = complaint(&strs(&world.sync("late", &servers, &[&least[..], &["--patience", "2"]].concat())));
    assert!(message.contains("min_free_disk") && message.contains("free disk space"), "{message}");
    assert_eq!(world.head("late")["height"], 0);
    let node = shown(&strs(&world.sync("late", &servers, &[&least[..], &FOLLOW].concat())));
    let mut said = String::new();
    wait_until(|| {
        said = String::from_utf8(hs2_sync(&["status", &node.address]).output().unwrap().stderr).unwrap();
        said.contains("the disk is full")
    });
    let page = page(&node.address, "");
    assert!(page.contains("hs2_sync_stall_reason{reason=\"disk_full\"} 1\n"), "{page}");
    let least = figure(&node.address, "hs2_sync_disk_least_free_bytes").unwrap();
    assert!(figure(&node.address, "hs2_sync_disk_free_bytes").unwrap() < least);
}

#[test]
fn a_backup_of_a_node_that_runs_opens_verifies_and_serves() {
    let world = World::new(&["--blocks", "2500", "--epochs", "2", "--app", "ledger", "--snapshot-interval", "1000"]);
    let servers = [world.server("server")];
    let key_file = world.text("node.key");
    let sync = world.sync("node", &servers, &[&FOLLOW[..], &["--app", "ledger", "--identity", &key_file]].concat());
    let mut node = shown(&strs(&sync));
    let (dir, to) = (world.text("node"), world.text("backup"));
    // While it catches up, while it follows, and of a server.
    let mut early = Value::Null;
    wait_until(|| {
        let output =
            hs2_sync(&["backup", "--dir", &dir, "--to", &world.text("early"), "--json", "-"]).output().unwrap();
        early = serde_json::from_slice(&output.stdout).unwrap_or_default();
        output.status.success()
    });
    wait_until(|| hs2_sync(&["status", &node.address]).output().unwrap().status.success());
    let made = report(&["backup", "--dir", &dir, "--to", &to]);
    assert_eq!((&made["height"], made["linked_files"].as_u64() > Some(1)), (&2500.into(), true), "{made}");
    let of_server = report(&["backup", "--dir", &world.text("server"), "--to", &world.text("third")]);
    assert_eq!(of_server["height"], 2500);
    let again = complaint(&["backup", "--dir", &dir, "--to", &to]);
    assert!(again.contains("backup holds a store already"), "{again}");
    assert!(hs2_sync(&["status", &node.address]).output().unwrap().status.success());
    let inspected = report(&["inspect", "--dir", &to]);
    assert_eq!((&inspected["ok"], &inspected["head"]["height"]), (&true.into(), &2500.into()), "{inspected}");
    assert!(!inspected["states"].as_array().unwrap().is_empty());
    let inspected = report(&["inspect", "--dir", &world.text("early")]);
    assert_eq!((&inspected["ok"], &inspected["head"]["height"]), (&true.into(), &early["height"]), "{inspected}");
    assert_eq!(world.head("third"), world.head("backup"));
    // The key of a node, its peers, and whatever else is its own are not in it.
    let mut names: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["LOCK", "db", "genesis", "segments"]);
    drop(servers);
    let served = [Server::start(&world.path("backup"), "127.0.0.1:0")];
    for (name, strategy) in [("blocks", "parallel"), ("state", "fast")] {
        let synced = report(&strs(&world.sync(name, &served, &["--app", "ledger", "--strategy", strategy])));
        assert_eq!((&synced["ok"], &synced["head"]), (&true.into(), &world.head("chain")), "{synced}");
    }
    drop(served);
    // The key is kept apart, and the rest is restored.
    node.stop();
    assert!(world.path("node.key").exists() && !world.path("node/identity.key").exists());
    fs::remove_dir_all(&dir).unwrap();
    let restored = report(&["restore", "--from", &to, "--dir", &dir]);
    assert_eq!(restored["head"], world.head("chain"));
    assert_eq!(report(&["inspect", "--dir", &dir])["ok"], true);
}

#[test]
fn a_chain_grows_under_a_follower() {
    for app in ["none", "ledger"] {
        let world = World::new(&["--blocks", "300", "--epochs", "2", "--validators", "4", "--app", app]);
        let mut servers = [world.server("server")];
        let sync = world.sync("node", &servers, &[&FOLLOW[..], &["--app", app]].concat());
        let mut node = shown(&strs(&sync));
        let at = |height: f64| wait_until(|| figure(&node.address, "hs2_sync_height") == Some(height));
        at(300.0);
        // Within the last epoch, to its very end at 450, and through the next three.
        for (blocks, height) in [("50", 350), ("100", 450), ("350", 800)] {
            let in_use = complaint(&["gen", "--extend", blocks, "--dir", &world.text("server")]);
            assert!(in_use.contains("in use"), "{in_use}");
            servers[0].stop();
            let extended = report(&["gen", "--extend", blocks, "--dir", &world.text("server")]);
            assert_eq!((&extended["head"]["height"], extended["blocks"].to_string()), (&height.into(), blocks.into()));
            servers[0].restart();
            at(f64::from(height));
        }
        node.stop();
        drop(servers);
        assert_eq!(world.head("node"), world.head("server"));
        assert_eq!(report(&["inspect", "--dir", &world.text("node")])["handovers"], 4);
    }
}
