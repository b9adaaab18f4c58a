//! Backups: a store's files in another folder, as of one moment, while the store is written and read.
//!
//! Files that never change again, sealed segments and the database's tables, are shared by hard links where both folders are on
//! one file system that has them, and copied elsewhere. The others are copied. While that is done no blocks are written, and
//! the database is closed, so that it changes no file: reads of it wait, and views of the state that peers read are lost.
//!
//! The new folder is made as a new store is (see `create`): whatever happens on the way, it is a whole store or none.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use hotstuff2_sync::chain::Chain;
use hotstuff2_sync::ids::Height;

use super::create::{DB_DIR, DRAFT_DIR, Found, SEGMENTS_DIR, clear, finish, lock, refuse, write_genesis};
use super::disk::{DiskStore, read_genesis};
use super::failure::{CREATE_DIRECTORY, OpenError, StoreFailure};
use super::segment_file::SegmentDir;
use super::steps::{Step, Steps};
use super::stored::Place;

/// Bytes that are copied at once; those that are all zero make no block on disk.
const COPY_BYTES: usize = 64 << 10;

/// A backup that was made, or restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Height of the highest block in it; zero of one that was restored, which is not opened for that.
    pub height: Height,
    /// Files that it shares with the store.
    pub linked: u64,
    /// Files that were copied.
    pub copied: u64,
    /// Bytes of those that were copied.
    pub copied_bytes: u64,
}

impl<C: Chain> DiskStore<C> {
    /// Makes a store of the same blocks and state in `to`, which is created where it isn't there, while this one goes on.
    /// It may be opened in its place, or [restored](restore_backup). No other file of this store's folder is taken along: no
    /// key, no address book, no record of votes.
    ///
    /// # Errors
    /// Where `to` holds a store or something that isn't ours, or a disk fails.
    pub fn backup(&self, to: &Path) -> Result<Backup, OpenError> {
        let mut target = Target::begin(to, true, &self.steps)?;
        // Most of it, before anybody has to wait.
        let mut sealed = self.take_sealed(&mut target, &BTreeSet::new())?;
        {
            let _writer = self.lock_writer()?;
            let view = self.view();
            let now = self.take_sealed(&mut target, &sealed)?;
            for gone in sealed.difference(&now) {
                target.drop_segment(*gone)?;
            }
            sealed = now;
            for piece in &view.unsealed {
                let first = piece.range().first();
                if matches!(piece.place(), Place::File(_)) {
                    target.take(&self.segments.part(first), &target.segments.part(first), false)?;
                }
            }
            target.report.height = view.head.height;
            self.db.closed(|path| target.take_db(path))??;
        }
        tracing::debug!(segments = sealed.len(), to = %to.display(), "backup");
        target.finish(&self.genesis)
    }

    /// Takes the sealed segments that are not among `taken`; all that there are.
    fn take_sealed(&self, target: &mut Target<'_>, taken: &BTreeSet<Height>) -> Result<BTreeSet<Height>, StoreFailure> {
        let view = self.view();
        let (mut all, mut next) = (BTreeSet::new(), view.floor.headers);
        while view.holds(next) {
            let Some(cell) = view.cell_of(next) else { break };
            if let Some(piece) = view.unsealed_at(next) {
                let Some(bodies) = piece.bodies() else { break };
                next = bodies.last().next();
                continue;
            }
            let first = cell.first();
            // One that is missing is damage, or was pruned a moment ago.
            if taken.contains(&first)
                || target.take(&self.segments.sealed(first), &target.segments.sealed(first), true)?
            {
                all.insert(first);
            }
            next = cell.last().next();
        }
        Ok(all)
    }
}

/// Copies the backup in `from`, which nobody has open, into `to` as the store that is there from now on: nothing is shared with
/// the backup, which may be restored again. Other files in `to`, such as the node's key, stay.
///
/// # Errors
/// Where `from` holds no store, `to` holds one, or a disk fails.
pub fn restore_backup(from: &Path, to: &Path) -> Result<Backup, OpenError> {
    let genesis = read_genesis(from)?;
    let _lock = lock(from)?;
    let steps = Steps::default();
    let mut target = Target::begin(to, false, &steps)?;
    let segments = SegmentDir::new(from.join(SEGMENTS_DIR));
    for path in list(segments.path())? {
        let Some(name) = path.file_name().filter(|_| segments.is_named(&path)) else { continue };
        target.take(&path, &target.segments.path().join(name), true)?;
    }
    target.take_db(&from.join(DB_DIR))?;
    target.finish(&genesis)
}

/// The folder that a backup is made in.
struct Target<'a> {
    dir: PathBuf,
    draft: PathBuf,
    segments: SegmentDir,
    /// Whether files that never change may be shared.
    links: bool,
    steps: &'a Steps,
    /// Copies that are not forced to disk yet, and folders.
    unsynced: Vec<PathBuf>,
    report: Backup,
    /// Keeps others from opening what is made.
    _lock: File,
}

impl<'a> Target<'a> {
    fn begin(dir: &Path, links: bool, steps: &'a Steps) -> Result<Self, OpenError> {
        refuse(dir)?;
        fs::create_dir_all(dir).map_err(|error| StoreFailure::io(dir, CREATE_DIRECTORY, error))?;
        let lock = lock(dir)?;
        if let Found::Unfinished = refuse(dir)? {
            // One that was interrupted as it was moved into place is whole.
            finish(dir, steps)?;
            return Err(OpenError::Exists(dir.to_owned()));
        }
        let draft = dir.join(DRAFT_DIR);
        clear(&draft)?;
        let segments = SegmentDir::new(draft.join(SEGMENTS_DIR));
        let mut target = Self {
            dir: dir.to_owned(),
            segments,
            draft,
            links,
            steps,
            unsynced: Vec::new(),
            report: Backup::default(),
            _lock: lock,
        };
        for folder in [target.draft.clone(), target.segments.path().to_owned()] {
            target.make_folder(folder)?;
        }
        Ok(target)
    }

    fn make_folder(&mut self, folder: PathBuf) -> Result<(), StoreFailure> {
        let made = self.steps.reached(Step::Create, &folder).and_then(|()| fs::create_dir(&folder));
        made.map_err(|error| StoreFailure::io(&folder, CREATE_DIRECTORY, error))?;
        self.unsynced.push(folder);
        Ok(())
    }

    /// Takes a file, by a link where it `is_final` and links can be; false where there is none.
    fn take(&mut self, from: &Path, to: &Path, is_final: bool) -> Result<bool, StoreFailure> {
        if !from.is_file() {
            return Ok(false);
        }
        let reached = self.steps.reached(Step::Write, to);
        reached.map_err(|error| StoreFailure::io(to, "write", error))?;
        if self.links && is_final && fs::hard_link(from, to).is_ok() {
            self.report.linked = self.report.linked.saturating_add(1);
            return Ok(true);
        }
        match copy(from, to) {
            Ok(bytes) => {
                self.report.copied = self.report.copied.saturating_add(1);
                self.report.copied_bytes = self.report.copied_bytes.saturating_add(bytes);
                self.unsynced.push(to.to_owned());
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !from.exists() => Ok(false),
            Err(error) => Err(StoreFailure::io(to, "copy a file of the store to it", error)),
        }
    }

    fn drop_segment(&self, first: Height) -> Result<(), StoreFailure> {
        let path = self.segments.sealed(first);
        fs::remove_file(&path).map_err(|error| StoreFailure::io(&path, "remove", error))
    }

    /// Takes the files of a database that nobody has open.
    fn take_db(&mut self, db: &Path) -> Result<(), StoreFailure> {
        self.take_folder(db, self.draft.join(DB_DIR))
    }

    fn take_folder(&mut self, from: &Path, to: PathBuf) -> Result<(), StoreFailure> {
        self.make_folder(to.clone())?;
        // A table is written once, under a name that is not used again.
        let is_final = from.file_name().is_some_and(|name| name == "tables");
        for path in list(from)? {
            let Some(name) = path.file_name() else { continue };
            if path.is_dir() {
                self.take_folder(&path, to.join(name))?;
            } else {
                self.take(&path, &to.join(name), is_final)?;
            }
        }
        Ok(())
    }

    /// Forces all of it to disk, and moves it to where it belongs.
    fn finish(self, genesis: &[u8]) -> Result<Backup, OpenError> {
        for path in self.unsynced.iter().rev() {
            let synced = self.steps.reached(Step::SyncFile, path).and_then(|()| File::open(path)?.sync_all());
            synced.map_err(|error| StoreFailure::io(path, "force it to disk", error))?;
        }
        write_genesis(&self.draft, genesis)?;
        finish(&self.dir, self.steps)?;
        Ok(self.report)
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreFailure> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    entries.map_err(|error| StoreFailure::io(folder, "list", error))
}

/// Copies a file into a new one, without what is nothing but zeros: a journal is as long as it may get from the start. Returns
/// the bytes that were written.
fn copy(from: &Path, to: &Path) -> std::io::Result<u64> {
    let (mut source, target) = (File::open(from)?, File::create_new(to)?);
    let mut block = vec![0; COPY_BYTES];
    let (mut offset, mut written) = (0u64, 0u64);
    loop {
        let count = match source.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = block.get(..count).unwrap_or_default();
        if bytes.iter().any(|byte| *byte != 0) {
            target.write_all_at(bytes, offset)?;
            written = written.saturating_add(count as u64);
        }
        offset = offset.saturating_add(count as u64);
    }
    target.set_len(offset)?;
    Ok(written)
}
