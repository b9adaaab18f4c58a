//! Making a store: in a folder of its own name, and moved into place when it is whole.
//!
//! A crash at any moment leaves either that folder, which the next creation empties or finishes, or a store. Nothing that
//! stands in the directory under another name is ever removed or replaced: it isn't ours, or it is a store that lost a
//! file.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hotstuff2_sync::chain::EpochRef;

use super::db::{Db, Space};
use super::db_files::try_lock;
use super::failure::{CREATE_DIRECTORY, OpenError, StoreFailure};
use super::records::{self, EpochRecord, StoreRecord, key};
use super::segment_file::SegmentDir;
use super::steps::{Step, Steps};
use crate::files::write_whole;

pub(super) const GENESIS_FILE: &str = "genesis";
pub(super) const SEGMENTS_DIR: &str = "segments";
pub(super) const DB_DIR: &str = "db";
const LOCK_FILE: &str = "LOCK";
const GENESIS_PART: &str = "genesis.part";
/// Where a store is made. The genesis document is written last in it and moved out last, so while it is in there the
/// rest is whole, there or in its place.
pub(super) const DRAFT_DIR: &str = "hs2-store.part";
/// First bytes of every database's file `version`.
const DB_MAGIC: &[u8] = b"FJL";

/// Contents of a directory.
pub(super) enum Found {
    /// No store, and nothing in the places of its files.
    Nothing,
    /// A store whose creation was interrupted while it was moved into place.
    Unfinished,
    /// A store.
    Store,
    /// A store without its genesis document.
    WithoutGenesis,
    /// Something that isn't ours, in the place of a store's file.
    NotOurs(PathBuf),
}

/// Whether anything is at `path`, be it a link that leads nowhere.
fn is_there(path: &Path) -> Result<bool, StoreFailure> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(StoreFailure::io(path, "look at it", error)),
    }
}

/// Looks what `dir` holds, and changes nothing.
pub(super) fn look(dir: &Path) -> Result<Found, StoreFailure> {
    if is_there(&dir.join(GENESIS_FILE))? {
        return Ok(Found::Store);
    }
    if is_there(&dir.join(DRAFT_DIR).join(GENESIS_FILE))? {
        return Ok(Found::Unfinished);
    }
    let mut places = Vec::new();
    for name in [DB_DIR, SEGMENTS_DIR] {
        if is_there(&dir.join(name))? {
            places.push(dir.join(name));
        }
    }
    let Some(first) = places.first() else { return Ok(Found::Nothing) };
    // A file of ours that is there as long as the store is, and two of its folders in their forms.
    let version = dir.join(DB_DIR).join("version");
    let is_database = version.is_file() && std::fs::read(&version).is_ok_and(|bytes| bytes.starts_with(DB_MAGIC));
    if is_there(&dir.join(LOCK_FILE))? && is_database && dir.join(SEGMENTS_DIR).is_dir() {
        return Ok(Found::WithoutGenesis);
    }
    Ok(Found::NotOurs(first.clone()))
}

/// Makes the store that `record` describes in `dir`, and takes its lock.
pub(super) fn make(
    dir: &Path,
    record: &StoreRecord,
    epoch: &EpochRef,
    genesis: &[u8],
    steps: &Steps,
) -> Result<File, OpenError> {
    // Before anything of ours is left in a directory that isn't.
    refuse(dir)?;
    std::fs::create_dir_all(dir).map_err(|error| StoreFailure::io(dir, CREATE_DIRECTORY, error))?;
    let lock = lock(dir)?;
    match refuse(dir)? {
        Found::Unfinished => {}
        _ => draft(dir, record, epoch, genesis, steps)?,
    }
    finish(dir, steps)?;
    Ok(lock)
}

pub(super) fn refuse(dir: &Path) -> Result<Found, OpenError> {
    match look(dir)? {
        Found::Store => Err(OpenError::Exists(dir.to_owned())),
        Found::WithoutGenesis => Err(OpenError::WithoutGenesis(dir.to_owned())),
        Found::NotOurs(path) => Err(OpenError::NotOurs(path)),
        found => Ok(found),
    }
}

/// Makes a whole store in the draft's folder, in place of one that was begun there.
fn draft(dir: &Path, record: &StoreRecord, epoch: &EpochRef, genesis: &[u8], steps: &Steps) -> Result<(), OpenError> {
    let draft = dir.join(DRAFT_DIR);
    clear(&draft)?;
    let reached = |step| steps.reached(step, &draft).map_err(|error| StoreFailure::io(&draft, "write", error));
    let segments = draft.join(SEGMENTS_DIR);
    for folder in [&draft, &segments] {
        reached(Step::Create)?;
        std::fs::create_dir(folder).map_err(|error| StoreFailure::io(folder, CREATE_DIRECTORY, error))?;
    }
    reached(Step::Create)?;
    // Closed before it is moved, since it finds its files by their path.
    let db = Db::create(draft.join(DB_DIR))?;
    let epoch = EpochRecord::of(epoch, None);
    let writes = [
        (Space::Index, Bytes::from_static(key::STORE), Some(records::encode(record))),
        (Space::Index, Bytes::from_static(key::HEAD), Some(records::encode(&record.anchor))),
        (Space::Index, Bytes::from_static(key::APPLIED), Some(records::encode(&record.anchor.height))),
        (Space::Index, key::epoch(key::EPOCHS, epoch.epoch), Some(records::encode(&epoch))),
    ];
    reached(Step::Commit)?;
    db.commit(writes.into_iter(), true)?;
    reached(Step::Committed)?;
    drop(db);
    reached(Step::Write)?;
    write_genesis(&draft, genesis)?;
    Ok(())
}

/// Removes what an interrupted creation left: what a draft consists of, and nothing else.
pub(super) fn clear(draft: &Path) -> Result<(), OpenError> {
    let ours = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory) => {
            Err(OpenError::NotOurs(draft.to_owned()))
        }
        other => Ok(other.map_err(|error| StoreFailure::io(draft, "remove", error))?),
    };
    if !is_there(draft)? {
        return Ok(());
    }
    ours(std::fs::remove_dir_all(draft.join(DB_DIR)))?;
    let segments = draft.join(SEGMENTS_DIR);
    if segments.is_dir() && !segments.is_symlink() {
        // Those of a backup.
        SegmentDir::new(segments.clone()).remove_strays(|_, _| false)?;
    }
    ours(std::fs::remove_dir(segments))?;
    ours(std::fs::remove_file(draft.join(GENESIS_PART)))?;
    ours(std::fs::remove_dir(draft))
}

/// Moves the store out of the draft's folder, or what is left of it there.
pub(super) fn finish(dir: &Path, steps: &Steps) -> Result<(), OpenError> {
    let draft = dir.join(DRAFT_DIR);
    for name in [SEGMENTS_DIR, DB_DIR] {
        if is_there(&draft.join(name))? {
            move_in(&draft, dir, name, steps)?;
        }
    }
    sync(dir, steps)?;
    move_in(&draft, dir, GENESIS_FILE, steps)?;
    sync(dir, steps)?;
    // Empty, but for what somebody else put into it.
    let _ = steps.reached(Step::Remove, &draft).and_then(|()| std::fs::remove_dir(&draft));
    Ok(())
}

fn move_in(draft: &Path, dir: &Path, name: &str, steps: &Steps) -> Result<(), OpenError> {
    let (from, to) = (draft.join(name), dir.join(name));
    if is_there(&to)? {
        return Err(OpenError::NotOurs(to));
    }
    let moved = steps.reached(Step::Rename, &from).and_then(|()| std::fs::rename(&from, &to));
    Ok(moved.map_err(|error| StoreFailure::io(&to, "move it into place", error))?)
}

fn sync(dir: &Path, steps: &Steps) -> Result<(), StoreFailure> {
    let synced = steps.reached(Step::SyncDirectory, dir).and_then(|()| File::open(dir)?.sync_all());
    synced.map_err(|error| StoreFailure::io(dir, "force the directory to disk", error))
}

/// Writes the genesis document of the store in `dir`, whole or not at all.
pub(super) fn write_genesis(dir: &Path, genesis: &[u8]) -> Result<(), StoreFailure> {
    let part = dir.join(GENESIS_PART);
    write_whole(&dir.join(GENESIS_FILE), &part, genesis).map_err(|error| StoreFailure::io(&part, "write", error))
}

/// Takes the lock of the store in `dir`.
pub(super) fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK_FILE);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| StoreFailure::io(&path, "open", error))?;
    match try_lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(StoreFailure::io(&path, "lock", error).into()),
    }
}
