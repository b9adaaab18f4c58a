//! Backups of a store that is written meanwhile, and what comes of them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::crash::copy;
use super::staging::{Peer, check_live, execute};
use super::toy::Toy;
use super::{Store, append_all, bulk, check_served, create, following, open, toy};
use crate::store::steps::Step;
use crate::store::{BlockStore as _, OpenError, PruningStore as _, StateStore, StoreConfig, restore_backup};

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A store of three sealed cells, one that is open, and a state.
fn with_all(dir: &Path, toy: &Arc<Toy>) -> Store {
    let store = create(dir, toy);
    append_all(&store, &bulk(toy)[..4]);
    execute(&store, &Peer::new(0..300), 2300);
    store
}

/// The store in `dir` is whole and holds exactly the blocks up to `head`.
fn check(dir: &Path, toy: &Toy, head: u64) -> Store {
    let store = open(dir).unwrap();
    check_served(&store, toy, head);
    store.check(|_| ()).unwrap();
    assert!(store.damage().borrow().is_empty());
    store
}

#[test]
fn a_backup_is_a_store_of_its_own() {
    let (root, toy) = (tempfile::tempdir().unwrap(), toy());
    let (dir, to) = (root.path().join("store"), root.path().join("backup"));
    let store = with_all(&dir, &toy);
    // What is not the store's is not taken along.
    for other in ["identity.key", "peers.book", "votes"] {
        fs::write(dir.join(other), b"of this node alone").unwrap();
    }
    let backup = store.backup(&to).unwrap();
    assert_eq!((backup.height.get(), backup.linked >= 3), (2300, true), "{backup:?}");
    assert!(backup.copied_bytes < 16 << 20, "a journal is mostly zeros: {backup:?}");
    let expected = ["LOCK", "db", "genesis", "segments"].map(str::to_owned);
    assert_eq!(names(&to), expected.into());
    // The store goes on: what the backup shares with it doesn't change with it.
    append_all(&store, &bulk(&toy)[4..]);
    execute(&store, &Peer::new(0..500), 2600);
    store.configure(StoreConfig { retain_blocks: 1, ..StoreConfig::default() });
    assert_eq!(store.prune(store.stored().height).unwrap().blocks, 2047);
    assert_eq!(store.stored(), toy.point(2600));
    store.check(|_| ()).unwrap();
    let restored = check(&to, &toy, 2300);
    check_live(&restored, &Peer::new(0..300));
    append_all(&restored, &bulk(&toy)[4..]);
    check_served(&restored, &toy, 2600);
    drop((store, restored));
    assert_eq!(open(&dir).unwrap().stored(), toy.point(2600));
    check(&to, &toy, 2600);
}

#[test]
fn backups_are_whole_whatever_is_written_meanwhile() {
    let (root, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(&root.path().join("store"), &toy);
    let applies = following(&toy, 20);
    let heights = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for (number, apply) in applies.iter().enumerate() {
                store.append(apply).unwrap();
                let height = apply.range().unwrap().last().get();
                execute(&store, &Peer::new(0..u32::try_from(number).unwrap()), height);
            }
        });
        let mut heights = Vec::new();
        while !writer.is_finished() || heights.is_empty() {
            let to = root.path().join(heights.len().to_string());
            heights.push(store.backup(&to).unwrap().height.get());
        }
        heights
    });
    check_served(&store, &toy, 2600);
    for (number, height) in heights.into_iter().enumerate() {
        let backup = check(&root.path().join(number.to_string()), &toy, height);
        // The state is that of one moment too, and not above the blocks.
        let applied = StateStore::applied(&backup);
        assert!(applied.get() <= height, "{applied} above {height}");
        match applies.iter().position(|apply| apply.range().unwrap().last() == applied) {
            Some(number) => check_live(&backup, &Peer::new(0..u32::try_from(number).unwrap())),
            None => assert_eq!(applied.get(), 0),
        }
    }
}

#[test]
fn kill_at_every_step_of_a_backup() {
    let (root, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = with_all(&root.path().join("store"), &toy);
    let to = root.path().join("backup");
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (copies, from, root_path) = (taken.clone(), to.clone(), root.path().to_owned());
    store.steps.set(Some(Box::new(move |step, _| {
        let mut copies = copies.lock().unwrap();
        // Many are alike.
        if copies.iter().rev().take_while(|(seen, _)| *seen == step).count() > 1 {
            return Ok(());
        }
        let into = root_path.join(copies.len().to_string());
        copy(&from, &into);
        copies.push((step, into));
        Ok(())
    })));
    store.backup(&to).unwrap();
    store.steps.set(None);
    let copies = std::mem::take(&mut *taken.lock().unwrap());
    for step in [Step::Create, Step::Write, Step::SyncFile, Step::Rename, Step::SyncDirectory, Step::Remove] {
        assert!(copies.iter().any(|(seen, _)| *seen == step), "{step:?}");
    }
    for (step, killed) in copies {
        // No half of it passes for a store; the next call makes it whole.
        match open(&killed) {
            Err(OpenError::Missing(_)) => match store.backup(&killed) {
                Ok(_) => {}
                // It was whole, and only had to be moved.
                Err(OpenError::Exists(_)) => assert!(step >= Step::Rename, "{step:?}"),
                Err(error) => panic!("killed before {step:?}: {error}"),
            },
            Ok(_) => assert!(step >= Step::Rename, "{step:?}"),
            Err(error) => panic!("killed before {step:?}: {error}"),
        }
        check(&killed, &toy, 2300);
        fs::remove_dir_all(killed).unwrap();
    }
    check(&to, &toy, 2300);
}

#[test]
fn a_backup_that_fails_harms_neither_side() {
    let (root, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = with_all(&root.path().join("store"), &toy);
    let to = root.path().join("backup");
    for failing in [Step::Create, Step::Write, Step::SyncFile, Step::Rename, Step::SyncDirectory] {
        let fail = move |step, _: &Path| if step == failing { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) };
        store.steps.set(Some(Box::new(fail)));
        let error = store.backup(&to).unwrap_err();
        assert!(matches!(&error, OpenError::Store(failure) if failure.is_disk_full()), "{failing:?}: {error}");
        store.steps.set(None);
        check_served(&store, &toy, 2300);
        if failing < Step::Rename {
            store.backup(&to).unwrap();
        } else {
            // All of it is there by then.
            assert!(matches!(store.backup(&to), Err(OpenError::Exists(_))));
        }
        check(&to, &toy, 2300);
        fs::remove_dir_all(&to).unwrap();
    }
    append_all(&store, &bulk(&toy)[4..]);
    check_served(&store, &toy, 2600);
}

#[test]
fn what_is_there_is_not_replaced_by_a_backup() {
    let (root, toy) = (tempfile::tempdir().unwrap(), toy());
    let dir = root.path().join("store");
    let store = with_all(&dir, &toy);
    assert!(matches!(store.backup(&dir), Err(OpenError::Exists(_))));
    let to = root.path().join("backup");
    store.backup(&to).unwrap();
    assert!(matches!(store.backup(&to), Err(OpenError::Exists(_))));
    let foreign = root.path().join("foreign");
    fs::create_dir_all(foreign.join("db")).unwrap();
    assert!(matches!(store.backup(&foreign), Err(OpenError::NotOurs(_))));
    // In the draft too, whatever has one of our names elsewhere stays.
    let (linked, elsewhere) = (root.path().join("linked"), root.path().join("elsewhere"));
    fs::create_dir_all(linked.join("hs2-store.part")).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    let file = elsewhere.join("00000000000000000001.seg");
    fs::write(&file, b"somebody's").unwrap();
    std::os::unix::fs::symlink(&elsewhere, linked.join("hs2-store.part/segments")).unwrap();
    assert!(matches!(store.backup(&linked), Err(OpenError::NotOurs(_))));
    assert!(file.exists());
}

#[test]
fn a_backup_is_restored_as_often_as_needed() {
    let (root, toy) = (tempfile::tempdir().unwrap(), toy());
    let (dir, to) = (root.path().join("store"), root.path().join("backup"));
    let store = with_all(&dir, &toy);
    store.backup(&to).unwrap();
    let node = root.path().join("node");
    fs::create_dir(&node).unwrap();
    fs::write(node.join("identity.key"), b"kept apart").unwrap();
    for _ in 0..2 {
        let restored = restore_backup(&to, &node).unwrap();
        assert_eq!((restored.linked, restored.copied > 3), (0, true));
        assert_eq!(fs::read(node.join("identity.key")).unwrap(), b"kept apart");
        let again = check(&node, &toy, 2300);
        check_live(&again, &Peer::new(0..300));
        append_all(&again, &bulk(&toy)[4..]);
        assert!(matches!(restore_backup(&to, &node), Err(OpenError::Exists(_))));
        drop(again);
        for part in ["db", "segments"] {
            fs::remove_dir_all(node.join(part)).unwrap();
        }
        fs::remove_file(node.join("genesis")).unwrap();
    }
    assert!(matches!(restore_backup(&root.path().join("nothing"), &node), Err(OpenError::Missing(_))));
    // Not from under whoever works on it.
    assert!(matches!(restore_backup(&dir, &node), Err(OpenError::InUse(_))));
    check(&to, &toy, 2300);
}
