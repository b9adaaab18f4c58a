//! `devnet`: real nodes that decide, are disturbed, and come back.

use std::fs;

use serde_json::Value;

use crate::common::{complaint, hs2_sync};

#[test]
fn a_network_goes_on_through_crashes_a_cut_and_lost_disks() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("scenario.toml");
    let steps = "absent = [5]\nliars = [4]\n\
        [[step]]\nat = 1\ncrash = [0]\n\
        [[step]]\nat = 2\nstart = [0]\n\
        [[step]]\nat = 5\njoin = [5]\n\
        [[step]]\nat = 8\ncut = [[0, 1], [2, 3, 4, 5]]\n\
        [[step]]\nat = 10\nheal = true\n\
        [[step]]\nat = 14\nwipe = [1]\n";
    fs::write(&scenario, steps).unwrap();
    let dir = folder.path().join("devnet");
    let options = ["--nodes", "6", "--validators", "5", "--epoch-blocks", "60", "--snapshot-interval", "20"];
    let output = hs2_sync(&["devnet", "--json", "-", "--seconds", "20", "--load", "100"])
        .args(options)
        .arg("--scenario")
        .arg(&scenario)
        .arg("--dir")
        .arg(&dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = report["nodes"].as_array().unwrap();
    assert_eq!((report["ok"].as_bool(), nodes.len()), (Some(true), 6), "{report}");
    let root = report["computed_state_root"].as_str().unwrap();
    assert!(root.len() == 64 && nodes.iter().all(|node| node["computed_state_root"] == root), "{report}");
    assert!(report["height"].as_u64().unwrap() > 20 && report["transactions"].as_u64().unwrap() > 500, "{report}");
    // Who came back, and from what: all that were disturbed did.
    let back: Vec<_> =
        report["recoveries"].as_array().unwrap().iter().map(|one| one["after"].as_str().unwrap()).collect();
    for after in ["start", "join by a state", "the cut", "wiped disk"] {
        assert!(back.contains(&after), "{after}: {text}");
    }
    // What is on the disks says the same.
    let head = |node: u64| {
        let store = dir.join(format!("node-{node}"));
        let output = hs2_sync(&["inspect", "--json", "-", "--dir"]).arg(store).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["states"].as_array().unwrap().last().unwrap().clone()
    };
    assert_eq!(head(0)["computed_state_root"], root, "hashed from the disk of a node that crashed");
    assert_eq!(head(1), head(0), "and of one whose disk was wiped");
}

#[test]
fn a_scenario_that_can_not_be_played_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("scenario.toml");
    fs::write(&scenario, "[[step]]\nat = 1\ncrash = [7]").unwrap();
    let text = complaint(&["devnet", "--nodes", "4", "--scenario", scenario.to_str().unwrap()]);
    assert!(text.contains("node 7") && text.contains("--nodes"), "{text}");
    let text = complaint(&["devnet", "--nodes", "4", "--validators", "5"]);
    assert!(text.contains("--validators"), "{text}");
}
