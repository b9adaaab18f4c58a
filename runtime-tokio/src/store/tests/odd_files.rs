//! Odd things in the places of a store's files: each is an error that names it, none ends the process, makes it wait, or
//! costs anything that is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use hotstuff2_sync::ids::Height;

use super::crash::copy;
use super::{append_all, bulk, create, open, toy};
use crate::store::{BlockStore as _, OpenError, StateSpace, StateStore as _};

fn all(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(all(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

/// A store with blocks in files and a state in tables.
fn full(dir: &Path) {
    let toy = toy();
    let store = create(dir, &toy);
    append_all(&store, &bulk(&toy)[..4]);
    for batch in 0..3u8 {
        let mut rows = (0..200u8).map(|row| {
            let key = Bytes::from([[batch; 16], [row; 16]].concat());
            (StateSpace::Values, key, Some(Bytes::from(vec![row; 40_000])))
        });
        store.commit(Height::new(u64::from(batch) + 1), &mut rows).unwrap();
    }
    store.persist().unwrap();
    drop(store);
    drop(open(dir).unwrap());
}

const ODD: [&str; 6] = ["a folder", "an empty file", "garbage", "half of it", "a pipe", "nothing"];

/// Puts something else in the place of `path`; false where that makes no difference.
fn replace(path: &Path, odd: &str) -> bool {
    let bytes = if path.is_dir() { None } else { Some(fs::read(path).unwrap()) };
    let half = bytes.as_ref().map_or(0, |bytes| bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) / 2);
    match &bytes {
        None => fs::remove_dir_all(path).unwrap(),
        Some(_) => fs::remove_file(path).unwrap(),
    }
    match (odd, bytes) {
        ("a folder", _) => fs::create_dir(path).unwrap(),
        ("an empty file", _) => fs::write(path, "").unwrap(),
        ("garbage", _) => fs::write(path, vec![0xa5; 5000]).unwrap(),
        ("half of it", Some(bytes)) => fs::write(path, &bytes[..half]).unwrap(),
        ("half of it", None) => return false,
        ("a pipe", _) => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        _ => {}
    }
    true
}

/// The number of a list of a table's files; `None` for any other file.
fn list_number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix('v')?.parse().ok()
}

/// Whether `path` is such a list that a later one has taken the place of, and that was not tidied up yet.
fn is_passed_list(path: &Path) -> bool {
    let Some((number, folder)) = list_number(path).zip(path.parent()) else { return false };
    let mut others = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    others.any(|other| list_number(&other).is_some_and(|other| other > number))
}

#[test]
fn no_odd_file_ends_the_process_or_costs_another() {
    let (dir, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    full(dir.path());
    let head = open(dir.path()).unwrap().stored();
    let places = all(dir.path());
    assert!(places.iter().filter(|path| path.parent().unwrap().ends_with("tables")).count() > 2, "{places:?}");
    let mut refused = 0;
    for place in &places {
        let inside = place.strip_prefix(dir.path()).unwrap();
        for odd in ODD {
            let what = format!("{odd} for {}", inside.display());
            let broken = copied.path().join("store");
            copy(dir.path(), &broken);
            if replace(&broken.join(inside), odd) {
                let before: BTreeSet<_> = all(&broken).into_iter().collect();
                match open(&broken) {
                    Ok(store) => {
                        // A lock has no content, and of what was emptied nothing was needed.
                        let (emptied, lock) = (odd == "a folder" && place.is_dir(), inside.ends_with("lock"));
                        let sealed = inside.extension().is_some_and(|extension| extension == "seg");
                        let nothing = emptied || (odd == "nothing" && inside.ends_with("tables"));
                        let journal = inside.extension().is_some_and(|extension| extension == "jnl");
                        let free = lock || inside.ends_with("LOCK") || sealed || nothing || journal;
                        assert!(free || is_passed_list(place), "{what}");
                        match store.check(|_| ()) {
                            // Of a journal that was cut, the newest blocks may be missing.
                            Ok(_) => assert!(journal || store.stored() == head, "{what}"),
                            Err(error) => assert!(error.to_string().contains("; "), "{what}: {error}"),
                        }
                    }
                    Err(error @ (OpenError::Store(_) | OpenError::WithoutGenesis(_))) => {
                        let said = error.to_string();
                        // The place, the folder that it is missing from, or the table that it is a file of.
                        let mut places = inside.ancestors().take(3).filter(|place| place.parent().is_some());
                        let named = places.any(|place| said.contains(place.to_str().unwrap()));
                        assert!(named && said.contains("; ") && said.lines().count() == 1, "{what}: {said}");
                        refused += 1;
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
                // The database puts a new list of a table's files in the place of the old one when it tidies up.
                let lost = before.into_iter().filter(|path| !path.exists() && list_number(path).is_none());
                let lost: Vec<_> = lost.collect();
                assert!(lost.is_empty(), "{what}: {lost:?}");
            }
            fs::remove_dir_all(&broken).unwrap();
        }
    }
    assert!(refused > 100, "{refused}");
}
