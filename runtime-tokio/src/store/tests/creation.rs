//! Stores that are made: killed at every step, in folders that hold something else, and beside what a store lost.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::crash::copy;
use super::toy::ToyChain;
use super::{Store, append_all, bulk, check_served, create, following, open, toy};
use crate::store::create::DB_DIR;
use crate::store::db::{Db, Space, Write};
use crate::store::records::{FORMAT, encode, key};
use crate::store::steps::{Step, Steps};
use crate::store::{BlockStore as _, OpenError, StoreFound, read_genesis};

/// Every file under `dir` with its bytes, and every folder.
fn everything(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, Some(bytes));
        }
    }
    found
}

fn open_or_create(dir: &Path, anchor: &crate::store::StoreAnchor) -> Result<(Store, StoreFound), OpenError> {
    Store::open_or_create(dir, Arc::new(ToyChain), anchor)
}

/// Creates a store in `dir` with `hook` at every step.
fn create_hooked(
    dir: &Path,
    hook: impl FnMut(Step, &Path) -> io::Result<()> + Send + 'static,
) -> Result<Store, OpenError> {
    let steps = Steps::default();
    steps.set(Some(Box::new(hook)));
    Store::create_in(dir, Arc::new(ToyChain), &toy().anchor(), &steps)
}

#[test]
fn kill_at_every_step_of_a_creation() {
    let (root, toy) = (tempfile::tempdir().unwrap(), toy());
    let dir = root.path().join("store");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("letter"), "dear").unwrap();
    let copies = Arc::new(Mutex::new(Vec::new()));
    let (taken, from, to) = (copies.clone(), dir.clone(), root.path().to_owned());
    let hook = move |step, _: &Path| {
        let mut taken = taken.lock().unwrap();
        let to = to.join(format!("copy-{}", taken.len()));
        copy(&from, &to);
        taken.push((step, to));
        Ok(())
    };
    drop(create_hooked(&dir, hook).unwrap());
    let copies: Vec<(Step, PathBuf)> = copies.lock().unwrap().drain(..).collect();
    let steps: Vec<Step> = copies.iter().map(|(step, _)| *step).collect();
    for step in
        [Step::Create, Step::Commit, Step::Committed, Step::Write, Step::Rename, Step::SyncDirectory, Step::Remove]
    {
        assert!(steps.contains(&step), "{step:?}");
    }
    for (number, (step, copied)) in copies.into_iter().enumerate() {
        let what = format!("killed before {step:?}, step {number}");
        // A reader finds no store, or a whole one.
        match open(&copied) {
            Err(OpenError::Missing(_)) => assert_ne!(step, Step::Remove, "{what}"),
            opened => drop(opened.unwrap_or_else(|error| panic!("{what}: {error}"))),
        }
        let (store, found) = open_or_create(&copied, &toy.anchor()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(matches!(found, StoreFound::Missing | StoreFound::Whole), "{what}: {found:?}");
        store.put_handovers(&toy.handovers()).unwrap();
        append_all(&store, &following(&toy, 500));
        check_served(&store, &toy, 2600);
        drop(store);
        check_served(&open(&copied).unwrap(), &toy, 2600);
        assert_eq!(fs::read_to_string(copied.join("letter")).unwrap(), "dear", "{what}");
    }
}

#[test]
fn a_creation_that_failed_at_any_step_is_made_again() {
    for nth in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let mut left = nth;
        let failed = create_hooked(dir.path(), move |_, _| {
            left -= 1;
            if left == -1 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        });
        let Err(error) = failed else {
            assert!(nth > 8, "the store was made in {nth} steps");
            return;
        };
        assert!(error.to_string().contains("free disk space"), "{error}");
        let toy = toy();
        // Where the last of it was in place already, it is a store.
        let (store, _) = open_or_create(dir.path(), &toy.anchor()).unwrap();
        store.put_handovers(&toy.handovers()).unwrap();
        append_all(&store, &following(&toy, 1000));
        drop(store);
        check_served(&open(dir.path()).unwrap(), &toy, 2600);
    }
}

#[test]
fn what_an_interrupted_creation_left_is_not_taken_for_another_store() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let interrupted = |nth: usize| {
        let mut renames = 0;
        let made = create_hooked(dir.path(), move |step, _| {
            renames += usize::from(step == Step::Rename);
            if renames > nth { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        });
        drop(made.unwrap_err());
    };
    // One file is in its place, two are not.
    interrupted(1);
    let mut other = toy.anchor();
    other.genesis = b"another document".as_slice().into();
    let error = Store::create(dir.path(), Arc::new(ToyChain), &other).unwrap_err();
    assert!(matches!(error, OpenError::Exists(_)), "{error}");
    drop(open(dir.path()).unwrap());
}

#[test]
fn what_is_not_ours_is_not_deleted() {
    let toy = toy();
    let cases: [(&[&str], &str); 7] = [
        (&["db/a.txt", "segments/b.txt"], "db"),
        (&["db/a.txt"], "db"),
        (&["segments/00000000000000000001.seg"], "segments"),
        (&["db"], "db"),
        // Another program's database, of the same kind.
        (&["LOCK", "db/version", "db/lock", "db/keyspaces/0/current", "segments/x"], "db"),
        (&["hs2-store.part/letter"], "hs2-store.part"),
        (&["hs2-store.part"], "hs2-store.part"),
    ];
    for (files, named) in cases {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, if file.ends_with("version") { b"FJL\x03".as_slice() } else { b"precious" }).unwrap();
        }
        let before = everything(dir.path());
        for error in [
            open_or_create(dir.path(), &toy.anchor()).map(drop).unwrap_err(),
            Store::create(dir.path(), Arc::new(ToyChain), &toy.anchor()).map(drop).unwrap_err(),
        ] {
            let said = error.to_string();
            let told = said.contains(&dir.path().join(named).display().to_string()) || said.contains("genesis");
            assert!(told && said.contains("; "), "{files:?}: {said}");
            let after = everything(dir.path());
            let lost: Vec<_> = before.iter().filter(|(path, bytes)| after.get(*path) != Some(bytes)).collect();
            assert!(lost.is_empty(), "{files:?}: {lost:?}");
        }
    }
    // Files beside a store are nobody's to touch either, by their name alone.
    let dir = tempfile::tempdir().unwrap();
    append_all(&create(dir.path(), &toy), &bulk(&toy));
    let beside = ["segments/7.part", "segments/7.seg", "segments/notes.part", "segments/notes", "hs2-store.part"];
    beside.iter().for_each(|name| fs::write(dir.path().join(name), "precious").unwrap());
    check_served(&open(dir.path()).unwrap(), &toy, 2600);
    beside.iter().for_each(|name| assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"precious", "{name}"));
}

#[test]
fn a_lost_marker_file_is_not_an_empty_store() {
    let toy = toy();
    let dir = tempfile::tempdir().unwrap();
    append_all(&create(dir.path(), &toy), &bulk(&toy));
    let genesis = dir.path().join("genesis");
    let document = fs::read(&genesis).unwrap();
    let lost: [&dyn Fn(); 3] = [&|| fs::remove_file(&genesis).unwrap(), &|| fs::write(&genesis, "").unwrap(), &|| {
        fs::write(&genesis, "scribble").unwrap();
    }];
    for (number, lose) in lost.into_iter().enumerate() {
        lose();
        let before = everything(&dir.path().join("segments"));
        let opened = open(dir.path()).map(drop).unwrap_err().to_string();
        let created = Store::create(dir.path(), Arc::new(ToyChain), &toy.anchor()).map(drop).unwrap_err().to_string();
        if number == 0 {
            let read = read_genesis(dir.path()).unwrap_err().to_string();
            for said in [opened, created, read] {
                assert!(said.contains("without its file `genesis`") && said.contains("--genesis FILE"), "{said}");
            }
        }
        // The document of another chain doesn't become this one's.
        let mut other = toy.anchor();
        (other.chain_id, other.genesis) = (hotstuff2_sync::hash::Hash::ZERO, b"another".as_slice().into());
        let error = open_or_create(dir.path(), &other).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::OtherChain { .. }), "{error}");
        assert_eq!(everything(&dir.path().join("segments")), before);
        // Nor does one that only says that it is of this chain.
        other.chain_id = toy.anchor().chain_id;
        let error = open_or_create(dir.path(), &other).map(drop).unwrap_err();
        assert!(error.to_string().contains("genesis"), "{error}");

        let (store, found) = open_or_create(dir.path(), &toy.anchor()).unwrap();
        assert_eq!(found, StoreFound::WithoutGenesis);
        check_served(&store, &toy, 2600);
        drop(store);
        assert_eq!(fs::read(&genesis).unwrap(), document);
        check_served(&open(dir.path()).unwrap(), &toy, 2600);
    }
    // The other files of a store are no reason to begin anew either.
    for name in ["db", "segments", "db/version", "db/keyspaces"] {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let path = copied.path().join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        let before = everything(copied.path());
        let error = open_or_create(copied.path(), &toy.anchor()).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::Store(_)) && error.to_string().contains(name), "{name}: {error}");
        assert_eq!(everything(copied.path()), before, "{name}");
    }
}

#[test]
fn a_store_of_another_format_is_refused_with_both_numbers_and_left_alone() {
    let (root, toy) = (tempfile::tempdir().unwrap(), toy());
    let dir = root.path().join("store");
    drop(create(&dir, &toy));
    let whole = everything(&dir.join("segments"));
    for other in [FORMAT - 1, FORMAT + 1] {
        let db = Db::open(dir.join(DB_DIR)).unwrap();
        // All that versions have in common is that the number comes first.
        let record = [&encode(&other)[..], b"of another time"].concat();
        let write: Write = (Space::Index, Bytes::from_static(key::STORE), Some(record.into()));
        db.commit(std::iter::once(write), true).unwrap();
        drop(db);
        let refused = [open(&dir).map(drop), open_or_create(&dir, &toy.anchor()).map(drop)];
        for refused in refused {
            let Err(error) = refused else { panic!("a store of format {other} was opened") };
            let said = error.to_string();
            assert!(matches!(error, OpenError::OtherFormat { found, known: FORMAT, .. } if found == other), "{said}");
            assert!(said.contains("the program that wrote it") && said.contains("a new directory"), "{said}");
        }
        assert_eq!(everything(&dir.join("segments")), whole);
    }
}
