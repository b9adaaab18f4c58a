//! A node whose state came from others gives it to others: at once, and with what proves it.

use std::fs;
use std::net::UdpSocket;
use std::process::Child;

use crate::common::{Server, World, hs2_sync, report, strs, wait_until};

/// The tip is a snapshot height: a chain that halted there has no later one.
const HALTED: &[&str] = &["--blocks", "3000"];
/// Some blocks above the last snapshot height.
const ABOVE: &[&str] = &["--blocks", "3500"];

fn world(blocks: &[&str]) -> World {
    let state = ["--app", "ledger", "--entries", "2000", "--payload-bytes", "64", "--validators", "4"];
    World::new(&[blocks, &state, &["--epochs", "1", "--snapshot-interval", "1000"]].concat())
}

const FAST: &[&str] = &["--app", "ledger", "--strategy", "fast", "--patience", "20"];

/// A node joins from the one at `address` alone: the state at height 3,000, and the blocks above it.
fn joins(world: &World, dir: &str, address: &str) {
    let end = report(&strs(&world.sync(dir, &[], &[FAST, &["--peer", address]].concat())));
    let head = &report(&["inspect", "--dir", &world.text("chain")])["head"];
    let above = head["height"].as_u64().unwrap() - 3000;
    assert_eq!((&end["ok"], &end["head"], &end["blocks"]), (&true.into(), head, &above.into()), "{end}");
    assert_eq!(end["state"]["keys"], 2000);
}

/// A node that follows, at an address of its own, until it is dropped.
struct Follower {
    process: Child,
    address: String,
}

impl Follower {
    /// Returns when it has caught up with `origin`.
    fn start(world: &World, dir: &str, origin: &Server) -> Self {
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let more = ["--peer", &origin.address, "--follow", "--listen", &address];
        let log = world.path("follower.log");
        let mut command = hs2_sync(&strs(&world.sync(dir, &[], &[FAST, &more].concat())));
        let process = command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let follower = Self { process, address };
        wait_until(|| fs::read_to_string(&log).unwrap().contains("caught up"));
        follower
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn serves(world: &World, dir: &str) -> Server {
    Server::start(&world.path(dir), "127.0.0.1:0")
}

fn imported(world: &World, dir: &str) {
    let file = world.text("state.snap");
    report(&["snapshot", "export", "--dir", &world.text("chain"), "--out", &file]);
    report(&["snapshot", "import", "--genesis", &world.genesis(), "--dir", &world.text(dir), &file]);
}

#[test]
fn what_is_proven_is_served() {
    for blocks in [HALTED, ABOVE] {
        let world = world(blocks);
        // Fetched, and served by whoever fetched it, from hand to hand.
        joins(&world, "first", &world.server("origin").address);
        joins(&world, "second", &serves(&world, "first").address);
        joins(&world, "third", &serves(&world, "second").address);

        // By a node that follows, and is alone by then.
        let follower = Follower::start(&world, "follower", &serves(&world, "origin"));
        joins(&world, "fourth", &follower.address);
        drop(follower);

        // Imported, and after it has synced on.
        imported(&world, "imported");
        if blocks == HALTED {
            joins(&world, "fifth", &serves(&world, "imported").address);
        } else {
            // The node holds the state and no blocks above it, and the headers that prove the state make a tip of its
            // block.
            let alone = [serves(&world, "imported")];
            report(&strs(&world.sync("fifth", &alone, FAST)));
            drop(alone);
            assert_eq!(world.head("fifth")["height"], 3000);
            let origin = [serves(&world, "origin")];
            report(&strs(&world.sync("fifth", &origin, FAST)));
            assert_eq!(world.head("fifth"), world.head("chain"));
        }
        let origin = [serves(&world, "origin")];
        report(&strs(&world.sync("imported", &origin, FAST)));
        drop(origin);
        joins(&world, "sixth", &serves(&world, "imported").address);
    }
}
