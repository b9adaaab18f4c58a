//! Peers that are remembered, and those that lead to others.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::UdpSocket;
use std::process::Stdio;

use crate::common::{Server, World, complaint, hs2_sync, interrupt, report, strs, wait_until};

#[test]
fn a_node_remembers_the_peers_that_it_found() {
    let world = World::new(&["--blocks", "300"]);
    let none = complaint(&["peers", "--dir", &world.text("nowhere")]);
    assert!(none.contains("peers.book is not there: name the folder"), "{none}");
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

    // Nobody is named any more, and the genesis file is where the first sync left it.
    let end = report(&["sync", "--dir", &world.text("late"), "--strategy", "parallel"]);
    assert_eq!(end["ok"], true);

    // A damaged book is put aside, and said.
    std::fs::write(world.path("late/peers.book"), "scribble").unwrap();
    let damaged = complaint(&["peers", "--dir", &world.text("late")]);
    assert!(damaged.contains("peers.book is damaged") && damaged.contains("remove it"), "{damaged}");
    let end = report(&strs(&world.sync("late", &servers, &[])));
    assert_eq!(end["ok"], true);
    assert_eq!(std::fs::read(world.path("late/peers.book.damaged")).unwrap(), b"scribble");
}

#[test]
fn named_peers_are_remembered_though_they_have_not_answered_yet() {
    let world = World::new(&["--blocks", "300"]);
    // Where a server is going to be, and an address that stays silent.
    let (reserved, silent) = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap()).into();
    let (place, silent) = (reserved.local_addr().unwrap().to_string(), silent.local_addr().unwrap().to_string());
    let named = ["--peer", &silent, "--peer", &place];
    let mut process = hs2_sync(&strs(&world.sync("late", &[], &named))).stderr(Stdio::piped()).spawn().unwrap();
    // On the disk as soon as it dials, so that a kill forgets them no more than Ctrl-C does.
    reserved.recv_from(&mut [0; 1500]).unwrap();
    wait_until(|| world.path("late/peers.book").exists());
    interrupt(&process);
    let mut told = String::new();
    process.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(!process.wait().unwrap().success() && told.contains("the next `sync` goes on from there"), "{told}");
    assert_eq!(report(&["peers", "--dir", &world.text("late")])["named"], serde_json::json!([silent, place]));

    drop(reserved);
    let _server = Server::start(&world.path("chain"), &place);
    let end = report(&["sync", "--dir", &world.text("late")]);
    assert_eq!(end["head"]["height"], 300);
}

#[test]
fn a_follower_says_that_it_has_arrived() {
    let world = World::new(&["--blocks", "300"]);
    let servers = [world.server("server")];
    let follow = world.sync("late", &servers, &["--follow", "--listen", "127.0.0.1:0"]);
    let mut process = hs2_sync(&strs(&follow)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "caught up at height 300; following from there, until stopped"));
    interrupt(&process);
    assert!(process.wait().unwrap().success());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut process = hs2_sync(&["config"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(process.stdout.take());
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
