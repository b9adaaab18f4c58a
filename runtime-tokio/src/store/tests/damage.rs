//! Damaged, missing and foreign files: one clear error each, which names the file and what to do.

use std::fs;
use std::path::Path;

use hotstuff2_sync::hash::Hash;
use hotstuff2_sync::serve::ChainReader as _;

use super::toy::range;
use super::{Store, append_all, bulk, create, following, open, toy};
use crate::store::{BlockStore as _, OpenError, StoreFailure};

const SEALED: &str = "segments/00000000000000000001.seg";
const PART: &str = "segments/00000000000000002048.part";

/// A store with three sealed cells and one open one.
fn stored() -> tempfile::TempDir {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    append_all(&create(dir.path(), &toy), &bulk(&toy)[..4]);
    dir
}

fn change(dir: &Path, file: &str, change: impl Fn(&mut Vec<u8>)) {
    let path = dir.join(file);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn damaged<T: std::fmt::Debug>(result: Result<T, StoreFailure>, file: &str, what: &str) {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreFailure::Damaged { .. }) && !error.is_transient(), "{text}");
    assert!(text.contains(file) && text.contains(what) && text.contains("sync again"), "{text}");
}

fn opening_fails(dir: &Path, file: &str, what: &str) {
    match open(dir) {
        Err(OpenError::Store(failure)) => {
            let text = failure.to_string();
            assert!(text.contains(file) && text.contains(what), "{text}");
            assert!(text.contains("; "), "no remedy: {text}");
            assert!(!failure.is_transient());
        }
        other => panic!("{other:?}"),
    }
}

/// The store can be opened, and knows that this file is damaged.
fn opening_notes(dir: &Path, file: &str, what: &str) {
    let store = open(dir).unwrap();
    let damage = store.damage().borrow().clone();
    let [damage] = damage.as_slice() else { panic!("{damage:?}") };
    assert!(damage.what.contains(file) && damage.what.contains(what), "{}", damage.what);
}

fn serve_all(store: &Store) -> Result<(), StoreFailure> {
    store.segment(range(1, 1023), true, false)?;
    store.bodies(range(1, 1023), u32::MAX, &mut Vec::new())?;
    Ok(())
}

#[test]
fn a_changed_byte_anywhere_in_a_sealed_file_is_found() {
    let dir = stored();
    let len = fs::metadata(dir.path().join(SEALED)).unwrap().len() as usize;
    let step = len / 97;
    for at in (0..16).chain((16..len).step_by(step)).chain(len - 50..len) {
        change(dir.path(), SEALED, |bytes| bytes[at] ^= 1);
        let store = open(dir.path()).unwrap();
        damaged(serve_all(&store), SEALED, "");
        damaged(store.check(|_| ()), SEALED, "");
        drop(store);
        change(dir.path(), SEALED, |bytes| bytes[at] ^= 1);
    }
    serve_all(&open(dir.path()).unwrap()).unwrap();
}

#[test]
fn nothing_of_a_damaged_frame_is_handed_out() {
    let dir = stored();
    change(dir.path(), SEALED, |bytes| {
        let segment_len = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
        bytes[16 + segment_len + 5_000] ^= 1;
    });
    let store = open(dir.path()).unwrap();
    let mut out = b"before".to_vec();
    damaged(store.bodies(range(1, 1023), u32::MAX, &mut out), SEALED, "bodies");
    assert_eq!(out, b"before");
    damaged(store.read(range(1, 1023), u64::MAX), SEALED, "bodies");
}

#[test]
fn a_short_sealed_file_is_found() {
    for len in [0, 20, 3000] {
        let dir = stored();
        change(dir.path(), SEALED, |bytes| bytes.truncate(len));
        damaged(serve_all(&open(dir.path()).unwrap()), SEALED, "");
    }
    // The newest is looked at right away, and the store can do without it.
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    append_all(&create(dir.path(), &toy), &bulk(&toy));
    let newest = "segments/00000000000000002048.seg";
    change(dir.path(), newest, |bytes| bytes.truncate(20));
    opening_notes(dir.path(), newest, "ends after 20 bytes");
}

#[test]
fn a_sealed_file_of_another_cell_is_found() {
    let dir = stored();
    fs::copy(dir.path().join("segments/00000000000000001501.seg"), dir.path().join(SEALED)).unwrap();
    damaged(serve_all(&open(dir.path()).unwrap()), SEALED, "it holds the blocks 1501..=2047");
}

#[test]
fn a_missing_file_is_found() {
    let dir = stored();
    fs::remove_file(dir.path().join(SEALED)).unwrap();
    opening_notes(dir.path(), SEALED, "the blocks 1..=1023 are in it");
    let dir = stored();
    fs::remove_file(dir.path().join(PART)).unwrap();
    opening_fails(dir.path(), PART, "it is missing");
}

#[test]
fn a_short_or_changed_open_file_is_found() {
    let dir = stored();
    change(dir.path(), PART, |bytes| bytes.truncate(1000));
    opening_fails(dir.path(), PART, "it has 1000 bytes, the database recorded");
    let dir = stored();
    change(dir.path(), PART, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let store = open(dir.path()).unwrap();
    damaged(store.bodies(range(2300, 2300), u32::MAX, &mut Vec::new()), PART, "the bodies 2300..=2300");
}

#[test]
fn a_damaged_database_is_found() {
    for file in ["db/version", "db/keyspaces/1/current"] {
        let dir = stored();
        change(dir.path(), file, |bytes| bytes.fill(0xff));
        opening_fails(dir.path(), "db", "");
    }
    let dir = stored();
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    opening_fails(dir.path(), "db", "missing");
    // An empty journal is what a database looks like that lost everything.
    let dir = stored();
    change(dir.path(), "db/0.jnl", Vec::clear);
    opening_fails(dir.path(), "db", "which chain");
}

#[test]
fn no_changed_byte_of_the_database_makes_it_panic() {
    let (dir, toy) = (tempfile::tempdir().unwrap(), toy());
    append_all(&create(dir.path(), &toy), &following(&toy, 300));
    // Opened again, so that its tables were written too.
    drop(open(dir.path()).unwrap());
    let mut files = Vec::new();
    list(&dir.path().join("db"), &mut files);
    let mut refused = 0;
    let copied = tempfile::tempdir().unwrap();
    for file in files {
        let len = fs::read(&file).unwrap().iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        for at in (0..len).step_by((len / 12).max(1)) {
            let copy_dir = copied.path().join("copy");
            super::crash::copy(dir.path(), &copy_dir);
            let target = copy_dir.join(file.strip_prefix(dir.path()).unwrap());
            let mut bytes = fs::read(&target).unwrap();
            bytes[at] ^= 0x41;
            fs::write(&target, bytes).unwrap();
            match open(&copy_dir) {
                // The damage was noticed, or made no difference to what is served, or cost the newest blocks.
                Err(OpenError::Store(_)) => refused += 1,
                Err(error) => panic!("{}: {error}", file.display()),
                Ok(store) => drop(store.check(|_| ())),
            }
            fs::remove_dir_all(copy_dir).unwrap();
        }
    }
    assert!(refused > 10, "{refused}");
}

fn list(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

#[test]
fn a_changed_genesis_document_is_found() {
    let dir = stored();
    change(dir.path(), "genesis", |bytes| bytes[0] ^= 1);
    opening_fails(dir.path(), "genesis", "isn't the document");
}

#[test]
fn another_chain_another_process_and_no_store_are_told_apart() {
    let dir = stored();
    let wanted = Hash::from_bytes([8; 32]);
    let error = Store::open(dir.path(), super::Arc::new(super::ToyChain), Some(wanted)).unwrap_err();
    assert!(matches!(error, OpenError::OtherChain { .. }), "{error}");
    let store = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::InUse(_))));
    drop(store);
    let again = Store::create(dir.path(), super::Arc::new(super::ToyChain), &toy().anchor());
    assert!(matches!(again, Err(OpenError::Exists(_))));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(open(empty.path()), Err(OpenError::Missing(_))));
    let file = empty.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::create(&file, super::Arc::new(super::ToyChain), &toy().anchor()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("can't create the directory") && said.contains("remove the file that is there"), "{said}");
}
