//! Peers that are remembered, and those that lead to others.

use crate::common::{World, complaint, report, strs};

#[test]
fn a_node_remembers_the_peers_that_it_found() {
    let world = World::new(&["--blocks", "300"]);
    let nobody = complaint(&strs(&world.sync("late", &[], &[])));
    assert!(nobody.contains("no peer is known yet") && nobody.contains("--peer HOST:PORT"), "{nobody}");

    let servers = [world.server("server")];
    let (_, port) = servers[0].address.rsplit_once(':').unwrap();
    let by_name = format!("localhost:{port}");
    let end = report(&strs(&world.sync("late", &[], &["--peer", &by_name])));
    assert_eq!(end["head"]["height"], 300);
    let known = report(&["peers", "--dir", &world.text("late")]);
    let peer = &known["peers"][0];
    assert_eq!((known["peers"].as_array().unwrap().len(), &peer["named"]), (1, &true.into()));
    let address = format!("{}/{}", peer["addresses"][0]["address"].as_str().unwrap(), peer["id"].as_str().unwrap());
    assert_eq!(address, servers[0].peer);

    // Nobody is named any more.
    let end = report(&strs(&world.sync("late", &[], &["--strategy", "parallel"])));
    assert_eq!(end["ok"], true);

    // A damaged book is put aside, and said.
    std::fs::write(world.path("late/peers.book"), "scribble").unwrap();
    let damaged = complaint(&["peers", "--dir", &world.text("late")]);
    assert!(damaged.contains("peers.book is damaged") && damaged.contains("remove it"), "{damaged}");
    let end = report(&strs(&world.sync("late", &servers, &[])));
    assert_eq!(end["ok"], true);
    assert_eq!(std::fs::read(world.path("late/peers.book.damaged")).unwrap(), b"scribble");
}
