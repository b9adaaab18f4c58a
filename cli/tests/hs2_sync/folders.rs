//! Folders that hold something of somebody else, stores that lost a file, and results of an earlier run: nothing of it is
//! lost, and one line says what to do.

use std::fs;

use crate::common::{World, complaint, copy, hs2_sync, report, strs};

fn has(message: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| message.contains(part)) && message.lines().count() == 1, "{message}");
}

#[test]
fn what_is_not_ours_is_not_deleted() {
    let world = World::new(&["--blocks", "100"]);
    let servers = [world.server("server")];
    fs::create_dir_all(world.path("late/db")).unwrap();
    fs::create_dir_all(world.path("late/segments")).unwrap();
    let letters = ["late/db/a.txt", "late/segments/b.txt"];
    letters.iter().for_each(|letter| fs::write(world.path(letter), "precious").unwrap());
    has(
        &complaint(&strs(&world.sync("late", &servers, &[]))),
        &["late/db", "is not part of a store", "name another directory"],
    );
    letters.iter().for_each(|letter| assert_eq!(fs::read(world.path(letter)).unwrap(), b"precious"));
    // The genesis file of another chain isn't replaced either, and no store is put beside it.
    report(&["gen", "--dir", &world.text("other"), "--blocks", "9", "--seed", "2"]);
    fs::create_dir(world.path("theirs")).unwrap();
    fs::copy(world.path("other/genesis.json"), world.path("theirs/genesis.json")).unwrap();
    let before = fs::read(world.path("theirs/genesis.json")).unwrap();
    has(&complaint(&strs(&world.sync("theirs", &servers, &[]))), &["theirs/genesis.json", "another chain", "--dir"]);
    assert_eq!(fs::read(world.path("theirs/genesis.json")).unwrap(), before);
    assert_eq!(fs::read_dir(world.path("theirs")).unwrap().count(), 1);
}

#[test]
fn a_lost_marker_file_is_not_an_empty_store() {
    let world = World::new(&["--blocks", "2500"]);
    let head = world.head("chain");
    let (dir, genesis) = (world.text("lost"), world.genesis());
    copy(&world.path("chain"), &world.path("lost"));
    fs::remove_file(world.path("lost/genesis")).unwrap();
    fs::remove_file(world.path("lost/genesis.json")).unwrap();
    let nobody = ["--peer", "127.0.0.1:9", "--patience", "1"];
    // Without a genesis file it is told what is missing, and nothing is touched.
    for command in [vec!["inspect", "--dir", &dir], [&["sync", "--dir", &dir], &nobody[..]].concat()] {
        has(&complaint(&command), &[&dir, "without its file `genesis`", "--genesis FILE"]);
    }
    report(&["gen", "--dir", &world.text("other"), "--blocks", "9", "--seed", "2"]);
    let other = world.text("other/genesis.json");
    has(&complaint(&[&["sync", "--genesis", &other, "--dir", &dir], &nobody[..]].concat()), &[&dir, "holds chain"]);
    // With it all is there again.
    let synced = hs2_sync(&[&["sync", "--genesis", &genesis, "--dir", &dir], &nobody[..]].concat()).output().unwrap();
    let said = String::from_utf8_lossy(&synced.stderr);
    assert!(said.contains("was written again") && said.contains("height 2500 of"), "{said}");
    assert_eq!(world.head("lost"), head);
    assert!(world.path("lost/genesis.json").exists());
    // A store alone says which chain it is of.
    fs::remove_file(world.path("lost/genesis.json")).unwrap();
    has(&complaint(&[&["sync", "--dir", &dir], &nobody[..]].concat()), &["height 2500 of"]);
    // No store and no file say nothing.
    let empty = world.text("empty");
    has(&complaint(&[&["sync", "--dir", &empty], &nobody[..]].concat()), &[&empty, "--genesis FILE"]);
    assert!(!world.path("empty").exists());
}

#[test]
fn an_odd_file_in_a_store_is_named_and_no_abort() {
    let world = World::new(&["--blocks", "3000", "--app", "ledger", "--snapshot-interval", "1000"]);
    let tables = fs::read_dir(world.path("chain/db/keyspaces")).unwrap();
    let tables = tables.map(|table| table.unwrap().path().join("tables"));
    let files = tables.flat_map(|folder| fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()));
    let files: Vec<_> = files.collect();
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        let inside = file.strip_prefix(world.path("chain")).unwrap();
        copy(&world.path("chain"), &world.path("odd"));
        fs::remove_file(world.path("odd").join(inside)).unwrap();
        fs::create_dir(world.path("odd").join(inside)).unwrap();
        let said = complaint(&["inspect", "--dir", &world.text("odd")]);
        has(&said, &[inside.to_str().unwrap(), "it isn't a file", "; "]);
        fs::remove_dir_all(world.path("odd")).unwrap();
    }
}

#[test]
fn an_earlier_result_is_not_lost() {
    let world =
        World::new(&["--blocks", "120", "--app", "ledger", "--payload-bytes", "64", "--snapshot-interval", "100"]);
    let (dir, out, part) = (world.text("chain"), world.text("s.snap"), world.path("s.snap.part"));
    let export = ["snapshot", "export", "--dir", &dir, "--out", &out];
    let forced = [&export[..], &["--force"]].concat();
    // Neither the file nor what it is called while it is written.
    fs::write(&out, "precious").unwrap();
    has(&complaint(&export), &["s.snap is there already", "--force"]);
    fs::write(&part, "precious").unwrap();
    has(&complaint(&forced), &["s.snap.part", "move it away"]);
    assert_eq!((fs::read(&out).unwrap(), fs::read(&part).unwrap()), (b"precious".to_vec(), b"precious".to_vec()));
    // A half that an earlier export left is written over.
    fs::write(&part, "hs2snap\nand a half").unwrap();
    report(&forced);
    let whole = fs::read(&out).unwrap();
    assert!(whole.starts_with(b"hs2snap\n") && !part.exists());
    has(&complaint(&export), &["s.snap is there already"]);
    assert_eq!(fs::read(&out).unwrap(), whole);

    // A report takes the place of a report, and of nothing else.
    let json = world.text("report.json");
    let inspect = ["inspect", "--dir", &dir, "--json", &json];
    for said in ["", "was replaced"] {
        let output = hs2_sync(&inspect).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains(said) && text.is_empty() == said.is_empty(), "{text}");
    }
    fs::write(&json, "dear").unwrap();
    let output = hs2_sync(&inspect).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("holds no report"), "{text}");
    assert_eq!(fs::read(&json).unwrap(), b"dear");

    // A trace is never replaced.
    let servers = [world.server("server")];
    let trace = world.text("trace");
    fs::write(&trace, "dear").unwrap();
    let said = complaint(&strs(&world.sync("late", &servers, &["--record", &trace])));
    has(&said, &["trace", "name a new file"]);
    assert_eq!(fs::read(&trace).unwrap(), b"dear");
}
