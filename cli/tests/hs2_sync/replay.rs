//! `sync --record` and `replay`: a sync over the network is played again from its trace, without network and store.

use std::fs;

use serde_json::Value;

use crate::common::{Server, World, complaint, report, strs};

/// A world in which a sync from two servers was recorded, and the report of that sync.
fn recorded(more: &[&str]) -> (World, Value) {
    let chain = ["--blocks", "6000", "--epochs", "3", "--payload-bytes", "500", "--app", "ledger"];
    let world = World::new(&[&chain[..], &["--snapshot-interval", "2000"]].concat());
    let servers: Vec<Server> = ["one", "two"].map(|name| world.server(name)).into();
    let trace = world.text("trace");
    let arguments = [&["--record", &trace], more].concat();
    let synced = report(&strs(&world.sync("late", &servers, &arguments)));
    (world, synced)
}

#[test]
fn a_sync_in_the_field_replays_to_the_same_outputs() {
    for more in [&["--app", "none"][..], &["--app", "ledger"], &["--app", "ledger", "--strategy", "fast"]] {
        let (world, synced) = recorded(more);
        let replayed = report(&["replay", &world.text("trace"), "--timeline"]);
        assert_eq!(replayed["same"], true, "{replayed}");
        assert_eq!(replayed["truncated"], false);
        assert_eq!(replayed["height"], synced["head"]["height"]);
        assert_eq!(replayed["target_height"], synced["target_height"]);
        // The command stops at the tip, with requests that followed it still out.
        let peers = replayed["peers"].as_array().unwrap();
        assert_eq!(peers.len(), 2);
        let answered: u64 = peers.iter().map(|peer| peer["answered"].as_u64().unwrap()).sum();
        assert!(answered > 6, "{replayed}");
        let lines = replayed["timeline"].as_array().unwrap();
        let says = |text: &str| lines.iter().any(|line| line["text"].as_str().unwrap().contains(text));
        assert!(says("connected") && says("caught up at height 6000"), "{replayed}");
        // What was downloaded is not in it, but for a state's trees.
        let size = fs::metadata(world.path("trace")).unwrap().len();
        assert!(size < if synced["state"].is_null() { 100_000 } else { 4_000_000 }, "{size}");
    }
}

#[test]
fn a_trace_that_is_cut_off_damaged_or_foreign_is_said_to_be() {
    let (world, synced) = recorded(&["--app", "none"]);
    let (trace, other) = (fs::read(world.path("trace")).unwrap(), world.text("other"));

    fs::write(&other, &trace[..trace.len() * 2 / 3]).unwrap();
    let replayed = report(&["replay", &other]);
    assert_eq!((&replayed["same"], &replayed["truncated"]), (&true.into(), &true.into()));
    assert!(replayed["height"].as_u64() <= synced["head"]["height"].as_u64());

    let mut damaged = trace.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&other, damaged).unwrap();
    let message = complaint(&["replay", &other]);
    assert!(message.contains(&other) && message.contains("damaged") || message.contains("in the middle"), "{message}");

    fs::copy(world.genesis(), &other).unwrap();
    assert!(complaint(&["replay", &other]).contains("this is no trace of a sync"));
    fs::write(&other, b"").unwrap();
    assert!(complaint(&["replay", &other]).contains("this is no trace of a sync"));
    assert!(complaint(&["replay", &world.text("nothing")]).contains("can't be read"));

    let nowhere = world.text("nowhere/trace");
    let servers = [world.server("three")];
    let message = complaint(&strs(&world.sync("later", &servers, &["--record", &nowhere])));
    assert!(message.contains(&nowhere) && message.contains("name a new file, in a folder"), "{message}");
}
