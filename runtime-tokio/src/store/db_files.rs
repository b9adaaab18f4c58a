//! The database's folder before fjall opens it: that every file in it is what it must be.
//!
//! fjall believes its folder. Where a table is missing it makes an empty one, where its list of tables lacks a name it
//! deletes the table's folder, a folder in a file's place makes it panic while it holds a lock that closing needs, which
//! ends the process, a pipe makes it wait for ever, and a changed byte in a manifest can make it ask for any amount of
//! memory. [`check_folder`] finds all of that first. It changes nothing that fjall's own opening would not.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lsm_tree::{AbstractTree as _, AnyTree, Config, SeqNo, SequenceNumberCounter};

use super::failure::StoreFailure;

/// The folder of the table that lists the others.
const LIST: &str = "0";
/// Tables that every database of a store has had since it was made.
const NEEDED: [&str; 2] = ["index", "tail"];
/// How often, and how long apart, a lock is tried.
const LOCK_TRIES: u32 = 4;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Takes the lock on a file that may have been let go a moment ago: a database lets go of its own after it is closed, and a
/// process that this one begins holds all of its locks until it runs its own program.
pub(super) fn try_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 1..LOCK_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            locked => return locked,
        }
    }
    file.try_lock()
}

/// Runs what belongs to the database. `None` where it panicked: damage that it takes for a bug in itself.
pub(super) fn fenced<T>(action: impl FnOnce() -> T) -> Option<T> {
    // The database is not looked at again: it is closed, or answers with errors as its locks are poisoned.
    std::panic::catch_unwind(AssertUnwindSafe(action)).ok()
}

/// Fails unless there is a file at `path`: no folder, pipe or device.
pub(super) fn require_file(path: &Path) -> Result<(), StoreFailure> {
    require(path, "a file", std::fs::Metadata::is_file)
}

fn require_folder(path: &Path) -> Result<(), StoreFailure> {
    require(path, "a folder", std::fs::Metadata::is_dir)
}

fn require(path: &Path, kind: &str, is_kind: impl Fn(&std::fs::Metadata) -> bool) -> Result<(), StoreFailure> {
    match std::fs::metadata(path) {
        Ok(metadata) if is_kind(&metadata) => Ok(()),
        Ok(_) => Err(StoreFailure::damaged(path, format!("it isn't {kind}"))),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(StoreFailure::damaged(path, "it is missing")),
        Err(error) => Err(StoreFailure::io(path, "look at it", error)),
    }
}

/// Checks the folder of a database that was made by this program.
pub(super) fn check_folder(path: &Path) -> Result<(), StoreFailure> {
    require_folder(path)?;
    require_file(&path.join("version"))?;
    let _lock = lock(&path.join("lock"))?;
    let mut journals = 0;
    for file in list(path)? {
        if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jnl")) {
            require_file(&file)?;
            if file.is_symlink() {
                return Err(StoreFailure::damaged(&file, "it is a link, which the database takes for no journal"));
            }
            journals += 1;
        }
    }
    if journals == 0 {
        return Err(StoreFailure::damaged(path, "its journal (a file `.jnl`) is missing"));
    }
    let keyspaces = path.join("keyspaces");
    require_folder(&keyspaces)?;
    for folder in list(&keyspaces)? {
        // fjall leaves other files alone.
        if folder.is_dir() {
            check_table(&folder)?;
        }
    }
    let names = names(&keyspaces.join(LIST))?;
    for (id, _) in &names {
        let folder = keyspaces.join(id.to_string());
        require_file(&folder.join("current"))?;
        drop(open_table(&folder)?);
    }
    match NEEDED.iter().find(|needed| !names.iter().any(|(_, name)| name == *needed)) {
        Some(needed) => Err(StoreFailure::damaged(&keyspaces, format!("the table `{needed}` is missing"))),
        None => Ok(()),
    }
}

/// Takes the lock that fjall takes: tables that another instance works on must not be opened beside it.
fn lock(path: &Path) -> Result<File, StoreFailure> {
    require_file(path)?;
    let file = File::options().read(true).write(true).open(path);
    let file = file.map_err(|error| StoreFailure::io(path, "open", error))?;
    match try_lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreFailure::database(path, fjall::Error::Locked)),
        Err(TryLockError::Error(error)) => Err(StoreFailure::io(path, "lock", error)),
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreFailure> {
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    entries.map_err(|error| StoreFailure::io(folder, "list", error))
}

/// Checks the kinds of what is in the folder of a table, and its manifest.
fn check_table(folder: &Path) -> Result<(), StoreFailure> {
    let number = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok());
    if number.is_none() {
        return Err(StoreFailure::damaged(folder, "it isn't the folder of a table, whose name is a number"));
    }
    for entry in list(folder)? {
        match entry.file_name().and_then(|name| name.to_str()) {
            Some("tables") => {
                require_folder(&entry)?;
                list(&entry)?.iter().try_for_each(|file| require_content(file))?;
            }
            Some(name) if name == "current" || name.starts_with('v') => require_file(&entry)?,
            _ => {}
        }
    }
    check_manifest(folder)
}

/// A file of a table, which is never empty. The database would say that something is, and not which.
fn require_content(file: &Path) -> Result<(), StoreFailure> {
    require_file(file)?;
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.len() == 0 => Err(StoreFailure::damaged(file, "it is empty")),
        Ok(_) => Ok(()),
        Err(error) => Err(StoreFailure::io(file, "look at", error)),
    }
}

/// Compares the manifest of a table with the checksum that stands beside its name in `current`: u64 number, u128 XXH3 of
/// the file `v<number>`, and a zero for this kind of checksum. fjall reads the number alone, and checks nothing.
fn check_manifest(folder: &Path) -> Result<(), StoreFailure> {
    let Ok(current) = std::fs::read(folder.join("current")) else { return Ok(()) };
    let cut = || StoreFailure::damaged(&folder.join("current"), "it doesn't name a manifest with its checksum");
    let (number, rest) = current.split_first_chunk::<8>().ok_or_else(cut)?;
    let Some((expected, [0])) = rest.split_first_chunk::<16>() else { return Err(cut()) };
    let manifest = folder.join(format!("v{}", u64::from_le_bytes(*number)));
    require_file(&manifest)?;
    let bytes = std::fs::read(&manifest).map_err(|error| StoreFailure::io(&manifest, "read", error))?;
    if xxhash_rust::xxh3::xxh3_128(&bytes) != u128::from_le_bytes(*expected) {
        return Err(StoreFailure::damaged(&manifest, "its checksum is wrong"));
    }
    Ok(())
}

/// Opens a table as fjall does, but on its own: where that panics, no lock of fjall's is held.
fn open_table(folder: &Path) -> Result<AnyTree, StoreFailure> {
    let config = Config::new(folder, SequenceNumberCounter::default(), SequenceNumberCounter::default());
    match fenced(|| config.open()) {
        Some(Ok(table)) => Ok(table),
        Some(Err(error)) => Err(StoreFailure::damaged(folder, format!("the table can't be opened: {error}"))),
        None => Err(StoreFailure::damaged(folder, "the table can't be opened: the database can't make sense of it")),
    }
}

/// The tables that the list in `folder` names, by the numbers of their folders.
fn names(folder: &Path) -> Result<Vec<(u64, String)>, StoreFailure> {
    require_file(&folder.join("current"))?;
    let table = open_table(folder)?;
    let rows =
        fenced(|| table.prefix(b"n", SeqNo::MAX, None).map(lsm_tree::Guard::into_inner).collect::<Result<Vec<_>, _>>());
    let unreadable = || StoreFailure::damaged(folder, "the list of tables can't be read");
    let rows = rows.ok_or_else(unreadable)?.map_err(|_| unreadable())?;
    let row = |(key, name): &(lsm_tree::UserKey, lsm_tree::UserValue)| {
        let id = key.strip_prefix(b"n").and_then(|id| id.try_into().ok()).map(u64::from_be_bytes)?;
        Some((id, std::str::from_utf8(name).ok()?.to_owned()))
    };
    rows.iter().map(|found| row(found).ok_or_else(unreadable)).collect()
}
