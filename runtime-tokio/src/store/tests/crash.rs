//! Crashes and full disks at every step of every write.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hotstuff2_sync::calls::Apply;

use super::toy::{Toy, apply, range};
use super::{append_all, bulk, check_served, create, open, toy};
use crate::store::BlockStore as _;
use crate::store::steps::Step;

/// Copies a directory as a crash would leave it. Zeros at a file's end are left out, which the journal, preallocated as
/// it is, doesn't mind and the copy is glad of.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(&path, &target);
            continue;
        }
        let Ok(mut bytes) = std::fs::read(&path) else { continue };
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let len = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(len);
        }
        std::fs::write(target, bytes).unwrap();
    }
}

fn segment_files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(dir.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().into(), std::fs::read(path).unwrap())).collect()
}

/// Everything that was not forced to disk when `before` was taken reads as zeros, as after a power failure.
fn lose_unsynced(dir: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    for (name, mut bytes) in segment_files(dir) {
        let part = name.with_extension("part");
        let durable = before.get(&name).or_else(|| before.get(&part)).map_or(0, Vec::len);
        let changed = bytes.get_mut(durable..).unwrap_or_default();
        changed.fill(0);
        std::fs::write(dir.join("segments").join(name), bytes).unwrap();
    }
}

/// Runs `applies` and takes a copy of the directory before every step. Each copy is opened, must stand where the store
/// stood before or after the call, and goes on to the end.
fn kill_at_every_write(applies: &[Apply], toy: &Arc<Toy>) -> Vec<Step> {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let store = create(&dir, toy);
    let copies = Arc::new(Mutex::new(Vec::new()));
    let mut steps = Vec::new();
    for (index, apply) in applies.iter().enumerate() {
        let before = segment_files(&dir);
        let (acknowledged, taken) = (store.stored(), copies.clone());
        let (from, to) = (dir.clone(), root.path().join("copy"));
        store.steps.set(Some(Box::new(move |step, _| {
            // Files are written side by side; the lock keeps a copy from seeing two moments.
            let mut taken = taken.lock().unwrap();
            let to = to.join(format!("{index}-{}", taken.len()));
            copy(&from, &to);
            taken.push((step, to));
            Ok(())
        })));
        store.append(apply).unwrap();
        store.steps.set(None);
        for (step, copied) in copies.lock().unwrap().drain(..) {
            steps.push(step);
            let power_failed = copied.with_extension("power");
            copy(&copied, &power_failed);
            if step <= Step::SyncFile {
                lose_unsynced(&power_failed, &before);
            }
            for copied in [copied, power_failed] {
                let what = format!("batch {index}, killed before {step:?}");
                let reopened = open(&copied).unwrap_or_else(|error| panic!("{what}: {error}"));
                let head = reopened.stored();
                assert!(head == acknowledged || head == store.stored(), "{what}: the head is {}", head.height);
                check_served(&reopened, toy, head.height.get());
                reopened.check(|_| ()).unwrap_or_else(|error| panic!("{what}: {error}"));
                append_all(&reopened, &applies[index..]);
                let last = applies.last().unwrap().range().unwrap().last();
                check_served(&reopened, toy, last.get());
                drop(reopened);
                std::fs::remove_dir_all(copied).unwrap();
            }
        }
    }
    steps
}

#[test]
fn kill_at_every_write_of_bulk_blocks() {
    let toy = toy();
    let mut applies = bulk(&toy);
    // One frame for each block makes many equal steps; few of them do.
    applies[3].parts.truncate(2);
    applies.truncate(4);
    let steps = kill_at_every_write(&applies, &toy);
    for step in
        [Step::Create, Step::Write, Step::SyncFile, Step::Rename, Step::SyncDirectory, Step::Commit, Step::Committed]
    {
        assert!(steps.contains(&step), "{step:?}");
    }
}

#[test]
fn kill_at_every_write_near_the_tip() {
    let toy = Toy::new(&[60, 90], |_| 20);
    let applies: Vec<_> = [(1, 20), (21, 50), (51, 60), (61, 75), (76, 90)]
        .map(|(first, last)| apply(vec![toy.part(range(first, last), range(first, last), 10)]))
        .into();
    let steps = kill_at_every_write(&applies, &toy);
    assert!(steps.contains(&Step::Rename), "cells were sealed");
}

/// Lets the n-th step fail for each n, then tries again. Where `step` is given, only its like.
fn fail_at_every_step(applies: &[Apply], toy: &Arc<Toy>) -> usize {
    let mut failures = 0;
    for nth in 0.. {
        let root = tempfile::tempdir().unwrap();
        let store = create(root.path(), toy);
        let left = Arc::new(Mutex::new(Some(nth)));
        let counter = left.clone();
        store.steps.set(Some(Box::new(move |step, path| {
            let mut left = counter.lock().unwrap();
            match left.as_mut() {
                Some(0) => {
                    *left = None;
                    if step == Step::Write {
                        // Half of it arrived.
                        let file = std::fs::File::options().append(true).open(path)?;
                        io::Write::write_all(&mut &file, b"half a write")?;
                    }
                    Err(io::ErrorKind::StorageFull.into())
                }
                Some(left) => {
                    *left -= 1;
                    Ok(())
                }
                None => Ok(()),
            }
        })));
        for apply in applies {
            let before = store.stored().height.get();
            let after = apply.range().unwrap().last().get();
            if let Err(error) = store.append(apply) {
                assert!(error.is_transient(), "{error}");
                assert!(error.to_string().contains("free disk space"), "{error}");
                failures += 1;
                check_served(&store, toy, before);
                store.append(apply).unwrap();
            }
            check_served(&store, toy, after);
        }
        let fired = left.lock().unwrap().is_none();
        store.check(|_| ()).unwrap();
        let head = store.stored().height.get();
        let unsealed = store.view().unsealed.len();
        drop(store);
        let store = open(root.path()).unwrap();
        check_served(&store, toy, head);
        assert_eq!(store.view().unsealed.len(), unsealed);
        if !fired {
            return failures;
        }
    }
    unreachable!("the loop ends when no step is left to fail")
}

#[test]
fn a_full_disk_loses_nothing_of_bulk_blocks() {
    let toy = toy();
    let mut applies = bulk(&toy);
    applies.truncate(3);
    assert!(fail_at_every_step(&applies, &toy) > 15);
}

#[test]
fn a_full_disk_loses_nothing_near_the_tip() {
    let toy = Toy::new(&[60, 90], |_| 20);
    let applies: Vec<_> = [(1, 20), (21, 60), (61, 75), (76, 90)]
        .map(|(first, last)| apply(vec![toy.part(range(first, last), range(first, last), 10)]))
        .into();
    // Sealing fails without a word to the caller, whose blocks are durable.
    assert_eq!(fail_at_every_step(&applies, &toy), 2 * applies.len());
}

#[test]
fn a_disk_error_that_is_not_a_lack_of_space_is_permanent() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    let store = create(dir.path(), &toy);
    store.steps.set(Some(Box::new(|step, _| match step {
        Step::SyncFile => Err(io::Error::from_raw_os_error(5)),
        _ => Ok(()),
    })));
    let error = store.append(&bulk(&toy)[0]).unwrap_err();
    assert!(!error.is_transient(), "{error}");
    assert!(error.to_string().contains("check the disk"), "{error}");
    store.steps.set(None);
    append_all(&store, &bulk(&toy));
    check_served(&store, &toy, 2600);
}
