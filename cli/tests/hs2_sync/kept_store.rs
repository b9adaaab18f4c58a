//! A store of an earlier build, kept as data: `gen --blocks 40 --app ledger --entries 30 --value-bytes 20 --payload-bytes 16
//! --validators 4 --epochs 2 --snapshot-interval 20 --seed 7 --timestamp 1790000000000`.
//!
//! A store of a new format is kept beside it, and takes its place here once the old one is no longer read.

use std::fs;
use std::path::Path;

use crate::common::{Server, World, report, strs};

/// The last block of the kept store.
const HEAD: &str = "36b19f372c215484fb5d011aaacbf8f5c3c999a320b54302f10ac00e010f07cb";

/// A world with a copy of the kept store.
fn world() -> World {
    let world = World::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores/format-4"));
    // Git keeps no empty folders.
    for keyspace in fs::read_dir(world.path("chain/db/keyspaces")).unwrap() {
        fs::create_dir_all(keyspace.unwrap().path().join("tables")).unwrap();
    }
    world
}

#[test]
fn a_store_of_an_earlier_build_is_inspected_served_and_synced_on() {
    let world = world();
    let kept = report(&["inspect", "--dir", &world.text("chain")]);
    assert_eq!((&kept["ok"], &kept["head"]["height"], &kept["head"]["id"]), (&true.into(), &40.into(), &HEAD.into()));
    assert!(kept["states"].as_array().unwrap().iter().any(|state| state["height"] == 40), "{kept}");

    // Served to a new node, by blocks and by its state.
    let server = [world.server("served")];
    for (dir, strategy) in [("blocks", "parallel"), ("state", "fast")] {
        let end = report(&strs(&world.sync(dir, &server, &["--app", "ledger", "--strategy", strategy])));
        assert_eq!((&end["ok"], &end["head"]), (&true.into(), &kept["head"]), "{end}");
    }
    drop(server);

    // As a node of a network that has gone on.
    crate::common::copy(&world.path("chain"), &world.path("node"));
    report(&["gen", "--extend", "60", "--dir", &world.text("chain")]);
    let network = [Server::start(&world.path("chain"), "127.0.0.1:0")];
    let end = report(&strs(&world.sync("node", &network, &["--app", "ledger"])));
    assert_eq!((&end["ok"], &end["start_height"], &end["blocks"]), (&true.into(), &40.into(), &60.into()), "{end}");
    drop(network);
    let node = report(&["inspect", "--dir", &world.text("node")]);
    assert_eq!((&node["ok"], &node["head"]), (&true.into(), &world.head("chain")));
}
