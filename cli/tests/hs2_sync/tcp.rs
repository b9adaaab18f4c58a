//! Nodes that meet over TCP alone.

use crate::common::{Server, World, hs2_sync, report, strs};

#[test]
fn a_node_catches_up_over_tcp_and_so_does_the_one_behind_it() {
    let world = World::new(&["--blocks", "1500"]);
    let listen = ["--tcp", "127.0.0.1:0"];
    let first = Server::start_with(&world.path("chain"), "127.0.0.1:0", &listen);
    let tcp = first.tcp.clone().expect("the report says where");
    let end = report(&strs(&world.sync("late", &[], &["--peer", &tcp])));
    assert_eq!((&end["ok"], &end["head"]["height"]), (&true.into(), &1500.into()));
    drop(first);
    // Serves what it has fetched, and is reached over TCP as well.
    let second = Server::start_with(&world.path("late"), "127.0.0.1:0", &listen);
    let behind = report(&strs(&world.sync("later", &[], &["--peer", second.tcp.as_deref().unwrap()])));
    assert_eq!((&behind["ok"], &behind["head"]), (&true.into(), &end["head"]));

    let wrong = hs2_sync(&strs(&world.sync("wrong", &[], &["--peer", "tcp://127.0.0.1"]))).output().unwrap();
    let told = String::from_utf8_lossy(&wrong.stderr);
    assert!(!wrong.status.success() && told.contains("is written tcp://HOST:PORT"), "{told}");
}
