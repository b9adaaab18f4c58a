//! The light client as a command.

use crate::common::{World, complaint, report};

#[test]
fn a_light_client_reads_a_balance_from_nodes_that_it_does_not_trust() {
    let world = World::new(&["--blocks", "300", "--app", "ledger", "--snapshot-interval", "100"]);
    let servers = [world.server("one"), world.server("two")];
    let genesis = world.genesis();
    let light = |more: &[&str]| {
        let own = ["light", "--genesis", &genesis, "--peer", &servers[0].peer, "--peer", &servers[1].peer];
        // Both are on this machine, and so of one group.
        let arguments = [&own[..], &["--witnesses", "0"], more].concat();
        arguments.iter().map(|&text| text.to_owned()).collect::<Vec<String>>()
    };
    let run = |more: &[&str]| {
        let mut arguments = light(more);
        // Options of the command come before what it is to do.
        let place = arguments.iter().position(|text| text == "--witnesses").unwrap();
        arguments.splice(place..place, ["--json".to_owned(), "-".to_owned()]);
        let output = crate::common::hs2_sync(&crate::common::strs(&arguments)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let tip = run(&[]);
    let head = report(&["inspect", "--dir", &world.text("chain")])["head"].clone();
    assert_eq!(tip["tip"], head);

    let account = run(&["get", "0x6100000005"]);
    assert_eq!(account["read"]["value"].as_str().map(str::len), Some(16), "{account}");
    let snapshot = run(&["get", "0x6100000005", "--at", "snapshot"]);
    assert_eq!(snapshot["read"]["block"]["height"], 300);
    assert_eq!(snapshot["read"]["value"], account["read"]["value"]);
    assert_eq!(run(&["get", "nobody"])["read"]["value"], serde_json::Value::Null);

    let file = world.text("tip.checkpoint");
    run(&["checkpoint", "--out", &file]);
    assert_eq!(run(&["--checkpoint", &file])["tip"], head);
    let wrong = complaint(&crate::common::strs(&light(&["--checkpoint", &genesis])));
    assert!(wrong.contains("is no checkpoint"), "{wrong}");
}

#[test]
fn a_node_begins_above_the_checkpoint_of_a_light_client() {
    let world = World::new(&["--blocks", "300", "--app", "ledger", "--snapshot-interval", "100"]);
    let server = world.server("one");
    let (genesis, file) = (world.genesis(), world.text("tip.checkpoint"));
    let light =
        ["light", "--genesis", &genesis, "--peer", &server.peer, "--witnesses", "0", "checkpoint", "--out", &file];
    assert!(crate::common::hs2_sync(&light).output().unwrap().status.success());
    let head = report(&["inspect", "--dir", &world.text("chain")])["head"].clone();
    let sync = |name: &str, more: &[&str]| {
        let dir = world.text(name);
        let own = ["sync", "--dir", &dir, "--genesis", &genesis, "--peer", &server.peer];
        report(&[&own[..], more].concat())
    };
    // At the tip there is nothing above it. The next call needs no word of it.
    for more in [&["--checkpoint", &file][..], &[]] {
        let end = sync("above", more);
        assert_eq!((&end["head"], &end["blocks"]), (&head, &serde_json::Value::from(0)), "{end}");
    }
    // A store that began at genesis holds its block.
    assert_eq!(sync("whole", &[])["blocks"], 300);
    assert_eq!(sync("whole", &["--checkpoint", &file])["head"], head);
}
