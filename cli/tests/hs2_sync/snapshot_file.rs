//! Snapshot files: exported, verified, imported, and synced on from; damaged, cut, of another chain; killed half-way.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::common::{World, complaint, copy, hs2_sync, report, strs, wait_until};

/// Some blocks above the one snapshot height that there is, in three epochs, so that handovers are needed.
const ARGUMENTS: &[&str] =
    &["--blocks", "10600", "--app", "ledger", "--payload-bytes", "64", "--validators", "4", "--epochs", "3"];

const HEIGHT: u64 = 10_000;

/// A world, and its snapshot exported to `state.snap`.
fn exported() -> (World, Value) {
    let world = World::new(ARGUMENTS);
    let export = report(&["snapshot", "export", "--dir", &world.text("chain"), "--out", &world.text("state.snap")]);
    assert_eq!(export["head"]["height"], HEIGHT);
    assert!(!world.path("state.snap.part").exists());
    (world, export)
}

fn import<'a>(genesis: &'a str, dir: &'a str, file: &'a str) -> [&'a str; 7] {
    ["snapshot", "import", "--genesis", genesis, "--dir", dir, file]
}

/// Syncs the store in `dir` to the tip: only the blocks above the snapshot.
fn syncs_on(world: &World, dir: &str) {
    let servers = [world.server(&format!("server-of-{dir}"))];
    let end = report(&strs(&world.sync(dir, &servers, &["--app", "ledger"])));
    assert_eq!((&end["ok"], &end["start_height"], &end["blocks"]), (&true.into(), &HEIGHT.into(), &600.into()));
    drop(servers);
    // The state root of the head was compared by the ledger after every block.
    assert_eq!(world.head(dir), world.head("chain"));
}

#[test]
fn a_state_moves_in_a_file_and_the_sync_goes_on_from_there() {
    let (world, export) = exported();
    let (genesis, file, dir) = (world.genesis(), world.text("state.snap"), world.text("new"));
    let verified = report(&["snapshot", "verify", "--genesis", &genesis, &file]);
    let imported = report(&import(&genesis, &dir, &file));
    for key in ["head", "chain_id", "epoch", "handovers", "keys", "state_bytes", "file_bytes"] {
        assert_eq!((&verified[key], &imported[key]), (&export[key], &export[key]), "{key}");
    }
    assert_eq!((&export["handovers"], &imported["activated"]), (&2.into(), &true.into()));
    assert_eq!(export["file_bytes"], fs::metadata(&file).unwrap().len());

    // Once more is no harm, and neither is a file made out of the imported store.
    assert_eq!(report(&import(&genesis, &dir, &file))["activated"], false);
    report(&["snapshot", "export", "--dir", &dir, "--height", "10000", "--out", &world.text("again.snap")]);
    let again = report(&["snapshot", "verify", "--genesis", &genesis, &world.text("again.snap")]);
    assert_eq!((&again["head"], &again["keys"]), (&export["head"], &export["keys"]));

    syncs_on(&world, "new");
    let message = complaint(&import(&genesis, &dir, &file));
    assert!(message.contains("at height 10600 already") && message.contains("`sync` goes on"), "{message}");
    let message = complaint(&["snapshot", "export", "--dir", &dir, "--height", "7", "--out", &file]);
    assert!(message.contains("no snapshot at height 7, only at 10000"), "{message}");
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let (world, _) = exported();
    let good = fs::read(world.path("state.snap")).unwrap();
    let (genesis, bad) = (world.genesis(), world.text("bad.snap"));
    let refused = |bytes: &[u8]| {
        fs::write(&bad, bytes).unwrap();
        let message = complaint(&["snapshot", "verify", "--genesis", &genesis, &bad]);
        assert!(message.contains("bad.snap") && message.contains("; "), "{message}");
        message
    };
    let mut dice = 7u64;
    let mut below = |end: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(dice >> 33).unwrap() % end
    };
    // The first bytes name the file's form, what follows is proofs, and most is records.
    let mut offsets: Vec<usize> = (0..40).step_by(2).collect();
    (0..40).for_each(|number| offsets.push(below(if number < 10 { 4096 } else { good.len() })));
    for offset in offsets {
        let mut bytes = good.clone();
        bytes[offset] ^= 1 << (offset % 8);
        refused(&bytes);
    }
    for len in [0, 5, 12, good.len() / 2, good.len() - 1] {
        let message = refused(&good[..len]);
        assert!(message.contains("in the middle") || message.contains("no snapshot file"), "{message}");
    }
    assert!(refused(&[&good[..], b"x"].concat()).contains("bytes follow the end"));

    // A file that is refused while it is taken in changes nothing, and the next one is taken.
    let mut bytes = good.clone();
    bytes[good.len() - 5] ^= 1;
    fs::write(&bad, &bytes).unwrap();
    complaint(&import(&genesis, &world.text("new"), &bad));
    assert_eq!(world.head("new")["height"], 0);
    assert_eq!(report(&import(&genesis, &world.text("new"), &world.text("state.snap")))["activated"], true);

    // Another chain's genesis, another program's file.
    report(&["gen", "--dir", &world.text("other"), "--blocks", "9", "--seed", "2"]);
    let file = world.text("state.snap");
    let message = complaint(&import(&world.text("other/genesis.json"), &world.text("elsewhere"), &file));
    assert!(message.contains("is of chain") && !world.path("elsewhere").exists(), "{message}");
    let message = complaint(&["snapshot", "export", "--dir", &world.text("other"), "--out", &bad]);
    assert!(message.contains("keeps no snapshot"), "{message}");
}

#[test]
fn an_import_that_is_killed_is_run_again() {
    let (world, _) = exported();
    let (genesis, file) = (world.genesis(), world.text("state.snap"));
    let mut hits = 0;
    for millis in [5, 15, 30, 60, 120, 240] {
        let mut process = hs2_sync(&import(&genesis, &world.text("new"), &file));
        let mut process = process.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until(|| world.path("new/genesis").exists() || process.try_wait().unwrap().is_some());
        std::thread::sleep(Duration::from_millis(millis));
        hits += usize::from(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
        let height = world.head("new")["height"].as_u64().unwrap();
        assert!(height == 0 || height == HEIGHT, "half of a state is live at {height}");
        if height == 0 {
            copy(&world.path("new"), &world.path("killed"));
        }
    }
    assert!(hits > 0 && world.path("killed").exists(), "no kill hit an import on its way");
    for dir in ["killed", "new"] {
        report(&import(&genesis, &world.text(dir), &file));
        syncs_on(&world, dir);
    }
}
