//! How old the tip is, and that nobody is there who could tell of a newer one.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::common::{Server, World, hs2_sync, strs, wait_until};
use crate::metrics::{scrape, shown, sum, value};

const DAY: f64 = 86_400.0;

/// What a sync into `name` says on standard error, its report, and its exit code.
fn synced(world: &World, server: &Server, name: &str, more: &[&str]) -> (String, Value, Option<i32>) {
    let (genesis, dir) = (world.genesis(), world.text(name));
    let arguments = ["sync", "--genesis", &genesis, "--dir", &dir, "--peer", &server.peer, "--json", "-"];
    let output = hs2_sync(&[&arguments[..], more].concat()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (said, serde_json::from_slice(&output.stdout).unwrap_or_default(), output.status.code())
}

#[test]
fn an_old_tip_is_not_caught_up_in_silence() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let forty_days_ago = (now - 40 * 86_400) * 1000;
    let world = World::new(&["--blocks", "300", "--epochs", "1", "--timestamp", &forty_days_ago.to_string()]);
    let server = world.server("server");
    let says = |said: &str| said.contains("the tip is 40 days old") && said.contains("max_tip_age");
    // The second time nothing is fetched, and the store knows how old its head is.
    for _ in 0..2 {
        let (said, report, code) = synced(&world, &server, "late", &[]);
        assert!(says(&said) && code == Some(0), "{code:?} {said}");
        let age = report["tip_age_seconds"].as_f64().unwrap();
        assert!((40.0 * DAY..40.5 * DAY).contains(&age), "{age}");
    }
    let (said, report, code) = synced(&world, &server, "strict", &["--fresh"]);
    assert!(says(&said) && code == Some(3), "{code:?} {said}");
    assert_eq!((&report["ok"], &report["head"]["height"]), (&true.into(), &300.into()), "all of it is there");

    // Halted chains, and fresh ones.
    let settings = world.path("halted.toml");
    std::fs::write(&settings, "max_tip_age = \"0s\"\n").unwrap();
    let settings = settings.to_str().unwrap();
    let (said, _, code) = synced(&world, &server, "halted", &["--config", settings]);
    assert!(!said.contains("max_tip_age") && code == Some(0), "{code:?} {said}");
    let (said, _, code) = synced(&world, &server, "halted", &["--config", settings, "--fresh"]);
    assert!(said.contains("--fresh needs an age") && code == Some(1), "{code:?} {said}");
    let world = World::new(&["--blocks", "300", "--epochs", "1"]);
    let (said, _, code) = synced(&world, &world.server("server"), "late", &["--fresh"]);
    assert!(!said.contains("max_tip_age") && code == Some(0), "{code:?} {said}");
}

#[test]
fn metrics_say_that_a_follower_is_alone_and_how_old_its_tip_is() {
    let world = World::new(&["--blocks", "300", "--epochs", "1"]);
    let mut servers = [world.server("server")];
    let follow = ["--follow", "--metrics", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let sync = shown(&strs(&world.sync("late", &servers, &follow)));
    let stalled = || value(&scrape(&sync.address), "hs2_sync_stalled");
    let alone = || {
        let name = "hs2_sync_stall_reason{reason=\"no_peers\"}";
        sum(&scrape(&sync.address), "hs2_sync_stall_reason", name)
    };
    wait_until(|| value(&scrape(&sync.address), "hs2_sync_height") >= 300.0);
    assert!(stalled() == 0.0 && alone() == 0.0);
    let age = value(&scrape(&sync.address), "hs2_sync_tip_age_seconds");
    assert!((0.0..DAY).contains(&age), "{age}");
    servers[0].stop();
    wait_until(|| stalled() == 1.0 && alone() == 1.0);
    assert!(value(&scrape(&sync.address), "hs2_sync_tip_age_seconds") > age, "it goes on growing");
    servers[0].restart();
    wait_until(|| stalled() == 0.0 && alone() == 0.0);
}
